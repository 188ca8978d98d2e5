"""What a person sees in a viewer is what goes in; the right pixels are worked out by hand, or are OpenCV's."""

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from extract.decoders import decode_apart, look_at
from extract.decoding import DecodeFailure, decode_carefully, read_header, turn
from extract.header import Header, Rules

DATA = Path(__file__).parent / "data"
WHITE, BLACK = Rules(), Rules(background="#000000")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, raw: bytes, extra: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def encoded(image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def over(rgba: np.ndarray, background: int) -> np.ndarray:
    """Composite by the definition, rounded to the nearest."""
    colour, alpha = rgba[..., :3].astype(float), rgba[..., 3:].astype(float) / 255
    return np.floor(colour * alpha + background * (1 - alpha) + 0.5).astype(np.uint8)


def random_pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


# Transparency


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("rules", "background"), [(WHITE, 255), (BLACK, 0)])
def test_alpha_is_composited_on_the_background(kind, rules, background):
    rgba = random_pixels(13, 17, 4)
    data = encoded(rgba, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    assert read_header(data).has_transparency
    found = decode_carefully(data, rules).astype(int)
    assert np.abs(found - over(rgba, background)).max() <= 0


def test_ink_in_the_alpha_channel_is_black_on_white():
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[2:4, 2:6, 3] = 255
    found = decode_carefully(encoded(rgba))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[2, 2].tolist() == [0, 0, 0]


def test_grey_with_alpha_is_composited():
    grey = np.array([[[9, 0], [200, 255], [100, 51]]], np.uint8)
    # 100 * 0.2 + 255 * 0.8 = 224
    assert decode_carefully(encoded(Image.fromarray(grey, "LA")))[0, :, 0].tolist() == [255, 200, 224]


def test_16_bit_colour_with_alpha_is_composited():
    values = b"".join(struct.pack(">4H", *pixel) for pixel in [(65535, 0, 0, 0), (65535, 0, 0, 65535)])
    found = decode_carefully(png(2, 1, 16, 6, b"\0" + values))
    assert found[0].tolist() == [[255, 255, 255], [255, 0, 0]]


def test_a_palette_with_transparent_entries_is_composited():
    palette = chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 100])) + chunk(b"tRNS", bytes([0, 255]))
    assert decode_carefully(png(2, 1, 8, 3, b"\0\0\1", palette))[0].tolist() == [[255, 255, 255], [0, 0, 100]]


@pytest.mark.parametrize(("depth", "raw", "key"), [(1, b"\0\x40", 1), (2, b"\0\x30", 3), (4, b"\0\x0f", 15)])
def test_a_grey_of_few_bits_that_is_transparent_is_composited(depth, raw, key):
    data = png(2, 1, depth, 0, raw, chunk(b"tRNS", struct.pack(">H", key)))
    header = read_header(data)
    assert header.has_transparency
    assert not header.is_plain
    # The first is black, the second white and transparent.
    assert decode_carefully(data, Rules(background="#ff0000"))[0].tolist() == [[0, 0, 0], [255, 0, 0]]


def test_a_grey_that_is_transparent_leaves_the_fast_path():
    data = png(2, 1, 8, 0, b"\0\x07\x09", chunk(b"tRNS", struct.pack(">H", 7)))
    assert not read_header(data).is_plain
    assert decode_carefully(data)[0].tolist() == [[255, 255, 255], [9, 9, 9]]


def test_a_colour_that_is_transparent_leaves_the_fast_path():
    data = png(2, 1, 8, 2, b"\0\1\2\3\4\5\6", chunk(b"tRNS", struct.pack(">3H", 1, 2, 3)))
    assert not read_header(data).is_plain
    assert decode_carefully(data)[0].tolist() == [[255, 255, 255], [4, 5, 6]]


