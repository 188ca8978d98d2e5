"""A bad night, and the good one after it: report, names and predictions are those of the good one."""

import errno
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from linprobe.job.environment import Environment
from store import FeatureStore

NAME = "images/pixels/ridge"


@pytest.fixture
def dataset(tmp_path):
    """train and test of three classes, 10 and 6 images each."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    for split, count in (("train", 10), ("test", 6)):
        for level, name in enumerate(("bright", "dark", "middling")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(60 * level, 60 * level + 90, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number:02d}.png")
    return folder


def lose_a_split(folder):
    shutil.move(folder / "test", folder.parent / "elsewhere")


def lose_a_class(folder):
    for split in ("train", "test"):
        shutil.move(folder / split / "middling", folder.parent / f"elsewhere-{split}")


def lose_most(folder):
    for path in sorted(folder.glob("*/*/*.png")):
        if int(path.stem) >= 2:
            path.unlink()


def set_the_clock(folder):
    """Only what happens to the data is a change here; the clock is the test's."""
    (folder / "test" / "dark" / "05.png").unlink()


def night(run, dataset):
    """Extract and probe by hand, so that nothing is held back."""
    code, _, err = run("extract", "--dataset", f"folder:{dataset}", "--extractor", "pixels")
    assert code in (0, 65), err
    code, document, err = run(
        "probe", "--dataset", f"folder:{dataset}", "--extractor", "pixels", "--head", "ridge", "--json"
    )
    assert code == 0, err
    return document["runs"][0]


def told(run):
    """What report, RUN and predictions say."""
    code, out, err = run("report", "--format", "json")
    assert code == 0, err
    rows = [row for row in json.loads(out) if row["extractor"] == "pixels"]
    store = FeatureStore("linprobe-store")
    return [row["run_id"] for row in rows], store.find_run(NAME), len(store.predictions(NAME))


@pytest.mark.parametrize("harm", [lose_a_split, lose_a_class, lose_most, set_the_clock])
def test_a_bad_night_is_forgotten_by_the_next_good_one(run, dataset, tmp_path, monkeypatch, harm):
    good = night(run, dataset)
    assert told(run) == ([good["run_id"]], good["run_id"], 18)
    shutil.copytree(dataset, tmp_path / "kept")
    harm(dataset)
    with monkeypatch.context() as patch:
        patch.setattr(Environment, "now", lambda self: "2036-01-01T00:00:00Z")
        bad = night(run, dataset)
    assert bad["run_id"] != good["run_id"]
    assert told(run)[0] == [bad["run_id"]]
    shutil.rmtree(dataset)
    shutil.move(tmp_path / "kept", dataset)
    again = night(run, dataset)
    assert (again["run_id"], again["status"]) == (good["run_id"], "cached")
    assert told(run) == ([good["run_id"]], good["run_id"], 18)
    code, _, err = run("report")
    assert code == 0, err
    page = (tmp_path / "linprobe-report" / "leaderboard.json").read_text()
    assert [row["run_id"] for row in json.loads(page)] == [good["run_id"]]


def test_a_cached_probe_on_a_store_that_may_only_be_read_says_so(run, dataset, monkeypatch):
    good = night(run, dataset)
    (dataset / "test" / "dark" / "05.png").rename(dataset / "test" / "dark" / "05.kept")
    night(run, dataset)
    (dataset / "test" / "dark" / "05.kept").rename(dataset / "test" / "dark" / "05.png")
    assert run("extract", "--dataset", f"folder:{dataset}", "--extractor", "pixels")[0] == 0

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system", "linprobe-store/answers")

    monkeypatch.setattr(FeatureStore, "put_answer", refuse)
    code, _, err = run("probe", "--dataset", f"folder:{dataset}", "--extractor", "pixels", "--head", "ridge")
    assert code == 0
    assert f"answer not published (run {good['run_id'][:12]})" in err
    assert f"run {good['run_id'][:12]}" in err


def test_a_disk_that_fails_is_not_taken_for_one_that_may_only_be_read(run, dataset, monkeypatch):
    night(run, dataset)

    def fail(*arguments, **options):
        raise OSError(errno.EIO, "Input/output error", "linprobe-store/answers")

    monkeypatch.setattr(FeatureStore, "put_answer", fail)
    code, _, err = run("probe", "--dataset", f"folder:{dataset}", "--extractor", "pixels", "--head", "ridge")
    assert code == 74
    assert "linprobe-store/answers: input/output error" in err
