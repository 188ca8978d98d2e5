import io

import numpy as np
import pytest

from extract import BadData, SourceUnavailable, UnknownName, open_source

IMAGES = np.arange(4 * 3 * 2, dtype=np.uint8).reshape(4, 3, 2)
LABELS = np.array([0, 1, 1, 0])


@pytest.fixture
def make_npz(tmp_path):
    """Returns a function that writes arrays."""

    def make(**arrays):
        np.savez(tmp_path / "images.npz", **arrays)
        return tmp_path / "images.npz"

    return make


def test_rows_are_images_in_their_order(make_npz):
    path = make_npz(images=IMAGES, labels=LABELS)
    source = open_source(f"npz:{path}")
    assert (source.name, source.version, source.origin) == (f"npz:{path}", "", {})
    assert (source.class_names, source.splits) == (("0", "1"), ("all",))
    found = list(source.examples("all"))
    assert [(e.example_id, e.label, e.group) for e in found] == [
        ("0000000", 0, ""), ("0000001", 1, ""), ("0000002", 1, ""), ("0000003", 0, ""),
    ]  # fmt: skip
    assert all(np.array_equal(e.data[..., 0], image) for e, image in zip(found, IMAGES, strict=True))
    assert (source.count("all"), source.ignored("all")) == (4, {})
    assert [e.example_id for e in source.pick("all", {"0000002"})] == ["0000002"]
    assert found[0].look().header.mode == "L"


def test_the_form_of_medmnist_has_base_splits(make_npz):
    colour = np.repeat(IMAGES[..., None], 3, axis=3)
    path = make_npz(
        train_images=colour, train_labels=LABELS[:, None].astype(np.uint8), val_images=colour[:1],
        val_labels=np.array([[2]], np.uint8), test_images=colour[1:3], test_labels=np.array([[0], [1]], np.uint8),
    )  # fmt: skip
    source = open_source(f"npz:{path}")
    assert (source.splits, source.class_names) == (("train", "validation", "test"), ("0", "1", "2"))
    assert [source.count(split) for split in source.splits] == [4, 1, 2]
    assert next(source.examples("validation")).label == 2
    assert next(source.examples("test")).look().header.mode == "RGB"
    with pytest.raises(UnknownName, match="validation"):
        source.examples("val")


def test_names_ids_and_groups_are_taken_from_the_file(make_npz):
    path = make_npz(
        images=IMAGES, labels=LABELS, class_names=["cat", "dog", "never"], example_ids=["d", "c", "b", "a"],
        groups=["p", "p", "q", "q"], notes=np.zeros(3),
    )  # fmt: skip
    source = open_source(f"npz:{path}")
    assert source.class_names == ("cat", "dog", "never")
    assert [(e.example_id, e.group) for e in source.examples("all")] == [("d", "p"), ("c", "p"), ("b", "q"), ("a", "q")]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "nothing found"),
        ({"features": IMAGES, "labels": LABELS}, "features, labels found.*linprobe store import"),
        ({"images": IMAGES}, "labels expected, images found"),
        ({"images": IMAGES.astype(float), "labels": LABELS}, r"uint8 .*float64 \(4, 3, 2, 1\) found"),
        ({"images": np.zeros((4, 3, 2, 4), np.uint8), "labels": LABELS}, r"\(4, 3, 2, 4\) found"),
        ({"images": np.zeros((4, 5), np.uint8), "labels": LABELS}, r"\(4, 5\) found"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"\(0, 3, 2, 1\) found"),
        ({"images": IMAGES, "labels": LABELS[:3]}, r"each of 4 images expected, int64 \(3,\) found"),
        ({"images": IMAGES, "labels": np.eye(4, dtype=int)}, r"int64 \(4, 4\) found"),
        ({"images": IMAGES, "labels": LABELS / 2}, "float64"),
        ({"images": IMAGES, "labels": LABELS - 1}, "0 and on expected, -1 found"),
        ({"images": IMAGES, "labels": LABELS * 10**6}, "1000000 found; give class_names"),
        ({"images": IMAGES, "labels": LABELS, "class_names": ["a"]}, "2 or more distinct names expected, 1 found"),
        ({"images": IMAGES, "labels": LABELS, "class_names": ["a", "a"]}, "1 found"),
        ({"images": IMAGES, "labels": LABELS, "example_ids": list("aabc")}, "4 distinct ids expected, 3 found"),
        ({"images": IMAGES, "labels": LABELS, "example_ids": list("abc")}, "4 texts expected, 3 found"),
        ({"images": IMAGES, "labels": LABELS, "groups": ["a", "", "b", "c"]}, "4 found, 3 not empty"),
        ({"images": IMAGES, "labels": LABELS, "groups": np.arange(4)}, "texts expected"),
        ({"train_images": IMAGES, "train_labels": LABELS, "training_images": IMAGES}, "are both 'train'"),
        ({"train_images": IMAGES, "labels": LABELS}, "train_labels expected"),
        ({"images": IMAGES, "labels": np.array([0, 1, None, 1], object)}, "plain arrays expected"),
    ],
)
def test_what_is_not_expected_is_refused(make_npz, arrays, message):
    with pytest.raises(BadData, match=message):
        open_source(f"npz:{make_npz(**arrays)}")


