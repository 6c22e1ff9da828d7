"""The database side: psql sessions that are kept open, and statements of amad.

Connects by the usual PG* variables. Tables (series.py) live in a schema of their own and models have names of their own;
clean_up() takes both away."""
import json
import subprocess
from pathlib import Path

import machine
from machine import timed

SCHEMA = "amad_bench"
MODEL = "amad_bench_"  # what names of models begin with
MARK = "--- done ---"


class SqlError(Exception):
    pass


class Session:
    """A psql and its backend, both bound to some cores; sends statements and reads lines."""

    def __init__(self, on=None):
        self.psql = subprocess.Popen(["psql", "-X", "-q", "-A", "-t"], env=machine.environment(1), text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.query(f"\\set VERBOSITY terse\nSET search_path = {SCHEMA}, public; SET client_min_messages = warning; "
                   "SET max_parallel_workers_per_gather = 0; SET amad.max_parallel_workers = 0; "
                   "SET maintenance_work_mem = '2000MB'")
        self.pid = int(self.value("SELECT pg_backend_pid()"))
        self.pinned = on is None or (machine.pin(self.psql.pid, on) and machine.pin(self.pid, on))

    def send(self, sql):
        self.psql.stdin.write(f"{sql};\n\\echo {MARK}\n")
        self.psql.stdin.flush()

    def receive(self):
        """-> lines of the statements sent last; raises SqlError"""
        lines = []
        for line in self.psql.stdout:
            if line.rstrip("\n") == MARK:
                break
            lines.append(line.rstrip("\n"))
        else:
            raise SqlError("\n".join(lines) or "psql has ended")
        errors = [l for l in lines if l.startswith(("ERROR:", "FATAL:", "psql:", "\\copy:")) or ": ERROR:" in l]
        if errors:
            raise SqlError(errors[0])
        return lines

    def query(self, sql):
        self.send(sql)
        return self.receive()

    def value(self, sql):
        return self.query(sql)[-1]

    def json(self, sql):
        return json.loads(self.value(sql))

    def seconds(self, sql):
        return timed(lambda: self.query(sql))[1]

    def close(self):
        self.psql.stdin.close()
        self.psql.wait()
        self.psql.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ---------------------------------------------------------------- the server

def postmaster(session):
    """Process id of the server, whose children run on the same cores; None: not on this machine"""
    try:
        status = Path(f"/proc/{session.pid}/status").read_text()
    except OSError:
        return None
    fields = dict(l.split(":", 1) for l in status.splitlines())
    return int(fields["PPid"]) if fields["Name"].strip().startswith("postgres") else None


def library(session):
    """Path of amad's shared library, as the backend has it mapped"""
    session.query("SELECT amad_version()")
    maps = Path(f"/proc/{session.pid}/maps").read_text().splitlines()
    return Path(next(l.split()[-1] for l in maps if l.endswith("/amad.so")))


def prepare(session):
    session.query(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")


def clean_up():
    with Session() as session:
        session.query(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; "
                      f"DELETE FROM amad_models WHERE model_name LIKE '{MODEL}%'")


# ---------------------------------------------------------------- amad

def train_sql(model, table, options, source=None):
    return (f"SELECT amad_train('{MODEL}{model}', '{json.dumps(options)}'::jsonb, ts, {table.arguments}) "
            f"FROM {source or table.name}")


def train(session, model, table, options, source=None):
    """-> summary of amad_train"""
    return session.json(train_sql(model, table, options, source))


def score_sql(model, table, source=None):
    """Reads, sorts and scores all rows; how many had a severity"""
    return (f"SELECT count(severity) FROM (SELECT amad_score('{MODEL}{model}', ts, {table.arguments}) "
            f"OVER (ORDER BY ts) AS severity FROM {source or table.name}) s")


def stream_sql(model, features, rows):
    """Scores rows that are made as they are read: no table, no sort, nothing that grows"""
    values = ", ".join(f"sin(i * {0.01 + 0.003 * k:.3f})" for k in range(features))
    return (f"SELECT count(severity) FROM (SELECT amad_score('{MODEL}{model}', ts, {values}) OVER () AS severity "
            f"FROM (SELECT i, timestamptz '2020-01-01' + i * interval '1 second' AS ts "
            f"FROM (SELECT generate_series(1, {rows}::bigint) AS i) n) g) s")


def export_model(session, model, path):
    """A model for torch_amad.py: the results of amad_describe and amad_weights, as JSON"""
    text = session.value(
        f"SELECT jsonb_build_object('describe', amad_describe(model), 'weights', (SELECT jsonb_object_agg(name, "
        f"jsonb_build_object('shape', shape, 'data', data)) FROM amad_weights(model))) "
        f"FROM amad_models WHERE model_name = '{MODEL}{model}' AND deployed")
    Path(path).write_text(text, encoding="utf-8")
