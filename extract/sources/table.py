"""`table:FILE`: images that a table lists, a row for each; CSV, TSV or Parquet.

path,label,split,group,example_id
scans/0001.png,benign,train,patient-7,0001

`path` is relative to the table's folder, or absolute. `split`, `group` and `example_id` may be left out: then all rows
are one base split, `all`, no two belong together, and a row's id is its path.
"""

import csv
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from extract.errors import BadData, SourceUnavailable, UnknownName
from extract.sources.example import Example
from extract.sources.image_files import SPLIT_NAMES
from extract.sources.lookalikes import class_order, unified
from extract.sources.places import LocalPlace, Place, UrlPlace
from extract.sources.reading import AS_IT_IS, Reading
from extract.sources.stat_index import StatIndex
from extract.sources.suffixes import TABLE_SUFFIXES
from store.names import full_name, is_url

__all__ = ["TableSource"]

_REQUIRED = ("path", "label")
_OPTIONAL = ("split", "group", "example_id")
_MOST_ROWS, _BATCH_ROWS, _MOST_BYTES = 50_000_000, 65_536, 4 << 30
_SHOWN_COLUMNS = 8
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_SHOWN = 3


class TableSource:
    """Images in the order of a table's rows.

    Classes are the distinct labels: text in the order of its code points, whole numbers in theirs. Of the columns
    only `path`, `label`, `split`, `group` and `example_id` are read. An image that is not there is a candidate
    that could not be read, like one that is damaged.

    Args:
        path: the table; as text, a URL.
        index: what is known of files that have not changed; without it, every file is read.
        reading: what the job says of it.

    Raises:
        SourceUnavailable: the table is not there.
        BadData: it cannot be read, lacks a column or a value, or names an example twice.
    """

    version = ""
    orientation = "exif"
    origin: Mapping[str, Any] = {}
    left_out: Sequence[str] = ()

    def __init__(self, path: Path | str, index: StatIndex | None = None, reading: Reading = AS_IT_IS) -> None:
        # For messages.
        self.path = path if isinstance(path, str) else str(path.absolute())
        self.name = full_name(f"table:{self.path}")
        self._index = index
        folder, _, name = self.path.rpartition("/")
        self._place: Place = UrlPlace(folder) if is_url(self.path) else LocalPlace(Path(folder or "/"))
        with _on_this_disk(self.path, self._place, name) as file:
            columns = _read(file, self.path)
        spelt = unified(Counter(columns["label"]), f"{self.path}: labels", merge=reading.merge)
        labels = [spelt[label] for label in columns["label"]]
        count = len(labels)
        self.class_names = tuple(sorted(set(labels), key=class_order(set(labels))))
        numbers = {name: number for number, name in enumerate(self.class_names)}
        given = [SPLIT_NAMES.get(name.lower(), name) for name in columns.get("split", ["all"] * count)]
        alike = unified(Counter(given), f"{self.path}: splits", merge=reading.merge)
        splits = [alike[name] for name in given]
        # Train, validation, test, then what else there is.
        order = dict.fromkeys([name for name in SPLIT_NAMES.values() if name in splits] + sorted(set(splits)))
        self.splits = tuple(order)
        self._rows: dict[str, list[_Row]] = {name: [] for name in self.splits}
        ids, groups = columns.get("example_id", columns["path"]), columns.get("group", [""] * count)
        for split, example_id, image, label, group in zip(splits, ids, columns["path"], labels, groups, strict=True):
            self._rows[split].append(_Row(example_id, image, numbers[label], group))
        self._require_no_backslashes(columns["path"])
        for split, rows in self._rows.items():
            _require_distinct(self.path, split, [row.example_id for row in rows])

    def _require_no_backslashes(self, paths: Sequence[str]) -> None:
        """Refuse paths as Windows writes them, which name nothing here, where they would with slashes."""
        written = next((path for path in paths if "\\" in path), None)
        if written is None or self._place.has(written):
            return
        meant = written.replace("\\", "/")
        if self._place.has(meant):
            raise BadData(
                f"{self.path}: paths with backslashes, as Windows writes them, such as {written!r}; write {meant!r}."
            )

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the images of a base split, in the order of the table."""
        return (example for _, example in self.numbered_examples(split, lambda ordinal: True))

    def numbered_examples(self, split: str, is_wanted: Callable[[int], bool]) -> Iterator[tuple[int, Example]]:
        """Yield the images whose place is wanted, each with its place; no other file is read."""
        return self._examples(self._of(split), is_wanted)

    def pick(self, split: str, example_ids: Collection[str]) -> Iterator[Example]:
        """Yield the images of these ids; no other file is read."""
        for row in self._of(split):
            if row.example_id in example_ids:
                yield Example(row.example_id, row.label, self._place.read(row.path), row.group)

    def count(self, split: str) -> int:
        """Return how many images a base split has."""
        return len(self._of(split))

    def ignored(self, split: str) -> Mapping[str, int]:
        """Return nothing: what the table does not list is not looked for."""
        self._of(split)
        return {}

    def _of(self, split: str) -> list["_Row"]:
        if split not in self._rows:
            raise UnknownName(f"base split of {self.name}", split, self.splits)
        return self._rows[split]

    def _examples(self, rows: list["_Row"], is_wanted: Callable[[int], bool]) -> Iterator[tuple[int, Example]]:
        for ordinal, row in enumerate(rows):
            if is_wanted(ordinal):
                example = self._place.open(row.path, row.example_id, row.label, index=self._index, group=row.group)
                yield ordinal, example
        if self._index is not None:
            self._index.save()


class _Row(NamedTuple):
    """What a table says of an image; `label` is the number of its class."""

    example_id: str
    path: str
    label: int
    group: str


@contextmanager
def _on_this_disk(shown: str, place: Place, name: str) -> Iterator[Path]:
    """Give the table as a file of this machine: itself, or a copy of what lies behind a URL."""
    missing = f"{shown}: no such file; expected a table with the columns {' and '.join(_REQUIRED)}."
    if isinstance(place, LocalPlace):
        if not (place.path / name).is_file():
            raise SourceUnavailable(missing)
        yield place.path / name
        return
    try:
        data = place.read(name)
    except FileNotFoundError as error:
        raise SourceUnavailable(missing) from error
    except PermissionError as error:
        raise SourceUnavailable(f"{shown}: may not be read ({error}).") from error
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"table{Path(name).suffix}"
        copy.write_bytes(data)
        yield copy


def _read(file: Path, path: str) -> dict[str, list[str]]:
    """Return the columns that are known, as text; none of their values is empty.

    Args:
        file: the table.
        path: what messages call it.
    """
    suffix = file.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise BadData(f"{path}: a table expected, {', '.join(TABLE_SUFFIXES)}.")
    try:
        names, rows = _read_parquet(file) if suffix == ".parquet" else _read_text(file, _SEPARATORS[suffix])
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: cannot be read as a table: {_encoding_hint(file, error)}.") from error
    # Those of csv and of Arrow too.
    except (ValueError, OSError, csv.Error) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadData(f"{path}: cannot be read as a table ({reason}).") from error
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        found = ", ".join(name[:60] for name in names[:_SHOWN_COLUMNS]) or "none"
        more = f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else ""
        raise BadData(
            f"{path}: the columns {' and '.join(_REQUIRED)} expected, {' and '.join(missing)} missing; found: {found}"
            f"{more}.{_separator_hint(names, suffix)}"
        )
    if not rows:
        raise BadData(f"{path}: a table without rows.")
    columns = {}
    for name in (*_REQUIRED, *_OPTIONAL):
        if names.count(name) > 1:
            raise BadData(f"{path}: {names.count(name)} columns are called {name}; keep one.")
        if name in names:
            at = names.index(name)
            columns[name] = [row[at] for row in rows]
            _require_filled(path, name, columns[name])
    return columns


def _separator_hint(names: Sequence[str], suffix: str) -> str:
    """Return what helps where a line has another separator than its file's suffix says, as Excel writes it."""
    expected = _SEPARATORS.get(suffix)
    other = next((mark for mark in (";", "\t", "|", ",") if len(names) == 1 and mark in names[0]), None)
    if expected is None or other is None:
        return ""
    told = {"\t": "tabs", ",": "commas"}
    return (
        f" Its columns are separated by {told.get(other, repr(other))}; save it with {told[expected]}"
        f"{', or call it .tsv' if other == chr(9) else ''}."
    )


