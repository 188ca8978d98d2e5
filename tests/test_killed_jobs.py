"""`kill -9` of jobs with a stub engine, at random instants and at every system call of a commit."""

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import stub_extraction as stub

import store.hdf5
from store import FeatureStore, verify_store

CHUNK = 64
# Five chunks and a part of one.
SOURCE = stub.dataset("flowers", range(5 * CHUNK + 20))
ROWS = {stub.content(number): stub.features([number])[0].tobytes() for number, _ in SOURCE.images}
PUBLISHED = ("set.json", "features.h5", "ledger.parquet")


def parts(path):
    """What a set says, without the circumstances in which it was made."""
    folder = FeatureStore(path).get(SOURCE.name, "all", "toy").folder
    return folder.name, [(folder / name).read_bytes() for name in PUBLISHED]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a job ends with that nobody disturbs, and how long one takes."""
    path = tmp_path_factory.mktemp("undisturbed")
    stub.finish(stub.extract_stub, path / "warm", SOURCE, None, CHUNK)
    began = time.monotonic()
    stub.finish(stub.extract_stub, path / "store", SOURCE, path / "log", CHUNK)
    seconds = time.monotonic() - began
    assert len(stub.computed(path / "log")) == len(ROWS)
    return parts(path / "store"), seconds


def kill_at(instant, path, log):
    """Start the job and kill it after so many seconds; returns whether it was still at work."""
    process = stub.start(stub.extract_stub, path, SOURCE, log, CHUNK)
    time.sleep(instant)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def check_kill(path, log, kept, before):
    """What a killed job has left: nothing committed is lost, nothing is wrong, a chunk at most was in vain."""
    now = stub.committed(path)
    assert kept.items() <= now.items(), "a committed row was lost or changed"
    assert now.items() <= ROWS.items(), "a wrong row was committed"
    in_vain = [content for content in stub.computed(log)[before:] if content not in now]
    assert len(in_vain) <= CHUNK
    if (path / "FORMAT").exists():
        # What is there of sets and names is whole.
        assert verify_store(path).is_sound
    return now, len(in_vain)


@pytest.mark.parametrize(
    ("kills", "seed"), [(15, 0), *(pytest.param(50, seed, marks=pytest.mark.campaign) for seed in range(1, 21))]
)
def test_jobs_killed_at_random_instants_lose_no_committed_row(undisturbed, tmp_path, kills, seed):
    expected, seconds = undisturbed
    generator = random.Random(seed)
    count = again = worst = rounds = 0
    while count < kills:
        path, log = tmp_path / f"store{rounds}", tmp_path / f"log{rounds}"
        rounds += 1
        kept = {}
        for _ in range(min(5, kills - count)):
            before = len(stub.computed(log))
            is_killed = kill_at(generator.uniform(0, seconds), path, log)
            kept, in_vain = check_kill(path, log, kept, before)
            count, worst = count + is_killed, max(worst, in_vain)
        stub.finish(stub.extract_stub, path, SOURCE, log, CHUNK)
        assert parts(path) == expected
        stub.check_set(path, SOURCE)
        again += len(stub.computed(log)) - len(ROWS)
    print(
        f"\nseed {seed}: {count} kills in {rounds} extractions, 0 committed rows lost, {again} rows computed twice, "
        f"at most {worst} for one kill (a chunk has {CHUNK})"
    )


# At every system call

OLD, NEW = stub.dataset("old", range(5)), stub.dataset("new", range(3, 9))


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A store with one set, of which the job to come shares two images."""
    path = tmp_path_factory.mktemp("before") / "store"
    stub.finish(stub.extract_stub, path, OLD, None, 4)
    return path


def trace(path, options):
    """Do a job under strace, from its first call on; returns how it ended."""
    process = stub.start(stub.stop_then, stub.extract_stub, path, NEW, None, 4)
    status = Path(f"/proc/{process.pid}/status")
    stub.wait_until(lambda: "State:\tT" in status.read_text())
    tracer = subprocess.Popen(["strace", "-q", "-p", str(process.pid), *options], stderr=subprocess.DEVNULL)
    stub.wait_until(lambda: "TracerPid:\t0" not in status.read_text())
    os.kill(process.pid, signal.SIGCONT)
    process.join()
    tracer.wait()
    return process.exitcode


def calls_of(before, path):
    """The system calls that a job makes, each as its name and how many of this name it is."""
    subprocess.run(["cp", "-a", before, path], check=True)
    assert trace(path, ["-o", path.parent / "calls"]) == 0
    names = re.findall(r"^(\w+)\(", (path.parent / "calls").read_text(), re.MULTILINE)
    return [(name, names[: at + 1].count(name)) for at, name in enumerate(names)]


def check_call(before, path, name, number):
    """Kill a job at one of its system calls; returns whether it came so far."""
    where = f"{name} {number}"
    subprocess.run(["cp", "-a", before, path], check=True)
    # strace counts the calls of each name by themselves.
    ending = trace(path, ["-o", "/dev/null", "-e", f"inject={name}:signal=KILL:when={number}"])
    assert ending in (0, -signal.SIGKILL), where
    store.hdf5._verified.clear()
    assert verify_store(path, is_deep=True).is_sound, where
    stub.check_set(path, OLD)
    kept = stub.committed(path)
    stub.finish(stub.extract_stub, path, NEW, path.parent / "log", 4)
    # Nothing committed is computed again.
    assert not set(stub.computed(path.parent / "log")) & set(kept), where
    stub.check_set(path, OLD)
    stub.check_set(path, NEW)
    subprocess.run(["rm", "-rf", path, path.parent / "log"], check=True)
    return ending != 0


@pytest.mark.heavy
def test_job_killed_where_something_becomes_visible_leaves_the_old_state_or_the_new(before, tmp_path):
    calls = calls_of(before, tmp_path / "counted")
    # 'make campaign' takes every call.
    chosen = [call for call in calls if call[0] in ("link", "rename")]
    assert len(chosen) > 3
    for name, number in chosen:
        assert check_call(before, tmp_path / "store", name, number)
    print(f"\nkilled at {len(chosen)} of {len(calls)} system calls of one job, nothing lost")


@pytest.mark.campaign
def test_job_killed_at_every_system_call_leaves_the_old_state_or_the_new(before, tmp_path):
    calls = calls_of(before, tmp_path / "counted")
    killed = sum(check_call(before, tmp_path / "store", name, number) for name, number in calls)
    print(f"\nkilled at {killed} of {len(calls)} system calls of one job, nothing lost, the next run completes it")
    # Memory and threads are asked for a little differently each time.
    assert killed > 0.9 * len(calls)
