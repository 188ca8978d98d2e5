"""`linprobe predict`: images through a run's extractor and head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from extract import BadData, Engine, Example, open_engine
from extract.single_images import compute_each
from linprobe.job.config import nearest
from linprobe.job.failures import Failure
from linprobe.job.session import Session
from linprobe.models.image_files import compute_images, find_images
from linprobe.models.runs import TrainedHead, open_trained_head
from linprobe.models.thumbnails import thumbnail
from reports.prediction_grid import GridCell, draw_prediction_grid
from store.commit import publish_file

__all__ = ["PredictOptions", "Predictions", "predict_examples", "predict_images", "write_grid"]

# As many as the lesson shows.
_GRID_CELLS = 30


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What the command line asks.

    Attributes:
        is_labelled: the folder that holds an image names its class.
        engine: as for `extract`.
        top: how many classes a line of the table shows.
        has_grid: whether small images are kept for a grid.
    """

    is_labelled: bool = False
    engine: str = "auto"
    top: int = 3
    has_grid: bool = False


@dataclass
class Predictions:
    """Result of the images.

    Attributes:
        run_id: whose head predicted.
        rows: a document per predicted image, in the order of the arguments.
        lines: the same as a table for people.
        cells: the first images, for a grid.
        failures: images without a prediction.
    """

    run_id: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    cells: list[GridCell] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return what --json prints."""
        return {
            "run_id": self.run_id,
            "predictions": self.rows,
            "errors": [failure.row() for failure in self.failures],
        }


def predict_images(run: str, images: Sequence[str], session: Session, *, options: PredictOptions) -> Predictions:
    """Predict the classes of images; one that cannot be read stops no other.

    Args:
        run: see `linprobe.models.runs.find_run`.
        images: files, folders and patterns.
        session: whose store holds the run, where models are kept, and who is told.
        options: what else was asked.

    Raises:
        RunNotFound, FeatureSetNotFound, ModelUnavailable, ModelMismatch: see `linprobe.models.runs.open_trained_head`.
    """
    head = open_trained_head(session.open_store(), run, session.environment)
    session.say(head.title)
    outcome = Predictions(head.run.run_id)
    paths = find_images(images, outcome.failures)
    if options.is_labelled:
        _require_classes(paths, head.run.class_names)
    session.environment.prepare_frameworks()

    def opened() -> Engine:
        return open_engine(head.extractor, options.engine, session.say)

    shown = {str(path) for path in paths[:_GRID_CELLS]} if options.has_grid else set()
    features: dict[str, np.ndarray] = {}
    small: dict[str, bytes] = {}
    for example, row in compute_images(paths, head.extractor.preprocessing, opened, failures=outcome.failures):
        features[example.example_id] = row
        if example.example_id in shown:
            small[example.example_id] = thumbnail(example, head.extractor.preprocessing.decoding)
    names = [str(path) for path in paths if str(path) in features]
    outcome.rows = _documents([(name, features[name]) for name in names], head, is_labelled=options.is_labelled)
    outcome.cells = [_cell(row, small) for row in outcome.rows if row["image"] in small]
    outcome.lines = _table(outcome.rows, options.top)
    for failure in outcome.failures:
        session.say(str(failure.error))
    if options.is_labelled and outcome.rows:
        correct = sum(row["is_correct"] for row in outcome.rows)
        session.say(f"{correct} of {len(outcome.rows)} are right ({correct / len(outcome.rows):.1%}).")
    return outcome


def predict_examples(
    head: TrainedHead, examples: Sequence[Example], session: Session, *, engine: str = "auto"
) -> tuple[list[str], np.ndarray]:
    """Predict the classes of images that a program gives.

    Args:
        head: a run's, with its extractor.
        examples: N images.
        session: who is told.
        engine: what computes.

    Returns:
        Their N names, and (N, K) float64 probabilities.

    Raises:
        BadData: an image cannot be decoded.
    """
    rows: dict[str, np.ndarray] = {}

    def opened() -> Engine:
        return open_engine(head.extractor, engine, session.say)

    for computed in compute_each(iter(examples), head.extractor.preprocessing, opened):
        if computed.value is None:
            raise BadData(f"{computed.example.example_id}: {computed.reason}.")
        rows[computed.example.example_id] = computed.value
    names = [example.example_id for example in examples]
    return names, head.predict_proba(np.stack([rows[name] for name in names]))


def write_grid(outcome: Predictions, path: Path, session: Session) -> None:
    """Write the grid of the first images as PNG, if there are any."""
    if not outcome.cells:
        session.say(f"{path}: not written, no image could be predicted.")
        return
    publish_file(path, draw_prediction_grid(outcome.cells))
    left_out = len(outcome.rows) - len(outcome.cells)
    session.say(f"{path.absolute()}: the first {len(outcome.cells)} images, {left_out} more are not on it.")


def _documents(rows: Sequence[tuple[str, np.ndarray]], head: TrainedHead, *, is_labelled: bool) -> list[dict[str, Any]]:
    if not rows:
        return []
    classes = head.run.class_names
    documents: list[dict[str, Any]] = []
    found = head.predict_proba(np.stack([row for _, row in rows]))
    for (name, _), probabilities in zip(rows, found, strict=True):
        best = int(probabilities.argmax())
        document: dict[str, Any] = {
            "image": name,
            "predicted": classes[best],
            "confidence": float(probabilities[best]),
        }
        if is_labelled:
            label = _folder_class(Path(name))
            document |= {"label": label, "is_correct": label == classes[best]}
        documents.append({**document, "probabilities": dict(zip(classes, probabilities.tolist(), strict=True))})
    return documents


def _cell(row: Mapping[str, Any], small: Mapping[str, bytes]) -> GridCell:
    return GridCell(small[row["image"]], row["predicted"], row["confidence"], row.get("label"))


def _table(rows: list[dict[str, Any]], top: int) -> list[str]:
    lines = []
    width = max((len(row["image"]) for row in rows), default=0)
    for row in rows:
        ranked = sorted(row["probabilities"].items(), key=lambda item: -item[1])[:top]
        marks = {True: "  right", False: f"  wrong: {row.get('label')}", None: ""}
        classes = "  ".join(f"{name} {share:.1%}" for name, share in ranked)
        lines.append(f"{row['image']:<{width}}  {classes}{marks[row.get('is_correct')]}")
    return lines


def _folder_class(path: Path) -> str:
    return path.absolute().parent.name


def _require_classes(paths: Sequence[Path], class_names: Sequence[str]) -> None:
    for path in paths:
        name = _folder_class(path)
        if name not in class_names:
            raise BadData(
                f"{path}: with --labelled the folder of an image names its class, but the run has no class {name!r}; "
                f"{nearest(name, class_names)}."
            )
