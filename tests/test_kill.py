"""`kill -9` in the middle of real extractions: nothing that was committed is lost, and the end is the same."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extract.shares import CHUNK
from store import FeatureStore, verify_store
from store.shards import open_shard

pytestmark = pytest.mark.slow

LINPROBE = Path(sys.executable).parent / "linprobe"
IMAGES = 2 * CHUNK + 300


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for number in range(IMAGES):
        path = folder / f"class{number % 3}" / f"{number:05d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).save(path, compress_level=1)
    return folder


def command(images, store):
    return [LINPROBE, "extract", "--dataset", f"folder:{images}", "--extractor", "pixels", "--store", store, "--json"]


def committed(store):
    """The rows that a reader finds in the pool: content hash → features; every shard is verified."""
    rows = {}
    for path in sorted(Path(store).glob("pools/*/shards/*.h5")):
        shard = open_shard(path)
        for content, row in zip(shard.content_sha256, shard.features, strict=True):
            rows[content.tobytes()] = row.copy()
    return rows


def finish(images, store):
    found = subprocess.run(command(images, store), capture_output=True, text=True, check=True)
    return json.loads(found.stdout)["feature_sets"][0]


@pytest.fixture(scope="module")
def undisturbed(images, tmp_path_factory):
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    row = finish(images, store)
    assert row["forward_passes"] == IMAGES
    return row["key"], np.asarray(FeatureStore(store).get(key=row["key"]).features)


def kill_while_it_works(images, store, instant):
    """Start an extraction, wait until it computes, and kill it after `instant` seconds more."""
    process = subprocess.Popen(command(images, store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before = len(list(Path(store).glob("pools/*/shards/*.h5")))
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(Path(store).glob("pools/*/shards/*.h5"))) > before:
            time.sleep(instant)
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def check_kills(images, undisturbed, store, kills, seed):
    generator = random.Random(seed)
    kept: dict[bytes, np.ndarray] = {}
    for number in range(kills):
        # The first kill comes with the first shard, the others anywhere in the chunks that follow.
        kill_while_it_works(images, store, generator.uniform(0, 0.8) if number else 0.0)
        now = committed(store)
        assert set(kept) <= set(now), "a committed row was lost"
        kept = now
    row = finish(images, store)
    key, features = undisturbed
    # What was committed before the last run is not computed again: at most a chunk per kill was lost.
    assert row["forward_passes"] == IMAGES - len(kept)
    assert row["key"] == key
    np.testing.assert_array_equal(np.asarray(FeatureStore(store).get(key=key).features), features)
    print(f"\n{kills} kills, {len(kept)} of {IMAGES} rows committed before the last run, 0 lost")


def test_killed_extractions_lose_no_committed_row_and_end_with_the_undisturbed_set(images, undisturbed, tmp_path):
    check_kills(images, undisturbed, tmp_path / "store", kills=2, seed=0)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(50))
def test_a_hundred_killed_extractions(images, undisturbed, tmp_path, seed):
    check_kills(images, undisturbed, tmp_path / "store", kills=2, seed=100 + seed)


SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL]


def _signalled_nights(images, tmp_path, seed, times):
    """Nights that are told to stop at any instant end with 75 or are done, and the next one goes on from there."""
    generator = random.Random(seed)
    store = tmp_path / "store"
    (tmp_path / "job.toml").write_text(
        f'store = "{store}"\n[[datasets]]\nname = "many"\nsource = "folder:{images}"\n[[extractors]]\nname = "pixels"\n'
        '[[probes]]\nhead = "ridge"\n'
    )
    codes = []
    for number in range(times):
        process = subprocess.Popen(
            [LINPROBE, "nightly", "job.toml"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            _, err = process.communicate(timeout=generator.uniform(0.3, 6.0))
        except subprocess.TimeoutExpired:
            process.send_signal(generator.choice(SIGNALS))
            _, err = process.communicate(timeout=120)
        codes.append(process.returncode)
        # Before the command line has set itself up, a signal ends the interpreter as it always does.
        assert process.returncode in (0, 75, *(-number for number in SIGNALS), 130), err
        assert "this is a fault of ours" not in err, f"{number}: {err}"
    last = subprocess.run([LINPROBE, "nightly", "job.toml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    opened = FeatureStore(store)
    nights = opened.nights()
    assert nights[-1]["how"] == "done"
    assert {night["how"] for night in nights} <= {"done", "interrupted", "not ended"}
    assert len(opened.standing()) == 1
    assert verify_store(store).problems == []
    print(f"\nseed {seed}: {codes}, {len(committed(store))} rows")
    assert len(committed(store)) == IMAGES


def test_nights_that_are_told_to_stop_go_on_the_next_time(images, tmp_path):
    _signalled_nights(images, tmp_path, seed=0, times=5)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_hundred_nights_that_are_told_to_stop(images, tmp_path, seed):
    _signalled_nights(images, tmp_path, seed, times=10)
