"""A NAS's thumbnails, copies encoded anew: no accuracy on them stands without a word."""

import csv
import io
import shutil

import numpy as np
import pytest
import skimage.data
from PIL import Image

import linprobe as lp

pytestmark = pytest.mark.framework

JOB = """
store = "store"
[[datasets]]
name = "photos"
source = "folder:photos"
{keys}
[[extractors]]
name = "pixels"
[[probes]]
head = "knn"
k = 1
"""


def pieces():
    """Pieces of three photographs."""
    for name in ("astronaut", "chelsea", "coffee"):
        pixels = getattr(skimage.data, name)()
        for top in range(0, pixels.shape[0] - 96, 96):
            for left in range(0, pixels.shape[1] - 96, 96):
                yield pixels[top : top + 96, left : left + 96]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """48 different images with labels that no image tells, half of them for training; of 12 of these a thumbnail to test."""
    monkeypatch.chdir(tmp_path)
    labels = np.random.default_rng(0).integers(0, 2, 48)
    labels[:4] = labels[24:28] = [0, 1, 0, 1]
    for number, (pixels, label) in enumerate(zip(pieces(), labels, strict=False)):
        folder = tmp_path / "photos" / ("train" if number < 24 else "test") / "ab"[label]
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels)
        image.save(folder / f"{number}.png")
        if number < 12:
            thumbnails = tmp_path / "photos" / "test" / "ab"[label]
            thumbnails.mkdir(parents=True, exist_ok=True)
            image.resize((80, 80), Image.Resampling.LANCZOS).save(thumbnails / f"{number}-thumbnail.jpg", quality=80)
    return tmp_path


def write_job(folder, keys=""):
    (folder / "job.toml").write_text(JOB.format(keys=keys))
    return folder / "job.toml"


def test_thumbnails_of_training_images_are_told_and_left_out_of_a_figure_of_their_own(run, photos):
    job = write_job(photos)
    assert run("extract", job)[0] == 0
    code, found, err = run("probe", job, "--json")
    assert code == 0
    (row,) = found["runs"]
    assert row["n_test"] == 36
    without = row["accuracy_without_near_duplicates"]
    (warning,) = [text for text in row["warnings"] if "near duplicates" in text]
    assert warning == (
        "12 of 36 test images are near duplicates of training images, such as copies resized or encoded anew; "
        f"accuracy without them {without:.1%}"
    )
    assert warning in err
    assert row["accuracy"] > without + 0.1
    result = lp.open("store").results().iloc[0]
    assert (result["n_test_duplicates"], result["n_test_near_duplicates"]) == (0, 12)
    assert result["accuracy_without_near_duplicates"] == pytest.approx(without)
    _, out, _ = run("report", "--format", "csv", "--store", "store")
    (shown,) = csv.DictReader(io.StringIO(out))
    assert float(shown["accuracy_without_near_duplicates"]) == pytest.approx(without)


def test_where_somebody_has_not_looked_at_every_image_no_count_is_given(run, photos):
    job = write_job(photos)
    assert run("extract", job)[0] == 0
    key = lp.open("store").features("photos", "pixels").set("test").key
    for path in (photos / "store" / "cache" / "phash").iterdir():
        if path.name == key or len(path.read_bytes()) > 65 * 30:
            path.unlink()
    assert run("probe", job)[0] == 0
    result = lp.open("store").results().iloc[0]
    assert "n_test_near_duplicates" not in result or np.isnan(result["n_test_near_duplicates"])


def test_group_duplicates_keeps_copies_together_in_draws(run, photos):
    for path in sorted((photos / "photos" / "test").rglob("*.*")):
        path.rename(photos / "photos" / "train" / path.parent.name / path.name)
    shutil.rmtree(photos / "photos" / "test")
    (photos / "photos" / "train").rename(photos / "flat")
    shutil.rmtree(photos / "photos")
    (photos / "flat").rename(photos / "photos")
    near = {}
    ids = {}
    for keys in ("", "group_duplicates = true"):
        job = write_job(photos, keys)
        assert run("extract", job)[0] == 0
        for seed in range(6):
            parts = ("--train", f"all/draw{seed}[:80%]", "--test", f"all/draw{seed}[80%:]")
            code, found, _ = run("probe", job, *parts, "--json")
            assert code == 0
            row = found["runs"][-1]
            near.setdefault(keys, []).append("accuracy_without_near_duplicates" in row)
            ids.setdefault(keys, []).append(row["run_id"])
    assert any(near[""])
    assert not any(near["group_duplicates = true"])
    assert not set(ids[""]) & set(ids["group_duplicates = true"])
    # What nobody has looked at is not guessed.
    shutil.rmtree(photos / "store" / "cache" / "phash")
    code, _, err = run("probe", job, "--train", "all/draw9[:80%]", "--test", "all/draw9[80%:]")
    assert code == 65
    assert "group_duplicates: 60 of 60 images have not been looked at" in err
    assert "run 'linprobe extract'" in err
