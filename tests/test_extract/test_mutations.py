"""Files with some bytes wrong: pixels or a reason, and never a crash, a hang or the memory of the machine."""

import os
import resource

import numpy as np
import pytest
from PIL import Image

from extract.decoders import decode_apart, look_at
from extract.decoding import DecodeFailure
from extract.header import Rules

KINDS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF")
RULES = (Rules("exif"), Rules("stored", "#336699"))


def seeds(encode, pixels) -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 8
    rgb = pixels(1, 24, 31)
    rgba = np.dstack([rgb, rgb[..., 0]])
    found = [encode(rgb, kind) for kind in KINDS]
    found += [encode(rgba, kind) for kind in ("PNG", "WEBP", "TIFF")]
    found += [encode(rgb, kind, exif=exif) for kind in ("JPEG", "PNG", "WEBP")]
    found += [encode(Image.fromarray(rgb).convert(mode), "PNG") for mode in ("P", "1", "LA", "I;16")]
    found += [encode(Image.fromarray(rgb).convert("CMYK"), kind) for kind in ("JPEG", "TIFF")]
    return found


def mutated(rng: np.random.Generator, whole: bytes) -> bytes:
    data = bytearray(whole)
    for at in rng.integers(0, len(data), rng.integers(1, 6)):
        data[at] = rng.choice([0, 0xFF, rng.integers(0, 256)])
    if rng.random() < 0.25:
        begin, end = sorted(rng.integers(0, len(data), 2))
        data[begin:begin] = data[begin : min(end, begin + 64)]
    return bytes(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.25 else data)


def decode_mutations(count: int, seed: int, whole: list[bytes]) -> tuple[int, int]:
    rng = np.random.default_rng(seed)
    begun, decoded, reasons = [], 0, []
    for number in range(count):
        data, rules = mutated(rng, whole[number % len(whole)]), RULES[number % 2]
        begun.append((data, rules, decode_apart(data, rules)))
    for data, rules, future in begun:
        try:
            pixels = future.result()
        except DecodeFailure as error:
            reasons.append(str(error))
            continue
        width, height = look_at(data).shown_size(rules)
        assert (pixels.shape, pixels.dtype) == ((height, width, 3), np.uint8)
        decoded += 1
    assert all(reason and "object at" not in reason for reason in reasons)
    return decoded, len(reasons)


def check(count: int, seed: int, encode, pixels) -> None:
    decoded, refused = decode_mutations(count, seed, seeds(encode, pixels))
    assert decoded > count // 20
    assert refused > count // 20
    # Of this process, in KiB: what a file claims is allocated in another, if at all.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 8 << 20


@pytest.mark.heavy
def test_mutated_files_are_decoded_or_refused_and_nothing_else(encode, pixels):
    check(5_000, 0, encode, pixels)


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_many_mutated_files_are_decoded_or_refused_and_nothing_else(encode, pixels):
    for seed in range(1, 20):
        check(5_000, int(os.environ.get("LINPROBE_SEED", "0")) + seed, encode, pixels)
