import dataclasses
import io
import os
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from linprobe.models.evidence import open_evidence, say_right
from linprobe.models.runs import TrainedHead
from store import FeatureStore

pytestmark = pytest.mark.framework


def predict(run, trained, *arguments, head="logistic"):
    return run("predict", "--run", trained.run(head), "--store", trained.store, *arguments)


def test_prediction_of_a_test_image_is_the_one_of_the_run(run, trained):
    code, found, err = predict(run, trained, trained.images, "--json")
    assert code == 0
    store = FeatureStore(trained.store)
    assert f"run {store.find_run(trained.run())[:12]}: colours / " in err
    tested = store.predictions(store.find_run(trained.run()))
    confidences = {row["image"]: (row["predicted"], row["confidence"]) for row in found["predictions"]}
    classes = ["blue", "green", "red"]
    for row in tested.itertuples():
        predicted, confidence = confidences[str(trained.images / row.example_id)]
        assert predicted == classes[row.predicted]
        assert confidence == pytest.approx(row.confidence, abs=1e-5)


def test_order_is_that_of_the_arguments_and_probabilities_sum_to_one(run, trained):
    files = [trained.files[20], trained.files[3], trained.files[9]]
    code, found, _ = predict(run, trained, *files, "--json")
    assert code == 0
    assert [row["image"] for row in found["predictions"]] == [str(path) for path in files]
    for row in found["predictions"]:
        assert list(row["probabilities"]) == ["blue", "green", "red"]
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["confidence"] == max(row["probabilities"].values())


def test_a_pattern_and_a_folder_mean_their_images_each_once(run, trained):
    folder = trained.images / "red"
    code, found, _ = predict(run, trained, folder, str(folder / "*.png"), "--json")
    assert code == 0
    assert [row["image"] for row in found["predictions"]] == sorted(map(str, folder.iterdir()))


@pytest.mark.parametrize("head", ["ridge", "knn"])
def test_other_heads_predict_their_own_test_images_too(run, trained, head):
    store = FeatureStore(trained.store)
    tested = store.predictions(store.find_run(trained.run(head)))
    files = [trained.images / name for name in tested["example_id"]]
    code, found, _ = predict(run, trained, *files, "--json", head=head)
    assert code == 0
    np.testing.assert_allclose([row["confidence"] for row in found["predictions"]], tested["confidence"], atol=1e-5)


def test_a_bad_image_is_named_and_the_others_are_predicted(run, trained, tmp_path):
    bad, pipe, link = tmp_path / "bad.jpg", tmp_path / "pipe.jpg", tmp_path / "link.png"
    bad.write_bytes(b"no image")
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "gone.png")
    cut = tmp_path / "cut.png"
    cut.write_bytes(trained.files[0].read_bytes()[:300])
    code, out, err = predict(run, trained, bad, pipe, trained.files[0], link, cut, tmp_path / "none")
    assert code == 65
    assert out.startswith(f"{trained.files[0]}  ")
    assert len(out.splitlines()) == 1
    for text in (f"{bad}: not an image", f"{pipe}: not a regular file", f"{link}: cannot be read", f"{cut}: ",
                 f"{tmp_path / 'none'}: no such image"):  # fmt: skip
        assert text in err


def test_labels_come_from_the_folders_and_colour_the_grid(run, trained, tmp_path):
    code, _, err = predict(run, trained, trained.images, "--labelled", "--grid", tmp_path / "grid.png")
    assert code == 0
    assert re.search(r"Of \d+ images that did not train this run \d+ of \d+ are right .* With the \d+ that did, ", err)
    assert "the first 30 images, 12 more are not on it" in err
    with Image.open(io.BytesIO((tmp_path / "grid.png").read_bytes())) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
    assert (29, 78, 216) in colours  # the blue of a right prediction


def test_images_that_trained_the_run_are_known_by_content_wherever_they_lie(run, trained, tmp_path):
    store = FeatureStore(trained.store)
    tested = set(store.predictions(store.find_run(trained.run()))["example_id"])
    copies = tmp_path / "elsewhere"
    for number, path in enumerate(trained.files):
        target = copies / path.parent.name / f"copy {number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    code, found, err = predict(run, trained, copies, "--labelled", "--json")
    assert code == 0
    by_name = {row["image"]: row for row in found["predictions"]}
    for number, path in enumerate(trained.files):
        row = by_name[str(copies / path.parent.name / f"copy {number}.png")]
        assert row["trained_on"] == (str(path.relative_to(trained.images)) not in tested)
    unseen = [row for row in by_name.values() if not row["trained_on"]]
    right = sum(row["is_correct"] for row in unseen)
    assert f"Of {len(unseen)} images that did not train this run {right} of {len(unseen)} are right" in err
    code, _, err = predict(run, trained, *(trained.images / name for name in sorted(tested)), "--labelled")
    assert "none of them trained this run" in err
    seen = [path for path in trained.files if str(path.relative_to(trained.images)) not in tested]
    code, out, err = predict(run, trained, *seen[:3], "--labelled")
    assert "All 3 images trained this run, and say nothing of new ones" in err
    assert all(line.endswith("trained on") for line in out.splitlines())


