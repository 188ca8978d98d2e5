"""What the segments of a JPEG file and the chunks of a PNG file say, read without a decoder.

Only what pixels depend on is believed: a broken profile, comment or thumbnail decides nothing over an image, and is
never inflated.
"""

import struct
from collections.abc import Iterator

from extract.header import Header

__all__ = ["JPEG", "PNG", "jpeg_header", "jpeg_without_extras", "png_header", "png_without_extras"]

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"

_ORIENTATION = 0x0112
# Start of frame: all but DHT, JPG and DAC, which lie between.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Baseline, extended sequential and progressive: what every decoder reads.
_USUAL_FRAMES = (0xC0, 0xC1, 0xC2)
_SCAN, _END = 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
# JFIF's and Adobe's say how the colours are stored.
_JFIF, _EXIF, _ADOBE = 0xE0, 0xE1, 0xEE
_JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}

# Colour type and bits → Pillow's name.
_PNG_MODES = {
    (0, 1): "1", (0, 2): "L", (0, 4): "L", (0, 8): "L", (0, 16): "I;16", (2, 8): "RGB", (2, 16): "RGB", (3, 1): "P",
    (3, 2): "P", (3, 4): "P", (3, 8): "P", (4, 8): "LA", (4, 16): "LA", (6, 8): "RGBA", (6, 16): "RGBA",
}  # fmt: skip
_WITH_ALPHA = (4, 6)
_NEEDED_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def jpeg_header(data: bytes) -> Header:
    """Read the segments of a JPEG file up to its first scan.

    Raises:
        ValueError: there is no frame before it.
    """
    frame, orientation = None, 1
    for marker, payload, _, _ in _segments(data):
        if marker == _EXIF and payload.startswith(b"Exif\0") and orientation == 1:
            orientation = _orientation_of(payload[6:])
        elif marker in _FRAMES and frame is None and len(payload) >= 6:
            frame = marker, struct.unpack_from(">BHHB", payload)
    if frame is None:
        raise ValueError("a JPEG file without a frame")
    marker, (bits, height, width, channels) = frame
    mode = _JPEG_MODES.get(channels, "")
    is_usual = bool(mode) and marker in _USUAL_FRAMES
    return Header("JPEG", mode, width, height, bits=bits, orientation=orientation, is_usual=is_usual)


def jpeg_without_extras(data: bytes) -> bytes:
    """Return a JPEG file without comments, profiles and all else that its pixels do not depend on."""
    kept, at = [data[:2]], 2
    for marker, _, begin, end in _segments(data):
        if not 0xE0 <= marker <= 0xFE or marker in (_JFIF, _ADOBE):
            kept.append(data[begin:end])
        at = end
    return b"".join([*kept, data[at:]])


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """Yield marker, payload, begin and end of the segments before the first scan."""
    at = 2
    while True:
        begin = data.find(b"\xff", at)
        if begin < 0 or begin + 2 > len(data):
            return
        at = begin + 1
        while at < len(data) and data[at] == 0xFF:
            at += 1
        if at >= len(data):
            return
        marker, at = data[at], at + 1
        if marker == 0 or marker in _WITHOUT_LENGTH:
            continue
        if marker in (_SCAN, _END) or at + 2 > len(data):
            return
        end = at + max(2, int.from_bytes(data[at : at + 2], "big"))
        if end > len(data):
            return
        yield marker, data[at + 2 : end], begin, end
        at = end


def _orientation_of(tiff: bytes) -> int:
    """Return the orientation that an EXIF block states in its first directory; 1 where it is broken or states none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        if order is None:
            return 1
        at = struct.unpack_from(f"{order}I", tiff, 4)[0]
        for number in range(struct.unpack_from(f"{order}H", tiff, at)[0]):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * number)
            # A SHORT; some writers make it a LONG.
            if tag == _ORIENTATION and kind in (3, 4) and count == 1:
                if kind == 4:
                    value = struct.unpack_from(f"{order}I", tiff, at + 10 + 12 * number)[0]
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def png_header(data: bytes) -> Header:
    """Read the chunks of a PNG file.

    Raises:
        ValueError: there is no header.
    """
    stated, orientation, frames, is_transparent = None, 1, 1, False
    for kind, begin, end in _chunks(data):
        payload = data[begin + 8 : end - 4]
        if kind == b"IHDR" and stated is None and len(payload) == 13:
            stated = struct.unpack_from(">IIBB", payload)
        elif kind == b"tRNS":
            is_transparent = True
        elif kind == b"acTL" and len(payload) == 8:
            frames = max(1, int.from_bytes(payload[:4], "big"))
        elif kind == b"eXIf":
            orientation = _orientation_of(payload)
    if stated is None:
        raise ValueError("a PNG file without a header")
    width, height, bits, colour = stated
    mode = _PNG_MODES.get((colour, bits), "")
    return Header(
        "PNG",
        mode,
        width,
        height,
        bits=bits,
        orientation=orientation,
        frames=frames,
        has_transparency=is_transparent or colour in _WITH_ALPHA,
        is_usual=bool(mode),
    )


def png_without_extras(data: bytes) -> bytes:
    """Return a PNG file without the chunks that its pixels do not depend on."""
    kept = [data[begin:end] for kind, begin, end in _chunks(data) if kind in _NEEDED_CHUNKS]
    return b"".join([PNG, *kept])


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, begin and end of each chunk; the last may be cut off."""
    at = len(PNG)
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + size
        yield kind, at, min(end, len(data))
        if kind == b"IEND":
            return
        at = end
