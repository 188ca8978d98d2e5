import pytest

from extract import BadData, SourceUnavailable, UnknownName, open_source

JPEG = b"\xff\xd8 as far as a folder cares"


def ids(source, split="all"):
    return [example.example_id for example in source.examples(split)]


def test_classes_are_the_folders_and_images_come_sorted_by_path(make_folder):
    root = make_folder({"roses/b.jpg": b"1", "daisy/z.jpg": b"2", "daisy/a.jpg": b"3"})
    source = open_source(f"folder:{root}")
    assert source.class_names == ("daisy", "roses")
    assert source.splits == ("all",)
    assert [(e.example_id, e.label, e.data) for e in source.examples("all")] == [
        ("daisy/a.jpg", 0, b"3"), ("daisy/z.jpg", 0, b"2"), ("roses/b.jpg", 1, b"1"),
    ]  # fmt: skip
    assert source.count("all") == 3
    assert (source.name, source.version, source.origin) == (f"folder:{root}", "", {})


def test_a_class_is_read_recursively(make_folder):
    root = make_folder({"a/2019/may/x.jpg": JPEG, "a/2019/y.jpg": JPEG, "a/z.jpg": JPEG, "b/q.jpg": JPEG})
    source = open_source(f"folder:{root}")
    assert ids(source) == ["a/2019/may/x.jpg", "a/2019/y.jpg", "a/z.jpg", "b/q.jpg"]
    assert [example.label for example in source.examples("all")] == [0, 0, 0, 1]


def test_the_order_is_that_of_the_whole_path_and_repeats(make_folder):
    # By code points: capitals first, and "-" (2d) before "/" (2f) before letters.
    names = ["a/b/c.jpg", "a/b-/c.jpg", "a/B.jpg", "a/bb.jpg", "a/é.jpg"]
    source = open_source(f"folder:{make_folder(dict.fromkeys(names, JPEG))}")
    assert ids(source) == ["a/B.jpg", "a/b-/c.jpg", "a/b/c.jpg", "a/bb.jpg", "a/é.jpg"]
    assert ids(source) == ids(source)


def test_names_may_be_of_any_script_and_hold_spaces(make_folder):
    names = ["Gänse blümchen/ein Bild.jpg", "花/写真 1.png", "🌹/🌹.jpg", "a'b\"c/%20&;.jpg"]
    source = open_source(f"folder:{make_folder(dict.fromkeys(names, JPEG))}")
    assert sorted(ids(source)) == sorted(names)
    assert set(source.class_names) == {name.split("/")[0] for name in names}


@pytest.mark.parametrize("suffix", [".JPG", ".Jpeg", ".PNG", ".WebP", ".tif", ".TIFF", ".gif", ".avif", ".jfif"])
def test_suffixes_count_in_any_case(make_folder, suffix):
    assert ids(open_source(f"folder:{make_folder({f'a/x{suffix}': JPEG})}")) == [f"a/x{suffix}"]


def test_other_and_hidden_files_are_ignored_and_counted(make_folder):
    root = make_folder(
        {
            "a/x.jpg": JPEG, "a/notes.txt": b"", "a/.hidden.jpg": JPEG, "a/Thumbs.db": b"", "a/noext": JPEG,
            "README.md": b"", "stray.jpg": JPEG,
        }
    )  # fmt: skip
    source = open_source(f"folder:{root}")
    assert ids(source) == ["a/x.jpg"]
    counted = {".jpg": 1, ".md": 1, ".txt": 1, "Thumbs.db": 1, "hidden": 1, "without suffix": 1}
    assert source.ignored("all") == counted


def test_images_in_hidden_folders_below_a_class_are_ignored(make_folder):
    root = make_folder({"a/x.jpg": JPEG, "a/.ipynb_checkpoints/x-checkpoint.jpg": JPEG, "a/.t/deep/y.jpg": JPEG})
    source = open_source(f"folder:{root}")
    assert ids(source) == ["a/x.jpg"]
    assert source.ignored("all") == {".ipynb_checkpoints/": 1, "hidden": 1}