def test_an_image_unlike_all_that_trained_is_told(run, trained, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    code, found, _ = predict(run, trained, tmp_path / "noise.png", trained.images, "--json")
    assert code == 0
    odd, *others = found["predictions"]
    # Of 33 training images the least share is 1 in 34.
    assert odd["distance_p"] == pytest.approx(1 / (1 + sum(row["trained_on"] for row in others)))
    assert odd["distance"] > max(row["distance"] for row in others)
    # Training images are each as unlike as the measure says: their shares are spread evenly.
    shares = sorted(row["distance_p"] for row in others if row["trained_on"])
    assert np.mean(shares) == pytest.approx(0.5, abs=0.1)
    assert shares[0] < 0.1


def test_a_table_for_other_programs(run, trained, tmp_path):
    code, _, _ = predict(run, trained, trained.images, "--labelled", "--csv", tmp_path / "p.csv")
    assert code == 0
    found = pd.read_csv(tmp_path / "p.csv")
    assert list(found) == [
        "image", "predicted", "confidence", "calibrated_confidence", "trained_on", "distance", "distance_p", "label",
        "is_correct", "p(blue)", "p(green)", "p(red)",
    ]  # fmt: skip
    assert len(found) == 42
    probabilities = found[["p(blue)", "p(green)", "p(red)"]]
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert np.allclose(probabilities.max(axis=1), found["confidence"])


@pytest.mark.parametrize("limits", [{"train_share": 0.3}, {"shots": 3}, {"train_share": 0.3, "protocol": 2}])
def test_what_trained_a_run_is_told_by_its_own_words(run, trained, limits):
    store = FeatureStore(trained.store)
    whole = store.run(trained.run("ridge"))
    config = {**whole.config, "seed": 5, **limits}
    limited = open_evidence(store, dataclasses.replace(whole, config=config)).contents
    everything = open_evidence(store, whole).contents
    assert limited < everything
    if limits == {"train_share": 0.3}:
        # A version later, the first of each class is in any case.
        before = open_evidence(store, dataclasses.replace(whole, config={**config, "protocol": 2})).contents
        assert before <= limited
        assert len(limited - before) <= 3
    if "shots" in limits:
        assert len(limited) == 9


def test_where_the_sets_are_gone_nobody_knows(trained):
    store = FeatureStore(trained.store)
    whole = store.run(trained.run("ridge"))
    gone = {**whole.config, "sets": {"all": "0" * 64}}
    assert open_evidence(store, dataclasses.replace(whole, config=gone)) is None
    rows = [{"is_correct": True, "trained_on": None}] * 3
    assert (
        say_right(rows)
        == "3 of 3 are right (100.0%); whether they trained this run is not known, for its sets are gone."
    )


def test_features_are_rounded_as_the_pool_keeps_them():
    head = TrainedHead(None, None, {}, "", np.dtype(np.float16))
    row = np.array([[1.0002441, 3.14159]], np.float32)
    assert head.as_kept(row).tolist() == [[float(np.float16(1.0002441)), float(np.float16(3.14159))]]
    assert head.as_kept(row).dtype == np.float32


def test_images_that_are_to_be_turned_are_told_where_the_run_saw_none_turned(run, trained, tmp_path, monkeypatch):
    image = Image.open(trained.files[0])
    exif = image.getexif()
    exif[0x0112] = 6
    image.convert("RGB").save(tmp_path / "turned.jpg", exif=exif)
    code, _, err = predict(run, trained, tmp_path / "turned.jpg")
    assert code == 0, err
    assert "to be turned" not in err
    from linprobe.commands import predict as command

    opened = command.open_trained_head

    def stored(*arguments):
        found = opened(*arguments)
        preprocessing = dataclasses.replace(found.extractor.preprocessing, orientation="stored")
        return dataclasses.replace(found, extractor=dataclasses.replace(found.extractor, preprocessing=preprocessing))

    monkeypatch.setattr(command, "open_trained_head", stored)
    code, _, err = predict(run, trained, tmp_path / "turned.jpg")
    assert code == 0, err
    assert "1 of the images say how they are to be turned, and are seen as they are stored" in err


def test_a_folder_that_is_no_class_is_refused_with_the_nearest(run, trained, tmp_path):
    (tmp_path / "reed").mkdir()
    (tmp_path / "reed" / "a.png").write_bytes(trained.files[0].read_bytes())
    code, _, err = predict(run, trained, tmp_path / "reed", "--labelled")
    assert code == 65
    assert "no class 'reed'; did you mean 'red'?" in err


def test_an_unknown_run_names_the_nearest(run, trained):
    code, _, err = run("predict", "--run", trained.run("logistik"), "--store", trained.store, trained.files[0])
    assert code == 2
    assert f"did you mean '{trained.run()}'?" in err


def test_other_weights_than_the_runs_are_refused(run, trained, tmp_path, monkeypatch):
    from extract.extractors import saved_model

    monkeypatch.setattr(saved_model, "_folder_sha256", lambda path: "0" * 64)
    code, _, err = predict(run, trained, trained.files[0])
    assert code == 65
    assert "is another extractor here than when the set was made" in err
    assert "weights_sha256: " in err
