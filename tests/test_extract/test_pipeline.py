import gc
import io
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from extract import Example, Preprocessing
from extract.decoding import decode_carefully, needs_look, read_header
from extract.header import Header, Rules
from extract.pipeline import Batch, stream_batches
from extract.pixels import decode_plain
from extract.sources.example import Pending

pytestmark = pytest.mark.framework

SIZE = Preprocessing(8, "0..1")


def feed(images: Sequence[bytes | np.ndarray]) -> Iterator[Pending]:
    """Ordinals are 0, 3, 6, …: between two images that lack there may be some that do not."""
    for at, data in enumerate(images):
        header = read_header(data) if isinstance(data, bytes) else Header("pixels", "RGB", 1, 1)
        yield Pending(at * 3, Example(f"{at}", 0, data), bytes([at % 256]) * 32, header)


def collect(images: Sequence[bytes | np.ndarray], batch_size: int = 4, preprocessing=SIZE) -> list[Batch]:
    return list(stream_batches(feed(images), preprocessing, batch_size))


def flat(pixel: int) -> np.ndarray:
    """An image of one grey: its row in any size is that grey everywhere."""
    return np.full((10, 12, 3), pixel, np.uint8)


@pytest.fixture
def greys(encode):
    """Twenty PNGs; image n is all of grey 10 n."""
    return [encode(flat(10 * at)) for at in range(20)]


def rows(batches: list[Batch]) -> dict[int, int]:
    """Return ordinal → the one grey of its image."""
    found = {}
    for batch in batches:
        assert len(batch.pending) == len(batch.images)
        assert batch.images.shape[1:] == (8, 8, 3)
        assert batch.images.dtype == np.float32
        for pending, image in zip(batch.pending, batch.images, strict=True):
            assert np.ptp(image) < 1e-3
            found[pending.ordinal] = round(float(image[0, 0, 0]))
    return found


def test_images_come_in_order_in_batches_of_the_asked_size(greys):
    batches = collect(greys[:10])
    assert [len(batch.images) for batch in batches] == [4, 4, 2]
    assert rows(batches) == {3 * at: 10 * at for at in range(10)}
    assert [p.ordinal for batch in batches for p in batch.pending] == [3 * at for at in range(10)]


def test_no_image_makes_no_batch():
    assert collect([]) == []


@pytest.mark.parametrize(
    "broken",
    [(0,), (19,), (7,), (3, 4), (4, 5, 6, 7), (0, 1, 2, 3, 16, 17, 18, 19), tuple(range(19)), tuple(range(1, 20))],
    ids=["first", "last", "middle", "over a border", "a whole batch", "both ends", "all but last", "all but first"],
)
def test_broken_pictures_cost_nobody_else_a_row(greys, broken_jpeg, broken):
    images = [broken_jpeg if at in broken else image for at, image in enumerate(greys)]
    batches = collect(images)
    assert rows(batches) == {3 * at: 10 * at for at in range(20) if at not in broken}
    failed = [pending.ordinal for batch in batches for pending, _ in batch.failed]
    assert failed == [3 * at for at in broken]


def test_all_broken_gives_reasons_and_no_row(broken_jpeg):
    batches = collect([broken_jpeg] * 9)
    assert rows(batches) == {}
    assert len([reason for batch in batches for _, reason in batch.failed if "truncated" in reason]) == 9


def test_a_long_run_of_broken_pictures_is_told_before_its_end(broken_jpeg, greys):
    read = []

    def images() -> Iterator[Pending]:
        for pending in feed([*greys[:3], *[broken_jpeg] * 2000, *greys[3:6]]):
            read.append(pending.ordinal)
            yield pending

    stream = stream_batches(images(), SIZE, 4)
    first = next(stream)
    assert len(read) < 1500
    batches = [first, *stream]
    # The blanks that flushed the pipeline are nobody's rows.
    assert rows(batches) == {0: 0, 3: 10, 6: 20, 6009: 30, 6012: 40, 6015: 50}
    failed = [pending.ordinal for batch in batches for pending, _ in batch.failed]
    assert failed == [3 * at for at in range(3, 2003)]
    assert max(len(batch.failed) for batch in batches) < 1500


