"""Small images for reports: from the cache, else from the dataset that a set was made from."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from extract import LENIENT, Example, ExtractError, open_source
from extract.decoders import decode_apart
from extract.decoding import DecodeFailure
from extract.header import Rules
from extract.sources.memory import MEMORY_SCHEME
from linprobe.job.environment import Environment
from store import IMPORTED, DamagedStore, FeatureSetNotFound, FeatureStore, ProbeResult
from store.disposable import read_disposable, write_disposable

__all__ = ["StoreImages", "layout_of", "thumbnail"]

_THUMBNAIL = 128


class StoreImages:
    """Finds the images of a run's test examples.

    An image is shown only if its bytes are still those that the run was tested on. A dataset that
    is gone leaves placeholders, and no error: a report must not depend on it.

    Args:
        store: whose runs; thumbnails are kept in its disposable cache, by content.
        environment: where the job runs.

    Attributes:
        may_find_more: whether an image was missing though its dataset is there: it may be back tomorrow.
    """

    def __init__(self, store: FeatureStore, environment: Environment) -> None:
        self._store = store
        self._environment = environment
        self._folder = store.path / "cache" / "thumbnails"
        self.may_find_more = False

    def __call__(self, run: ProbeResult, example_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return example id → PNG bytes, at most 128 pixels wide and high."""
        predictions = run.predictions
        contents = dict(zip(predictions["example_id"], predictions["content_sha256"], strict=True))
        wanted = {example_id: contents[example_id] for example_id in example_ids}
        found = {i: data for i, content in wanted.items() if (data := self._cached(content)) is not None}
        is_there = False
        for split, key in run.config["sets"].items():
            missing = {i: content for i, content in wanted.items() if i not in found}
            if missing:
                is_there |= self.has_source(key)
                found.update(self._from_source(split, key, missing))
        self.may_find_more |= is_there and len(found) < len(wanted)
        return found

    def has_source(self, key: str) -> bool:
        """Return whether the images of a set may be had: its folder or file is there, or it has none."""
        try:
            provenance = self._store.get(key=key).provenance
        except (FeatureSetNotFound, DamagedStore):
            return False
        scheme, _, rest = provenance.source.partition(":")
        if provenance.engine == IMPORTED or scheme == MEMORY_SCHEME:
            return False
        return Path(rest).exists() if rest.startswith("/") else True

    def _cached(self, content: str) -> bytes | None:
        return read_disposable(self._folder / content, layout_of(content))

    def _from_source(self, split: str, key: str, wanted: Mapping[str, str]) -> dict[str, bytes]:
        found = {}
        try:
            source = self._store.get(key=key).provenance.source
            self._environment.prepare_frameworks()
            found_source = open_source(source, self._environment.source_caches(), reading=LENIENT)
            for example in found_source.pick(split, wanted):
                if example.content_sha256().hex() == wanted[example.example_id]:
                    data = thumbnail(example, Rules(found_source.orientation))
                    content = wanted[example.example_id]
                    write_disposable(self._folder / content, layout_of(content), data)
                    found[example.example_id] = data
        except (ExtractError, FeatureSetNotFound, DecodeFailure, OSError):
            return found
        return found


def layout_of(content: str) -> bytes:
    """Return under which name a thumbnail of an image is sealed, see `store.disposable`."""
    # The image's hash is part of what the digest covers: a thumbnail is never shown as another image's.
    return f"linprobe thumbnail 2 {content}".encode()


def thumbnail(example: Example, rules: Rules) -> bytes:
    """Return an image as PNG bytes, at most 128 pixels wide and high.

    Args:
        example: the image.
        rules: which of it is seen.

    Raises:
        DecodeFailure: no decoder makes pixels of it.
    """
    data = example.read()
    pixels = decode_apart(data, rules).result() if isinstance(data, bytes) else data
    image = Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy())
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
