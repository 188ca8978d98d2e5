import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extract import BadData, SourceCaches, SourceUnavailable, UnknownName, open_source

pytestmark = pytest.mark.framework


@pytest.fixture(scope="module")
def tfds():
    import tensorflow_datasets

    return tensorflow_datasets


@pytest.fixture(scope="module")
def idx(fashion):
    """The images and labels of both splits, as they stand in Debian's idx files."""
    return {"train": fashion.read_idx("train", 1500), "test": fashion.read_idx("test", 500)}


@pytest.fixture(scope="module")
def source(fashion_mnist_folder):
    return open_source("tfds:fashion_mnist", SourceCaches(tfds_data_dir=fashion_mnist_folder))


@pytest.fixture(scope="module")
def examples(source):
    return {split: list(source.examples(split)) for split in ("train", "test")}


def test_a_prepared_dataset_says_what_it_is(source, fashion):
    assert source.name == "tfds:fashion_mnist"
    assert source.version == "3.0.1"
    assert source.origin == {"name": "fashion_mnist", "config": "", "version": "3.0.1", "label": "label"}
    assert source.class_names == fashion.CLASS_NAMES
    assert set(source.splits) == {"train", "test"}
    assert (source.count("train"), source.count("test")) == (1500, 500)
    assert source.ignored("train") == {}


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_and_labels_are_those_of_the_files_in_their_order(examples, idx, split):
    images, labels = idx[split]
    assert [example.label for example in examples[split]] == labels.tolist()
    for example, image in zip(examples[split][::50], images[::50], strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(example.data))), image[..., 0])


def test_the_first_labels_are_those_that_the_dataset_is_known_for(examples):
    # Fashion-MNIST begins with an ankle boot, two T-shirts, a dress; its test split with a boot, a pullover.
    assert [example.label for example in examples["train"][:5]] == [9, 0, 0, 3, 0]
    assert [example.label for example in examples["test"][:4]] == [9, 2, 1, 1]


def test_ids_are_tfdss_own(examples):
    assert [example.example_id for example in examples["train"][16:18]] == [
        "fashion_mnist-train.tfrecord-00000-of-00001__16",
        "fashion_mnist-train.tfrecord-00000-of-00001__17",
    ]
    ids = [example.example_id for split in examples.values() for example in split]
    assert len(set(ids)) == 2000


def test_encoded_bytes_are_passed_on(examples):
    first = examples["train"][0]
    assert first.data.startswith(b"\x89PNG")
    assert first.content_sha256() == hashlib.sha256(first.data).digest()


def test_the_order_repeats(source, examples):
    again = [example.example_id for example in source.examples("train")]
    assert again == [example.example_id for example in examples["train"]]


def test_chosen_examples_are_picked_in_order(source, examples):
    wanted = [examples["train"][at].example_id for at in (700, 3, 40)]
    found = list(source.pick("train", wanted))
    assert found == [examples["train"][at] for at in (3, 40, 700)]
    assert list(source.pick("train", [])) == []
    assert list(source.pick("train", ["gone"])) == []


def read_ids(tfds, builder, split, image):
    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders={image: tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(add_tfds_id=True, interleave_cycle_length=1),
    )
    return [example["tfds_id"].decode() for example in dataset.as_numpy_iterator()]


@pytest.fixture(scope="module")
def sharded_folder(tfds, encode, tmp_path_factory) -> Path:
    """120 images in 3 files: 40 each is more than the 16 that TFDS takes from one file at a time by default."""
    folder = tmp_path_factory.mktemp("sharded")
    images = [encode(np.full((4, 4, 3), at, np.uint8)) for at in range(120)]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="sharded",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {"picture": tfds.features.Image(shape=(4, 4, 3)), "kind": tfds.features.ClassLabel(num_classes=3)}
        ),
        split_datasets={
            "train": [(at, {"picture": io.BytesIO(data), "kind": at % 3}) for at, data in enumerate(images)]
        },
        data_dir=folder,
        download_config=tfds.download.DownloadConfig(num_shards=3),
    )
    return folder


def test_a_dataset_in_many_files_comes_in_row_order(sharded_folder):
    source = open_source("tfds:sharded", SourceCaches(tfds_data_dir=sharded_folder))
    assert source.class_names == ("0", "1", "2")
    assert source.origin["label"] == "kind"
    found = list(source.examples("train"))
    assert len(list(sharded_folder.glob("sharded/1.0.0/*.tfrecord-*"))) == 3
    # File by file, and within a file by row: an id names both.
    places = [(e.example_id.split("__")[0], int(e.example_id.split("__")[1])) for e in found]
    assert len(places) == 120
    assert places == sorted(places)
    # The images were shuffled when they were stored; each kept its label.
    greys = [int(np.asarray(Image.open(io.BytesIO(e.data)))[0, 0, 0]) for e in found]
    assert [example.label for example in found] == [grey % 3 for grey in greys]
    assert sorted(greys) == list(range(120))


