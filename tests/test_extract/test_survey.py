import hashlib

import numpy as np
import pytest

from extract import BadData, Budget, Example
from extract.header import Rules
from extract.survey import Survey, set_key
from store import LEDGER_COLUMNS, OPTIONAL_LEDGER_COLUMNS


@pytest.fixture
def survey(make_source, store, toy):
    def begin(*examples: Example, decode_failures: dict[bytes, str] | None = None) -> Survey:
        return Survey(make_source(examples), "all", store.pool(toy.pool_key()), failures=decode_failures or {})

    return begin


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.mark.parametrize(("text", "expected"), [("0", Budget(0)), ("12", Budget(12)), ("5%", Budget(None, 0.05))])
def test_a_budget_is_a_number_or_a_share(text, expected):
    assert Budget.parse(text) == expected


@pytest.mark.parametrize("text", ["", "many", "-1", "1.5", "-1%", "101%", "%", "nan%", "1e3"])
def test_no_other_budget_is_taken(text):
    with pytest.raises(ValueError, match=r"a number of images \(12\) or a share \(0\.5%\) expected"):
        Budget.parse(text)


@pytest.mark.parametrize("percent", range(101))
def test_a_share_allows_exactly_its_share(percent):
    budget = Budget.parse(f"{percent}%")
    assert budget.allows(percent, 100)
    assert not budget.allows(percent + 1, 100)


def test_a_share_waits_for_the_total_and_a_number_does_not():
    assert Budget.parse("1%").allows(50, None)
    assert not Budget.parse("49").allows(50, None)


def test_each_content_is_passed_on_once(survey, make_jpeg):
    one, two = make_jpeg(1), make_jpeg(2)
    found = survey(Example("x", 0, one), Example("y", 1, one), Example("z", 0, two))
    assert [(p.ordinal, p.example.example_id, p.content) for p in found.missing()] == [
        (0, "x", sha(one)),
        (2, "z", sha(two)),
    ]
    assert (len(found.candidates), found.reused, found.bad) == (3, 1, 0)


def test_what_the_pool_has_is_not_passed_on(survey, store, toy, make_jpeg):
    store.pool(toy.pool_key()).add(np.ones((1, 4), np.float32), [sha(make_jpeg(1))])
    found = survey(Example("x", 0, make_jpeg(1)), Example("y", 0, make_jpeg(2)))
    assert [pending.example.example_id for pending in found.missing()] == ["y"]
    assert found.reused == 1


def test_known_decode_failures_are_not_tried_again(survey, broken_jpeg):
    found = survey(Example("x", 0, broken_jpeg), decode_failures={sha(broken_jpeg): "truncated"})
    assert list(found.missing()) == []
    assert found.bad == 1
    assert found.ledger(Rules())["reason"].tolist() == ["truncated"]


def test_a_refused_image_takes_its_equals_before_and_after_along(survey, broken_jpeg, make_jpeg):
    found = survey(
        Example("x", 0, broken_jpeg), Example("y", 0, broken_jpeg), Example("z", 0, make_jpeg(1)),
        Example("late", 0, broken_jpeg),
    )  # fmt: skip
    missing = found.missing()
    assert next(missing).example.example_id == "x"
    assert next(missing).example.example_id == "z"
    assert found.reused == 1  # y, until x turns out to be broken
    found.refuse(sha(broken_jpeg), "truncated")
    assert (found.bad, found.reused) == (2, 0)
    assert list(missing) == []
    assert (found.bad, found.reused) == (3, 0)
    assert found.ledger(Rules())["status"].tolist() == ["quarantined", "quarantined", "ok", "quarantined"]


def test_the_ledger_tells_what_each_image_is(survey, encode, make_jpeg):
    grey = np.full((3, 5, 1), 9, np.uint8)
    text, jpeg = b"no image", make_jpeg(1)
    found = survey(Example("a", 0, jpeg, "g"), Example("b", 1, text), Example("c", 0, grey))
    list(found.missing())
    ledger = found.ledger(Rules())
    assert tuple(ledger.columns) == LEDGER_COLUMNS + OPTIONAL_LEDGER_COLUMNS
    pixel_hash = hashlib.sha256(b"pixels uint8 3 5 1\n" + bytes([9] * 15)).hexdigest()
    assert list(ledger.itertuples(index=False, name=None)) == [
        ("a", 0, "g", "ok", "", sha(jpeg).hex(), "JPEG", "RGB", 12, 10, len(jpeg), 1, 1, "", ""),
        ("b", 1, "", "quarantined", "not an image of a known format", sha(text).hex(), "", "", 0, 0, 8, 1, 1, "", ""),
        ("c", 0, "", "ok", "", pixel_hash, "pixels", "L", 5, 3, 15, 1, 1, "", ""),
    ]


def test_pixels_of_another_shape_are_other_content():
    flat, square = Example("a", 0, np.zeros((1, 4, 1), np.uint8)), Example("a", 0, np.zeros((2, 2, 1), np.uint8))
    assert flat.content_sha256() != square.content_sha256()


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], r"list:images all: holds no example\."),
        ([("x", b"no"), ("y", b"nor")], r"none of its 2 images can be decoded \(not an image of a known format\)"),
    ],
)
def test_a_split_with_nothing_to_learn_from_is_bad_data(survey, make_source, store, toy, examples, message):
    listed = [Example(name, 0, data) for name, data in examples]
    found = survey(*listed)
    list(found.missing())
    with pytest.raises(BadData, match=message):
        set_key(found, make_source(listed), "all", pool=store.pool(toy.pool_key()))


def test_an_id_that_stands_twice_is_bad_data(survey, make_source, store, toy, make_jpeg):
    listed = [Example("x", 0, make_jpeg(1)), Example("x", 0, make_jpeg(2))]
    found = survey(*listed)
    list(found.missing())
    with pytest.raises(BadData, match="the example id 'x' is duplicated"):
        set_key(found, make_source(listed), "all", pool=store.pool(toy.pool_key()))
