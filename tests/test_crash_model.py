"""Power may fail after every single operation of a writer: nothing acknowledged is lost, nothing wrong is read."""

import copy
import functools
import hashlib
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import crash_model
import numpy as np
import pandas as pd
import pytest

import store.commit
from store import DamagedStore, FeatureStore, PoolKey, ProbeResult, Provenance, SetKey, StoreError, rows_digest
from store.answers import Answers
from store.commit import list_folder
from store.shards import open_shard

CREATED = "2026-01-01T00:00:00Z"
KEY = PoolKey("network", "0" * 64, "average", {"size": 8})
FEATURES = np.arange(12, dtype=np.float32).reshape(4, 3)
CONTENTS = [hashlib.sha256(bytes([row])).digest() for row in range(4)]


QUESTION = {"dataset": "d", "extractor": "e", "head": "x", "seed": 0}
PROMISED_BY_A_SET = ("store", "rows 0", "rows 2", "set")


class Violation(AssertionError):
    """What a crash must never bring about."""


def ledger():
    rows = [
        (f"p{row}", row % 2, "", "ok", "", content.hex(), "PNG", "RGB", 1, 1, 1) for row, content in enumerate(CONTENTS)
    ]
    return pd.DataFrame(rows, columns=list(store.LEDGER_COLUMNS))


def set_key():
    table = ledger()
    rows = zip(table.example_id, table.content_sha256, table.label.tolist(), table.status, strict=True)
    return SetKey(KEY.digest, "all", ("a", "b"), 4, rows_digest(rows))


def run():
    predictions = pd.DataFrame(
        [("p0", CONTENTS[0].hex(), "", 0, 0, True, 0.9, 0.9)],
        columns=[
            "example_id", "content_sha256", "group", "label", "predicted", "is_correct", "confidence", "label_probability"
        ],
    )  # fmt: skip
    config = dict.fromkeys(("dataset", "extractor", "head", "shots", "train", "validation", "test"), "x") | {"seed": 0}
    return ProbeResult(
        run_id="ab" * 32, config=config, counts={"n_test": 1}, selection={"selected": {}}, metrics={"accuracy": 1.0}, class_names=("a", "b"), predictions=predictions,
        curves=pd.DataFrame({"epoch": [1]}), head={"kernel": np.eye(2)}, fit={"converged": True}, created=CREATED,
    )  # fmt: skip


def write(path: Path, ack: Callable[[str], None]) -> None:
    """A small job: two shards, a set, its name, a run."""
    is_new = not (path / "FORMAT").exists()
    fs = FeatureStore.create(path)
    if is_new:
        ack("store")
    pool = fs.pool(KEY)
    for part in (slice(0, 2), slice(2, 4)):
        if any(content not in pool.index() for content in CONTENTS[part]):
            pool.add(FEATURES[part], CONTENTS[part])
            # To find another writer's rows is no promise yet; the set makes one.
            ack(f"rows {part.start}")
    # As an extraction does: a set that another writer has published is named, and not published again.
    if not fs.has_set(set_key().digest):
        fs.publish_set(set_key(), ledger(), pool, provenance=Provenance(CREATED, "d", "folder:x", "e", "none"))
        for what in PROMISED_BY_A_SET:
            ack(what)
    fs.name_set("d", "all", "e", key=set_key().digest, created=CREATED)
    for what in PROMISED_BY_A_SET:
        ack(what)
    ack("name")
    fs.publish_run(run())
    ack("run")
    fs.put_answer(QUESTION, run().run_id, created=CREATED)
    ack("answer")
    fs.end_night(fs.begin_night({"begun": CREATED}), {"ended": CREATED, "how": "done", "exit_code": 0})
    ack("night")


def check(path: Path, acknowledged: set[str], may_be_damaged: bool) -> None:
    """Read what a crash has left as a new process would, then do the job again."""
    store.commit._durable.clear()
    try:
        read(path, acknowledged, may_be_damaged)
        write(path, lambda what: None)
        read(path, {*PROMISED_BY_A_SET, "name", "run", "answer", "night"})
    except (StoreError, OSError, AssertionError, KeyError) as error:
        raise Violation(f"{type(error).__name__}: {error}") from error


