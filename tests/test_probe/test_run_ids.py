"""Run ids of every head's options, as they have been since protocol 3: a run that is known must not be trained again."""

from dataclasses import dataclass

import pytest

from probe import HEADS, ProbeRequest, run_id


@dataclass(frozen=True)
class NamedSet:
    """What the name of a run takes of a set."""

    key: str
    candidates: int


SETS = {"train": NamedSet("1" * 64, 1000), "test": NamedSet("2" * 64, 200)}

# (head, options, id): never change a line; a change of an id is a change of PROTOCOL_VERSION.
PINNED = [
    ("dense", {}, "a924746d8de0b7be"),
    ("dense", {"epochs": 12, "batch_size": 64, "scaling": "l2"}, "f38b857d2b37b8bf"),
    ("dense", {"learning_rate": 1}, "29b8cf94b02527e3"),
    ("dense", {"learning_rate": 1.0}, "29b8cf94b02527e3"),
    ("dense", {"learning_rate": [1]}, "29b8cf94b02527e3"),
    ("dense", {"learning_rate": "grid", "weight_decay": [0, 0.1]}, "bfbd0f14f1ad5aa5"),
    ("dense", {"weight_decay": (0.1, 0.0), "learning_rate": "grid"}, "bfbd0f14f1ad5aa5"),
    ("dense", {"patience": 3, "hidden": 64, "dropout": 0.5, "rule": "best"}, "ec6d6b87b926595c"),
    ("dense", {"learning_rate": [0.01]}, "d79a1bb6124479b8"),
    ("logistic", {}, "56f2d4f950121fd6"),
    ("logistic", {"scaling": "zscore", "keep_c": False, "rule": "one_se"}, "4165303bcf16284f"),
    ("logistic", {"keep_c": True, "scaling": "none", "rule": "best"}, "ff030b535dc2c79a"),
    ("ridge", {}, "48fff5d4c920b4bc"),
    ("ridge", {"scaling": "l2"}, "cadeb69613faf87a"),
    ("knn", {}, "abfcabd51da63346"),
    ("knn", {"k": "grid", "temperature": 0.07}, "abfcabd51da63346"),
    ("knn", {"k": 7, "weights": "uniform", "scaling": "zscore"}, "c62ab11c200d56a7"),
    ("knn", {"k": [20, 1], "temperature": 1, "rule": "best"}, "e01be13e790ab9e5"),
]


@pytest.mark.parametrize(("head", "options", "pinned"), PINNED, ids=str)
def test_the_options_of_a_head_give_the_run_id_that_they_gave(head, options, pinned):
    assert run_id(ProbeRequest("d", "e", head, options), SETS).startswith(pinned)


def test_settings_give_the_run_id_that_they_gave():
    request = ProbeRequest("d", "e", "ridge", shots=5, seed=3, train_share=1, views=0)
    assert run_id(request, SETS).startswith("f34398a09e36b2ce")


def test_every_head_is_pinned():
    assert {head for head, _, _ in PINNED} == set(HEADS)
