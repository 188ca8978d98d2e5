"""Runs built by hand: small frames whose numbers a reader can check."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from store import ProbeResult

CURVES = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train_loss_running": [2.0, 1.2, 0.9],
        "train_accuracy_running": [0.3, 0.6, 0.7],
        "train_loss": [1.5, 1.0, 0.8],
        "train_accuracy": [0.5, 0.65, 0.75],
        "validation_loss": [1.6, 1.1, 0.95],
        "validation_accuracy": [0.45, 0.6, 0.7],
    }
)
TABLE = [
    {"C": 0.001, "accuracy": 0.5, "standard_error": 0.02, "nll": 1.2},
    {"C": 0.01, "accuracy": 0.7, "standard_error": 0.02, "nll": 0.9},
    {"C": 0.1, "accuracy": 0.69, "standard_error": 0.02, "nll": 0.95},
]


def predictions(labels: Sequence[int], predicted: Sequence[int], prefix: str = "test/") -> pd.DataFrame:
    """A row per pair of labels; confidence falls from 0.9 by 0.001, hashes are those of the ids."""
    ids = [f"{prefix}{index:04d}" for index in range(len(labels))]
    right = np.array(labels) == np.array(predicted)
    confidence = 0.9 - 0.001 * np.arange(len(labels))
    return pd.DataFrame(
        {
            "example_id": ids,
            "content_sha256": [hashlib.sha256(name.encode()).hexdigest() for name in ids],
            "group": [""] * len(ids),
            "label": np.array(labels, np.int64),
            "predicted": np.array(predicted, np.int64),
            "is_correct": right,
            "confidence": confidence,
            "label_probability": np.where(right, confidence, 1 - confidence),
        }
    )


@dataclass(frozen=True)
class Verdict:
    """What `probe.judge_runs` would say."""

    is_best: bool = False
    is_indistinguishable: bool = False
    p_best: float | None = None
    disagreement: str = ""


def build_run(
    run: str = "a",
    *,
    frame: pd.DataFrame | None = None,
    class_names: tuple[str, ...] = ("cat", "dog", "owl"),
    metrics: dict[str, float] | None = None,
    curves: pd.DataFrame | None = None,
    selection: dict[str, Any] | None = None,
    warnings: tuple[str, ...] = (),
    created: str = "2026-11-24T10:00:00+00:00",
    fit: dict[str, Any] | None = None,
    n_train: int = 100,
    **config: Any,
) -> ProbeResult:
    """A run whose test split has four cats, three dogs and three owls, 7 of 10 right."""
    if frame is None:
        frame = predictions([0, 0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 0, 1, 1, 1, 0, 2, 2, 1])
    numbers = {"accuracy": 0.7, "accuracy_low": 0.4, "accuracy_high": 0.9, "balanced_accuracy": 0.69,
               "balanced_accuracy_low": 0.4, "balanced_accuracy_high": 0.9,
               "macro_f1": 0.68, "nll": 0.8, "ece": 0.05}  # fmt: skip
    asked = {
        "dataset": "pets", "extractor": "mobilenet_v2", "head": "logistic", "options": {}, "train": "train",
        "validation": "", "test": "test", "seed": 0, "shots": "all", "train_share": 1.0, "metric": "accuracy", "sets": {"train": "5" * 64, "test": "6" * 64},
        "protocol": 1,
    }  # fmt: skip
    counts = {"n_train": n_train, "n_validation": 0, "n_test": len(frame), "dim": 1280, "classes": len(class_names)}
    return ProbeResult(
        run_id=hashlib.sha256(run.encode()).hexdigest(),
        config={**asked, **config},
        counts=counts,
        selection=selection or {"method": "", "selected": {}, "table": [], "notes": []},
        metrics={**numbers, **(metrics or {})},
        class_names=class_names,
        predictions=frame,
        curves=pd.DataFrame() if curves is None else curves,
        head={},
        fit={"converged": True, "iterations": 12, **(fit or {})},
        warnings=warnings,
        seconds=1.25,
        created=created,
        versions={"scikit-learn": "1.9.1"},
    )


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG bytes of an image, (H, W) or (H, W, 3) uint8."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(name="make_run")
def make_run_fixture() -> Callable[..., ProbeResult]:
    return build_run


@pytest.fixture(name="make_verdict")
def make_verdict_fixture() -> type[Verdict]:
    return Verdict


@pytest.fixture(name="make_predictions")
def make_predictions_fixture() -> Callable[..., pd.DataFrame]:
    return predictions


@pytest.fixture(name="make_png")
def make_png_fixture() -> Callable[[np.ndarray], bytes]:
    return encode_png


@pytest.fixture(name="curves")
def curves_fixture() -> pd.DataFrame:
    return CURVES.copy()


@pytest.fixture(name="table")
def table_fixture() -> list[dict[str, float]]:
    return [dict(row) for row in TABLE]
