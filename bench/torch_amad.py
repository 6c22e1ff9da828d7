#!/usr/bin/python3
"""The amad network in PyTorch: an independent second implementation of docs/model.md.

    torch_amad.py --check GOLDEN.json                      compare with reference numbers
    torch_amad.py --quality TRAIN.csv.gz TEST.csv.gz       average precision, false alarms

Needs python3-torch and python3-numpy only; torch_speed.py measures its speed. Symbols in shapes: B chunks,
T rows of a chunk, C features, D d_model, H heads, d = D / H, N blocks, W window, K mask basis functions.
"""
import argparse
import csv
import gzip
import json
import math
import os
import sys
import time
from dataclasses import dataclass

os.environ.pop("OPENBLAS_CORETYPE", None)  # it could choose a slow kernel for the BLAS of torch

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

KERNELS = (1, 3, 7, 15)
JS_EPS = 1e-4
JS_TOLERANCE = 4e-6  # of --check: with a short window another JS_EPS shows as little as 6e-6, rounding as 1e-6
TEMPERATURE = 0.1
BOUND = 1e6  # of scaled values
MOST_ACTIVITY_ROWS, FEW_ROWS = 32, 4
MOST_RANGES = 10.0  # a value is so far from the mean at most where states are concerned
RESIDUAL_FLOOR = 0.1
LEAST_HELD = 0.1  # of all rows' quantile
SHARE = 1.5  # of training rows above the threshold, times contamination
HELD_WEIGHT = 0.4  # of that of the held-out rows, in the logarithm
QUERY_BLOCK = 64  # rows that share one key block: larger wastes arithmetic outside the band, smaller makes small GEMMs


@dataclass
class Options:
    window: int = 64
    d_model: int = 64
    heads: int = 4
    layers: int = 2
    batch_size: int = 8
    steps: int = 500
    learning_rate: float = 2e-3
    clip: float = 5.0
    contamination: float = 0.01
    horizons: tuple = (4, 16, 32)
    release: float = 3.0
    ahead: int = 1
    maxmin_weight: float = 1.0
    contrast_weight: float = 0.02
    discrepancy_weight: float = 0.25
    state_weight: float = 0.0  # states, flags and flatlines are read, not learned here
    validation_fraction: float = 0.1
    seed: int = 0

    @property
    def context(self):
        return self.layers * (self.window - 1) + max(KERNELS) - 1 + self.ahead

    @property
    def warmup(self):
        return self.context + max(self.horizons) - 1


# ---------------------------------------------------------------- network

class Conv(nn.Module):
    """Causal convolution over time; the first row is repeated before the start."""

    def __init__(self, c_in, c_out, width):
        super().__init__()
        self.weight = nn.Parameter(uniform((c_out, c_in, width), c_in * width))
        self.bias = nn.Parameter(uniform((c_out,), c_in * width))

    def forward(self, x):
        """x (B, C, T) -> (B, D/4, T)"""
        width = self.weight.shape[2]
        x = F.pad(x, (width - 1, 0), mode="replicate") if width > 1 else x
        return F.conv1d(x, self.weight, self.bias)


def uniform(shape, fan_in):
    bound = 1 / math.sqrt(fan_in)
    return torch.empty(shape).uniform_(-bound, bound)


def linear(n_in, n_out):
    layer = nn.Linear(n_in, n_out)
    layer.weight.data = uniform((n_out, n_in), n_in)
    layer.bias.data = uniform((n_out,), n_in)
    return layer


def basis(window):
    """phi (8, W); the last column is lag 0, as bands are stored oldest row first"""
    lag = torch.arange(window - 1, -1, -1, dtype=torch.float64)
    gauss = [torch.exp(-lag ** 2 / (2 * s * s)) for s in (1, 2, 4)]
    cosine = [torch.cos(2 * math.pi * lag / p) for p in (2, 4, 8, 16)]
    return torch.stack([torch.ones(window, dtype=torch.float64), *gauss, *cosine]).float()


def band_mask(rows, window):
    """(rows, W) of 0 and -inf: the first rows have fewer than W rows up to and including themselves"""
    lag = torch.arange(window - 1, -1, -1)
    missing = torch.arange(rows)[:, None] < lag[None, :]
    return torch.zeros(rows, window).masked_fill(missing, float("-inf"))


