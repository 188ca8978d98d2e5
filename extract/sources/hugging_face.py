"""`hf:NAME[/CONFIG][@REVISION]`: a dataset of Hugging Face's hub, or one that lies on this disk, by `datasets`.

NAME is `mnist` or `ORG/NAME`; with a CONFIG, `ORG/NAME/CONFIG`. A path (`hf:/data/pets`, `hf:./pets`) is a folder that
`Dataset.save_to_disk` wrote, or one that `datasets.load_dataset` reads: of Parquet files, an imagefolder.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from extract.errors import BadData, SourceUnavailable, UnknownName
from extract.sources.example import Example
from extract.sources.image_files import SPLIT_NAMES
from extract.sources.lookalikes import class_order, unified
from extract.sources.reading import AS_IT_IS, Reading

__all__ = ["HuggingFaceSource"]

_IMAGES, _LABELS = ("image", "img"), ("label", "labels")
_IDS = ("example_id", "image_id", "id", "__key__")
_PATHS = ("/", "./", "../", "~")
_SAVED = ("dataset_dict.json", "state.json")


class HuggingFaceSource:
    """Encoded images as they are there, undecoded, in the order of the rows.

    The image is the column of that type, called `image` or `img` where there are several; the class the `ClassLabel`,
    called `label` or `labels` where there are several, else a column of that name, whose distinct values are the
    classes. A row's id is its `example_id`, `image_id`, `id` or `__key__` where these are distinct, else its number. A
    column `group` is its group. A split whose labels are all -1 has none, and is left out.

    Args:
        spec: `NAME[/CONFIG][@REVISION]`, or a path.
        reading: what the job says of it.

    Raises:
        SourceUnavailable: `datasets` is not installed, or the dataset is neither here nor to be downloaded.
        BadData: it has no image, no class, or classes that look alike.
    """

    orientation = "exif"

    def __init__(self, spec: str, reading: Reading = AS_IT_IS) -> None:
        self.name = f"hf:{spec}"
        name, _, revision = spec.partition("@")
        found = _load(self.name, name, revision or None)
        self._image, self._label = _columns(self.name, found)
        self._data = {self._split_name(split): data for split, data in found.items()}
        if len(self._data) < len(found):
            raise BadData(f"{self.name}: splits that mean the same, {', '.join(found)}; load and rename them.")
        self._labels, self.class_names = self._numbered(reading)
        unlabelled = [split for split, labels in self._labels.items() if len(labels) and (labels == -1).all()]
        self.left_out: Sequence[str] = tuple(
            f"the split {split!r} has no labels (-1), and is left out" for split in unlabelled
        )
        self.splits = tuple(split for split in self._data if split not in unlabelled)
        if not self.splits:
            raise BadData(f"{self.name}: no split has labels ({', '.join(unlabelled)}: -1).")
        for split in self.splits:
            self._require_labels(split)
        self.version = revision
        self.origin: Mapping[str, Any] = {"name": name, "revision": revision, "label": self._label}

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the examples of a base split in the order of its rows."""
        self._require(split)
        return self._rows(split, None)

    def pick(self, split: str, example_ids: Collection[str]) -> Iterator[Example]:
        """Yield the examples of these ids; no other image is read."""
        self._require(split)
        return self._rows(split, frozenset(example_ids))

    def count(self, split: str) -> int:
        """Return how many examples a base split has."""
        self._require(split)
        return len(self._labels[split])

    def ignored(self, split: str) -> Mapping[str, int]:
        """Return nothing: rows are all there is."""
        self._require(split)
        return {}

    def _rows(self, split: str, wanted: Collection[str] | None) -> Iterator[Example]:
        data, labels = self._data[split], self._labels[split]
        ids = _ids(data)
        groups = [str(group or "") for group in data["group"]] if "group" in data.column_names else [""] * len(ids)
        for row, (example_id, label, group) in enumerate(zip(ids, labels.tolist(), groups, strict=True)):
            if wanted is None or example_id in wanted:
                yield Example(example_id, label, self._bytes(split, row), group)

    def _bytes(self, split: str, row: int) -> bytes:
        image = self._data[split][row][self._image]
        if image is None:
            # Told like a damaged file: a row without an image is a candidate that is none.
            return b""
        return image["bytes"] if image["bytes"] is not None else Path(image["path"]).read_bytes()

    @staticmethod
    def _split_name(split: str) -> str:
        return SPLIT_NAMES.get(split.lower(), split)

    def _numbered(self, reading: Reading) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Return the labels of each split as numbers, and the names of the classes."""
        first = next(iter(self._data.values()))
        feature = first.features[self._label]
        columns = {split: data[self._label] for split, data in self._data.items()}
        if hasattr(feature, "names"):
            numbers = {
                split: np.array([-1 if label is None else label for label in column], np.int64)
                for split, column in columns.items()
            }
            return numbers, tuple(feature.names)
        texts = {split: [str(label) for label in column] for split, column in columns.items()}
        counted = Counter(text for column in texts.values() for text in column)
        spelt = unified(counted, f"{self.name}: {self._label}", merge=reading.merge)
        names = tuple(sorted(set(spelt.values()), key=class_order(set(spelt.values()))))
        number = {name: at for at, name in enumerate(names)}
        return {
            split: np.array([number[spelt[text]] for text in column], np.int64) for split, column in texts.items()
        }, names

    def _require_labels(self, split: str) -> None:
        labels = self._labels[split]
        bad = np.flatnonzero((labels < 0) | (labels >= len(self.class_names)))
        if len(bad):
            raise BadData(
                f"{self.name} {split}: row {int(bad[0])} has the label {int(labels[bad[0]])}, but there are "
                f'{len(self.class_names)} classes; name the other splits: splits = ["train", …] in the job file.'
            )

    def _require(self, split: str) -> None:
        if split not in self.splits:
            raise UnknownName(f"base split of {self.name}", split, self.splits)


def _load(source: str, name: str, revision: str | None) -> Mapping[str, Any]:
    try:
        import datasets
    except ImportError as error:
        raise SourceUnavailable(f"{source}: needs the extra 'hf'; run 'pip install linprobe[hf]'.") from error
    try:
        with _quietly(datasets):
            found = _open(datasets, name, revision)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise SourceUnavailable(
            f"{source}: neither here nor to be downloaded ({reason}). Fetch it where there is network, and copy "
            "$HF_HOME, or write it with save_to_disk and name that folder: hf:/path."
        ) from error
    if not isinstance(found, datasets.DatasetDict):
        found = datasets.DatasetDict({str(found.split or "train"): found})
    return {str(split): _undecoded(datasets, data) for split, data in found.items()}


def _open(datasets: Any, name: str, revision: str | None) -> Any:
    if name.startswith(_PATHS):
        path = Path(name).expanduser()
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such folder")
        if any((path / file).is_file() for file in _SAVED):
            return datasets.load_from_disk(str(path))
        return datasets.load_dataset(str(path))
    parts = name.split("/")
    config = parts[2] if len(parts) == 3 else None
    return datasets.load_dataset("/".join(parts[:2]), config, revision=revision)


@contextmanager
def _quietly(datasets: Any) -> Iterator[None]:
    """Keep bars, and each retry's line, from people's terminals: what fails is told by an error of ours."""
    was_shown = datasets.is_progress_bar_enabled()
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    datasets.disable_progress_bars()
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        if was_shown:
            datasets.enable_progress_bars()


def _undecoded(datasets: Any, data: Any) -> Any:
    for name, feature in data.features.items():
        if isinstance(feature, datasets.Image):
            data = data.cast_column(name, datasets.Image(decode=False))
    return data


def _columns(source: str, found: Mapping[str, Any]) -> tuple[str, str]:
    import datasets

    features = next(iter(found.values())).features
    listed = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    image = _chosen(images, _IMAGES)
    if image is None:
        raise BadData(f"{source}: one column of images expected, or one called image; found: {listed}.")
    classes = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    label = _chosen(classes, _LABELS) or next((name for name in _LABELS if name in features), None)
    if label is None:
        raise BadData(f"{source}: a ClassLabel expected, or a column called label; found: {listed}.")
    return image, label


def _chosen(names: Sequence[str], usual: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else next((name for name in usual if name in names), None)


def _ids(data: Any) -> list[str]:
    for name in _IDS:
        if name in data.column_names:
            found = [str(value) for value in data[name]]
            if len(set(found)) == len(found) and "" not in found and "None" not in found:
                return found
    width = len(str(max(0, data.num_rows - 1)))
    return [f"{row:0{width}d}" for row in range(data.num_rows)]
