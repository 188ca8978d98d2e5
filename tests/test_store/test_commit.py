import errno
import os
import stat
import subprocess
import sys
import threading

import pytest

from store import commit
from store.commit import list_folder, make_folder, publish_file, publish_folder, publish_new_file

FILES = {"one.bin": b"1", "two.bin": b"22", "manifest.json": b"{}"}
CALLS = ("open", "write", "fsync", "link", "rename", "replace", "mkdir", "close")


@pytest.fixture
def synced(monkeypatch):
    """What was fsynced, in order: paths as they were called at that moment."""
    calls = []
    real = os.fsync

    def fsync(descriptor):
        calls.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return calls


@pytest.fixture
def events(monkeypatch, synced):
    """Every fsync, link, rename, replace and mkdir, in order."""
    log = synced

    def record(name):
        real = getattr(os, name)

        def call(*arguments, **options):
            log.append(f"{name} {os.fspath(arguments[-1]) if name != 'mkdir' else os.fspath(arguments[0])}")
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, call)

    for name in ("link", "rename", "replace", "mkdir"):
        record(name)
    return log


class Fault:
    """Makes the n-th of the named calls fail; counts them."""

    def __init__(self, monkeypatch, at, number=errno.EIO):
        self.at, self.number, self.count = at, number, 0
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrapped(getattr(os, name), name))

    def _wrapped(self, real, name):
        def call(*arguments, **options):
            self.count += 1
            if self.count == self.at:
                if name == "close":
                    real(*arguments, **options)  # a descriptor is gone even when close() fails
                raise OSError(self.number, os.strerror(self.number), "injected")
            return real(*arguments, **options)

        return call


def outcomes_of_each_fault(monkeypatch, action, number=errno.EIO):
    """Run `action(n)` with its n-th system call failing, for all n until none fails; yields n."""
    for at in range(1, 200):
        with monkeypatch.context() as patched:
            fault = Fault(patched, at, number)
            try:
                action(at)
            except OSError as error:
                assert error.errno == number  # noqa: PT017
        if fault.count < at:
            return
        yield at
    raise AssertionError("the action never ran to its end")


def test_new_file_is_synced_then_linked_then_its_folder_synced(tmp_path, events):
    assert publish_new_file(tmp_path / "a" / "b" / "x.bin", b"data")
    a, b = tmp_path / "a", tmp_path / "a" / "b"
    temp = events[5]
    assert temp.startswith(f"{b}/.tmp-")
    assert events == [
        f"mkdir {a}", str(tmp_path),    # each new folder is made durable in the one above it
        f"mkdir {b}", str(a),
        str(tmp_path.parent),           # and the first old one, which another process may have just made
        temp, f"link {b / 'x.bin'}", str(b),
    ]  # fmt: skip


def test_folder_is_synced_file_by_file_then_renamed_then_its_parent_synced(tmp_path, events):
    make_folder(tmp_path)
    events.clear()
    assert publish_folder(tmp_path / "set", FILES)
    temp = events[0].removeprefix("mkdir ")
    assert temp.startswith(f"{tmp_path}/.tmp-")
    assert events == [
        f"mkdir {temp}", f"{temp}/one.bin", f"{temp}/two.bin", f"{temp}/manifest.json", temp,
        f"rename {tmp_path / 'set'}", str(tmp_path),
    ]  # fmt: skip


def test_folder_made_by_another_process_is_made_durable_up_to_the_store(tmp_path, synced):
    root = tmp_path / "store"
    (root / "pools" / "k").mkdir(parents=True)
    (root / "FORMAT").write_text("x")
    publish_new_file(root / "pools" / "k" / "x.bin", b"data")
    assert set(synced[:3]) == {str(root / "pools"), str(root), str(tmp_path)}
    synced.clear()
    publish_new_file(root / "pools" / "k" / "y.bin", b"data")
    assert len(synced) == 2  # the file and its folder: once per process is enough for the rest


@pytest.mark.parametrize("publish", [publish_new_file, publish_file])
def test_name_taken_by_another_writer_is_made_durable_too(tmp_path, synced, publish):
    (tmp_path / "x.bin").write_bytes(b"data")
    make_folder(tmp_path)
    synced.clear()
    assert not publish(tmp_path / "x.bin", b"data")
    assert synced == [str(tmp_path)]


def test_taken_folder_is_made_durable_too(tmp_path, synced):
    (tmp_path / "set").mkdir()
    make_folder(tmp_path)
    synced.clear()
    assert not publish_folder(tmp_path / "set", FILES)
    assert synced == [str(tmp_path)]


