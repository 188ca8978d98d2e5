"""Folders as devices, archives and people leave them, and what a person would say is in them."""

import os
from pathlib import Path

import pytest

from extract import BadData, InvalidSetting, Reading, open_source

JPEG = b"\xff\xd8\xff\xe0 of some kind"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def opened(root: Path, **reading):
    return open_source(f"folder:{root}", reading=Reading(**reading))


def ids(source, split: str = "all") -> list[str]:
    return [example.example_id for example in source.examples(split)]


# What machines leave


@pytest.mark.parametrize(
    "left",
    ["@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg", "__MACOSX/1.jpg", ".AppleDouble/1.jpg", "lost+found/1.jpg", "#recycle/1.jpg",
     "$RECYCLE.BIN/1.jpg", "System Volume Information/1.jpg", ".ipynb_checkpoints/1-checkpoint.jpg"],
)  # fmt: skip
@pytest.mark.parametrize("where", ["", "cats/"])
def test_folders_that_machines_leave_are_ignored_counted_and_named(make_folder, left, where):
    root = make_folder({"cats/1.jpg": JPEG, "dogs/2.jpg": JPEG, f"{where}{left}": JPEG})
    source = opened(root)
    assert source.class_names == ("cats", "dogs")
    assert ids(source) == ["cats/1.jpg", "dogs/2.jpg"]
    assert source.ignored("all") == {f"{left.partition('/')[0]}/": 1}


@pytest.mark.parametrize("left", ["Thumbs.db", "desktop.ini", ".DS_Store", "._1.jpg", "ehthumbs.db"])
def test_files_that_machines_leave_are_ignored_counted_and_named(make_folder, left):
    source = opened(make_folder({"cats/1.jpg": JPEG, "dogs/2.jpg": JPEG, f"cats/{left}": JPEG}))
    assert ids(source) == ["cats/1.jpg", "dogs/2.jpg"]
    assert source.ignored("all") == {"._*" if left.startswith("._") else left: 1}


def test_a_zip_of_a_mac_has_the_classes_that_its_owner_sees(make_folder):
    files = {f"{name}/{n}.jpg": JPEG for name in ("cats", "dogs") for n in range(3)}
    files |= {f"__MACOSX/{name}/._{n}.jpg": b"\0\5\x16\7Mac OS X" for name in ("cats", "dogs") for n in range(3)}
    source = opened(make_folder(files))
    assert (source.class_names, source.count("all")) == (("cats", "dogs"), 6)
    assert source.ignored("all") == {"__MACOSX/": 6}


# What an image is


@pytest.mark.parametrize("name", ["1.HEIC", "1.heif", "1.jp2", "1.psd", "1.NEF", "1.cr3", "1.dng", "1.jxl", "1.exr"])
def test_images_that_cannot_be_read_are_candidates_and_not_passed_over(make_folder, name):
    source = opened(make_folder({"a/0.jpg": JPEG, f"a/{name}": HEIC + os.urandom(50)}))
    assert ids(source) == sorted(["a/0.jpg", f"a/{name}"])
    assert source.ignored("all") == {}


@pytest.mark.parametrize("name", ["1.svg", "1.pdf", "1.txt", "1.json", "1.mp4", "1.npy", "1"])
def test_all_else_is_ignored_by_its_suffix(make_folder, name):
    source = opened(make_folder({"a/0.jpg": JPEG, f"a/{name}": b"<svg> or whatever"}))
    assert ids(source) == ["a/0.jpg"]
    assert source.ignored("all") == {Path(name).suffix or "without suffix": 1}


