import hashlib
import os
from dataclasses import replace

import h5py
import numpy as np
import pytest

from store import DamagedStore, Pool, PoolKey, shards
from store.content_index import RowAddress
from store.hdf5 import build_file
from store.shards import build_shard, open_shard


def test_nothing_is_written_before_there_is_a_row(store, corpus):
    assert corpus.pool.index() == {}
    assert [p.name for p in store.path.iterdir()] == ["FORMAT"]


def test_shard_is_named_by_its_bytes_and_holds_rows_and_contents(corpus):
    name = corpus.add("abc")
    path = corpus.pool.shard_path(name)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == name == path.stem
    with h5py.File(path) as file:
        assert sorted(file) == ["content_sha256", "features"]
        assert file["features"].dtype == np.dtype("<f4")
        assert file["features"][()].tolist() == [[0, 0.5, 0], [1, 1.5, -1], [2, 2.5, -2]]
        assert [row.tobytes() for row in file["content_sha256"][()]] == [corpus.content(c) for c in "abc"]
        assert file["features"].chunks is None
        assert file["features"].compression is None


def test_the_same_rows_make_the_same_shard(corpus):
    first = corpus.add("abc")
    inode = corpus.pool.shard_path(first).stat().st_ino
    assert corpus.add("abc") == first
    assert corpus.pool.shard_path(first).stat().st_ino == inode


def test_index_finds_each_row_also_of_other_writers(corpus):
    other = Pool(corpus.pool.folder, corpus.pool_key)
    assert other.index() == {}
    name = corpus.add("ab")
    assert other.index() == {corpus.content("a"): RowAddress(name, 0), corpus.content("b"): RowAddress(name, 1)}


def test_where_two_shards_hold_an_image_the_first_by_name_counts_for_all(corpus):
    first, second = corpus.add("ab"), corpus.add("bc")
    expected = {
        "a": RowAddress(first, 0),
        "b": RowAddress(first, 1) if first < second else RowAddress(second, 0),
        "c": RowAddress(second, 1),
    }
    for pool in (corpus.pool, Pool(corpus.pool.folder, corpus.pool_key)):
        assert pool.index() == {corpus.content(letter): address for letter, address in expected.items()}


def test_pool_document_is_the_one_that_the_folder_is_named_by(corpus):
    from store.documents import digest, read_sealed

    corpus.add("a")
    document = read_sealed(corpus.pool.folder / "pool.json")
    assert PoolKey(**document) == corpus.pool_key
    assert digest(document) == corpus.pool.folder.name


def test_shard_is_mapped_and_read_only(corpus):
    features = open_shard(corpus.pool.shard_path(corpus.add("ab"))).features
    assert type(features) is np.ndarray
    with pytest.raises(ValueError, match="read-only"):
        features[0, 0] = 1


def test_half_precision_is_stored_as_such(store, corpus):
    pool = store.pool(replace(corpus.pool_key, dtype="float16"))
    name = pool.add(np.ones((1, 3), np.float16), [b"x" * 32])
    assert open_shard(pool.shard_path(name)).features.dtype == np.float16


def test_rows_for_half_precision_are_rounded_to_the_nearest_when_they_are_added(store, corpus):
    pool = store.pool(replace(corpus.pool_key, dtype="float16"))
    # Between 1 and 2 half precision knows multiples of 2**-10.
    rows = np.array([[1 + 0.4 / 1024, 1 + 0.6 / 1024, -65504]], np.float32)
    stored = open_shard(pool.shard_path(pool.add(rows, [b"x" * 32]))).features
    assert stored.dtype == np.float16
    assert stored.tolist() == [[1, 1 + 1 / 1024, -65504]]


def test_row_that_half_precision_cannot_hold_is_refused_and_nothing_is_written(store, corpus):
    pool = store.pool(replace(corpus.pool_key, dtype="float16"))
    rows = np.array([[1, 2], [3, -70000]], np.float32)
    message = r"features of at most 65504 expected for float16, 70000 found for (ab){32} \(row 1\); store .* float32"
    with pytest.raises(ValueError, match=message):
        pool.add(rows, [b"x" * 32, b"\xab" * 32])
    assert [p.name for p in store.path.iterdir()] == ["FORMAT"]