@pytest.mark.parametrize(
    ("split", "begin", "end"), [("train[10%:20%]", 12, 24), ("train[:33]", 0, 33), ("train[-7:]", 113, 120)]
)
def test_row_ranges_are_tfdss_slices(tfds, sharded_folder, split, begin, end):
    rows = [
        example.example_id
        for example in open_source("tfds:sharded", SourceCaches(tfds_data_dir=sharded_folder)).examples("train")
    ]
    assert read_ids(tfds, tfds.builder("sharded", data_dir=sharded_folder), split, "picture") == rows[begin:end]


def test_row_ranges_of_fashion_mnist_are_tfdss_slices(tfds, fashion_mnist_folder, examples):
    rows = [example.example_id for example in examples["train"]]
    builder = tfds.builder("fashion_mnist", data_dir=fashion_mnist_folder)
    assert read_ids(tfds, builder, "train[10%:20%]", "image") == rows[150:300]


def test_a_version_can_be_asked_for(fashion_mnist_folder):
    assert open_source("tfds:fashion_mnist:3.0.1", SourceCaches(tfds_data_dir=fashion_mnist_folder)).version == "3.0.1"


def test_extraction_of_a_prepared_dataset(lab, source, idx):
    done = lab.extract(source, "test")
    assert (done.status, done.forward_passes + done.reused) == ("extracted", 500)
    images, labels = idx["test"]
    assert done.feature_set.labels.tolist() == labels.tolist()
    assert lab.extract(source, "test").status == "cached"
    first = np.asarray(done.feature_set.features[:])
    # 28 -> 8 without antialias still keeps bright images bright: the rows stand beside their images.
    assert np.corrcoef(first[:, 0], images.mean(axis=(1, 2, 3)))[0, 1] > 0.95


@pytest.mark.parametrize(
    ("name", "classes"),
    [("cats_vs_dogs", ("cat", "dog")), ("tf_flowers", ("dandelion", "daisy", "tulips", "sunflowers", "roses"))],
)
def test_the_lessons_datasets_on_generated_data(tfds, lab, tmp_path, name, classes):
    with tfds.testing.mock_data(num_examples=12):
        source = open_source(f"tfds:{name}", SourceCaches(tfds_data_dir=tmp_path))
        assert source.class_names == classes
        # TFDS's mocks do not know how many there are: the split is asked for by its name.
        assert source.count("train") is None
        done = lab.extract(source, "train")
    assert (done.forward_passes, done.feature_set.features.shape) == (12, (12, 4))
    assert set(done.feature_set.labels.tolist()) <= set(range(len(classes)))
    assert len(set(done.feature_set.example_ids.tolist())) == 12


# Bad input


def test_an_unknown_dataset_names_the_nearest(tmp_path):
    with pytest.raises(UnknownName, match=r"fashion_mnst: no such TFDS dataset; did you mean 'fashion_mnist'\?"):
        open_source("tfds:fashion_mnst", SourceCaches(tfds_data_dir=tmp_path))


def test_an_unknown_split_names_those_there_are(source):
    for ask in (source.examples, source.count, source.ignored):
        with pytest.raises(
            UnknownName, match=r"trian: no such base split of tfds:fashion_mnist; did you mean 'train'\?"
        ):
            next(iter(ask("trian")))


def test_a_version_that_there_is_not_is_said_to_be_missing(fashion_mnist_folder):
    with pytest.raises((SourceUnavailable, UnknownName), match=r"fashion_mnist:9\.9\.9"):
        open_source("tfds:fashion_mnist:9.9.9", SourceCaches(tfds_data_dir=fashion_mnist_folder))


@pytest.mark.usefixtures("no_network")
def test_a_dataset_with_neither_data_nor_network_says_what_to_do(tmp_path, monkeypatch):
    # TFDS tries for three minutes, longer and longer apart.
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda self, response=None: None)
    with pytest.raises(
        SourceUnavailable, match=r"tfds:tf_flowers: not prepared in .*and not to be downloaded .*TFDS_DATA_DIR"
    ):
        open_source("tfds:tf_flowers", SourceCaches(tfds_data_dir=tmp_path))


def test_a_dataset_without_a_class_label_is_bad_data(tfds, tmp_path):
    tfds.dataset_builders.store_as_tfds_dataset(
        name="unlabelled",
        version="1.0.0",
        features=tfds.features.FeaturesDict({"picture": tfds.features.Image(shape=(2, 2, 3))}),
        split_datasets={"train": [(0, {"picture": np.zeros((2, 2, 3), np.uint8)})]},
        data_dir=tmp_path,
    )
    with pytest.raises(BadData, match="tfds:unlabelled: one Image and one ClassLabel expected"):
        open_source("tfds:unlabelled", SourceCaches(tfds_data_dir=tmp_path))


def test_missing_idx_files_name_the_package(fashion, tmp_path):
    with pytest.raises(FileNotFoundError, match="run 'apt-get install dataset-fashion-mnist'"):
        fashion.prepare(tmp_path / "out", 10, 10, idx_folder=tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()
