"""A bad night, and the good one after it: report, names and predictions are those of the good one."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import linprobe
from linprobe.job.environment import Environment
from linprobe.job.journal import night_row
from store import FeatureStore

pytestmark = pytest.mark.framework

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


def also_slow(harm):
    """The same by another harm: 'make slow' has it."""
    return pytest.param(harm, marks=pytest.mark.slow)


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


@pytest.mark.parametrize("harm", [lose_a_split, set_the_clock, also_slow(lose_a_class), also_slow(lose_most)])
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


@pytest.fixture
def job(tmp_path, dataset):
    """A job on three classes; gives its path."""
    path = tmp_path / "job.toml"
    path.write_text(
        f"""
        [[datasets]]
        name = "images"
        source = "folder:{dataset}"
        [[extractors]]
        name = "pixels"
        [[probes]]
        head = "ridge"
        """
    )
    return path


def leave_nothing(folder):
    """The mount is empty."""
    shutil.rmtree(folder)
    folder.mkdir()


def unmount(folder):
    shutil.rmtree(folder)


SAYS = {
    lose_a_split: "the base split 'test' is gone (there is 'train' now)",
    lose_a_class: "30 images before, 20 now; 3 classes before, 2 now: 'middling' is gone (33% fewer, 10% allowed)",
    lose_most: "30 images before, 6 now (80% fewer, 10% allowed)",
    leave_nothing: "class folders expected",
    unmount: "no such folder",
}


@pytest.mark.parametrize("harm", [lose_a_class, unmount, *map(also_slow, (lose_a_split, lose_most, leave_nothing))])
def test_a_night_keeps_the_old_answer_where_data_shrank(run, dataset, job, tmp_path, harm):
    code, good, err = run("nightly", job, "--json")
    assert code == 0, err
    (first,) = good["runs"]
    before = told(run)
    shutil.copytree(dataset, tmp_path / "kept")
    harm(dataset)
    code, bad, err = run("nightly", job, "--json")
    assert code == (69 if harm is unmount else 65)
    assert bad["runs"] == []
    assert SAYS[harm] in bad["errors"][0]["error"]
    assert SAYS[harm] in err
    assert told(run) == before
    shutil.rmtree(dataset, ignore_errors=True)
    shutil.move(tmp_path / "kept", dataset)
    code, again, err = run("nightly", job, "--json")
    assert code == 0, err
    assert [(row["run_id"], row["status"]) for row in again["runs"]] == [(first["run_id"], "cached")]
    assert told(run) == before
    # The journal says so, and names what was found.
    code, out, _ = run("store", "nights", "--json")
    nights = out["nights"]
    assert [(night["how"], night["exit_code"]) for night in nights] == [
        ("done", 0), ("failed", 69 if harm is unmount else 65), ("done", 0),
    ]  # fmt: skip
    assert SAYS[harm] in nights[1]["errors"][0]["error"]
    assert [row["images"] for row in nights[2]["found"]] == [30, 18]
    assert [(row["run_id"], row["status"]) for row in nights[2]["answered"]] == [(first["run_id"], "cached")]


def test_a_few_per_cent_a_night_do_not_slip_through(run, dataset, job):
    assert run("nightly", job)[0] == 0
    codes = []
    # Of 30 and 18 images one of each a night.
    for number in range(4):
        for split in ("train", "test"):
            (dataset / split / "dark" / f"{number:02d}.png").unlink()
        codes.append(run("nightly", job)[0])
    assert codes == [0, 65, 65, 65]
    # The third of 30 is a tenth; but by then test has lost more than a tenth of 18.
    store = FeatureStore("linprobe-store")
    assert store.accepted_size("images", "train", "pixels").images == 30


@pytest.mark.parametrize("harm", [lose_a_split, also_slow(lose_a_class), also_slow(lose_most)])
def test_a_shrink_that_is_meant_is_accepted_for_one_night(run, dataset, job, harm):
    assert run("nightly", job)[0] == 0
    harm(dataset)
    assert run("nightly", job)[0] == 65
    code, document, err = run("nightly", job, "--accept-shrink", "images", "--json")
    assert code == 0, err
    (row,) = document["runs"]
    assert told(run)[0] == [row["run_id"]]
    # From now on that is its size.
    assert run("nightly", job)[0] == 0
    nights = FeatureStore("linprobe-store").nights()
    assert [night["accepted_shrink"] for night in nights] == [[], [], ["images"], []]


def test_a_night_counts_an_image_once_however_many_extractors_saw_it():
    found = [
        {
            "dataset": "a",
            "split": split,
            "extractor": extractor,
            "images": images,
            "images_before": 20,
            "quarantined": 1,
        }
        for extractor in ("one", "two")
        for split, images in (("train", 20), ("test", 10))
    ]
    row = night_row({"night": "0", "how": "done", "found": found})
    assert (row["images"], row["quarantined"], row["shrunk"]) == (30, 2, "a/test")


def test_who_is_accepted_is_a_dataset_of_the_job(run, job):
    code, _, err = run("nightly", job, "--accept-shrink", "imagse")
    assert code == 2
    assert "--accept-shrink imagse: did you mean 'images'?" in err
    assert not FeatureStore.create("linprobe-store").nights()


def test_commands_by_hand_tell_of_a_shrink_and_go_on_and_the_next_night_does_not(run, dataset, job):
    assert run("nightly", job)[0] == 0
    lose_a_class(dataset)
    code, document, err = run("extract", job, "--json")
    assert code == 0
    assert "images/train pixels: SHRANK: 30 images before, 20 now; 3 classes before, 2 now: 'middling' is gone" in err
    row = document["feature_sets"][0]
    assert (row["images"], row["images_before"], row["classes"], row["classes_before"]) == (20, 30, 2, 3)
    assert row["lost_classes"] == ["middling"]
    code, _, err = run("probe", job)
    assert code == 0
    assert "images/test pixels: SHRANK: 18 images before, 12 now" in err
    code, _, err = run("nightly", job)
    assert code == 65
    assert "30 images before, 20 now" in err


def test_python_is_told_of_a_shrink_as_a_warning(dataset, tmp_path, caplog):
    workspace = linprobe.open(tmp_path / "store")
    workspace.extract(f"folder:{dataset}", "pixels", name="images")
    lose_most(dataset)
    features = workspace.extract(f"folder:{dataset}", "pixels", name="images")
    features.probe("ridge")
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    # By the extraction, and by the probe on what is left.
    assert sum("images/train pixels: SHRANK: 30 images before, 6 now" in text for text in warned) == 2


def test_a_split_that_ended_by_hand_is_missed_by_the_next_night(run, dataset, job):
    assert run("nightly", job)[0] == 0
    lose_a_split(dataset)
    assert run("extract", job)[0] == 0
    code, _, err = run("probe", job)
    assert code == 0
    assert "images pixels: SHRANK: the base split 'test' is gone; NOT what was accepted" in err
    code, _, err = run("nightly", job)
    assert code == 65
    assert "the base split 'test' is gone" in err
    assert run("nightly", job, "--accept-shrink", f"folder:{dataset}")[0] == 0
    assert run("nightly", job)[0] == 0


def test_a_new_extractor_is_held_against_the_size_that_others_saw(run, dataset, job):
    assert run("nightly", job)[0] == 0
    lose_most(dataset)
    code, _, err = run(
        "extract", "--dataset", f"folder:{dataset}", "--name", "images", "--extractor", "random:mobilenet_v2"
    )
    assert code == 0
    assert "images/train random:mobilenet_v2: SHRANK: 30 images before, 6 now" in err


def test_a_listing_that_fails_is_no_empty_class(run, dataset, job, monkeypatch):
    assert run("nightly", job)[0] == 0
    real = os.scandir

    def scandir(path):
        if str(path).endswith("dark"):
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    code, _, err = run("nightly", job)
    assert code == 74
    assert "stale file handle" in err


def test_the_gate_goes_by_the_answers_that_were_kept(run, dataset, job):
    _, document, _ = run("nightly", job, "--json")
    job.write_text(job.read_text() + f"[gate]\nmax_drop = 0.1\nbaselines = ['{document['runs'][0]['run_id']}']\n")
    assert run("nightly", job)[0] == 0
    lose_a_class(dataset)
    code, document, err = run("nightly", job, "--json")
    assert code == 65
    assert [error["exit_code"] for error in document["errors"]] == [65], err
    assert FeatureStore("linprobe-store").nights()[-1]["gate_passed"] is True


@pytest.mark.slow
def test_the_bad_night_of_the_documents_is_as_they_say(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    (block,) = [part for part in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "--accept-shrink" in part]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # Each night's exit code, in a line of its own.
    script = re.sub(r"^(linprobe nightly .*?)( +#.*)?$", r"\1 2>>log; echo code $?", block, flags=re.MULTILINE)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^code (\d+)$", done.stdout, re.MULTILINE) == ["0", "65", "0", "0"]
    assert "linprobe_night_exit_code 65.0" in done.stdout
    assert "flowers / all: 80 images before, 50 now" in (tmp_path / "log").read_text()
    nights = FeatureStore(tmp_path / "linprobe-store").nights()
    assert [night["how"] for night in nights] == ["done", "failed", "done", "done"]
    answers = [[row["run_id"] for row in night["answered"]] for night in nights]
    assert answers[1] == []
    assert answers[0] == answers[2] != answers[3]
