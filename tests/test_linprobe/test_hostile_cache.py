"""Whatever lies in `cache/`, or under a name of ours, can at most cost time."""

import hashlib
import io
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from store import GarbageRule, collect_garbage
from store.disposable import write_disposable

pytestmark = pytest.mark.framework


@pytest.fixture
def night(run, tmp_path, images):
    """A folder with a store, a run on it, and a report."""
    (tmp_path / "job.toml").write_text(
        f'[[datasets]]\nname = "shades"\nsource = "folder:{images}"\n[[extractors]]\nname = "pixels"\n'
        '[[probes]]\nhead = "ridge"\n'
    )
    assert run("nightly", "job.toml")[0] == 0
    return tmp_path


def pages(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "linprobe-report" / "thumbnails").iterdir())}


def fake(path):
    """Another picture, as it was."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (255, 0, 0)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


def exchange(path):
    """The thumbnail of another image, digest and all."""
    other = max(path.parent.iterdir())
    path.write_bytes(other.read_bytes())


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def link(path):
    path.unlink()
    path.symlink_to("/etc/passwd")


def bomb(path):
    """A few kilobytes that say they are 40,000 by 40,000 pixels."""
    header = (40_000).to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    chunk = b"IHDR" + header
    body = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    write_disposable(path, f"linprobe thumbnail 1 {path.name}".encode(), body)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "harm", [exchange, pipe, *(pytest.param(h, marks=pytest.mark.slow) for h in (fake, link, bomb))]
)
def test_no_thumbnail_but_ours_is_shown_and_none_holds_a_report_up(run, night, harm):
    before = pages(night)
    assert before
    thumbnail = min((night / "linprobe-store" / "cache" / "thumbnails").iterdir())
    harm(thumbnail)
    code, _, err = run("report", "--out", "again")
    assert code == 0, err
    found = {path.name: path.read_bytes() for path in sorted((night / "again" / "thumbnails").iterdir())}
    # A forged digest costs that one picture; all else is drawn from the images again.
    assert set(found) <= set(before)
    assert len(found) >= len(before) - (harm is bomb)
    assert all(before[name] == data for name, data in found.items())


def files_of_the_cache(folder):
    return [path for path in (folder / "linprobe-store" / "cache").rglob("*") if path.is_file()]


@pytest.mark.heavy
@pytest.mark.parametrize(
    "body",
    [
        b'{"shards": 3}', b"[" * 100_000,
        *(pytest.param(body, marks=pytest.mark.slow) for body in (b"", b"[]", b"{", b"\xff" * 50, b"1\n2\n3")),
    ],
)  # fmt: skip
def test_an_index_that_is_sealed_and_malformed_is_read_anew(run, night, body):
    layouts = {
        "contents": b"linprobe contents 2", "stat": b"linprobe stat 1", "results.jsonl": b"linprobe results 2",
        "summary.json": b"linprobe summary 1",
    }  # fmt: skip
    written = 0
    for path in [*files_of_the_cache(night), night / "linprobe-store" / "cache" / "results.jsonl"]:
        name = path.name if path.name in layouts else path.parent.name
        if name in layouts:
            first = path.read_bytes().partition(b"\n") if path.exists() else None
            layout = layouts[name]
            if first and hashlib.sha256(layout + b"\n" + first[2]).hexdigest().encode() != first[0]:
                layout = _layout_of(path, first)
            write_disposable(path, layout, body)
            written += 1
    assert written >= 3
    code, document, err = run("nightly", "job.toml", "--json")
    assert code == 0, err
    assert [row["forward_passes"] for row in document["feature_sets"]] == [0]
    assert [row["status"] for row in document["runs"]] == ["cached"]
    assert run("store", "ls", "--runs")[0] == 0


def _layout_of(path, sealed):
    """The layout under which a file was sealed, whatever its version is called."""
    for name in ("contents", "stat", "results", "summary", "shards"):
        for version in range(1, 9):
            layout = f"linprobe {name} {version}".encode()
            if hashlib.sha256(layout + b"\n" + sealed[2]).hexdigest().encode() == sealed[0]:
                return layout
    raise AssertionError(f"{path}: no layout that is known here")


def test_gc_removes_nothing_through_a_link_unless_it_is_said(run, night, tmp_path):
    store = night / "linprobe-store"
    elsewhere = tmp_path / "elsewhere"
    (store / "sets").rename(elsewhere)
    (store / "sets").symlink_to(elsewhere)
    precious = elsewhere / ("f" * 64)
    precious.mkdir()
    (precious / "manifest.json").write_text("somebody else's")
    os.utime(precious, (0, 0))
    code, out, _ = run("store", "gc", "--grace", "0", "--keep-old", "0")
    assert code == 74
    assert "sets: a link to" in out
    assert "say --follow-links" in out
    assert precious.exists()
    found = collect_garbage(store, 4e9, GarbageRule(0, 0, follows_links=True), is_dry_run=True)
    assert not any("a link to" in hindrance for hindrance in found.hindrances)


def test_explanations_replace_nothing_but_explanations(run, night):
    out = night / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    image = next((night / "images" / "dark").iterdir())
    code, _, err = run("explain", "shades/pixels/ridge", image, "--out", out)
    assert code != 0
    assert (out / "thesis.txt").read_text() == "years of work"
    assert "Traceback" not in err


def test_a_report_replaces_no_folder_that_is_a_link_inside(run, night):
    out = night / "site"
    out.mkdir()
    (night / "photos").mkdir()
    (out / "photos").symlink_to(night / "photos")
    code, _, err = run("report", "--out", out)
    assert code == 2
    assert "other files found (such as 'photos')" in err
    (night / "nowhere").symlink_to(night / "missing")
    code, _, err = run("report", "--out", "nowhere")
    assert code == 2
    assert "a link to nowhere found" in err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, "nested deeper"),
        ("a = " + "9" * 5000, "not TOML"),
        ("store = '\udcff'", "UTF-8 expected"),
        ("[[probes]]\nhead = 'ridge'\nseeds = 1000000000", "seeds: at most 10000 expected"),
    ],
)
def test_a_job_that_is_wrong_in_any_way_is_a_usage_error(run, tmp_path, text, says):
    (tmp_path / "job.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    code, _, err = run("extract", "job.toml")
    assert code == 2, err
    assert says in err


def test_an_npz_that_claims_more_than_there_is_is_refused_before_it_is_unpacked(run, tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 4)})
    with zipfile.ZipFile(tmp_path / "huge.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("features.npy", header.getvalue() + bytes(4096))
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(3, np.int64))
        archive.writestr("labels.npy", buffer.getvalue())
    code, _, err = run("store", "import", "huge.npz", "--name", "x", "--extractor", "y")
    assert code == 65
    assert "its arrays need 17,592.2 GB of memory" in err
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 4), np.float32))
    with zipfile.ZipFile(tmp_path / "padded.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("features.npy", buffer.getvalue() + bytes(300 << 20))
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(3, np.int64))
        archive.writestr("labels.npy", buffer.getvalue())
    code, _, err = run("store", "import", "padded.npz", "--name", "x", "--extractor", "y")
    assert code == 65
    assert "features: 48 bytes of numbers expected, 314,572," in err


def test_deep_verification_tells_changed_images_from_images_that_are_gone(run, night):
    picked = sorted(Path("images").rglob("*.png"))
    for number, path in enumerate(picked):
        Image.new("RGB", (20, 30), (number, 2, 3)).save(path)
    code, _, err = run("store", "verify", "--deep")
    assert code == 0
    assert "of 4 images that were looked for 4 changed since (extract its source again)" in err
    for path in picked:
        if path.name != "00.png":
            path.unlink()
    code, _, err = run("store", "verify", "--deep")
    assert code == 0
    assert " gone (extract its source again)" in err
