import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from extract.decoding import MAX_PIXELS, DecodeFailure, decode_carefully, read_header
from extract.header import Rules

# Two pixels: red and a dark blue.
RED_BLUE = np.array([[[255, 0, 0], [0, 0, 100]]], np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, raw: bytes, extra: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def test_zero_bytes_are_an_empty_file():
    with pytest.raises(DecodeFailure, match=r"^empty file$"):
        read_header(b"")


@pytest.mark.parametrize("data", [b"These are words.\n" * 9, b"\xff\xd8", b"\x89PNG", b"\0" * 500])
def test_what_is_no_image_is_said_to_be_none(data):
    with pytest.raises(DecodeFailure, match=r"^not an image of a known format$"):
        read_header(data)


def test_a_header_tells_format_mode_and_size(encode):
    header = read_header(encode(np.zeros((5, 7, 3), np.uint8), "JPEG"))
    assert (header.format, header.mode, header.width, header.height) == ("JPEG", "RGB", 7, 5)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "L", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("PNG", "RGB", {}),
        ("PNG", "L", {}),
    ],
)
def test_grey_and_rgb_of_jpeg_and_png_are_plain(encode, kind, mode, options):
    assert read_header(encode(Image.new(mode, (4, 3)), kind, **options)).is_plain


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("PNG", "1"), ("PNG", "I;16"), ("GIF", "P"),
     ("WEBP", "RGB"), ("BMP", "RGB"), ("TIFF", "RGB"), ("PPM", "RGB"), ("AVIF", "RGB")],
)  # fmt: skip
def test_all_else_takes_the_careful_path(encode, kind, mode):
    data = encode(Image.new(mode, (4, 3)), kind)
    assert not read_header(data).is_plain
    assert decode_carefully(data).shape == (3, 4, 3)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_lossless_files_keep_their_pixels(encode, kind):
    assert np.array_equal(decode_carefully(encode(RED_BLUE, kind)), RED_BLUE)


def test_webp_keeps_its_pixels_when_it_is_lossless(encode):
    assert np.array_equal(decode_carefully(encode(RED_BLUE, "WEBP", lossless=True)), RED_BLUE)


def test_16_bit_grey_is_scaled_and_not_clipped(encode):
    # 257 = 65535 / 255: 0, one step, the middle (127.5 rounds to the even 128), the top.
    grey = np.array([[0, 257, 32768, 65535]], np.uint16)
    decoded = decode_carefully(encode(Image.fromarray(grey)))
    assert decoded[0].tolist() == [[0, 0, 0], [1, 1, 1], [128, 128, 128], [255, 255, 255]]


def test_rules_1_dropped_alpha_and_showed_the_colour_beneath(encode):
    rgba = np.dstack([RED_BLUE, np.array([[0, 128]], np.uint8)])
    assert np.array_equal(decode_carefully(encode(rgba), Rules(number=1)), RED_BLUE)


def test_one_bit_becomes_black_and_white(encode):
    decoded = decode_carefully(encode(Image.fromarray(np.array([[True, False]]))))
    assert decoded[0].tolist() == [[255, 255, 255], [0, 0, 0]]


def test_cmyk_jpeg_becomes_rgb(encode):
    # No ink is white, all cyan leaves no red.
    white = decode_carefully(encode(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"))
    cyan = decode_carefully(encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG"))
    assert white.min() >= 253
    assert cyan[..., 0].max() <= 2
    assert cyan[..., 1:].min() >= 253


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_is_its_first_frame(encode, kind):
    first, second = Image.new("RGB", (6, 4), (255, 0, 0)), Image.new("RGB", (6, 4), (0, 0, 255))
    options = {} if kind == "GIF" else {"lossless": True}
    decoded = decode_carefully(encode(first, kind, save_all=True, append_images=[second], **options))
    assert np.array_equal(decoded, np.broadcast_to(np.array([255, 0, 0], np.uint8), (4, 6, 3)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied_where_it_is_asked_for(encode, kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn it by 90 degrees to view it"
    data = encode(np.zeros((3, 5, 3), np.uint8), kind, exif=exif)
    header = read_header(data)
    assert header.orientation == 6
    assert decode_carefully(data).shape == (3, 5, 3)
    assert decode_carefully(data, Rules("exif")).shape == (5, 3, 3)
    assert header.shown_size(Rules("exif")) == (3, 5)


def test_the_orientation_of_a_tiff_is_how_its_rows_are_stored(encode):
    data = encode(RED_BLUE, "TIFF", tiffinfo={274: 3})  # stored upside down: turned by 180 degrees
    assert np.array_equal(decode_carefully(data), RED_BLUE[:, ::-1])
    turned = encode(RED_BLUE, "TIFF", tiffinfo={274: 6})
    header = read_header(turned)
    assert decode_carefully(turned).shape == (header.height, header.width, 3) == (2, 1, 3)


def test_a_truncated_jpeg_passes_its_header_and_fails_when_decoded(broken_jpeg):
    assert read_header(broken_jpeg).is_plain
    with pytest.raises(DecodeFailure, match=r"image file is truncated \(\d+ bytes not processed\)"):
        decode_carefully(broken_jpeg)


def test_a_bomb_is_refused_by_its_header():
    # 33 bytes of header that claim 100,000 x 100,000 pixels; nothing of that size is ever allocated.
    bomb = png(100_000, 100_000, 8, 2, b"")
    with pytest.raises(DecodeFailure, match=r"exceeds limit of|at most 89,478,485 allowed"):
        read_header(bomb)


def test_the_limit_is_a_number_of_pixels():
    assert read_header(png(MAX_PIXELS // 5, 5, 8, 0, b"")).width == MAX_PIXELS // 5
    with pytest.raises(DecodeFailure, match="pixels"):
        read_header(png(MAX_PIXELS // 5 + 1, 5, 8, 0, b""))


def test_an_image_without_pixels_is_refused():
    with pytest.raises(DecodeFailure, match=r"0 x 5 pixels|not an image"):
        read_header(png(0, 5, 8, 2, b""))


def test_a_reason_is_the_same_each_time(broken_jpeg):
    def reason() -> str:
        with pytest.raises(DecodeFailure, match="truncated") as caught:
            decode_carefully(broken_jpeg)
        return str(caught.value)

    assert reason() == reason()
    assert "0x" not in reason()


SEEDS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF")


@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_files_are_decoded_or_refused_and_nothing_else(encode, pixels, kind):
    rng = np.random.default_rng(SEEDS.index(kind))
    whole = encode(pixels(1, 24, 31), kind)
    reasons = []
    for _ in range(80):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), rng.integers(1, 5)):
            data[at] = rng.integers(0, 256)
        damaged = bytes(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.5 else data)
        try:
            header = read_header(damaged)
            assert decode_carefully(damaged).shape == (header.height, header.width, 3)
        except DecodeFailure as error:
            reasons.append(str(error))
    assert len(reasons) > 10
    assert all(reason and "object at" not in reason for reason in reasons)


def test_reading_from_two_threads_leaves_the_warning_filters_as_they_were(encode, broken_jpeg):
    before = list(warnings.filters)
    data = encode(RED_BLUE, "TIFF")

    def read() -> None:
        for _ in range(150):
            read_header(data)
            decode_carefully(data)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