def test_a_16_bit_grey_that_is_transparent_is_composited():
    data = png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 700, 65535), chunk(b"tRNS", struct.pack(">H", 700)))
    assert decode_carefully(data, BLACK)[0, :, 0].tolist() == [0, 255]
    assert decode_carefully(data, WHITE)[0, :, 0].tolist() == [255, 255]


def test_a_16_bit_colour_that_is_transparent_is_refused():
    data = png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 1, 2, 3), chunk(b"tRNS", struct.pack(">3H", 1, 2, 3)))
    with pytest.raises(DecodeFailure, match="16-bit colour of which one colour is transparent"):
        decode_carefully(data)


def test_a_transparent_gif_is_composited():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putdata([0, 1])
    data = encoded(image, "GIF", transparency=0)
    assert decode_carefully(data)[0].tolist() == [[255, 255, 255], [0, 255, 0]]


# Orientation


def block(orientation: int, order: str = "II", kind: int = 3) -> bytes:
    mark = "<" if order == "II" else ">"
    value = struct.pack(f"{mark}HH", orientation, 0) if kind == 3 else struct.pack(f"{mark}I", orientation)
    entry = struct.pack(f"{mark}HHI", 0x0112, kind, 1) + value
    return order.encode() + struct.pack(f"{mark}HI", 42, 8) + struct.pack(f"{mark}H", 1) + entry + b"\0\0\0\0"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_what_opencv_shows(orientation):
    pixels = np.kron(random_pixels(2, 3, 3), np.ones((16, 16, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(pixels, "JPEG", quality=100, subsampling=0, exif=exif)
    shown = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    found = decode_carefully(data, Rules("exif"))
    assert found.shape == shown.shape
    assert np.abs(found.astype(int) - shown).max() <= 3
    assert np.array_equal(turn(decode_carefully(data), orientation), found)


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("kind", [3, 4])
def test_an_orientation_is_read_in_both_byte_orders_as_short_or_long(order, kind):
    jpeg = encoded(random_pixels(8, 8, 3), "JPEG")
    payload = b"Exif\0\0" + block(6, order, kind)
    data = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]
    assert read_header(data).orientation == 6
    assert read_header(png(1, 1, 8, 0, b"\0\7", chunk(b"eXIf", block(6, order, kind)))).orientation == 6


@pytest.mark.parametrize(
    "payload", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0XX", b"Exif\0\0" + block(9)]
)
def test_a_broken_exif_block_states_nothing(payload):
    jpeg = encoded(random_pixels(8, 8, 3), "JPEG")
    data = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]
    header = read_header(data)
    assert header.is_plain
    assert header.orientation == 1
    assert np.array_equal(decode_carefully(data, Rules("exif")), decode_carefully(jpeg))


def test_a_heic_is_turned_as_its_container_says_whatever_the_orientation():
    pytest.importorskip("pi_heif")
    plain, turned = (DATA / "plain.heic").read_bytes(), (DATA / "turned.heic").read_bytes()
    upright = decode_carefully(plain)
    assert upright.shape == (48, 64, 3)
    corners = upright[[5, 5, -5, -5], [5, -5, 5, -5]].astype(int)
    assert np.abs(corners - [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]).max() <= 4
    for rules in (Rules("exif"), Rules("stored")):
        found = decode_carefully(turned, rules)
        assert np.abs(found.astype(int) - np.rot90(upright, -1)).max() <= 6
    header = read_header(turned)
    assert (header.format, header.width, header.height, header.orientation) == ("HEIF", 48, 64, 1)


def test_a_heic_without_its_package_says_which(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pi_heif", None)
    with pytest.raises(DecodeFailure, match=r"pi-heif: pip install 'linprobe\[heic\]'"):
        read_header((DATA / "plain.heic").read_bytes())


def test_a_stub_of_the_right_brand_is_refused():
    with pytest.raises(DecodeFailure):
        read_header(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + os.urandom(200))


# Numbers


def tiff(values: np.ndarray, photometric: int, bits: int, sample_format: int = 1) -> bytes:
    """Write one strip of grey, little endian, by the specification (TIFF 6.0)."""
    height, width = values.shape
    entries = [
        (256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8),
        (277, 3, 1), (278, 3, height), (279, 4, values.nbytes), (339, 3, sample_format),
    ]  # fmt: skip
    packed = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    directory = struct.pack("<H", len(entries)) + packed + b"\0\0\0\0"
    return b"II*\0" + struct.pack("<I", 8 + values.nbytes) + values.tobytes() + directory


@pytest.mark.parametrize(("photometric", "expected"), [(1, [0, 1, 128, 255]), (0, [255, 254, 127, 0])])
def test_16_bit_grey_is_scaled_in_either_photometric_order(photometric, expected):
    values = np.array([[0, 257, 32896, 65535]], "<u2")
    assert decode_carefully(tiff(values, photometric, 16))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(("photometric", "expected"), [(1, [0, 7, 255]), (0, [255, 248, 0])])
def test_8_bit_grey_is_turned_round_where_white_is_zero(photometric, expected):
    values = np.array([[0, 7, 255]], "u1")
    assert decode_carefully(tiff(values, photometric, 8))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("maximum", [255, 1023, 65535])
def test_a_pgm_is_scaled_from_the_range_that_it_states(maximum):
    values = np.array([[0, maximum // 2, maximum]])
    raw = values.astype(">u2" if maximum > 255 else "u1").tobytes()
    found = decode_carefully(f"P5 3 1 {maximum}\n".encode() + raw)
    assert np.abs(found[0, :, 0].astype(float) - values[0] * 255 / maximum).max() <= 0.51


@pytest.mark.parametrize(
    ("values", "bits", "sample_format"),
    [
        (np.array([[0.1, 0.5]], "<f4"), 32, 3),
        (np.array([[1, 2]], "<i4"), 32, 2),
        (np.array([[1, 2]], "<u4"), 32, 1),
        (np.array([[-1, 2]], "<i2"), 16, 2),
    ],
    ids=["float32", "int32", "uint32", "int16"],
)
def test_numbers_without_a_stated_range_are_refused_and_never_guessed(values, bits, sample_format):
    with pytest.raises(DecodeFailure, match=r"without a stated range|not an image of a known format"):
        decode_carefully(tiff(values, 1, bits, sample_format))


def test_16_bit_colour_is_what_opencv_reads():
    values = np.random.default_rng(1).integers(0, 65536, (5, 7, 3), np.uint16)
    _, data = cv2.imencode(".png", values[..., ::-1])
    header = read_header(data.tobytes())
    assert (header.bits, header.is_plain) == (16, False)
    found = decode_carefully(data.tobytes()).astype(int)
    assert np.abs(found - values / 257).max() <= 1


# What decides nothing over pixels


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"iCCP", b"broken\0\0" + os.urandom(20)),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * (1 << 27))),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"\0" * (1 << 27))),
        chunk(b"pHYs", b"\0"),
        struct.pack(">I", 4) + b"tEXtab\0c" + b"\0\0\0\0",
        chunk(b"gAMA", b"\0\0\0\0"),
        chunk(b"eXIf", os.urandom(9)),
    ],
    ids=["profile", "bomb of text", "bomb of international text", "size", "checksum", "gamma", "exif"],
)
def test_an_ancillary_chunk_of_a_png_decides_nothing(extra):
    # A palette, so that the careful path is taken.
    palette = chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 100]))
    assert decode_carefully(png(2, 1, 8, 3, b"\0\0\1", extra + palette))[0].tolist() == [[255, 0, 0], [0, 0, 100]]
    assert read_header(png(2, 1, 8, 2, b"\0\1\2\3\4\5\6", extra)).is_plain


