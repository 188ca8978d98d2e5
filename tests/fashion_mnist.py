"""A prepared TFDS dataset `fashion_mnist` from the real idx files of Debian's `dataset-fashion-mnist`.

TFDS cannot fetch them as its own download (Debian recompresses them, so the checksums differ), but
it opens what is prepared here as its own: `tfds.builder("fashion_mnist", data_dir=…)`.
"""

import gzip
import struct
from pathlib import Path

import numpy as np

__all__ = ["CLASS_NAMES", "IDX_FOLDER", "prepare", "read_idx"]

IDX_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip
_FILES = {"train": "train", "test": "t10k"}


def prepare(data_dir: Path, train: int, test: int, idx_folder: Path = IDX_FOLDER) -> None:
    """Write `data_dir/fashion_mnist/3.0.1` with the first images of each split, in the files' order.

    Args:
        data_dir: TFDS's data folder.
        train: how many of the 60,000 training images.
        test: how many of the 10,000 test images.
        idx_folder: where the idx files lie.

    Raises:
        FileNotFoundError: the idx files are not there.
    """
    wanted = {"train": train, "test": test}
    data = {split: read_idx(split, count, idx_folder) for split, count in wanted.items()}

    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(28, 28, 1)),
            "label": tfds.features.ClassLabel(names=list(CLASS_NAMES)),
        }
    )
    tfds.dataset_builders.store_as_tfds_dataset(
        name="fashion_mnist",
        version="3.0.1",
        features=features,
        split_datasets={
            split: [
                (row, {"image": image, "label": int(label)})
                for row, (image, label) in enumerate(zip(images, labels, strict=True))
            ]
            for split, (images, labels) in data.items()
        },
        data_dir=data_dir,
        disable_shuffling=True,
    )


def read_idx(split: str, count: int, idx_folder: Path = IDX_FOLDER) -> tuple[np.ndarray, np.ndarray]:
    """Return the first images of a split, (count, 28, 28, 1) uint8, and their labels, (count,) uint8.

    Raises:
        FileNotFoundError: the idx files are not there.
    """
    images = idx_folder / f"{_FILES[split]}-images-idx3-ubyte.gz"
    labels = idx_folder / f"{_FILES[split]}-labels-idx1-ubyte.gz"
    if not images.is_file() or not labels.is_file():
        raise FileNotFoundError(f"{images}: not there; run 'apt-get install dataset-fashion-mnist'.")
    with gzip.open(images) as file:
        magic, total, height, width = struct.unpack(">IIII", file.read(16))
        assert (magic, height, width) == (2051, 28, 28), (magic, height, width)
        pixels = np.frombuffer(file.read(count * height * width), np.uint8)
    with gzip.open(labels) as file:
        assert struct.unpack(">II", file.read(8)) == (2049, total)
        classes = np.frombuffer(file.read(count), np.uint8)
    return pixels.reshape(count, height, width, 1), classes
