"""`linprobe explain`: where in an image a head finds its evidence, and what layers make of it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from extract import BadData, Example
from extract.activations import open_layers
from extract.preprocessing import Crop, Preprocessing
from extract.single_images import compute_each
from linprobe.job.errors import ConfigError
from linprobe.job.failures import Failure
from linprobe.job.session import Session
from linprobe.models.evidence import TrainedOn, open_evidence
from linprobe.models.image_files import compute_images, find_images
from linprobe.models.runs import TrainedHead, open_trained_head
from probe.evidence import class_maps, is_linear
from probe.scaling import softmax
from reports.explanation_page import ExplainedImage, explanation_page
from reports.folder import replace_report
from reports.heat_maps import ClassMap, draw_channels, draw_class_maps

__all__ = ["ExplainOptions", "Explained", "Explanations", "explain_examples", "explain_images", "layer_names"]

_BATCH_SIZE = 8


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """What is drawn.

    Attributes:
        top: how many classes, the likeliest first.
        layers: these layers' channels instead of maps for classes.
    """

    top: int = 3
    layers: tuple[str, ...] = ()


@dataclass
class Explanations:
    """Result of the images.

    Attributes:
        run_id: whose head was explained.
        page: where the drawings are listed.
        rows: a document per image.
        failures: images that were not explained.
    """

    run_id: str
    page: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return what --json prints."""
        errors = [failure.row() for failure in self.failures]
        return {"run_id": self.run_id, "page": str(self.page), "explanations": self.rows, "errors": errors}


def layer_names(run: str, session: Session) -> list[str]:
    """Return the layers of a run's network that can be drawn, from the image to the features."""
    session.environment.prepare_frameworks()
    return open_layers(open_trained_head(session.open_store(), run, session.environment).extractor).names


def explain_images(
    run: str, images: Sequence[str], session: Session, *, out: Path, options: ExplainOptions
) -> Explanations:
    """Draw class activation maps of images, or what named layers make of them.

    Args:
        run: see `linprobe.models.runs.find_run`.
        images: files, folders and patterns.
        session: whose store holds the run, where models are kept, and who is told.
        out: the folder that gets the drawings and a page that lists them: missing, empty, or made by us, and then
            replaced.
        options: what is drawn.

    Raises:
        ConfigError: the head is not linear.
        ModelMismatch: the network does not end in global average pooling.
        UnknownName: there is no such layer.
        NotAReport: `out` holds what neither a report nor explanations of ours wrote.
    """
    store = session.open_store()
    head = open_trained_head(store, run, session.environment)
    known = open_evidence(store, head.run)
    session.say(head.title)
    session.environment.prepare_frameworks()
    explainer = _explainer(head, options)
    outcome = Explanations(head.run.run_id, out.absolute() / "index.html")
    paths = find_images(images, outcome.failures)
    # Asked before minutes are spent, and once more when the folder takes its place.
    with replace_report(out) as folder:
        _explain_into(folder, paths, explainer, head=head, known=known, outcome=outcome, session=session)
    return outcome


