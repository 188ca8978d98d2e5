"""What the perceptual hash joins and finds, on real images: the demo's stamps and their copies; and what it costs.

    python -m benchmarks.near_duplicates [--images FOLDER] [--count 100000]

Different images that are joined are wrong, copies that are not found are missed; both stand for each distance, so that
the threshold (`probe.near_duplicates.MOST_BITS`) can be held against them. Every two stamps count as different, though
some packages hold a picture twice: the first rate is an upper bound. Then the time of a hash beside TensorFlow's decode
and resize of the same JPEG, and of matching so many random hashes.
"""

import argparse
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from extract.fingerprints import fingerprint
from extract.sources.example import Known
from probe.near_duplicates import MOST_BITS, near_pairs

__all__ = ["main"]

_STAMPS = Path("/usr/share/tuxpaint/stamps")
_DISTANCES = (4, 8, 12, MOST_BITS, 24, 32, 48)


def _encoded(image: Image.Image, form: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _thumbnail(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((160, 160))
    return small


_COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG, quality 85": lambda image: _encoded(image, "JPEG", quality=85),
    "JPEG, quality 30": lambda image: _encoded(image, "JPEG", quality=30),
    "WebP, quality 50": lambda image: _encoded(image, "WEBP", quality=50),
    "half the size": lambda image: _encoded(image.resize((image.width // 2, image.height // 2)), "PNG"),
    "thumbnail of 160 px, JPEG, quality 60": lambda image: _encoded(_thumbnail(image), "JPEG", quality=60),
    "grey": lambda image: _encoded(image.convert("L"), "PNG"),
    "2% cut off at each side": lambda image: _encoded(
        image.crop((image.width // 50, image.height // 50, image.width * 49 // 50, image.height * 49 // 50)), "PNG"
    ),
}


def _images(folder: Path) -> Iterator[Image.Image]:
    for path in sorted(folder.rglob("*.png")):
        # Drawings and symbols are often alike; these are photographs.
        if not {"cartoon", "symbols"} & set(path.parts):
            image = Image.open(path).convert("RGBA")
            yield Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _hash(data: bytes) -> bytes | None:
    header = Known.of_file(data).header
    return fingerprint(data, header) if header else None


def _bits(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.bitwise_count(one ^ other).sum(axis=-1, dtype=np.int64)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what near duplicates are found, and at what price.")
    parser.add_argument("--images", type=Path, default=_STAMPS, help="a folder of PNG files")
    parser.add_argument("--count", type=int, default=100_000)
    arguments = parser.parse_args()
    images = list(_images(arguments.images))
    pairs = [(image, hashed) for image in images if (hashed := _hash(_encoded(image, "PNG"))) is not None]
    known = np.frombuffer(b"".join(hashed for _, hashed in pairs), np.uint8).reshape(-1, 32)
    print(f"{len(images)} images, {len(pairs)} with a hash; share at most so many bits apart:")
    print(f"{'':40}" + "".join(f"{bits:>9}" for bits in _DISTANCES))
    apart = _bits(known[:, None], known[None])[np.triu_indices(len(known), 1)]
    print(f"{'different images, of ' + f'{len(apart):,} pairs':40}" + _shares(apart, 4))
    for name, copy in _COPIES.items():
        # A copy below 64 pixels has no hash by rule.
        large = [(at, image) for at, (image, _) in enumerate(pairs) if "half" not in name or min(image.size) >= 128]
        hashes = [(at, _hash(copy(image))) for at, image in large]
        distances = [int(_bits(known[at], np.frombuffer(h, np.uint8))) for at, h in hashes if h is not None]
        missing = np.full(len(hashes) - len(distances), 256)
        print(f"{name:40}" + _shares(np.concatenate([distances, missing]), 1))
    photograph = _encoded(images[0].resize((500, 375)), "JPEG", quality=90)
    print(f"a hash of a JPEG of 500 x 375: {1e3 * _seconds(lambda: _hash(photograph)):.2f} ms, "
          f"TensorFlow's decode and resize {1e3 * _decoding(photograph):.2f} ms of processor time")  # fmt: skip
    some = np.random.default_rng(0).integers(0, 256, (arguments.count, 32), dtype=np.uint8)
    began = time.perf_counter()
    near_pairs(some, some)
    print(f"matching {arguments.count:,} hashes with each other: {time.perf_counter() - began:.1f} s")


def _shares(bits: np.ndarray, digits: int) -> str:
    return "".join(f"{100 * float((bits <= most).mean()):8.{digits}f}%" for most in _DISTANCES)


def _seconds(function: Callable[[], object], rounds: int = 200) -> float:
    function()
    began = time.process_time()
    for _ in range(rounds):
        function()
    return (time.process_time() - began) / rounds


def _decoding(data: bytes) -> float:
    import tensorflow as tf

    def decode() -> object:
        return tf.image.resize(tf.io.decode_jpeg(data, channels=3), (224, 224))

    return _seconds(decode)


if __name__ == "__main__":
    main()
