import errno
import os
import subprocess
import sys
import threading

import pytest

from store import StoreBusy
from store.locks import is_any_lock_held

HOLD = (
    "import sys, time; from store import FeatureStore\n"
    "with FeatureStore(sys.argv[1]).lock('work', True, 'process 12 on host-a, at flowers'):\n"
    "    print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def held(store):
    """Another process holds the lock `work`; ends it when called."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, store.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process.stdin.close
    process.stdin.close()
    process.wait(timeout=30)
    process.stdout.close()


@pytest.mark.heavy
def test_who_waits_is_told_once_who_holds_the_lock_and_where(store, held):
    told = []

    def on_wait(text):
        told.append(text)
        held()

    with store.lock("work", wait=True, on_wait=on_wait):
        pass
    (text,) = told
    assert text.startswith("waiting for process 12 on host-a, at flowers, which holds ")
    assert str(store.path / "cache" / "locks") in text


def test_who_does_not_wait_is_told_in_the_error(store, held):
    with pytest.raises(StoreBusy, match=r"^work: held by process 12 on host-a, at flowers \(.*\.lock\); run it again"):
        store.lock("work", wait=False).__enter__()


def test_a_free_lock_is_waited_for_by_no_one_and_leaves_no_note(store):
    told = []
    for _ in range(2):
        with store.lock("work", wait=True, holder="me", on_wait=told.append):
            assert [p.read_text() for p in (store.path / "cache" / "locks").glob("*.holder")] == ["me"]
    assert told == []
    assert list((store.path / "cache" / "locks").glob("*.holder")) == []


def test_holder_that_left_no_note_is_another_process(store, held):
    for note in (store.path / "cache" / "locks").glob("*.holder"):
        note.unlink()
    with pytest.raises(StoreBusy, match=r"^work: held by another process \("):
        store.lock("work", wait=False).__enter__()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_store_that_may_only_be_read_wants_no_lock(store, monkeypatch, number):
    def refuse(path):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("store.locks.make_folder", refuse)
    with store.lock("work", wait=False):
        assert not (store.path / "cache" / "locks").exists()


def test_other_errors_of_the_disk_are_told(store, monkeypatch):
    def refuse(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr("store.locks.make_folder", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        store.lock("work", wait=False).__enter__()


def test_held_locks_are_seen(store, held):
    folder = store.path / "cache" / "locks"
    assert is_any_lock_held(folder)
    assert not is_any_lock_held(store.path / "nowhere")
    held()
    with store.lock("work", wait=True):
        pass
    assert not is_any_lock_held(folder)


def test_threads_of_one_process_wait_for_one_another(store):
    order = []

    def other():
        with store.lock("work", wait=True, on_wait=lambda text: order.append("waits")):
            order.append("holds")

    with store.lock("work", wait=True):
        thread = threading.Thread(target=other)
        thread.start()
        while not order:
            pass
        order.append("lets go")
    thread.join(timeout=30)
    assert order == ["waits", "lets go", "holds"]