def joined(data):
    return data if isinstance(data, bytes) else b"".join(data)


@pytest.mark.parametrize("dtype", ["<f4", "<f2"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (1000, 5), (65, 2048), (1024, 1280)])
def test_shard_is_byte_for_byte_what_hdf5_makes_of_the_rows(dtype, shape):
    rng = np.random.default_rng(0)
    features = rng.normal(size=shape).astype(dtype)
    contents = rng.integers(0, 256, (shape[0], 32), np.uint8)

    def fill(file):
        file.create_dataset("features", data=features, track_times=False)
        file.create_dataset("content_sha256", data=contents, track_times=False)

    name, data = build_shard(features, contents)
    expected = build_file(fill)
    assert joined(data) == expected
    assert name == hashlib.sha256(expected).hexdigest()
    again, others = build_shard(features[::-1][::-1], contents[:, ::-1][:, ::-1])
    assert (again, joined(others)) == (name, expected)


def test_of_shards_that_differ_in_their_numbers_alone_one_is_parsed(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(shards, "_familiar", {})
    parsed, parse = [], shards._parsed
    monkeypatch.setattr(shards, "_parsed", lambda path: (parsed.append(path.stem), parse(path))[1])
    rows = [rng.normal(size=(9, 5)).astype(np.float32) for _ in range(3)]
    for features in rows:
        name, data = build_shard(features, rng.integers(0, 256, (9, 32), np.uint8))
        (tmp_path / f"{name}.h5").write_bytes(data)
        np.testing.assert_array_equal(open_shard(tmp_path / f"{name}.h5").features, features)
    assert len(parsed) == 1
    # As long, but something else: HDF5 has to say what it is, and refuses it.
    other = bytearray(data)
    place = other.index(b"content_sha256")
    other[place : place + 14] = b"content_sha257"
    name = hashlib.sha256(other).hexdigest()
    (tmp_path / f"{name}.h5").write_bytes(other)
    with pytest.raises(DamagedStore, match="content_sha257"):
        open_shard(tmp_path / f"{name}.h5")
    assert len(parsed) == 2


def parts(corpus, *words):
    return [(corpus.features(letters), [corpus.content(letter) for letter in letters]) for letters in words]


def test_many_shards_at_a_time_are_the_same_shards_and_durable_in_the_end(corpus, store, monkeypatch):
    words = ("ab", "cde", "f", "gh", "ij", "k", "lm")
    names = {corpus.add(letters) for letters in words}
    other = store.pool(replace(corpus.pool_key, output="logits"))
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    other.add_all(iter(parts(corpus, *words)))
    assert {path.stem for path in (other.folder / "shards").glob("*.h5")} == names
    assert synced[-1] == str(other.folder / "shards")
    assert other.index() == {content: corpus.pool.index()[content] for content in corpus.pool.index()}
    assert (other.folder / "pool.json").exists()


def test_of_many_shards_those_before_a_wrong_one_stay_and_the_error_is_its(corpus):
    wrong = (np.array([[np.nan, 1, 2]], np.float32), [corpus.content("z")])
    with pytest.raises(ValueError, match="finite features expected"):
        corpus.pool.add_all([*parts(corpus, "ab", "cd", "ef", "gh"), wrong, *parts(corpus, "ij", "kl", "mn", "op")])
    pool = Pool(corpus.pool.folder, corpus.pool_key)
    assert {corpus.content(letter) for letter in "abcdefgh"} <= set(pool.index())
    assert pool.damaged == {}


def test_damaged_shard_among_many_is_replaced(corpus):
    lost = corpus.add("cd")
    damage(corpus.pool.shard_path(lost), "flipped")
    pool = Pool(corpus.pool.folder, corpus.pool_key)
    assert len(pool.index()) == 0
    pool.add_all(parts(corpus, "ab", "cd"))
    assert pool.damaged == {}
    assert len(Pool(corpus.pool.folder, corpus.pool_key).index()) == 4


def test_no_shards_at_all_write_nothing(corpus, store):
    corpus.pool.add_all([])
    assert [p.name for p in store.path.iterdir()] == ["FORMAT"]


def test_pool_that_is_taken_away_while_a_shard_is_written_keeps_its_document(corpus):
    corpus.add("ab")
    gone = corpus.pool.folder.with_name(f".gone-{corpus.pool.folder.name}")
    corpus.pool.folder.rename(gone)
    corpus.add("cd")
    assert (corpus.pool.folder / "pool.json").exists()


def test_rows_that_are_read_are_those_that_are_mapped(corpus):
    shard = open_shard(corpus.pool.shard_path(corpus.add("abcd")))
    out = np.empty((2, 3), np.float32)
    shard.read(1, out)
    assert out.tolist() == shard.features[1:3].tolist()
    with pytest.raises(DamagedStore, match="more bytes expected, none found"):
        shard.read(10_000, out)


@pytest.mark.parametrize(
    ("features", "contents", "message"),
    [
        (np.ones((2, 3), np.float32), [b"x" * 32], r"\(2, 3\) for 1 found"),
        (np.ones(3, np.float32), [b"x" * 32] * 3, r"\(3,\) for 3 found"),
        (np.ones((0, 3), np.float32), [], r"\(0, 3\) for 0 found"),
        (np.ones((1, 0), np.float32), [b"x" * 32], r"\(1, 0\) for 1 found"),
        (np.ones((1, 3), np.float64), [b"x" * 32], "float32 features expected by the pool's key, float64 found"),
        (np.ones((1, 3), ">f4"), [b"x" * 32], "float32 features expected by the pool's key, >f4 found"),
        (np.ones((2, 3), np.float32), [b"x" * 31, b"x" * 33], r"content hashes of 32 bytes expected, \[31, 33\]"),
        (np.array([[1, 2], [3, np.nan]], np.float32), [b"x" * 32, b"\xab" * 32], r"found others for (ab){32} \(row 1"),
        (np.array([[np.inf]], np.float32), [b"x" * 32], r"finite features expected, found others for (78){32}"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_nothing_is_written(store, corpus, features, contents, message):
    with pytest.raises(ValueError, match=message):
        corpus.pool.add(features, contents)
    assert [p.name for p in store.path.iterdir()] == ["FORMAT"]


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[len(data) // 2] ^= 1
    path.write_bytes(data[:100] if how == "cut" else b"" if how == "empty" else data)


@pytest.mark.parametrize("how", ["flipped", "cut", "empty"])
def test_damaged_shard_is_left_out_named_and_replaced_by_adding_its_rows_again(corpus, how, caplog):
    kept, lost = corpus.add("a"), corpus.add("bc")
    damage(corpus.pool.shard_path(lost), how)
    pool = Pool(corpus.pool.folder, corpus.pool_key)
    assert pool.index() == {corpus.content("a"): RowAddress(kept, 0)}
    assert list(pool.damaged) == [lost]
    assert f"{lost}.h5: sha256 {lost} expected" in caplog.text
    assert pool.add(corpus.features("bc"), [corpus.content("b"), corpus.content("c")]) == lost
    assert pool.damaged == {}
    assert set(Pool(corpus.pool.folder, corpus.pool_key).index()) == {corpus.content(letter) for letter in "abc"}


def test_files_beside_the_shards_are_not_taken_for_shards(corpus):
    corpus.add("a")
    shards = corpus.pool.folder / "shards"
    (shards / ".tmp-1-ab").write_bytes(b"half")
    (shards / ".damaged-x.h5").write_bytes(b"old")
    (shards / "notes.h5").write_bytes(b"mine")
    pool = Pool(corpus.pool.folder, corpus.pool_key)
    assert list(pool.index()) == [corpus.content("a")]
    assert pool.damaged == {}


def test_unreadable_folder_of_shards_is_not_taken_for_an_empty_one(corpus, monkeypatch):
    corpus.add("a")

    def listdir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.listdir", listdir)
    with pytest.raises(PermissionError, match=r"Permission denied.*shards"):
        Pool(corpus.pool.folder, corpus.pool_key).index()


def test_file_that_is_no_hdf5_is_refused_even_with_a_true_name(tmp_path):
    path = tmp_path / f"{hashlib.sha256(b'junk').hexdigest()}.h5"
    path.write_bytes(b"junk")
    with pytest.raises(DamagedStore, match="an HDF5 file expected, found none"):
        open_shard(path)
