import hashlib
import json

import numpy as np
import pytest

from store import DamagedStore
from store.documents import canonical_json, digest, read_sealed, seal, unseal


def test_keys_are_sorted_and_nothing_is_padded():
    assert canonical_json({"b": [1, 2.5, None, True], "a": "é"}) == '{"a":"é","b":[1,2.5,null,true]}'.encode()


def test_a_tuple_is_spelled_as_a_list():
    assert canonical_json(("x", 1)) == b'["x",1]'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_lacks_are_refused(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": number})


@pytest.mark.parametrize("value", [np.float32(1), np.int64(1), {1, 2}, b"x", object()])
def test_values_that_json_lacks_are_refused(value):
    with pytest.raises(TypeError, match="not JSON serializable"):
        canonical_json([value])


@pytest.mark.parametrize("key", [1, None, True, 1.5])
def test_keys_that_would_collide_with_their_spelling_are_refused(key):
    with pytest.raises(TypeError, match="a string expected as key"):
        canonical_json([{"deep": {key: "x"}}])


def test_digest_is_the_sha256_of_the_canonical_spelling():
    assert digest({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


def test_sealed_document_reads_back(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(seal({"a": [1, {"b": "ü"}]}))
    assert read_sealed(path) == {"a": [1, {"b": "ü"}]}
    assert json.loads(path.read_text(encoding="utf-8"))["sha256"] == digest({"a": [1, {"b": "ü"}]})


def test_every_flipped_bit_of_a_sealed_file_is_found_or_harmless(tmp_path):
    document = {"name": "flowers", "rows": 4}
    data = seal(document)
    found = 0
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert unseal(bytes(flipped), tmp_path / "x.json") == document  # only white space was touched
        except DamagedStore:
            found += 1
    assert found > 6 * len(data)


def test_changed_value_is_reported_with_both_digests(tmp_path):
    data = seal({"rows": 4}).replace(b'"rows": 4', b'"rows": 5')
    expected, found = digest({"rows": 4}), digest({"rows": 5})
    with pytest.raises(DamagedStore, match=rf"x\.json: sha256 {expected} expected, {found} found.*replaces what is"):
        unseal(data, tmp_path / "x.json")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"7", b"null", b'{"document": {}}', b"\xff", b'{"document": NaN, "sha256": ""}', b"[" * 99999],
    ids=["empty", "cut", "list", "number", "null", "no digest", "not text", "nan", "deep"],
)  # fmt: skip
def test_what_is_no_sealed_document_is_damage(tmp_path, data):
    with pytest.raises(DamagedStore, match=r"x\.json: a sealed document expected, found none"):
        unseal(data, tmp_path / "x.json")


def test_document_that_is_no_object_is_damage(tmp_path):
    data = json.dumps({"document": [1], "sha256": digest([1])}).encode()
    with pytest.raises(DamagedStore, match=r"x\.json: sha256"):
        unseal(data, tmp_path / "x.json")


def test_missing_sealed_file_is_damage_with_a_next_step(tmp_path):
    with pytest.raises(DamagedStore, match=r"x\.json: .*no file found; run the extract or probe"):
        read_sealed(tmp_path / "x.json")
