"""Exact identity, one test a field, both ways: what changes the numbers, what changes the table, and what changes nothing.

A world is everything that an extraction is made from. Each test changes one thing of it and looks at the
three identities: the pool's key, the images' content hashes, the set's key.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from split_jobs import extract_split

from extract import Budget, Extractor, Preprocessing, SourceCaches, SplitJob, open_source
from extract.extractors.extractor import arrays_sha256
from extract.sources.example import DatasetSource
from store import FeatureStore, PoolKey

pytestmark = pytest.mark.framework

WEIGHTS = {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.zeros(3, np.float32)}


def weights_sha256(weights: Mapping[str, np.ndarray]) -> str:
    return arrays_sha256(sorted(weights.items()))


TOY = Extractor("toy", "toy", weights_sha256(WEIGHTS), "means", Preprocessing(8, "0..255"), 4)


@dataclass(frozen=True)
class World:
    """What an extraction is made from; the fields of the first line are a part of identity, the others are not."""

    extractor: Extractor = TOY
    names: tuple[str, ...] = ("a/1.png", "a/2.png", "b/3.png", "b/4.png")
    greys: tuple[int, ...] = (10, 20, 30, 40)
    torn: tuple[str, ...] = ()

    place: str = "images"
    modified: float | None = None
    is_indexed: bool = False
    store: str = "store"
    dataset: str = "flowers"
    created: str = "2026-11-24T01:02:03Z"
    host: str = "here"
    versions: Mapping[str, str] = field(default_factory=dict)
    engine: str = "counting"
    device: str = "CPU"
    threads: int = 1
    batch_size: int = 4
    chunk: int = 1024
    max_bad: int = 4
    extractor_name: str = "toy"
    about: str = ""


@dataclass(frozen=True)
class Identity:
    pool: str
    contents: tuple[str, ...]
    set: str


def encoded(grey: int, folder: Path) -> bytes:
    path = folder / f"{grey}.tmp.png"
    Image.fromarray(np.full((10, 12, 3), grey, np.uint8)).save(path)
    data = path.read_bytes()
    path.unlink()
    return data


def source_of(world: World, root: Path) -> DatasetSource:
    folder = root / world.place
    for name, grey in zip(world.names, world.greys, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = encoded(grey, root)
        (folder / name).write_bytes(data[:40] if name in world.torn else data)
        if world.modified is not None:
            os.utime(folder / name, (world.modified, world.modified))
    cache = (root / world.store / "cache" / "stat", 4 * 10**18) if world.is_indexed else None
    return open_source(f"folder:{folder}", SourceCaches(stat_cache=cache))


@pytest.fixture(scope="module")
def identify(tmp_path_factory, make_engine) -> Callable[[World], Identity]:
    """Runs an extraction in a new place, and gives what it was identified by."""

    def identify(world: World) -> Identity:
        root = tmp_path_factory.mktemp("world")
        engine = make_engine(world.batch_size)
        engine.name, engine.device, engine.threads = world.engine, world.device, world.threads
        extractor = replace(world.extractor, name=world.extractor_name, about=world.about)
        store = FeatureStore.create(root / world.store)
        source = source_of(world, root)
        (split,) = source.splits
        job = SplitJob(
            source=source, split=split, extractor=extractor, store=store, dataset=world.dataset,
            budget=Budget(world.max_bad),
        )  # fmt: skip
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr("extract.shares.CHUNK", world.chunk)
            done = extract_split(
                job, lambda: engine, created=world.created, host=world.host, versions=dict(world.versions)
            )
        found = done.feature_set
        return Identity(found.manifest["pool"], tuple(found.ledger()["content_sha256"]), found.key)

    return identify


@pytest.fixture(scope="module")
def before(identify) -> Identity:
    """The identity of the world as it is."""
    return identify(World())


def preprocessing(**changes: Any) -> Extractor:
    return replace(TOY, preprocessing=replace(TOY.preprocessing, **changes))


def one_weight(bit: int) -> Extractor:
    changed = {name: array.copy() for name, array in WEIGHTS.items()}
    changed["kernel"].view(np.uint32)[1, 2] ^= np.uint32(1 << bit)
    return replace(TOY, weights_sha256=weights_sha256(changed))


# What changes the numbers changes the pool's key, or the content hash of the one image that changed.
NUMBERS = {
    "architecture": replace(TOY, architecture="toy2"),
    "one bit of one weight": one_weight(0),
    "a weight's name": replace(TOY, weights_sha256=weights_sha256({"kernels": WEIGHTS["kernel"], "bias": np.zeros(3)})),
    "a weight's shape": replace(TOY, weights_sha256=weights_sha256({**WEIGHTS, "bias": np.zeros((3, 1), np.float32)})),
    "output": replace(TOY, output="logits"),
    "precision": replace(TOY, precision="tf32"),
    "dtype": replace(TOY, dtype="float16"),
    "size": preprocessing(size=9),
    "value_range": preprocessing(value_range="0..1"),
    "resize": preprocessing(resize="bicubic"),
    "antialias": preprocessing(antialias=True),
    "crop": preprocessing(crop="square:0.875"),
    "pixels": preprocessing(pixels="uint8"),
    "orientation": replace(preprocessing(orientation="stored"), takes_orientation_of_source=False),
    "background": preprocessing(background="#000000"),
    "rules": preprocessing(rules=TOY.preprocessing.rules + 1),
    "view": preprocessing(view=1),
}

# What changes the table changes the set's key alone.
TABLE = {
    "a label": World(names=("a/1.png", "b/2.png", "b/3.png", "b/4.png")),
    "an id": World(names=("a/1.png", "a/x.png", "b/3.png", "b/4.png")),
    "a class name": World(names=("a/1.png", "a/2.png", "c/3.png", "c/4.png")),
    "another class": World(names=("a/1.png", "a/2.png", "b/3.png", "c/4.png")),
    "the order": World(names=("a/2.png", "a/1.png", "b/3.png", "b/4.png")),
    "one image less": World(names=("a/1.png", "a/2.png", "b/3.png"), greys=(10, 20, 30)),
    "one image twice": World(names=(*World().names, "b/5.png"), greys=(10, 20, 30, 40, 40)),
    "the split": World(names=tuple(f"train/{name}" for name in World().names)),
}

# What changes neither changes nothing: circumstances, and how the work was cut up.
NOTHING = {
    "place": World(place="elsewhere/deep"),
    "modified": World(modified=1_000_000_000.0),
    "is_indexed": World(is_indexed=True, modified=1_000_000_000.0),
    "store": World(store="another store"),
    "dataset": World(dataset="blumen"),
    "created": World(created="2030-01-01T00:00:00Z"),
    "host": World(host="there"),
    "versions": World(versions={"tensorflow": "3.0"}),
    "engine": World(engine="openvino"),
    "device": World(device="GPU"),
    "threads": World(threads=64),
    "batch_size": World(batch_size=1),
    "chunk": World(chunk=2),
    "max_bad": World(max_bad=3),
    "extractor_name": World(extractor_name="my toy"),
    "about": World(about="a toy"),
}


@pytest.mark.parametrize("extractor", NUMBERS.values(), ids=NUMBERS)
def test_what_changes_the_numbers_changes_the_pool_key(identify, before, extractor):
    after = identify(World(extractor=extractor))
    assert after.pool != before.pool
    assert after.set != before.set
    assert after.contents == before.contents


@pytest.mark.parametrize("at", range(4))
def test_one_images_bytes_change_its_content_hash_and_no_other(identify, before, at):
    greys = tuple(grey + (number == at) for number, grey in enumerate(World().greys))
    after = identify(World(greys=greys))
    assert [one != other for one, other in zip(before.contents, after.contents, strict=True)] == [
        number == at for number in range(4)
    ]
    assert after.pool == before.pool
    assert after.set != before.set


@pytest.mark.parametrize("world", TABLE.values(), ids=TABLE)
def test_what_changes_the_table_changes_the_set_key_alone(identify, before, world):
    after = identify(world)
    assert after.set != before.set
    assert after.pool == before.pool
    assert set(after.contents) <= set(before.contents)


def test_an_image_that_can_be_decoded_no_more_changes_the_set_key(identify, before):
    after = identify(World(torn=("a/2.png",)))
    assert after.set != before.set
    assert after.pool == before.pool
    assert [one == other for one, other in zip(before.contents, after.contents, strict=True)] == [
        True, False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize("world", NOTHING.values(), ids=NOTHING)
def test_what_changes_neither_numbers_nor_table_changes_no_identity(identify, before, world):
    assert identify(world) == before


def test_the_same_twice_is_the_same(identify, before):
    assert identify(World()) == before


# Nothing is forgotten above


def test_every_field_of_the_preprocessing_is_in_the_table():
    assert {name.name for name in fields(Preprocessing)} <= NUMBERS.keys()


def test_every_field_of_the_pool_key_is_in_the_table():
    covered = {"preprocessing", "weights_sha256"}  # by its own fields; by the weights
    assert {name.name for name in fields(PoolKey)} - covered <= NUMBERS.keys()


def test_every_circumstance_of_a_world_is_in_the_table():
    identity = {"extractor", "names", "greys", "torn"}
    assert {name.name for name in fields(World)} - identity == NOTHING.keys()


def test_weights_are_digested_with_names_dtypes_shapes_and_bytes():
    assert (
        weights_sha256(WEIGHTS)
        == hashlib.sha256(
            b"bias <f4 (3,)\n" + bytes(12) + b"kernel <f4 (2, 3)\n" + np.arange(6, dtype="<f4").tobytes()
        ).hexdigest()
    )
