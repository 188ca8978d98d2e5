"""Perceptual hashes: what of real photographs they find again, and that an extraction keeps them beside its rows."""

import io

import numpy as np
import pytest
import skimage.data
from PIL import Image

from extract import open_source
from extract.fingerprints import fingerprint
from extract.sources.example import Known
from probe.near_duplicates import MOST_BITS
from store.perceptual_hashes import PerceptualHashes

pytestmark = pytest.mark.framework


def photographs():
    """Pieces of four photographs, each of something else; some are of a night sky, with little in them."""
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        pixels = getattr(skimage.data, name)()
        height, width = pixels.shape[:2]
        for top in range(0, height - 110, 110):
            for left in range(0, width - 140, 140):
                yield Image.fromarray(pixels[top : top + 110, left : left + 140])


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def turned(image):
    """A JPEG whose pixels lie on their side, and whose EXIF says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


COPIES = {
    "jpeg": lambda image: encoded(image, "JPEG", quality=60),
    "webp": lambda image: encoded(image, "WEBP", quality=60),
    "larger": lambda image: encoded(image.resize((400, 315), Image.Resampling.BICUBIC), "JPEG", quality=90),
    "smaller": lambda image: encoded(image.resize((90, 71), Image.Resampling.LANCZOS), "PNG"),
    "turned as EXIF says": turned,
    "opaque RGBA": lambda image: encoded(image.convert("RGBA"), "PNG"),
    "grey": lambda image: encoded(image.convert("L"), "PNG"),
}


def hash_of(data):
    return fingerprint(data, Known.of_file(data).header)


def distance(one, other):
    return int(np.bitwise_count(np.frombuffer(one, np.uint8) ^ np.frombuffer(other, np.uint8)).sum())


@pytest.fixture(scope="module")
def originals():
    return [(image, hash_of(encoded(image, "PNG"))) for image in photographs()]


@pytest.mark.parametrize("copy", COPIES)
def test_copies_of_photographs_are_found_again(originals, copy):
    found = [distance(hash_of(COPIES[copy](image)), known) for image, known in originals if known is not None]
    assert np.mean(np.array(found) <= MOST_BITS) >= 0.9, sorted(found)[-8:]


def test_different_photographs_are_not_joined(originals):
    known = [found for _, found in originals if found is not None]
    assert len(known) >= 35
    near = sum(distance(one, other) <= MOST_BITS for at, one in enumerate(known) for other in known[:at])
    assert near == 0


def test_small_images_and_those_of_one_colour_have_none():
    assert hash_of(encoded(Image.fromarray(skimage.data.chelsea()).resize((200, 63)), "PNG")) is None
    assert hash_of(encoded(Image.new("RGB", (100, 100), (200, 30, 30)), "PNG")) is None


def test_pixels_have_the_hash_of_their_file(originals):
    image, known = originals[0]
    pixels = np.asarray(image)
    assert fingerprint(pixels, Known.of_pixels(pixels).header) == known


@pytest.fixture
def folder(make_folder):
    images = list(photographs())[:6]
    files = {f"a/{number}.png": encoded(image, "PNG") for number, image in enumerate(images)}
    files["b/turned.jpg"] = turned(images[0])
    files["b/small.png"] = encoded(images[1].resize((40, 40)), "PNG")
    files["b/clear.png"] = encoded(images[2].convert("RGBA"), "PNG")
    return make_folder(files)


def kept_of(lab, folder):
    kept = PerceptualHashes(lab.store.path / "cache" / "phash")
    contents = {
        example.example_id: example.content_sha256() for example in open_source(f"folder:{folder}").examples("all")
    }
    found = kept.find(set(contents.values()))
    return {name: found[content] for name, content in contents.items()}


def test_an_extraction_keeps_the_hash_of_every_image(lab, folder):
    lab.extract(open_source(f"folder:{folder}"))
    found = kept_of(lab, folder)
    for name, hashed in found.items():
        assert hashed == hash_of((folder / name).read_bytes()), name
    assert found["b/small.png"] is None
    assert sum(hashed is not None for hashed in found.values()) == 8


def test_what_is_lost_is_read_again_and_what_is_kept_is_not(lab, folder, monkeypatch):
    lab.extract(open_source(f"folder:{folder}"))
    expected = kept_of(lab, folder)
    for lose in (lambda path: path.write_bytes(b"damaged"), lambda path: path.unlink()):
        for path in (lab.store.path / "cache" / "phash").iterdir():
            lose(path)
        lab.extract(open_source(f"folder:{folder}"))
        assert kept_of(lab, folder) == expected
    looked = []
    monkeypatch.setattr("extract.fingerprints.fingerprint", lambda *arguments: looked.append(arguments))
    lab.extract(open_source(f"folder:{folder}"))
    done = lab.extract(open_source(f"folder:{folder}"), extractor=lab.other_extractor())
    assert done.forward_passes == 9
    assert not looked, "an image was looked at again"
    assert kept_of(lab, folder) == expected
