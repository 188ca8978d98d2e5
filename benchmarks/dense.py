"""How long a grid of 52 dense heads takes beside one head of Keras: ratios of one run.

    python -m benchmarks.dense [--rows 18000] [--epochs 6] [--batch 32] [--rounds 5] [--npz FILE] [--json FILE]

Ours trains 13 learning rates by 4 weight decays in one pass over the features, as one wide layer; the peer is one
`keras.Sequential.fit` of one Dense softmax head, with the same epochs, batch size and rows. Both are built anew in each
round, so that each pays for its own compiling; what is left of ours without that stands beside it. Rounds are
interleaved and medians compared. The features are the pixels of Fashion-MNIST, or your own.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sweep import read_pixels
from probe.heads.dense_options import LEARNING_RATES, WEIGHT_DECAYS
from probe.heads.wide import WideDense
from probe.heads.wide_steps import Architecture, Column
from probe.scaling import fit_scaler

COLUMNS = [Column(rate, decay) for decay in WEIGHT_DECAYS for rate in LEARNING_RATES]


def seconds_of(function: Any, *arguments: Any, **named: Any) -> float:
    start = time.perf_counter()
    function(*arguments, **named)
    return time.perf_counter() - start


def ours(features: np.ndarray, labels: np.ndarray, epochs: int, batch: int) -> tuple[float, float, WideDense]:
    """Train the grid twice: with its compiling, and with what was compiled; returns the seconds of both."""
    architecture = Architecture(features.shape[1], int(labels.max()) + 1, batch_size=batch)
    rows, scaler = np.arange(len(labels)), fit_scaler("none", features)
    start = time.perf_counter()
    wide = WideDense(architecture, COLUMNS, seed=0, rows=len(labels))
    wide.fit(features, labels, rows, scaler=scaler, epochs=epochs)
    cold = time.perf_counter() - start
    return cold, seconds_of(wide.fit, features, labels, rows, scaler, epochs), wide


def keras_fit(features: np.ndarray, labels: np.ndarray, epochs: int, batch: int) -> float:
    import keras

    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(int(labels.max()) + 1, activation="softmax")
    model = keras.Sequential([keras.Input((features.shape[1],)), dense])
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return seconds_of(model.fit, features, labels, batch_size=batch, epochs=epochs, verbose=0)


def measure(features: np.ndarray, labels: np.ndarray, epochs: int, batch: int, rounds: int) -> dict[str, Any]:
    keras_fit(features[:64], labels[:64], 1, batch)  # Imports and first use, which nobody shall pay for.
    cold, warm, peer = [], [], []
    for number in range(rounds):
        first, second, wide = ours(features, labels, epochs, batch)
        cold.append(first)
        warm.append(second)
        peer.append(keras_fit(features, labels, epochs, batch))
        print(f"round {number + 1}: grid {first:.2f} s, without compiling {second:.2f} s, Keras {peer[-1]:.2f} s",
              file=sys.stderr, flush=True)  # fmt: skip
    logits = wide.logits(features, np.arange(min(len(labels), 5000)), fit_scaler("none", features))
    accuracies = (logits.argmax(axis=2) == labels[: len(logits), None]).mean(axis=0)
    return {
        "shape": list(features.shape),
        "classes": int(labels.max()) + 1,
        "heads": len(COLUMNS),
        "epochs": epochs,
        "batch": batch,
        "grid": cold,
        "grid_without_compiling": warm,
        "keras": peer,
        "ratio": statistics.median(cold) / statistics.median(peer),
        "ratio_without_compiling": statistics.median(warm) / statistics.median(peer),
        "best_training_accuracy": float(accuracies.max()),
    }


def report(result: dict[str, Any]) -> str:
    rows, dim = result["shape"]
    lines = [
        f"{rows} x {dim}, {result['classes']} classes, {result['epochs']} epochs in batches of {result['batch']}; "
        f"{result['heads']} heads against one",
    ]
    for name, title in (
        ("keras", "Keras fit of one head"),
        ("grid", f"ours, {result['heads']} heads, compiling included"),
        ("grid_without_compiling", "ours, without compiling"),
    ):
        low, middle, high = min(result[name]), statistics.median(result[name]), max(result[name])
        lines.append(f"  {title:42} {middle:7.2f} s  ({low:.2f} to {high:.2f})")
    lines.append(
        f"  {result['ratio']:.2f} x one Keras fit; {result['ratio_without_compiling']:.2f} x without compiling"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a grid of dense heads as ratios of one run.")
    parser.add_argument("--rows", type=int, default=18_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--npz", type=Path, help="features (N, D) float32 and labels (N,) instead of pixels")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    arguments = parser.parse_args()
    if arguments.npz:
        with np.load(arguments.npz) as given:
            features, labels = given["features"][: arguments.rows], given["labels"][: arguments.rows].astype(np.int64)
    else:
        features, labels = read_pixels(arguments.rows)
        features /= 255.0
    result = measure(features, labels, arguments.epochs, arguments.batch, arguments.rounds)
    print(report(result), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