def read(path: Path, acknowledged: set[str], may_be_damaged: bool = False) -> None:
    """Read all there is: what was acknowledged must be there; whatever is there must be right.

    Damage from before the job may still be there while it is not acknowledged, but is never read.
    """
    if "store" not in acknowledged and not (path / "FORMAT").exists():
        return
    fs = FeatureStore(path)
    pool = fs.pool(KEY)
    index = pool.index()
    assert may_be_damaged or pool.damaged == {}
    for start in (0, 2):
        if f"rows {start}" in acknowledged:
            for row in (start, start + 1):
                address = index[CONTENTS[row]]
                found = open_shard(pool.shard_path(address.shard)).features[address.row]
                np.testing.assert_array_equal(found, FEATURES[row])
    for name, keys, check_one in (
        ("set", [f.key for f in fs.sets()], lambda key: check_set(fs, key)),
        ("run", run_ids(path), lambda key: check_run(fs, key)),
    ):
        assert name not in acknowledged or len(keys) == 1
        for key in keys:
            try:
                check_one(key)
            except DamagedStore:
                assert may_be_damaged
                assert name not in acknowledged
    if "name" in acknowledged:
        assert fs.get("d", "all", "e").key == set_key().digest
    answers = Answers(path / "answers").current()
    assert "answer" not in acknowledged or len(answers) == 1
    # What answers is there: the run was durable before the answer. (A damaged one is away while it is replaced.)
    assert may_be_damaged or all(answer.run_id in run_ids(path) for answer in answers)
    nights = fs.nights()
    assert len(nights) == len([name for name in list_folder(path / "nights") if not name.startswith(".")])
    assert "night" not in acknowledged or any(night["how"] == "done" for night in nights)


def run_ids(path: Path) -> list[str]:
    return [folder.name for folder in path.glob("runs/[0-9a-f]*")]


def check_set(fs: FeatureStore, key: str) -> None:
    features = fs.get(key=key)
    np.testing.assert_array_equal(np.asarray(features.features), FEATURES)
    assert features.example_ids.tolist() == ["p0", "p1", "p2", "p3"]
    assert len(features.ledger()) == 4


def check_run(fs: FeatureStore, key: str) -> None:
    found = fs.run(key)
    assert found.predictions["example_id"].tolist() == ["p0"]
    np.testing.assert_array_equal(found.head["kernel"], np.eye(2))


def damage(path: Path) -> None:
    write(path, lambda what: None)
    for pattern in ("pools/*/shards/*.h5", "sets/*/ledger.parquet", "runs/*/head.npz"):
        for file in path.glob(pattern):
            file.write_bytes(b"rubbish")


@dataclass(frozen=True)
class Circumstances:
    """What a job meets.

    Attributes:
        is_damaged: a shard, a set and a run lie there from before, damaged.
        folder_syncs: another process does the same job, and has stopped before its next folder fsync but
            so many; None where there is no other.
    """

    is_damaged: bool = False
    folder_syncs: int | None = None


# How many folder fsyncs a job makes on an empty folder; a test holds it.
FOLDER_SYNCS = 27
OTHERS = [Circumstances(folder_syncs=number) for number in range(FOLDER_SYNCS)]


def record(met: Circumstances, scratch: Path, suppressed: str | None = None) -> tuple[crash_model.Recorder, Callable]:
    """Do the job once; returns the recorder and how the file system began."""
    root = Path(tempfile.mkdtemp(dir=scratch))
    store.commit._durable.clear()
    if met.is_damaged:
        damage(root / "store")
        store.commit._durable.clear()
    before = crash_model.durable(root)
    recorder = crash_model.Recorder(root, suppressed)
    with recorder.recording():
        if met.folder_syncs is not None:
            with recorder.another_writer(met.folder_syncs):
                write(root / "store", lambda what: None)
            store.commit._durable.clear()
        write(root / "store", recorder.ack)
    return recorder, lambda: copy.deepcopy(before)


