import numpy as np
import pytest

from extract import VALUE_RANGES, Extractor, InvalidSetting, Preprocessing, UnknownName
from extract.engines.frozen import freeze
from extract.preprocessing import lesson

RAMP = np.arange(256, dtype=np.uint8)
# Eight images of 8 by 8 whose red, green and blue run through all values, each its own way.
IMAGES = np.stack([np.resize(RAMP, 512), np.resize(RAMP[::-1], 512), np.resize(np.roll(RAMP, 99), 512)], axis=-1)
IMAGES = IMAGES.reshape(8, 8, 8, 3).astype(np.float32)


def scaled(value_range: str) -> np.ndarray:
    """Return what a network of this range gets to see of `IMAGES`."""
    import tensorflow as tf

    see = Extractor("see", "see", "0" * 64, "input", lesson(8, value_range), 192, lambda: flatten)

    def flatten(images):
        return tf.reshape(images, (-1, 192))

    (found,) = freeze(see).function(tf.constant(IMAGES))
    return found.numpy().reshape(8, 8, 8, 3)


@pytest.mark.parametrize(
    ("value_range", "expected"),
    [
        ("0..1", [0.0, 0.2, 1.0]),
        ("-1..1", [-1.0, -0.6, 1.0]),
        ("0..255", [0.0, 51.0, 255.0]),
        # Blue first, less the means of ImageNet.
        ("caffe", [255 - 103.939, 51 - 116.779, 0 - 123.68]),
        ("torch", [(0 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225]),
    ],
)
def test_a_pixel_worked_out_by_hand(value_range, expected):
    scale, offset, channels = VALUE_RANGES[value_range]
    pixel = np.array([0, 51, 255], np.float64)[:: 1 if channels == "RGB" else -1]
    assert np.allclose(pixel * scale + offset, expected, atol=1e-9)


@pytest.mark.framework
@pytest.mark.parametrize(("value_range", "mode"), [("-1..1", "tf"), ("caffe", "caffe"), ("torch", "torch")])
def test_ranges_inside_the_graph_are_those_of_keras_applications(value_range, mode):
    from keras.applications import imagenet_utils

    expected = imagenet_utils.preprocess_input(IMAGES.copy(), mode=mode)
    assert np.allclose(scaled(value_range), expected, atol=2e-5 if mode == "caffe" else 1e-6)


@pytest.mark.framework
@pytest.mark.parametrize(
    ("module", "value_range"),
    [("mobilenet_v2", "-1..1"), ("inception_v3", "-1..1"), ("xception", "-1..1"), ("resnet", "caffe"),
     ("resnet_v2", "-1..1"), ("densenet", "torch"), ("efficientnet", "0..255"), ("nasnet", "-1..1")],
)  # fmt: skip
def test_each_network_of_the_registry_has_its_own_range(module, value_range):
    import keras

    expected = getattr(keras.applications, module).preprocess_input(IMAGES.copy())
    assert np.allclose(scaled(value_range), expected, atol=2e-5)


@pytest.mark.framework
def test_the_lessons_range_is_pixels_over_255():
    assert np.allclose(scaled("0..1"), IMAGES / 255, atol=1e-7)


def test_an_unknown_range_names_the_nearest():
    with pytest.raises(UnknownName, match=r"caffee: no such value range; did you mean 'caffe'\? .*0\.\.1, -1\.\.1"):
        Preprocessing(224, "caffee")


def test_an_unknown_pixel_type_is_refused():
    with pytest.raises(UnknownName, match=r"float16: no such pixel type; .*known: float32, uint8"):
        Preprocessing(224, "0..1", pixels="float16")


@pytest.mark.parametrize("size", [0, -1, 4097])
def test_an_impossible_size_is_refused(size):
    with pytest.raises(InvalidSetting, match=rf"size {size}: 1 to 4096 pixels expected"):
        Preprocessing(size, "0..1")


def test_the_document_of_the_lesson_is_pinned():
    # A change here is a change of identity: every pool that was ever filled is found no more.
    assert lesson(224, "0..1").document() == {
        "size": 224, "value_range": "0..1", "resize": "bilinear", "antialias": False, "crop": "none",
        "pixels": "float32", "orientation": "stored", "background": "#ffffff", "rules": 2, "scale": [1 / 255] * 3, "offset": [0.0] * 3,
        "channels": "RGB",
    }  # fmt: skip