def test_hidden_folders_are_no_classes(make_folder):
    source = open_source(f"folder:{make_folder({'.git/x.jpg': JPEG, 'a/x.jpg': JPEG})}")
    assert source.class_names == ("a",)


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "Val"])
def test_split_folders_are_base_splits(make_folder, validation):
    root = make_folder(
        {"train/a/1.jpg": JPEG, "train/b/2.jpg": JPEG, f"{validation}/a/3.jpg": JPEG, "test/b/4.jpg": JPEG}
    )
    source = open_source(f"folder:{root}")
    assert source.splits == ("train", "validation", "test")
    assert source.class_names == ("a", "b")
    assert ids(source, "train") == ["train/a/1.jpg", "train/b/2.jpg"]
    assert ids(source, "validation") == [f"{validation}/a/3.jpg"]
    assert [(e.example_id, e.label) for e in source.examples("test")] == [("test/b/4.jpg", 1)]
    assert [source.count(split) for split in source.splits] == [2, 1, 1]


def test_a_class_called_train_beside_others_is_a_class(make_folder):
    source = open_source(f"folder:{make_folder({'train/1.jpg': JPEG, 'bus/2.jpg': JPEG})}")
    assert (source.splits, source.class_names) == (("all",), ("bus", "train"))


def test_two_folders_for_one_split_are_refused(make_folder):
    root = make_folder({"train/a/1.jpg": JPEG, "val/a/2.jpg": JPEG, "valid/a/3.jpg": JPEG})
    with pytest.raises(BadData, match="val and valid both name the split 'validation'; keep one"):
        open_source(f"folder:{root}")


def test_moving_the_folder_changes_no_example(make_folder, tmp_path):
    root = make_folder({"a/1.jpg": b"1", "b/2.jpg": b"2"})
    before = list(open_source(f"folder:{root}").examples("all"))
    after = list(open_source(f"folder:{root.rename(tmp_path / 'moved')}").examples("all"))
    assert before == after


def test_a_relative_path_names_the_whole_one(make_folder, monkeypatch):
    root = make_folder({"a/1.jpg": JPEG})
    monkeypatch.chdir(root.parent)
    assert open_source("folder:images").name == f"folder:{root}"


def test_chosen_examples_are_picked_and_nothing_outside_the_folder(make_folder):
    root = make_folder({"a/1.jpg": b"1", "a/2.jpg": b"2", "b/3.jpg": b"3"})
    (root.parent / "secret.jpg").write_bytes(b"no")
    source = open_source(f"folder:{root}")
    found = source.pick("all", ["b/3.jpg", "a/1.jpg", "../secret.jpg", "gone.jpg"])
    assert [(example.example_id, example.data) for example in found] == [("a/1.jpg", b"1"), ("b/3.jpg", b"3")]


@pytest.mark.timeout(20)
def test_a_link_to_a_folder_is_not_followed_and_counted_as_ignored(make_folder):
    root = make_folder({"a/1.jpg": JPEG, "a/deep/2.jpg": JPEG})
    (root / "a" / "deep" / "loop").symlink_to(root / "a")
    source = open_source(f"folder:{root}")
    assert ids(source) == ["a/1.jpg", "a/deep/2.jpg"]
    assert source.ignored("all") == {"links to folders": 1}


def test_a_link_to_an_image_is_a_image(make_folder):
    root = make_folder({"a/1.jpg": b"1"})
    (root / "a" / "2.jpg").symlink_to(root / "a" / "1.jpg")
    assert [example.data for example in open_source(f"folder:{root}").examples("all")] == [b"1", b"1"]


