"""`linprobe export`: a run's extractor and head as one model for other programs."""

import os
import tempfile
from pathlib import Path
from typing import Any

from extract.serving import convert_to_tflite, save_encoded_model
from linprobe.job.errors import ConfigError
from linprobe.job.session import Session
from linprobe.models.runs import TrainedHead, open_trained_head
from probe.prediction_graph import probability_function
from store.commit import publish_file

__all__ = ["MODEL_FORMATS", "PIXEL_TYPES", "export_run"]

MODEL_FORMATS = ("savedmodel", "tflite")
PIXEL_TYPES = ("float32", "uint8")


def export_run(
    run: str, out: Path, session: Session, *, model_format: str = "savedmodel", pixels: str = "float32"
) -> dict[str, Any]:
    """Write a run's extractor and head as one model, and say what it takes and gives.

    Args:
        run: see `linprobe.models.runs.find_run`.
        out: the SavedModel's folder, or the TensorFlow Lite file.
        session: whose store holds the run, where models are kept, and who is told.
        model_format: one of `MODEL_FORMATS`.
        pixels: one of `PIXEL_TYPES`: what the TensorFlow Lite model takes.

    Raises:
        ConfigError: a head of neighbours, or something stands in the folder's place.
        ModelMismatch: the extractor is no TensorFlow network.
    """
    head = open_trained_head(session.open_store(), run, session.environment)
    session.say(head.title)
    if "kernel" not in head.arrays:
        raise ConfigError(
            f"{run}: a {head.run.config['head']} head is its training rows, without weights that a model could hold; "
            "export a run of logistic, ridge or dense."
        )
    if model_format == "savedmodel" and out.exists():
        raise ConfigError(f"{out}: is there already; name another --out, or remove it first.")
    session.environment.prepare_frameworks()
    if head.extractor.precision != "float32":
        session.say(f"note: the exported model computes in float32, the run's features in {head.extractor.precision}.")
    written = _write_saved_model(head, out) if model_format == "savedmodel" else _write_tflite(head, out, pixels)
    return {
        "run_id": head.run.run_id,
        "format": model_format,
        "path": str(out.absolute()),
        "class_names": list(head.run.class_names),
        **written,
    }


def _write_saved_model(head: TrainedHead, out: Path) -> dict[str, Any]:
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    # Renamed when it is whole: a program that watches the folder must not load half of it.
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=".linprobe-export-") as temporary:
        folder = Path(temporary) / "model"
        save_encoded_model(
            head.extractor, probability_function(head.arrays, "float64"), head.run.class_names, folder=folder
        )
        os.replace(folder, out)
    return {"takes": "image_bytes: (N,) encoded images", "labels": str(out.absolute() / "assets" / "labels.txt")}


def _write_tflite(head: TrainedHead, out: Path, pixels: str) -> dict[str, Any]:
    data = convert_to_tflite(head.extractor, probability_function(head.arrays, "float32"), pixels)
    labels = out.with_suffix(".labels.txt")
    publish_file(out, data)
    publish_file(labels, "".join(f"{name}\n" for name in head.run.class_names).encode())
    size = head.extractor.preprocessing.size
    return {"takes": f"images: (1, {size}, {size}, 3) {pixels}, RGB, 0 to 255", "labels": str(labels.absolute())}
