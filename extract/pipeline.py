"""The stream from encoded images to batches of pixels: decode and resize on all cores, in order.

Decoding and resizing are `tf.data`'s; what it cannot decode is taken up again by the careful path.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from itertools import repeat
from typing import Any

import numpy as np

from extract.decoding import DecodeFailure, Header, decode_carefully
from extract.geometry import crop_and_resize
from extract.preprocessing import Preprocessing
from extract.sources.example import Pending
from extract.timing import Stopwatch
from extract.views import draw_window

__all__ = ["Batch", "decode_plain", "load_decoder", "stream_batches"]

# How an element's bytes are to be read.
_JPEG, _PNG, _PIXELS = 0, 1, 2

# Kind, bytes, (height, width, channels) of pixels, and the window of a view: see `crop_and_resize`.
_Element = tuple[int, int, bytes, tuple[int, int, int], tuple[int, ...]]
_NO_WINDOW = (0, 0, 1, 1, 0)


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


def stream_batches(images: Iterator[Pending], preprocessing: Preprocessing, batch_size: int) -> Iterator[Batch]:
    """Decode, resize and batch images, in their order.

    Args:
        images: read by a thread of the pipeline, a few batches ahead.
        preprocessing: how.
        batch_size: N of all batches but those with failed images and the last.

    Raises:
        whatever `images` raises.
    """
    import tensorflow as tf

    feed = _Feed(images, preprocessing, batch_size)
    signature = (
        tf.TensorSpec((), tf.int64),
        tf.TensorSpec((), tf.int32),
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((3,), tf.int32),
        tf.TensorSpec((5,), tf.int32),
    )
    dataset = tf.data.Dataset.from_generator(feed.elements, output_signature=signature)

    def to_images(*element: Any) -> tuple[Any, Any, Any]:
        ordinal, kind, data, shape, window = element
        began = tf.timestamp()
        with tf.control_dependencies([began]):
            image = resize(decode(kind, data, shape), preprocessing, window)
        with tf.control_dependencies([image]):
            return ordinal, image, tf.timestamp() - began

    # AutoGraph would read our source files again, to find nothing to convert.
    traced = tf.autograph.experimental.do_not_convert(to_images)
    dataset = dataset.map(traced, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    # A broken image drops out here; the gap in the ordinals tells which, below.
    dataset = dataset.ignore_errors(log_warning=False).batch(batch_size).prefetch(2)
    for ordinals, pixels, seconds in dataset.as_numpy_iterator():
        yield feed.match(ordinals, pixels, float(seconds.sum()))
    if feed.error is not None:
        raise feed.error
    none = np.empty((0, *_shape(preprocessing)), preprocessing.pixels)
    rest = feed.match(np.empty(0, np.int64), none, 0.0, last=True)
    if rest.pending or rest.failed:
        yield rest


class _Feed:
    """What was given to the pipeline and has not come out yet.

    A run of broken images fills no batch, and would be read to its end before any failure is known. So
    after many images without a batch, a batch of blanks flushes it; blanks have negative ordinals.
    """

    def __init__(self, images: Iterator[Pending], preprocessing: Preprocessing, batch_size: int) -> None:
        self._images = images
        self._preprocessing = preprocessing
        self._batch_size = batch_size
        # More than ever are in the buffers of a pipeline that flows.
        self._patience = 8 * batch_size + 256
        self._given = 0
        self._in_flight: deque[Pending] = deque()
        self._refused: dict[int, str] = {}
        self._reading, self._decoding, self._rescuing = Stopwatch(), Stopwatch(), Stopwatch()
        self.error: BaseException | None = None

    def elements(self) -> Iterator[_Element]:
        try:
            for image in self._images:
                self._in_flight.append(image)
                element = self._element(image)
                if element is not None:
                    yield element
                self._given += 1
                if self._given >= self._patience:
                    self._given = 0
                    blank = (-1 - image.ordinal, _PIXELS, b"\0", (1, 1, 1), _NO_WINDOW)
                    yield from repeat(blank, self._batch_size)
        # Handed to the consumer: raised here, it would become a text within a TensorFlow error,
        # or be ignored like a broken image.
        except BaseException as error:  # noqa: BLE001
            self.error = error

    def _element(self, image: Pending) -> _Element | None:
        with self._reading.running():
            data = image.example.read()
        if isinstance(data, bytes) and image.header.is_plain:
            kind = _JPEG if image.header.format == "JPEG" else _PNG
            window = self._window(image, image.header.height, image.header.width)
            return image.ordinal, kind, data, (0, 0, 0), window
        try:
            with self._decoding.running():
                pixels = decode_carefully(data) if isinstance(data, bytes) else data
        except DecodeFailure as error:
            self._refused[image.ordinal] = str(error)
            return None
        height, width, channels = pixels.shape
        window = self._window(image, height, width)
        return image.ordinal, _PIXELS, pixels.tobytes(), (height, width, channels), window

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
        while self._in_flight and (last or self._in_flight[0].ordinal <= end):
            image = self._in_flight.popleft()
            pixels = ready.get(image.ordinal)
            if pixels is None:
                try:
                    with self._rescuing.running():
                        pixels = self._rescue(image)
                except DecodeFailure as error:
                    failed.append((image, str(error)))
                    continue
            pending.append(image)
            rows.append(pixels)
        stacked = images if len(rows) == len(images) else np.stack(rows) if rows else images[:0]
        seconds += self._decoding.lap() + self._rescuing.lap()
        return Batch(pending, stacked, failed, self._reading.lap(), seconds)

    def _rescue(self, image: Pending) -> np.ndarray:
        reason = self._refused.pop(image.ordinal, None)
        if reason is not None:
            raise DecodeFailure(reason)
        data = image.example.read()
        assert isinstance(data, bytes)  # raw pixels have nothing to fail at
        pixels = decode_carefully(data)
        window = self._window(image, *pixels.shape[:2])
        return np.asarray(resize(pixels, self._preprocessing, window).numpy())


def decode(kind: Any, data: Any, shape: Any) -> Any:
    """Decode one element of the pipeline.

    Args:
        kind: scalar int32: JPEG, PNG or pixels.
        data: scalar string.
        shape: (3,) int32: height, width, channels of pixels.

    Returns:
        TensorFlow (H, W, 3) uint8.
    """
    import tensorflow as tf

    def pixels() -> Any:
        raw = tf.reshape(tf.io.decode_raw(data, tf.uint8), shape)
        return tf.broadcast_to(raw, tf.stack([shape[0], shape[1], 3]))

    return tf.switch_case(
        kind,
        {
            # The slow, exact transform: the fast one differs between builds of libjpeg.
            _JPEG: lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
            _PNG: lambda: tf.io.decode_png(data, channels=3),
            _PIXELS: pixels,
        },
    )


def decode_plain(data: bytes, header: Header) -> np.ndarray:
    """Decode one plain image outside of the stream.

    Args:
        data: the encoded file.
        header: what it claims to be; `is_plain`.

    Returns:
        (H, W, 3) uint8.
    """
    import tensorflow as tf

    kind = tf.constant(_JPEG if header.format == "JPEG" else _PNG)
    return np.asarray(decode(kind, data, (0, 0, 0)).numpy())


def resize(pixels: Any, preprocessing: Preprocessing, window: Any = None) -> Any:
    """Crop and resize pixels as the preprocessing says.

    Args:
        pixels: (H, W, 3) uint8.
        preprocessing: how.
        window: of a view; see `crop_and_resize`.

    Returns:
        TensorFlow (size, size, 3), 0 to 255, in the preprocessing's pixel type.
    """
    import tensorflow as tf

    resized = crop_and_resize(pixels, preprocessing, window)
    image = tf.saturate_cast(tf.round(resized), tf.uint8) if preprocessing.pixels == "uint8" else resized
    image.set_shape(_shape(preprocessing))
    return image


def _shape(preprocessing: Preprocessing) -> tuple[int, int, int]:
    return preprocessing.size, preprocessing.size, 3
