"""amad against the same network in PyTorch: training, scoring, from table to table. Runs take turns."""
from itertools import product
from pathlib import Path

import database as db
import opponent
import series
from machine import timed
from report import Ratio, Spread

DEFAULT = {"features": 19}
FEATURES, WINDOWS, WIDTHS = (5, 19, 38, 100), (64, 100), (32, 64, 128)
PAPER_ROWS = 2000


def label(c):
    name = "paper preset" if c.get("preset") else f"window {c.get('window', 64)}, d_model {c.get('d_model', 64)}"
    return f"{c['features']} features, {name}"


def model_options(c):
    return {k: v for k, v in c.items() if k != "features"}


def configurations(plan):
    """The default, one thing changed at a time, or everything with everything; the preset last"""
    if plan.name == "full":
        grid = [{"features": c, "window": w, "d_model": d} for c, w, d in product(FEATURES, WINDOWS, WIDTHS)]
        grid.sort(key=lambda c: c != {"features": 19, "window": 64, "d_model": 64})
    elif plan.name == "quick":
        grid = [DEFAULT]
    else:
        grid = [DEFAULT, *({"features": c} for c in FEATURES if c != 19), {"features": 19, "window": 100},
                *({"features": 19, "d_model": d} for d in WIDTHS if d != 64)]
    return grid + [{"features": 19, "preset": "paper"}] * (plan.name != "quick")


class Contest:
    """A configuration on both sides"""

    def __init__(self, bench, config, torch, session):
        self.bench, self.config, self.torch, self.session = bench, config, torch, session
        rows = PAPER_ROWS if config.get("preset") else 10000
        self.table = bench.series(config["features"], rows)
        self.options = model_options(config)
        self.steps = 0
        csv = bench.scratch / "series.csv"
        columns = ", ".join(["ts", *self.table.columns])
        session.query(f"\\copy (SELECT {columns} FROM {self.table.name} ORDER BY ts) TO '{csv}' (FORMAT csv)\nSELECT 1")
        torch.ask("series", csv=str(csv), options=opponent.options(self.options))

    def train(self, steps, session=None):
        return db.train(session or self.session, "speed", self.table, {**self.options, "steps": steps})

    def amad_steps(self, session=None, workers=0):
        """Steps a second: a training less one of a single step, so without scaling and calibration"""
        session = session or self.session
        if not self.steps:
            self.train(1)
            probe = [self.train(n)["seconds"] for n in (1, 6)]
            self.steps = max(int(5 * self.bench.plan.seconds / max(probe[1] - probe[0], 1e-3)), 3)
        one, many = self.train(1, session)["seconds"], self.train(1 + self.steps * (1 + workers), session)
        if many["workers"] != workers:
            raise db.SqlError(f"{many['workers']} parallel workers instead of {workers}")
        return self.steps * (1 + workers) / (many["seconds"] - one)

    def amad_rows(self):
        sql, passes, spent = db.score_sql("speed", self.table), 0, 0.0
        while spent < self.bench.plan.seconds / 2:
            spent += self.session.seconds(sql)
            passes += 1
        return passes * self.table.rows / spent


def compare(bench):
    """(a), (b): one core against one thread"""
    bench.torch()
    table = bench.report.table("configurations", "One core against one thread of PyTorch",
                               ["", "steps/s torch", "amad", "ratio, steps", "rows/s torch", "amad", "ratio, rows"])
    for config in configurations(bench.plan):
        try:
            compare_one(bench, table, config)
        except (db.SqlError, opponent.TorchError) as e:
            table.row(label(config), f"not measured: {e}", "", "", "", "", "")
            bench.report.failures.append(label(config))


def compare_one(bench, table, config):
    contest = Contest(bench, config, bench.torch(), bench.one_core)
    torch, train, scored = contest.torch, ([], []), ([], [])
    contest.amad_steps()  # warms up caches
    bench.one_core.query(db.score_sql("speed", contest.table))
    torch.ask("train", seconds=0.1)
    torch.ask("score", seconds=0.1)
    for _ in range(bench.plan.repeats if not config.get("preset") else bench.plan.few):
        train[0].append(torch.rate("train", bench.plan.seconds))
        train[1].append(contest.amad_steps())
        scored[0].append(torch.rate("score", bench.plan.seconds))
        scored[1].append(contest.amad_rows())
    digits = 2 if config.get("preset") else 1
    ratios = Ratio(train[1], train[0]), Ratio(scored[1], scored[0])
    table.row(label(config), Spread(train[0], digits), Spread(train[1], digits), ratios[0],
              Spread(scored[0], 0), Spread(scored[1], 0), ratios[1])
    if config in (DEFAULT, {**DEFAULT, "window": 64, "d_model": 64}):
        bench.report.goal("training", ratios[0].median, f"{ratios[0]} ×")
        bench.report.goal("scoring", ratios[1].median, f"{ratios[1]} ×")
        bench.report.goal("scored_rows", Spread(scored[1]).median, str(Spread(scored[1], 0)))


