"""Draws that never part what belongs together, and that stay put when a dataset grows.

Where a seed decides, a salted hash of each image's content, or of its group, gives a position in
[0, 1). Equal images and members of a group share one position, so no draw parts them; and as the
position depends on nothing else, new images move no old one from train to test.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

__all__ = ["draw_positions", "draw_share", "draw_shots", "draw_two", "draw_validation", "units_of"]


def units_of(contents: Sequence[str], groups: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Find the units that no draw may part.

    Two rows belong to one unit if their images are equal, if they are of one group, or if a
    chain of such rows connects them.

    Args:
        contents: N content hashes.
        groups: N group names; empty where a row has none.

    Returns:
        units: (N,) int64, 0 … U-1.
        tokens: the U units' names, which a draw hashes: the least group or content in them.
    """
    of_content = np.unique(np.asarray(contents, dtype=object).astype(str), return_inverse=True)[1]
    of_group = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)[1]
    grouped = np.flatnonzero([bool(group) for group in groups])
    units = of_content.astype(np.int64)
    while len(grouped):
        before = units
        # The least unit spreads over each group, then over equal images, until nothing moves.
        least = np.full(int(of_group.max()) + 1, len(units), np.int64)
        np.minimum.at(least, of_group[grouped], units[grouped])
        units = units.copy()
        units[grouped] = least[of_group[grouped]]
        least = np.full(int(of_content.max()) + 1, len(units), np.int64)
        np.minimum.at(least, of_content, units)
        units = least[of_content]
        if np.array_equal(units, before):
            break
    units = np.unique(units, return_inverse=True)[1].astype(np.int64)
    return units, _tokens(units, contents, groups)


def _tokens(units: np.ndarray, contents: Sequence[str], groups: Sequence[str]) -> list[str]:
    tokens = [""] * (int(units.max()) + 1 if len(units) else 0)
    for unit, content, group in zip(units.tolist(), contents, groups, strict=True):
        token = f"group:{group}" if group else f"picture:{content}"
        if not tokens[unit] or token < tokens[unit]:
            tokens[unit] = token
    return tokens


def draw_positions(tokens: Sequence[str], purpose: str, seed: int) -> np.ndarray:
    """Return each token's position in [0, 1): a hash of purpose, seed and token. (U,) float64."""
    salt = hashlib.sha256(f"linprobe/{purpose}/{seed}/".encode())
    positions = np.empty(len(tokens))
    for at, token in enumerate(tokens):
        hashed = salt.copy()
        hashed.update(token.encode("utf-8"))
        # 53 bits: what a float64 holds exactly, so that the position stays below 1.
        positions[at] = (int.from_bytes(hashed.digest()[:8], "big") >> 11) / 2**53
    return positions


def draw_validation(
    labels: np.ndarray, units: np.ndarray, tokens: Sequence[str], *, seed: int, share: float = 0.1
) -> np.ndarray:
    """Draw the rows that a head is selected on, out of those it may train on.

    Args:
        labels: (N,) int.
        units: (N,) int, see `units_of`.
        tokens: the units' names.
        seed: salts the hash.
        share: the share of the units to draw.

    Returns:
        (N,) bool. At least one unit is drawn where there are two, and no class loses its last
        training row to validation.
    """
    positions = draw_positions(tokens, "validation", seed)
    is_drawn = positions < share
    if not is_drawn.any() and len(tokens) > 1:
        is_drawn[np.argmin(positions)] = True
    for label in np.unique(labels):
        of_class = np.unique(units[labels == label])
        if is_drawn[of_class].all():
            is_drawn[of_class] = False
    return np.asarray(is_drawn[units])


def draw_two(labels: np.ndarray, units: np.ndarray, *, positions: np.ndarray, share: float) -> np.ndarray:
    """Draw two parts that both hold every class, where that can be.

    Units below `share` are the first part. A class that a part then lacks gets its unit that is nearest to the border:
    the first part in any case, rather one that empties no class in the second, and the second where that empties no
    class in the first. So a class of one unit is in the first part. Nothing else moves: a dataset that grows moves an
    image only to keep a class in a part, or back.

    Args:
        labels: (N,) int.
        units: (N,) int in 0 … U-1, see `units_of`.
        positions: (U,) in [0, 1), see `draw_positions`.
        share: what the first part gets.

    Returns:
        (N,) bool: whether a row is in the first part.
    """
    is_first = positions < share
    of_row = is_first[units]
    if np.array_equal(np.unique(labels[of_row]), np.unique(labels[~of_row])):
        return np.asarray(of_row)
    pairs = np.unique(np.stack([labels, units], axis=1), axis=0)
    names, starts = np.unique(pairs[:, 0], return_index=True)
    units_of_class = dict(zip(names.tolist(), np.split(pairs[:, 1], starts[1:]), strict=True))
    classes_of_unit: dict[int, list[int]] = {}
    for label, unit in pairs.tolist():
        classes_of_unit.setdefault(unit, []).append(label)

    def empties(unit: int) -> bool:
        """Whether the part that the unit is in would lack a class without it."""
        side = is_first[unit]
        return any((is_first[units_of_class[label]] == side).sum() == 1 for label in classes_of_unit[unit])

    for part in (True, False):
        for members in units_of_class.values():
            if (is_first[members] == part).any():
                continue
            nearest = members[np.argsort(np.abs(positions[members] - share), kind="stable")].tolist()
            harmless = next((unit for unit in nearest if not empties(unit)), None)
            if harmless is not None or part:
                is_first[nearest[0] if harmless is None else harmless] = part
    return np.asarray(is_first[units])


def draw_share(labels: np.ndarray, units: np.ndarray, *, tokens: Sequence[str], share: float, seed: int) -> np.ndarray:
    """Draw a share of the units to train on, and the first of each class in any case, where there are labels.

    Smaller shares of one seed lie within larger ones.

    Args:
        labels: (N,) int, or none to keep no class.
        units: (N,) int, see `units_of`.
        tokens: the units' names.
        share: in (0, 1].
        seed: salts the hash.

    Returns:
        Row numbers, increasing.
    """
    positions = draw_positions(tokens, "share of train", seed)
    is_drawn = positions < share
    if len(labels):
        order = np.argsort(positions[units], kind="stable")
        is_drawn[units[order[np.unique(labels[order], return_index=True)[1]]]] = True
    return np.flatnonzero(is_drawn[units])


def draw_shots(labels: np.ndarray, contents: Sequence[str], shots: int, *, seed: int) -> np.ndarray:
    """Draw so many images of every class; fewer shots of one seed lie within more.

    Equal images of a class count once, as the first of them.

    Args:
        labels: (N,) int.
        contents: N content hashes.
        shots: images per class; a class that has fewer gives what it has.
        seed: salts the hash.

    Returns:
        Row numbers, increasing.
    """
    positions = draw_positions(contents, "shots", seed)
    kept = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        # Equal images have equal positions: `unique` keeps the first row of each, in the order of positions.
        _, first = np.unique(positions[rows], return_index=True)
        kept.append(rows[first[:shots]])
    return np.sort(np.concatenate(kept))
