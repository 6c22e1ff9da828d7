#!/usr/bin/env python3
"""amad in PostgreSQL against the same network in PyTorch, on one core, runs interleaved.

    bench/speed.py DIR [--entity ASD/omi-1] [--repeats 3] [--steps 500] [--core N]

DIR holds <set>/<entity>/train.csv.gz. Connects with psql by the usual PG* variables to a database in which
CREATE EXTENSION amad has been run; leaves nothing behind. Ratios above 1: amad is faster.
"""
import argparse
import csv
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

SCORING_PASSES = 5
HERE = Path(__file__).resolve().parent


def environment():
    """One thread each, and no forced OpenBLAS kernel"""
    env = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    env.pop("OPENBLAS_CORETYPE", None)
    return env


def run(command, **options):
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=False, **options)
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, command[:4]))}")
    return done.stdout


def pin(core):
    """Prefix that keeps a command on the core, where taskset exists"""
    return ["taskset", "-c", str(core)] if shutil.which("taskset") else []


def time_torch(python, train_csv, args):
    command = [*pin(args.core), python, HERE / "torch_amad.py", "--speed", train_csv, "--steps", str(args.steps)]
    return json.loads(run(command).splitlines()[-1])


def feature_columns(train_csv):
    with gzip.open(train_csv, "rt", newline="") as f:
        return [c for c in next(csv.reader(f)) if c not in ("ts", "label")]


# The backend is a child of the server, so it has to be moved to the core by its pid. That works only for a
# server on this machine and with the right to do it; the report says whether it was done.
PIN_SQL = r"""
SELECT pg_backend_pid() AS pid \gset
\set comm `cat /proc/:pid/comm 2>/dev/null || true`
SELECT :'comm' = 'postgres' AS local \gset
\if :local
  \set pinned `taskset -cp {core} :pid >/dev/null 2>&1 && echo yes || echo no`
\else
  \set pinned no
\endif
"""

# A backend's first scoring decodes the model: one pass before the clock starts.
MEASURE_SQL = r"""
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET amad.max_parallel_workers = 0;
CREATE TEMP TABLE readings (ts timestamptz, {definitions});
\copy readings FROM PROGRAM 'gzip -dc "{path}"' (FORMAT csv, HEADER)
ANALYZE readings;
BEGIN;
SELECT clock_timestamp() AS t0 \gset
SELECT amad_train('{model}', '{{"steps": {steps}}}'::jsonb, ts, {columns}) AS summary FROM readings \gset
SELECT clock_timestamp() AS t1 \gset
{scoring}
SELECT clock_timestamp() AS t2 \gset
{passes}
SELECT clock_timestamp() AS t3 \gset
SELECT :'summary'::jsonb || jsonb_build_object(
  'whole_training_s', extract(epoch FROM :'t1'::timestamptz - :'t0'::timestamptz),
  'scoring_s', extract(epoch FROM :'t3'::timestamptz - :'t2'::timestamptz),
  'pinned', :'pinned');
ROLLBACK;
"""


def measure_sql(train_csv, args):
    names = feature_columns(train_csv)
    columns, model = ", ".join(names), f"bench_speed_{os.getpid()}"
    scoring = (f"SELECT count(severity) AS scored FROM (SELECT amad_score('{model}', ts, {columns}) "
               "OVER (ORDER BY ts) AS severity FROM readings) s \\gset")
    body = MEASURE_SQL.format(definitions=", ".join(f"{n} float8" for n in names), path=train_csv, model=model,
                              columns=columns, steps=args.steps, scoring=scoring,
                              passes="\n".join([scoring] * SCORING_PASSES))
    return PIN_SQL.format(core=args.core) + body


def time_amad(train_csv, args):
    out = run(["psql", "-X", "-q", "-A", "-t", "-f", "-"], input=measure_sql(train_csv, args))
    summary = json.loads(out.strip().splitlines()[-1])
    return {**summary, "steps_per_s": summary["steps"] / summary["seconds"],
            "scored_rows_per_s": SCORING_PASSES * summary["rows"] / summary["scoring_s"]}


def spread(values, digits):
    low, mid, high = min(values), statistics.median(values), max(values)
    return f"{mid:10.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def report(name, amad, torch, digits=1, less_is_better=False):
    """amad, torch: one number a repetition; ratios are of neighbours in time"""
    ratios = [t / a if less_is_better else a / t for a, t in zip(amad, torch)]
    print(f"{name:<26} {spread(torch, digits):>28} {spread(amad, digits):>28}   "
          f"{min(ratios):5.2f} {statistics.median(ratios):6.2f} {max(ratios):6.2f}")


def interleave(python, train_csv, args):
    torch, amad = [], []
    for i in range(args.repeats):
        torch.append(time_torch(python, train_csv, args))
        amad.append(time_amad(train_csv, args))
        print(f"run {i + 1}: torch {torch[-1]['steps_per_s']:.1f} steps/s, {torch[-1]['scored_rows_per_s']:.0f} rows/s; "
              f"amad {amad[-1]['steps_per_s']:.1f} steps/s, {amad[-1]['scored_rows_per_s']:.0f} rows/s", flush=True)
    return torch, amad


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--entity", default="ASD/omi-1")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    # the last core: the first one tends to serve interrupts
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--python", default="/usr/bin/python3", help="a Python that has torch and numpy")
    return parser.parse_args()


def main():
    args = arguments()
    train_csv = (args.dir / args.entity / "train.csv.gz").resolve()
    if not train_csv.exists():
        sys.exit(f"no such file: {train_csv}")
    torch, amad = interleave(args.python, train_csv, args)
    last = amad[-1]
    print(f"\n{args.entity}: {last['rows']} rows, {last['features']} features, {last['steps']} steps; "
          f"torch {torch[-1]['torch']}; amad core {last['core']}; backend pinned: {last['pinned']}\n")
    print(f"{'median (min-max)':<26} {'torch':>28} {'amad':>28}   ratio: min median max")
    column = lambda runs, key: [float(r[key]) for r in runs]
    for name, key, digits, less in (("training, steps/s", "steps_per_s", 1, False),
                                    ("training statement, s", "whole_training_s", 2, True),
                                    ("scoring, rows/s", "scored_rows_per_s", 0, False)):
        report(name, column(amad, key), column(torch, key), digits, less)


if __name__ == "__main__":
    main()