# Attention is blocked: q rows of queries meet the q + W - 1 rows of keys that they can see. The scores of
# a block, (q, q + W - 1), hold the band on a diagonal; reading them with a row pitch one longer moves it
# into (q, W), so that softmax and mask touch nothing outside the band. The two directions are each other's
# adjoint; saying so spares autograd the zeroing and copying of a slice's backward pass.

def diagonal_view(s, window):
    """s (..., q, q+W-1), contiguous -> a view of its band (..., q, W)"""
    q, length = s.shape[-2:]
    stride = (*s.stride()[:-2], length + 1, 1)
    return s.as_strided((*s.shape[:-2], q, window), stride)


def place_band(p):
    """p (..., q, W) -> (..., q, q+W-1), zero outside the band"""
    q, window = p.shape[-2:]
    s = p.new_zeros(*p.shape[:-1], q + window - 1)
    diagonal_view(s, window).copy_(p)
    return s


class Unskew(torch.autograd.Function):
    """s (..., q, q+W-1) -> its band (..., q, W)"""

    @staticmethod
    def forward(ctx, s, window):
        return diagonal_view(s, window).contiguous()

    @staticmethod
    def backward(ctx, grad):
        return place_band(grad), None


class Skew(torch.autograd.Function):
    """p (..., q, W) -> (..., q, q+W-1), zero outside the band"""

    @staticmethod
    def forward(ctx, p):
        ctx.window = p.shape[-1]
        return place_band(p)

    @staticmethod
    def backward(ctx, grad):
        return diagonal_view(grad.contiguous(), ctx.window).contiguous()


