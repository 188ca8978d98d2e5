"""How long ridge and knn take to select and refit, beside scikit-learn's own: ratios of one run.

    python -m benchmarks.heads [--rows 18000] [--rounds 3] [--npz FILE] [--json FILE]

Ours is what `probe` does: every penalty (or every k) scored by accuracy and NLL on the tenth held out, the choice, the
refit on all rows. The peers of ridge are `RidgeClassifierCV` over the same 45 penalties, whose rows each hold out
themselves, and a loop of `RidgeClassifier` that is fitted and scored at each of them; z-scored before the clock starts.
The peers of knn are `KNeighborsClassifier` (brute force, cosine) scored at each k, and one search of it for the largest
k, without votes. Rounds are interleaved and medians compared. The features are the pixels of Fashion-MNIST, or your
own. What ours and the loops score must be the same, up to near ties that rounding decides.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.sweep import read, training_data
from probe.heads.knn import KnnOptions, train_knn
from probe.heads.ridge import GRID, RidgeOptions, train_ridge
from probe.scaling import fit_scaler

NEIGHBOURS = (1, 5, 10, 20, 100)


class Contest:
    """Contestants by name; each returns the accuracies that it saw on the rows held out, or none."""

    def __init__(self, features: np.ndarray, labels: np.ndarray) -> None:
        self.data = training_data(features, labels)
        train, held_out, _ = self.data.holdout()
        self.pixels, self.labels = (features[train], features[held_out]), (labels[train], labels[held_out])
        scaler = fit_scaler("zscore", features[train])
        self.scaled = scaler.transform(features[train]), scaler.transform(features[held_out])
        self.all_scaled = fit_scaler("zscore", features).transform(features)

    def ridge(self) -> list[float]:
        table = train_ridge(self.data, RidgeOptions(rule="one_se"), lambda _: None).selection["table"]
        return [row["accuracy"] for row in table if row["alpha"] in GRID]

    def ridge_cv(self) -> list[float]:
        RidgeClassifierCV(alphas=GRID).fit(self.all_scaled, self.data.labels)
        return []

    def ridge_loop(self) -> list[float]:
        models = (RidgeClassifier(alpha).fit(self.scaled[0], self.labels[0]) for alpha in GRID)
        return [float(model.score(self.scaled[1], self.labels[1])) for model in models]

    def knn(self) -> list[float]:
        options = KnnOptions(k=NEIGHBOURS, weights="uniform", rule="one_se")
        table = train_knn(self.data, options, lambda _: None).selection["table"]
        return [row["accuracy"] for row in sorted(table, key=lambda row: row["k"])]

    def knn_loop(self) -> list[float]:
        model = KNeighborsClassifier(algorithm="brute", metric="cosine").fit(self.pixels[0], self.labels[0])
        return [float(model.set_params(n_neighbors=k).score(self.pixels[1], self.labels[1])) for k in NEIGHBOURS]

    def knn_search(self) -> list[float]:
        model = KNeighborsClassifier(max(NEIGHBOURS), algorithm="brute", metric="cosine")
        model.fit(self.pixels[0], self.labels[0]).kneighbors(self.pixels[1])
        return []


def measure(features: np.ndarray, labels: np.ndarray, rounds: int) -> dict[str, Any]:
    contest = Contest(features, labels)
    contestants: dict[str, Callable[[], list[float]]] = {
        name: getattr(contest, name) for name in ("ridge", "ridge_cv", "ridge_loop", "knn", "knn_loop", "knn_search")
    }
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    processor: dict[str, list[float]] = {name: [] for name in contestants}
    accuracies: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, run in contestants.items():
            begun, used = time.perf_counter(), time.process_time()
            accuracies[name] = run()
            wall[name].append(time.perf_counter() - begun)
            processor[name].append(time.process_time() - used)
    return {
        "shape": list(features.shape),
        "classes": int(labels.max()) + 1,
        "seconds": wall,
        "processor_seconds": processor,
        "ratios": {name: _ratio(wall, name) for name in contestants},
        "processor_ratios": {name: _ratio(processor, name) for name in contestants},
        "accuracy_differences": {
            head: float(np.abs(np.subtract(accuracies[head], accuracies[f"{head}_loop"])).max())
            for head in ("ridge", "knn")
        },
    }


def _ratio(found: dict[str, list[float]], name: str) -> float:
    return statistics.median(found[name]) / statistics.median(found[name.split("_")[0]])


def report(result: dict[str, Any]) -> str:
    rows, dim = result["shape"]
    lines = [
        f"{rows} x {dim}, {result['classes']} classes; selection and refit, medians of {len(result['seconds']['knn'])}"
    ]
    for name, title in (
        ("ridge", f"ridge, {len(GRID)} penalties and the decades beyond"),
        ("ridge_cv", "RidgeClassifierCV"),
        ("ridge_loop", "a loop of RidgeClassifier"),
        ("knn", f"knn, {len(NEIGHBOURS)} values of k"),
        ("knn_loop", "KNeighborsClassifier, scored at each k"),
        ("knn_search", "one search of KNeighborsClassifier"),
    ):
        seconds, used = (statistics.median(result[key][name]) for key in ("seconds", "processor_seconds"))
        lines.append(
            f"  {title:46} {seconds:7.2f} s, processor {used:7.2f} s  {result['ratios'][name]:6.2f} x ours, "
            f"processor {result['processor_ratios'][name]:6.2f} x"
        )
    ridge, knn = result["accuracy_differences"]["ridge"], result["accuracy_differences"]["knn"]
    lines.append(f"  ours and the loops differ in accuracy by at most {ridge:.1e} (ridge) and {knn:.1e} (knn)")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure ridge and knn as ratios of one run.")
    parser.add_argument("--rows", type=int, default=18_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--npz", type=Path, help="features (N, D) float32 and labels (N,) instead of pixels")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    arguments = parser.parse_args()
    result = measure(*read(arguments), arguments.rounds)
    print(report(result), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
