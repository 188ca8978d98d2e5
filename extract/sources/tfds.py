"""`tfds:NAME[/CONFIG][:VERSION]`: a TensorFlow Datasets builder, read as it lies on disk."""

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from extract.errors import BadData, SourceUnavailable, UnknownName
from extract.sources.example import Example

__all__ = ["TfdsSource"]


class TfdsSource:
    """A TFDS builder: encoded bytes, TFDS's own ids and order, the class names of its label.

    A dataset that is not prepared yet is downloaded and prepared.

    Args:
        spec: `NAME[/CONFIG][:VERSION]`.
        data_dir: where TFDS keeps its data; without it, TFDS's own default.

    Raises:
        UnknownName: TFDS has no such builder.
        SourceUnavailable: the dataset is not prepared and cannot be downloaded.
        BadData: it has no image with a class label.
    """

    orientation = "stored"

    def __init__(self, spec: str, data_dir: Path | None = None) -> None:
        import tensorflow_datasets as tfds

        self.name = f"tfds:{spec}"
        self._builder = _open_builder(spec, data_dir)
        info = self._builder.info
        self._image, self._label = _supervised_features(info, self.name)
        label = info.features[self._label]
        self.class_names = tuple(label.names or map(str, range(label.num_classes)))
        self.version = str(self._builder.version)
        config = self._builder.builder_config
        self.origin: Mapping[str, Any] = {
            "name": self._builder.name,
            "config": config.name if config else "",
            "version": self.version,
            "label": self._label,
        }
        self._tfds = tfds
        self._readers = {self._image: tfds.decode.SkipDecoding()}
        _require_bytes_as_pixels(info.features[self._image], self.name)
        self._unlabelled = tuple(split for split in info.splits if self._is_unlabelled(split))
        self.splits = tuple(split for split in info.splits if split not in self._unlabelled)
        if self._unlabelled and not self.splits:
            raise BadData(f"{self.name}: no base split has labels ({', '.join(self._unlabelled)}: -1).")

    @property
    def left_out(self) -> tuple[str, ...]:
        """Sentences about what is no base split here."""
        return tuple(f"the split {split!r} has no labels (-1), and is left out" for split in self._unlabelled)

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the examples of a base split in TFDS's order."""
        self._require(split)
        # One file at a time: the default interleaves files in blocks of 16, and rows would not
        # stand where `train[10:20]` says.
        config = self._tfds.ReadConfig(add_tfds_id=True, interleave_cycle_length=1)
        dataset = self._builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders=self._readers,
            read_config=config,
        )
        for example in dataset.as_numpy_iterator():
            example_id, label = example["tfds_id"].decode("utf-8"), int(example[self._label])
            if not 0 <= label < len(self.class_names):
                raise BadData(
                    f"{self.name} {split} {example_id}: label {label}, but there are {len(self.class_names)} classes; "
                    'name the other base splits: splits = ["train", …] in the job file, or --split.'
                )
            yield Example(example_id, label, bytes(example[self._image]))

    def _is_unlabelled(self, split: str) -> bool:
        """Tell by its first example whether a split has no labels: TFDS has -1 there for all."""
        data = self._builder.as_dataset(split=f"{split}[:1]", shuffle_files=False, decoders=self._readers)
        return any(int(example[self._label]) == -1 for example in data.as_numpy_iterator())

    def pick(self, split: str, example_ids: Collection[str]) -> Iterator[Example]:
        """Yield the examples of these ids, reading no further than the last of them."""
        wanted = set(example_ids)
        for example in self.examples(split) if wanted else ():
            if example.example_id in wanted:
                yield example
                wanted.remove(example.example_id)
                if not wanted:
                    return

    def count(self, split: str) -> int | None:
        """Return how many examples a base split has."""
        self._require(split)
        return int(self._builder.info.splits[split].num_examples) if self.splits else None

    def ignored(self, split: str) -> Mapping[str, int]:
        """Return nothing: a builder holds nothing but examples."""
        self._require(split)
        return {}

    def _require(self, split: str) -> None:
        # Builders without split information (TFDS's own mocks) know their splits only when asked.
        if self.splits and split not in self.splits:
            raise UnknownName(f"base split of {self.name}", split, self.splits)


def _require_bytes_as_pixels(feature: Any, name: str) -> None:
    """Refuse images whose bytes stand for other numbers than pixels: TFDS keeps a float in a PNG's four channels.

    Raises:
        BadData: they do.
    """
    dtype = np.dtype(feature.np_dtype)
    if dtype not in (np.uint8, np.uint16):
        raise BadData(
            f"{name}: images of uint8 or uint16 expected, {dtype} declared: numbers without a stated range are not "
            "guessed. Write them with 8 or 16 bits, or read the features that you computed by 'linprobe store import'."
        )


def _open_builder(spec: str, data_dir: Path | None) -> Any:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(spec, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise UnknownName("TFDS dataset", spec, tfds.list_builders(with_community_datasets=False)) from error
    except (ValueError, AssertionError) as error:
        raise SourceUnavailable(f"tfds:{spec}: {str(error).splitlines()[0]}") from error
    if not builder.is_prepared():
        _prepare(spec, builder)
    return builder


def _prepare(spec: str, builder: Any) -> None:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        builder.download_and_prepare()
    # requests' errors are OSErrors.
    except (OSError, tfds.core.download.DownloadError, NonMatchingChecksumError) as error:
        raise SourceUnavailable(_unprepared(spec, builder, error)) from error


def _unprepared(spec: str, builder: Any, error: BaseException) -> str:
    reason = str(error).splitlines()[0][:160] if str(error) else "no reason given"
    return (
        f"tfds:{spec}: not prepared in {builder.data_dir} and not to be downloaded ({type(error).__name__}: {reason}); "
        "prepare it on a machine with network and copy the folder, or name the folder that holds it in TFDS_DATA_DIR."
    )


def _supervised_features(info: Any, name: str) -> tuple[str, str]:
    import tensorflow_datasets as tfds

    # A FeaturesDict is no Mapping: it has no `get`.
    features = dict(info.features.items())
    keys = info.supervised_keys
    if not keys:
        images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
        labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
        keys = (images[0], labels[0]) if len(images) == 1 and len(labels) == 1 else (None, None)
    image, label = keys[0], keys[1]
    if not (
        isinstance(features.get(image), tfds.features.Image)
        and isinstance(features.get(label), tfds.features.ClassLabel)
    ):
        raise BadData(f"{name}: one Image and one ClassLabel expected, found {features}.")
    return image, label
