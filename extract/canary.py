"""The canary: a few fixed images that show, before rows are added to a pool, whether the numbers still come out.

Hosts, engines and libraries are in no key, since they must not change the numbers; the canary watches that
they do not. What the pool's first writer saw is kept with the pool, in `canary.json`.
"""

import base64
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from extract.decoding import decode_carefully, read_header
from extract.engines.engine import Engine
from extract.errors import CanaryDrift
from extract.extractors.extractor import Extractor
from extract.pixels import decode_plain
from extract.single_images import compute_each
from extract.sources.example import Example
from store import Pool, keep_canary, read_canary

__all__ = ["CanaryWatch", "Sighting", "inherit_canary", "sight"]

# Relative L2 of one row. Engines agree within 1e-5 over many rows; a single row, on an image of hardly
# any contrast, was seen at 1.04e-5. In bfloat16 TensorFlow's kernels and XLA's were 3.2e-2 apart on MobileNetV2.
_TOLERANCES = {"float32": 2e-5, "tf32": 1e-2, "bfloat16": 1e-1}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sighting:
    """Result of the canary images here.

    Attributes:
        pixels: image → SHA-256 of its decoded pixels, (H, W, 3) uint8.
        vectors: image → (D,) float32.
        engine: what ran it.
    """

    pixels: Mapping[str, str]
    vectors: Mapping[str, np.ndarray]
    engine: str

    def document(self) -> dict[str, Any]:
        """Return what a pool keeps of it."""
        vectors = {name: base64.b64encode(row.astype("<f4").tobytes()).decode() for name, row in self.vectors.items()}
        return {"engine": self.engine, "pixels_sha256": dict(self.pixels), "vectors": vectors}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Sighting":
        """Return the sighting that `document` was made from."""
        rows = {name: np.frombuffer(base64.b64decode(text), "<f4") for name, text in document["vectors"].items()}
        return cls(document["pixels_sha256"], rows, document["engine"])


class CanaryWatch:
    """Looks at the canary images before rows are added to a pool, and once per extraction.

    Args:
        pool: what rows will be added to.
        extractor: whose rows.
        accept_drift: whether rows are added although the numbers have changed; it is logged.

    Attributes:
        report: what provenance says of it: the images with other pixels, the largest difference and its tolerance.
    """

    def __init__(self, pool: Pool, extractor: Extractor, *, accept_drift: bool = False) -> None:
        self._folder = pool.folder
        self._extractor = extractor
        self._accept_drift = accept_drift
        self._unkept: Sighting | None = None
        self.report: Mapping[str, Any] = {}

    def look(self, engine: Engine) -> None:
        """Compare what is seen here with what the pool's first writer saw.

        Raises:
            CanaryDrift: pixels or vectors have changed, and that is not accepted.
        """
        found = sight(self._extractor, engine)
        kept = read_canary(self._folder)
        if kept is None:
            self._unkept = found
        else:
            self._compare(Sighting.from_document(kept), found)

    def keep(self) -> None:
        """Keep what was seen with the pool, where nothing is kept yet; before its first row, so that none is without.

        Raises:
            CanaryDrift: another writer has begun the pool meanwhile, with other numbers.
        """
        if self._unkept is not None:
            found, self._unkept = self._unkept, None
            self._compare(Sighting.from_document(keep_canary(self._folder, found.document())), found)

    def _compare(self, kept: Sighting, found: Sighting) -> None:
        self.report = _report(kept, found, self._extractor.precision)
        if not _is_within(self.report):
            text = _sentence(self._folder.name, self.report, kept.engine, engine=found.engine)
            if not self._accept_drift:
                raise CanaryDrift(
                    f"{text} No row was added. Compare 'linprobe doctor' with the versions in provenance.json and go "
                    "back to those, or extract into another store; --accept-drift mixes old rows and new ones."
                )
            _logger.warning("%s Rows are added all the same, as was asked for.", text)


def inherit_canary(source: Pool, heir: Pool, *, dry: bool = False) -> bool:
    """Give a pool that takes over rows what their first writer saw of the canary images.

    Args:
        source: the pool that has the rows.
        heir: of the same network, computed alike.
        dry: only say whether it can be done.

    Returns:
        Whether rows can be taken over: the one has a canary, and the other none, or one that agrees.
    """
    theirs, own = read_canary(source.folder), read_canary(heir.folder)
    if theirs is None:
        return False
    if own is None:
        return dry or _agree(theirs, keep_canary(heir.folder, theirs), heir.key.precision)
    return _agree(theirs, own, heir.key.precision)


def _agree(one: Mapping[str, Any], other: Mapping[str, Any], precision: str) -> bool:
    return _is_within(_report(Sighting.from_document(one), Sighting.from_document(other), precision))


def _report(kept: Sighting, found: Sighting, precision: str) -> dict[str, Any]:
    """Return what provenance says of a comparison."""
    return {
        "largest_difference": max(_difference(found.vectors.get(name), row) for name, row in kept.vectors.items()),
        "pixels_changed": sorted(name for name in kept.pixels if found.pixels.get(name) != kept.pixels[name]),
        "tolerance": _TOLERANCES[precision],
    }


def _is_within(report: Mapping[str, Any]) -> bool:
    # Not "greater": NaN is drift too.
    return not report["pixels_changed"] and report["largest_difference"] <= report["tolerance"]


def sight(extractor: Extractor, engine: Engine) -> Sighting:
    """Decode the canary images and compute their vectors, as an extraction does."""
    images = _images()
    examples = [Example(name, 0, data) for name, data in images.items()]
    computed = compute_each(examples, extractor.preprocessing, lambda: engine, is_trusted=True)
    vectors = {one.example.example_id: one.value for one in computed if one.value is not None}
    pixels = {name: hashlib.sha256(_decoded(data).tobytes()).hexdigest() for name, data in images.items()}
    return Sighting(pixels, vectors, engine.name)


@cache
def _images() -> Mapping[str, bytes]:
    """Return file name → bytes: JPEG in colour and progressive grey, PNG in colour and with a palette."""
    folder = resources.files("extract") / "canary_images"
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir(), key=lambda file: file.name)}


def _decoded(data: bytes) -> np.ndarray:
    header = read_header(data)
    return decode_plain(data, header) if header.is_plain else decode_carefully(data)


def _difference(found: np.ndarray | None, kept: np.ndarray) -> float:
    """Return the relative L2 difference of two vectors; the largest number there is where they cannot be compared."""
    if found is None or found.shape != kept.shape or not np.isfinite(found).all():
        return float(np.finfo(np.float64).max)
    norm = max(float(np.linalg.norm(kept.astype(np.float64))), 1e-6)
    return float(np.linalg.norm(found.astype(np.float64) - kept)) / norm


def _sentence(pool: str, report: Mapping[str, Any], begun_by: str, *, engine: str) -> str:
    if report["pixels_changed"]:
        what = f"decode drift: {', '.join(report['pixels_changed'])} of the canary images have other pixels than"
    else:
        what = "compute drift: the canary images have the same pixels as, but other vectors than,"
    size, allowed = report["largest_difference"], report["tolerance"]
    return (
        f"pool {pool[:12]}: {what} when the pool was begun (engine {begun_by}, here {engine}); "
        f"their largest difference is {size:.3g} relative L2, {allowed:g} is allowed."
    )
