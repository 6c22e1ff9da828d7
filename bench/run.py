#!/usr/bin/env python3
"""What `make bench` runs: measures amad, prints tables, and puts them into docs/performance.md.

    tools/server.sh bench/run.py [DIR] [--quick | --full] [--only PART,PART] [--docs FILE | --no-docs]

DIR holds <set>/<entity>/train.csv.gz, default test/data. Connects with psql by the usual PG* variables to a
database in which CREATE EXTENSION amad has been run, of a server on this machine; leaves nothing behind.
"""
import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

sys.dont_write_bytecode = True  # do not write a cache into this folder

import alone
import database as db
import machine
import opponent
import series
import versus
from report import Report

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Plan:
    name: str
    repeats: int  # of runs that take turns
    few: int  # of what takes long
    seconds: float  # a run, about
    journey_rows: int
    journey_steps: int
    table_rows: int  # of the longest table
    streams: tuple  # rows made on the way
    memory_rows: int
    train_rows: int  # of the training whose memory is measured
    calls: int  # of latencies


PLANS = {
    "quick": Plan("quick", 3, 2, 0.5, 20_000, 40, 100_000, (), 200_000, 50_000, 4),
    "default": Plan("default", 5, 3, 1.0, 100_000, 200, 1_000_000, (1_000_000,), 1_000_000, 200_000, 10),
    "full": Plan("full", 7, 5, 2.0, 100_000, 500, 1_000_000, (1_000_000, 10_000_000), 1_000_000, 1_000_000, 20),
}

PARTS = {
    "configurations": versus.compare,
    "two_cores": versus.two_cores,
    "journey": versus.journey,
    "scaling": alone.scaling,
    "sessions": alone.sessions,
    "memory": alone.memory,
    "latency": alone.latency,
    "profile": alone.profile,
    "network": alone.network,
}


class Bench:
    """What the parts share: plan, report, sessions, PyTorch, tables made once"""

    def __init__(self, args, scratch):
        self.plan, self.directory, self.scratch, self.root = PLANS[args.plan], args.dir.resolve(), Path(scratch), ROOT
        self.python, self.torch_blas = args.python, args.torch_blas
        self.torch_right = False  # until it has been checked
        self.report, self.started = Report(), time.monotonic()
        self.tables, self.torches, self.notes, self.done = {}, [], [], set()
        self.one_core = db.Session(self.cores(1))
        self.postmaster = db.postmaster(self.one_core)
        # workers, and backends that are not moved, run where the server runs
        self.pinned = self.one_core.pinned and bool(self.postmaster) and machine.pin(self.postmaster, self.cores(2))
        db.prepare(self.one_core)

    def cores(self, count):
        return machine.cores(count)

    def need_two_cores(self):
        if len(self.cores(2)) < 2:
            raise machine.Unavailable("needs two cores")

    def torch(self):
        """On one core"""
        if not self.torch_right:
            raise machine.Unavailable("there is no PyTorch that works")
        if self.torches and self.torches[0].process.poll() is not None:
            self.torches.clear()
        if not self.torches:
            self.torches.append(opponent.Torch(self.cores(1), self.python))
        return self.torches[0]

    def torch_variants(self):
        """On two cores"""
        self.torch()
        if len(self.torches) == 1:
            self.torches += opponent.variants(self.cores(2), self.python, self.torch_blas)
        return self.torches[1:]

    def series(self, features, rows):
        key = features, rows
        if key not in self.tables:
            self.tables[key] = series.load(self.one_core, self.directory, features, rows)
        return self.tables[key]

    def long_series(self, rows):
        """The 19 features, repeated; one table for all parts, with the rows of the longest"""
        rows = max(rows, self.plan.table_rows)
        if "long" not in self.tables:
            self.tables["long"] = series.repeat(self.one_core, "series_long", self.series(19, 10000), rows)
        return self.tables["long"]

    def once(self, what):
        """-> whether this was asked before"""
        before = what in self.done
        self.done.add(what)
        return before

    def note(self, text):
        print(f"\n{text}", flush=True)
        self.notes.append(text)

    def close(self):
        for torch in self.torches:
            torch.close()
        self.one_core.close()