def test_a_class_may_be_a_link_to_a_folder(make_folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.jpg").write_bytes(JPEG)
    root = make_folder({"a/1.jpg": JPEG})
    (root / "b").symlink_to(elsewhere)
    assert ids(open_source(f"folder:{root}")) == ["a/1.jpg", "b/x.jpg"]


def test_an_image_that_cannot_be_read_counts_against_the_budget_with_its_reason(make_folder, lab, tree):
    root = make_folder({"a/1.jpg": JPEG})
    (root / "a" / "0-gone.jpg").symlink_to(root / "nowhere.jpg")
    before = tree(lab.store.path)
    with pytest.raises(BadData, match=r"a/0-gone\.jpg: cannot be read: No such file or directory"):
        lab.extract(open_source(f"folder:{root}"))
    assert tree(lab.store.path) == before


# Bad input


def test_a_folder_that_is_not_there_is_unavailable(tmp_path):
    with pytest.raises(SourceUnavailable, match=r"nowhere: no such folder; expected PATH/CLASS/image\.jpg"):
        open_source(f"folder:{tmp_path}/nowhere")


def test_a_file_is_no_folder(make_folder):
    with pytest.raises(SourceUnavailable, match=r"1\.jpg: no such folder"):
        open_source(f"folder:{make_folder({'1.jpg': JPEG})}/1.jpg")


def test_an_empty_folder_is_bad_data(tmp_path):
    with pytest.raises(BadData, match=r"class folders expected \(PATH/CLASS/image\.jpg\), but it is empty"):
        open_source(f"folder:{tmp_path}")


def test_a_folder_without_class_folders_is_bad_data(make_folder):
    with pytest.raises(BadData, match=r"class folders expected .*, but it holds no folders"):
        open_source(f"folder:{make_folder({'1.jpg': JPEG, '2.jpg': JPEG})}")


@pytest.mark.parametrize(
    ("files", "ignored"), [({}, {}), ({"b/notes.txt": b"", "b/.hidden.jpg": JPEG}, {".txt": 1, "hidden": 1})]
)
def test_a_class_without_an_image_is_left_out_and_told(make_folder, files, ignored):
    root = make_folder({"a/1.jpg": JPEG, **files})
    (root / "b").mkdir(exist_ok=True)
    source = open_source(f"folder:{root}")
    assert source.class_names == ("a",)
    assert source.ignored("all") == {"b/ without an image": 1, **ignored}


def test_folders_without_any_image_are_bad_data(make_folder):
    with pytest.raises(BadData, match=r"class folders expected .*, but no image lies below its folders"):
        open_source(f"folder:{make_folder({'a/1.txt': b'', 'b/2.md': b''})}")


def test_an_unknown_split_names_those_there_are(make_folder):
    source = open_source(f"folder:{make_folder({'train/a/1.jpg': JPEG, 'test/a/2.jpg': JPEG})}")
    for ask in (source.examples, source.count, source.ignored, lambda split: next(source.pick(split, ["x"]))):
        with pytest.raises(
            UnknownName, match=r"tset: no such base split of folder:.*did you mean 'test'\? known: train, test"
        ):
            ask("tset")


@pytest.mark.parametrize("name", ["", "folder:", "digits", "bundle:digits", "http://example.org/x"])
def test_an_unknown_source_lists_the_kinds(name):
    with pytest.raises(
        UnknownName,
        match=r"no such dataset source; .*known: folder:PATH, table:FILE, npz:FILE, tfds:NAME, hf:NAME, bundled:digits",
    ):
        open_source(name)


def test_a_part_with_a_misspelt_name_is_no_class(make_folder):
    root = make_folder({f"{part}/{name}/1.jpg": JPEG for part in ("train", "tst") for name in "ab"})
    with pytest.raises(BadData, match=r"train by its name is a part of a dataset, tst is none"):
        open_source(f"folder:{root}")
    (root / "tst").rename(root / "Testing")
    assert open_source(f"folder:{root}").splits == ("train", "test")


def test_a_class_may_be_called_as_a_part_is(make_folder):
    root = make_folder({f"{name}/1.jpg": JPEG for name in ("train", "plane", "ship/old")})
    source = open_source(f"folder:{root}")
    assert (source.splits, source.class_names) == (("all",), ("plane", "ship", "train"))