def crash_everywhere(met: Circumstances, scratch: Path, rounds: int, suppressed: str | None = None) -> int:
    """Crash after every operation, in several ways; returns how many crashes were recovered from."""
    recorder, start = record(met, scratch, suppressed)
    generator = random.Random(0)
    crashes, known = 0, set()
    for _, folder, acknowledged in crash_model.prefixes(recorder, start):
        choices = [crash_model.nothing_more(), crash_model.names_without_bytes(), crash_model.newest_names_only()]
        choices += [crash_model.everything()] * min(rounds, 1)
        choices += [crash_model.at_random(generator) for _ in range(rounds)]
        for choice in choices:
            left = crash_model.what_is_left(folder, choice)
            crashes += 1
            state = crash_model.digest(left), frozenset(acknowledged)
            # Many crashes leave the same, with the same promises; what follows is the same then.
            if state not in known:
                known.add(state)
                check_left(left, scratch / "left", acknowledged, met.is_damaged)
    return crashes


def check_left(left: crash_model.Left, target: Path, acknowledged: set[str], may_be_damaged: bool) -> None:
    crash_model.build(left, target)
    try:
        check(target / "store", acknowledged, may_be_damaged)
    finally:
        shutil.rmtree(target)


@pytest.fixture
def scratch():
    # In memory, where there is one: thousands of small files are written and thrown away.
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.heavy
def test_every_crash_of_a_job_is_recovered_from(scratch):
    crashes = crash_everywhere(Circumstances(), scratch, rounds=0)
    print(f"\n{crashes} crashes, all recovered")
    assert crashes > 150


@pytest.mark.slow
def test_every_crash_while_damage_is_repaired_is_recovered_from(scratch):
    assert crash_everywhere(Circumstances(is_damaged=True), scratch, rounds=0) > 100


@pytest.mark.slow
def test_every_crash_beside_another_writer_that_has_not_synced_is_recovered_from(scratch):
    assert all(fsyncs_of(met)[1] for met in OTHERS)
    assert not fsyncs_of(Circumstances(folder_syncs=FOLDER_SYNCS))[1], "OTHERS covers every instant, and no more"
    # One of the instants here; 'make campaign' takes them all.
    assert crash_everywhere(OTHERS[7], scratch, rounds=0) > 50


EVERY = (Circumstances(), Circumstances(is_damaged=True), *OTHERS)
# Where in store/ an fsync stands; a test holds it.
SITES = 14


@functools.cache
def fsyncs_of(met: Circumstances) -> tuple[frozenset[str], bool]:
    """Where the fsyncs of a job stand, and whether another writer was stopped beside it."""
    with tempfile.TemporaryDirectory() as folder:
        recorder, _ = record(met, Path(folder))
    return frozenset(recorder.sites), recorder.is_paused


def fsync_sites() -> list[str]:
    return sorted(frozenset.union(*(fsyncs_of(met)[0] for met in EVERY)))


def is_missed(met: Circumstances, scratch: Path, site: str) -> bool:
    try:
        crash_everywhere(met, scratch, rounds=0, suppressed=site)
    except Violation:
        return True
    return False


@pytest.mark.heavy
def test_fsyncs_that_are_taken_out_are_missed(scratch):
    """Those that a job on an empty folder needs; 'make campaign' takes out each."""
    assert len(fsync_sites()) == SITES
    for site in ("_link_new", "make_folder", "publish_new_file"):
        (found,) = (known for known in fsyncs_of(Circumstances())[0] if known.startswith(f"{site}:"))
        assert is_missed(Circumstances(), scratch, found), found


@pytest.mark.campaign
@pytest.mark.parametrize("number", range(SITES))
def test_each_fsync_that_is_taken_out_is_missed(scratch, number):
    site = fsync_sites()[number]
    missed_by = next((met for met in EVERY if is_missed(met, scratch, site)), None)
    print(f"\n{site}: taken out, missed by {missed_by}")
    assert missed_by is not None, f"{site}: nothing is lost without it"


@pytest.mark.campaign
@pytest.mark.parametrize("met", [Circumstances(), Circumstances(is_damaged=True), *OTHERS], ids=str)
def test_every_crash_is_recovered_from_in_forty_random_ways(scratch, met):
    print(f"\n{crash_everywhere(met, scratch, rounds=40)} crashes, all recovered")