def two_cores(bench):
    """(a) on two cores, and what the second gains"""
    bench.need_two_cores()
    table = bench.report.table("two_cores", "Training on two cores: leader and one worker, PyTorch with two threads",
                               ["", "steps/s torch, 2 threads", "amad, leader", "amad, 1 worker", "ratio to torch",
                                "gain of the worker"])
    configs = [DEFAULT] + [{"features": 19, "d_model": 128}] * (bench.plan.name != "quick")
    configs += [{"features": 19, "preset": "paper"}] * (bench.plan.name == "full")
    with db.Session(bench.cores(2)) as leader:
        leader.query("SET amad.max_parallel_workers = 1")
        for config in configs:
            contest = max((Contest(bench, config, t, bench.one_core) for t in bench.torch_variants()),
                          key=lambda c: max(c.torch.rate("train", bench.plan.seconds / 2) for _ in range(3)))
            contest.amad_steps()
            torch, alone, both = [], [], []
            for _ in range(bench.plan.repeats):
                torch.append(contest.torch.rate("train", bench.plan.seconds))
                both.append(contest.amad_steps(leader, workers=1))
                alone.append(contest.amad_steps())
            ratio, gain = Ratio(both, torch), Ratio(both, alone, 2)
            table.row(label(config), Spread(torch), Spread(alone), Spread(both), ratio, gain)
            if config == DEFAULT:
                bench.report.goal("two_cores", ratio.median, f"{ratio} ×")
                bench.report.goal("second_worker", gain.median, f"{gain} ×")


# ---------------------------------------------------------------- from table to table

class Journey:
    """Rows in a table, scores wanted in a table, a trained model at hand on both sides"""

    def __init__(self, bench, rows):
        self.bench, self.session, self.torch = bench, bench.one_core, bench.torch()
        self.base = bench.series(19, 10000)
        long = bench.long_series(rows)
        self.table = series.Table("journey", long.features, rows, long.origin)
        self.session.query(f"{self.table.create_sql()}; INSERT INTO journey SELECT * FROM {series.head(long, rows)} "
                           "ORDER BY ts; VACUUM ANALYZE journey")
        db.train(self.session, "journey", self.base, {"season": "none"})  # the PyTorch side has no season
        db.export_model(self.session, "journey", bench.scratch / "model.json")
        self.torch.ask("model", path=str(bench.scratch / "model.json"))

    def amad(self):
        return self.session.seconds(
            f"CREATE TABLE scores_amad AS SELECT ts, amad_score('{db.MODEL}journey', ts, {self.table.arguments}) "
            "OVER (ORDER BY ts) AS severity FROM journey")

    def via_files(self, format):
        """COPY TO, PyTorch, COPY FROM; seconds of the whole"""
        return timed(lambda: self.out_and_back(format))[1]

    def out_and_back(self, format):
        rows, scores = (self.bench.scratch / f"{n}.{format}" for n in ("rows", "scores"))
        columns = ", ".join(["ts", *self.table.columns])
        self.session.query(f"\\copy (SELECT {columns} FROM journey ORDER BY ts) TO '{rows}' (FORMAT {format})\nSELECT 1")
        self.torch.ask("file", rows=str(rows), scores=str(scores), format=format, features=self.table.features)
        self.session.query("CREATE TABLE scores_torch (ts timestamptz, severity float8);\n"
                           f"\\copy scores_torch FROM '{scores}' (FORMAT {format})\nSELECT 1")

    def drop(self):
        self.session.query("DROP TABLE IF EXISTS scores_amad, scores_torch")

    def difference(self):
        """Largest difference of a severity, relative where above 1; raises when a side has a score and the other not"""
        odd, worst = self.session.value(
            "SELECT count(*) FILTER (WHERE (a.severity IS NULL) <> (t.severity IS NULL) OR t.ts IS NULL OR a.ts IS NULL), "
            "max(abs(a.severity - t.severity) / greatest(a.severity, 1)) "
            "FROM scores_amad a FULL JOIN scores_torch t USING (ts)").split("|")
        if odd != "0":
            raise db.SqlError(f"{odd} rows have a severity from one side only")
        if float(worst) > 0.01:
            raise db.SqlError(f"severities of both sides differ by up to {worst}")
        return float(worst)


def journey(bench):
    """(c) end to end, both with the model that amad trained, so with the same scores"""
    rows = bench.plan.journey_rows
    trip = Journey(bench, rows)
    table = bench.report.table("journey", "From table to table, one core",
                               ["", "torch, s", "amad, s", "ratio"])
    worst = 0.0
    for format in ("csv", "binary"):
        torch, amad = [], []
        for i in range(1 + bench.plan.few):  # the first one warms up both sides
            seconds = trip.via_files(format), trip.amad()
            worst = max(worst, trip.difference())
            trip.drop()
            if i > 0:
                torch.append(seconds[0])
                amad.append(seconds[1])
        ratio = Ratio(torch, amad)
        how = "CSV" if format == "csv" else "binary COPY"
        table.row(f"scores of {rows:,} rows, {how} out and back", Spread(torch, 2), Spread(amad, 2), ratio)
        if format == "csv":
            bench.report.goal("journey", ratio.median, f"{ratio} ×")
    train_journey(bench, trip, table)
    bench.note(f"Both sides scored with the same weights; severities differ by at most {worst:.1e}.")


def train_journey(bench, trip, table):
    """A model from the rows of a table; in PyTorch, it remains in the process"""
    steps, base, csv = bench.plan.journey_steps, trip.base, Path(bench.scratch / "train.csv")
    columns = ", ".join(["ts", *base.columns])

    def torch():
        trip.session.query(f"\\copy (SELECT {columns} FROM {base.name} ORDER BY ts) TO '{csv}' (FORMAT csv)\nSELECT 1")
        trip.torch.ask("fit", csv=str(csv), options={"steps": steps})

    seconds = ([], [])
    for _ in range(bench.plan.few):
        seconds[0].append(timed(torch)[1])
        seconds[1].append(trip.session.seconds(db.train_sql("statement", base, {"steps": steps})))
    table.row(f"model of {base.rows:,} rows, {steps} steps", Spread(seconds[0], 2), Spread(seconds[1], 2), Ratio(*seconds))
