"""Perceptual hashes of images, by which copies are found that were resized or encoded anew.

They are computed beside the extraction, of the bytes that it reads anyway, by threads that it never waits for: what
they do not get to is read once more when the set is published. Source of the hash: ImageHash, `phash` of 16 x 16
coefficients.
"""

import io
import logging
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType

import numpy as np
from PIL import Image

from extract.decoders import decode_apart, processors
from extract.decoding import DecodeFailure, turn
from extract.errors import ExtractError
from extract.header import AS_SHOWN, Header
from extract.sources.example import DatasetSource, Example, Pending
from store.perceptual_hashes import PerceptualHashes

__all__ = ["Fingerprints", "complete_fingerprints", "fingerprint", "has_fingerprint"]

_logger = logging.getLogger(__name__)

# Below, an image is an icon of its own kind: as many pixels as the hash looks at.
_LEAST_SIDE = 64
# JPEG decodes to a fraction of its size for nothing; no smaller than twice what the hash looks at.
_DRAFT = 128
# Grey levels: of an image with less contrast most of the hash is noise, which a copy has otherwise.
_LEAST_DEVIATION = 8.0
# Images that wait; more are looked at later.
_WAITING = 256


def has_fingerprint(header: Header) -> bool:
    """Return whether an image is large enough for a hash to say something."""
    return min(header.width, header.height) >= _LEAST_SIDE


def fingerprint(data: bytes | np.ndarray, header: Header) -> bytes | None:
    """Return the perceptual hash of what is seen of an image, 32 bytes; None where it has none.

    Args:
        data: the encoded file, or (H, W, 1 or 3) uint8 pixels.
        header: what it claims to be.

    Raises:
        DecodeFailure: it cannot be decoded.
    """
    if not has_fingerprint(header):
        return None
    import imagehash

    image = _opened(data, header).convert("L")
    if np.asarray(image, np.float32).std() < _LEAST_DEVIATION:
        return None
    return np.packbits(imagehash.phash(image, hash_size=16).hash).tobytes()


def _opened(data: bytes | np.ndarray, header: Header) -> Image.Image:
    if not isinstance(data, bytes):
        return Image.fromarray(data[..., 0] if data.shape[2] == 1 else data)
    if not header.is_plain:
        return Image.fromarray(decode_apart(data, AS_SHOWN).result())
    try:
        image = Image.open(io.BytesIO(data), formats=[header.format])
        if header.format == "JPEG":
            image.draft("L", (_DRAFT, _DRAFT))
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise DecodeFailure(str(error)) from error
    if header.orientation == 1:
        return image
    return Image.fromarray(turn(np.asarray(image.convert("L"))[..., np.newaxis], header.orientation)[..., 0])


class Fingerprints:
    """The hashes of an extraction's images; to be left like a file.

    Args:
        kept: where hashes are kept; what is known is not computed again.
    """

    def __init__(self, kept: PerceptualHashes) -> None:
        self._kept = kept
        self._known: np.ndarray | None = None
        self._found: dict[bytes, bytes | None] = {}
        self._threads = ThreadPoolExecutor(processors(), thread_name_prefix="fingerprint")
        self._places = threading.Semaphore(_WAITING)

    def __enter__(self) -> "Fingerprints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=kind is None, cancel_futures=kind is not None)
        if kind is None:
            self._kept.keep(self._found)

    def look(self, image: Pending, data: bytes | np.ndarray) -> None:
        """Have an image looked at by and by, unless it is known, or too many wait already."""
        if has_fingerprint(image.header) and not self._is_known(image) and self._places.acquire(blocking=False):
            done = self._threads.submit(self._look, image.content, data, image.header)
            done.add_done_callback(self._free)

    def _is_known(self, image: Pending) -> bool:
        # By 8 bytes: of an image that only seems to be known the hash is computed when the set is published.
        if self._known is None:
            self._known = self._kept.short_contents()
        short = np.frombuffer(image.content[:8], np.uint64)
        at = int(np.searchsorted(self._known, short)[0])
        return at < len(self._known) and bool(self._known[at] == short[0])

    def _look(self, content: bytes, data: bytes | np.ndarray, header: Header) -> None:
        # What cannot be decoded is the extraction's to tell.
        with suppress(DecodeFailure):
            self._found[content] = fingerprint(data, header)

    def _free(self, _: "Future[None]") -> None:
        self._places.release()


def complete_fingerprints(
    kept: PerceptualHashes, name: str, source: DatasetSource, *, split: str, headers: Mapping[bytes, tuple[str, Header]]
) -> None:
    """Keep the hashes of a set's images under its name; those that nobody has looked at are read for it.

    Args:
        kept: where hashes are kept.
        name: the key of the set.
        source: whose images they are.
        split: of which base split.
        headers: content → an image's id and header.
    """
    known = kept.find(set(headers))
    missing = {content for content in headers if content not in known}
    known |= {content: None for content in missing if not has_fingerprint(headers[content][1])}
    ids = {headers[content][0] for content in missing if content not in known}
    if ids:
        try:
            with ThreadPoolExecutor(processors()) as threads:
                for block in _few_at_a_time(source.pick(split, ids)):
                    known.update(threads.map(_of_example, block))
        except (ExtractError, OSError) as error:
            # A file that went away meanwhile, or changed. The set is whole without its hashes; the next time has them.
            _logger.info("%s: perceptual hashes are not complete (%s)", source.name, error)
            return
    kept.keep({content: hashed for content, hashed in known.items() if content in headers}, name)


def _of_example(example: Example) -> tuple[bytes, bytes | None]:
    known = example.look()
    try:
        return known.content, fingerprint(example.read(), known.header) if known.header else None
    except DecodeFailure:
        return known.content, None


def _few_at_a_time(examples: Iterable[Example]) -> Iterable[list[Example]]:
    block: list[Example] = []
    for example in examples:
        block.append(example)
        if len(block) == _WAITING:
            yield block
            block = []
    if block:
        yield block
