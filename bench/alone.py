"""amad without comparison: many rows, many sessions, memory, latency, where the time goes, the network without a database."""
import random
import re
import shutil
import subprocess
import time

import database as db
import machine
import series
from machine import MemoryPeak, Unavailable, timed
from report import Spread

WARMUP = 172  # rows without a severity, default options
STREAM_FEATURES = 5


def trained(bench):
    """A default model of 19 features, named "alone", and the table of its training rows"""
    table = bench.series(19, 10000)
    if not bench.once("alone"):
        db.train(bench.one_core, "alone", table, {})
        made = series.load_synthetic(bench.one_core, "series_stream", STREAM_FEATURES, 2000)
        db.train(bench.one_core, "stream", made, {"steps": 50})
    return table


# ---------------------------------------------------------------- many rows, many sessions

def scaling(bench):
    trained(bench)
    table = bench.report.table("scaling", "Rows scored by one statement, one core",
                               ["", "seconds", "rows/s", "microseconds a row"])
    long = bench.long_series(bench.plan.table_rows)
    rows = 10_000
    while rows <= bench.plan.table_rows:
        add_scaling(bench, table, f"{rows:,} rows of a table, 19 features", rows,
                    db.score_sql("alone", long, series.head(long, rows)))
        rows *= 10
    for rows in bench.plan.streams:
        add_scaling(bench, table, f"{rows:,} rows made on the way, {STREAM_FEATURES} features", rows,
                    db.stream_sql("stream", STREAM_FEATURES, rows))


def add_scaling(bench, table, what, rows, sql):
    times = [scored_seconds(bench.one_core, sql, rows) for _ in range(1 if rows > 2e6 else bench.plan.few)]
    best = min(times)
    table.row(what, Spread(times, 2), f"{rows / best:,.0f}", f"{1e6 * best / rows:.2f}")


def scored_seconds(session, sql, rows):
    lines, seconds = timed(lambda: session.query(sql))
    if int(lines[-1]) != rows - WARMUP:
        raise db.SqlError(f"{lines[-1]} of {rows} rows were scored")
    return seconds


def sessions(bench):
    """Clients of pgbench, each scores the series over and over"""
    if not shutil.which("pgbench"):
        raise Unavailable("no pgbench")
    bench.need_two_cores()
    table = trained(bench)
    script = bench.scratch / "score.sql"
    script.write_text(f"SET search_path = {db.SCHEMA}, public;\n{db.score_sql('alone', table)};\n")
    out = bench.report.table("sessions", "Sessions that score at the same time, two cores",
                             ["", "rows/s", "against one client"])
    rates = {1: [], 2: []}
    for _ in range(bench.plan.few):
        for clients, seen in rates.items():
            seen.append(table.rows * transactions(script, clients, 3 * bench.plan.seconds))
    for clients, seen in rates.items():
        gains = Spread([b / a for a, b in zip(rates[1], seen)], 2)
        out.row(f"{clients} client{'s' * (clients > 1)}", Spread(seen, 0), gains)


