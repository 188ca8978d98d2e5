import dataclasses
import subprocess
import sys

import pytest

from probe import ProbeError, ProbeRequest, SplitError, resolve, run_id

REQUEST = ProbeRequest("flowers", "mobilenet", "logistic")


def changed(**fields):
    return dataclasses.replace(REQUEST, **fields)


def test_importing_probe_and_naming_a_run_loads_no_heavy_library():
    heavy = ("tensorflow", "keras", "sklearn", "scipy")
    code = f"import sys, probe; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_official_parts_are_the_default(blob_sets):
    found = resolve(REQUEST, blob_sets)
    assert (found.train, found.validation, found.test) == ("train", "", "test")


def test_an_official_validation_part_is_used(blob_sets, lab, blobs):
    sets = {**blob_sets, "validation": lab.publish("validation", *blobs(20, 4, 8, seed=3))}
    assert resolve(REQUEST, sets).validation == "validation"
    assert resolve(changed(test="validation"), sets).validation == ""


@pytest.mark.parametrize("name", ["train", "all", "everything"])
def test_without_an_official_test_the_seed_draws_80_20(name, lab, blobs):
    sets = {name: lab.publish(name, *blobs(40, 4, 8, seed=3))}
    found = resolve(changed(seed=7), sets)
    assert (found.train, found.validation, found.test) == (f"{name}/draw7[:80%]", "", f"{name}/draw7[80%:]")
    # Shots and shares, and what stands beside them, are tested on one part, whatever the seed.
    for limits in ({"shots": 5}, {"train_share": 0.5}, {"is_beside_limited": True}):
        found = resolve(changed(seed=7, **limits), sets)
        assert (found.train, found.test) == (f"{name}/draw0[:80%]", f"{name}/draw0[80%:]")


def test_without_an_official_test_an_official_validation_part_is_tested_on(lab, blobs):
    sets = {name: lab.publish(name, *blobs(40, 4, 8, seed)) for seed, name in enumerate(("train", "validation"))}
    found = resolve(REQUEST, sets)
    assert (found.train, found.validation, found.test) == ("train", "", "validation")
    with pytest.raises(SplitError, match="say what to test on with --test"):
        resolve(changed(validation="validation"), sets)
    with pytest.raises(SplitError, match="say what to test on with --test"):
        resolve(REQUEST, {**sets, "extra": sets["train"]})


def test_what_is_left_open_is_said(lab, blobs):
    train, other = lab.publish("train", *blobs(40, 4, 8, seed=3)), lab.publish("extra", *blobs(40, 4, 8, seed=4))
    with pytest.raises(SplitError, match=r"say what to test on with --test \(base splits: extra, train\)"):
        resolve(REQUEST, {"train": train, "extra": other})
    with pytest.raises(SplitError, match="say what to train on with --train"):
        resolve(changed(test="extra"), {"extra": other})
    with pytest.raises(SplitError, match="flowers: no set of mobilenet"):
        resolve(REQUEST, {})


def test_the_run_id_is_a_digest_and_repeats(blob_sets):
    found = run_id(REQUEST, blob_sets)
    assert len(found) == 64
    assert found == run_id(REQUEST, dict(reversed(blob_sets.items())))


def test_names_and_unused_sets_do_not_change_the_run_id(blob_sets, lab, blobs):
    found = run_id(REQUEST, blob_sets)
    assert found == run_id(changed(dataset="other", extractor="name"), blob_sets)
    assert found == run_id(REQUEST, {**blob_sets, "extra": lab.publish("extra", *blobs(40, 4, 8, seed=4))})


def test_defaults_and_other_spellings_do_not_change_the_run_id(blob_sets):
    found = run_id(REQUEST, blob_sets)
    assert found == run_id(changed(train="train", test=" test ", options={"scaling": "zscore"}), blob_sets)
    assert found == run_id(changed(train="train[:50%] + train[60:]"), blob_sets)


@pytest.mark.parametrize(
    "fields",
    [
        {"head": "dense"},
        {"options": {"scaling": "l2"}},
        {"options": {"keep_c": True}},
        {"train": "train[:90%]"},
        {"test": "test[:50%]"},
        {"validation": "test[50%:]", "test": "test[:50%]"},
        {"seed": 1},
        {"shots": 5},
        {"train_share": 0.5},
        {"metric": "balanced_accuracy"},
    ],
)
def test_everything_that_matters_changes_the_run_id(fields, blob_sets):
    assert run_id(changed(**fields), blob_sets) != run_id(REQUEST, blob_sets)


def test_another_set_changes_the_run_id(blob_sets, lab, blobs):
    other = {**blob_sets, "test": lab.publish("test", *blobs(60, 4, 8, seed=5))}
    assert run_id(REQUEST, other) != run_id(REQUEST, blob_sets)


@pytest.mark.parametrize("seed", [-1, 1.5, True, 2**32])
def test_a_seed_that_cannot_be_used_is_refused(seed, blob_sets):
    with pytest.raises(ProbeError, match="an integer from 0"):
        run_id(changed(seed=seed), blob_sets)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shots": 0}, "shots = 0: a number of examples per class from 1 on, or 'all', expected"),
        ({"shots": "5"}, "shots = '5'"),
        ({"shots": True}, "shots = True"),
        ({"train_share": 0.0}, "train_share = 0.0: a number above 0 and up to 1 expected"),
        ({"train_share": 1.5}, "train_share = 1.5"),
        ({"metric": "accuarcy"}, "metric = 'accuarcy': did you mean 'accuracy'"),
    ],
)
def test_values_that_cannot_be_used_are_refused(fields, message, blob_sets):
    with pytest.raises(ProbeError, match=message):
        run_id(changed(**fields), blob_sets)


@pytest.mark.parametrize("limit", [{"shots": 5}, {"train_share": 0.5}])
def test_limited_training_gets_nothing_of_validation(limit, blob_sets, lab, blobs):
    sets = {**blob_sets, "validation": lab.publish("validation", *blobs(20, 4, 8, seed=3))}
    assert resolve(changed(**limit), sets).validation == ""
    assert resolve(changed(validation="validation", **limit), sets).validation == ""


def test_a_part_that_selects_nothing_is_refused(blob_sets):
    with pytest.raises(SplitError, match=r"train = 'train\[90:50\]' selects nothing"):
        run_id(changed(train="train[90:50]"), blob_sets)