def test_fault_at_any_call_leaves_no_file_or_the_whole_one_and_no_temp(tmp_path, monkeypatch):
    tried = 0
    for at in outcomes_of_each_fault(monkeypatch, lambda n: publish_new_file(tmp_path / str(n) / "x.bin", b"data")):
        folder = tmp_path / str(at)
        found = {p.name: p.read_bytes() for p in folder.iterdir()} if folder.exists() else {}
        assert found in ({}, {"x.bin": b"data"})
        tried = at
    assert tried >= 10


def test_fault_at_any_call_leaves_no_folder_or_the_whole_one_and_no_temp(tmp_path, monkeypatch, tree):
    tried = 0
    for at in outcomes_of_each_fault(monkeypatch, lambda n: publish_folder(tmp_path / str(n) / "set", FILES)):
        folder = tmp_path / str(at)
        # rmtree opens and closes too; what it cannot remove stays as a temp, never as `set`.
        assert tree(folder) in ({}, {f"set/{name}": data for name, data in FILES.items()})
        tried = at
    assert tried >= 15


def test_fault_at_any_call_of_a_repair_leaves_the_damaged_file_or_the_right_one(tmp_path, monkeypatch):
    def repair(at):
        path = tmp_path / str(at) / "x.bin"
        path.parent.mkdir()
        path.write_bytes(b"dat?")
        publish_file(path, b"data")

    for at in outcomes_of_each_fault(monkeypatch, repair):
        folder = tmp_path / str(at)
        found = {p.name: p.read_bytes() for p in folder.iterdir()} if folder.exists() else {}
        assert found in ({}, {"x.bin": b"dat?"}, {"x.bin": b"data"})


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_full_or_read_only_disk_is_reported_as_such(tmp_path, monkeypatch, number):
    assert list(outcomes_of_each_fault(monkeypatch, lambda n: publish_new_file(tmp_path / f"{n}/x", b"1"), number))


def test_failed_fsync_is_not_tried_again_on_its_descriptor(tmp_path, monkeypatch):
    tried = []

    def fsync(descriptor):
        tried.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "injected")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="injected"):
        publish_new_file(tmp_path / "x.bin", b"data")
    assert len([path for path in tried if "/.tmp-" in path]) == 1
    assert list(tmp_path.iterdir()) == []


def test_interruption_leaves_no_temp(tmp_path, monkeypatch):
    def write(descriptor, data):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(KeyboardInterrupt):
        publish_new_file(tmp_path / "x.bin", b"data")
    assert list(tmp_path.iterdir()) == []


def test_short_writes_are_completed(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    publish_new_file(tmp_path / "x.bin", b"0123456789")
    assert (tmp_path / "x.bin").read_bytes() == b"0123456789"


def test_existing_file_is_not_overwritten(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"first")
    assert not publish_new_file(tmp_path / "x.bin", b"second")
    assert (tmp_path / "x.bin").read_bytes() == b"first"


def test_file_of_equal_content_is_left_alone_and_a_damaged_one_replaced(tmp_path):
    path = tmp_path / "x.bin"
    assert publish_file(path, b"data")
    inode = path.stat().st_ino
    assert not publish_file(path, b"data")
    assert path.stat().st_ino == inode
    path.write_bytes(b"dat")
    assert publish_file(path, b"data")
    assert path.read_bytes() == b"data"


def test_file_may_be_given_in_pieces(tmp_path):
    path = tmp_path / "x.bin"
    pieces = (b"da", b"", memoryview(b"ta"))
    assert publish_file(path, pieces)
    assert path.read_bytes() == b"data"
    assert not publish_file(path, pieces)
    assert not publish_file(path, b"data")
    path.write_bytes(b"dato")
    assert publish_file(path, pieces)
    assert path.read_bytes() == b"data"


def test_symbolic_link_to_nowhere_is_replaced_where_content_names_the_file(tmp_path):
    (tmp_path / "x.bin").symlink_to(tmp_path / "gone")
    assert not publish_new_file(tmp_path / "x.bin", b"data")
    assert publish_file(tmp_path / "x.bin", b"data")
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]
    assert (tmp_path / "x.bin").read_bytes() == b"data"


def test_file_system_without_hard_links_is_named(tmp_path, monkeypatch):
    def link(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OSError, match=r"has no hard links.*x\.bin"):
        publish_new_file(tmp_path / "x.bin", b"data")
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    usage = commit.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(commit.shutil, "disk_usage", lambda folder: usage._replace(free=7))
    with pytest.raises(OSError, match="8 free bytes needed, 7 found"):
        publish_new_file(tmp_path / "x.bin", b"data")
    with pytest.raises(OSError, match="10 free bytes needed, 7 found"):
        publish_folder(tmp_path / "set", FILES)
    assert list(tmp_path.iterdir()) == []


