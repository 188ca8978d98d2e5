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
from linprobe.models.evidence import evidence_of, say_right
from linprobe.models.image_files import compute_images, find_images
from linprobe.models.runs import TrainedHead, open_trained_head
from linprobe.models.thumbnails import thumbnail
from probe.temperature import at_temperature
from reports.prediction_grid import GridCell, draw_prediction_grid
from reports.wording import storable
from store.commit import publish_file

__all__ = ["PredictOptions", "Predictions", "predict_examples", "predict_images", "write_csv", "write_grid"]

# As many as the lesson shows.
_GRID_CELLS = 30
# So few training images lie as far from their nearest: an image is told to be like none of them.
_UNLIKE = 0.01


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
    store = session.open_store()
    head = open_trained_head(store, run, session.environment)
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
    contents: dict[str, str] = {}
    small: dict[str, bytes] = {}
    turned = 0
    for example, row in compute_images(paths, head.extractor.preprocessing, opened, failures=outcome.failures):
        features[example.example_id] = row
        known = example.look()
        contents[example.example_id] = known.content.hex()
        turned += known.header is not None and known.header.orientation > 1
        if example.example_id in shown:
            small[example.example_id] = thumbnail(example, head.extractor.preprocessing.decoding)
    names = [str(path) for path in paths if str(path) in features]
    if names:
        rows = head.as_kept(np.stack([features[name] for name in names]))
        evidence = evidence_of(head, store, contents=[contents[name] for name in names], features=rows)
        outcome.rows = _documents(names, rows, head, evidence=evidence, is_labelled=options.is_labelled)
    if turned and head.extractor.preprocessing.decoding.orientation == "stored":
        session.say(
            f"{turned} of the images say how they are to be turned, and are seen as they are stored: so were those "
            "that this run was trained on."
        )
    outcome.cells = [_cell(row, small) for row in outcome.rows if row["image"] in small]
    outcome.lines = _table(outcome.rows, options.top)
    for failure in outcome.failures:
        session.say(str(failure.error))
    if options.is_labelled and outcome.rows:
        session.say(say_right(outcome.rows))
    if outcome.rows and head.temperature is not None:
        session.say(
            f"Shares are calibrated: logits divided by {head.temperature:.3g}, fitted on rows that the head was not "
            "trained on."
        )
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


def write_csv(outcome: Predictions, path: Path, session: Session) -> None:
    """Write a row per predicted image, its probabilities in columns named after the classes."""
    import pandas as pd

    rows = [
        {
            **{name: value for name, value in row.items() if name not in ("probabilities", "calibrated")},
            **{f"p({storable(name)})": share for name, share in row["probabilities"].items()},
        }
        for row in outcome.rows
    ]
    for row in rows:
        row |= {name: storable(row[name]) for name in ("image", "predicted", "label") if name in row}
    publish_file(path, pd.DataFrame(rows).to_csv(index=False).encode())
    session.say(f"{path.absolute()}: {len(rows)} rows.")


def write_grid(outcome: Predictions, path: Path, session: Session) -> None:
    """Write the grid of the first images as PNG, if there are any."""
    if not outcome.cells:
        session.say(f"{path}: not written, no image could be predicted.")
        return
    publish_file(path, draw_prediction_grid(outcome.cells))
    left_out = len(outcome.rows) - len(outcome.cells)
    session.say(f"{path.absolute()}: the first {len(outcome.cells)} images, {left_out} more are not on it.")


def _documents(
    names: Sequence[str],
    features: np.ndarray,
    head: TrainedHead,
    *,
    evidence: Sequence[Mapping[str, Any]],
    is_labelled: bool,
) -> list[dict[str, Any]]:
    classes = head.run.class_names
    documents: list[dict[str, Any]] = []
    found = head.predict_proba(features)
    calibrated = found if head.temperature is None else at_temperature(found, head.temperature)
    for name, probabilities, shares, known in zip(names, found, calibrated, evidence, strict=True):
        best = int(probabilities.argmax())
        document: dict[str, Any] = {
            "image": name,
            "predicted": classes[best],
            "confidence": float(probabilities[best]),
            "calibrated_confidence": float(shares[best]),
            **known,
        }
        if is_labelled:
            label = _folder_class(Path(name))
            document |= {"label": label, "is_correct": label == classes[best]}
        document["probabilities"] = dict(zip(classes, probabilities.tolist(), strict=True))
        documents.append({**document, "calibrated": dict(zip(classes, shares.tolist(), strict=True))})
    return documents


def _cell(row: Mapping[str, Any], small: Mapping[str, bytes]) -> GridCell:
    return GridCell(small[row["image"]], row["predicted"], row["confidence"], row.get("label"))


def _table(rows: list[dict[str, Any]], top: int) -> list[str]:
    lines = []
    width = max((len(row["image"]) for row in rows), default=0)
    for row in rows:
        ranked = sorted(row["calibrated"].items(), key=lambda item: -item[1])[:top]
        marks = {True: "  right", False: f"  wrong: {row.get('label')}", None: ""}
        classes = "  ".join(f"{name} {share:.1%}" for name, share in ranked)
        told = marks[row.get("is_correct")]
        if row["trained_on"]:
            told += "  trained on"
        elif row["distance_p"] is not None and row["distance_p"] <= _UNLIKE:
            told += f"  like none of them (p = {row['distance_p']:.2g})"
        lines.append(f"{row['image']:<{width}}  {classes}{told}")
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
