import errno
import json
import os
import pwd
import subprocess
import sys
import threading

import numpy as np
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
    user = pwd.getpwuid(os.getuid()).pw_name
    assert text.startswith(f"waiting for process 12 on host-a, at flowers ({user}), since 20")
    assert str(store.path / "cache" / "locks") in text


def test_who_does_not_wait_is_told_in_the_error(store, held):
    with pytest.raises(
        StoreBusy,
        match=r"^work: held by process 12 on host-a, at flowers \(.*\), since 20.*Z \(.*\.lock\); run it again",
    ):
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


def test_a_note_is_never_written_through_a_link(store, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    with store.lock("work", wait=False, holder="me"):
        (note,) = (store.path / "cache" / "locks").glob("*.holder")
    note.symlink_to(precious)
    with store.lock("work", wait=False, holder="me"):
        assert not note.is_symlink()
        assert note.read_text() == "me"
    assert precious.read_text() == "keep me"


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["pipe", "huge", "link"])
def test_a_note_that_is_no_note_of_ours_holds_nobody_up(store, held, tmp_path, kind):
    (note,) = (store.path / "cache" / "locks").glob("*.holder")
    note.unlink()
    if kind == "pipe":
        os.mkfifo(note)
    elif kind == "huge":
        note.write_bytes(b"x" * 100_000)
    else:
        (tmp_path / "secret").write_text("secret")
        note.symlink_to(tmp_path / "secret")
    with pytest.raises(StoreBusy, match="held by another process"):
        store.lock("work", wait=False).__enter__()


def test_a_lock_file_that_is_a_link_is_not_followed(store, tmp_path):
    with store.lock("work", wait=False):
        (lock,) = (store.path / "cache" / "locks").glob("*.lock")
    lock.unlink()
    (tmp_path / "precious").write_text("keep me")
    lock.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError), store.lock("work", wait=False):  # noqa: PT011
        pass
    assert (tmp_path / "precious").read_text() == "keep me"


REFUSING = """
#include <errno.h>
#include <stdlib.h>
int flock(int fd, int operation) { errno = atoi(getenv("REFUSED_WITH")); return -1; }
"""
LOCKING = """
import logging, sys
from store import FeatureStore
logging.basicConfig(level=logging.WARNING, format="%(message)s")
store = FeatureStore.create(sys.argv[1])
for name in ("work", "other"):
    with store.lock(name, wait=False):
        print("did", name)
"""


@pytest.mark.heavy
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
def test_where_a_file_system_has_no_locks_that_is_told_once_and_work_goes_on(tmp_path, code):
    source, library = tmp_path / "refusing.c", tmp_path / "refusing.so"
    source.write_text(REFUSING)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "REFUSED_WITH": str(code)}
    command = [sys.executable, "-c", LOCKING, tmp_path / "store"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "did work\ndid other\n"
    # filelock has a lock of its own, without flock, where the system has none at all.
    assert done.stderr.count("this file system has no locks") == (0 if code == errno.ENOSYS else 1)


AS_OTHERS = """
import json, os, sys
from linprobe.cli import main

group, users, steps = json.loads(sys.argv[1])
# The interpreter may lie where others may not look: what commands import is imported before anybody else is one.
for _, _, arguments in steps:
    assert main([*arguments, "--store", "warm"]) == 0
for user, umask, arguments in steps:
    child = os.fork()
    if not child:
        if os.getuid() != users[user]:
            os.setgid(group), os.setgroups([group]), os.setuid(users[user])
        os.umask(int(umask, 8))
        os._exit(main([*arguments, "--store", "store"]))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        sys.exit(f"{user} {umask} {arguments}: {code}")
"""


@pytest.mark.heavy
@pytest.mark.parametrize("umask", ["077", *(pytest.param(umask, marks=pytest.mark.slow) for umask in ("002", "022"))])
def test_a_shared_store_works_for_a_second_user_whatever_the_umask(tmp_path_factory, umask):
    # Who is not root is the same user twice: the umask alone is tested then.
    is_root = os.getuid() == 0
    group, users = (54321, (54322, 54323)) if is_root else (os.getgid(), (os.getuid(),) * 2)
    folder = tmp_path_factory.mktemp("team")
    for above in (folder, *folder.parents):
        if is_root and above != above.parent:
            above.chmod(above.stat().st_mode | 0o055)
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        np.savez(folder / f"{name}.npz", features=rng.normal(size=(90, 4)).astype(np.float32), labels=np.arange(90) % 3)
    store = folder / "store"
    store.mkdir()
    os.chown(store, users[0], group)
    store.chmod(0o2775)
    steps = []
    for user, name in ((0, "one"), (1, "two"), (0, "one")):
        for extractor in ("a", "b"):
            steps.append((user, umask, ["store", "import", f"{name}.npz", "--name", name, "--extractor", extractor]))
        steps.append((user, umask, ["probe", "--head", "knn", "--shots", "2", "--seeds", "1"]))
    steps += [(0, umask, ["store", "verify"]), (1, umask, ["store", "gc"])]
    command = [sys.executable, "-c", AS_OTHERS, json.dumps([group, users, steps])]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    owners = {path.stat().st_uid for path in store.rglob("*")}
    assert owners == set(users)
