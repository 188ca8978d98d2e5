"""Hugging Face datasets as people have them: what is read of them, and what is refused in words."""

import io
import sys

import datasets
import numpy as np
import pytest
from PIL import Image

from extract import BadData, SourceUnavailable, UnknownName, open_source
from extract.sources.reading import Reading

pytestmark = pytest.mark.framework


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def png(number):
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 5, 3), number, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def table(labels, *, names=("cat", "dog"), **columns):
    """A dataset with an image of its own for each label."""
    label = datasets.ClassLabel(names=list(names)) if names else datasets.Value("string")
    features = {"image": datasets.Image(), "label": label} | {
        name: datasets.Value("int64" if isinstance(column[0], int) else "string") for name, column in columns.items()
    }
    rows = {"image": [{"bytes": png(at), "path": None} for at in range(len(labels))], "label": list(labels), **columns}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def saved(folder, **splits):
    datasets.DatasetDict(splits).save_to_disk(folder / "saved")
    return f"hf:{folder / 'saved'}"


def test_bytes_are_passed_on_undecoded_in_the_order_of_the_rows(tmp_path):
    source = open_source(saved(tmp_path, train=table([0, 1, 1]), test=table([1, 0])))
    assert (source.splits, source.class_names) == (("train", "test"), ("cat", "dog"))
    found = list(source.examples("train"))
    assert [(one.example_id, one.label, one.data) for one in found] == [
        ("0", 0, png(0)),
        ("1", 1, png(1)),
        ("2", 1, png(2)),
    ]
    assert (source.count("train"), source.count("test"), source.orientation) == (3, 2, "exif")


def test_parquet_files_and_folders_of_images_are_read_from_a_path(tmp_path):
    (tmp_path / "parquet").mkdir()
    table([0, 1]).to_parquet(tmp_path / "parquet" / "train-00000-of-00001.parquet")
    assert [one.data for one in open_source(f"hf:{tmp_path}/parquet").examples("train")] == [png(0), png(1)]
    for name in ("train/cat", "train/dog", "validation/dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "1.png").write_bytes(png(7))
    source = open_source(f"hf:{tmp_path}/images")
    assert source.class_names == ("cat", "dog")
    assert [one.data for one in source.examples("validation")] == [png(7)]


def test_ids_of_its_own_are_taken_where_they_are_distinct(tmp_path):
    source = open_source(saved(tmp_path, train=table([0, 1], image_id=[17, 4], group=["p1", "p1"])))
    assert [(one.example_id, one.group) for one in source.examples("train")] == [("17", "p1"), ("4", "p1")]
    assert [one.data for one in source.pick("train", ["4"])] == [png(1)]
    twice = datasets.DatasetDict(train=table([0, 1], image_id=[4, 4]))
    twice.save_to_disk(tmp_path / "twice")
    assert [one.example_id for one in open_source(f"hf:{tmp_path / 'twice'}").examples("train")] == ["0", "1"]


def test_labels_that_are_text_are_classes_by_the_rules_of_tables(tmp_path):
    labels = ["10", "9", "10", "2"]
    source = open_source(saved(tmp_path, train=table(labels, names=())))
    assert source.class_names == ("2", "9", "10")
    assert [one.label for one in source.examples("train")] == [2, 1, 2, 0]
    datasets.DatasetDict(train=table(["Cat", "cat "], names=())).save_to_disk(tmp_path / "alike")
    with pytest.raises(BadData, match=r"'Cat'.*'cat '|'cat '.*'Cat'"):
        open_source(f"hf:{tmp_path / 'alike'}")
    assert len(open_source(f"hf:{tmp_path / 'alike'}", reading=Reading(merge=True)).class_names) == 1


def test_a_split_without_labels_is_left_out_and_told(tmp_path):
    source = open_source(saved(tmp_path, train=table([0, 1]), test=table([-1, -1])))
    assert source.splits == ("train",)
    assert source.left_out == ("the split 'test' has no labels (-1), and is left out",)
    with pytest.raises(UnknownName):
        source.count("test")


def test_a_row_without_an_image_is_a_candidate_that_is_none(tmp_path):
    found = table([0, 1, 1]).to_dict()
    found["image"][1] = None
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    source = open_source(saved(tmp_path, train=datasets.Dataset.from_dict(found, features=features)))
    known = [one.look() for one in source.examples("train")]
    assert [bool(one.reason) for one in known] == [False, True, False]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": None}, "one column of images expected, or one called image; found: label"),
        ({"label": None}, "a ClassLabel expected, or a column called label; found: image"),
    ],
)
def test_what_is_no_classification_of_images_is_refused_by_its_columns(tmp_path, columns, message):
    source = saved(tmp_path, train=table([0, 1]).remove_columns(list(columns)))
    with pytest.raises(BadData, match=message):
        open_source(source)


def test_what_is_neither_here_nor_to_be_had_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    for name in ("no-such-org/no-such-set", str(tmp_path / "nowhere"), str(tmp_path)):
        with pytest.raises(SourceUnavailable, match=r"neither here nor to be downloaded .* hf:/path"):
            open_source(f"hf:{name}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SourceUnavailable, match=r"needs the extra 'hf'; run 'pip install linprobe\[hf\]'"):
        open_source("hf:mnist")
