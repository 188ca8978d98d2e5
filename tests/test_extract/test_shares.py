"""Several who part a base split: who computes what, and who publishes."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from split_jobs import without_canary

import extract.shares
from extract import (
    BadData,
    Budget,
    Computed,
    Example,
    InvalidSetting,
    RunContext,
    Share,
    SplitJob,
    combine,
    compute,
    publish,
)
from extract.outcome import NOTHING
from extract.shares import WHOLE, numbered_examples
from extract.sources.folder import FolderSource

CONTEXT = RunContext(created="2026-11-24T01:02:03Z")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(extract.shares, "CHUNK", 4)


@dataclass
class Shares:
    """One base split, of which shares are computed one by one, as jobs of an array do."""

    lab: object
    source: object
    budget: Budget = field(default_factory=Budget)

    def compute(self, share, contributed=NOTHING):
        with without_canary():
            return compute(self.job(share), lambda: self.lab.engine, by_workers=contributed)

    def publish(self, share, done=None):
        return publish(self.job(share), done or NOTHING, CONTEXT)

    def job(self, share):
        lab = self.lab
        return SplitJob(
            source=self.source, split="all", extractor=lab.toy, store=lab.store, dataset="images", share=share,
            budget=self.budget,
        )  # fmt: skip


@pytest.fixture
def shares(lab, make_source, make_jpeg):
    """Returns a function: images (a number each), or bytes → their shares."""

    def make(images, count=-1, budget=None):
        data = [image if isinstance(image, bytes) else make_jpeg(image) for image in images]
        examples = [Example(f"{at:03d}.jpg", at % 2, item) for at, item in enumerate(data)]
        return Shares(lab, make_source(examples, count), budget or Budget())

    return make


@pytest.mark.parametrize("text", ["", "1", "/", "2/2", "-1/2", "1/0", "a/b", "0/2/4", " 0/2"])
def test_a_share_that_is_none_is_refused(text):
    with pytest.raises(InvalidSetting, match=r"I/N expected, I from 0 to N - 1, such as 0/4"):
        Share.parse(text)


def test_shares_part_the_candidates_and_parts_of_a_share_part_the_share():
    assert str(Share.parse("1/3")) == "1/3"
    for shares in ([Share(i, 3) for i in range(3)], [Share(1, 2), *(Share(0, 2).part(i, 3) for i in range(3))]):
        owners = [[number for number, share in enumerate(shares) if share.has_candidate(at)] for at in range(50)]
        assert {len(owner) for owner in owners} == {1}
        assert all(len({owners[at][0] for at in range(first, first + 4)}) == 1 for first in range(0, 48, 4))
        for total in (0, 1, 4, 5, 13, 50):
            counted = [share.candidates(total) for share in shares]
            assert counted == [sum(map(share.has_candidate, range(total))) for share in shares]
            assert [share.chunks(total) for share in shares] == [-(-count // 4) for count in counted]
    assert (WHOLE.is_whole, WHOLE.candidates(None), Share(1, 2).candidates(None)) == (True, None, None)


def test_a_folder_reads_no_image_of_another_share(make_folder, make_jpeg, monkeypatch):
    source = FolderSource(make_folder({f"a/{n:02d}.jpg": make_jpeg(n) for n in range(10)}))
    read = []
    monkeypatch.setattr(
        "extract.sources.places.open_image", lambda path, name, *rest, **more: read.append(name) or name
    )
    found = list(numbered_examples(source, "all", Share(1, 2).has_candidate))
    assert found == [(n, f"a/{n:02d}.jpg") for n in (4, 5, 6, 7)]
    assert len(read) == 4


@pytest.mark.framework
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_whoever_computes_the_last_row_publishes_and_the_set_is_the_serial_one(lab, shares, order):
    split = shares(range(30))
    for at, index in enumerate(order):
        share = Share(index, 3)
        done = split.compute(share)
        assert (done.candidates, done.forward_passes) == (share.candidates(30), share.candidates(30))
        published = split.publish(share, done)
        assert (published is None) == (at < 2)
    assert published.forward_passes == Share(order[-1], 3).candidates(30)
    assert published.reused == 30 - published.forward_passes
    assert lab.engine.images == 30
    serial = lab.extract(split.source)
    assert (serial.status, serial.forward_passes) == ("cached", 0)
    assert serial.feature_set.key == published.feature_set.key


@pytest.mark.framework
def test_one_who_finds_all_done_publishes_too_and_both_name_one_set(shares):
    split = shares(range(12))
    done = [split.compute(Share(index, 2)) for index in range(2)]
    keys = {split.publish(Share(index, 2), one).feature_set.key for index, one in enumerate(done)}
    assert len(keys) == 1


@pytest.mark.framework
def test_where_nobody_knows_how_many_there_are_reading_tells(shares):
    split = shares(range(11), count=None)
    assert split.publish(Share(0, 2), split.compute(Share(0, 2))) is None
    assert split.publish(Share(1, 2), split.compute(Share(1, 2))).feature_set.manifest["rows"] == 11


@pytest.mark.framework
def test_who_publishes_finds_the_broken_pictures_of_others(shares, broken_jpeg):
    split = shares([0, 1, broken_jpeg, 3, 4, 5, 6, 7], budget=Budget(1))
    assert split.publish(Share(0, 2), split.compute(Share(0, 2))) is None
    published = split.publish(Share(1, 2), split.compute(Share(1, 2)))
    assert published.feature_set.manifest["quarantined"] == 1
    assert published.feature_set.ledger()["status"].tolist().index("quarantined") == 2


@pytest.mark.framework
def test_the_budget_is_of_the_whole_and_may_be_spent_in_one_share(shares, broken_jpeg):
    other = broken_jpeg[:-1]
    # Two of eight are 25%, and half of their share.
    within = shares([broken_jpeg, other, 2, 3, 4, 5, 6, 7], budget=Budget.parse("25%"))
    assert within.compute(Share(0, 2)).bad == 2
    assert within.publish(Share(1, 2), within.compute(Share(1, 2))).feature_set.manifest["quarantined"] == 2


@pytest.mark.framework
def test_bad_images_of_two_shares_add_up_and_nothing_is_published(lab, shares, broken_jpeg):
    split = shares([broken_jpeg, 1, 2, 3, broken_jpeg[:-1], 5, 6, 7], budget=Budget(1))
    done = [split.compute(Share(index, 2)) for index in range(2)]
    with pytest.raises(BadData, match="2 of the 8 images read so far cannot be decoded"):
        split.publish(Share(1, 2), done[1])
    assert lab.store.catalog().empty


@pytest.mark.framework
def test_a_share_that_is_worse_than_the_whole_may_be_stops_early(lab, shares, broken_jpeg):
    split = shares([*range(4), *[broken_jpeg[: -1 - n] for n in range(4)], *range(8, 400)], budget=Budget(0))
    with pytest.raises(BadData, match="cannot be decoded"):
        split.compute(Share(1, 2))
    assert lab.engine.images < 50


@pytest.mark.framework
def test_an_image_that_stands_in_two_shares_counts_for_both_and_has_one_row(shares):
    split = shares([0, 1, 2, 3, 0, 1, 2, 3])
    done = [split.compute(Share(index, 2)) for index in range(2)]
    published = split.publish(Share(1, 2), combine(done))
    assert (published.forward_passes, published.reused) == (4, 4)
    assert np.array_equal(published.feature_set.features[:4], published.feature_set.features[4:])


@pytest.mark.framework
def test_what_workers_did_of_a_share_counts_once_and_is_not_done_again(lab, shares, broken_jpeg):
    split = shares([0, 1, broken_jpeg, 3, *range(4, 24)], budget=Budget(1))
    share = Share(0, 2)
    workers = combine([split.compute(share.part(number, 2)) for number in range(2)])
    done = split.compute(share, workers)
    assert (done.candidates, done.bad, done.forward_passes) == (12, 1, 11)
    assert lab.engine.images == 11
    assert done.decode_failures == workers.decode_failures


def test_contributions_add_up_and_the_first_that_ran_speaks_for_all():
    nothing = Computed()
    one = Computed(
        candidates=5, bad=1, forward_passes=4, seconds=2.0, engine="a", threads=1, decode_failures={b"x": "no"}
    )
    two = Computed(candidates=3, forward_passes=3, seconds=3.0, engine="b", threads=2, decode_failures={b"y": "nor"})
    both = combine([nothing, one, two])
    assert (both.candidates, both.bad, both.forward_passes, both.seconds) == (8, 1, 7, 5.0)
    assert (both.engine, both.threads, both.decode_failures) == ("a", 1, {b"x": "no", b"y": "nor"})
    assert combine([one, two], seconds=3.0).seconds == 3.0
    assert combine([]) == nothing
