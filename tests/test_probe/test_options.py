import pytest

from probe import HEADS, HeadNotFound, OptionError, default_options
from probe.heads.registry import resolve_options


def test_the_heads_and_their_defaults():
    assert HEADS == ("dense", "logistic")
    assert default_options("dense") == {"batch_size": 32, "epochs": 6, "learning_rate": 1e-3, "scaling": "none"}
    assert default_options("logistic") == {"keep_c": False, "scaling": "zscore"}


def test_an_unknown_head_names_the_nearest():
    with pytest.raises(HeadNotFound, match=r"head 'logistics': did you mean 'logistic'\? known: dense, logistic"):
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
        ("dense", {"learning_rate": "fast"}, "float expected"),
        ("logistic", {"keep_c": 1}, "bool expected"),
        ("logistic", {"scaling": "zcore"}, "did you mean 'zscore'"),
    ],
)
def test_a_wrong_value_is_refused(head, given, said):
    with pytest.raises(OptionError, match=said):
        resolve_options(head, given)


def test_an_integer_is_a_number():
    assert resolve_options("dense", {"learning_rate": 1})["learning_rate"] == 1.0
    assert isinstance(resolve_options("dense", {"learning_rate": 1})["learning_rate"], float)
