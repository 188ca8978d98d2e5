import os
from dataclasses import replace

import pytest

from store import FeatureSetNotFound, RunNotFound
from store.names import find_dataset, full_name, shortest_ends


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_path_is_absolute_and_normalised(here):
    (here / "x").mkdir()
    full = f"folder:{here}/x"
    for typed in ("folder:x", "folder:./x", "folder:x/", f"folder:../{here.name}/x", f"folder:{here}//x/../x"):
        assert full_name(typed) == full, typed


def test_a_home_is_known(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert full_name("folder:~/x") == f"folder:{tmp_path}/x"


def test_a_symbolic_link_stays_itself_and_what_leaves_one_is_not_taken_for_its_neighbour(here):
    (here / "far/data/v1").mkdir(parents=True)
    (here / "current").symlink_to(here / "far/data/v1")
    assert full_name("folder:current") == f"folder:{here}/current"
    # The text would make `here/v1` of it, which is not there; the path leads to far/data/v1.
    assert full_name("folder:current/../v1") == f"folder:{here}/current/../v1"
    (here / "v1").mkdir()  # nor is it another folder of that name
    assert full_name("folder:current/../v1") == f"folder:{here}/current/../v1"


@pytest.mark.parametrize("name", ["digits", "", "s3://bucket/x", "folder:s3://bucket/x", "c:\\x"])
def test_what_names_no_path_stays(name, here):
    assert full_name(name) == name


KNOWN = [
    "digits", "tfds:mnist", "folder:/home/ada/flowers", "folder:/home/ada/old/flowers", "table:/data/birds.csv",
    "folder:/data/../data/bees",
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("digits", ["digits"]),
        ("tfds:mnist", ["tfds:mnist"]),
        ("mnist", ["tfds:mnist"]),
        ("folder:/home/ada/flowers", ["folder:/home/ada/flowers"]),
        ("folder:/home/ada/old/../flowers", ["folder:/home/ada/flowers"]),
        ("flowers", ["folder:/home/ada/flowers", "folder:/home/ada/old/flowers"]),
        ("old/flowers", ["folder:/home/ada/old/flowers"]),
        ("old/flowers/", ["folder:/home/ada/old/flowers"]),
        ("ada/flowers", ["folder:/home/ada/flowers"]),
        ("/home/ada/flowers", ["folder:/home/ada/flowers"]),
        ("owers", []),  # no end of a part
        ("birds.csv", ["table:/data/birds.csv"]),
        ("folder:/data/bees", ["folder:/data/../data/bees"]),  # as an older store has it
        ("folder:/data/../data/bees", ["folder:/data/../data/bees"]),
        ("", []),
        (" ", []),
    ],
)
def test_a_dataset_is_meant_by_its_name_its_source_or_an_end(asked, expected):
    assert find_dataset(asked, KNOWN) == expected


def test_a_relative_source_counts_from_the_working_directory(here):
    full = f"folder:{here}/x"
    assert find_dataset("folder:x", ["folder:/other/x", full]) == [full]
    os.chdir("/")
    assert find_dataset("folder:x", ["folder:/other/x", full]) == []


def test_people_read_the_shortest_end_that_is_no_other_s():
    assert shortest_ends(KNOWN) == {
        "digits": "digits",
        "tfds:mnist": "tfds:mnist",
        "folder:/home/ada/flowers": "ada/flowers",
        "folder:/home/ada/old/flowers": "old/flowers",
        "table:/data/birds.csv": "birds.csv",
        "folder:/data/../data/bees": "bees",
    }
    assert shortest_ends(["folder:/a/x", "table:/a/x", "x"]) == {
        "folder:/a/x": "folder:/a/x",
        "table:/a/x": "table:/a/x",
        "x": "x",
    }
    for name, end in shortest_ends(KNOWN).items():
        assert find_dataset(end, KNOWN) == [name]


def test_a_set_is_got_by_its_source_an_end_and_its_only_split(corpus, here):
    corpus.add("abcd")
    whole = f"folder:{here}/data/flowers"
    train = corpus.publish("ab", name=whole)
    get = corpus.store.get
    for name in (whole, "folder:data/flowers", "folder:./data/../data/flowers", "flowers", "data/flowers"):
        assert get(dataset=name, split="train", extractor="toy").key == train.key
        assert get(dataset=name, extractor="toy").key == train.key
        assert get(dataset=name, extractor="toy", as_of="2100-01-01").key == train.key
    test = corpus.publish("cd", split="test", name=whole)
    assert get(dataset="flowers", split="test", extractor="toy").key == test.key
    with pytest.raises(FeatureSetNotFound, match="split expected, for there are 2: test, train"):
        get(dataset="flowers", extractor="toy")
    with pytest.raises(
        FeatureSetNotFound, match=r"bees / toy: no such set in .*; sets here: folder:.*/data/flowers / test / toy"
    ):
        get(dataset="bees", extractor="toy")
    with pytest.raises(FeatureSetNotFound, match="dataset, split and extractor name a set together"):
        get(dataset="flowers")


def test_an_end_of_several_datasets_lists_them_and_an_exact_name_is_no_end(corpus):
    corpus.add("ab")
    corpus.publish("a", name="folder:/x/flowers")
    corpus.publish("b", name="folder:/y/flowers")
    with pytest.raises(
        FeatureSetNotFound,
        match=r"^flowers: one dataset expected, 2 end so: folder:/x/flowers, folder:/y/flowers; give",
    ):
        corpus.store.get(dataset="flowers", extractor="toy")
    own = corpus.publish("ab", name="flowers")
    assert corpus.store.get(dataset="flowers", extractor="toy").key == own.key


def test_a_run_is_found_by_an_end_of_its_dataset(store, probe_result):
    for number, dataset in enumerate(("folder:/x/flowers", "folder:/y/flowers", "tfds:mnist")):
        run = replace(probe_result, run_id=f"{number}" * 64, config=probe_result.config | {"dataset": dataset})
        store.publish_run(run)
    assert store.find_run("x/flowers/toy/logistic") == "0" * 64
    assert store.find_run("folder:/x/../y/flowers/toy/logistic") == "1" * 64
    assert store.find_run("mnist/toy/logistic") == "2" * 64
    with pytest.raises(
        RunNotFound, match=r"^flowers/toy/logistic: one dataset expected, 2 end so: folder:/x/flowers, folder:/y"
    ):
        store.find_run("flowers/toy/logistic")
    with pytest.raises(RunNotFound, match="answers to this id, prefix or DATASET/EXTRACTOR/HEAD"):
        store.find_run("lowers/toy/logistic")


def test_two_spellings_of_one_path_are_one_dataset():
    older, ours = "folder:/data/../data/flowers", "folder:/data/flowers"
    assert find_dataset("flowers", [older, ours]) == [ours]
    assert find_dataset("flowers", [older]) == [older]
    assert find_dataset(older, [older, ours]) == [older]
    assert find_dataset("flowers", [older, "folder:/other/flowers"]) == [older, "folder:/other/flowers"]


def test_an_end_is_shortest_among_thousands_as_among_few():
    names = [f"folder:/data/{group}/{number:04d}" for group in ("a", "b") for number in range(2000)]
    found = shortest_ends(names)
    assert found["folder:/data/a/0007"] == "a/0007"
    assert all(
        find_dataset(end, names[:50] + names[2000:2050]) == [name] for name, end in found.items() if name in names[:50]
    )
