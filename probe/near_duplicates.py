"""Images that are nearly the same: copies that were resized or encoded anew, found by their perceptual hashes.

Two images are near duplicates if at most `MOST_BITS` of the 256 bits of their hashes differ; what that joins and what
it finds is measured by `benchmarks.near_duplicates`. Hashes so near agree in at least one of `MOST_BITS + 1` bands of
bits (pigeonhole), so only images that share a band are compared: multi-index hashing (Norouzi et al., CVPR 2012).
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from probe.draws import units_of
from probe.errors import HashesMissing
from probe.parts import Part

__all__ = [
    "MOST_BITS",
    "Hashes",
    "all_known",
    "group_near",
    "near_pairs",
    "near_warning",
    "stand_near",
    "stand_near_others",
]

MOST_BITS = 16
_BITS = 256
_BANDS = np.array_split(np.arange(_BITS), MOST_BITS + 1)
# Pairs that are compared at a time: 64 MB of bits that differ.
_PAIRS = 1 << 20

# Content, in hexadecimal → perceptual hash of 32 bytes; None for an image that has none.
Hashes = Mapping[str, bytes | None]


def all_known(parts: Sequence[Part], hashes: Hashes | None) -> Hashes | None:
    """Return the hashes if somebody has looked at every image of the parts; else a count would say too little."""
    is_known = hashes is not None and all(content in hashes for part in parts for content in part.contents)
    return hashes if is_known else None


def stand_near(parts: Sequence[Part], hashes: Hashes) -> np.ndarray:
    """Tell which images of the last part have a near duplicate, or an equal image, in a part before it.

    Returns:
        (N,) bool.
    """
    before = {content for part in parts[:-1] for content in part.contents}
    old = sorted({found for content in before if (found := hashes.get(content)) is not None})
    tested = parts[-1].contents
    new = sorted({found for content in tested if (found := hashes.get(content)) is not None})
    first, _ = near_pairs(_array(new), _array(old))
    near = {new[at] for at in np.unique(first).tolist()}
    return np.array([content in before or hashes.get(content) in near for content in tested], bool)


def stand_near_others(part: Part, hashes: Hashes, units: np.ndarray) -> np.ndarray:
    """Tell which images of a part have a near duplicate of another unit in it, which folds may part: (N,) bool.

    Args:
        part: the images.
        hashes: their hashes.
        units: (N,) what folds never part, see `probe.draws.units_of`.
    """
    rows = [row for row, content in enumerate(part.contents) if hashes.get(content) is not None]
    kept = _array([hashes[part.contents[row]] or b"" for row in rows])
    first, second = (np.array(rows, np.int64)[places] for places in near_pairs(kept, kept))
    found = np.zeros(len(part), bool)
    found[first[units[first] != units[second]]] = True
    return found


def group_near(contents: Sequence[str], groups: Sequence[str], hashes: Hashes) -> list[str]:
    """Return the groups that rows are in once near duplicates are one group.

    Whatever is connected by equal images, groups and near duplicates becomes one; other rows keep theirs.

    Args:
        contents: N content hashes, in hexadecimal.
        groups: N groups; empty where a row has none.
        hashes: of all of these images.

    Raises:
        HashesMissing: nobody has looked at an image yet: the draw would be another one once somebody has.
    """
    # A cached probe needs none of it.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    unknown = {content for content in contents if content not in hashes}
    if unknown:
        raise HashesMissing(
            f"group_duplicates: {len(unknown):,} of {len(set(contents)):,} images have not been looked at for near "
            "duplicates; run 'linprobe extract' for this dataset once more, which reads them."
        )
    units, tokens = units_of(contents, groups)
    rows = [row for row, content in enumerate(contents) if hashes[content] is not None]
    kept = _array([hashes[contents[row]] or b"" for row in rows])
    first, second = (units[np.array(rows, np.int64)[places]] for places in near_pairs(kept, kept))
    links = coo_array((np.ones(len(first), bool), (first, second)), shape=(len(tokens), len(tokens)))
    _, cluster = connected_components(links, directed=False)
    sizes = np.bincount(cluster)
    least: dict[int, str] = {}
    for of, token in zip(cluster.tolist(), tokens, strict=True):
        least[of] = min(token, least.get(of, token))
    of_row = cluster[units].tolist()
    return [least[of] if sizes[of] > 1 else group for of, group in zip(of_row, groups, strict=True)]


def near_warning(is_near: np.ndarray, metrics: Mapping[str, float]) -> str:
    """Say how many test images have a near duplicate that was trained on, and what the accuracy is without them."""
    without = metrics.get("accuracy_without_near_duplicates")
    told = f"; accuracy without them {without:.1%}" if without is not None else ""
    return (
        f"{int(is_near.sum())} of {len(is_near)} test images are near duplicates of training images, such as copies "
        f"resized or encoded anew{told}"
    )


def near_pairs(some: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return every pair of near duplicates.

    Args:
        some: (N, 32) uint8 hashes.
        others: (M, 32) likewise.

    Returns:
        The pairs' places in `some` and in `others`, each (P,) int64; a pair may come more than once.
    """
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for mine, theirs in _candidates(some, others):
        bits = np.bitwise_count(some[mine] ^ others[theirs]).sum(axis=1, dtype=np.int64)
        is_near = bits <= MOST_BITS
        firsts.append(mine[is_near])
        seconds.append(theirs[is_near])
    return np.concatenate(firsts), np.concatenate(seconds)


def _candidates(some: np.ndarray, others: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs that agree in a band, so many at a time."""
    if not len(some) or not len(others):
        return
    bits, other_bits = (np.unpackbits(hashes, axis=1) for hashes in (some, others))
    for band in _BANDS:
        weights = 1 << np.arange(len(band), dtype=np.int64)
        mine, theirs = bits[:, band] @ weights, other_bits[:, band] @ weights
        order = np.argsort(theirs, kind="stable")
        low, high = (np.searchsorted(theirs[order], mine, side) for side in ("left", "right"))
        counts = high - low
        ends = np.cumsum(counts)
        at = 0
        while at < len(some):
            # At least one image, however many share its band.
            done = ends[at - 1] if at else 0
            until = max(at + 1, int(np.searchsorted(ends, done + _PAIRS, "right")))
            of = np.repeat(np.arange(at, until), counts[at:until])
            offset = np.arange(len(of)) - np.repeat(ends[at:until] - counts[at:until] - done, counts[at:until])
            yield of, order[np.repeat(low[at:until], counts[at:until]) + offset]
            at = until


def _array(hashes: Sequence[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, _BITS // 8)
