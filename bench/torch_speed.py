#!/usr/bin/python3
"""Speed of torch_amad.py, measured by order: one JSON object a line in, one out. bench/run.py starts it.

A process that stays spares PyTorch its start, which is not what is compared. Orders ("do"):

    about                                     versions, threads, the BLAS in use
    series   csv, options                     rows to work on
    train    seconds                          training steps for so long
    fit      csv, options                     a whole training with calibration, rows from a file
    score    seconds                          scores the series over and over, from scaled rows to anomaly scores
    model    path                             takes over a model that amad trained
    file     rows, scores, format, features   scores a file, csv or binary (COPY's), with that model
"""
import json
import os
import sys
import time

import numpy as np
import torch

import torch_amad as amad
from torch_amad import timed

CHUNKS, BATCHES = (512, 1024, 2048), (1, 4)  # rows of a chunk and chunks scored together: the fastest counts
PROBE = 8192  # rows to find it by
SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)


# ---------------------------------------------------------------- files of COPY

def read_csv(path):
    """-> timestamps as text, features (n, C); a timestamp comes first"""
    with open(path, encoding="ascii") as f:
        stamps, values = zip(*(line.split(",", 1) for line in f))
    return stamps, np.loadtxt(values, delimiter=",", ndmin=2)


def write_csv(path, stamps, severity):
    with open(path, "w", encoding="ascii") as f:
        f.writelines(f"{t},{s!r}\n" if s == s else f"{t},\n" for t, s in zip(stamps, severity.tolist()))


def record(features):
    """A row of COPY's binary format: number of columns, then length and value of each; no value is null"""
    columns = [("n", ">i2"), ("ts_length", ">i4"), ("ts", ">i8")]
    return np.dtype(columns + [("f", [("length", ">i4"), ("value", ">f8")], (features,))])


def read_binary(path, features):
    with open(path, "rb") as f:
        data = f.read()
    rows = np.frombuffer(data[len(SIGNATURE):-2], record(features))
    return rows["ts"], rows["f"]["value"].astype(np.float64)


def write_binary(path, stamps, severity):
    known = ~np.isnan(severity)
    null = np.dtype([("n", ">i2"), ("ts_length", ">i4"), ("ts", ">i8"), ("f", ">i4")])
    first = int(np.argmax(known)) if known.any() else len(known)  # warm-up is at the beginning only
    head, rest = np.zeros(first, null), np.zeros(len(known) - first, record(1))
    head["n"] = rest["n"] = 2
    head["ts_length"] = rest["ts_length"] = 8
    head["ts"], rest["ts"], head["f"] = stamps[:first], stamps[first:], -1
    rest["f"]["length"], rest["f"]["value"][:, 0] = 8, severity[first:]
    with open(path, "wb") as f:
        f.write(SIGNATURE + head.tobytes() + rest.tobytes() + b"\xff\xff")


# ---------------------------------------------------------------- orders

class Worker:
    def __init__(self):
        self.series, self.detector = None, None

    def about(self):
        torch.rand(256, 256) @ torch.rand(256, 256)
        with open("/proc/self/maps", encoding="ascii") as f:
            paths = {os.path.realpath(l.split()[-1]) for l in f if "/lib" in l}
        # libblas.so.3 may be a shell around libopenblas, so the longest name is the most informative
        blas = max((os.path.basename(p) for p in paths if "blas" in os.path.basename(p)), key=len, default="no BLAS")
        return {"torch": torch.__version__, "threads": torch.get_num_threads(), "blas": blas}

    def open_series(self, csv, options):
        _, x = read_csv(csv)
        self.opt = amad.Options(**options)
        self.series = amad.Scaler(x, self.opt.clip)(x).clamp(-self.opt.clip, self.opt.clip)
        self.detector = self.trainer = None
        return {"rows": len(x), "features": x.shape[1]}

    def train(self, seconds):
        """At the rate that a schedule begins with: it does not matter to the speed"""
        opt = self.opt
        if self.trainer is None:
            torch.manual_seed(0)
            model = amad.Amad(self.series.shape[1], opt)
            self.trainer = model, torch.optim.Adam(model.parameters()), torch.Generator().manual_seed(0)
            self.step()
        return self.run(seconds, self.step, "steps")

    def step(self):
        model, adam, generator = self.trainer
        z, opt = self.series, self.opt
        rows = len(z) - amad.held_out_rows(len(z), opt)
        amad.train_step(model, adam, amad.random_chunks(z, rows, opt, generator), opt.learning_rate / 25)

    def score(self, seconds):
        if self.detector is None:
            self.detector = self.untrained()
        z, chunks = self.series, self.chunks(self.detector, self.series)
        done = self.run(seconds, lambda: self.detector.score_scaled(z, **chunks), "passes")
        return {"rows": done.pop("passes") * len(z), **done}

    @staticmethod
    def chunks(detector, z):
        """The fastest way to cut rows; found once for a detector"""
        if not hasattr(detector, "chunks"):
            ways = [{"chunk": c, "batch": b} for c in CHUNKS if c <= max(len(z), CHUNKS[0]) for b in BATCHES]
            took = [min(timed(lambda: detector.score_scaled(z[:PROBE], **w))[1] for _ in range(2)) for w in ways]
            detector.chunks = ways[int(np.argmin(took))]
        return detector.chunks

    def untrained(self):
        """Scores do not matter to the speed"""
        d = amad.Detector.__new__(amad.Detector)
        d.opt, d.model = self.opt, self.trainer[0] if self.trainer else amad.Amad(self.series.shape[1], self.opt)
        d.calibrate(self.series)
        return d

    @staticmethod
    def run(seconds, work, name):
        started, cpu, n = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - started < seconds:
            work()
            n += 1
        return {name: n, "seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}

    @staticmethod
    def fit(csv, options):
        _, x = read_csv(csv)
        amad.Detector(x, amad.Options(**options))
        return {}

    def model(self, path):
        self.stored = amad.Detector.stored(path)
        return {}

    def file(self, rows, scores, format, features):
        read, write = (read_csv, write_csv) if format == "csv" else (
            lambda path: read_binary(path, features), write_binary)
        stamps, x = read(rows)
        d = self.stored
        z = d.scaler(x)
        write(scores, stamps, (d.score_scaled(z, **self.chunks(d, z)) / d.threshold).numpy())
        return {"rows": len(x)}


def main():
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    worker = Worker()
    orders = {"series": worker.open_series, **{n: getattr(worker, n) for n in (
        "about", "train", "fit", "score", "model", "file")}}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = orders[order.pop("do")](**order)
        except Exception as e:  # one measurement that fails must not end the others
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
