import errno
import os
from pathlib import Path

import pytest

from extract.sources.folder import FolderSource
from extract.sources.stat_index import StatIndex


@pytest.fixture
def folder(make_folder, make_jpeg):
    return make_folder({"a/1.jpg": make_jpeg(1), "a/3.jpg": make_jpeg(3), "b/1.jpg": make_jpeg(4)})


def looks(folder, index=None):
    """Return example id → (whether it may be an image, why not), reading as a run does."""
    found = {}
    for example in FolderSource(folder, index).examples("all"):
        known = example.look()
        found[example.example_id] = (known.header is not None, known.reason)
    return found


def spoil(folder):
    (folder / "a" / "2.jpg").symlink_to("nowhere.jpg")
    (folder / "a" / "4.jpg").symlink_to("4.jpg")
    os.mkfifo(folder / "b" / "2.jpg")


@pytest.mark.parametrize("has_index", [False, True])
def test_what_cannot_be_read_is_a_candidate_with_its_reason_and_stops_nothing(folder, tmp_path, has_index):
    spoil(folder)
    index = StatIndex(tmp_path / "cache" / "stat" / "x.index", 1 << 62) if has_index else None
    assert looks(folder, index) == {
        "a/1.jpg": (True, ""),
        "a/2.jpg": (False, "cannot be read: No such file or directory"),
        "a/3.jpg": (True, ""),
        "a/4.jpg": (False, "cannot be read: Too many levels of symbolic links"),
        "b/1.jpg": (True, ""),
        "b/2.jpg": (False, "not a regular file"),
    }


def test_the_same_trouble_has_the_same_digest_and_each_file_its_own(folder):
    spoil(folder)
    contents = [[e.content_sha256() for e in FolderSource(folder).examples("all")] for _ in range(2)]
    assert contents[0] == contents[1]
    assert len(set(contents[0])) == 6


@pytest.mark.parametrize(("code", "is_quarantined"), [(errno.EACCES, True), (errno.EIO, False)])
def test_a_file_that_may_not_be_read_is_a_candidate_but_a_failing_disk_stops_the_run(
    folder, monkeypatch, code, is_quarantined
):
    def read_bytes(path, read=Path.read_bytes):
        if path.name == "3.jpg":
            raise OSError(code, os.strerror(code), str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    if is_quarantined:
        assert looks(folder)["a/3.jpg"] == (False, "cannot be read: Permission denied")
    else:
        with pytest.raises(OSError, match="Input/output error"):
            looks(folder)


def test_a_file_that_can_be_read_again_is_an_image_again(folder, make_jpeg):
    spoil(folder)
    (folder / "a" / "2.jpg").unlink()
    (folder / "a" / "2.jpg").write_bytes(make_jpeg(2))
    assert looks(folder)["a/2.jpg"] == (True, "")
