"""The parts of a dataset: rows of one or more sets, and the checks before anything is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from probe.draws import draw_positions, draw_share, draw_shots, draw_two, units_of
from probe.errors import FeatureError, LabelError, SplitError
from probe.splits import Draw, Slice
from store import FeatureSet

__all__ = [
    "Limits",
    "Part",
    "SetTable",
    "check_labels",
    "check_overlap",
    "limit_part",
    "select_part",
    "shared_warnings",
    "stand_before",
]

_THIN_CLASS = 5
# Rows that are read at once: what is copied of them on the way is small.
_READ_ROWS = 8192
_DRAW_PURPOSE = "test"


class SetTable:
    """What a draw or a slice needs to know of one set, read once.

    Args:
        features: the set.

    Attributes:
        rows: (candidates,) int64: each candidate's row, -1 where it is quarantined.
        groups: the rows' groups; empty strings where there is none.
        contents: the rows' content hashes in hexadecimal.
    """

    def __init__(self, features: FeatureSet) -> None:
        self.set = features
        ledger = features.ledger()
        is_ok = (ledger["status"] == "ok").to_numpy()
        self.rows = np.where(is_ok, np.cumsum(is_ok) - 1, -1)
        self.groups: list[str] = ledger["group"].fillna("").astype(str)[is_ok].tolist()
        self.contents = [row.tobytes().hex() for row in np.asarray(features.content_sha256)]

    def select(self, term: Slice) -> tuple[np.ndarray, int]:
        """Return the rows of a term, in the source's order, and how many candidates it lost to quarantine."""
        if isinstance(term, Draw):
            return self._draw(term), 0
        rows = self.rows[term.start : term.stop]
        return rows[rows >= 0], int((rows < 0).sum())

    def _draw(self, term: Draw) -> np.ndarray:
        units, tokens = units_of(self.contents, self.groups)
        positions = draw_positions(tokens, _DRAW_PURPOSE, term.seed)
        if not term.keeps_classes:
            percent = 100.0 * positions[units]
            return np.flatnonzero((percent >= term.low) & (percent < term.high))
        if term.low == 0 and term.high == 100:
            return np.arange(len(units))
        share = (term.low or term.high) / 100
        is_first = draw_two(np.asarray(self.set.labels), units, positions=positions, share=share)
        return np.flatnonzero(is_first if term.low == 0 else ~is_first)


@dataclass(frozen=True)
class Part:
    """Rows that are used together: train, validation or test.

    Attributes:
        name: for messages.
        pieces: (set, its rows (n,) int64), in order.
        labels: (N,) int64.
        example_ids: N names.
        contents: N content hashes in hexadecimal.
        groups: N groups; empty where there is none.
        quarantined: how many images the part would have besides.
    """

    name: str
    pieces: tuple[tuple[FeatureSet, np.ndarray], ...]
    labels: np.ndarray
    example_ids: tuple[str, ...]
    contents: tuple[str, ...]
    groups: tuple[str, ...]
    quarantined: int

    def __len__(self) -> int:
        return len(self.labels)

    def positions(self) -> set[tuple[str, int]]:
        """Return the (base split, row) pairs of the part."""
        return {(piece.split, int(row)) for piece, rows in self.pieces for row in rows}

    def take(self, kept: np.ndarray) -> "Part":
        """Return the part that has these rows only; (n,) increasing numbers of rows of this part."""
        bounds = np.cumsum([0, *(len(rows) for _, rows in self.pieces)])
        pieces = [
            (features, rows[kept[(kept >= start) & (kept < stop)] - start])
            for (features, rows), start, stop in zip(self.pieces, bounds, bounds[1:], strict=False)
        ]
        ids, contents, groups = (
            tuple(texts[row] for row in kept.tolist()) for texts in (self.example_ids, self.contents, self.groups)
        )
        return replace(
            self, pieces=tuple(pieces), labels=self.labels[kept], example_ids=ids, contents=contents, groups=groups
        )

    @property
    def dim(self) -> int:
        """The numbers of a row.

        Raises:
            FeatureError: the sets differ in it.
        """
        dims = sorted({int(features.features.shape[1]) for features, _ in self.pieces})
        if len(dims) > 1:
            raise FeatureError(f"{self.name}: the sets differ in dim ({', '.join(map(str, dims))}).")
        return dims[0]

    def read(self, out: np.ndarray | None = None) -> np.ndarray:
        """Read the features: (N, D) float32, finite; into an array of that shape, if one is given.

        Raises:
            FeatureError: a row is not finite; its example is named.
        """
        found = np.empty((len(self), self.dim), np.float32) if out is None else out
        first = 0
        for piece, rows in self.pieces:
            for start in range(0, len(rows), _READ_ROWS):
                taken = rows[start : start + _READ_ROWS]
                found[first : first + len(taken)] = piece.features[taken]
                first += len(taken)
        # A sum is finite only if every number in the row is; no (N, D) mask is made.
        with np.errstate(over="ignore", invalid="ignore"):
            is_bad = ~np.isfinite(found.sum(axis=1, dtype=np.float64))
        if is_bad.any():
            example = self.example_ids[int(np.argmax(is_bad))]
            raise FeatureError(
                f"{self.name}: {int(is_bad.sum())} of {len(found)} rows hold NaN or infinity, the first is "
                f"{example!r}; extract them again, or leave them out with a split."
            )
        return found


