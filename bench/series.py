"""Tables with series: from a data directory, or synthetic if it has no series with this number of features.

A data directory holds <set>/<entity>/train.csv.gz, header ts,f0,…,fN."""
import csv
import gzip

MOST_ARGUMENTS = 96  # columns that amad_train and amad_score take one by one


def find(directory, features):
    """-> (path, header) of the first file with this number of features, or None"""
    for path in sorted(directory.glob("*/*/train.csv.gz")):
        with gzip.open(path, "rt", newline="") as f:
            header = next(csv.reader(f))
        if len(header) == features + 1:
            return path, header
    return None


class Table:
    """A table (ts timestamptz, f0 … double precision), in the order of ts"""

    def __init__(self, name, features, rows, origin):
        self.name, self.features, self.rows, self.origin = name, features, rows, origin
        self.columns = [f"f{i}" for i in range(features)]

    @property
    def arguments(self):
        """The features as arguments of amad's functions"""
        columns = ", ".join(self.columns)
        return columns if self.features <= MOST_ARGUMENTS else f"VARIADIC ARRAY[{columns}]"

    def create_sql(self):
        columns = ", ".join(f"{c} float8" for c in self.columns)
        return f"DROP TABLE IF EXISTS {self.name}; CREATE TABLE {self.name} (ts timestamptz PRIMARY KEY, {columns})"


def synthetic_feature(k, time):
    """Three cycles and a share of noise, weighted otherwise for each feature: columns correlate"""
    weights = [((37 * k + 11 * j) % 23 - 11) / 11 for j in range(3)]
    cycles = [f"sin({time} * {step})" for step in (0.0218, 0.0647, 0.2113)]
    return " + ".join([f"{w:.4f} * {c}" for w, c in zip(weights, cycles)] + ["0.2 * random()"])


def load_synthetic(session, name, features, rows):
    table = Table(name, features, rows, "synthetic")
    values = ", ".join(synthetic_feature(k, "i") for k in range(features))
    session.query(f"SELECT setseed(0.5); {table.create_sql()}; INSERT INTO {name} "
                  f"SELECT timestamptz '2024-01-01Z' + i * interval '1 minute', {values} "
                  f"FROM generate_series(1, {rows}) i; VACUUM ANALYZE {name}")
    return table


def load_file(session, name, path, header):
    """A train.csv.gz with the columns ts, f0 …"""
    table = Table(name, len(header) - 1, 0, "/".join(path.parts[-3:-1]))
    session.query(f"{table.create_sql()};\n\\copy {name} FROM PROGRAM 'gzip -dc \"{path}\"' (FORMAT csv, HEADER)\n"
                  f"VACUUM ANALYZE {name}")
    table.rows = int(session.value(f"SELECT count(*) FROM {name}"))
    return table


def repeat(session, name, table, rows):
    """A longer series: a table over and over, with a timestamp each minute"""
    long = Table(name, table.features, rows, f"{table.origin}, repeated")
    columns = ", ".join(table.columns)
    session.query(f"{long.create_sql()}; INSERT INTO {name} "
                  f"SELECT timestamptz '2024-01-01Z' + (n + {table.rows} * k) * interval '1 minute', {columns} "
                  f"FROM generate_series(0, {rows // table.rows}) k, "
                  f"(SELECT row_number() OVER (ORDER BY ts) AS n, {columns} FROM {table.name}) t "
                  f"WHERE n + {table.rows} * k <= {rows} ORDER BY k, n; VACUUM ANALYZE {name}")
    return long


def head(long, rows):
    """The first rows of a table made by repeat(), as an item of FROM"""
    return f"(SELECT * FROM {long.name} WHERE ts <= timestamptz '2024-01-01Z' + {rows} * interval '1 minute') head"


def load(session, directory, features, rows):
    """A real series if there is one, otherwise a synthetic one; at most `rows` rows"""
    name, found = f"series_{features}_{rows}", find(directory, features)
    if not found:
        return load_synthetic(session, name, features, rows)
    table = load_file(session, name, *found)
    if table.rows > rows:
        session.query(f"DELETE FROM {name} WHERE ts > (SELECT ts FROM {name} ORDER BY ts OFFSET {rows - 1} LIMIT 1); "
                      f"VACUUM FULL ANALYZE {name}")
        table.rows = rows
    return table
