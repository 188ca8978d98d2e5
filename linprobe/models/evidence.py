"""What an image is to a run that is shown it: one that it was trained on, or one unlike all of these."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from linprobe.models.runs import TrainedHead
from probe import ProbeRequest, select_parts
from probe.errors import HashesMissing
from probe.neighbours import UnitRows, find_neighbours
from probe.parts import Part
from probe.scaling import Scaler, fit_scaler
from store import FeatureSetNotFound, FeatureStore, ProbeResult

__all__ = ["Familiarity", "TrainedOn", "evidence_of", "open_evidence", "say_right"]

# Images of train whose distance to their nearest is the measure of what is usual, drawn anew from equal data alike.
_NULL_IMAGES = 500


@dataclass(frozen=True)
class Familiarity:
    """How far an image lies from all that a run was trained on.

    Attributes:
        distance: 1 less the cosine to the nearest training image, of z-scored features; 0 to 2.
        p: the share of training images that lie at least as far from their own nearest, one added to both counts.
    """

    distance: float
    p: float


class TrainedOn:
    """The images that a run was trained on or selected by.

    Args:
        parts: train, perhaps validation.
        seed: of the draw of those that say what is usual.

    Attributes:
        contents: their content hashes.
    """

    def __init__(self, parts: Sequence[Part], *, seed: int = 0) -> None:
        self.contents = frozenset(content for part in parts for content in part.contents)
        self._parts, self._seed = parts, seed

    def look(self, features: np.ndarray, contents: Sequence[str]) -> list[Familiarity]:
        """Say how far images lie from the training images, from others if they are among them.

        Args:
            features: (M, D) floating, as extracted.
            contents: their M content hashes.
        """
        queries = UnitRows(np.asarray(features, np.float32), self._known[1])
        distances = self._nearest(queries, contents)
        farther = len(self._usual) - np.searchsorted(self._usual, distances * (1 - 1e-6), side="left")
        shares = (1 + farther) / (1 + len(self._usual))
        return [Familiarity(float(d), float(p)) for d, p in zip(distances, shares, strict=True)]

    @cached_property
    def _known(self) -> tuple[UnitRows, Scaler, list[str]]:
        """Each different image once: its rows of length 1, how they are scaled, and their content hashes."""
        contents = [content for part in self._parts for content in part.contents]
        _, first = np.unique(contents, return_index=True)
        first = np.sort(first)
        features = np.concatenate([part.read() for part in self._parts])[first]
        scaler = fit_scaler("zscore", features)
        return UnitRows(features, scaler), scaler, [contents[row] for row in first.tolist()]

    @cached_property
    def _usual(self) -> np.ndarray:
        """How far some training images lie from their own nearest, increasing."""
        bank, _, contents = self._known
        rows = np.sort(np.random.default_rng(self._seed).permutation(len(bank))[:_NULL_IMAGES])
        return np.sort(self._nearest(bank.selected(rows), [contents[row] for row in rows.tolist()]))

    def _nearest(self, queries: UnitRows, contents: Sequence[str]) -> np.ndarray:
        """Return each image's distance to the nearest training image that is not itself."""
        bank, _, known = self._known
        rows, similarities = find_neighbours(queries, bank, min(2, len(bank)))
        is_own = np.array([known[row] == content for row, content in zip(rows[:, 0], contents, strict=True)])
        nearest = np.where(is_own, similarities[:, -1], similarities[:, 0])
        return np.maximum(1.0 - nearest.astype(np.float64), 0.0)


def open_evidence(store: FeatureStore, run: ProbeResult) -> TrainedOn | None:
    """Return what a run was trained on, by its own words; None where its sets are gone.

    Args:
        store: holds the sets.
        run: of any version of the protocol.
    """
    config = run.config
    try:
        sets = {split: store.get(key=key) for split, key in config["sets"].items()}
    except FeatureSetNotFound:
        return None
    request = ProbeRequest(
        dataset=config["dataset"],
        extractor=config["extractor"],
        head=config["head"],
        train=config["train"],
        validation=config["validation"] or None,
        test=None if config["folds"] else config["test"],
        seed=config["seed"],
        shots=config["shots"],
        train_share=config["train_share"],
        folds=config["folds"],
        group_duplicates=config.get("group_duplicates", False),
    )
    hashes = store.hashes_of(sets.values()) if request.group_duplicates else None
    try:
        *trained, _ = select_parts(request, sets, protocol=run.protocol, hashes=hashes)
    except HashesMissing:
        # Of a draw that keeps near duplicates together, and nobody knows any more which they are.
        return None
    return TrainedOn([part for _, part in trained], seed=config["seed"])


def evidence_of(
    head: TrainedHead, store: FeatureStore, *, contents: Sequence[str], features: np.ndarray
) -> list[dict[str, Any]]:
    """Return what each image is to the run, as plain data: `trained_on`, `distance` and `distance_p`, or None.

    Args:
        head: the run's.
        store: holds its sets.
        contents: M content hashes.
        features: (M, D), as extracted.
    """
    known = open_evidence(store, head.run)
    if known is None:
        return [{"trained_on": None, "distance": None, "distance_p": None} for _ in contents]
    return [
        {"trained_on": content in known.contents, "distance": found.distance, "distance_p": found.p}
        for content, found in zip(contents, known.look(features, contents), strict=True)
    ]


def say_right(rows: Sequence[dict[str, Any]]) -> str:
    """Return how many of labelled images are right, the honest figure first.

    Args:
        rows: one or more, with `is_correct` and `trained_on`.
    """
    unseen = [row for row in rows if row["trained_on"] is False]

    def share(of: Sequence[dict[str, Any]]) -> str:
        right = sum(row["is_correct"] for row in of)
        return f"{right} of {len(of)} are right ({right / len(of):.1%})"

    if all(row["trained_on"] is None for row in rows):
        return f"{share(rows)}; whether they trained this run is not known, for its sets are gone."
    if len(unseen) == len(rows):
        return f"{share(rows)}; none of them trained this run."
    seen = len(rows) - len(unseen)
    if not unseen:
        return f"All {len(rows)} images trained this run, and say nothing of new ones: {share(rows)}."
    return (
        f"Of {len(unseen)} images that did not train this run {share(unseen)}. With the {seen} that did, "
        f"{share(rows)}: that says nothing of new ones."
    )