def select_part(name: str, spec: str, terms: Sequence[Slice], *, tables: Mapping[str, SetTable]) -> Part:
    """Collect the rows of a split.

    Args:
        name: train, validation or test.
        spec: the split as text, for messages.
        terms: the split's terms.
        tables: base split → its table.

    Raises:
        SplitError: no row is left, or one is selected twice.
    """
    pieces: list[tuple[FeatureSet, np.ndarray]] = []
    labels: list[np.ndarray] = []
    ids: list[str] = []
    contents: list[str] = []
    groups: list[str] = []
    quarantined = 0
    for term in terms:
        table = tables[term.base]
        rows, lost = table.select(term)
        quarantined += lost
        pieces.append((table.set, rows))
        labels.append(np.asarray(table.set.labels)[rows])
        ids.extend(np.asarray(table.set.example_ids)[rows].tolist())
        contents.extend(table.contents[row] for row in rows)
        groups.extend(table.groups[row] for row in rows)
    part = Part(name, tuple(pieces), np.concatenate(labels), tuple(ids), tuple(contents), tuple(groups), quarantined)
    if not len(part):
        lost_text = f" ({quarantined} candidates are quarantined)" if quarantined else ""
        is_kept = all(isinstance(term, Draw) and term.keeps_classes for term in terms)
        hint = (
            " No class has two images, or two groups, to draw from; give more, or --train and --test."
            if is_kept
            else ""
        )
        raise SplitError(f"{name} = {spec!r} selects nothing{lost_text}.{hint}")
    twice = len(part) - len(part.positions())
    if twice:
        raise SplitError(f"{name} = {spec!r} selects {twice} rows twice; let its terms not overlap.")
    return part


@dataclass(frozen=True)
class Limits:
    """What training may use of a part: a share of its units, then so many images of every class.

    Attributes:
        shots: images per class, or None for all.
        share: in (0, 1].
        seed: of the draws.
        keeps_classes: whether the share holds the first unit of each class in any case.
    """

    shots: int | None
    share: float
    seed: int
    keeps_classes: bool = True


def limit_part(part: Part, limits: Limits, class_names: Sequence[str]) -> Part:
    """Return what training may use of a part.

    Args:
        part: train.
        limits: see there.
        class_names: in label order.

    Raises:
        LabelError: a class has fewer images than shots.
    """
    shots, seed = limits.shots, limits.seed
    if limits.share < 1:
        units, tokens = units_of(part.contents, part.groups)
        labels = part.labels if limits.keeps_classes else np.zeros(0, np.int64)
        part = part.take(draw_share(labels, units, tokens=tokens, share=limits.share, seed=seed))
    if shots is None:
        return part
    rows = draw_shots(part.labels, part.contents, shots, seed=seed)
    counts = np.bincount(part.labels[rows], minlength=len(class_names))
    short = [f"{class_names[label]} ({counts[label]})" for label in np.flatnonzero(counts < shots).tolist()]
    if short:
        raise LabelError(
            f"shots = {shots}: train has fewer different images of {_listed(short)}; ask for fewer shots, or give "
            "train a split that holds more."
        )
    return part.take(rows)


def check_overlap(parts: Sequence[Part]) -> None:
    """Check that no row serves in two parts.

    Raises:
        SplitError: one does.
    """
    for at, part in enumerate(parts):
        for other in parts[:at]:
            shared = part.positions() & other.positions()
            if shared:
                base, row = min(shared)
                raise SplitError(
                    f"{other.name} and {part.name} share {len(shared)} rows, such as row {row} of {base!r}; "
                    "a number measured on rows that were trained on means nothing. Give disjoint splits."
                )


