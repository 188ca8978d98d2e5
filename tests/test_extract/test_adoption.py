"""Rows of pools of other decoding rules are taken over where the rules make the same pixels, and nowhere else."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from extract import SplitJob, has_missing_rows, open_source, plan

pytestmark = pytest.mark.framework


def of_rules(toy, **changes):
    return replace(toy, preprocessing=replace(toy.preprocessing, **changes))


@pytest.fixture
def extract(lab):
    return functools.partial(lab.extract, has_canary=True)


@pytest.fixture
def folder(make_folder, encode, make_jpeg, pixels):
    """Five images that no rule touches, one of transparency, one that EXIF turns, one animation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encode(pixels(7), "JPEG", exif=exif)
    alpha = encode(np.dstack([pixels(8), np.full((10, 12), 99, np.uint8)]))
    frames = encode(Image.fromarray(pixels(9)), "GIF", save_all=True, append_images=[Image.fromarray(pixels(10))])
    files = {f"a/{n}.jpg": make_jpeg(n) for n in range(4)}
    files |= {"b/5.png": encode(pixels(5)), "b/6.png": alpha, "b/7.jpg": turned, "b/8.gif": frames}
    return make_folder(files)


def test_a_pool_of_rules_1_gives_the_rows_of_plain_images(extract, lab, folder, toy):
    source = open_source(f"folder:{folder}")
    old = extract(source, extractor=of_rules(toy, rules=1))
    new = extract(source, extractor=of_rules(toy, rules=2))
    # What may be transparent, and the first frame of what is no plain image. A turn that is not asked for touches none.
    assert (new.forward_passes, new.adopted) == (2, 6)
    before, after = old.feature_set, new.feature_set
    assert before.manifest["pool"] != after.manifest["pool"]
    plain = [at for at, name in enumerate(after.example_ids) if name not in ("b/6.png",)]
    assert np.array_equal(before.features[plain], after.features[plain])
    assert not np.array_equal(before.features[5], after.features[5])
    again = extract(source, extractor=of_rules(toy, rules=2))
    assert (again.status, again.adopted) == ("cached", 0)


def test_a_turn_that_is_asked_for_is_computed(extract, lab, folder, toy):
    source = open_source(f"folder:{folder}")
    stored = extract(source, extractor=of_rules(toy, orientation="stored"))
    shown = extract(source, extractor=of_rules(toy, orientation="exif"))
    assert (shown.forward_passes, shown.adopted) == (1, 7)
    # Means do not know what is up; a network does. What counts is that it was computed.
    assert shown.feature_set.manifest["pool"] != stored.feature_set.manifest["pool"]


def test_another_background_touches_what_is_transparent(extract, lab, folder, toy):
    source = open_source(f"folder:{folder}")
    extract(source, extractor=toy)
    black = extract(source, extractor=of_rules(toy, background="#000000"))
    assert (black.forward_passes, black.adopted) == (1, 7)


def test_another_size_or_network_gives_nothing(extract, lab, folder, toy):
    source = open_source(f"folder:{folder}")
    extract(source, extractor=of_rules(toy, rules=1))
    other = replace(of_rules(toy, rules=2), weights_sha256="1" * 64)
    assert extract(source, extractor=other).adopted == 0


def test_a_plan_and_a_first_look_know_of_it(extract, lab, make_folder, make_jpeg, toy):
    source = open_source(f"folder:{make_folder({f'a/{n}.jpg': make_jpeg(n) for n in range(3)})}")
    extract(source, extractor=of_rules(toy, rules=1))
    job = SplitJob(source=source, split="all", extractor=toy, store=lab.store, dataset="images")
    assert plan(job).missing == 0
    assert not has_missing_rows(job)


def test_nothing_is_opened_where_all_rows_are_there(extract, lab, make_folder, make_jpeg, toy):
    source = open_source(f"folder:{make_folder({f'a/{n}.jpg': make_jpeg(n) for n in range(3)})}")
    extract(source, extractor=of_rules(toy, rules=1))
    before = lab.opened
    done = extract(source, extractor=of_rules(toy, rules=2))
    assert (done.forward_passes, done.adopted, done.engine, lab.opened) == (0, 3, "", before)


def test_the_canary_comes_along_and_one_that_disagrees_gives_nothing(extract, lab, make_folder, make_jpeg, toy):
    files = {f"a/{n}.jpg": make_jpeg(n) for n in range(3)}
    source = open_source(f"folder:{make_folder(files)}")
    old = extract(source, extractor=of_rules(toy, rules=1)).feature_set.manifest["pool"]
    new = extract(source, extractor=of_rules(toy, rules=2)).feature_set.manifest["pool"]
    pools = lab.store.path / "pools"
    assert (pools / old / "canary.json").read_bytes() == (pools / new / "canary.json").read_bytes()
    (pools / old / "canary.json").unlink()
    assert extract(source, extractor=of_rules(toy, background="#000000", rules=3)).adopted == 3


def test_a_pool_without_a_canary_gives_nothing(extract, lab, make_folder, make_jpeg, toy):
    source = open_source(f"folder:{make_folder({f'a/{n}.jpg': make_jpeg(n) for n in range(3)})}")
    old = extract(source, extractor=of_rules(toy, rules=1)).feature_set.manifest["pool"]
    (lab.store.path / "pools" / old / "canary.json").unlink()
    assert extract(source, extractor=of_rules(toy, rules=2)).forward_passes == 3


def test_a_damaged_shard_gives_nothing_and_its_rows_are_computed(extract, lab, make_folder, make_jpeg, toy):
    source = open_source(f"folder:{make_folder({f'a/{n}.jpg': make_jpeg(n) for n in range(3)})}")
    old = extract(source, extractor=of_rules(toy, rules=1)).feature_set.manifest["pool"]
    (shard,) = (lab.store.path / "pools" / old / "shards").iterdir()
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))
    done = extract(source, extractor=of_rules(toy, rules=2))
    assert (done.forward_passes, done.adopted) == (3, 0)
