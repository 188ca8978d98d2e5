"""What was done to images and what was left out reaches people: lines, --json, the ledger and the report."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from store import FeatureStore
from store.documents import read_sealed

pytestmark = pytest.mark.framework


@pytest.fixture
def sketches(tmp_path) -> Path:
    """Black ink on transparent ground, the shape is in the alpha channel; each a little otherwise."""
    rng = np.random.default_rng(9)
    for kind in ("cross", "ring"):
        folder = tmp_path / "sketches" / kind
        folder.mkdir(parents=True)
        for number in range(30):
            image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
            x, y = rng.integers(20, 44, 2).tolist()
            r, ink, pen = int(rng.integers(10, 16)), (0, 0, 0, 255), ImageDraw.Draw(image)
            if kind == "cross":
                pen.line((x - r, y, x + r, y), ink, 5)
                pen.line((x, y - r, x, y + r), ink, 5)
            else:
                pen.ellipse((x - r, y - r, x + r, y + r), outline=ink, width=5)
            image.save(folder / f"{number:02d}.png")
    (tmp_path / "sketches" / "ring" / "notes.txt").write_text("…")
    return tmp_path / "sketches"


def test_a_sketch_in_its_alpha_channel_is_seen_and_told(run, sketches):
    code, document, err = run("extract", "--dataset", f"folder:{sketches}", "--extractor", "pixels", "--json")
    assert code == 0, err
    (row,) = document["feature_sets"]
    assert row["told"] == ["60 with transparency, composited on the background", "ignored: 1 .txt"]
    assert "sketches/all: 60 with transparency, composited on the background" in err
    assert "sketches: new: 2 classes: cross, ring" in err
    found = FeatureStore("linprobe-store").get(str(sketches), extractor="pixels")
    assert set(found.ledger()["background"]) == {"#ffffff"}
    assert len(np.unique(np.asarray(found.features), axis=0)) > 30
    code, document, err = run(
        "probe", "--dataset", f"folder:{sketches}", "--extractor", "pixels", "--head", "ridge", "--json"
    )
    assert code == 0, err
    assert run("report")[0] == 0
    (page,) = Path("linprobe-report/runs").glob("*.html")
    assert "What was done to its images" in page.read_text()
    assert "all: 60 with transparency, composited on the background" in page.read_text()
    # A second run says it no more: it is cached.
    code, document, err = run("extract", "--dataset", f"folder:{sketches}", "--extractor", "pixels", "--json")
    assert (document["feature_sets"][0]["status"], "transparency" in err) == ("cached", False)


def test_one_image_over_and_over_is_told(run, tmp_path):
    for kind in ("a", "b"):
        (tmp_path / "same" / kind).mkdir(parents=True)
        for number in range(5):
            # Other bytes, the same pixels.
            image = Image.new("RGB", (8, 8))
            image.save(tmp_path / "same" / kind / f"{number}.png", pnginfo=_comment(f"{kind}{number}"))
    code, document, err = run("extract", "--dataset", f"folder:{tmp_path}/same", "--extractor", "pixels", "--json")
    assert code == 0, err
    assert document["feature_sets"][0]["told"] == [
        "10 different images give 1 different rows",
        "10 images have a row of one number alone",
        "all images of 'a', 'b' have the same row",
    ]
    notes = FeatureStore("linprobe-store").get(f"{tmp_path}/same", extractor="pixels").notes
    assert notes["degenerate"]["rows"] == 1
    assert run("store", "verify")[0] == 0


def _comment(text):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", text)
    return info


def test_a_turned_photograph_is_seen_as_it_is_shown(run, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    for kind in ("stored", "shown"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "photos" / "stored" / "1.png", exif=exif)
    Image.fromarray(np.rot90(pixels, -1)).save(tmp_path / "photos" / "shown" / "1.png")
    (tmp_path / "job.toml").write_text(
        f"""
        [[datasets]]
        name = "photos"
        source = "folder:{tmp_path}/photos"
        [[extractors]]
        name = "pixels"
        """
    )
    code, document, err = run("extract", "job.toml", "--json")
    assert code == 0, err
    assert "1 turned as EXIF says" in document["feature_sets"][0]["told"]
    rows = np.asarray(FeatureStore("linprobe-store").get("photos", extractor="pixels").features)
    assert np.array_equal(rows[0], rows[1])
    text = (tmp_path / "job.toml").read_text() + 'orientation = "stored"\n'
    (tmp_path / "job.toml").write_text(text)
    code, document, err = run("extract", "job.toml", "--json")
    assert code == 0, err
    (row,) = document["feature_sets"]
    assert (row["forward_passes"], row["adopted"]) == (1, 1)
    assert "1 NOT turned as EXIF says (orientation = stored)" in row["told"]


@pytest.mark.parametrize(("layout", "code"), [("", 65), ('layout = "classes"', 0)])
def test_a_folder_that_can_be_read_in_two_ways_is_refused_until_somebody_says_how(run, tmp_path, layout, code):
    for site in ("site1", "site2"):
        for kind in ("cats", "dogs"):
            (tmp_path / "sites" / site / kind).mkdir(parents=True)
            Image.new("RGB", (8, 8), (len(site + kind), ord(site[-1]), ord(kind[0]))).save(
                tmp_path / "sites" / site / kind / "1.png"
            )
    (tmp_path / "job.toml").write_text(
        f"""
        [[datasets]]
        source = "folder:{tmp_path}/sites"
        {layout}
        [[extractors]]
        name = "pixels"
        """
    )
    found, _, err = run("extract", "job.toml")
    assert found == code, err
    assert ('Say layout = "classes"' in err) == bool(code)


def test_a_background_is_part_of_what_an_extractor_is(run, sketches, tmp_path):
    job = f"""
        [[datasets]]
        name = "sketches"
        source = "folder:{sketches}"
        [[extractors]]
        name = "pixels"
        background = "COLOR"
        """
    rows = {}
    for color in ("white", "#000000"):
        (tmp_path / "job.toml").write_text(job.replace("COLOR", color))
        code, _, err = run("extract", "job.toml")
        assert code == 0, err
        rows[color] = np.asarray(FeatureStore("linprobe-store").get("sketches", extractor="pixels").features)
    assert rows["#000000"].max() == 0
    assert rows["white"].max() > 0
    (tmp_path / "job.toml").write_text(job.replace("COLOR", "whitish"))
    code, _, err = run("extract", "job.toml")
    assert (code, "background 'whitish': a colour expected" in err) == (2, True)
    keys = [read_sealed(path) for path in Path("linprobe-store/pools").glob("*/pool.json")]
    assert {key["preprocessing"]["background"] for key in keys} == {"#ffffff", "#000000"}
