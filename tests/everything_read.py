"""All that can be read from a store, as digests: what a new process reads must be the truth, or say that it is damaged."""

import hashlib
import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

import store.commit
import store.content_index
import store.hdf5
import store.pool
import store.run_table
from extract import SourceCaches, open_source
from linprobe.job.environment import Environment
from linprobe.models.thumbnails import StoreImages
from store import FeatureStore, ProbeResult, StoreError

REFUSED, LEFT_OUT = "refused", "left out"
# What a set is called is known from other files than its numbers.
_NAMING = ["dataset", "extractor", "is_current"]

Reads = dict[str, str]


def ignore_ctime() -> None:
    """Let caches know files by inode, size and mtime alone: a disk that flips a bit leaves ctime as it is, a test cannot."""
    stamp_of, stamp = store.content_index.stamp_of, store.run_table._stamp
    store.pool.stamp_of = lambda path: (*stamp_of(path)[:3], 0)
    store.run_table._stamp = lambda folder: stamp(folder)[:3]


def forget() -> None:
    """Forget what this process knows of files: it is as a new one then."""
    store.commit._durable.clear()
    store.hdf5._verified.clear()


def digest_of(value: Any) -> str:
    """Return a digest of numbers, tables and documents."""
    if isinstance(value, np.ndarray):
        head = f"{value.dtype} {value.shape} ".encode()
        data = "\0".join(value.tolist()).encode() if value.dtype.kind == "U" else value.tobytes()
        return hashlib.sha256(head + data).hexdigest()
    if isinstance(value, pd.DataFrame):
        return digest_of([(name, str(column.dtype), column.tolist()) for name, column in value.items()])
    if isinstance(value, dict):
        return digest_of([(name, digest_of(value[name])) for name in sorted(value)])
    return hashlib.sha256(repr(value).encode()).hexdigest()


@contextmanager
def warnings_of_the_store() -> Iterator[list[str]]:
    """Collect what the store logs."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("store")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


class _Reader:
    """Reads a store; `names`, `sets`, `pools` and `runs` say what there is to be read."""

    def __init__(self, path: Path, images: Path, there_is: dict[str, list[Any]]) -> None:
        self._path = path
        self._images = images
        self._there_is = there_is
        self.reads: Reads = {}

    def read(self) -> Reads:
        self._try("images", self._known_files)
        try:
            fs = FeatureStore(self._path)
        except StoreError:
            return self.reads
        for name in self._there_is["names"]:
            self._try(f"name {name}", lambda name=name: fs.get(*name[:3], as_of=name[3]).key)
        for key in self._there_is["sets"]:
            self._set(fs, key)
        for run_id in self._there_is["runs"]:
            self._run(fs, run_id)
        for pool in self._there_is["pools"]:
            self._rows(fs, pool)
        self._try("splits", lambda: fs.splits("flowers", "toy"))
        self._table("catalog", fs.catalog, "key", _NAMING)
        self._table("results", fs.results, "run_id", [])
        return self.reads

    def _try(self, what: str, read: Callable[[], Any]) -> None:
        try:
            self.reads[what] = digest_of(read())
        except StoreError:
            self.reads[what] = REFUSED

    def _set(self, fs: FeatureStore, key: str) -> None:
        parts = ("class_names", "candidates", "split", "rows_sha256", "labels", "example_ids", "content_sha256")
        readers: dict[str, Callable[[Any], Any]] = {part: lambda s, part=part: getattr(s, part) for part in parts}
        readers |= {
            "features": lambda s: np.asarray(s.features),
            "first": lambda s: np.asarray(s.features[0]),
            "ledger": lambda s: s.ledger(),
            "provenance": lambda s: asdict(s.provenance),
        }
        for part, read in readers.items():
            # A handle each: what one part refuses hides no other.
            self._try(f"set {key} {part}", lambda read=read: read(fs.get(key=key)))

    def _run(self, fs: FeatureStore, run_id: str) -> None:
        self._try(f"run {run_id}", lambda: vars(fs.run(run_id)))
        self._try(f"run {run_id} predictions", lambda: fs.predictions(run_id))
        self._try("run by name", lambda: fs.find_run("flowers/toy/logistic"))
        try:
            self.reads["thumbnail"] = self._thumbnail(fs, fs.run(run_id))
        except StoreError:
            self.reads["thumbnail"] = REFUSED

    def _thumbnail(self, fs: FeatureStore, run: ProbeResult) -> str:
        first = run.predictions["example_id"][0]
        found = StoreImages(fs, Environment({}))(run, [first])
        # Without an image the report shows a placeholder.
        return digest_of(np.asarray(Image.open(io.BytesIO(found[first])))) if found else LEFT_OUT

    def _rows(self, fs: FeatureStore, name: str) -> None:
        def rows() -> dict[str, str]:
            pool = fs.pool(fs.pool_key(name))
            return {content.hex(): self._row(pool, address) for content, address in pool.index().items()}

        with warnings_of_the_store() as warnings:
            try:
                found = rows()
            except StoreError:
                found = {}
                warnings.append(REFUSED)
        for content in self._there_is[f"rows of {name}"]:
            lost = LEFT_OUT if warnings else "lost unseen"
            self.reads[f"row {name} {content}"] = found.get(content, lost)

    def _row(self, pool: Any, address: Any) -> str:
        try:
            shard = store.pool.open_shard(pool.shard_path(address.shard))
        except StoreError:
            return REFUSED
        return digest_of(np.array(shard.features[address.row]))

    def _table(self, what: str, read: Callable[[], pd.DataFrame], key: str, naming: list[str]) -> None:
        with warnings_of_the_store() as warnings:
            frame = read()
        rows = {row[key]: row for row in frame.to_dict("records")}
        wanted = self._there_is["sets" if what == "catalog" else "runs"]
        for name in wanted:
            row = rows.get(name)
            lost = LEFT_OUT if warnings else "lost unseen"
            numbers = {column: row[column] for column in row if column not in naming} if row else None
            self.reads[f"{what} {name}"] = digest_of(numbers) if row else lost
            named = digest_of([row[column] for column in naming]) if row else lost
            self.reads[f"{what} {name} naming"] = LEFT_OUT if warnings else named

    def _known_files(self) -> list[Any]:
        source = open_source(f"folder:{self._images}", SourceCaches(stat_cache=(self._path / "cache" / "stat", 2**62)))
        return [(example.example_id, example.label, example.look()) for example in source.examples("all")]


def read_everything(path: Path, images: Path, there_is: dict[str, list[Any]]) -> Reads:
    """Read all there is; a name → its digest, `refused` or `left out`."""
    return _Reader(path, images, there_is).read()


def what_there_is(path: Path, names: list[Any]) -> dict[str, list[Any]]:
    """Return what there is to be read in a sound store."""
    fs = FeatureStore(path)
    pools = sorted(folder.name for folder in path.glob("pools/*"))
    found: dict[str, list[Any]] = {
        "names": names,
        "sets": [features.key for features in fs.sets()],
        "runs": [run.run_id for run in fs.runs()],
        "pools": pools,
    }
    for pool in pools:
        found[f"rows of {pool}"] = sorted(content.hex() for content in fs.pool(fs.pool_key(pool)).index())
    return found


def read_anew(path: Path, images: Path, there_is: dict[str, list[Any]], out: Path) -> None:
    """Read all there is in this process, which has read nothing yet, and write it down."""
    ignore_ctime()
    logging.getLogger("store").setLevel(logging.WARNING)
    logging.getLogger("store").propagate = False
    reads = read_everything(path, images, there_is)
    out.write_text("".join(f"{name}\t{read}\n" for name, read in reads.items()))
