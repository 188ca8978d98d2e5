"""Numbers and names in words."""

import math

import pytest

from reports.wording import confidence, number, percent, plain, points, shorten, visible


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Füchse 狐", "Füchse 狐"),
        ("a\nb\x07", r"a\nb\x07"),
        ("caf\udce9", r"caf\udce9"),
        ("\u202eevil", r"\u202eevil"),
        ("\uffff", r"\uffff"),
        (7, "7"),
    ],
)
def test_hidden_signs_become_visible(text, expected):
    assert visible(text) == expected


def test_shorten_keeps_both_ends():
    assert shorten("abcdefghij", 10) == "abcdefghij"
    assert shorten("abcdefghijk", 10) == "abcde…hijk"


def test_shares_have_the_digits_that_the_examples_support():
    assert (percent(0.96944, 360), percent(0.96944, 10_000), percent(math.nan), percent(None)) == (
        "96.9%", "96.94%", "–", "–",
    )  # fmt: skip
    assert (points(0.0556), points(-0.0556), points(math.nan)) == ("+5.6", "−5.6", "–")
    assert (number(0.123456), number(math.nan), number(2, 1)) == ("0.1235", "–", "2.0")


def test_only_certainty_is_worded_as_100_percent():
    assert [confidence(share) for share in (1.0, 0.999, 0.994, 0.5, math.nan)] == ["100%", ">99%", "99%", "50%", "–"]


def test_configuration_reads_as_one_would_write_it():
    value = {"epochs": 6, "learning_rate": 1e-3, "layers": [1, 2], "early": False, "note": None}
    assert plain(value) == "epochs = 6, learning_rate = 0.001, layers = 1, 2, early = no, note = –"
    assert (plain(60000), plain({}), plain("")) == ("60,000", "–", "–")
