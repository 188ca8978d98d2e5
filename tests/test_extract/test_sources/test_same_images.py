"""The same 200 images through every source: the same classes, labels and rows."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from extract import SourceCaches, open_source
from extract.sources.memory import MemorySource

pytestmark = pytest.mark.framework

COUNT = 200
NAMES = ("2", "10", "9")


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize((20, 14)) for _ in range(COUNT)]
    return [np.asarray(image) for image in images], [NAMES[at % 3] for at in range(COUNT)]


def png(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def sources(drawn, tmp_path_factory):
    root = tmp_path_factory.mktemp("same")
    images, labels = drawn
    for at, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = root / "folder" / label / f"{at:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    with (root / "table.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label"])
        rows.writerows([f"folder/{label}/{at:03d}.png", label] for at, label in enumerate(labels))
    names = ("2", "9", "10")
    numbers = [names.index(label) for label in labels]
    np.savez(root / "arrays.npz", images=np.stack(images), labels=numbers, class_names=names)
    tfds = pytest.importorskip("tensorflow_datasets")
    tfds.dataset_builders.store_as_tfds_dataset(
        name="same",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {"image": tfds.features.Image(shape=(14, 20, 3)), "label": tfds.features.ClassLabel(names=names)}
        ),
        split_datasets={
            "all_": [
                (at, {"image": io.BytesIO(png(image)), "label": label})
                for at, (image, label) in enumerate(zip(images, labels, strict=True))
            ]
        },
        data_dir=root,
    )
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))})
    rows = {"image": [{"bytes": png(image), "path": None} for image in images], "label": numbers}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(root / "hf")
    memory = MemorySource("same", images, numbers, class_names=names, example_ids=[f"{at:03d}" for at in range(COUNT)])
    return {
        "folder": open_source(f"folder:{root}/folder"), "table": open_source(f"table:{root}/table.csv"),
        "npz": open_source(f"npz:{root}/arrays.npz"), "tfds": open_source("tfds:same", SourceCaches(tfds_data_dir=root)), "memory": memory,
        "hf": open_source(f"hf:{root}/hf"),
        "URL": open_source(_in_memory(root / "folder")),
    }  # fmt: skip


def _in_memory(folder):
    """The folder in fsspec's own file system, which is behind a URL as a bucket is."""
    import fsspec

    files = fsspec.filesystem("memory")
    files.put(str(folder), "/same/folder", recursive=True)
    return "folder:memory://same/folder"


def test_each_source_gives_the_same_classes_labels_and_rows(sources, lab):
    found = {}
    for name, source in sources.items():
        assert source.class_names == ("2", "9", "10"), name
        (split,) = source.splits
        rows = lab.extract(source, split, dataset=name).feature_set
        order = np.lexsort(np.asarray(rows.features).T)
        found[name] = np.asarray(rows.features)[order], rows.labels[order]
    for name, (features, labels) in found.items():
        assert features.shape == (COUNT, 4), name
        assert np.array_equal(features, found["folder"][0]), name
        assert np.array_equal(labels, found["folder"][1]), name