def facts(bench, command):
    """Facts about the machine and the run, as a list"""
    version = bench.one_core.json("SELECT amad_version()")
    blas = version["blas"]
    yield f"{date.today()}, `{command}`, {(time.monotonic() - bench.started) / 60:.0f} minutes"
    yield (f"{machine.cpu()}, cores {', '.join(map(str, bench.cores(2)))}"
           f"{'' if bench.pinned else ' (the server could not be pinned to them)'}")
    yield (f"PostgreSQL {bench.one_core.value('SHOW server_version').split()[0]}; amad {version['amad']}, kernels "
           f"{version['kernels']}, {blas['library'].split()[0]} {blas['core']}; "
           f"amad.so {db.library(bench.one_core).stat().st_size / 1024:,.0f} kB")
    for text in dict.fromkeys(f"PyTorch {a['torch']}, {a['threads']} thread{'s' * (a['threads'] > 1)}, {a['blas']}"
                              for a in (t.about for t in bench.torches)):
        yield text
    yield "series: " + "; ".join(sorted({f"{t.features} features {t.origin}, {t.rows:,} rows"
                                         for t in bench.tables.values()}))
    yield from bench.notes


def warn_of(bench):
    if machine.load() > machine.BUSY:
        bench.note(f"The machine was busy when this began, load {machine.load():.1f}: figures are too low.")
    if bench.postmaster and machine.forced_blas(bench.postmaster):
        bench.note(f"The server was started with {' '.join(machine.forced_blas(bench.postmaster))}: unset it.")
    if len(bench.cores(2)) > 1 and not bench.torch_blas:
        bench.note("No threaded OpenBLAS was found for PyTorch with two threads (Debian: libopenblas0-pthread).")


def warn_of_others(bench):
    """PyTorch computes all the time while it is measured; other load of its core also slowed amad"""
    one = bench.torches[0] if bench.torches else None
    if one and one.cpu < 0.95 * one.wall:
        bench.note(f"Others took {100 * (1 - one.cpu / one.wall):.0f} % of the core while PyTorch was measured on it: "
                   "figures are too low, and ratios uncertain.")


def check_torch(bench):
    """Nothing is compared with an implementation that is wrong"""
    try:
        opponent.check(ROOT / "test" / "reference" / "amad.json", bench.python)
        bench.torch_right = True
        bench.note("`torch_amad.py` agrees with the reference numbers of `test/reference/amad.json`.")
    except (machine.Unavailable, OSError) as e:
        bench.note(f"No PyTorch: {e}")
    except opponent.TorchError as e:
        bench.note(f"PyTorch's side is wrong: {e}")
        bench.report.failures.append("torch")


def run_part(bench, name):
    started = time.monotonic()
    try:
        PARTS[name](bench)
    except machine.Unavailable as e:
        bench.report.skipped(name, str(e))
    except (db.SqlError, opponent.TorchError, OSError) as e:
        bench.report.skipped(name, str(e))
        bench.report.failures.append(name)
    print(f"\n[{name}: {time.monotonic() - started:.0f} s]", flush=True)


def run(bench, args, command):
    warn_of(bench)
    check_torch(bench)
    for name in args.only:
        run_part(bench, name)
    warn_of_others(bench)
    lines = list(facts(bench, command))
    bench.report.blocks["facts"] = "\n".join(f"- {line}" for line in lines)
    print("\n" + bench.report.blocks["facts"])
    if len(args.only) == len(PARTS):
        bench.report.goals()
    else:
        del bench.report.blocks["facts"]  # of some tables only
    if args.docs:
        bench.report.write(args.docs)
        print(f"\n{args.docs} has these tables now.")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path, nargs="?", default=ROOT / "test" / "data")
    parser.add_argument("--quick", dest="plan", action="store_const", const="quick", default="default",
                        help="about 3 minutes, rough; leaves the docs alone unless --docs is given")
    parser.add_argument("--full", dest="plan", action="store_const", const="full")
    parser.add_argument("--only", type=lambda s: s.split(","), default=list(PARTS), metavar="PART,PART",
                        help=", ".join(PARTS))
    parser.add_argument("--docs", type=Path, help="file with the marks, default docs/performance.md")
    parser.add_argument("--no-docs", action="store_true")
    parser.add_argument("--python", default=opponent.PYTHON, help="a Python that has torch and numpy")
    parser.add_argument("--torch-blas", type=Path, metavar="FOLDER", default=machine.threaded_blas(),
                        help="folder with a threaded libblas.so.3, for PyTorch with two threads")
    args = parser.parse_args()
    if set(args.only) - set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    if not args.docs and not args.no_docs and args.plan != "quick":
        args.docs = ROOT / "docs" / "performance.md"
    return args


def main():
    args = arguments()
    if not shutil.which("psql"):
        sys.exit("needs psql")
    command = {"quick": "make bench QUICK=1", "default": "make bench", "full": "make bench FULL=1"}[args.plan]
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(args, scratch)
        try:
            run(bench, args, command)
        finally:
            bench.close()
            db.clean_up()
    sys.exit(1 if bench.report.failures else 0)


if __name__ == "__main__":
    main()
