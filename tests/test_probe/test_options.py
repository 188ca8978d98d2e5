from typing import Annotated

import pytest
from pydantic import Field

from probe import HEADS, HeadNotFound, OptionError, default_options
from probe.heads.options import Grid, HeadOptions, Number
from probe.heads.registry import resolve_options


def test_the_heads_and_their_defaults():
    assert HEADS == ("dense", "logistic", "ridge", "knn")
    assert default_options("dense") == {
        "batch_size": 32, "dropout": 0.0, "epochs": 6, "hidden": 0, "learning_rate": 1e-3, "patience": 0, "rule": "best",
        "scaling": "none", "weight_decay": 0.0,
    }  # fmt: skip
    assert default_options("logistic") == {"keep_c": False, "rule": "best_nll", "scaling": "zscore"}
    assert default_options("ridge") == {"rule": "best", "scaling": "zscore"}
    assert default_options("knn") == {
        "k": (1, 5, 10, 20, 100), "rule": "best", "scaling": "none", "temperature": 0.07, "weights": "softmax"
    }  # fmt: skip


def test_an_unknown_head_names_the_nearest():
    with pytest.raises(
        HeadNotFound, match=r"head 'logistics': did you mean 'logistic'\? known: dense, knn, logistic, ridge"
    ):
        default_options("logistics")


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(OptionError, match=r"dense: no option 'epoch'; did you mean 'epochs'\?"):
        resolve_options("dense", {"epoch": 3})


@pytest.mark.parametrize(
    ("head", "given", "said"),
    [
        ("dense", {"epochs": 2.5}, "epochs = 2.5: int expected"),
        ("dense", {"epochs": True}, "epochs = True: int expected"),
        ("dense", {"epochs": 0}, "a number above 0 expected"),
        ("dense", {"learning_rate": float("nan")}, "a number above 0 expected"),
        ("dense", {"learning_rate": "fast"}, "float, a list of them or 'grid' expected"),
        ("logistic", {"keep_c": 1}, "bool expected"),
        ("logistic", {"scaling": "zcore"}, "did you mean 'zscore'"),
    ],
)
def test_a_wrong_value_is_refused(head, given, said):
    with pytest.raises(OptionError, match=said):
        resolve_options(head, given)


def test_an_integer_is_a_number():
    found = resolve_options("dense", {"learning_rate": 1}).document()["learning_rate"]
    assert (found, type(found)) == (1.0, float)


class Made(HeadOptions):
    rate: Annotated[float | tuple[float, ...], Grid(Number, (0.1, 0.2))] = 0.1
    single: Number = 0.1
    share: Annotated[float, Field(ge=0, lt=1)] = 0.0


@pytest.mark.parametrize(
    ("given", "parsed"),
    [(0.5, 0.5), ([0.5], 0.5), ([1, 0.5], (0.5, 1.0)), ((0.5, 1.0), (0.5, 1.0)), ("grid", (0.1, 0.2))],
)
def test_a_grid_is_one_value_or_several_in_order(given, parsed):
    found = Made.parse("head", {"rate": given}).rate
    assert found == parsed
    assert type(found) is type(parsed)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rate": []}, r"head: rate = \[\]: one value or more expected"),
        ({"rate": [0.5, "fast"]}, "rate = 'fast': float, a list of them or 'grid' expected"),
        ({"rate": [0.5, 0.0]}, "rate = 0.0: a number above 0 expected"),
        ({"rate": [1, 1.0]}, "1.0 is duplicated"),
        ({"rate": True}, "rate = True: float, a list of them or 'grid' expected"),
        ({"rate": float("inf")}, "rate = inf: a number above 0 expected"),
        ({"single": [0.5, 1.0]}, r"single = \[0.5, 1.0\]: float expected"),
        ({"share": 1.0}, "share = 1.0: a number of at least 0 and below 1 expected"),
        ({"share": -0.1}, "share = -0.1: a number of at least 0 and below 1 expected"),
        ({"share": float("nan")}, "share = nan: a number of at least 0 and below 1 expected"),
    ],
)
def test_a_wrong_value_of_a_grid_or_a_range_is_refused(given, said):
    with pytest.raises(OptionError, match=said):
        Made.parse("head", given)


def test_zero_is_allowed_where_the_least_is_zero():
    assert Made.parse("head", {"share": 0}).share == 0.0


def test_options_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        Made().rate = 0.2
