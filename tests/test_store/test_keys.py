import hashlib
from dataclasses import fields, replace

import pytest

from store import PoolKey, Provenance, SetKey, rows_digest
from store.documents import canonical_json, digest

POOL = PoolKey("toy", "0" * 64, "pool", {"size": 224, "range": [0, 1]})
POOL_CHANGES = {
    "architecture": "toy2",
    "weights_sha256": "1" * 64,
    "output": "logits",
    "preprocessing": {"size": 160, "range": [0, 1]},
    "dtype": "float16",
    "precision": "tf32",
}
SET = SetKey(POOL.digest, "train", ("daisy", "tulip"), 3, "2" * 64, {"name": "tf_flowers"})
SET_CHANGES = {
    "pool": "3" * 64,
    "split": "test",
    "class_names": ("tulip", "daisy"),
    "candidates": 4,
    "rows_sha256": "4" * 64,
    "origin": {"name": "tf_flowers", "version": "3.0.1"},
}
ROWS = [("a.png", "0" * 64, 0, "ok"), ("b.png", "1" * 64, 1, "ok"), ("c.png", "2" * 64, 1, "quarantined")]
ROW_CHANGES = {
    "id": [("A.png", "0" * 64, 0, "ok"), *ROWS[1:]],
    "content": [("a.png", "9" * 64, 0, "ok"), *ROWS[1:]],
    "label": [("a.png", "0" * 64, 1, "ok"), *ROWS[1:]],
    "status": [("a.png", "0" * 64, 0, "quarantined"), *ROWS[1:]],
    "order": [ROWS[1], ROWS[0], ROWS[2]],
    "one less": ROWS[:2],
    "one twice": [*ROWS, ROWS[2]],
}


@pytest.mark.parametrize(("name", "value"), POOL_CHANGES.items())
def test_each_field_changes_the_pool_key(name, value):
    assert replace(POOL, **{name: value}).digest != POOL.digest


@pytest.mark.parametrize(("name", "value"), SET_CHANGES.items())
def test_each_field_changes_the_set_key(name, value):
    assert replace(SET, **{name: value}).digest != SET.digest


def test_no_field_is_missing_above():
    assert [field.name for field in fields(PoolKey)] == list(POOL_CHANGES)
    assert [field.name for field in fields(SetKey)] == list(SET_CHANGES)


@pytest.mark.parametrize("rows", ROW_CHANGES.values(), ids=ROW_CHANGES)
def test_each_part_of_the_table_changes_its_digest(rows):
    assert rows_digest(rows) != rows_digest(ROWS)


def test_spelling_of_the_same_thing_changes_no_key():
    assert replace(POOL, preprocessing={"range": (0, 1), "size": 224}).digest == POOL.digest
    assert replace(SET, class_names=["daisy", "tulip"]).digest == SET.digest
    assert rows_digest(iter([list(row) for row in ROWS])) == rows_digest(ROWS)


def test_circumstances_are_in_no_key(corpus):
    corpus.add("ab")
    first = corpus.publish("ab")
    corpus.provenance = Provenance(
        "2030-01-01T00:00:00Z", "other", "folder:/elsewhere", "toy2", "openvino", host="there", threads=64, seconds=9
    )
    assert corpus.publish("ab").key == first.key
    assert len(corpus.store.catalog()) == 1


def test_digests_stay_what_they_are_for_ever():
    # Worked out from the documents' canonical spelling; a change orphans every store there is.
    assert POOL.digest == digest(
        {
            "architecture": "toy", "dtype": "float32", "output": "pool", "precision": "float32",
            "preprocessing": {"range": [0, 1], "size": 224}, "weights_sha256": "0" * 64,
        }
    )  # fmt: skip
    assert POOL.digest == "f3dfb8b0de275baf2df8d5f37967f389362d8dcb002fe454c9dee80f5cbc9cf4"
    assert SET.digest == "50bbff33d38d6652a31c0d24894e9b6875d7458b3e87636d5e722ab4d933a7e4"
    assert rows_digest(ROWS) == "7e8c6d78d5b85f35a1bb9e154cb52e061549cd00933b1766c57f1553eba13ba3"


def test_rows_are_spelled_as_documents_are():
    texts = ["", "a", '"quoted" \\ / \t\n\x00\x1f\x7f', "Gänse/花/🌹.png", "\u2028\ud7ff\ue000"]
    rows = [(text, "0" * 64, label, status) for text in texts for label in (0, -1, 2**40) for status in texts]
    lines = b"".join(canonical_json(row) + b"\n" for row in rows)
    assert rows_digest(rows) == hashlib.sha256(lines).hexdigest()


def test_digest_of_no_rows_is_the_sha256_of_nothing():
    assert rows_digest([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_ids_that_run_together_do_not_collide():
    assert rows_digest([("a", "b", 1, "ok")]) != rows_digest([("ab", "", 1, "ok")])


def test_set_key_comes_back_from_its_document():
    assert SetKey.from_document(SET.document()) == SET


def test_file_name_that_is_not_unicode_is_named():
    with pytest.raises(ValueError, match=r"'caf\\udce9\.png': Unicode text expected as example id; rename the file"):
        rows_digest([("caf\udce9.png", "0" * 64, 0, "ok")])
