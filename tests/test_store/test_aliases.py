import os
import subprocess
import sys

import pytest

from store import DamagedStore, FeatureSetNotFound, InvalidMoment
from store.aliases import Alias, Aliases

NAME = ("flowers", "train", "toy")


def alias(number, name=NAME):
    return Alias(*name, set_key=f"{number:064x}", created=f"2026-01-{number:02d}T00:00:00Z")


@pytest.fixture
def aliases(tmp_path):
    return Aliases(tmp_path / "aliases")


def test_newest_entry_is_current_and_the_others_are_kept(aliases):
    for number in (1, 2, 1):
        aliases.put(alias(number))
    assert [entry.set_key[-1] for entry in aliases.history(*NAME)] == ["1", "2", "1"]
    assert [entry.set_key[-1] for entry in aliases.newest(*NAME)] == ["1"]
    assert [entry.set_key[-1] for entry in aliases.current()] == ["1"]


def test_what_a_name_means_already_is_not_written_again(aliases, tree):
    aliases.put(alias(1))
    before = tree(aliases.folder)
    aliases.put(Alias(*NAME, set_key=f"{1:064x}", created="2030-01-01T00:00:00Z"))
    assert tree(aliases.folder) == before


def test_entry_that_another_writer_made_is_durable_when_naming_returns(aliases, monkeypatch):
    aliases.put(alias(1))
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    aliases.put(alias(1))
    assert synced == [str(aliases.folder / alias(1).name_digest)]


def test_tenth_entry_comes_after_the_ninth(aliases):
    for number in range(1, 12):
        aliases.put(alias(number))
    assert [int(entry.set_key, 16) for entry in aliases.history(*NAME)] == list(range(1, 12))


def test_names_never_become_paths(aliases):
    names = [("../../x", "..", "/etc"), ("a/b", "c", "d"), ("a", "b/c", "d"), ("", "", ""), ("é" * 300, "x", "y")]
    for number, name in enumerate(names, 1):
        aliases.put(alias(number, name))
    folders = [p.name for p in aliases.folder.iterdir()]
    assert len(folders) == 5
    assert all(len(name) == 64 and set(name) <= set("0123456789abcdef") for name in folders)
    assert [entry.set_key for name in names for entry in aliases.newest(*name)] == [f"{n:064x}" for n in range(1, 6)]


def test_damaged_newest_entry_is_reported_and_the_next_naming_takes_its_place(aliases):
    aliases.put(alias(1))
    aliases.put(alias(2))
    path = aliases.folder / alias(2).name_digest / "2.json"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DamagedStore, match=r"2\.json: a sealed document expected"):
        aliases.newest(*NAME)
    aliases.put(alias(2))
    assert [entry.set_key[-1] for entry in aliases.newest(*NAME)] == ["2"]
    assert (path.parent / "3.json").exists()
    with pytest.raises(DamagedStore, match=r"2\.json: a sealed document expected"):
        aliases.history(*NAME)


def test_entry_copied_from_another_name_is_refused(aliases):
    aliases.put(alias(1))
    aliases.put(alias(2, ("birds", "train", "toy")))
    other = aliases.folder / alias(2, ("birds", "train", "toy")).name_digest / "1.json"
    (aliases.folder / alias(1).name_digest / "1.json").write_bytes(other.read_bytes())
    with pytest.raises(DamagedStore, match=r"an entry of the name .* expected, one of .* found"):
        aliases.newest(*NAME)


def test_other_files_in_the_folders_are_no_entries(aliases):
    aliases.put(alias(1))
    folder = aliases.folder / alias(1).name_digest
    for name in (".tmp-1-ab", "1x.json", "01.json", "notes.txt"):
        (folder / name).write_bytes(b"junk")
    (aliases.folder / "notes").mkdir()
    assert [entry.set_key[-1] for entry in aliases.history(*NAME)] == ["1"]
    assert len(list(aliases.current())) == 1


def test_ended_name_means_nothing_and_its_history_is_kept(aliases):
    aliases.put(alias(1))
    assert aliases.end(*NAME, created="2026-02-01T00:00:00Z")
    assert list(aliases.current()) == []
    assert aliases.splits("flowers", "toy") == []
    assert [entry.has_ended for entry in aliases.history(*NAME)] == [False, True]
    assert not aliases.end(*NAME, created="2026-03-01T00:00:00Z")
    assert len(aliases.history(*NAME)) == 2
    aliases.put(alias(1))
    assert aliases.splits("flowers", "toy") == ["train"]
    assert [entry.set_key[-1:] for entry in aliases.history(*NAME)] == ["1", "", "1"]


def test_name_never_given_cannot_end(aliases):
    assert not aliases.end(*NAME, created="2026-02-01T00:00:00Z")
    assert not aliases.folder.exists()


def test_name_that_is_given_anew_at_the_moment_it_should_end_does_not_end(aliases, monkeypatch):
    aliases.put(alias(1))
    numbers = aliases.numbers

    def given_anew(name):
        found = numbers(name)
        monkeypatch.setattr(aliases, "numbers", numbers)
        aliases.put(alias(2))
        return found

    monkeypatch.setattr(aliases, "numbers", given_anew)
    assert not aliases.end(*NAME, created="2026-02-01T00:00:00Z")
    assert [entry.set_key[-1] for entry in aliases.current()] == ["2"]