@pytest.mark.parametrize("marker", [0xE1, 0xE2, 0xED, 0xFE])
def test_a_broken_segment_of_a_jpeg_decides_nothing(marker):
    jpeg = encoded(random_pixels(16, 16, 3), "JPEG")
    heads = (b"Exif\0\0", b"MPF\0II*\0\xff\xff\xff\xff", b"ICC_PROFILE\0\1\1", b"Photoshop 3.0\x008BIM\xff\xff")
    for head in heads:
        payload = head + os.urandom(30)
        data = jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]
        header = read_header(data)
        assert (header.format, header.is_plain) == ("JPEG", True)
        assert np.array_equal(decode_carefully(data), decode_carefully(jpeg))


# What is not read


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"8BPS\0\1", "Photoshop"), (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"), (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"\xff\x0a\0\0", "JPEG XL"), (b"v/1\x01", "OpenEXR"), (b"FUJIFILMCCD-RAW ", "raw"), (b"IIRO\x08", "raw"),
        (b"II*\0\x10\0\0\0CR\x02\0", "raw"), (b"\0\0\0\x18ftypcrx ", "raw"), (b"#?RADIANCE\n", "Radiance"),
    ],
)  # fmt: skip
def test_a_format_that_is_not_read_is_named(head, what):
    with pytest.raises(DecodeFailure, match=rf"{what}.*which is not read here; convert it to PNG"):
        read_header(head + b"\0" * 600)


