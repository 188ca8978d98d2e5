import os

import numpy as np
import pytest

from store import DamagedStore, FeatureStore, Pool, verify_store
from store.content_index import ContentIndex, KeptShards, KnownShard, RowAddress
from store.shards import open_shard

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))


@pytest.fixture
def file(corpus):
    return corpus.store.path / "cache" / "contents" / corpus.pool_key.digest


@pytest.fixture
def opened(monkeypatch):
    """The names of the shards that were read since."""
    names = []

    def spy(path):
        names.append(path.stem)
        return open_shard(path)

    monkeypatch.setattr("store.pool.open_shard", spy)
    return names


def fresh(corpus):
    return Pool(corpus.pool.folder, corpus.pool_key)


def addresses(corpus, first, second):
    return {
        corpus.content("a"): RowAddress(first, 0),
        corpus.content("b"): RowAddress(first, 1),
        corpus.content("c"): RowAddress(second, 0),
    }


# In memory


def test_each_row_is_found_and_asks_for_no_other():
    index = ContentIndex()
    assert index.enter("p", ONE + TWO) == {}
    assert index.enter("q", THREE) == {}
    assert index == {ONE: RowAddress("p", 0), TWO: RowAddress("p", 1), THREE: RowAddress("q", 0)}
    assert index.get(b"\0" * 32) is None


@pytest.mark.parametrize(("names", "winner"), [(("p", "q"), RowAddress("p", 1)), (("q", "p"), RowAddress("p", 0))])
def test_of_two_shards_the_first_by_name_counts_and_the_other_is_told(names, winner):
    index = ContentIndex()
    index.enter(names[0], ONE + TWO)
    assert index.enter(names[1], TWO + THREE) == {names[0]: [(TWO, 1, 0)]}
    assert index[TWO] == winner
    assert len(index) == 3


def test_of_an_image_that_stands_twice_in_a_shard_the_first_row_counts():
    index = ContentIndex()
    index.enter("p", ONE + ONE + TWO)
    assert index == {ONE: RowAddress("p", 0), TWO: RowAddress("p", 2)}


# In the disposable file


def test_what_is_written_is_read_again(tmp_path):
    kept = KeptShards({"p": KnownShard((1, 2, 3, 4), ONE + TWO), "q": KnownShard((5, 6, 7, 8), THREE)})
    kept.write(tmp_path / "cache" / "contents" / "pool")
    assert KeptShards.read(tmp_path / "cache" / "contents" / "pool") == kept
    assert KeptShards.read(tmp_path / "none") == KeptShards({})


def test_no_flipped_bit_is_believed(tmp_path):
    path = tmp_path / "contents"
    KeptShards({"p": KnownShard((1, 2, 3, 4), ONE)}).write(path)
    data = path.read_bytes()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert KeptShards.read(path).shards == {}


# In a pool


def test_shards_that_are_the_very_files_are_not_read_again(corpus, file, opened):
    first, second = corpus.add("ab"), corpus.add("c")
    corpus.pool.index()
    assert file.exists()
    pool = fresh(corpus)
    assert pool.index() == addresses(corpus, first, second)
    assert pool.sound_shards == {first, second}
    assert opened == []


def test_only_what_is_new_or_touched_is_read(corpus, opened):
    first, second = corpus.add("ab"), corpus.add("c")
    corpus.pool.index()
    os.utime(corpus.pool.shard_path(first))
    third = Pool(corpus.pool.folder, corpus.pool_key).add(corpus.features("d"), [corpus.content("d")])
    opened.clear()
    fresh(corpus).index()
    assert sorted(opened) == sorted([first, third])
    opened.clear()
    assert fresh(corpus).index() == {**addresses(corpus, first, second), corpus.content("d"): RowAddress(third, 0)}
    assert opened == []


def test_shard_whose_bytes_and_times_were_changed_back_is_found(corpus):
    path = corpus.pool.shard_path(corpus.add("ab"))
    corpus.pool.index()
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    pool = fresh(corpus)
    assert len(pool.index()) == 0
    assert list(pool.damaged) == [path.stem]


@pytest.mark.parametrize("spoil", [b"", b"junk", b"0" * 64 + b'\n{"shards": [], "drifts": []}\n'])
def test_lost_or_damaged_file_costs_time_and_nothing_else(corpus, file, spoil, opened):
    first, second = corpus.add("ab"), corpus.add("c")
    corpus.pool.index()
    file.write_bytes(spoil)
    assert fresh(corpus).index() == addresses(corpus, first, second)
    assert sorted(opened) == sorted([first, second])
    assert KeptShards.read(file).shards.keys() == {first, second}


def test_store_that_may_only_be_read_goes_without_the_file(corpus, file, monkeypatch):
    first, second = corpus.add("ab"), corpus.add("c")

    def refuse(path, data):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("store.disposable.replace_disposable", refuse)
    assert fresh(corpus).index() == addresses(corpus, first, second)
    assert not file.exists()


def test_damage_that_a_reader_meets_makes_the_next_extraction_read_every_shard(corpus, flowers, file, monkeypatch):
    corpus.pool.index()
    path = flowers.shard_path(flowers.manifest["segments"][0][0])
    # A bit that fell over on the disk itself: the file's inode, size and times are what they were.
    monkeypatch.setattr("store.content_index.stamp_of", lambda path: (1, 1, 1, 1))
    monkeypatch.setattr("store.pool.stamp_of", lambda path: (1, 1, 1, 1))
    file.unlink()
    fresh(corpus).index()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    pool = fresh(corpus)
    pool.index()
    assert corpus.store.has_set(flowers.key, pool)  # what an extraction without a missing row looks at
    assert not FeatureStore(corpus.store.path).has_set(flowers.key)
    with pytest.raises(DamagedStore, match="sha256"):
        np.array(FeatureStore(corpus.store.path).get(key=flowers.key).features)
    assert not file.exists()
    pool = fresh(corpus)
    pool.index()
    assert list(pool.damaged) == [path.stem]
    assert not corpus.store.has_set(flowers.key, pool)


def test_verify_throws_the_file_away_where_a_shard_is_damaged(corpus, flowers, file):
    corpus.pool.index()
    assert verify_store(corpus.store.path).is_sound
    assert file.exists()
    path = flowers.shard_path(flowers.manifest["segments"][0][0])
    path.write_bytes(b"junk")
    assert not verify_store(corpus.store.path).is_sound
    assert not file.exists()
