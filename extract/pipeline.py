"""The stream from encoded images to batches of pixels: decode and resize on all cores, in order.

Plain images are decoded and resized by `tf.data`; all others are decoded by processes (`extract.decoders`), and resized
there. What it cannot decode is taken up again by the careful path.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from extract.decoders import decode_apart, processors
from extract.decoding import DecodeFailure, decode_carefully
from extract.header import AS_SHOWN, Header
from extract.pixels import JPEG, PIXELS, PNG, decode, decode_plain, resize, shape_of, turned_in_graph
from extract.preprocessing import Preprocessing
from extract.sources.example import Pending
from extract.timing import Stopwatch
from extract.views import draw_window

__all__ = ["Batch", "load_decoder", "stream_batches"]

# One call of Python hands over so many images: a call for each cost more than decoding it.
_BLOCK = 16
# What is shown an image, and its bytes or its pixels, on their way.
Look: TypeAlias = Callable[[Pending, bytes | np.ndarray], None]

# So many are not worth threads.
_FEW = 4
_NO_WINDOW = (0, 0, 1, 1, 0)


class _Element(NamedTuple):
    """An image on its way through tf.data.

    Attributes:
        ordinal: its place; negative for a blank that pushes others out.
        kind: how the bytes are read.
        data: the encoded file, or pixels.
        shape: height, width and channels of pixels.
        window: of a view, see `crop_and_resize`.
        orientation: EXIF's, to be applied; 1 for none.
    """

    ordinal: int
    kind: int
    data: bytes
    shape: tuple[int, int, int]
    window: tuple[int, ...]
    orientation: int


@dataclass(frozen=True)
class Batch:
    """Images that are ready for an engine, and those that turned out to be none.

    Attributes:
        pending: the N images.
        images: (N, size, size, 3), 0 to 255, in the preprocessing's pixel type.
        failed: images that no decoder could read, with the reason.
        read_seconds: what reading their files cost, where they had not been read before.
        decode_seconds: what decoding and resizing them cost, of all threads together.
    """

    pending: list[Pending]
    images: np.ndarray
    failed: list[tuple[Pending, str]]
    read_seconds: float = 0.0
    decode_seconds: float = 0.0


def load_decoder() -> None:
    """Import what the pipeline needs, so that the first batch does not pay for it."""
    import tensorflow as tf

    tf.constant(0)


def stream_batches(
    images: Iterator[Pending],
    preprocessing: Preprocessing,
    batch_size: int,
    *,
    is_trusted: bool = False,
    look: Look | None = None,
) -> Iterator[Batch]:
    """Decode, resize and batch images, in their order.

    Args:
        images: read by a thread of the pipeline, a few batches ahead.
        preprocessing: how.
        batch_size: N of all batches but those with failed images and the last.
        is_trusted: whether the images are our own, and need no process of their own to be decoded.
        look: is shown each image's bytes, or the pixels where it is seen as viewers show it; may not wait.

    Raises:
        whatever `images` raises.
    """
    feed = _Feed(images, preprocessing, batch_size, is_trusted=is_trusted, look=look)
    try:
        yield from feed.batches(_dataset(feed.blocks, preprocessing, batch_size))
    finally:
        feed.stop()


def _dataset(blocks: Callable[[], Iterator[tuple[np.ndarray, ...]]], preprocessing: Preprocessing, size: int) -> Any:
    """Return blocks of elements, decoded, resized and batched, as a `tf.data.Dataset`."""
    import tensorflow as tf

    signature = (
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((None,), tf.string),
        tf.TensorSpec((None, 3), tf.int32),
        tf.TensorSpec((None, 5), tf.int32),
        tf.TensorSpec((None,), tf.int32),
    )

    def to_images(*element: Any) -> tuple[Any, Any, Any]:
        ordinal, kind, data, shape, window, orientation = element
        began = tf.timestamp()
        with tf.control_dependencies([began]):
            pixels = turned_in_graph(decode(kind, data, shape), orientation)
            image = resize(pixels, preprocessing, window)
        with tf.control_dependencies([image]):
            return ordinal, image, tf.timestamp() - began

    # AutoGraph would read our source files again, to find nothing to convert.
    traced = tf.autograph.experimental.do_not_convert(to_images)
    elements: Any = tf.data.Dataset.from_generator(blocks, output_signature=signature).unbatch()
    # Map and batch become one, which writes each image into its batch; `ignore_errors` between them prevents it. A
    # broken image fails its batch instead, see `_Feed.batches`.
    return elements.map(traced, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).batch(size).prefetch(2)


class _Feed:
    """What was given to the pipeline and has not come out yet.

    A run of images that no decoder reads fills no batch, and would be read to its end before any failure is known. So
    after many images without a batch, a batch of blanks flushes it; blanks have negative ordinals.
    """

    def __init__(
        self,
        images: Iterator[Pending],
        preprocessing: Preprocessing,
        batch_size: int,
        *,
        is_trusted: bool,
        look: Look | None,
    ) -> None:
        self._images = images
        self._look = look
        self._is_trusted = is_trusted
        self._preprocessing = preprocessing
        self._batch_size = batch_size
        # More than ever are in the buffers of a pipeline that flows.
        self._patience = 8 * batch_size + 256
        # Images that wait behind one that is being decoded in a process.
        self._ahead = 4 * processors()
        self._given = 0
        self._in_flight: deque[Pending] = deque()
        self._refused: dict[int, str] = {}
        self._is_stopped = False
        self._reading, self._decoding, self._rescuing = Stopwatch(), Stopwatch(), Stopwatch()
        self._error: BaseException | None = None

    def stop(self) -> None:
        """Let the pipeline's thread end: nobody takes any more."""
        self._is_stopped = True

    def batches(self, dataset: Any) -> Iterator[Batch]:
        """Yield what comes out of the pipeline, paired with what went in, and what did not come out."""
        import tensorflow as tf

        stream = dataset.as_numpy_iterator()
        while True:
            try:
                ordinals, pixels, seconds = next(stream)
            except StopIteration:
                break
            except tf.errors.InvalidArgumentError:
                # A broken image took its batch along. The gap in the ordinals tells which, when the next comes.
                continue
            yield from self._pieces(self.match(ordinals, pixels, float(seconds.sum())))
        if self._error is not None:
            raise self._error
        none = np.empty((0, *shape_of(self._preprocessing)), self._preprocessing.pixels)
        yield from self._pieces(self.match(np.empty(0, np.int64), none, 0.0, last=True))

    def _pieces(self, batch: Batch) -> Iterator[Batch]:
        """Yield a batch in pieces of the batch size, should rescued images have made it larger."""
        if len(batch.pending) <= self._batch_size:
            if batch.pending or batch.failed:
                yield batch
            return
        for at in range(0, len(batch.pending), self._batch_size):
            part = slice(at, at + self._batch_size)
            piece = Batch(batch.pending[part], batch.images[part], [])
            yield piece if at else replace(batch, pending=piece.pending, images=piece.images)

    def blocks(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield elements, several at a time, all of one kind."""
        block: list[_Element] = []
        for element in self._elements():
            if block and (len(block) == _BLOCK or block[0].kind != element.kind):
                yield _stacked(block)
                block = []
            block.append(element)
            # A blank means that somebody waits.
            if element.ordinal < 0:
                yield _stacked(block)
                block = []
        if block:
            yield _stacked(block)

    def _elements(self) -> Iterator[_Element]:
        ahead: deque[tuple[Pending, _Element | Future[np.ndarray]]] = deque()
        try:
            for image in self._images:
                if self._is_stopped:
                    return
                self._in_flight.append(image)
                ahead.append((image, self._begin(image)))
                while ahead and (len(ahead) > self._ahead or _is_ready(ahead[0][1])):
                    yield from self._finished(*ahead.popleft())
                self._given += 1
                if self._given >= self._patience:
                    self._given = 0
                    while ahead:
                        yield from self._finished(*ahead.popleft())
                    blank = _Element(-1 - image.ordinal, PIXELS, b"\0", (1, 1, 1), _NO_WINDOW, 1)
                    # Twice as many: a batch that a broken image fails may take some along.
                    yield from repeat(blank, 2 * self._batch_size)
            while ahead:
                yield from self._finished(*ahead.popleft())
        # Handed to the consumer: raised here, it would become a text within a TensorFlow error.
        except BaseException as error:  # noqa: BLE001
            self._error = error

    def _begin(self, image: Pending) -> "_Element | Future[np.ndarray]":
        with self._reading.running():
            data = image.example.read()
        if not isinstance(data, bytes):
            return self._of_pixels(image, data)
        if not image.header.is_plain and self._is_trusted:
            return self._of_pixels(image, decode_carefully(data, self._preprocessing.decoding))
        if not image.header.is_plain:
            return decode_apart(data, self._preprocessing.decoding)
        if self._look:
            self._look(image, data)
        kind = JPEG if image.header.format == "JPEG" else PNG
        decoding = self._preprocessing.decoding
        width, height = image.header.shown_size(decoding)
        orientation = image.header.orientation if decoding.orientation == "exif" else 1
        window = self._window(image, height, width)
        return _Element(image.ordinal, kind, data, (0, 0, 0), window, orientation)

    def _finished(self, image: Pending, begun: "_Element | Future[np.ndarray]") -> Iterator[_Element]:
        if isinstance(begun, _Element):
            yield begun
            return
        try:
            with self._decoding.running():
                pixels = begun.result()
        except DecodeFailure as error:
            self._refused[image.ordinal] = str(error)
        else:
            yield self._of_pixels(image, pixels)

    def _of_pixels(self, image: Pending, pixels: np.ndarray) -> _Element:
        height, width, channels = pixels.shape
        if self._look and (self._preprocessing.decoding == AS_SHOWN or image.header.format == "pixels"):
            self._look(image, pixels)
        window = self._window(image, height, width)
        return _Element(image.ordinal, PIXELS, pixels.tobytes(), (height, width, channels), window, 1)

    def _window(self, image: Pending, height: int, width: int) -> tuple[int, ...]:
        view = self._preprocessing.view
        return astuple(draw_window(image.content, view, height=height, width=width)) if view else _NO_WINDOW

    def match(self, ordinals: np.ndarray, images: np.ndarray, seconds: float, *, last: bool = False) -> Batch:
        """Pair what came out, and took so long, with what went in; what was skipped takes the careful path."""
        pending: list[Pending] = []
        failed: list[tuple[Pending, str]] = []
        rows: list[np.ndarray] = []
        self._given = 0
        end = max(ordinals[-1], -1 - ordinals[-1]) if len(ordinals) else -1
        if (ordinals < 0).any():
            images, ordinals = images[ordinals >= 0], ordinals[ordinals >= 0]
        ready = dict(zip(ordinals.tolist(), images, strict=True))
        out: list[Pending] = []
        while self._in_flight and (last or self._in_flight[0].ordinal <= end):
            out.append(self._in_flight.popleft())
        rescued = self._rescue([image for image in out if image.ordinal not in ready])
        for image in out:
            pixels = ready[image.ordinal] if image.ordinal in ready else rescued[image.ordinal]
            if isinstance(pixels, DecodeFailure):
                failed.append((image, str(pixels)))
            else:
                pending.append(image)
                rows.append(pixels)
        stacked = images if len(rows) == len(images) else np.stack(rows) if rows else images[:0]
        seconds += self._decoding.lap() + self._rescuing.lap()
        return Batch(pending, stacked, failed, self._reading.lap(), seconds)

    def _rescue(self, images: list[Pending]) -> dict[int, "np.ndarray | DecodeFailure"]:
        """Return what did not come out: ordinal → pixels, or why there are none."""
        with self._rescuing.running():
            if len(images) < _FEW:
                return {image.ordinal: self._rescued(image) for image in images}
            with ThreadPoolExecutor(processors()) as threads:
                found = threads.map(self._rescued, images)
                return {image.ordinal: pixels for image, pixels in zip(images, found, strict=True)}

    def _rescued(self, image: Pending) -> "np.ndarray | DecodeFailure":
        reason = self._refused.pop(image.ordinal, None)
        if reason is not None:
            return DecodeFailure(reason)
        data = image.example.read()
        try:
            if isinstance(data, bytes):
                pixels = self._decoded(data, image.header)
            else:
                pixels = np.broadcast_to(data, (*data.shape[:2], 3))
        except DecodeFailure as error:
            return error
        window = self._window(image, *pixels.shape[:2])
        return np.asarray(resize(pixels, self._preprocessing, window).numpy())

    def _decoded(self, data: bytes, header: Header) -> np.ndarray:
        """Decode an image whose batch failed: as the pipeline does, if it was another's fault, else carefully."""
        import tensorflow as tf

        decoding = self._preprocessing.decoding
        if header.is_plain:
            with suppress(tf.errors.InvalidArgumentError):
                return decode_plain(data, header, decoding)
        return decode_apart(data, decoding).result()


def _is_ready(begun: "_Element | Future[np.ndarray]") -> bool:
    return isinstance(begun, _Element) or begun.done()


def _stacked(block: list[_Element]) -> tuple[np.ndarray, ...]:
    return (
        np.array([element.ordinal for element in block], np.int64),
        np.array([element.kind for element in block], np.int32),
        np.array([element.data for element in block], object),
        np.array([element.shape for element in block], np.int32),
        np.array([element.window for element in block], np.int32),
        np.array([element.orientation for element in block], np.int32),
    )
