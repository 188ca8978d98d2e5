"""Views: what is drawn, what the pipeline makes of it, and that nothing but image and number decides."""

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from extract import Example, InvalidSetting, Preprocessing, open_extractor
from extract.decoding import read_header
from extract.header import Header
from extract.pipeline import stream_batches
from extract.sources.example import Pending
from extract.views import draw_window
from store.extractor_names import split_view_name, view_name

PLAIN = Preprocessing(8, "0..255")


def contents(count: int) -> list[bytes]:
    return [hashlib.sha256(str(at).encode()).digest() for at in range(count)]


# What is drawn


def test_windows_stand_still():
    # A change here is a change of identity: raise VIEW_RULES, or every pool of views is mixed with other views.
    drawn = [draw_window(content, view, height=375, width=500) for content in contents(2) for view in (1, 2, 3)]
    assert [(w.top, w.left, w.height, w.width, w.is_flipped) for w in drawn] == [
        (60, 106, 313, 384, True), (11, 38, 326, 381, True), (35, 75, 312, 333, True),
        (27, 14, 326, 383, True), (53, 99, 321, 370, True), (13, 30, 334, 312, False),
    ]  # fmt: skip


@pytest.mark.parametrize(("height", "width"), [(300, 300), (375, 500), (500, 375)])
def test_windows_lie_inside_and_have_half_to_all_of_the_area_and_the_ratio_of_three_to_four(height, width):
    for content in contents(300):
        window = draw_window(content, 1, height=height, width=width)
        assert 0 <= window.top <= height - window.height
        assert 0 <= window.left <= width - window.width
        assert 0.495 <= window.height * window.width / (height * width) <= 1
        assert 0.74 <= window.width / window.height <= 1.35


def test_windows_are_spread_over_places_sizes_and_both_directions():
    drawn = [draw_window(content, 1, height=400, width=400) for content in contents(2000)]
    # A fair coin's 2,000 throws lie within 5 standard deviations, 112, of 1,000.
    assert abs(sum(window.is_flipped for window in drawn) - 1000) < 112
    room = [(w.top, 400 - w.height) for w in drawn if w.height < 400] + [
        (w.left, 400 - w.width) for w in drawn if w.width < 400
    ]
    assert np.mean([place / free for place, free in room]) == pytest.approx(0.5, abs=0.02)
    areas = [window.height * window.width / 160_000 for window in drawn]
    # Areas that do not fit at their ratio are drawn again, so the mean lies below that of 0.5 to 1.
    assert 0.6 < np.mean(areas) < 0.75
    assert np.quantile(areas, 0.98) > 0.9


def test_each_view_of_an_image_is_another_and_so_is_each_images():
    drawn = {draw_window(content, view, height=1000, width=1000) for content in contents(20) for view in range(1, 21)}
    assert len(drawn) == 400


def test_a_very_wide_or_high_image_gives_its_middle():
    # No window of half its area is as near a square as 4:3: 100 high, 133 wide, in the middle of 1,000.
    wide, high = draw_window(bytes(32), 1, height=100, width=1000), draw_window(bytes(32), 1, height=1000, width=100)
    assert (wide.top, wide.left, wide.height, wide.width) == (0, 433, 100, 133)
    assert (high.top, high.left, high.height, high.width) == (433, 0, 133, 100)


def test_the_smallest_image_is_its_own_window():
    window = draw_window(bytes(32), 3, height=1, width=1)
    assert (window.top, window.left, window.height, window.width) == (0, 0, 1, 1)


# What the pipeline makes of it


def pending(images, first=0):
    for at, data in enumerate(images):
        encoded = isinstance(data, bytes)
        header = read_header(data) if encoded else Header("pixels", "RGB", data.shape[1], data.shape[0])
        example = Example(f"{at}", 0, data)
        yield Pending(first + at, example, example.content_sha256(), header)


def seen(images, batch_size=4, **changes) -> dict[bytes, np.ndarray]:
    """Return content → image."""
    found = {}
    for batch in stream_batches(pending(images), replace(PLAIN, **changes), batch_size):
        found |= {one.content: image for one, image in zip(batch.pending, batch.images, strict=True)}
    return found


def encode(pixels, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    """An image of 40 by 60 whose red says the row, and whose green the column of each pixel."""
    rows, columns = np.mgrid[0:40, 0:60]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)


def expected(pixels, content, view, size=8) -> np.ndarray:
    """Return a view by hand: cut, turned over, and resized without antialias, corners at half pixels."""
    window = draw_window(content, view, height=len(pixels), width=pixels.shape[1])
    part = pixels[window.top : window.top + window.height, window.left : window.left + window.width].astype(float)
    part = part[:, ::-1] if window.is_flipped else part
    for axis in (0, 1):
        length = part.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape([-1 if axis == other else 1 for other in range(3)])
        part = np.take(part, low, axis) * (1 - share) + np.take(part, np.minimum(low + 1, length - 1), axis) * share
    return part