def check_labels(
    parts: Sequence[Part], class_names: Sequence[str], *, is_thin_meant: bool = False, is_drawn: bool = False
) -> list[str]:
    """Check that train and test hold every class of the dataset.

    Args:
        parts: train, perhaps validation, test.
        class_names: in label order.
        is_thin_meant: whether few rows of every class are what was asked for.
        is_drawn: whether nobody chose the test part, but a draw that keeps every class where it can.

    Returns:
        Warnings: classes that are thin in a part, or that a drawn test lacks.

    Raises:
        LabelError: one class only, labels out of range, or a class that a part lacks.
    """
    if len(class_names) < 2:
        raise LabelError(f"one class only ({', '.join(class_names)}): there is nothing to tell apart.")
    warnings = []
    for part in parts:
        wrong = np.flatnonzero((part.labels < 0) | (part.labels >= len(class_names)))
        if len(wrong):
            raise LabelError(
                f"{part.name}: {part.example_ids[wrong[0]]!r} has label {part.labels[wrong[0]]}, "
                f"0 to {len(class_names) - 1} expected."
            )
        counts = np.bincount(part.labels, minlength=len(class_names))
        absent = [class_names[label] for label in np.flatnonzero(counts == 0).tolist()]
        if absent and part.name == "test" and is_drawn:
            # Of one image each, or of one group or picture with another class.
            warnings.append(f"no test image of {len(absent)} of {len(class_names)} classes: {_listed(absent)}")
        elif absent:
            raise LabelError(
                f"{part.name}: {len(part)} rows, and none of {_listed(absent)}; "
                f"give {part.name} a split that holds every class, or take the class out of the dataset."
                f"{_slice_hint(part)}"
            )
        is_thin = (counts > 0) & (counts < _THIN_CLASS)
        thin = [f"{class_names[label]} ({counts[label]})" for label in np.flatnonzero(is_thin).tolist()]
        if thin and not (part.name == "train" and is_thin_meant):
            rows = "training" if part.name == "train" else part.name
            warnings.append(f"fewer than {_THIN_CLASS} {rows} rows of {_listed(thin)}")
    return warnings


def _slice_hint(part: Part) -> str:
    """Return what helps who cuts a folder, which stands class by class, as if it had been shuffled."""
    (features, rows), *others = part.pieces
    is_slice = not others and len(rows) > 1 and bool((np.diff(rows) == 1).all())
    if not is_slice or (np.diff(part.labels) < 0).any():
        return ""
    return (
        f" Its rows stand class by class, so that a slice leaves out whole classes; {features.split}/draw0[:80%] and "
        f"{features.split}/draw0[80%:] are drawn at random (by any seed)."
    )


def shared_warnings(parts: Sequence[Part]) -> list[str]:
    """Say what a reader must know of the parts: images and groups that straddle them, images that are missing."""
    test = parts[-1]
    shared = int(stand_before(parts).sum())
    warnings = [f"{shared} of {len(test)} test images stand in train or validation too"] if shared else []
    seen_groups = {group for part in parts[:-1] for group in part.groups if group}
    straddling = {group for group in test.groups if group} & seen_groups
    if straddling:
        warnings.append(f"{len(straddling)} groups stand on both sides, such as {min(straddling)!r}")
    warnings += [text for part in parts if (text := _conflict_warning(part))]
    warnings += [f"{part.name} lacks {part.quarantined} quarantined images" for part in parts if part.quarantined]
    return warnings


def _conflict_warning(part: Part) -> str:
    labels_of: dict[str, set[int]] = {}
    for content, label in zip(part.contents, part.labels.tolist(), strict=True):
        labels_of.setdefault(content, set()).add(label)
    conflicts = {content for content, labels in labels_of.items() if len(labels) > 1}
    if not conflicts:
        return ""
    rows = [at for at, content in enumerate(part.contents) if content in conflicts]
    pictures = "1 equal image" if len(conflicts) == 1 else f"{len(conflicts)} equal images"
    rows_of = f"{len(rows)} of {len(part)} rows, such as {part.example_ids[rows[0]]!r}"
    left_out = "; comparisons leave them out" if part.name == "test" else ""
    return f"{part.name}: {pictures} under several labels ({rows_of}){left_out}"


def stand_before(parts: Sequence[Part]) -> np.ndarray:
    """Tell which test images stand in train or validation too, byte for byte: (N,) bool."""
    seen = {content for part in parts[:-1] for content in part.contents}
    return np.array([content in seen for content in parts[-1].contents], bool)


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
