"""How fast the sweep is beside scikit-learn: ratios of one run, on the pixels of Fashion-MNIST or features of your own.

    python -m benchmarks.sweep [--rows 18000] [--points 45] [--cold-points 9] [--npz FILE] [--json FILE]
    python -m benchmarks.sweep --wide [--cold-points 5]
    python -m benchmarks.sweep --growth | --few [--json FILE]

Ours is the whole selection: scaling, every point of the grid fitted on nine tenths of the rows and scored on the tenth
held out, the choice, the refit on all rows. The peer is `LogisticRegression(max_iter=1000)` fitted at the same points
on the same rows, z-scored before the clock starts, and scored: in a cold loop, and in a loop with `warm_start=True`
from strong to weak penalties. The cold loop may fit fewer points, and its time is then scaled up, plainly. Ours runs
before, between and after the two loops, since the machine's speed drifts. The peer gets one BLAS thread or all of them,
whichever is faster for it; ours gets all of them. The certificate says how far above the optimum a fit may be: the
peer stops by the size of its gradient, which with weak penalties stops it long before it is there.

`--wide` takes 60,000 rows of 1,280 features, drawn from the pixels: max(0, pixels · random directions), z-scored pixels
first. There ours runs before and after the two loops only.

Processor seconds stand beside those of the clock: on a machine with other work they are what to compare.

`--growth` times ours alone on drawn features, against the number of rows, dimensions and classes; `--few` the whole of
a `logistic` probe, repeated cross-validation and scikit-learn's fit to compare with included, on fewer rows than
features.
"""

import argparse
import gzip
import json
import statistics
import subprocess
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
from probe.heads.logistic import LogisticHead, LogisticOptions, train_logistic
from probe.objective import Objective
from probe.scaling import fit_scaler
from probe.selection import choose, tabulate
from probe.sweep.search import Search, search
from probe.training import TrainingData

PEER_ITERATIONS = 1000
PIXELS = Path("/usr/share/datasets/fashion-mnist")