@pytest.mark.framework
@pytest.mark.parametrize("view", [1, 2, 3, 4])
def test_a_view_is_the_window_cut_out_turned_over_and_resized(places, view):
    # Fast path (PNG), careful path (TIFF; with alpha), raw pixels: each from its own bytes.
    alpha = np.dstack([places, np.full(places.shape[:2], 255, np.uint8)])
    images = [encode(places), encode(places, "TIFF"), encode(alpha), places]
    found = seen(images, view=view)
    assert len(found) == 4
    for content, image in found.items():
        assert np.allclose(image, expected(places, content, view), atol=1e-3)


def test_both_directions_are_among_the_views_that_were_compared(places):
    content = Example("", 0, encode(places)).content_sha256()
    assert {draw_window(content, view, height=40, width=60).is_flipped for view in (1, 2, 3, 4)} == {True, False}


@pytest.mark.framework
def test_what_only_the_careful_path_can_decode_shows_the_same_window(places):
    # A JPEG with garbage in front of its end: TensorFlow refuses it, Pillow reads it.
    data = encode(places, "JPEG", quality=95)
    broken = data[:-2] + b"\xff\xff\x00\x00"
    found = seen([broken, data], view=1)
    for content, image in found.items():
        assert np.abs(image - expected(places, content, 1)).max() < 12


@pytest.mark.framework
def test_batch_order_and_company_change_no_view(places):
    images = [encode(np.roll(places, at, axis=1)) for at in range(7)]
    alone = seen(images, batch_size=1, view=2)
    together = seen(images[::-1], batch_size=3, view=2)
    assert alone.keys() == together.keys()
    assert all(np.array_equal(alone[content], together[content]) for content in alone)


@pytest.mark.framework
def test_the_window_takes_the_place_of_the_presets_crop_and_the_rest_stays(places):
    data = encode(places)
    plain, cropped = (seen([data], view=1, crop=crop) for crop in ("none", "shorter:9"))
    rounded = seen([data], view=1, pixels="uint8")
    (image,), (same,), (whole,) = plain.values(), cropped.values(), rounded.values()
    assert np.array_equal(image, same)
    assert np.array_equal(whole, np.round(image).astype(np.uint8))
    (smooth,) = seen([data], view=1, antialias=True).values()
    assert not np.allclose(image, smooth, atol=1e-2)


@pytest.mark.framework
def test_view_0_is_the_image_itself(places):
    (image,) = seen([places], view=0).values()
    (plain,) = seen([places]).values()
    assert np.array_equal(image, plain)


# What it is called


def test_a_views_key_says_which_and_by_which_rules_and_a_plain_one_says_nothing():
    plain, view = PLAIN.document(), replace(PLAIN, view=3).document()
    assert {name: view[name] for name in view.keys() - plain.keys()} == {"view": 3, "view_rules": 1}
    assert {name: view[name] for name in plain} == plain


@pytest.mark.parametrize("view", [-1, 101])
def test_an_impossible_view_is_refused(view):
    with pytest.raises(InvalidSetting, match=rf"view {view}: 0 \(the image itself\) to 100 expected"):
        replace(PLAIN, view=view)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("mobilenet_v2@view1", ("mobilenet_v2", 1)),
        ("inception_v3@published@view12", ("inception_v3@published", 12)),
        ("mobilenet_v2", ("mobilenet_v2", 0)),
        ("mobilenet_v2@view", ("mobilenet_v2@view", 0)),
        ("mobilenet_v2@view0", ("mobilenet_v2@view0", 0)),
        ("mobilenet_v2@view-1", ("mobilenet_v2@view-1", 0)),
        ("@view1", ("@view1", 0)),
        ("savedmodel:/m@view1/net", ("savedmodel:/m@view1/net", 0)),
    ],
)
def test_names_of_views_are_read_as_they_are_written(name, parts):
    assert split_view_name(name) == parts
    if parts[1]:
        assert view_name(*parts) == name


def test_an_extractor_is_opened_as_a_view_by_its_name(caches):
    view, plain = open_extractor("pixels@view2", caches), open_extractor("pixels", caches)
    assert view == plain.view(2)
    assert (view.name, view.preprocessing.view) == ("pixels@view2", 2)
    assert view.view(0) == plain
    assert view.view(3) == plain.view(3)
    assert view.pool_key() != plain.pool_key()


@pytest.mark.framework
def test_views_lie_in_pools_of_their_own_and_cost_nothing_twice(lab, make_source, places):
    source = make_source([Example(f"{at}", at % 2, encode(np.roll(places, 5 * at, axis=1))) for at in range(6)])
    plain = lab.extract(source)
    first, second = (lab.extract(source, extractor=lab.toy.view(number)) for number in (1, 2))
    assert [done.forward_passes for done in (plain, first, second)] == [6, 6, 6]
    assert len({done.feature_set.manifest["pool"] for done in (plain, first, second)}) == 3
    assert lab.extract(source, extractor=lab.toy.view(1)).forward_passes == 0
    named = lab.store.get("images", "all", "toy@view1")
    assert named.key == first.feature_set.key
    assert np.array_equal(named.content_sha256, plain.feature_set.content_sha256)
    means = [
        expected(np.roll(places, 5 * at, axis=1), content.tobytes(), 1).mean(axis=(0, 1))
        for at, content in enumerate(named.content_sha256)
    ]
    assert np.allclose(named.features[:, :3], means, atol=1e-3)
