import csv
import io
import json
from pathlib import Path

import pytest


@pytest.fixture
def probed(run, extracted):
    job = ("--dataset", "bundled:digits", "--extractor", "pixels", "--train", "train[:80]")
    return run("probe", *job, "--json")[1]["runs"][0]


@pytest.mark.framework
def test_the_site_has_images_from_the_dataset(run, probed, tmp_path):
    code, document, _ = run("report", "--out", tmp_path / "r", "--json")
    assert code == 0
    assert document == {"report": str(tmp_path / "r" / "index.html")}
    page = (tmp_path / "r" / "runs" / f"{probed['run_id'][:12]}.html").read_text()
    thumbnails = list((tmp_path / "r" / "thumbnails").glob("*.png"))
    assert len(thumbnails) >= 30
    assert page.count("../thumbnails/") >= 30


@pytest.mark.framework
def test_a_report_is_drawn_again_only_where_what_it_shows_has_changed(run, probed, tmp_path):
    def written():
        assert run("report", "--out", "r")[0] == 0
        return {path: path.stat().st_ino for path in Path("r").rglob("*") if path.is_file()}

    first = written()
    assert written() == first
    # A page that somebody changed, a run more, another answer: each is a change.
    (tmp_path / "r" / "index.html").write_text("mine")
    second = written()
    assert second != first
    assert (tmp_path / "r" / "index.html").read_text() != "mine"
    run("probe", "--dataset", "bundled:digits", "--extractor", "pixels", "--train", "train[:90]")
    third = written()
    assert third.keys() > second.keys()
    run("probe", "--dataset", "bundled:digits", "--extractor", "pixels", "--train", "train[:80]")
    assert written() == third


@pytest.mark.framework
def test_a_dataset_that_is_gone_leaves_placeholders(run, images, tmp_path):
    import shutil

    run("extract", "--dataset", f"folder:{images}", "--extractor", "pixels")
    run("probe", "--dataset", f"folder:{images}", "--extractor", "pixels")
    shutil.rmtree(images)
    code, _, _ = run("report", "--out", tmp_path / "r")
    assert code == 0
    assert list((tmp_path / "r").glob("thumbnails/*.png")) == []


def test_an_image_that_was_changed_since_is_not_shown(run, images, tmp_path):
    run("extract", "--dataset", f"folder:{images}", "--extractor", "pixels")
    run("probe", "--dataset", f"folder:{images}", "--extractor", "pixels")
    for path in images.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"\0")
    run("report", "--out", tmp_path / "r")
    assert list((tmp_path / "r").glob("thumbnails/*.png")) == []


@pytest.mark.framework
def test_the_table_has_the_same_numbers_in_every_format(run, probed):
    markdown = run("report", "--format", "markdown")[1]
    table = run("report", "--format", "csv")[1]
    documents = json.loads(run("report", "--format", "json")[1])
    (row,) = csv.DictReader(io.StringIO(table))
    assert float(row["accuracy"]) == pytest.approx(probed["accuracy"])
    assert documents[0]["accuracy"] == pytest.approx(probed["accuracy"])
    assert "pixels" in markdown
    assert run("report", "--format", "csv", "--json")[1]["leaderboard"] == documents
    assert run("report", "--format", "csv", "--out", "table.csv")[1] == f"{Path('table.csv').absolute()}\n"
    assert Path("table.csv").read_text() == table
