import itertools

import pytest

from probe.errors import SplitError
from probe.splits import Draw, Range, drawn, parse_split

COUNTS = {"train": 97, "test": 10}
BOUNDS = ("", "0", "3", "50", "97", "-20", "-97", "0%", "10%", "33.3%", "50%", "99.9%", "100%", "-5%", "-100%")


def positions(spec: str) -> list[tuple[str, int]]:
    return [(t.base, at) for t in parse_split(spec, COUNTS) if isinstance(t, Range) for at in range(t.start, t.stop)]


@pytest.fixture(scope="module")
def tfds_positions():
    import tensorflow_datasets as tfds

    infos = {name: tfds.core.SplitInfo(name=name, shard_lengths=[n], num_bytes=0) for name, n in COUNTS.items()}

    def resolve(spec: str) -> list[tuple[str, int]]:
        found = []
        for part in tfds.core.ReadInstruction.from_spec(spec).to_absolute(infos):
            stop = COUNTS[part.splitname] if part.to is None else part.to
            found += [(part.splitname, at) for at in range(part.from_ or 0, stop)]
        return found

    return resolve


@pytest.mark.framework
def test_slices_select_what_tfds_selects(tfds_positions):
    compared = 0
    for low, high in itertools.product(BOUNDS, BOUNDS):
        spec = f"train[{low}:{high}]"
        try:
            expected = tfds_positions(spec)
        except ValueError:
            with pytest.raises(SplitError, match="split"):
                parse_split(spec, COUNTS)
            continue
        assert positions(spec) == expected, spec
        compared += 1
    assert compared > 200


@pytest.mark.framework
@pytest.mark.parametrize(
    "spec",
    ["train", "test", "train+test", "train[:80%]+test[5:]", "train[10%:20%] + train[50:70]", "train[90:50]+test[:1]"],
)
def test_sums_select_what_tfds_selects(spec, tfds_positions):
    assert positions(spec) == tfds_positions(spec)


@pytest.mark.framework
@pytest.mark.parametrize(
    "spec",
    [
        "",
        "train[",
        "train[]",
        "train[:]",
        "train[5]",
        "train[1:2:3]",
        "train[a:b]",
        "train[:98]",
        "train[-98:]",
        "train[:101%]",
        "nope",
        "train[1.5:]",
        "+train",
        "train[:2shard]",
    ],
)
def test_what_tfds_refuses_is_refused(spec, tfds_positions):
    # Shards are the exception: TFDS knows them, sets do not.
    if "shard" not in spec:
        with pytest.raises((ValueError, AttributeError)):
            tfds_positions(spec)
    with pytest.raises(SplitError, match="split"):
        parse_split(spec, COUNTS)


def test_an_unknown_base_split_names_the_nearest_and_all():
    with pytest.raises(SplitError, match=r"no base split 'trian'; did you mean 'train'\? known: test, train"):
        parse_split("trian[:5]", COUNTS)


def test_all_is_the_union_unless_a_base_split_is_called_all():
    assert parse_split("all", COUNTS) == (Range("test", 0, 10), Range("train", 0, 97))
    assert parse_split("all[:50%]", {"all": 9}) == (Range("all", 0, 4),)  # round(4.5) is 4, as in TFDS
    with pytest.raises(SplitError, match="no base split 'all'"):
        parse_split("all[:50%]", COUNTS)


def test_ranges_that_continue_each_other_are_one():
    assert parse_split("train[:50%]+train[50%:]", COUNTS) == parse_split("train", COUNTS)
    assert parse_split("train[:5]+train[6:9]", COUNTS) == (Range("train", 0, 5), Range("train", 6, 9))


def test_an_empty_slice_leaves_nothing():
    assert parse_split("train[90:50]", COUNTS) == ()


def test_a_drawn_part_is_read_back_as_it_is_written():
    assert drawn("all", 3, ":80%") == "all/draw3[:80%]"
    assert parse_split("train/draw3[:80%]", COUNTS) == (Draw("train", 3, 0.0, 80.0, keeps_classes=True),)
    assert parse_split("train/draw3[-20%:]", COUNTS) == (Draw("train", 3, 80.0, 100.0, keeps_classes=True),)
    with pytest.raises(SplitError, match=r"has two parts.*'train/seed3\[10%:20%\]' draws what lies between"):
        parse_split("train/draw3[10%:20%]", COUNTS)
    assert parse_split("train/seed3[:80%]", COUNTS) == (Draw("train", 3, 0.0, 80.0),)
    assert parse_split("train/seed3[-20%:]", COUNTS) == (Draw("train", 3, 80.0, 100.0),)
    assert parse_split("train/seed3", COUNTS) == (Draw("train", 3, 0.0, 100.0),)
    with pytest.raises(SplitError, match="takes percent"):
        parse_split("train/seed3[:80]", COUNTS)