def test_other_files_are_refused_and_a_missing_one_is_told(tmp_path, make_npz):
    with pytest.raises(SourceUnavailable, match="no such file"):
        open_source(f"npz:{tmp_path}/none.npz")
    whole = make_npz(images=IMAGES, labels=LABELS).read_bytes()
    single = io.BytesIO()
    np.save(single, IMAGES)
    for data in (b"", b"text", whole[:-30], single.getvalue()):
        (tmp_path / "other.npz").write_bytes(data)
        with pytest.raises(BadData, match="npz file"):
            open_source(f"npz:{tmp_path}/other.npz")


PIXELS = np.full((6, 5, 4, 3), 7, np.uint8)
KINDS = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("arrays", "cause"),
    [
        ({"images": PIXELS / np.float32(255)}, "Numbers without a stated range are not guessed"),
        ({"images": PIXELS.astype(np.uint16)}, "Whole numbers of another width have no stated range"),
        ({"images": PIXELS[..., 0] > 3}, r"true or false: \(images \* 255\)\.astype\(np\.uint8\)"),
        ({"images": PIXELS.transpose(0, 3, 1, 2)}, r"Channels come last: np\.moveaxis\(images, -3, -1\)"),
        ({"images": np.concatenate([PIXELS, PIXELS[..., :1]], 3)}, "Composite the alpha channel first"),
        ({"images": np.repeat(PIXELS, 3, 3)}, "9 channels are no picture"),
        ({"labels": np.eye(3, dtype=np.uint8)[KINDS]}, r"one-hot: labels\.argmax\(axis=1\)"),
        ({"labels": np.ones((6, 14), np.uint8)}, "14 labels an image"),
        ({"labels": KINDS.astype(np.float64)}, r"whole in fact: labels\.astype\(np\.int64\)"),
        ({"labels": KINDS + 0.5}, "measures, not classes"),
        ({"labels": KINDS > 0}, "true or false"),
        ({"labels": KINDS.astype(str)}, r"np\.unique\(labels, return_inverse=True\)"),
        ({"labels": KINDS.astype(object)}, "pickles, which are programs and never loaded"),
    ],
)
def test_the_cause_is_named(make_npz, arrays, cause):
    with pytest.raises(BadData, match=cause):
        open_source(f"npz:{make_npz(**{'images': PIXELS, 'labels': KINDS, **arrays})}")


@pytest.mark.parametrize(
    ("arrays", "arguments"),
    [
        ({"x_train": PIXELS, "y_train": KINDS}, "train_images=data['x_train'], train_labels=data['y_train']"),
        ({"data": PIXELS, "target": KINDS}, "images=data['data'], labels=data['target']"),
    ],
)
def test_usual_names_of_others_are_known(make_npz, arrays, arguments):
    with pytest.raises(BadData) as caught:
        open_source(f"npz:{make_npz(**arrays)}")
    assert f"np.savez(path, {arguments}) gives them ours" in str(caught.value)
    # What is proposed works.
    renamed = eval(f"dict({arguments})", {"data": arrays})
    assert open_source(f"npz:{make_npz(**renamed)}").class_names == ("0", "1", "2")
