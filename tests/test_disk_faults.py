"""A disk that fails at any call: exit 74, nothing half-written is seen, and the next run completes the work."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import store.commit
from linprobe.cli import main
from store import FeatureStore

LINPROBE = Path(sys.executable).parent / "linprobe"
CALLS = ("open", "write", "fsync", "link", "rename", "replace", "mkdir")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)


@pytest.fixture
def before(tmp_path):
    """A store with one imported set, and the files of two imports."""
    generator = np.random.default_rng(0)
    for name, rows in (("old", 6), ("new", 9)):
        features = generator.normal(size=(rows, 4)).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", features=features, labels=np.arange(rows) % 2)
    assert main(command(tmp_path / "before", tmp_path, "old")) == 0
    return tmp_path / "before"


def command(path, folder, name):
    return [
        "store",
        "import",
        str(folder / f"{name}.npz"),
        "--name",
        name,
        "--extractor",
        "elsewhere",
        "--store",
        str(path),
    ]


class FailingDisk:
    """Makes the n-th call of a kind below a root fail, or only counts them."""

    def __init__(self, root, call, number=0, code=0):
        self._root, self._call, self._number, self._code = str(root), call, number, code
        self._ours = set()
        self.count = 0

    @contextlib.contextmanager
    def installed(self, monkeypatch):
        real = {name: getattr(os, name) for name in ("open", "close", *CALLS)}
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, self._wrapped(name, real[name]))
            yield self

    def _wrapped(self, name, real):
        def call(*arguments, **options):
            is_ours = arguments[0] in self._ours if isinstance(arguments[0], int) else self._is_below(arguments[0])
            is_writing = name != "open" or (len(arguments) > 1 and arguments[1] & (os.O_CREAT | os.O_DIRECTORY))
            if name == self._call and is_ours and is_writing:
                self.count += 1
                if self.count == self._number:
                    raise OSError(self._code, os.strerror(self._code), self._root)
            result = real(*arguments, **options)
            if name == "open" and is_ours:
                self._ours.add(result)
            elif name == "close":
                self._ours.discard(arguments[0])
            return result

        return call

    def _is_below(self, path):
        # What is disposable is no part of the protocol: without it a job goes on, and ends with 0.
        return str(path).startswith(self._root) and f"{os.sep}cache{os.sep}" not in str(path)


def read_old(path):
    fs = FeatureStore(path)
    assert fs.get("old", "all", "elsewhere").features[:].shape == (6, 4)
    for features in fs.sets():
        assert np.isfinite(np.asarray(features.features)).all()
    return fs


def check(before, tmp_path, capsys, monkeypatch, call, number, code):
    path = tmp_path / "store"
    shutil.copytree(before, path)
    store.commit._durable.clear()
    with FailingDisk(path, call, number, code).installed(monkeypatch):
        found = main(command(path, tmp_path, "new"))
    captured = capsys.readouterr()
    assert found == 74, f"{call} {number}: {found}"
    assert "Traceback" not in captured.err
    read_old(path)
    assert main(command(path, tmp_path, "new")) == 0
    assert read_old(path).get("new", "all", "elsewhere").features[:].shape == (9, 4)
    shutil.rmtree(path)


def count_calls(before, tmp_path, monkeypatch, call):
    path = tmp_path / "counted"
    shutil.copytree(before, path)
    store.commit._durable.clear()
    with FailingDisk(path, call).installed(monkeypatch) as disk:
        assert main(command(path, tmp_path, "new")) == 0
    shutil.rmtree(path)
    return disk.count


@pytest.mark.heavy
@pytest.mark.parametrize(
    "code",
    [pytest.param(code, marks=[] if code == errno.ENOSPC else pytest.mark.slow) for code in ERRORS],
    ids=errno.errorcode.get,
)
def test_an_import_survives_a_disk_that_fails_at_any_call(before, tmp_path, capsys, monkeypatch, code):
    faults = 0
    for call in CALLS:
        for number in range(1, count_calls(before, tmp_path, monkeypatch, call) + 1):
            check(before, tmp_path, capsys, monkeypatch, call, number, code)
            faults += 1
    print(f"\n{errno.errorcode[code]}: {faults} faults, each ended with 74 and lost nothing")
    assert faults > 30


@pytest.mark.campaign
@pytest.mark.parametrize("code", ["ENOSPC", "EIO", "EROFS", "EDQUOT"])
@pytest.mark.parametrize("call", ["fsync", "link", "rename"])
def test_the_same_with_faults_from_the_kernel(before, tmp_path, call, code):
    """The same from outside the process, by strace; nothing but the store makes these calls."""
    path, log, ended = tmp_path / "store", tmp_path / "calls", []
    for number in range(1, 100):
        shutil.copytree(before, path)
        strace = ["strace", "-f", "-o", log, "-e", f"inject={call}:error={code}:when={number}"]
        found = subprocess.run([*strace, LINPROBE, *command(path, tmp_path, "new")], capture_output=True, check=False)
        fs = read_old(path)
        if found.returncode == 0:
            # There was no such call any more, or it was for something disposable.
            assert fs.get("new", "all", "elsewhere").features[:].shape == (9, 4)
        shutil.rmtree(path)
        if "(INJECTED)" not in log.read_text():
            break
        ended.append(found.returncode)
    print(f"\n{call} {code}: {len(ended)} faults from the kernel, the old state readable after each")
    assert set(ended) <= {0, 74}
    assert ended.count(74) > 0
