"""`linprobe classify`: images through a whole classifier with its own labels, nothing of ours trained."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from extract import Engine, open_engine
from extract.classifiers import open_classifier
from linprobe.job.errors import ConfigError
from linprobe.job.failures import Failure
from linprobe.job.session import Session
from linprobe.models.image_files import compute_images, find_images
from linprobe.models.pins import pinning

__all__ = ["Classified", "ClassifyOptions", "classify_images"]


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions:
    """What the command line asks.

    Attributes:
        labels: a file with a class a line, for a classifier whose labels are not known.
        top: how many classes are kept of an image, the likeliest first.
        engine: as for `extract`.
        trust: whether a SavedModel may run operations outside of the list.
    """

    labels: Path | None = None
    top: int = 5
    engine: str = "auto"
    trust: bool = False


@dataclass
class Classified:
    """Result of the images.

    Attributes:
        extractor: the classifier's name.
        rows: a document per image, in the order of the arguments.
        failures: images without an answer.
    """

    extractor: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return what --json prints."""
        errors = [failure.row() for failure in self.failures]
        return {"extractor": self.extractor, "predictions": self.rows, "errors": errors}

    def text(self) -> str:
        """Return a line per image."""
        width = max((len(row["image"]) for row in self.rows), default=0)
        return "\n".join(
            f"{row['image']:<{width}}  "
            + "  ".join(f"{name} {share:.1%}" for name, share in row["probabilities"].items())
            for row in self.rows
        )


def classify_images(extractor: str, images: Sequence[str], session: Session, *, options: ClassifyOptions) -> Classified:
    """Name what a whole classifier sees in images; one that cannot be read stops no other.

    Args:
        extractor: see `extract.classifiers.open_classifier`.
        images: files, folders and patterns.
        session: where models are kept, and who is told.
        options: what else was asked.

    Raises:
        UnknownName: there is no such classifier.
        ModelUnavailable: its weights or its labels are unavailable.
        ModelMismatch: it gives another number of scores than there are labels.
    """
    outcome = Classified(extractor)
    labels = _read_labels(options.labels) if options.labels else None
    paths = find_images(images, outcome.failures)
    session.environment.prepare_frameworks()
    classifier = open_classifier(extractor, session.environment.caches, labels, is_trusted=options.trust)

    def opened() -> Engine:
        return open_engine(classifier.network, options.engine, session.say)

    if session.has_store():
        # With its top it may be another file than the extractor of this name is.
        network = replace(classifier.network, name=f"{extractor} (classifier)")
        opened = pinning(opened, network, session, is_trusted=options.trust)
    found = {}
    # Files are seen as viewers show them.
    preprocessing = classifier.network.seeing("exif").preprocessing
    for example, scores in compute_images(paths, preprocessing, opened, failures=outcome.failures):
        found[example.example_id] = _document(example.example_id, classifier.named(scores), options.top)
    outcome.rows = [found[str(path)] for path in paths if str(path) in found]
    for failure in outcome.failures:
        session.say(str(failure.error))
    return outcome


def _document(name: str, named: tuple[np.ndarray, Sequence[str]], top: int) -> dict[str, Any]:
    probabilities, names = named
    ranked = np.argsort(-probabilities, kind="stable")[:top].tolist()
    return {
        "image": name,
        "predicted": names[ranked[0]],
        "confidence": float(probabilities[ranked[0]]),
        "probabilities": {names[label]: float(probabilities[label]) for label in ranked},
    }


def _read_labels(path: Path) -> list[str]:
    try:
        labels = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
        raise ConfigError(f"--labels {path}: a text file in UTF-8 with a class a line expected.") from error
    return labels