def test_the_thumbnail_of_a_camera_is_not_taken_for_its_image():
    values = np.zeros((4, 4), "u1")
    entries = [
        (254, 4, 1), (256, 3, 4), (257, 3, 4), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
        (278, 3, 4), (279, 4, 16), (330, 4, 8),
    ]  # fmt: skip
    packed = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    data = b"II*\0" + struct.pack("<I", 24) + values.tobytes() + struct.pack("<H", len(entries)) + packed + b"\0" * 4
    with pytest.raises(DecodeFailure, match="a camera's raw file"):
        read_header(data)


# Processes


def test_a_decoder_that_dies_costs_one_image(monkeypatch):
    data = encoded(random_pixels(4, 5, 3), "BMP")
    assert np.array_equal(decode_apart(data, WHITE).result(), decode_carefully(data))
    # A file of which decoding needs more memory than is allowed dies as any other.
    monkeypatch.setattr("extract.decoders._START", "import os; os.abort()  # {path} {file}")
    monkeypatch.setattr("extract.decoders._Decoders._shared", None)
    with pytest.raises(DecodeFailure, match="the decoder died of it"):
        look_at(data)
    monkeypatch.undo()
    monkeypatch.setattr("extract.decoders._Decoders._shared", None)
    assert look_at(data) == Header("BMP", "RGB", 5, 4)


def test_a_decoder_that_hangs_is_stopped(monkeypatch):
    hang = (
        "import sys; sys.path[:] = {path!r}; import extract.decoder_process as d; d.SECONDS = 0.2\n"
        "d.read_header = lambda data: [0 for _ in iter(int, 1)]\n"
        "d.main({file})"
    )
    monkeypatch.setattr("extract.decoders._START", hang)
    monkeypatch.setattr("extract.decoders._Decoders._shared", None)
    with pytest.raises(DecodeFailure, match="takes more than 60 s of processor time"):
        look_at(encoded(random_pixels(4, 5, 3), "BMP"))


def test_a_decoder_that_needs_too_much_memory_is_stopped(monkeypatch):
    greedy = (
        "import sys; sys.path[:] = {path!r}; import extract.decoder_process as d\n"
        "d.read_header = lambda data: bytearray(8 << 30)\n"
        "d.main({file})"
    )
    monkeypatch.setattr("extract.decoders._START", greedy)
    monkeypatch.setattr("extract.decoders._Decoders._shared", None)
    with pytest.raises(DecodeFailure, match="more than 4 GiB of memory"):
        look_at(encoded(random_pixels(4, 5, 3), "BMP"))
