"""How fast the sweep is beside scikit-learn: ratios of one run, on the pixels of Fashion-MNIST or features of your own.

    python -m benchmarks.sweep [--rows 18000] [--points 45] [--peer-points 9] [--npz FILE] [--json FILE]

Ours is the whole selection: scaling, every point of the grid fitted on nine tenths of the rows and scored on the tenth
held out, the choice, the refit on all rows. The peer is `LogisticRegression(max_iter=1000)` fitted at the same points
on the same rows, z-scored before the clock starts, and scored; cold, and warm (started at the optimum of the point
before, which ours lends it without its time being counted). With fewer peer points than points their time is scaled
up, plainly. Ours runs before and after the peer, since the machine's speed drifts. The peer gets one BLAS
thread or all of them, whichever is faster for it; ours gets all of them.
"""

import argparse
import gzip
import json
import resource
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg.lapack  # noqa: F401 - its BLAS must be loaded before threads are counted
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from probe.draws import units_of
from probe.heads.logistic import LogisticHead
from probe.heads.training import TrainingData
from probe.objective import Objective
from probe.scaling import fit_scaler
from probe.selection import choose, make_folds, tabulate
from probe.sweep.search import Search, search

PIXELS = Path("/usr/share/datasets/fashion-mnist")


def read_pixels(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Read Fashion-MNIST from Debian's package dataset-fashion-mnist: (rows, 784) float32, (rows,) int64."""
    pictures = gzip.decompress((PIXELS / "train-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((PIXELS / "train-labels-idx1-ubyte.gz").read_bytes())
    features = np.frombuffer(pictures, np.uint8, offset=16).reshape(-1, 784)[:rows].astype(np.float32)
    return features, np.frombuffer(labels, np.uint8, offset=8)[:rows].astype(np.int64)


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    units, tokens = units_of([str(at) for at in range(len(labels))], [""] * len(labels))
    data = TrainingData(np.zeros((len(labels), 1)), labels, units, tokens, 0, int(labels.max()) + 1, 0)
    train, held_out, _ = data.holdout()
    assert make_folds(data) is not None
    return train, held_out


def ours(
    features: np.ndarray, labels: np.ndarray, pair: tuple[np.ndarray, np.ndarray], grid: list[float]
) -> tuple[float, Search, LogisticHead]:
    """Search, choose, refit; returns the seconds too."""
    start = time.perf_counter()
    classes = int(labels.max()) + 1
    found = search(features, labels, classes, [pair], "zscore", grid, is_extended=False)
    at = choose(tabulate([{"C": C} for C in found.points], found.scores)).selected
    head = LogisticHead(found.points[at] * len(pair[0]) / len(labels), classes, "zscore")
    head.fit(features, labels, found.starts[at])
    return time.perf_counter() - start, found, head


class Peer:
    """scikit-learn on the training rows, scaled beforehand."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, pair: tuple[np.ndarray, np.ndarray]) -> None:
        train, held_out = pair
        scaler = fit_scaler("zscore", features[train])
        self.features, self.labels = scaler.transform(features[train]), labels[train]
        self.held_out, self.held_out_labels = scaler.transform(features[held_out]), labels[held_out]
        self.threads = 0

    def fit(self, C: float, start: tuple[np.ndarray, np.ndarray] | None, limit: int = 1000) -> tuple[float, Any]:
        model = LogisticRegression(C=C, max_iter=limit, warm_start=start is not None)
        if start is not None:
            kernel, bias = start
            if len(bias) == 2:
                kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
            model.coef_, model.intercept_ = kernel.T.astype(np.float32), bias.astype(np.float32)
        with warnings.catch_warnings(), threadpool_limits(self.threads or None, user_api="blas"):
            warnings.simplefilter("ignore", ConvergenceWarning)
            begun = time.perf_counter()
            model.fit(self.features, self.labels)
            model.score(self.held_out, self.held_out_labels)
            return time.perf_counter() - begun, model

    def choose_threads(self, most: int) -> None:
        """Take one thread or all, whichever is faster for 30 iterations; the better of two turns each."""
        seconds = {}
        for _ in range(2):
            for self.threads in (1, most):
                seconds.setdefault(self.threads, []).append(self.fit(1.0, None, 30)[0])
        self.threads = min(seconds, key=lambda threads: min(seconds[threads]))

    def certificate(self, model: Any) -> float:
        """How far above its optimum a fit may be, as a share of its objective; the intercept made optimal."""
        kernel, bias = model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)
        classes = int(self.labels.max()) + 1
        if classes == 2:
            kernel, bias = np.hstack([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
        objective = Objective(self.features, self.labels, classes, 1 / (model.C * len(self.labels)))
        found = objective.certify(kernel, objective.with_best_intercept(kernel, bias))
        return float(found.bound / found.objective)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(features: np.ndarray, labels: np.ndarray, points: int, peer_points: int) -> dict[str, Any]:
    grid = [float(f"{C:.12g}") for C in 10.0 ** np.linspace(-7, 2, points)]
    pair = split(labels)
    before = peak_bytes()
    first, found, head = ours(features, labels, pair, grid)
    peak = peak_bytes() - before
    peer = Peer(features, labels, pair)
    threads = max(info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas")
    peer.choose_threads(threads)
    table = []
    for at in np.unique(np.linspace(0, points - 1, peer_points).round().astype(int)).tolist():
        cold, model = peer.fit(grid[at], None)
        warm, warm_model = peer.fit(grid[at], found.starts[at - 1] if at else None)
        table.append(
            {
                "C": grid[at],
                "cold": cold,
                "cold_iterations": int(model.n_iter_[0]),
                "cold_certificate": peer.certificate(model),
                "warm": warm,
                "warm_iterations": int(warm_model.n_iter_[0]),
                "warm_certificate": peer.certificate(warm_model),
                "our_certificate": found.fits[at][0].bound / found.fits[at][0].objective,
                "accuracy": found.scores[at][0].accuracy,
                "peer_accuracy": float(model.score(peer.held_out, peer.held_out_labels)),
            }
        )
        print(json.dumps(table[-1]), file=sys.stderr, flush=True)
    again, _, _ = ours(features, labels, pair, grid)
    seconds = statistics.mean([first, again])
    scale = points / len(table)
    cold, warm = (scale * sum(row[name] for row in table) for name in ("cold", "warm"))
    return {
        "shape": list(features.shape),
        "classes": int(labels.max()) + 1,
        "points": points,
        "peer_points": len(table),
        "threads": threads,
        "peer_threads": peer.threads,
        "ours": [first, again],
        "cold": cold,
        "warm": warm,
        "cold_ratio": cold / seconds,
        "warm_ratio": warm / seconds,
        "our_worst_certificate": max(fits[0].bound / fits[0].objective for fits in found.fits),
        "refit_certificate": head.certificate.bound / head.certificate.objective,
        "peer_worst_certificate": max(row["cold_certificate"] for row in table),
        "features_bytes": features.nbytes,
        "peak_bytes_above_features": peak,
        "table": table,
    }


def report(result: dict[str, Any]) -> str:
    rows, dim = result["shape"]
    scaled = "" if result["peer_points"] == result["points"] else f", scaled from {result['peer_points']} points"
    lines = [
        f"{rows} x {dim}, {result['classes']} classes, {result['points']} points from C = 1e-7 to 1e2, z-scored; "
        f"ours with {result['threads']} threads, scikit-learn with {result['peer_threads']}",
        f"  {'C':>9} {'cold s':>8} {'steps':>6} {'certificate':>12} {'warm s':>8} {'steps':>6} {'ours, cert.':>12} "
        "accuracy",
    ]
    for row in result["table"]:
        lines.append(
            f"  {row['C']:9.2g} {row['cold']:8.2f} {row['cold_iterations']:6} {row['cold_certificate']:12.1e} "
            f"{row['warm']:8.2f} {row['warm_iterations']:6} {row['our_certificate']:12.1e} "
            f"{row['accuracy']:.4f} against {row['peer_accuracy']:.4f}"
        )
    low, high = min(result["ours"]), max(result["ours"])
    lines += [
        f"  ours, selection and refit {low:.1f} to {high:.1f} s; worst certificate "
        f"{result['our_worst_certificate']:.1e}",
        f"  scikit-learn, cold loop   {result['cold']:.0f} s{scaled}; worst certificate "
        f"{result['peer_worst_certificate']:.1e}: {result['cold_ratio']:.1f} x ours",
        f"  scikit-learn, warm loop   {result['warm']:.0f} s{scaled}: {result['warm_ratio']:.1f} x ours",
        f"  features {result['features_bytes'] / 2**20:.0f} MiB, peak of ours above them "
        f"{result['peak_bytes_above_features'] / 2**20:.0f} MiB",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the sweep as ratios of one run.")
    parser.add_argument("--rows", type=int, default=18_000)
    parser.add_argument("--points", type=int, default=45)
    parser.add_argument("--peer-points", type=int, default=9)
    parser.add_argument("--npz", type=Path, help="features (N, D) float32 and labels (N,) instead of pixels")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    arguments = parser.parse_args()
    if arguments.npz:
        with np.load(arguments.npz) as given:
            features, labels = given["features"][: arguments.rows], given["labels"][: arguments.rows].astype(np.int64)
    else:
        features, labels = read_pixels(arguments.rows)
    result = measure(features, labels, arguments.points, arguments.peer_points)
    print(report(result), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    sys.exit(main())