def _encoding_hint(path: Path, error: UnicodeDecodeError) -> str:
    with path.open("rb") as stream:
        head = stream.read(4)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "it is UTF-16; save it as UTF-8"
    return (
        f"it is not UTF-8 (byte {error.object[error.start]:#04x} at {error.start:,}), perhaps Windows-1252; save it as "
        "UTF-8"
    )


def _read_text(path: Path, separator: str) -> tuple[list[str], list[list[str]]]:
    """Return the names and the rows of a CSV or TSV file; all is text: a class may be called NA, and an id 007."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream, delimiter=separator, strict=True)
        names = next(lines, [])
        rows = []
        for row in lines:
            if row and len(row) != len(names):
                raise ValueError(f"line {lines.line_num} has {len(row)} fields, and there are {len(names)} names")
            if row:
                rows.append(row)
    return names, rows


def _read_parquet(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the names of all columns, and of each row what the columns hold that are used: the others are empty."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path, memory_map=True)
    names = list(file.schema_arrow.names)
    used = [name for name in dict.fromkeys(names) if name in _REQUIRED + _OPTIONAL and names.count(name) == 1]
    rows = file.metadata.num_rows
    # What a row claims to be costs memory before it is read: a file of kilobytes may claim billions.
    if rows > _MOST_ROWS:
        raise ValueError(f"{rows:,} rows, at most {_MOST_ROWS:,} expected; split it")
    for name in used:
        kind = file.schema_arrow.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (
            pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_integer(kind)
            or pa.types.is_null(kind)
        ):
            raise ValueError(f"the column {name} holds {kind}; text or whole numbers expected")
    # Values that repeat are kept once: a label of a megabyte in each row is still one.
    texts = [name for name in used if not pa.types.is_integer(file.schema_arrow.field(name).type)]
    file = pq.ParquetFile(path, memory_map=True, read_dictionary=texts)
    found: dict[str, list[str]] = {name: [] for name in used}
    size = 0
    for batch in file.iter_batches(_BATCH_ROWS, columns=used, use_threads=False):
        size += batch.nbytes
        if size > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES >> 30} GiB of paths and labels; split it")
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
            values = ["" if value is None else str(value) for value in encoded.dictionary.to_pylist()]
            found[name] += ["" if at is None else values[at] for at in encoded.indices.to_pylist()]
    empty = [""] * rows
    return names, [list(row) for row in zip(*(found.get(name, empty) for name in names), strict=True)] if rows else []


def _require_filled(path: str, name: str, texts: Sequence[str]) -> None:
    empty = [number for number, text in enumerate(texts, start=1) if not text]
    if empty:
        more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
        raise BadData(
            f"{path}: no {name} in row {', '.join(map(str, empty[:_SHOWN]))}{more} (the first below the names is 1); "
            f"fill {'it' if len(empty) == 1 else 'them'} or leave out the {'row' if name in _REQUIRED else 'column'}."
        )


def _require_distinct(path: str, split: str, ids: Sequence[str]) -> None:
    seen: set[str] = set()
    for example_id in ids:
        if example_id in seen:
            raise BadData(
                f"{path}: {example_id} is duplicated in the base split {split!r}; keep one of its rows, or tell them "
                "apart by a column example_id."
            )
        seen.add(example_id)