@pytest.mark.heavy
def test_two_processes_that_name_at_once_lose_no_entry(aliases):
    code = (
        "import sys, pathlib; from store.aliases import Alias, Aliases\n"
        "aliases = Aliases(pathlib.Path(sys.argv[1]))\n"
        "for n in range(15):\n"
        "    aliases.put(Alias('flowers', 'train', 'toy', f'{sys.argv[2]}-{n}', '2026-01-01T00:00:00Z'))"
    )
    jobs = [subprocess.Popen([sys.executable, "-c", code, str(aliases.folder), name]) for name in ("p", "q")]
    assert [job.wait(timeout=60) for job in jobs] == [0, 0]
    keys = [entry.set_key for entry in aliases.history(*NAME)]
    assert len(keys) == 30
    assert [key for key in keys if key[0] == "p"] == [f"p-{n}" for n in range(15)]
    assert [key for key in keys if key[0] == "q"] == [f"q-{n}" for n in range(15)]
    assert sorted(p.name for p in (aliases.folder / alias(1).name_digest).iterdir()) == sorted(
        f"{n}.json" for n in range(1, 31)
    )


def test_as_of_gives_what_the_name_meant_then(corpus):
    corpus.add("abc")
    first, second = corpus.publish("ab"), corpus.publish("abc")
    store = corpus.store
    # The fixture names at one instant; name them again, dated.
    store.name_set("dated", "train", "toy", key=first.key, created="2026-02-01T00:00:00Z")
    store.name_set("dated", "train", "toy", key=second.key, created="2026-03-01T00:00:00Z")
    assert store.get("dated", "train", "toy").key == second.key
    assert store.get("dated", "train", "toy", as_of="2026-02-15").key == first.key
    assert store.get("dated", "train", "toy", as_of="2026-02-01T00:00:00Z").key == first.key
    assert store.get("dated", "train", "toy", as_of="2026-03-01T01:00:00+01:00").key == second.key
    with pytest.raises(FeatureSetNotFound, match="no such set as of 2026-01-31 in"):
        store.get("dated", "train", "toy", as_of="2026-01-31")
    with pytest.raises(InvalidMoment, match=r"^'yesterday': a moment in ISO 8601 expected, such as 2026-02-01"):
        store.get("dated", "train", "toy", as_of="yesterday")


def test_message_about_a_missing_set_says_how_many_it_does_not_list(corpus):
    corpus.add("ab")
    for number in range(8):
        found = corpus.publish("ab", name=f"n{number}")
    with pytest.raises(FeatureSetNotFound, match=r"n7 / train / toy\.$"):
        corpus.store.get("x", "train", "toy")
    for number in range(8, 11):
        corpus.store.name_set(f"o{number}", "train", "toy", key=found.key, created="2026-02-01T00:00:00Z")
    with pytest.raises(FeatureSetNotFound, match=r"n7 / train / toy; and 3 more, see 'linprobe store ls'\.$"):
        corpus.store.get("x", "train", "toy")


def test_older_damaged_entry_stands_in_nobodys_way(corpus):
    corpus.add("abc")
    corpus.publish("ab")
    second = corpus.publish("abc")
    path = corpus.store.path / "aliases" / alias(1).name_digest / "1.json"
    path.write_bytes(b"junk")
    assert corpus.store.get(*NAME).key == second.key
    assert len(corpus.store.catalog()) == 2
    with pytest.raises(DamagedStore, match=r"1\.json"):
        corpus.store.get(*NAME, as_of="2030-01-01")


def test_damaged_name_that_may_be_a_split_of_the_dataset_is_an_error(corpus):
    corpus.add("abc")
    corpus.publish("ab", split="test")
    corpus.publish("abc", split="train")
    corpus.publish("ab", split="train", name="trees")
    assert corpus.store.splits("flowers", "toy") == ["test", "train"]
    path = corpus.store.path / "aliases" / Alias("flowers", "test", "toy", "", "").name_digest / "1.json"
    path.write_bytes(b"junk")
    for dataset in ("flowers", "trees"):  # whose it is, nothing tells one who has not read it before
        with pytest.raises(DamagedStore, match=r"1\.json: a sealed document expected"):
            type(corpus.store)(corpus.store.path).splits(dataset, "toy")
    with pytest.raises(DamagedStore, match=r"1\.json: a sealed document expected"):
        corpus.store.splits("flowers", "toy")
    assert corpus.store.splits("trees", "toy") == ["train"]


def test_damaged_name_of_another_dataset_stands_in_no_ones_way(corpus):
    corpus.add("abc")
    corpus.publish("ab")
    corpus.publish("abc")
    corpus.publish("ab", split="train", name="trees")
    path = corpus.store.path / "aliases" / alias(1).name_digest / "2.json"
    path.write_bytes(b"junk")
    assert corpus.store.splits("trees", "toy") == ["train"]
    with pytest.raises(DamagedStore, match=r"2\.json: a sealed document expected"):
        corpus.store.splits("flowers", "toy")
