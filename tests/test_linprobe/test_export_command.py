import numpy as np
import pytest

from extract.decoding import read_header
from extract.pixels import decode_plain

pytestmark = pytest.mark.framework


def export(run, trained, *arguments, head="logistic"):
    return run("export", "--run", trained.run(head), "--store", trained.store, *arguments)


@pytest.fixture
def predicted(run, trained):
    """Probabilities by predict, (42, 3), in the order of the files."""

    def predicted(head):
        code, found, _ = run("predict", "--run", trained.run(head), "--store", trained.store, *trained.files, "--json")
        assert code == 0
        return np.array([list(row["probabilities"].values()) for row in found["predictions"]])

    return predicted


@pytest.mark.parametrize("head", ["logistic", "ridge"])
def test_saved_model_gives_predicts_probabilities_from_encoded_bytes(run, trained, predicted, tmp_path, head):
    import tensorflow as tf

    code, found, _ = export(run, trained, "--out", tmp_path / "model", "--json", head=head)
    assert code == 0
    served = tf.saved_model.load(found["path"]).signatures["serving_default"]
    answer = served(image_bytes=tf.constant([path.read_bytes() for path in trained.files]))
    expected = predicted(head)
    assert len(expected) == 42
    np.testing.assert_allclose(answer["probabilities"].numpy(), expected, atol=1e-5)
    names = np.array(["blue", "green", "red"])
    assert answer["class_names"].numpy().astype(str).tolist() == names.tolist()
    assert answer["class"].numpy().astype(str).tolist() == names[expected.argmax(axis=1)].tolist()
    assert (tmp_path / "model" / "assets" / "labels.txt").read_text() == "blue\ngreen\nred\n"


@pytest.mark.parametrize("pixels", ["float32", "uint8"])
def test_tflite_model_gives_the_same_predictions_from_pixels(run, trained, predicted, tmp_path, pixels):
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    code, found, _ = export(
        run, trained, "--format", "tflite", "--pixels", pixels, "--out", tmp_path / "m.tflite", "--json"
    )
    assert code == 0
    interpreter = Interpreter(model_path=found["path"])
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (taken["shape"].tolist(), taken["dtype"].__name__) == ([1, 32, 32, 3], pixels)
    probabilities = []
    for path in trained.files:
        data = path.read_bytes()
        image = tf.image.resize(decode_plain(data, read_header(data)), (32, 32))
        # What a camera gives has been rounded.
        interpreter.set_tensor(
            taken["index"], np.asarray(image if pixels == "float32" else np.round(image), pixels)[None]
        )
        interpreter.invoke()
        probabilities.append(interpreter.get_tensor(given["index"])[0])
    expected = predicted("logistic")
    np.testing.assert_allclose(probabilities, expected, atol=1e-5 if pixels == "float32" else 0.05)
    second, first = np.sort(expected, axis=1)[:, -2:].T
    is_clear = first - second > (0.0 if pixels == "float32" else 0.1)
    assert is_clear.mean() > 0.5
    assert (np.argmax(probabilities, axis=1) == expected.argmax(axis=1))[is_clear].all()
    assert (tmp_path / "m.labels.txt").read_text() == "blue\ngreen\nred\n"


def test_neighbours_cannot_be_exported(run, trained, tmp_path):
    code, _, err = export(run, trained, "--out", tmp_path / "model", head="knn")
    assert code == 2
    assert "a knn head is its training rows" in err
    assert not (tmp_path / "model").exists()


def test_what_stands_in_the_place_is_left_alone(run, trained, tmp_path):
    (tmp_path / "model").mkdir()
    code, _, err = export(run, trained, "--out", tmp_path / "model")
    assert code == 2
    assert "is there already" in err


def test_a_floor_without_a_network_cannot_be_exported(run, trained, tmp_path):
    code, _, err = run("export", "--run", "colours/pixels/ridge", "--store", trained.store, "--out", tmp_path / "m")
    assert code == 65
    assert "pixels: is no TensorFlow network" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("--format", "onnx"), ("--format", "tflite", "--pixels", "int8")])
def test_unknown_choices_are_refused(run, trained, tmp_path, arguments):
    code, _, err = export(run, trained, *arguments, "--out", tmp_path / "m")
    assert code == 2
    assert "no such choice" in err