class Block(nn.Module):
    def __init__(self, d_model, heads, window, n_basis=8):
        super().__init__()
        self.heads, self.window = heads, window
        self.ln1, self.ln2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.q, self.k, self.v, self.o = (linear(d_model, d_model) for _ in range(4))
        self.mask = linear(d_model, heads * n_basis)
        self.gate = linear(d_model, heads)
        self.w1, self.w2 = linear(d_model, 2 * d_model), linear(2 * d_model, d_model)
        self.register_buffer("phi", basis(window), persistent=False)

    def key_blocks(self, x, q):
        """x (B, H, T, d), T a multiple of q -> (B, H, T/q, d, q+W-1)"""
        return F.pad(x, (0, 0, self.window - 1, 0)).unfold(2, q + self.window - 1, q)

    def attention(self, x, band):
        """x (B, T, D) -> Attn (B, T, D), G and A (B, H, T, W), z_G and z_A (B, T, D)"""
        B, T, D = x.shape
        H, W, q = self.heads, self.window, min(QUERY_BLOCK, T)
        pad = -T % q
        weight = torch.cat([m.weight for m in (self.q, self.k, self.v, self.mask, self.gate)])
        bias = torch.cat([m.bias for m in (self.q, self.k, self.v, self.mask, self.gate)])
        parts = F.linear(x, weight, bias).split([D, D, D, H * self.phi.shape[0], H], dim=2)
        Q, K, V, a, g = (F.pad(p, (0, 0, 0, pad)).view(B, T + pad, H, -1).transpose(1, 2) for p in parts)
        nb = (T + pad) // q
        Q = (Q / math.sqrt(D // H)).reshape(B, H, nb, q, D // H)
        S = Unskew.apply(Q @ self.key_blocks(K, q), W).view(B, H, T + pad, W) + band
        G = torch.softmax(S, -1)
        A = torch.softmax(S + F.logsigmoid(a @ self.phi), -1)
        both = Skew.apply(torch.stack([p.view(B, H, nb, q, W) for p in (G, A)], 3)).flatten(3, 4)
        z = (both @ self.key_blocks(V, q).transpose(-1, -2)).view(B, H, nb, 2, q, -1)
        z_g, z_a = (part.reshape(B, H, T + pad, -1) for part in z.unbind(3))
        g = torch.sigmoid(g)
        z = z_a + g * (z_g - z_a)
        merge = lambda t: t[:, :, :T].transpose(1, 2).reshape(B, T, D)
        return self.o(merge(z)), G[:, :, :T], A[:, :, :T], merge(z_g), merge(z_a)

    def forward(self, h, band):
        out, *seen = self.attention(self.ln1(h), band)
        h = h + out
        return h + self.w2(F.gelu(self.w1(self.ln2(h)))), seen


class Amad(nn.Module):
    def __init__(self, features, opt):
        super().__init__()
        self.opt = opt
        D = opt.d_model
        self.embed = nn.ModuleDict({f"k{w}": Conv(features, D // 4, w) for w in KERNELS})
        self.blocks = nn.ModuleList(Block(D, opt.heads, opt.window) for _ in range(opt.layers))
        self.ln = nn.LayerNorm(D)
        self.out = linear(D, features)
        self.bands = {}

    def band(self, rows):
        """The mask for a chunk of `rows` rows, padded to whole query blocks"""
        rows += -rows % min(QUERY_BLOCK, rows)
        if rows not in self.bands:
            self.bands[rows] = band_mask(rows, self.opt.window)
        return self.bands[rows]

    def forward(self, x):
        """x (B, T, C) -> output (B, T, C), and for each block [G, A, z_G, z_A]"""
        band = self.band(x.shape[1])
        channels_first = x.transpose(1, 2)
        h = torch.cat([conv(channels_first) for conv in self.embed.values()], 1).transpose(1, 2)
        seen = []
        for block in self.blocks:
            h, s = block(h, band)
            seen.append(s)
        return self.out(self.ln(h)), seen


def floats(tensor):
    """{shape, data} -> tensor; JSON may have whole numbers only"""
    return torch.tensor(tensor["data"], dtype=torch.float32).view(tensor["shape"])


def set_params(model, tensors):
    """tensors {name: {shape, data}}, named as amad_weights does (blocks.0.q.weight is block0.q.weight there)

    -> {name: parameter}"""
    params = {n.replace("blocks.", "block"): p for n, p in model.named_parameters()}
    if set(params) != set(tensors):
        sys.exit(f"parameters differ: {sorted(set(params) ^ set(tensors))}")
    for name, p in params.items():
        p.data = floats(tensors[name])
    return params


# ---------------------------------------------------------------- losses

def js(A, G):
    """A, G (B, H, T, W) -> Jensen-Shannon divergence of each row, mean over heads (B, T)"""
    log_m = torch.log((A + G) * 0.5 + JS_EPS)
    kl_a = (A * (torch.log(A + JS_EPS) - log_m)).sum(-1)
    kl_g = (G * (torch.log(G + JS_EPS) - log_m)).sum(-1)
    return (0.5 * (kl_a + kl_g)).mean(1)


def max_min(A, G, skip):
    """Value 0, gradient of D(A, sg G) - D(sg A, G): one D with the gradient of G reversed does both.

    Returns (that term, D), each a mean over rows and heads."""
    D = js(A[:, :, skip:], 2 * G[:, :, skip:].detach() - G[:, :, skip:]).mean()
    return D - D.detach(), D.detach()


def contrast(z_g, z_a, skip):
    """z (B, T, D) -> InfoNCE over each chunk's rows, both ways"""
    u, v = (F.normalize(z[:, skip:], dim=2) for z in (z_g, z_a))
    logits = u @ v.transpose(1, 2) / TEMPERATURE
    diagonal = logits.diagonal(dim1=1, dim2=2)
    rows = torch.logsumexp(logits, 2) - diagonal
    columns = torch.logsumexp(logits, 1) - diagonal
    return 0.5 * (rows.mean() + columns.mean())


def losses(model, x, skip):
    """x (B, T, C) -> dict of R, D, contrast (scalars) and total, the value that training descends on"""
    opt = model.opt
    y, seen = model(x)
    R = (y[:, skip:x.shape[1] - opt.ahead] - x[:, skip + opt.ahead:]).square().mean()
    pairs = [max_min(A, G, skip) for G, A, _, _ in seen]
    nce = torch.stack([contrast(z_g, z_a, skip) for _, _, z_g, z_a in seen]).mean()
    play = torch.stack([p for p, _ in pairs]).mean()
    D = torch.stack([d for _, d in pairs]).mean()
    total = 2 * R + opt.maxmin_weight * play + opt.contrast_weight * nce
    return {"R": R, "D": D, "contrast": nce, "total": total}


# ---------------------------------------------------------------- training

class Scaler:
    """Means and deviations of the training rows; a constant feature is 0 if unchanged, otherwise +-clip"""

    def __init__(self, x, clip):
        self.mean, self.std, self.clip = x.mean(0), x.std(0), clip
        self.tolerance = 1e-6 * np.maximum(1, np.abs(self.mean))
        self.constant = self.std <= self.tolerance

    @classmethod
    def stored(cls, mean, std, clip):
        """std is 0 where a feature is constant"""
        scaler = cls.__new__(cls)
        scaler.mean, scaler.std, scaler.clip = np.array(mean), np.array(std), clip
        scaler.tolerance = 1e-6 * np.maximum(1, np.abs(scaler.mean))
        scaler.constant = scaler.std == 0
        return scaler

    def __call__(self, x):
        """x (n, C) float64 -> scaled (n, C) float32 tensor, not clipped yet"""
        off = x - self.mean
        z = np.clip(off / np.where(self.constant, 1, self.std), -BOUND, BOUND)
        jump = np.where(np.abs(off) <= self.tolerance, 0, np.sign(off) * self.clip)
        return torch.from_numpy(np.where(self.constant, jump, z).astype(np.float32))


class States:
    """Centres of windows of the training rows; a feature counts by its weight"""

    def __init__(self, tensors):
        """tensors {name: {shape, data}}; those of the states are taken out"""
        weight, nearness, centre = (tensors.pop("states." + n) for n in ("weight", "nearness", "centre"))
        self.weight, self.nearness = floats(weight), nearness["data"][0]
        self.rows = centre["shape"][1]
        self.centre = floats(centre).flatten(1)

    def distance(self, z):
        """z (n, C) not clipped -> (n,) squared, from the nearest centre, with nearness"""
        most = MOST_RANGES / self.weight
        u = torch.minimum(torch.maximum(z * self.weight, -most), most)
        u = torch.cat([u[:1].expand(self.rows - 1, -1), u])
        windows = u.unfold(0, self.rows, 1).transpose(1, 2).flatten(1)
        return torch.cdist(windows, self.centre).amin(1).square() + self.nearness


class Flatlines:
    """Evidence of features that move less than they almost ever did in training"""

    def __init__(self, calibration, context):
        self.least = torch.tensor(calibration["activity"], dtype=torch.float64)
        self.worth = calibration["flatline"]
        self.rows = 2 ** int(math.log2(min(MOST_ACTIVITY_ROWS, context)))

    def evidence(self, z):
        """z (n, C), clipped -> (n, C); that of the first rows is not right"""
        total = F.pad(z.diff(dim=0).abs().double().cumsum(0), (0, 0, self.rows + 1, 0))
        many, few = ((total[self.rows:] - total[self.rows - rows:-rows]) / rows for rows in (self.rows, FEW_ROWS))
        return self.worth * (1 - torch.maximum(many, few) / self.least).clamp(min=0).nan_to_num(0)


def one_cycle(step, steps, peak):
    """Learning rate of a step (from 0): linear from peak/25 over a tenth, cosine down to peak/250000"""
    rise = max(0.1 * steps - 1, 1e-9)
    if step <= rise:
        return peak * (1 / 25 + (1 - 1 / 25) * step / rise)
    low = peak / 250000
    share = (step - rise) / max(steps - 1 - rise, 1e-9)
    return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * share))


def held_out_rows(n, opt):
    return max(int(n * opt.validation_fraction), opt.context + 2 * max(opt.horizons))


def random_chunks(z, rows, opt, generator):
    """Of z (n, C), batch_size chunks of 2W rows that begin anywhere in the first `rows` -> (B, T, C)"""
    T = 2 * opt.window
    start = torch.randint(0, rows - T + 1, (opt.batch_size, 1), generator=generator)
    return z[start + torch.arange(T)]


def train_step(model, adam, x, lr):
    for group in adam.param_groups:
        group["lr"] = lr
    loss = losses(model, x, model.opt.window // 2)["total"]
    adam.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    adam.step()
    return loss.detach()


def train(z, opt):
    """z (n, C), scaled; the last rows are held out -> model"""
    torch.manual_seed(opt.seed)
    generator = torch.Generator().manual_seed(opt.seed)
    model = Amad(z.shape[1], opt)
    adam = torch.optim.Adam(model.parameters())
    rows = len(z) - held_out_rows(len(z), opt)
    for step in range(opt.steps):
        x = random_chunks(z, rows, opt, generator)
        train_step(model, adam, x, one_cycle(step, opt.steps, opt.learning_rate))
    return model


# ---------------------------------------------------------------- scoring

@torch.no_grad()
def residuals(model, z, chunk=512, batch=1):
    """z (n, C) -> squared residuals (n, C), discrepancies (n, N), expected (n, C); all NaN without context.

    Chunks overlap by the context, whose rows are not scored; `batch` chunks are computed together."""
    n, context = len(z), model.opt.context
    chunk = min(max(chunk, context + 1), n)
    shape = (n, model.opt.layers)
    expected, disc = torch.full_like(z, float("nan")), torch.full(shape, float("nan"))
    if n <= context:
        return expected, disc, expected
    starts = list(range(0, n - chunk + 1, chunk - context))
    if starts[-1] != n - chunk:
        starts.append(n - chunk)  # the last one overlaps more: all chunks keep one shape
    rows = torch.arange(chunk)
    for s in torch.tensor(starts).split(batch):
        at = s[:, None] + rows
        y, seen = model(z[at])
        at = at[:, context:]
        expected[at] = y[:, context - model.opt.ahead:chunk - model.opt.ahead]
        disc[at] = torch.stack([js(A[:, :, context:], G[:, :, context:]) for G, A, _, _ in seen], -1)
    return (expected - z).square(), disc, expected


def raw_score(squared, disc, rho, mu_d, gamma):
    """squared (n, C), disc (n, N) -> raw (n,), contributions (n, C)"""
    r = squared / rho
    raw = r.mean(1) * (disc / mu_d).mean(1) ** gamma
    return raw, r / r.sum(1, keepdim=True)


def trailing_means(raw, horizons):
    """raw (n,) -> (n, number of horizons); NaN while a mean would reach into rows without a raw value"""
    means = torch.full((len(raw), len(horizons)), float("nan"), dtype=torch.float64)
    for i, h in enumerate(horizons):
        if h <= len(raw):
            means[h - 1:, i] = raw.double().unfold(0, h, 1).mean(1)
    return means


def anomaly_score(means, theta, release):
    """means (n, horizons) -> (n,): the greatest in units of theta, each at most release times the one before"""
    parts = (means / theta).unbind(1)
    evidence = [parts[0]]
    for part in parts[1:]:
        evidence.append(torch.minimum(part, release * evidence[-1]) if release > 0 else part)
    return torch.stack(evidence, 1).amax(1)


def quantile(x, share):
    return float(np.quantile(x[~torch.isnan(x)].numpy(), share))


def feature_weights(what):
    """what: as amad_describe -> (C,) weights of the features, 1 on the average; flags weigh less"""
    flags = torch.tensor([name in what["flags"] for name in what["features"]])
    few, others = int(flags.sum()), int((~flags).sum())
    weight = torch.ones(len(flags), dtype=torch.float64)
    if few and others:
        weight[flags] = min(1.0, what["options"]["advanced"]["flag_weight"] * others / few)
    return weight / weight.mean()


class Detector:
    """A trained model with its scaling and calibration"""

    states, mu_s, flatlines, weight = None, 1.0, None, 1.0  # unless a stored model has them

    def __init__(self, x, opt=None):
        """x (n, C) float64: the training rows in time order"""
        self.opt = opt or Options()
        self.scaler = Scaler(x, self.opt.clip)
        z = self.scaler(x).clamp(-self.opt.clip, self.opt.clip)
        self.model, self.training_seconds = timed(lambda: train(z, self.opt))
        self.calibrate(z)

    @classmethod
    def stored(cls, path):
        """A model that amad trained: JSON {describe: amad_describe, weights: {name: {shape, data}}}"""
        with open(path, encoding="utf-8") as f:
            stored = json.load(f)
        what, self = stored["describe"], cls.__new__(cls)
        names = Options.__dataclass_fields__
        options = {**what["options"], **what["options"]["advanced"]}
        self.opt = Options(**{k: v for k, v in options.items() if k in names})
        self.scaler = Scaler.stored(what["scaling"]["mean"], what["scaling"]["std"], self.opt.clip)
        self.model = Amad(len(what["scaling"]["mean"]), self.opt)
        self.mu_s = what["calibration"].get("mu_s", 1.0)
        self.states = States(stored["weights"]) if self.opt.state_weight > 0 else None
        self.flatlines = Flatlines(what["calibration"], self.opt.context) if "flatline" in what["calibration"] else None
        self.weight = feature_weights(what)
        set_params(self.model, stored["weights"])
        self.rho, self.mu_d, self.theta = (
            torch.tensor(what["calibration"][k], dtype=torch.float64) for k in ("rho", "mu_d", "theta"))
        self.threshold = what["threshold"]
        return self

    def calibrate(self, z):
        held = held_out_rows(len(z), self.opt)
        squared, disc, _ = residuals(self.model, z)
        rho = squared[-held:].double().mean(0)
        self.rho = torch.maximum(rho, RESIDUAL_FLOOR * rho.mean())
        self.mu_d = disc[-held:].double().mean(0)
        means = self.means(squared, disc, 1.0, torch.zeros(1))
        self.theta = torch.tensor([quantile(m, 0.9) for m in means.T])
        score = anomaly_score(means, self.theta, self.opt.release)
        of_held, of_all = (quantile(s, 1 - SHARE * self.opt.contamination) for s in (score[-held:], score))
        self.threshold = max(of_held, LEAST_HELD * of_all) ** HELD_WEIGHT * of_all ** (1 - HELD_WEIGHT)

    def means(self, squared, disc, factor, flat):
        """flat: (n, C) evidence of flatlines"""
        raw, _ = raw_score(squared * self.weight, disc, self.rho, self.mu_d, self.opt.discrepancy_weight)
        return trailing_means(raw * factor + (flat * self.weight).mean(-1), self.opt.horizons)

    def score_scaled(self, z, **chunks):
        """z (n, C) not clipped -> anomaly_score (n,), NaN in warm-up"""
        clipped = z.clamp(-self.opt.clip, self.opt.clip)
        squared, disc, _ = residuals(self.model, clipped, **chunks)
        factor = (self.states.distance(z) / self.mu_s) ** self.opt.state_weight if self.states else 1.0
        flat = self.flatlines.evidence(clipped) if self.flatlines else torch.zeros(1)
        return anomaly_score(self.means(squared, disc, factor, flat), self.theta, self.opt.release)

    def severity(self, x):
        """x (n, C) float64 -> (n,), 1 = threshold, NaN in warm-up"""
        return self.score_scaled(self.scaler(x)) / self.threshold


def timed(work):
    """-> (result, seconds)"""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


# ---------------------------------------------------------------- --quality

def read_csv(path):
    """-> features (n, C) float64, labels (n,) or None"""
    with gzip.open(path, "rt", newline="") as f:
        header, *rows = csv.reader(f)
    columns = [i for i, name in enumerate(header) if name not in ("ts", "label")]
    x = np.array([[float(r[i]) for i in columns] for r in rows])
    label = [int(r[header.index("label")]) for r in rows] if "label" in header else None
    return x, None if label is None else np.array(label)


def average_precision(label, score):
    """As scikit-learn's: rows of equal score enter together"""
    order = np.argsort(-score, kind="stable")
    label, score = label[order], score[order]
    last = np.flatnonzero(np.append(np.diff(score) != 0, True))
    hits = np.cumsum(label)[last]
    return float(np.sum(np.diff(hits, prepend=0) * hits / (last + 1)) / max(label.sum(), 1))


def quality(train_csv, test_csv, opt):
    """The test rows are scored alone, so their first `warmup` rows have no score"""
    x, _ = read_csv(train_csv)
    detector, trained = timed(lambda: Detector(x, opt))
    x, label = read_csv(test_csv)
    severity = detector.severity(x).numpy()
    scored = ~np.isnan(severity)
    severity, label = severity[scored], label[scored]
    flagged = severity >= 1
    print(f"seed {opt.seed}  average precision {average_precision(label, severity):.4f}  "
          f"normal flagged {flagged[label == 0].mean():.4f}  anomalous flagged {flagged[label == 1].mean():.4f}  "
          f"warm-up rows {int((~scored).sum())}  training {trained:.1f} s")


# ---------------------------------------------------------------- --check

class Comparison:
    """Largest error of each part, relative to the largest value of its tensor"""

    def __init__(self, tolerance):
        self.tolerance, self.worst = tolerance, {}

    def add(self, part, name, got, want, floor=1e-6):
        """`floor`: the smallest scale, for tensors that are zero except for rounding"""
        got = np.asarray(got, dtype=np.float64).ravel()
        want = np.array([np.nan if w is None else w for w in np.ravel(want)], dtype=np.float64)
        error = np.inf
        if got.shape == want.shape and np.array_equal(np.isnan(got), np.isnan(want)):
            error = np.nanmax(np.abs(got - want)) / max(np.nanmax(np.abs(want)), floor)
        if error > self.worst.get(part, (-1, ""))[0]:
            self.worst[part] = (error, name)

    def good(self, part):
        return self.worst[part][0] <= (JS_TOLERANCE if part == "JS" else self.tolerance)

    def report(self):
        for part, (error, name) in self.worst.items():
            print(f"{part:<24} {error:9.2e}  {'ok' if self.good(part) else 'WRONG'}  (worst: {name})")
        return all(map(self.good, self.worst))


def golden_model(golden):
    s = golden["shape"]
    opt = Options(window=s["window"], d_model=s["D"], heads=s["H"], layers=s["N"], batch_size=s["B"],
                  maxmin_weight=s["k"], contrast_weight=s["contrast_weight"], ahead=0)
    model = Amad(s["C"], opt)
    params = set_params(model, golden["params"])
    return model, params


def dense(band):
    """band (T, W) -> (T, T), zero outside the window"""
    T, W = band.shape
    return place_band(band)[:, W - 1:]


def check_forward(cmp, model, x, want):
    with torch.no_grad():
        y, seen = model(x)
    cmp.add("forward", "output", y, want["output"])
    for i, ((G, A, _, _), block) in enumerate(zip(seen, want["blocks"])):
        cmp.add("G", f"block{i}", dense(G[0, 0]), block["G"])
        cmp.add("A", f"block{i}", dense(A[0, 0]), block["A"])
        cmp.add("JS", f"block{i}", js(A, G)[0], block["JS"])


def check_gradients(cmp, params, want):
    """A key bias shifts all scores of a row alike: its gradient is zero but for rounding, hence the floor"""
    floor = 1e-3 * max(np.abs(g).max() for g in want.values())
    for name, p in params.items():
        cmp.add("gradients", name, p.grad, want[name], floor)


def check_adam(cmp, model, x, skip, want):
    """The total before each of the steps, at a constant rate and without clipping"""
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    totals = []
    for _ in want:
        total = losses(model, x, skip)["total"]
        totals.append(total.item())
        adam.zero_grad()
        total.backward()
        adam.step()
    cmp.add("adam", "total by step", totals, want)


def check_scoring(cmp, model, s):
    """Chunk sizes that do and do not divide the rows must all give the same"""
    model.opt.horizons = tuple(s["horizons"])
    z = torch.tensor(s["rows"]).view(len(s["raw"]), -1)
    for chunk in (512, 40, 53):
        squared, disc, expected = residuals(model, z, chunk, batch=2)
        raw, shares = raw_score(squared, disc, torch.tensor(s["rho"]), torch.tensor(s["mu_d"]),
                                s["discrepancy_weight"])
        score = anomaly_score(trailing_means(raw, s["horizons"]), torch.tensor(s["theta"]), 0)
        cmp.add("scoring expected", f"chunk {chunk}", expected, s["expected"])
        cmp.add("scoring contributions", f"chunk {chunk}", shares, s["contributions"])
        cmp.add("scoring raw", f"chunk {chunk}", raw, s["raw"])
        cmp.add("scoring anomaly_score", f"chunk {chunk}", score, s["anomaly_score"])


def check(path, tolerance=1e-4):
    with open(path, encoding="utf-8") as f:
        golden = json.load(f)
    cmp, (model, params), s = Comparison(tolerance), golden_model(golden), golden["shape"]
    x = torch.tensor(golden["input"]).view(s["B"], s["T"], s["C"])
    check_forward(cmp, model, x, golden["forward"])
    parts = losses(model, x, s["skip"])
    for name, want in golden["losses"].items():
        cmp.add("losses", name, parts[name].item(), want)
    parts["total"].backward()
    check_gradients(cmp, params, golden["grad_of_total"])
    if model.opt.context != golden["scoring"]["context"]:
        sys.exit(f"context is {model.opt.context}, not {golden['scoring']['context']}")
    check_scoring(cmp, model, golden["scoring"])
    check_adam(cmp, model, x, s["skip"], golden["adam_lr_1e-3_no_clip_total_by_step"])
    return cmp.report()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", metavar="GOLDEN.json")
    parser.add_argument("--quality", nargs=2, metavar=("TRAIN.csv.gz", "TEST.csv.gz"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=500)
    args = parser.parse_args()
    torch.set_num_threads(1)
    opt = Options(seed=args.seed, steps=args.steps)
    if args.quality:
        quality(*args.quality, opt)
    if args.check:
        sys.exit(0 if check(args.check) else 1)
    if not args.quality:
        parser.print_help()


if __name__ == "__main__":
    main()
