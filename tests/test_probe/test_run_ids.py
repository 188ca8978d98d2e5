"""Run ids of every head's options, as they have been since protocol 2: a run that is known must not be trained again."""

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
    ("dense", {}, "a0c69445a7b679ee"),
    ("dense", {"epochs": 12, "batch_size": 64, "scaling": "l2"}, "1c277deae8de5e6b"),
    ("dense", {"learning_rate": 1}, "f5228929e67a2f15"),
    ("dense", {"learning_rate": 1.0}, "f5228929e67a2f15"),
    ("dense", {"learning_rate": [1]}, "f5228929e67a2f15"),
    ("dense", {"learning_rate": "grid", "weight_decay": [0, 0.1]}, "5bd789436e010d9d"),
    ("dense", {"weight_decay": (0.1, 0.0), "learning_rate": "grid"}, "5bd789436e010d9d"),
    ("dense", {"patience": 3, "hidden": 64, "dropout": 0.5, "rule": "best"}, "a86d7a7afe2a2d43"),
    ("dense", {"learning_rate": [0.01]}, "2856220f157ad3ce"),
    ("logistic", {}, "f8bcfd54a1670574"),
    ("logistic", {"scaling": "zscore", "keep_c": False, "rule": "one_se"}, "f8bcfd54a1670574"),
    ("logistic", {"keep_c": True, "scaling": "none", "rule": "best"}, "3f9886b423278579"),
    ("ridge", {}, "bd633c7373613cf5"),
    ("ridge", {"scaling": "l2"}, "c08d35be6021b649"),
    ("knn", {}, "7b9780a693cb4068"),
    ("knn", {"k": "grid", "temperature": 0.07}, "7b9780a693cb4068"),
    ("knn", {"k": 7, "weights": "uniform", "scaling": "zscore"}, "c5ef22bb85ecc5a9"),
    ("knn", {"k": [20, 1], "temperature": 1, "rule": "best"}, "aede9229ec0f2cad"),
]


@pytest.mark.parametrize(("head", "options", "pinned"), PINNED, ids=str)
def test_the_options_of_a_head_give_the_run_id_that_they_gave(head, options, pinned):
    assert run_id(ProbeRequest("d", "e", head, options), SETS).startswith(pinned)


def test_settings_give_the_run_id_that_they_gave():
    request = ProbeRequest("d", "e", "ridge", shots=5, seed=3, train_share=1, views=0)
    assert run_id(request, SETS).startswith("5db67e9bb9f38e7e")


def test_every_head_is_pinned():
    assert {head for head, _, _ in PINNED} == set(HEADS)
