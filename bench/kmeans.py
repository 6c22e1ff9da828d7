#!/usr/bin/python3
"""What amad is measured against in docs/quality.md: KMeansAD as the TSB-AD benchmark runs it (Schmidl et al., VLDB 2022).

    bench/kmeans.py DIR [--inputs window | feature | raw] [--only PATTERN] [--window 40] [--clusters 10] [--skip 172] [--seed 0]

Windows of train, flattened, are clustered; a window of test scores its distance to the nearest centre, a row the mean of
the windows that hold it, which reach window - 1 rows ahead. Prints the average precision of that, and of the window that ends at the
row: what it is worth without the future. The first --skip rows of test are left out, amad's warm-up. Inputs are z-scored
window: by window, as the benchmark does; feature: by feature, by the training rows; raw: not at all.
DIR holds <set>/<entity>/{train,test}.csv.gz as for quality.sh. Needs python3-numpy and python3-sklearn."""
import argparse
import csv
import fnmatch
import gzip
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import average_precision_score

MOST_FLOATS = 30_000_000  # of training windows; beyond, every second, third, ... is taken
BLOCK = 4096  # test windows at a time
LEAST_DEVIATION = 1e-12


def read(path):
    """-> rows (n, C), labels (n,) or None"""
    with gzip.open(path, "rt", newline="") as f:
        header, *rows = csv.reader(f)
    x = np.array([r[1:] for r in rows], dtype=np.float64)
    return (x[:, :-1], x[:, -1].astype(int)) if header[-1] == "label" else (x, None)


def scaled(x, mean, deviation):
    return (x - mean) / np.where(deviation > LEAST_DEVIATION, deviation, 1)


def windows(x, opt):
    """-> (n - window + 1, window * C), rows one after the other"""
    w = np.lib.stride_tricks.sliding_window_view(x.astype(np.float32), opt.window, axis=0)
    w = w.transpose(0, 2, 1).reshape(len(w), -1)
    if opt.inputs == "window":
        w = scaled(w, w.mean(1, keepdims=True), w.std(1, ddof=1, keepdims=True))
    return w


def distances(train, test, opt):
    """Of each window of test to the nearest centre"""
    if opt.inputs == "feature":
        mean, deviation = train.mean(0), train.std(0)
        train, test = scaled(train, mean, deviation), scaled(test, mean, deviation)
    fitted = windows(train, opt)
    fitted = fitted[::-(-fitted.size // MOST_FLOATS)]
    model = KMeans(opt.clusters, n_init=3, random_state=opt.seed).fit(fitted)
    w = windows(test, opt)
    return np.concatenate([model.transform(w[i:i + BLOCK]).min(1) for i in range(0, len(w), BLOCK)])


def around(d, n, window):
    """The mean of the windows that hold a row"""
    total, row = np.append(0, np.cumsum(d)), np.arange(n)
    first, last = np.maximum(0, row - window + 1), np.minimum(row, n - window)
    return (total[last + 1] - total[first]) / (last - first + 1)


def entity(folder, opt):
    """-> average precision of the rows' scores, with and without the future"""
    train, _ = read(folder / "train.csv.gz")
    test, label = read(folder / "test.csv.gz")
    d = distances(train, test, opt)
    skip = max(opt.skip, opt.window - 1)
    behind = np.append(np.full(opt.window - 1, np.nan), d)
    return [average_precision_score(label[skip:], s[skip:]) for s in (around(d, len(test), opt.window), behind)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--inputs", choices=("window", "feature", "raw"), default="window")
    parser.add_argument("--only", default="*", help="shell pattern of <set>/<entity>")
    parser.add_argument("--window", type=int, default=40)
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--skip", type=int, default=172)
    parser.add_argument("--seed", type=int, default=0)
    opt = parser.parse_args()
    print(f"{'entity':<20} {'AP':>6} {'behind':>7}")
    results = []
    for path in sorted(opt.dir.glob("*/*/train.csv.gz")):
        name = str(path.parent.relative_to(opt.dir))
        if fnmatch.fnmatch(name, opt.only):
            results.append(entity(path.parent, opt))
            print(f"{name:<20} {results[-1][0]:6.3f} {results[-1][1]:7.3f}", flush=True)
    if results:
        print(f"{f'mean of {len(results)}':<20} {np.mean(results, 0)[0]:6.3f} {np.mean(results, 0)[1]:7.3f}")


if __name__ == "__main__":
    main()