@pytest.mark.parametrize("head", [JPEG, b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF....WEBP", b"II*\0", HEIC])
@pytest.mark.parametrize("name", ["IMG_0001", "1.dat", "1.jpg_original"])
def test_a_file_whose_first_bytes_are_an_images_is_one_whatever_its_name(make_folder, head, name):
    assert ids(opened(make_folder({f"a/{name}": head + b"..."}))) == [f"a/{name}"]


def test_a_pipe_is_not_opened(make_folder):
    root = make_folder({"a/0.jpg": JPEG})
    os.mkfifo(root / "a" / "pipe")
    assert ids(opened(root)) == ["a/0.jpg"]


# Names


def test_a_file_whose_name_is_not_utf8_is_quarantined_and_stops_nothing(make_folder):
    root = make_folder({"a/1.jpg": JPEG, "b/2.jpg": JPEG})
    os.rename(os.fsencode(root / "a" / "1.jpg"), os.fsencode(root / "a") + b"/caf\xe9.jpg")
    first, second = opened(root).examples("all")
    assert (first.example_id, first.look().reason) == (r"a/caf\xe9.jpg", "its name, or its folder's, is not UTF-8")
    assert second.example_id == "b/2.jpg"


def test_a_class_whose_name_is_not_utf8_is_quarantined_and_stops_nothing(make_folder):
    root = make_folder({"a/1.jpg": JPEG, "b/2.jpg": JPEG})
    os.rename(os.fsencode(root / "b"), os.fsencode(root) + b"/caf\xe9")
    source = opened(root)
    assert source.class_names == ("a", r"caf\xe9")
    reasons = {example.example_id: example.look().reason for example in source.examples("all")}
    assert reasons[r"caf\xe9/2.jpg"] == "its name, or its folder's, is not UTF-8"


def test_composed_and_decomposed_names_are_one_class(make_folder):
    source = opened(
        make_folder({"train/caf\u00e9/1.jpg": JPEG, "test/cafe\u0301/2.jpg": JPEG, "train/bar/3.jpg": JPEG})
    )
    assert source.class_names == ("bar", "caf\u00e9")
    assert [example.label for example in source.examples("test")] == [1]


@pytest.mark.parametrize("names", [("cat", " cat"), ("Cat", "cat"), ("1", "01"), ("\uff23at", "Cat"), ("3", "3.0")])
def test_names_that_look_alike_are_refused_unless_they_are_to_be_merged(make_folder, names):
    root = make_folder({f"{name}/{n}.jpg": JPEG for n, name in enumerate((*names, "dog"))})
    (root / names[0] / "more.jpg").write_bytes(JPEG)
    with pytest.raises(
        BadData, match=r"class folders that look alike: .* and .*; make them one, or say merge = true"
    ) as e:
        opened(root)
    assert f"{names[0]!r} (2) and {names[1]!r} (1)" in str(e.value)
    source = opened(root, merge=True)
    assert len(source.class_names) == 2
    assert len({example.label for example in source.examples("all") if not example.example_id.startswith("dog")}) == 1


def test_whole_numbers_are_sorted_as_numbers(make_folder):
    assert opened(make_folder({f"{n}/1.jpg": JPEG for n in (10, 9, 0)})).class_names == ("0", "9", "10")


# Parts and classes


@pytest.mark.parametrize(
    "names",
    [("training_set", "test_set"), ("Train", "Val"), ("train2017", "val2017"), ("TRAIN", "TEST"), ("train_images", "test"),
     ("training-data", "validation-data", "testing-data"), ("train", "dev", "test"), ("train set", "test set")],
)  # fmt: skip
def test_parts_in_a_usual_spelling_are_parts(make_folder, names):
    root = make_folder({f"{part}/{name}/1.jpg": JPEG for part in names for name in ("cats", "dogs")})
    source = opened(root)
    assert source.class_names == ("cats", "dogs")
    assert source.splits == (("train", "validation", "test") if len(names) == 3 else source.splits)
    assert "all" not in source.splits
    assert len(source.splits) == len(names)


def test_folders_that_hold_the_same_folders_each_are_refused_with_the_tree(make_folder):
    root = make_folder({f"{part}/{name}/1.jpg": JPEG for part in ("site1", "site2") for name in ("cats", "dogs")})
    with pytest.raises(BadData, match=r'site1/\{cats, dogs\}; site2/\{cats, dogs\}.*layout = "classes"'):
        opened(root)
    assert opened(root, layout="classes").class_names == ("site1", "site2")
    with pytest.raises(BadData, match='layout = "parts" expects folders that are called train'):
        opened(root, layout="parts")


def test_classes_with_folders_of_their_own_are_classes(make_folder):
    root = make_folder({"cats/siamese/1.jpg": JPEG, "cats/persian/1.jpg": JPEG, "dogs/pug/1.jpg": JPEG})
    assert opened(root).class_names == ("cats", "dogs")


def test_an_unknown_layout_is_refused():
    with pytest.raises(InvalidSetting, match="classes or parts expected"):
        Reading(layout="clases")


# Links


@pytest.mark.parametrize("target", ["", ".."])
def test_a_class_that_is_a_link_to_a_folder_above_is_refused(make_folder, target):
    root = make_folder({"a/1.jpg": JPEG, "b/2.jpg": JPEG})
    (root / "all").symlink_to(root / target)
    with pytest.raises(BadData, match=r"a class that is a link to .*, which holds the dataset itself; remove it"):
        opened(root)


# Groups


def test_groups_are_read_from_relative_paths(make_folder):
    root = make_folder({"a/p1_1.jpg": JPEG, "a/p1_2.jpg": JPEG, "b/p2_1.jpg": JPEG, "b/x.jpg": JPEG})
    found = {example.example_id: example.group for example in opened(root, group=r"(p\d+)_").examples("all")}
    assert found == {"a/p1_1.jpg": "p1", "a/p1_2.jpg": "p1", "b/p2_1.jpg": "p2", "b/x.jpg": ""}
    whole = {example.example_id: example.group for example in opened(root, group=r"p\d+").examples("all")}
    assert whole == found


def test_a_group_that_is_no_regular_expression_is_refused():
    with pytest.raises(InvalidSetting, match="a regular expression expected"):
        Reading(group="(")