def read_pixels(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Read Fashion-MNIST from Debian's package dataset-fashion-mnist: (rows, 784) float32, (rows,) int64."""
    images = gzip.decompress((PIXELS / "train-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((PIXELS / "train-labels-idx1-ubyte.gz").read_bytes())
    features = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784)[:rows].astype(np.float32)
    return features, np.frombuffer(labels, np.uint8, offset=8)[:rows].astype(np.int64)


def widen(pixels: np.ndarray, dim: int = 1280) -> np.ndarray:
    """Draw features from pixels, (N, dim) float32: a layer of random weights, as correlated as a network's."""
    scaled = fit_scaler("zscore", pixels).transform(pixels)
    weights = np.random.default_rng(0).normal(size=(scaled.shape[1], dim)).astype(np.float32)
    wide: np.ndarray = np.maximum(scaled @ weights / np.float32(np.sqrt(len(weights))), 0)
    return wide


def training_data(features: np.ndarray, labels: np.ndarray) -> TrainingData:
    units, tokens = units_of([str(at) for at in range(len(labels))], [""] * len(labels))
    return TrainingData(features, labels, units, tokens, 0, int(labels.max()) + 1, 0)


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    train, held_out, _ = training_data(np.zeros((len(labels), 1)), labels).holdout()
    return train, held_out


def ours(
    features: np.ndarray, labels: np.ndarray, pair: tuple[np.ndarray, np.ndarray], grid: list[float]
) -> tuple[tuple[float, float], Search, LogisticHead]:
    """Search, choose, refit; returns seconds by the clock and of the processor too."""
    start, used = time.perf_counter(), time.process_time()
    classes = int(labels.max()) + 1
    found = search(features, labels, classes, pairs=[pair], scaling="zscore", grid=grid, is_extended=False)
    at = choose(tabulate([{"C": C} for C in found.points], found.scores)).selected
    head = LogisticHead(found.points[at] * len(pair[0]) / len(labels), classes, "zscore")
    head.fit(features, labels, found.starts[at])
    return (time.perf_counter() - start, time.process_time() - used), found, head


class Peer:
    """scikit-learn on the training rows, scaled beforehand."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, pair: tuple[np.ndarray, np.ndarray]) -> None:
        train, held_out = pair
        scaler = fit_scaler("zscore", features[train])
        self.features, self.labels = scaler.transform(features[train]), labels[train]
        self.held_out, self.held_out_labels = scaler.transform(features[held_out]), labels[held_out]
        self.threads = 0

    def fit(self, model: LogisticRegression) -> dict[str, Any]:
        """Fit and score; the certificate is computed after the clock has stopped."""
        with warnings.catch_warnings(), threadpool_limits(self.threads or None, user_api="blas"):
            warnings.simplefilter("ignore", ConvergenceWarning)
            begun, used = time.perf_counter(), time.process_time()
            model.fit(self.features, self.labels)
            accuracy = model.score(self.held_out, self.held_out_labels)
            seconds, processor = time.perf_counter() - begun, time.process_time() - used
        iterations = int(model.n_iter_[0])
        certificate = self.certificate(model)
        return {
            "seconds": seconds,
            "processor": processor,
            "iterations": iterations,
            "certificate": certificate,
            "accuracy": accuracy,
        }

    def choose_threads(self, most: int) -> None:
        """Take one thread or all, whichever is faster for 30 iterations; the better of two turns each."""
        seconds: dict[int, list[float]] = {}
        for _ in range(2):
            for self.threads in (1, most):
                seconds.setdefault(self.threads, []).append(self.fit(LogisticRegression(max_iter=30))["seconds"])
        self.threads = min(seconds, key=lambda threads: min(seconds[threads]))

    def certificate(self, model: LogisticRegression) -> float:
        """How far above its optimum a fit may be, as a share of its objective; the intercept made optimal."""
        kernel, bias = model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)
        classes = int(self.labels.max()) + 1
        if classes == 2:
            kernel, bias = np.hstack([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
        objective = Objective(self.features, self.labels, classes, penalty=1 / (model.C * len(self.labels)))
        found = objective.certify(kernel, objective.with_best_intercept(kernel, bias))
        return float(found.bound / found.objective)


def measure(
    features: np.ndarray, labels: np.ndarray, points: int, cold_points: int, is_wide: bool = False
) -> dict[str, Any]:
    grid = make_grid(points)
    pair = split(labels)
    before = forget_peak()
    first, found, head = ours(features, labels, pair, grid)
    peak = features.nbytes + peak_bytes() - before
    runs = [first]
    peer = Peer(features, labels, pair)
    threads = max(info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas")
    peer.choose_threads(threads)
    chosen = np.unique(np.linspace(0, points - 1, cold_points).round().astype(int)).tolist()
    loops = {"cold": {at: peer.fit(LogisticRegression(C=grid[at], max_iter=PEER_ITERATIONS)) for at in chosen}}
    if not is_wide:
        runs.append(ours(features, labels, pair, grid)[0])
    model = LogisticRegression(max_iter=PEER_ITERATIONS, warm_start=True)
    loops["warm"] = {at: peer.fit(model.set_params(C=C)) for at, C in enumerate(grid)}
    runs.append(ours(features, labels, pair, grid)[0])
    seconds, processor = (statistics.median(run[which] for run in runs) for which in (0, 1))
    result = {
        "shape": list(features.shape),
        "classes": int(labels.max()) + 1,
        "points": points,
        "cold_points": len(chosen),
        "threads": threads,
        "peer_threads": peer.threads,
        "ours": [run[0] for run in runs],
        "ours_processor": [run[1] for run in runs],
        "peak_bytes": peak,
        "features_bytes": features.nbytes,
        "our_worst_certificate": max(fits[0].bound / fits[0].objective for fits in found.fits),
        "refit_certificate": head.certificate.bound / head.certificate.objective,
    }
    for name, fits in loops.items():
        share = points / len(fits)
        result[name] = sum(fit["seconds"] for fit in fits.values()) * share
        result[f"{name}_processor"] = sum(fit["processor"] for fit in fits.values()) * share
        result[f"{name}_ratio"] = result[name] / seconds
        result[f"{name}_processor_ratio"] = result[f"{name}_processor"] / processor
        result[f"{name}_worst_certificate"] = max(fit["certificate"] for fit in fits.values())
    result["table"] = [
        {
            "C": grid[at],
            **{f"{loop}_{name}": value for loop, fits in loops.items() for name, value in fits[at].items()},
            "our_certificate": found.fits[at][0].bound / found.fits[at][0].objective,
            "our_accuracy": found.scores[at][0].accuracy,
        }
        for at in chosen
    ]
    return result


def report(result: dict[str, Any]) -> str:
    rows, dim = result["shape"]
    loops = [name for name in ("cold", "warm") if name in result]
    heads = "".join(f"{f'{name} s':>9} {'steps':>6} {'certificate':>12}" for name in loops)
    lines = [
        f"{rows} x {dim}, {result['classes']} classes, {result['points']} points from C = 1e-7 to 1e2, z-scored; "
        f"ours with {result['threads']} threads, scikit-learn with {result['peer_threads']}",
        f"  {'C':>9}{heads} {'ours, cert.':>12} {'cold':>7} {'ours':>7} (accuracy)",
    ]
    for row in result["table"]:
        fits = "".join(
            f"{row[f'{name}_seconds']:9.2f} {row[f'{name}_iterations']:6} {row[f'{name}_certificate']:12.1e}"
            for name in loops
        )
        lines.append(
            f"  {row['C']:9.2g}{fits} {row['our_certificate']:12.1e} {row['cold_accuracy']:7.4f} "
            f"{row['our_accuracy']:7.4f}"
        )
    reached = [row for row in result["table"] if row["cold_iterations"] < PEER_ITERATIONS]
    worst = max((row["our_certificate"] / row["cold_certificate"] for row in reached), default=float("nan"))
    lines.append(
        f"  where scikit-learn converges ({len(reached)} of {len(result['table'])} points), our certificate is at most "
        f"{worst:.2f} of its"
    )
    low, high = min(result["ours"]), max(result["ours"])
    lines += [
        f"  ours, selection and refit {low:.1f} to {high:.1f} s, processor "
        f"{statistics.median(result['ours_processor']):.1f} s; worst certificate {result['our_worst_certificate']:.1e}",
        f"  features {result['features_bytes'] / 2**20:.0f} MiB, peak with them {result['peak_bytes'] / 2**20:.0f} MiB",
    ]
    for name in loops:
        scaled = f", scaled from {result['cold_points']} points" if name == "cold" else ""
        lines.append(
            f"  scikit-learn, {name} loop {result[name]:.0f} s, processor {result[f'{name}_processor']:.0f} s{scaled}; "
            f"worst certificate {result[f'{name}_worst_certificate']:.1e}: {result[f'{name}_ratio']:.1f} x ours, "
            f"processor {result[f'{name}_processor_ratio']:.1f} x"
        )
    return "\n".join(lines)


def draw_features(rows: int, dim: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw features like a network's: not negative, of falling variance, the classes apart in some directions."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, rows)
    latent = 0.7 * rng.normal(size=(classes, 64)).astype(np.float32)[labels]
    latent += rng.normal(size=(rows, 64)).astype(np.float32)
    features = latent @ rng.normal(size=(64, dim)).astype(np.float32) / 8
    features += rng.normal(size=(rows, dim)).astype(np.float32) * np.linspace(1, 0.1, dim, dtype=np.float32)
    return np.maximum(features, 0, out=features), labels


def measure_growth(points: int) -> list[dict[str, Any]]:
    """Time each shape in a process of its own, so that peak memory is its own too."""
    shapes = [(rows, 1280, 10) for rows in (10_000, 40_000, 160_000)]
    shapes += [(10_000, 2048, 10), (10_000, 1280, 2), (10_000, 1280, 100)]
    table = []
    for shape in shapes:
        command = [sys.executable, "-m", "benchmarks.sweep", "--points", str(points), "--shape", *map(str, shape)]
        table.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(growth_line(table[-1]), flush=True)
    return table


def measure_shape(rows: int, dim: int, classes: int, *, points: int) -> dict[str, Any]:
    features, labels = draw_features(rows, dim, classes)
    before = forget_peak()
    (seconds, processor), found, _ = ours(features, labels, split(labels), make_grid(points))
    return {
        "shape": [rows, dim],
        "classes": classes,
        "seconds": seconds,
        "processor_seconds": processor,
        "features_bytes": features.nbytes,
        "peak_bytes": features.nbytes + peak_bytes() - before,
        "worst_certificate": max(fits[0].bound / fits[0].objective for fits in found.fits),
    }


def measure_few() -> list[dict[str, Any]]:
    """Time a probe on few rows, and print what it took."""
    table = []
    for rows in (100, 250, 500):
        data = training_data(*draw_features(rows, 1280, 10))
        used = time.process_time()
        trained = train_logistic(data, LogisticOptions(), lambda _: None)
        fits = trained.selection["fits"]
        row = {
            "shape": [rows, 1280],
            "fits": len(fits),
            "processor_seconds": time.process_time() - used,
            "worst_certificate": max(fit["certificate"] / fit["objective"] for fit in fits),
        }
        print(
            f"  {rows:5} x 1280, 10 classes: {row['fits']} fits, processor {row['processor_seconds']:5.1f} s, "
            f"worst certificate {row['worst_certificate']:.1e}",
            flush=True,
        )
        table.append(row)
    return table


def growth_line(row: dict[str, Any]) -> str:
    rows, dim = row["shape"]
    used = row["processor_seconds"]
    allowed = 1.5 * row["features_bytes"] + 2**30
    return (
        f"  {rows:7} x {dim:4}, {row['classes']:3} classes: {row['seconds']:7.1f} s, processor {used:7.1f} s, "
        f"{1e6 * used / rows:6.0f} us a row, features {row['features_bytes'] / 2**20:5.0f} MiB, "
        f"peak {row['peak_bytes'] / 2**20:5.0f} MiB of {allowed / 2**20:5.0f} allowed, "
        f"worst certificate {row['worst_certificate']:.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the sweep as ratios of one run.")
    parser.add_argument("--rows", type=int, default=18_000)
    parser.add_argument("--points", type=int, default=45)
    parser.add_argument("--cold-points", type=int, default=9)
    parser.add_argument("--npz", type=Path, help="features (N, D) float32 and labels (N,) instead of pixels")
    parser.add_argument("--wide", action="store_true", help="60,000 rows of 1,280 features drawn from the pixels")
    parser.add_argument("--growth", action="store_true", help="time against rows, dimensions and classes")
    parser.add_argument("--few", action="store_true", help="time a probe on fewer rows than features")
    parser.add_argument("--shape", type=int, nargs=3, metavar=("N", "D", "K"), help="time one shape, as JSON")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    arguments = parser.parse_args()
    if arguments.shape:
        print(json.dumps(measure_shape(*arguments.shape, points=arguments.points)))
        return
    result: Any
    if arguments.growth:
        print(f"The sweep of {arguments.points} points on drawn features, selection and refit:")
        result = measure_growth(arguments.points)
    elif arguments.few:
        print("A logistic probe on few drawn rows, all of it:")
        result = measure_few()
    else:
        result = measure(*read(arguments), arguments.points, arguments.cold_points, arguments.wide)
        print(report(result), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


def read(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    if getattr(arguments, "wide", False):
        pixels, labels = read_pixels(60_000)
        return widen(pixels), labels
    if not arguments.npz:
        return read_pixels(arguments.rows)
    with np.load(arguments.npz) as given:
        return given["features"][: arguments.rows], given["labels"][: arguments.rows].astype(np.int64)


def forget_peak() -> int:
    """Let the process's peak memory be what it holds now, and return that; drawing the features took more."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def make_grid(points: int) -> list[float]:
    return [float(f"{C:.12g}") for C in 10.0 ** np.linspace(-7, 2, points)]


if __name__ == "__main__":
    main()
