import hashlib

import numpy as np
import pytest

from extract import UnknownName, open_source

PINNED = {
    "train": "38b5b6daf3bb52e9c523089f7dfc3ea12f6419714b88530f9b3a5fa41b478e8c",
    "test": "aff38c80a13721aa869527f1dbebc35752945ab9855adb9b74f88bc998cfdd1e",
}


@pytest.fixture(scope="module")
def digits():
    return open_source("bundled:digits")


@pytest.fixture(scope="module")
def examples(digits):
    return {split: list(digits.examples(split)) for split in digits.splits}


def test_digits_have_two_fixed_splits(digits, examples):
    assert (digits.name, digits.version, digits.splits) == ("bundled:digits", "1", ("train", "test"))
    assert digits.class_names == tuple("0123456789")
    assert {split: len(found) for split, found in examples.items()} == {"train": 1437, "test": 360}
    assert (digits.count("train"), digits.count("test"), digits.ignored("train")) == (1437, 360, {})


def test_the_splits_share_no_example_and_no_image(examples):
    train, test = examples["train"], examples["test"]
    assert not {e.example_id for e in train} & {e.example_id for e in test}
    assert not {e.content_sha256() for e in train} & {e.content_sha256() for e in test}


def test_the_splits_are_stratified(examples):
    every = np.bincount([e.label for split in examples.values() for e in split])
    test = np.bincount([e.label for e in examples["test"]])
    # Each class's fifth (360 of 1,797), up or down by less than one image.
    assert np.abs(test - every * 360 / 1797).max() < 1


def test_the_splits_are_pinned(examples):
    # Which images are tested on must never change: results of all times are compared.
    for split, expected in PINNED.items():
        lines = "".join(f"{e.example_id} {e.label} {e.content_sha256().hex()}\n" for e in examples[split])
        assert hashlib.sha256(lines.encode()).hexdigest() == expected


def test_pixels_are_scikit_learns_ink_spread_to_255(examples):
    from sklearn.datasets import load_digits

    images = load_digits().images
    for example in (examples["train"][0], examples["test"][0]):
        ink = images[int(example.example_id.removeprefix("digits/"))]
        assert example.data.dtype == np.uint8
        assert example.data.shape == (8, 8, 1)
        # 16 inked pixels are 255, none is 0, 8 are 127.5, which rounds to the even 128.
        assert np.array_equal(example.data[..., 0], np.round(ink * 255 / 16))
    assert max(example.data.max() for example in examples["train"]) == 255


def test_chosen_examples_are_picked_in_order(digits, examples):
    wanted = [examples["test"][at].example_id for at in (5, 2)]
    assert [e.example_id for e in digits.pick("test", wanted)] == wanted[::-1]


def test_another_bundled_dataset_is_unknown():
    with pytest.raises(UnknownName, match=r"digit: no such bundled dataset; did you mean 'digits'\?"):
        open_source("bundled:digit")


def test_an_unknown_split_names_those_there_are(digits):
    with pytest.raises(UnknownName, match=r"all: no such base split of bundled:digits; known: train, test"):
        next(iter(digits.examples("all")))
