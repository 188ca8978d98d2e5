"""`linprobe quick`: one command from a folder to a report."""

import webbrowser

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.framework


@pytest.fixture
def folder(tmp_path):
    """40 images of two classes that anything tells apart, and two files that are no images."""
    generator = np.random.default_rng(0)
    for number in range(40):
        pixels = generator.integers(0, 100, (24, 24, 3), dtype=np.uint8) + np.uint8(100 * (number % 2))
        path = tmp_path / "shapes" / ("dark", "light")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "shapes" / "dark" / "torn.png").write_bytes(path.read_bytes()[:100])
    return tmp_path / "shapes"


def test_one_command_extracts_probes_in_folds_and_reports(run, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, found, _ = run("quick", "shapes", "--json")
    assert code == 0
    assert [(row["extractor"], row["rows"]) for row in found["feature_sets"]] == [
        ("efficientnet_lite0", 40), ("pixels", 40)
    ]  # fmt: skip
    assert found["unreadable"] == [{"image": "dark/torn.png", "reason": "image file is truncated"}]
    assert [(row["extractor"], row["head"], row["folds"], row["n_test"]) for row in found["runs"]] == [
        ("efficientnet_lite0", "logistic", 5, 40), ("pixels", "logistic", 5, 40)
    ]  # fmt: skip
    assert all(row["accuracy"] > 0.9 for row in found["runs"])
    assert found["report"] == str(tmp_path / "linprobe-report" / "index.html")
    assert (tmp_path / "linprobe-store").is_dir()
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    code, out, _ = run("quick", "shapes", "--open")
    assert code == 0
    assert out.splitlines()[:2] == [
        "Unreadable, and left out: 1",
        "  dark/torn.png: image file is truncated",
    ]
    assert out.splitlines()[-2:] == [
        f"Report: {found['report']}",
        "Next: linprobe predict --run shapes/efficientnet_lite0/logistic NEW_IMAGE.jpg",
    ]
    assert opened == [(tmp_path / "linprobe-report" / "index.html").as_uri()]
    # The next command is one that works.
    code, out, _ = run("predict", "--run", "shapes/efficientnet_lite0/logistic", folder / "light" / "1.png")
    assert code == 0
    assert "light" in out


def test_a_folder_with_a_test_part_is_tested_on_it(run, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "dark" / "torn.png").unlink()
    for name in ("train", "test"):
        for label in ("dark", "light"):
            (tmp_path / "parted" / name / label).mkdir(parents=True)
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        path.rename(tmp_path / "parted" / ("test" if number % 3 == 0 else "train") / path.parent.name / path.name)
    code, found, _ = run("quick", "parted", "--json")
    assert code == 0
    assert [(row["folds"], row["n_test"]) for row in found["runs"]] == [(0, 14), (0, 14)]


def test_more_unreadable_images_than_a_twentieth_end_with_65_and_are_named(run, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        (folder / "light" / f"bad{number}.png").write_bytes(b"no image")
    code, out, err = run("quick", "shapes")
    assert code == 65
    assert "fix or remove them, or raise --max-bad" in err
    assert "light/bad0.png: not an image of a known format" in err
    assert "Report:" not in out


@pytest.mark.parametrize(
    ("place", "code", "message"),
    [
        ("nowhere", 69, "nowhere: no such folder; a folder of images for each class expected in one"),
        ("empty", 65, "class folders expected (PATH/CLASS/image.jpg)"),
        ("", 2, "FOLDER: a text expected, got an empty one"),
    ],
)
def test_what_is_no_dataset_is_said_before_anything_is_made(run, tmp_path, monkeypatch, place, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    found, _, err = run("quick", place)
    assert found == code
    assert message in err
    assert not (tmp_path / "linprobe-store").exists()
