"""The canary: before rows are added to a pool, fixed images show whether the numbers still come out."""

import hashlib
import json
import logging
from importlib import resources

import numpy as np
import pytest

import extract.canary
from extract import BadData, CanaryDrift
from extract.canary import Sighting
from extract.decoding import read_header
from store import verify_store

pytestmark = pytest.mark.framework

# A change of an image makes every pool's canary useless: there is no reason good enough.
IMAGES = {
    "colour.jpg": "89350867b636e50cc658f7bfdaec1bc06e5a56fadc071a5a3776598b5527db01",
    "colour.png": "ef0ced5c8f81fd9da961bdec4a4215a523c1c56dd55a4c92aae25661867c3ee3",
    "grey.jpg": "578c2c64a52e5fd67c5bb75cacbaac4371075fcd0925b4c77972386b655e8e84",
    "palette.png": "21990038014a472152f7d5df62fdcd17187b13e0ed5b1945412c3f221e0b5626",
}


@pytest.fixture
def source(make_source, encode, pixels):
    """Returns a function: a source of so many images."""
    from extract import Example

    def make(count):
        return make_source([Example(f"{at}", at % 2, encode(pixels(at))) for at in range(count)])

    return make


@pytest.fixture
def watched(lab, source):
    """Returns a function that extracts so many images with the canary; `drift` is added to every number."""

    def extract(count, drift=0.0, **options):
        engine = type(lab.engine)()
        if drift:
            engine_call = engine.__call__

            class Drifted(type(engine)):
                def __call__(self, images):
                    return (engine_call(images) * (1 + drift)).astype(np.float32)

            engine = Drifted()
        return lab.extract(source(count), engine=engine, has_canary=True, **options)

    return extract


def canary_path(lab):
    return lab.store.path / "pools" / lab.toy.pool_key().digest / "canary.json"


def test_the_images_stand_still_and_cover_both_formats_and_both_paths():
    folder = resources.files("extract") / "canary_images"
    found = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in found.items()} == IMAGES
    headers = {name: read_header(data) for name, data in found.items()}
    assert {(header.format, header.mode, header.is_plain) for header in headers.values()} == {
        ("JPEG", "RGB", True), ("JPEG", "L", True), ("PNG", "RGB", True), ("PNG", "P", False)
    }  # fmt: skip


def test_what_the_first_writer_saw_is_kept_with_the_pool(lab, watched):
    done = watched(3)
    kept = json.loads(canary_path(lab).read_text())["document"]
    assert set(kept["pixels_sha256"]) == set(kept["vectors"]) == set(IMAGES)
    assert kept["engine"] == "counting"
    assert done.feature_set.provenance.canary == {"largest_difference": 0.0, "pixels_changed": [], "tolerance": 2e-5}
    # The counting engine's row: the means of the three channels, and the first pixel's red.
    row = Sighting.from_document(kept).vectors["colour.png"]
    from PIL import Image

    with Image.open(str(resources.files("extract") / "canary_images" / "colour.png")) as image:
        expected = np.asarray(image, np.float64).mean(axis=(0, 1))
    assert np.allclose(row[:3], expected, atol=3)


def test_it_is_in_no_key_and_counts_as_no_forward_pass(lab, watched, source):
    done = watched(3)
    assert (done.forward_passes, done.feature_set.manifest["rows"]) == (3, 3)
    assert lab.engine.images == 3 + len(IMAGES)
    other = lab.extract(source(3))
    assert other.feature_set.key == done.feature_set.key


def test_a_job_that_lacks_nothing_does_not_look(lab, watched, monkeypatch):
    watched(3)

    def refuse(*arguments):
        raise AssertionError("the canary was looked at")

    monkeypatch.setattr(extract.canary, "sight", refuse)
    assert watched(3).forward_passes == 0


def test_rows_are_added_where_the_numbers_come_out(lab, watched):
    watched(3)
    before = canary_path(lab).read_bytes()
    done = watched(5, drift=1e-5)
    assert (done.forward_passes, done.reused) == (2, 3)
    report = done.feature_set.provenance.canary
    assert 0.5e-5 < report["largest_difference"] < 2e-5
    assert report["pixels_changed"] == []
    assert canary_path(lab).read_bytes() == before


def test_compute_drift_stops_before_anything_is_mixed(lab, watched, tree):
    watched(3)
    before = tree(lab.store.path)
    with pytest.raises(CanaryDrift) as caught:
        watched(5, drift=1e-3)
    assert tree(lab.store.path) == before
    text = str(caught.value)
    pool = lab.toy.pool_key().digest
    assert text.startswith(
        f"pool {pool[:12]}: compute drift: the canary images have the same pixels as, but other vectors"
    )
    assert "their largest difference is 0.001 relative L2, 2e-05 is allowed. No row was added." in text
    assert "go back to those, or extract into another store; --accept-drift mixes old rows and new ones." in text
    assert isinstance(caught.value, BadData)


def test_decode_drift_names_the_images(lab, watched, tree, monkeypatch):
    watched(3)
    before = tree(lab.store.path)
    real = extract.canary.decode_plain

    def another_decoder(data, header):
        found = real(data, header)
        return found ^ 1 if header.format == "JPEG" else found

    monkeypatch.setattr(extract.canary, "decode_plain", another_decoder)
    with pytest.raises(
        CanaryDrift, match=r"decode drift: colour\.jpg, grey\.jpg of the canary images have other pixels"
    ):
        watched(5)
    assert tree(lab.store.path) == before


@pytest.mark.parametrize("nonsense", [np.nan, np.inf])
def test_nan_is_drift(lab, watched, nonsense):
    watched(3)
    with pytest.raises(CanaryDrift, match="compute drift"):
        watched(5, drift=nonsense)


def test_drift_can_be_accepted_and_is_told_and_kept_in_provenance(lab, watched, caplog):
    watched(3)
    with caplog.at_level(logging.WARNING):
        done = watched(5, drift=1e-3, accept_drift=True)
    assert done.forward_passes == 2
    assert "compute drift" in caplog.text
    assert "Rows are added all the same, as was asked for." in caplog.text
    assert 0.9e-3 < done.feature_set.provenance.canary["largest_difference"] < 1.1e-3


def test_a_writer_that_began_the_pool_meanwhile_is_compared_with(lab, watched, monkeypatch):
    # Both look at an empty pool; the other publishes first, with other numbers.
    real = extract.canary.keep_canary

    def second(folder, document):
        other = Sighting.from_document(document)
        vectors = {name: row * 2 for name, row in other.vectors.items()}
        real(folder, Sighting(other.pixels, vectors, "another").document())
        return real(folder, document)

    monkeypatch.setattr(extract.canary, "keep_canary", second)
    with pytest.raises(CanaryDrift, match=r"engine another, here counting"):
        watched(3)
    assert lab.store.catalog().empty


def test_a_pool_without_canary_gets_one(lab, source, watched):
    lab.extract(source(3))
    assert not canary_path(lab).exists()
    watched(5)
    assert canary_path(lab).exists()


def test_a_damaged_canary_is_found_by_verify_and_written_anew(lab, watched, caplog):
    watched(3)
    canary_path(lab).write_bytes(canary_path(lab).read_bytes()[:-40])
    (problem,) = verify_store(lab.store.path).problems
    assert problem.path.endswith("canary.json")
    with caplog.at_level(logging.WARNING):
        watched(5)
    assert "It is written anew." in caplog.text
    assert verify_store(lab.store.path).problems == []


def test_every_precision_has_a_tolerance():
    from extract import PRECISIONS

    assert set(extract.canary._TOLERANCES) == set(PRECISIONS)