def test_a_broken_image_of_the_careful_path_is_failed_too(greys, encode):
    gif = encode(Image.fromarray(flat(70)), "GIF")
    noise = encode(Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)), "GIF")
    batches = collect([greys[0], noise[: len(noise) // 2], greys[1], gif])
    assert rows(batches) == {0: 0, 6: 10, 9: 70}
    assert [pending.ordinal for batch in batches for pending, _ in batch.failed] == [3]


def test_an_error_of_the_source_reaches_the_consumer_as_it_is(greys):
    def images() -> Iterator[Pending]:
        yield from feed(greys[:6])
        raise OSError("the disk is gone")

    stream = stream_batches(images(), SIZE, 4)
    assert rows([next(stream)]) == {0: 0, 3: 10, 6: 20, 9: 30}
    with pytest.raises(OSError, match=r"^the disk is gone$"):
        list(stream)


def test_an_error_at_the_very_first_image_reaches_the_consumer():
    def images() -> Iterator[Pending]:
        raise OSError("no first image")
        yield

    with pytest.raises(OSError, match=r"^no first image$"):
        list(stream_batches(images(), SIZE, 4))


@pytest.mark.timeout(60)
def test_a_consumer_may_leave_early(greys):
    read = []

    def images() -> Iterator[Pending]:
        for pending in feed(greys * 50):
            read.append(pending.ordinal)
            yield pending

    threads = threading.active_count()
    stream = stream_batches(images(), SIZE, 4)
    next(stream)
    stream.close()
    del stream
    gc.collect()
    time.sleep(0.2)
    so_far = len(read)
    time.sleep(0.2)
    assert len(read) == so_far < 1000
    assert threading.active_count() <= threads + 1


def test_each_kind_of_file_gives_its_pixels(encode):
    red = np.broadcast_to(np.array([200, 30, 90], np.uint8), (9, 9, 3))
    image = Image.fromarray(red)
    images = [
        encode(image), encode(image.convert("RGBA")), encode(image, "BMP"), encode(image, "TIFF"), encode(image, "PPM"),
        encode(image, "WEBP", lossless=True), np.ascontiguousarray(red),
    ]  # fmt: skip
    batches = collect(images)
    images = np.concatenate([batch.images for batch in batches])
    assert np.allclose(images, np.broadcast_to(red[0, 0], (7, 8, 8, 3)), atol=1e-3)


def test_grey_pixels_are_spread_over_three_channels():
    (batch,) = collect([np.full((8, 8, 1), 77, np.uint8)])
    assert np.array_equal(batch.images, np.full((1, 8, 8, 3), 77))


def test_jpeg_is_decoded_exactly_and_not_fast(encode, pixels):
    # Pillow's libjpeg with the accurate transform; TensorFlow's own must give the same pixels.
    data = encode(pixels(5, 16, 16), "JPEG", quality=90)
    (batch,) = collect([data], preprocessing=Preprocessing(16, "0..1"))
    assert np.abs(batch.images[0] - np.asarray(Image.open(io.BytesIO(data)))).max() <= 1


def test_resizing_is_bilinear_without_antialias_at_half_pixels():
    # 4 -> 2 columns: column 0 lies between source columns 0 and 1, column 1 between 2 and 3.
    grey = np.array([[0, 10, 100, 200]] * 4, np.uint8)[..., np.newaxis]
    (batch,) = collect([grey], preprocessing=Preprocessing(2, "0..1"))
    assert batch.images[0, :, :, 0].tolist() == [[5, 150], [5, 150]]


def test_pixels_are_not_rounded_unless_that_is_asked_for():
    # 2 -> 3 columns of 0 and 1: the middle is 0.5; rounded to the even 0.
    grey = np.array([[0, 1]] * 2, np.uint8)[..., np.newaxis]
    (exact,) = collect([grey], preprocessing=Preprocessing(3, "0..1"))
    (rounded,) = collect([grey], preprocessing=Preprocessing(3, "0..1", pixels="uint8"))
    assert (exact.images.dtype, rounded.images.dtype) == (np.float32, np.uint8)
    assert exact.images[0, 0, :, 0].tolist() == [0, 0.5, 1]
    assert rounded.images[0, 0, :, 0].tolist() == [0, 0, 1]


def test_rescued_and_failed_images_keep_the_pixel_type(broken_jpeg, greys):
    batches = collect([broken_jpeg, greys[3]], preprocessing=Preprocessing(8, "0..1", pixels="uint8"))
    assert {batch.images.dtype for batch in batches} == {np.dtype(np.uint8)}
    (only,) = collect([broken_jpeg], preprocessing=Preprocessing(8, "0..1", pixels="uint8"))
    assert (only.images.shape, only.images.dtype) == ((0, 8, 8, 3), np.uint8)


def test_the_aspect_is_not_kept():
    wide = np.zeros((4, 400, 3), np.uint8)
    wide[:, 200:] = 255
    (batch,) = collect([wide])
    assert batch.images[0, :, :4].max() == 0
    assert batch.images[0, :, 4:].min() == 255


def test_antialias_averages_over_all_pixels():
    # 64 -> 2 columns: without antialias, columns 15 and 16 alone make the first, 47 and 48 the second.
    grey = np.zeros((64, 64, 1), np.uint8)
    grey[:, [15, 16, 47, 48]] = 255
    (sampled,) = collect([grey], preprocessing=Preprocessing(2, "0..1"))
    (averaged,) = collect([grey], preprocessing=Preprocessing(2, "0..1", antialias=True))
    assert sampled.images.min() == 255
    assert 0 < averaged.images.min() <= averaged.images.max() < 30


def test_what_only_the_careful_path_can_decode_takes_its_place_among_the_others(greys, encode):
    # A TIFF that claims to be a PNG: TensorFlow fails at it, Pillow does not.
    tiff = encode(Image.fromarray(flat(111)), "TIFF")
    images = list(feed([*greys[:5], tiff, *greys[6:10]]))
    images[5] = replace(images[5], header=Header("PNG", "RGB", 12, 10))
    batches = list(stream_batches(iter(images), SIZE, 4))
    assert rows(batches) == {3 * at: 111 if at == 5 else 10 * at for at in range(10)}
    assert [batch.failed for batch in batches] == [[]] * len(batches)


def test_blanks_are_not_taken_for_as_many_rescued_images(broken_jpeg, encode):
    # 288 images without a batch bring a batch of four blanks; with it come the four that were rescued.
    tiff = encode(Image.fromarray(flat(111)), "TIFF")
    images = list(feed([*[broken_jpeg] * 284, *[tiff] * 4, *[broken_jpeg] * 40]))
    for at in range(284, 288):
        images[at] = replace(images[at], header=Header("PNG", "RGB", 12, 10))
    batches = list(stream_batches(iter(images), SIZE, 4))
    assert rows(batches) == {3 * at: 111 for at in range(284, 288)}
    assert sum(len(batch.failed) for batch in batches) == 324


def test_an_image_gives_the_same_pixels_in_any_company(greys, encode, pixels, broken_jpeg):
    jpeg, gif = encode(pixels(3), "JPEG"), encode(Image.fromarray(pixels(4)), "GIF")
    (alone,) = collect([jpeg, gif])
    crowd = collect([*greys[:5], jpeg, broken_jpeg, *greys[5:9], gif], batch_size=3)
    images = {p.example.data: image for batch in crowd for p, image in zip(batch.pending, batch.images, strict=True)}
    assert np.array_equal(images[jpeg], alone.images[0])
    assert np.array_equal(images[gif], alone.images[1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_fast_path_turns_images_as_the_careful_one_does(encode, pixels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(pixels(3, 16, 24), "PNG", exif=exif)
    shown = decode_carefully(data, Rules("exif"))
    (batch,) = collect([data, shown], preprocessing=Preprocessing(8, "0..1", orientation="exif"))
    assert np.array_equal(batch.images[0], batch.images[1])
    (stored,) = collect([data], preprocessing=Preprocessing(8, "0..1", orientation="stored"))
    assert np.array_equal(stored.images[0], collect([encode(pixels(3, 16, 24))])[0].images[0])


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 90, "subsampling": 0}), ("JPEG", "RGB", {"quality": 75, "subsampling": 2}),
        ("JPEG", "RGB", {"quality": 60, "subsampling": 1}), ("JPEG", "RGB", {"progressive": True}), ("JPEG", "L", {}),
        ("PNG", "RGB", {}), ("PNG", "L", {}),
    ],
)  # fmt: skip
def test_the_two_decoders_agree_where_both_read(encode, kind, mode, options):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (9, 13, 3), np.uint8)).resize((61, 43), Image.Resampling.BICUBIC)
    data = encode(image.convert(mode), kind, **options)
    assert np.array_equal(decode_plain(data, read_header(data)), decode_carefully(data))


def test_images_that_are_decoded_apart_keep_their_places_among_plain_ones(encode):
    kinds = ("PNG", "BMP", "GIF", "PNG", "TIFF", "WEBP")
    options = {"WEBP": {"lossless": True}}
    data = [encode(flat(5 * at), kinds[at % len(kinds)], **options.get(kinds[at % len(kinds)], {})) for at in range(50)]
    plain = [one for one in data if not needs_look(one)]
    assert 0 < len(plain) < len(data)
    assert rows(collect(data, batch_size=7)) == {3 * at: 5 * at for at in range(50)}


def test_a_broken_image_costs_its_neighbours_no_number(encode, broken_jpeg, pixels):
    whole = [encode(pixels(at, 30, 40), "JPEG") for at in range(23)]
    expected = np.concatenate([batch.images for batch in collect(whole, batch_size=8)])
    mixed = [*whole[:5], broken_jpeg, *whole[5:17], broken_jpeg, *whole[17:]]
    batches = collect(mixed, batch_size=8)
    assert max(len(batch.pending) for batch in batches) <= 8
    assert np.array_equal(np.concatenate([batch.images for batch in batches]), expected)
    assert [image.ordinal for batch in batches for image, _ in batch.failed] == [15, 54]
