"""Images, an in-memory source and an engine that counts, for tests without a real network."""

import importlib.util
import io
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from split_jobs import extract_split

from extract import Example, Extraction, Extractor, ModelCaches, ParameterCounts, Preprocessing, SplitJob
from extract.errors import UnknownName
from extract.preprocessing import lesson
from store import FeatureStore

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CREATED = "2026-11-24T01:02:03Z"


class CountingEngine:
    """The mean of red, green and blue, and the first pixel's red: four numbers that a hand can check.

    Args:
        batch_size: how many images it likes at once.
        dies_after: raises in place of the batch after so many.
    """

    name = "counting"
    device = "CPU"
    threads = 1
    in_flight = 1
    dim = 4
    parameters = ParameterCounts(0, 0)

    def __init__(self, batch_size: int = 4, dies_after: int | None = None) -> None:
        self.batch_size = batch_size
        self.dies_after = dies_after
        self.images = 0
        self.batches = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        if self.batches == self.dies_after:
            raise OSError("the device is gone")
        self.batches += 1
        self.images += len(images)
        means = images.mean(axis=(1, 2), dtype=np.float64)
        return np.column_stack([means, images[:, 0, 0, 0]]).astype(np.float32)


class ListSource:
    """Examples from a list, in one base split `all`; classes a and b."""

    name = "list:images"
    version = "1"
    origin: Mapping[str, Any] = {}
    class_names = ("a", "b")
    orientation = "exif"
    left_out = ()
    splits = ("all",)

    def __init__(self, examples: Sequence[Example], count: int | None = -1) -> None:
        self.listed = list(examples)
        self._count = len(self.listed) if count == -1 else count

    def examples(self, split: str) -> Iterator[Example]:
        self._require(split)
        return iter(self.listed)

    def pick(self, split: str, example_ids: Collection[str]) -> Iterator[Example]:
        return (example for example in self.examples(split) if example.example_id in example_ids)

    def count(self, split: str) -> int | None:
        self._require(split)
        return self._count

    def ignored(self, split: str) -> dict[str, int]:
        self._require(split)
        return {}

    def _require(self, split: str) -> None:
        if split not in self.splits:
            raise UnknownName(f"base split of {self.name}", split, self.splits)


def encode_image(image: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Encode (H, W[, C]) uint8 pixels, or a Pillow image, as a file of this kind."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def draw_pixels(seed: int, height: int = 10, width: int = 12) -> np.ndarray:
    """Return (height, width, 3) uint8, smooth enough that JPEG keeps it about as it is."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR))


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    return encode_image


@pytest.fixture(scope="session")
def pixels() -> Callable[..., np.ndarray]:
    return draw_pixels


@pytest.fixture(scope="session")
def make_jpeg() -> Callable[[int], bytes]:
    return lambda seed: encode_image(draw_pixels(seed), "JPEG")


@pytest.fixture(scope="session")
def broken_jpeg() -> bytes:
    """A JPEG whose header is whole and whose data end in the middle."""
    whole = encode_image(draw_pixels(0, 40, 40), "JPEG")
    return whole[: len(whole) - 60]


@pytest.fixture(scope="session")
def make_source() -> type[ListSource]:
    return ListSource


@pytest.fixture(scope="session")
def make_engine() -> type[CountingEngine]:
    return CountingEngine


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore.create(tmp_path / "store")


@pytest.fixture
def caches(tmp_path: Path) -> ModelCaches:
    """Model caches that hold nothing."""
    return ModelCaches(tmp_path / "tfhub", tmp_path / "keras")


@pytest.fixture
def toy() -> Extractor:
    """The identity of the counting engine's rows: images of 8 by 8, four numbers."""
    return Extractor("toy", "toy", "0" * 64, "means", Preprocessing(8, "0..255"), 4, takes_orientation_of_source=False)


class Lab:
    """A store, and extractions into it with counting engines."""

    def __init__(self, store: FeatureStore, toy: Extractor) -> None:
        self.store = store
        self.toy = toy
        self.engine = CountingEngine()
        self.opened = 0

    def extract(
        self,
        source: Any,
        split: str = "all",
        *,
        engine: CountingEngine | None = None,
        extractor: Extractor | None = None,
        dataset: str = "images",
        **options: Any,
    ) -> Extraction:
        self.engine = engine or CountingEngine()

        def opened() -> CountingEngine:
            self.opened += 1
            return self.engine

        given = {name: options.pop(name) for name in ("budget", "accept_drift") if name in options}
        job = SplitJob(
            source=source, split=split, extractor=extractor or self.toy, store=self.store, dataset=dataset, **given
        )
        # The counting engine counts what the dataset costs; the canary has tests of its own.
        options.setdefault("has_canary", False)
        return extract_split(job, opened, created=CREATED, **options)

    def other_extractor(self) -> Extractor:
        return replace(self.toy, name="other", weights_sha256="1" * 64)


@pytest.fixture
def lab(store: FeatureStore, toy: Extractor) -> Lab:
    return Lab(store, toy)


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """Returns a function: every file below a folder with its bytes, and every folder with none."""

    def read(folder: Path) -> dict[str, bytes]:
        entries = sorted(folder.rglob("*"))
        return {str(entry.relative_to(folder)): b"" if entry.is_dir() else entry.read_bytes() for entry in entries}

    return read


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[Mapping[str, bytes], str], Path]:
    """Returns a function that writes files below a new folder."""

    def make(files: Mapping[str, bytes], name: str = "images") -> Path:
        root = tmp_path / name
        root.mkdir()
        for path, data in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        return root

    return make


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt to resolve a name or to connect fails, as on a machine without network."""
    import socket

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError("the network is cut off in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def small_network() -> Extractor:
    """A small convolutional network: 3 x 3 x 3 x 6 weights and 6 biases, 16 pixels, 6 numbers."""
    rng = np.random.default_rng(3)
    kernel = rng.normal(size=(3, 3, 3, 6)).astype(np.float32)
    bias = rng.normal(size=6).astype(np.float32)

    def load() -> Callable[[Any], Any]:
        import tensorflow as tf

        weights, biases = tf.Variable(kernel), tf.Variable(bias)

        def network(images: Any) -> Any:
            return tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(images, weights, 2, "SAME") + biases), axis=[1, 2])

        return network

    return Extractor("small", "small", "2" * 64, "mean", lesson(16, "-1..1"), 6, load)


@pytest.fixture(scope="session")
def fashion_mnist_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TFDS's data folder with the first 1,500 and 500 images of Fashion-MNIST."""
    folder = tmp_path_factory.mktemp("tfds")
    fashion_mnist().prepare(folder, 1500, 500)
    return folder


def fashion_mnist() -> Any:
    spec = importlib.util.spec_from_file_location("fashion_mnist", Path(__file__).parents[1] / "fashion_mnist.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fashion() -> Any:
    """The module `tests/fashion_mnist.py`."""
    return fashion_mnist()