def test_of_many_threads_that_publish_one_name_one_wins(tmp_path):
    won = []
    barrier = threading.Barrier(8)

    def publish(number):
        barrier.wait()
        for turn in range(20):
            if publish_new_file(tmp_path / f"file{turn}", b"%d" % number):
                won.append(("file", turn, number))
            if publish_folder(tmp_path / f"folder{turn}", {"x": b"%d" % number}):
                won.append(("folder", turn, number))

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 40
    for kind, turn, number in won:
        path = tmp_path / f"{kind}{turn}" / ("x" if kind == "folder" else "")
        assert path.read_bytes() == b"%d" % number
    assert len(list(tmp_path.iterdir())) == 40  # no temps


@pytest.mark.heavy
def test_of_two_processes_that_publish_one_name_one_wins(tmp_path):
    code = (
        "import sys, pathlib; from store.commit import publish_new_file as p\n"
        "print(sum(p(pathlib.Path(sys.argv[1]) / str(n), sys.argv[2].encode()) for n in range(60)))"
    )
    jobs = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name], stdout=subprocess.PIPE, text=True)
        for name in ("first", "second")
    ]
    written = [int(job.communicate(timeout=60)[0]) for job in jobs]
    assert sum(written) == 60
    contents = [path.read_text() for path in tmp_path.iterdir()]
    assert [contents.count("first"), contents.count("second")] == written


def is_good(folder):
    return folder.is_dir() and (folder / "manifest.json").is_file() and (folder / "two.bin").read_bytes() == b"22"


@pytest.mark.parametrize("damage", ["part", "no manifest", "empty", "file", "dangling link"])
def test_damaged_folder_is_moved_aside_and_replaced(tmp_path, damage, tree):
    path = tmp_path / "set"
    if damage == "file":
        path.write_bytes(b"junk")
    elif damage == "dangling link":
        path.symlink_to(tmp_path / "gone")
    else:
        publish_folder(path, {} if damage == "empty" else {**FILES, "two.bin": b"2?"})
        if damage == "no manifest":
            (path / "manifest.json").unlink()
    before = tree(path) if path.is_dir() else {}
    assert publish_folder(path, FILES, is_good)
    assert tree(path) == FILES
    aside = [p for p in tmp_path.iterdir() if p.name.startswith(".damaged-set-")]
    assert len(aside) == 1
    assert (tree(aside[0]) if aside[0].is_dir() else {}) == before
    assert not publish_folder(path, FILES, is_good)
    assert len(list(tmp_path.iterdir())) == 2


def test_sound_folder_is_not_moved_aside(tmp_path, events):
    publish_folder(tmp_path / "set", FILES)
    events.clear()
    assert not publish_folder(tmp_path / "set", {**FILES, "one.bin": b"other"}, is_good)
    assert not any("rename" in event for event in events)


def test_folder_that_another_writer_repaired_in_between_goes_back(tmp_path, tree):
    path = tmp_path / "set"
    publish_folder(path, {**FILES, "two.bin": b"2?"})
    looks = []

    def is_sound(folder):
        looks.append(folder.name)
        if len(looks) == 2:  # after our last look, before our move: the other writer is quicker
            publish_folder(path, {**FILES, "one.bin": b"theirs"}, is_good)
            return False
        return is_good(folder)

    assert not publish_folder(path, FILES, is_sound)
    assert (path / "one.bin").read_bytes() == b"theirs"
    assert sorted(p.name[:9] for p in tmp_path.iterdir()) == [".damaged-", "set"]


def test_fault_at_any_call_of_a_folder_repair_can_be_repaired_again(tmp_path, monkeypatch, tree):
    def repair(at):
        path = tmp_path / str(at) / "set"
        if path.exists():
            publish_folder(path, FILES, is_good)

    for at in range(1, 60):
        publish_folder(tmp_path / str(at) / "set", {**FILES, "two.bin": b"2?"})
    tried = 0
    for at in outcomes_of_each_fault(monkeypatch, repair):
        path = tmp_path / str(at) / "set"
        assert (tree(path) if path.exists() else None) in (None, FILES, {**FILES, "two.bin": b"2?"})
        publish_folder(path, FILES, is_good)
        assert tree(path) == FILES
        tried = at
    assert tried >= 15


def test_names_in_a_folder_are_sorted_and_a_missing_folder_has_none(tmp_path):
    (tmp_path / "b").touch()
    (tmp_path / ".a").touch()
    assert list_folder(tmp_path) == [".a", "b"]
    assert list_folder(tmp_path / "gone") == []


def test_unreadable_folder_is_an_error_not_empty(tmp_path, monkeypatch):
    def listdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", listdir)
    with pytest.raises(PermissionError, match="Permission denied"):
        list_folder(tmp_path)