def _explain_into(
    folder: Path,
    paths: Sequence[Path],
    explainer: "_Explainer",
    *,
    head: TrainedHead,
    known: TrainedOn | None,
    outcome: Explanations,
    session: Session,
) -> None:
    """Draw what there is to draw into an empty folder, and a page that lists it."""
    pages: dict[str, ExplainedImage] = {}
    rows: dict[str, dict[str, Any]] = {}
    for example, value in compute_images(
        paths, head.extractor.preprocessing, lambda: explainer, failures=outcome.failures
    ):
        name = example.example_id
        stem = _file_stem(paths.index(Path(name)) + 1, Path(name))
        explained = explainer.explain(example, value)
        drawings = {f"{stem}{ending}.png": text for ending, (_, text) in explained.drawings.items()}
        for ending, (data, _) in explained.drawings.items():
            (folder / f"{stem}{ending}.png").write_bytes(data)
        pages[name] = ExplainedImage(name, drawings)
        is_seen = None if known is None else example.look().content.hex() in known.contents
        rows[name] = {"image": name, "files": list(drawings), "trained_on": is_seen, **explained.row}
    order = [str(path) for path in paths if str(path) in rows]
    outcome.rows = [rows[name] for name in order]
    _say_seen(outcome.rows, session)
    for failure in outcome.failures:
        session.say(str(failure.error))
    title = " / ".join(head.run.config[part] for part in ("dataset", "extractor", "head"))
    page = explanation_page(
        title, explainer.how_to_read, [pages[name] for name in order], created=session.environment.now()
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def _say_seen(rows: Sequence[Mapping[str, Any]], session: Session) -> None:
    """Say how many of the images trained the run: what explains those need not explain others."""
    seen = sum(bool(row["trained_on"]) for row in rows)
    if any(row["trained_on"] is None for row in rows):
        session.say("Whether these images trained this run is not known, for its sets are gone.")
    elif seen:
        session.say(f"{len(rows) - seen} of {len(rows)} images did not train this run; {seen} did, and say less.")


def explain_examples(head: TrainedHead, examples: Iterable[Example], options: ExplainOptions) -> "list[Explained]":
    """Draw class activation maps of images, or what named layers make of them; write nothing.

    Args:
        head: a run's, with its extractor.
        examples: the images.
        options: what is drawn.

    Raises:
        ConfigError, ModelMismatch, UnknownName: see `explain_images`.
        BadData: an image cannot be decoded.
    """
    explainer = _explainer(head, options)
    given = list(examples)
    found = {}
    for computed in compute_each(iter(given), head.extractor.preprocessing, lambda: explainer):
        if computed.value is None:
            raise BadData(f"{computed.example.example_id}: {computed.reason}.")
        found[computed.example.example_id] = explainer.explain(computed.example, computed.value)
    return [found[example.example_id] for example in given]


@dataclass(frozen=True)
class Explained:
    """What one image gave.

    Attributes:
        row: a document: its classes with probability, logit and intercept, or its layers.
        drawings: ending of a file's name → (PNG bytes, what it shows).
    """

    row: dict[str, Any]
    drawings: dict[str, tuple[bytes, str]]


def _explainer(head: TrainedHead, options: ExplainOptions) -> "_Explainer":
    return _LayerSheets(head, options) if options.layers else _EvidenceMaps(head, options)


class _Explainer(Protocol):
    how_to_read: str
    batch_size: int

    def __call__(self, images: np.ndarray) -> Iterable[Any]: ...

    def explain(self, example: Example, value: Any) -> Explained: ...


class _EvidenceMaps:
    """Draws where the evidence for the likeliest classes lies."""

    how_to_read = (
        "A class's logit is exactly the mean of its map plus its intercept. Red places speak for the class, blue ones "
        "against it; the maps of one image share one scale. The network's last layer is coarse, so maps are smoothed "
        "when they are drawn."
    )
    batch_size = _BATCH_SIZE

    def __init__(self, head: TrainedHead, options: ExplainOptions) -> None:
        if not is_linear(head.arrays):
            raise ConfigError(
                f"{head.run.run_id[:12]}: a map that adds up to the logit needs a linear head, and this is "
                f"{head.run.config['head']}, whose logits are not linear in the features; take a run of logistic, "
                "ridge or dense without a hidden layer, or look at --layers."
            )
        self._head, self._top = head, options.top
        self._before_mean = open_layers(head.extractor).before_mean()

    def __call__(self, images: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        return zip(images, self._before_mean(images), strict=True)

    def explain(self, example: Example, value: tuple[np.ndarray, np.ndarray]) -> Explained:
        image, activations = value
        maps, intercepts = class_maps(self._head.arrays, activations)
        logits = maps.mean(axis=(1, 2)) + intercepts
        shares = softmax(logits)
        names = self._head.run.class_names
        likeliest = np.argsort(-shares, kind="stable")[: self._top].tolist()
        drawn = [
            ClassMap(names[k], float(shares[k]), float(logits[k]), float(intercepts[k]), maps[k]) for k in likeliest
        ]
        view = np.clip(np.round(image), 0, 255).astype(np.uint8)
        data = draw_class_maps(view, _aspect(example, self._head.extractor.preprocessing), drawn)
        text = ", ".join(f"{entry.name} {entry.probability:.1%}" for entry in drawn)
        classes = [
            {
                "class": entry.name,
                "probability": entry.probability,
                "logit": entry.logit,
                "map_mean": entry.logit - entry.intercept,
                "intercept": entry.intercept,
            }
            for entry in drawn
        ]
        return Explained({"classes": classes}, {"": (data, text)})


class _LayerSheets:
    """Draws the channels of named layers."""

    how_to_read = (
        "Every tile is a channel of the layer, from its own least value (dark) to its greatest (bright); a channel "
        "that is the same everywhere stays dark."
    )
    batch_size = _BATCH_SIZE

    def __init__(self, head: TrainedHead, options: ExplainOptions) -> None:
        self._layers = list(dict.fromkeys(options.layers))
        self._activations = open_layers(head.extractor).activations(self._layers)

    def __call__(self, images: np.ndarray) -> Iterable[tuple[np.ndarray, ...]]:
        return zip(*self._activations(images), strict=True)

    def explain(self, example: Example, value: tuple[np.ndarray, ...]) -> Explained:
        sheets, shapes = {}, []
        for number, (name, activations) in enumerate(zip(self._layers, value, strict=True), 1):
            height, width, channels = activations.shape
            text = f"{name}: {channels} channels of {height} x {width}"
            sheets[f"-layer{number}"] = draw_channels(activations), text
            shapes.append({"layer": name, "height": height, "width": width, "channels": channels})
        return Explained({"layers": shapes}, sheets)


def _aspect(example: Example, preprocessing: Preprocessing) -> float:
    """Return width by height of what the network saw, before it was made a square."""
    header = example.look().header
    is_whole = Crop.parse(preprocessing.crop, preprocessing.size).rule in ("none", "fraction")
    if header is None or not is_whole:
        return 1.0
    width, height = header.shown_size(preprocessing.decoding)
    return width / height


def _file_stem(number: int, path: Path) -> str:
    # An image's name is anybody's; of a file of ours it may only decide letters that are harmless everywhere.
    return f"{number:04d}-{re.sub('[^A-Za-z0-9_-]', '_', path.stem)[:60]}"
