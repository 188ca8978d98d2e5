import io
import os

import numpy as np
import pytest
from PIL import Image

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
    assert " of 42 are right (" in err
    assert "the first 30 images, 12 more are not on it" in err
    with Image.open(io.BytesIO((tmp_path / "grid.png").read_bytes())) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
    assert (29, 78, 216) in colours  # the blue of a right prediction


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
