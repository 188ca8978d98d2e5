"""The report's place: a whole site or none, and nobody else's files replaced."""

import json
import os

import pytest

from reports import NotAReport, ReportError
from reports import folder as folder_module
from reports.folder import MARKER, replace_report


def _write(out, text="new"):
    with replace_report(out) as folder:
        (folder / "runs").mkdir()
        (folder / "runs" / "a.html").write_text(text)
        (folder / "index.html").write_text(text)


def _stop_halfway(out, error):
    with replace_report(out) as folder:
        (folder / "index.html").write_text("half")
        assert (out / "index.html").read_text() == "old"
        raise error("stop")


def _names(out):
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def test_a_missing_or_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new" / "site", tmp_path / "empty"):
        _write(out)
        assert _names(out) == ["index.html", MARKER, "runs/a.html"]
        assert json.loads((out / MARKER).read_text())["files"] == ["index.html", "runs/a.html"]
        assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_report_of_ours_is_replaced_whole(tmp_path, monkeypatch, can_exchange):
    out = tmp_path / "site"
    _write(out, "old")
    if not can_exchange:  # as on a file system without RENAME_EXCHANGE
        monkeypatch.setattr(folder_module, "_exchange", lambda first, second: False)
    with replace_report(out) as folder:
        (folder / "index.html").write_text("new")
    assert _names(out) == ["index.html", MARKER]
    assert (out / "index.html").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_report_leaves_the_old_one(tmp_path, error):
    out = tmp_path / "site"
    _write(out, "old")
    with pytest.raises(error, match="stop"):
        _stop_halfway(out, error)
    assert (out / "index.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_when_the_last_rename_fails_the_old_report_comes_back(tmp_path, monkeypatch):
    out = tmp_path / "site"
    _write(out, "old")
    monkeypatch.setattr(folder_module, "_exchange", lambda first, second: False)
    rename, calls = os.rename, []

    def fail_once(source, target):
        calls.append(target)
        if len(calls) == 3:  # the report's place is taken, the old one goes aside, the new one fails
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(folder_module.os, "rename", fail_once)
    with pytest.raises(OSError, match="no"):
        _write(out)
    assert (out / "index.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(NotAReport, match=r"empty folder expected, 1 other files found \(such as 'thesis.tex'\)"):
        _write(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_in_the_place_is_refused(tmp_path):
    (tmp_path / "site").write_text("a file")
    with pytest.raises(NotAReport, match="a folder for the report expected, a file found"):
        _write(tmp_path / "site")


def test_a_file_that_somebody_put_into_a_report_is_not_thrown_away(tmp_path):
    out = tmp_path / "site"
    _write(out, "old")
    (out / "runs" / "notes.txt").write_text("mine")
    with pytest.raises(NotAReport, match=r"1 files found that the report did not write \(such as 'runs/notes.txt'\)"):
        _write(out)
    assert (out / "runs" / "notes.txt").read_text() == "mine"
    assert (out / "index.html").read_text() == "old"


def _write_while_somebody_saves_notes(out):
    with replace_report(out) as folder:
        (folder / "index.html").write_text("new")
        (out / "notes.txt").write_text("mine")


def test_a_file_that_comes_while_the_report_is_written_is_not_thrown_away(tmp_path):
    out = tmp_path / "site"
    _write(out, "old")
    with pytest.raises(NotAReport, match=r"such as 'notes.txt'"):
        _write_while_somebody_saves_notes(out)
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "index.html").read_text() == "old"


def test_litter_of_file_managers_does_not_matter(tmp_path):
    _write(tmp_path / "site", "old")
    (tmp_path / "site" / ".DS_Store").write_text("")
    _write(tmp_path / "site", "new")
    assert (tmp_path / "site" / "index.html").read_text() == "new"


@pytest.mark.parametrize("marker", ["", "[]", '{"format": "linprobe-report 2", "files": []}', '{"format": 1}'])
def test_a_marker_of_another_kind_is_no_marker(tmp_path, marker):
    (tmp_path / MARKER).write_text(marker)
    with pytest.raises(NotAReport, match="a report of linprobe or an empty folder expected"):
        _write(tmp_path)


def test_the_error_is_a_builtin_one_too():
    assert issubclass(NotAReport, ReportError)
    assert issubclass(NotAReport, FileExistsError)


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path):
    stale, fresh = tmp_path / ".site.tmp-1-aa", tmp_path / ".site.tmp-2-bb"
    for folder in (stale, fresh):
        folder.mkdir()
    _write(tmp_path / "site")
    os.utime(stale, (0, 0))
    _write(tmp_path / "site")
    assert not stale.exists()
    assert fresh.exists()


def test_a_link_to_a_report_stays_a_link(tmp_path):
    _write(tmp_path / "real", "old")
    (tmp_path / "site").symlink_to("real")
    _write(tmp_path / "site", "new")
    assert (tmp_path / "site").is_symlink()
    assert (tmp_path / "real" / "index.html").read_text() == "new"
