"""Images become files named by their bytes."""

import io
import re

import numpy as np
from PIL import Image

from reports.thumbnails import Thumbnails


def test_a_small_image_keeps_its_bytes(tmp_path, make_png):
    image = make_png(np.arange(64, dtype=np.uint8).reshape(8, 8))
    thumbnail = Thumbnails(tmp_path).add(image)
    assert re.fullmatch(r"[0-9a-f]{32}\.png", thumbnail.file)
    assert (thumbnail.width, thumbnail.height, thumbnail.is_tiny) == (8, 8, True)
    assert (tmp_path / thumbnail.file).read_bytes() == image


def test_a_large_image_is_reduced_to_224_pixels(tmp_path, make_png):
    thumbnail = Thumbnails(tmp_path).add(make_png(np.zeros((224, 448, 3), np.uint8)))
    assert (thumbnail.width, thumbnail.height, thumbnail.is_tiny) == (224, 112, False)
    with Image.open(tmp_path / thumbnail.file) as image:
        assert image.size == (224, 112)


def test_an_equal_image_is_one_file(tmp_path, make_png):
    thumbnails = Thumbnails(tmp_path)
    image = make_png(np.zeros((8, 8), np.uint8))
    assert thumbnails.add(image) == thumbnails.add(bytes(image))
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_no_png_is_no_thumbnail(tmp_path, make_png):
    jpeg = io.BytesIO()
    Image.new("RGB", (8, 8)).save(jpeg, "JPEG")
    noise = np.random.default_rng(0).integers(0, 256, (50, 50), np.uint8)
    bad = [b"", b"<svg onload='alert(1)'/>", jpeg.getvalue(), make_png(noise)[:200]]
    assert [Thumbnails(tmp_path).add(image) for image in bad] == [None] * 4
    assert not list(tmp_path.iterdir())
