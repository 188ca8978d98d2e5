"""Extractions that cost nothing but the store's work, each in a process of its own that can be killed.

Survey, chunks, pool, set and name are the real ones. Images are four numbers that need no decoding,
and the engine is a formula, so that what is right can be worked out without a store.

The processes are forked, by Python's forkserver, from one that has imported everything and done nothing:
to the store they are new processes, and they start within milliseconds.
"""

import contextlib
import ctypes
import hashlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from split_jobs import extract_split

import extract.shares
import extract.work
from extract import Example, Extraction, Extractor, ParameterCounts, Preprocessing, SplitJob
from extract.pipeline import Batch
from extract.sources.example import Pending
from store import FeatureStore

CREATED = "2026-01-02T03:04:05Z"
CLASSES = ("a", "b", "c")
DIM = 6
TOY = Extractor("toy", "toy", "0" * 64, "digits", Preprocessing(1, "0..255"), DIM)
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["extract", "pandas", "pyarrow.parquet", "pytest", "store"])
_CONTENT_BYTES = 32
_PR_SET_PTRACER, _ANY = 0x59616D61, ctypes.c_ulong(-1)


@dataclass(frozen=True)
class Dataset:
    """A dataset of one base split, `all`.

    Attributes:
        name: what it is called.
        images: image number and label of each example, in order; its id is `<number>.png` plus its suffix.
        suffix: of the ids.
        origin: nothing.
    """

    name: str
    images: tuple[tuple[int, int], ...]
    suffix: str = ""

    version = "1"
    class_names = CLASSES
    orientation = "stored"
    left_out = ()
    splits = ("all",)

    @property
    def origin(self) -> dict[str, Any]:
        return {}

    def examples(self, split: str) -> Iterator[Example]:
        for number, label in self.images:
            yield Example(f"{number}.png{self.suffix}", label, image(number))

    def pick(self, split: str, example_ids: Collection[str]) -> Iterator[Example]:
        return (example for example in self.examples(split) if example.example_id in example_ids)

    def count(self, split: str) -> int:
        return len(self.images)

    def ignored(self, split: str) -> dict[str, int]:
        return {}


def dataset(name: str, numbers: Iterable[int], labels: int = len(CLASSES)) -> Dataset:
    """Return a dataset of the images of these numbers, labelled by the remainder."""
    return Dataset(name, tuple((number, number % labels) for number in numbers))


def image(number: int) -> np.ndarray:
    """Return the (1, 1, 3) uint8 pixels of an image: its number, below 2**24."""
    return np.array([number >> 16, number >> 8 & 255, number & 255], np.uint8).reshape(1, 1, 3)


def content(number: int) -> bytes:
    """Return the 32 bytes by which the pool finds an image's row."""
    return Example("", 0, image(number)).content_sha256()


def features(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the (n, DIM) float32 rows of images."""
    columns = np.arange(1, DIM + 1)
    return np.sin(np.asarray(numbers, np.float64)[:, None] / columns).astype(np.float32)


class StubEngine:
    """Computes the rows of images, and keeps in a log which ones it has computed.

    Args:
        log: a file; the contents' hashes are appended, with the batch's write done before its rows are given out.
        batch_size: how many images it takes at once.
    """

    name = "stub"
    device = "CPU"
    threads = 1
    in_flight = 1
    dim = DIM
    parameters = ParameterCounts(0, 0)

    def __init__(self, log: Path | None, batch_size: int = 64) -> None:
        self.batch_size = batch_size
        self._log = log

    def __call__(self, images: np.ndarray) -> np.ndarray:
        pixels = images.reshape(len(images), 3).astype(np.int64)
        numbers = pixels @ (1 << 16, 1 << 8, 1)
        if self._log:
            with self._log.open("ab", buffering=0) as stream:
                stream.write(b"".join(content(number) for number in numbers.tolist()))
        return features(numbers)


def computed(log: Path) -> list[bytes]:
    """Return the contents that engines have computed, in order."""
    data = log.read_bytes() if log.exists() else b""
    return [data[at : at + _CONTENT_BYTES] for at in range(0, len(data), _CONTENT_BYTES)]


def undecoded_batches(
    images: Iterator[Pending], preprocessing: Preprocessing, batch_size: int, *, look=None
) -> Iterator[Batch]:
    """Stand in for `extract.pipeline.stream_batches`: the pixels are what they are."""
    pending: list[Pending] = []
    for one in images:
        pending.append(one)
        if len(pending) == batch_size:
            yield Batch(pending, np.stack([p.example.data for p in pending]), [])
            pending = []
    if pending:
        yield Batch(pending, np.stack([p.example.data for p in pending]), [])


@contextlib.contextmanager
def stubbed(chunk: int) -> Iterator[None]:
    """Let `extract.work` take images undecoded, and so many candidates be a chunk."""
    stubs = {
        (extract.work, "stream_batches"): undecoded_batches,
        (extract.work, "load_decoder"): lambda: None,
        (extract.shares, "CHUNK"): chunk,
    }
    real = {(module, name): getattr(module, name) for module, name in stubs}
    try:
        for (module, name), stub in stubs.items():
            setattr(module, name, stub)
        yield
    finally:
        for (module, name), value in real.items():
            setattr(module, name, value)


def extract_stub(store: Path, source: Dataset, log: Path | None = None, chunk: int = 1024) -> Extraction:
    """Extract a dataset in this process."""
    job = SplitJob(source=source, split="all", extractor=TOY, store=FeatureStore.create(store), dataset=source.name)
    with stubbed(chunk):
        # Without canary: its images would have to be decoded.
        return extract_split(job, lambda: StubEngine(log, min(64, chunk)), created=CREATED, has_canary=False)


def start(function: Callable[..., Any], *arguments: Any) -> multiprocessing.process.BaseProcess:
    """Begin a call in a new process."""
    process = PROCESSES.Process(target=function, args=arguments)
    process.start()
    return process


def finish(function: Callable[..., Any], *arguments: Any) -> None:
    """Make a call in a new process; it must end well."""
    process = start(function, *arguments)
    process.join()
    assert process.exitcode == 0


def stop_then(function: Callable[..., Any], *arguments: Any) -> None:
    """Stop this process until it is continued, traced perhaps, then make a call."""
    # Where only a parent may trace a process, this one lets any.
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    function(*arguments)


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def committed(store: Path) -> dict[bytes, bytes]:
    """Return content → row of what a reader finds in the pool; every shard is verified."""
    from store.shards import open_shard

    rows: dict[bytes, bytes] = {}
    for path in sorted(store.glob("pools/*/shards/[0-9a-f]*.h5")):
        shard = open_shard(path)
        rows |= {c.tobytes(): row.tobytes() for c, row in zip(shard.content_sha256, shard.features, strict=True)}
    return rows


def check_set(store: Path, source: Dataset) -> None:
    """Read what a dataset's name means, and compare it with what it must be."""
    found = FeatureStore(store).get(source.name, "all", "toy")
    numbers = [number for number, _ in source.images]
    ids = [f"{number}.png{source.suffix}" for number in numbers]
    np.testing.assert_array_equal(np.asarray(found.features), features(numbers))
    assert found.example_ids.tolist() == ids
    assert found.labels.tolist() == [label for _, label in source.images]
    assert found.content_sha256.tobytes() == b"".join(map(content, numbers))
    ledger = found.ledger()
    assert ledger["example_id"].tolist() == ids
    assert ledger["content_sha256"].tolist() == [content(number).hex() for number in numbers]


def tree_digest(folder: Path) -> str:
    """Return a digest of all files below a folder, leftovers apart."""
    sha = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            sha.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return sha.hexdigest()