def transactions(script, clients, seconds):
    """A second"""
    done = subprocess.run(["pgbench", "-n", "-f", script, "-c", str(clients), "-j", str(clients),
                           "-T", str(max(round(seconds), 1))], env=machine.environment(1),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode or not found:
        raise Unavailable(f"pgbench: {done.stdout.strip().splitlines()[-1:]}")
    return float(found[1])


# ---------------------------------------------------------------- memory

def memory(bench):
    if not db.postmaster(bench.one_core):
        raise Unavailable("the server is not on this machine")
    trained(bench)
    table = bench.report.table("memory", "Memory of a fresh backend, growth to the peak, MB",
                               ["", "its own (RssAnon)", "with code and shared buffers (VmHWM)", "needed at least"])
    rows = bench.plan.memory_rows
    long = bench.long_series(bench.plan.table_rows)
    made, scored = db.stream_sql("stream", STREAM_FEATURES, rows), db.score_sql("alone", long)
    peaks = [growth(made), growth(scored), growth(scored, "on")]
    for what, peak in zip((f"scoring {rows:,} rows made on the way", f"scoring {long.rows:,} rows of a table",
                           "the same with jit, PostgreSQL's default"), peaks):
        table.row(what, f"{peak.anonymous:.1f}", f"{peak.resident:.1f}", "")
    # shared buffers do not belong to the backend, and without a table none are used
    most = max(peaks[0].resident, peaks[1].anonymous)
    bench.report.goal("memory", most, f"{most:.1f} MB, {rows:,} rows")
    train_memory(bench, table)


def growth(sql, jit="off"):
    with db.Session() as session:
        session.query(f"SET jit = {jit}")
        session.query("SELECT count(*) FROM pg_class")
        with MemoryPeak(session.pid) as peak:
            session.query(sql)
    return peak


def train_memory(bench, table):
    long, base = bench.long_series(bench.plan.table_rows), bench.series(19, 10000)
    cases = [(base, None, base.rows, {"steps": 20}),
             (long, series.head(long, bench.plan.train_rows), bench.plan.train_rows, {"steps": 20})]
    if bench.plan.name != "quick":
        cases.append((base, None, base.rows, {"steps": 3, "preset": "paper"}))
    for source, item, rows, options in cases:
        peak = growth(db.train_sql("memory", source, options, item))
        described = bench.one_core.json(f"SELECT amad_describe('{db.MODEL}memory')")
        parts = train_needs(described, rows, source.features)
        table.row(f"training on {rows:,} rows{', paper preset' if 'preset' in options else ''}",
                  f"{peak.anonymous:.1f}", f"{peak.resident:.1f}",
                  f"{sum(parts):.1f} = {parts[0]:.1f} rows + {parts[1]:.1f} weights + {parts[2]:.1f} activations")


def train_needs(described, rows, features):
    """What a training cannot do without, MB: rows as float32; 3 x weights (gradients and two moments of Adam); what
    the backward pass of a shard of two chunks needs of its forward pass.

    That is, of a row in each block: both norms and what goes into them (4 D), Q, K, V (3 D), both views and their
    mixture (3 D), the inner layer before and after gelu (4 D), both associations (2 H W), mask coefficients and
    gate (9 H); besides the embedding (D), input and output (2 C)."""
    o = described["options"]
    D, H, W = o["d_model"], o["heads"], o["window"]
    shard_rows = min(2, o["advanced"]["batch_size"]) * o["advanced"]["chunk_length"]
    activations = shard_rows * (o["layers"] * (14 * D + 2 * H * W + 9 * H) + D + 2 * features)
    return [4 * n / 2**20 for n in (rows * features, 3 * described["weights"], activations)]


# ---------------------------------------------------------------- latency

def latency(bench):
    table = trained(bench)
    out = bench.report.table("latency", "Latency, ms", ["", "median (least – greatest)", "of"])
    first_call(bench, out, table)
    score = db.stream_sql("stream", STREAM_FEATURES, 10**9)
    train, paper = (db.train_sql("cancelled", table, {"steps": 10**6, **o}) for o in ({}, {"preset": "paper"}))
    worst = max(cancel(bench, out, f"cancel while {what}", *how) for what, *how in (
        ("scoring", score, 0, 0.7), ("training", train, 0, 0.7), ("training with a worker", train, 1, 0.7),
        ("training, paper preset", paper, 0, 2.5)))
    bench.report.goal("cancel", worst, f"{worst:.0f} ms")


def first_call(bench, out, table):
    """The library is loaded, the model fetched and decoded, 300 rows are scored; connecting does not count"""
    sql, times = db.score_sql("alone", table, f"(SELECT * FROM {table.name} ORDER BY ts LIMIT 300) head"), []
    for _ in range(bench.plan.calls):
        with db.Session(bench.cores(1)) as session:
            times.append(1000 * session.seconds(sql))
    spread = Spread(times, 1)
    out.row("first scoring of a fresh backend, 300 rows", spread, len(times))
    bench.report.goal("first_call", spread.median, f"{spread} ms")


def cancel(bench, out, what, sql, workers, within):
    """From pg_cancel_backend to the error's arrival, at moments spread over the first seconds -> longest

    Without jit: PostgreSQL cannot be interrupted while it compiles a query, and it compiles such large ones."""
    moments, times = random.Random(0), []
    with db.Session() as victim, db.Session() as other:
        victim.query(f"SET amad.max_parallel_workers = {workers}; SET statement_timeout = '60 s'; SET jit = off")
        for _ in range(bench.plan.calls):
            victim.send(sql)
            while other.value(f"SELECT state FROM pg_stat_activity WHERE pid = {victim.pid}") != "active":
                pass
            time.sleep(0.1 + (within - 0.1) * moments.random())
            times.append(1000 * timed(lambda: cancel_now(victim, other))[1])
    out.row(what, Spread(times, 1), len(times))
    return max(times)


def cancel_now(victim, other):
    other.query(f"SELECT pg_cancel_backend({victim.pid})")
    try:
        victim.receive()
    except db.SqlError as e:
        if "due to user request" in str(e):
            return
        raise
    raise db.SqlError("the statement ended before it was cancelled")


# ---------------------------------------------------------------- where the time goes

# dso, symbol -> group; the first that fits
GROUPS = (
    ("matrix products: OpenBLAS", r"openblas|blas\.so", r"."),
    ("matrix products: amad's own", r"amad\.so", r"gemm|multiply"),
    ("attention: bands, exponentials, logarithms", r"amad\.so", r"attend|attention|band|exp_sums"),
    ("the rest of amad", r"amad\.so", r"."),
    ("exponentials and the like of libm", r"libm[.-]", r"."),
    ("PostgreSQL", r"postgres", r"."),
    ("C library", r"libc[.-]", r"."),
    ("kernel and others", r".", r"."),
)


def profile(bench):
    if not shutil.which("perf"):
        raise Unavailable("no perf")
    table = trained(bench)
    seconds = 2 * bench.plan.seconds
    runs = {"training": db.train_sql("profiled", table, {"steps": 10**6}),
            "scoring": db.score_sql("alone", bench.long_series(bench.plan.table_rows))}
    shares = {what: sample(bench, sql, seconds) for what, sql in runs.items()}
    out = bench.report.table("profile", "Share of a backend's time, by perf", ["", *shares])
    for group, _, _ in GROUPS:
        out.row(group, *(f"{s.get(group, 0):.0f} %" for s in shares.values()))


def sample(bench, sql, seconds):
    """-> share of each group in percent, of a statement from half a second after its start"""
    data = bench.scratch / "perf.data"
    with db.Session(bench.cores(1)) as session:
        session.send(sql)
        time.sleep(0.5)
        done = subprocess.run(["perf", "record", "-q", "-o", data, "-F", "499", "-p", str(session.pid), "--",
                               "sleep", str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        bench.one_core.query(f"SELECT pg_cancel_backend({session.pid})")
        try:
            session.receive()
        except db.SqlError:
            pass  # as asked
    if done.returncode:
        raise Unavailable(f"perf: {done.stdout.strip() or done.returncode}")
    text = subprocess.run(["perf", "report", "-i", data, "--stdio", "-q", "--no-children", "-F", "overhead,dso,sym",
                           "-t", "|"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    return grouped(text)


def grouped(text):
    shares = {}
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) == 3:
            dso, symbol = parts[1].strip(), parts[2].strip()
            group = next(g for g, d, s in GROUPS if re.search(d, dso) and re.search(s, symbol or " "))
            shares[group] = shares.get(group, 0) + float(parts[0].strip().rstrip("%"))
    if not shares:
        raise Unavailable("perf saw nothing")
    return shares


# ---------------------------------------------------------------- the network without a database

def network(bench):
    """bench/nn_speed.c, built with the Makefile's flags"""
    if not (bench.root / "bench" / "nn_speed.c").exists():
        raise Unavailable("no bench/nn_speed.c")
    program = "build/bench/nn_speed"
    run([*"make -s".split(), program], bench)
    lines = []
    more = [["d_model=128"], ["window=100", "d_model=512", "heads=8", "layers=3"]]
    for settings in [[], *more] if bench.plan.name != "quick" else [[]]:
        out = run([bench.root / program, *settings, f"repeats={bench.plan.repeats * 3}"], bench)
        lines += [*([""] if lines else []), *out.splitlines()]
        for goal, what in (("peak_training", "training step"), ("peak_scoring", "scored row")):
            found = re.search(rf"^{what}.*?([\d.]+) %", out, flags=re.M)
            if found and not settings:
                bench.report.goal(goal, float(found[1]), f"{found[1]} %")
    bench.report.text("network", "The network without a database, one core", lines)


def run(command, bench):
    on = bench.cores(1)
    done = subprocess.run(command, cwd=bench.root, env=machine.environment(1), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, preexec_fn=lambda: machine.pin(0, on))
    if done.returncode:
        raise Unavailable(f"{' '.join(map(str, command))}: {done.stdout.strip()}")
    return done.stdout
