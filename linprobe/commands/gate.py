"""The gate: a night whose results are worse than is allowed has failed, where that is no chance.

Each comparison is a test on equal images with three ends: passed, failed, and undecided where the images are too few to
tell. The failures of a night share one level (Holm), so that eighty comparisons alarm as rarely as one.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from linprobe.job.config import GateConfig
from linprobe.job.errors import ConfigError, GateFailed
from linprobe.job.failures import Failure, foreseen
from probe.noninferiority import (
    PairedCounts,
    drop_bounds,
    images_needed,
    least_visible_drop,
    p_of_larger_drop,
    p_of_smaller_drop,
)
from probe.paired_tests import design_effect, holm
from store import FeatureStore, ProbeResult
from store.extractor_names import is_floor
from store.settings import protocol_of, values_of

__all__ = ["GateResult", "Verdict", "check_gate", "pin_baselines", "undecidable"]

# Tonight's head may be trained on more, or with other options: it must do no worse on the same test.
_FREE = ("options", "train", "validation")
# From this version of the protocol on, drawn parts keep every class.
_KEEPING = 3


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one comparison came to.

    Attributes:
        part: what was compared, for people.
        end: passed, failed or undecided.
        p_failed: the p-value of what is allowed having been kept; small where it was not.
        text: the numbers, in words.
        drop: accuracy of the baseline less tonight's, on equal images; None where there is no baseline.
        visible: the least drop that so many images would have shown, in four of five cases.
    """

    part: str
    end: str
    p_failed: float
    text: str
    drop: float | None = None
    visible: float | None = None


@dataclass
class GateResult:
    """What the gate says of a night.

    Attributes:
        failures: comparisons that failed, baselines that no run answers, images past what is allowed.
        verdicts: of each comparison.
    """

    failures: list[Failure] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def undecided(self) -> list[Verdict]:
        """The comparisons that could not tell."""
        return [verdict for verdict in self.verdicts if verdict.end == "undecided"]

    def line(self, gate: GateConfig) -> str:
        """Return the result in a line."""
        end = "failed" if self.failures else "undecided" if self.undecided else "passed"
        compared = f"{len(self.verdicts)} run{'' if len(self.verdicts) == 1 else 's'} compared"
        if self.undecided:
            compared += f", {len(self.undecided)} undecided"
        drops = [verdict.drop for verdict in self.verdicts if verdict.drop is not None]
        if drops:
            compared += f", the largest drop of accuracy {max(drops):.4f} ({gate.max_drop:g} is allowed"
            visible = [verdict.visible for verdict in self.verdicts if verdict.visible is not None]
            compared += f"; one of {max(visible):.4f} would have been seen)" if visible else ")"
        return f"Gate: {end}; {compared}."


def pin_baselines(gate: GateConfig, store: FeatureStore) -> GateConfig:
    """Return the gate with the full ids of its baselines, before a night adds runs.

    Raises:
        RunNotFound: a baseline is not in the store.
        ConfigError: one is named by what it answers; the newest run of that name is tonight's own.
    """
    pinned = []
    for name in gate.baselines or ():
        found = store.find_run(name)
        if not found.startswith(name):
            raise ConfigError(
                f"gate.baselines: {name} names the newest run, and tonight's would be compared with itself; pin a run "
                f"by its id, such as {found[:12]}."
            )
        pinned.append(found)
    return gate.model_copy(update={"baselines": tuple(pinned) or None})


def undecidable(gate: GateConfig, store: FeatureStore) -> list[str]:
    """Return what can never pass, whatever a night predicts: a text for each baseline that has too few test images."""
    if gate.max_drop is None:
        return []
    needed = images_needed(gate.max_drop, gate.level)
    return [
        f"baseline {name[:12]} was tested on {count:,} images: with max_drop = {gate.max_drop:g} and level = "
        f"{gate.level:g} it takes {needed:,} to pass another run, even where no prediction differs"
        for name in gate.baselines or ()
        if (count := int(store.record(name).counts["n_test"])) < needed
    ]


def check_gate(
    gate: GateConfig,
    rows: list[dict[str, object]],
    store: FeatureStore,
    *,
    sets: Collection[Mapping[str, Any]] = (),
    kept: Collection[tuple[str, str]] = (),
) -> GateResult:
    """Hold a night against what the gate allows.

    A baseline is compared with the runs that answer the same question: equal dataset, extractor, head, seed, shots,
    views and test split.

    Args:
        gate: what is allowed; its baselines are full ids.
        rows: tonight's runs, as `linprobe.commands.probe` gives them.
        store: holds the baselines.
        sets: tonight's feature sets, as `linprobe.commands.extract` gives them.
        kept: (dataset, extractor) pairs, as the store calls them, that kept the answers of before tonight.
    """
    result = GateResult()
    rows = [*rows, *_kept_rows(store, kept)]
    asked: list[_Question] = []
    for name in gate.baselines or ():
        try:
            asked += _drops(name, gate, rows, store=store)
        except foreseen() as error:
            result.failures.append(Failure(f"gate {name[:12]}", error))
    if gate.min_accuracy is not None:
        asked += _minima(gate, rows, store)
    shared = holm([question.p_failed(len(asked)) for question in asked])
    for question, p_holm in zip(asked, shared, strict=True):
        verdict = question.verdict(p_holm, len(asked))
        result.verdicts.append(verdict)
        if verdict.end == "failed":
            result.failures.append(
                Failure(f"gate {question.name[:12]}", GateFailed(f"{verdict.part}: {verdict.text}."))
            )
    result.failures += _quarantines(gate, sets)
    return result


def _kept_rows(store: FeatureStore, kept: Collection[tuple[str, str]]) -> list[dict[str, object]]:
    """Return rows of the runs that still answer the questions of these pairs."""
    standing = [one for one in store.standing() if (one.dataset, one.extractor) in kept and one.is_read] if kept else []
    return [
        {**one.config, "run_id": one.run_id, "accuracy": store.record(one.run_id).metrics["accuracy"]}
        for one in standing
    ]


@dataclass(frozen=True, kw_only=True)
class _Question(ABC):
    """One thing that is asked of a night, by a test of what is allowed.

    Attributes:
        name: of the run that it is about.
        part: for people.
        gate: what is allowed.
        tested: on how many images; a test counts those of one group as fewer.
    """

    name: str
    part: str
    gate: GateConfig
    tested: int

    @abstractmethod
    def p_failed(self, count: int) -> float:
        """Return the p-value of what is allowed having been kept, one of so many questions."""

    @abstractmethod
    def p_passed(self) -> float:
        """Return the p-value of what is allowed not having been kept."""

    @abstractmethod
    def told(self, count: int) -> dict[str, Any]:
        """Return `text` of its verdict, one of so many, and perhaps `drop` and `visible`."""

    def verdict(self, p_holm: float, count: int) -> Verdict:
        """Return what it comes to, where its p-value among the others is this."""
        level = self.gate.level
        end = "failed" if p_holm <= level else "passed" if self.p_passed() <= level else "undecided"
        return Verdict(part=self.part, end=end, p_failed=p_holm, **self.told(count))


@dataclass(frozen=True, kw_only=True)
class _Drop(_Question):
    """How far a run of tonight is below a baseline, on equal images."""

    is_same_run: bool
    counts: PairedCounts
    before: float
    now: float
    note: str

    @property
    def _allowed(self) -> float:
        assert self.gate.max_drop is not None
        return self.gate.max_drop

    def p_failed(self, count: int) -> float:
        return 1.0 if self.is_same_run else p_of_larger_drop(self.counts, self._allowed, self.gate.level / count)

    def p_passed(self) -> float:
        return 0.0 if self.is_same_run else p_of_smaller_drop(self.counts, self._allowed, self.gate.level)

    def told(self, count: int) -> dict[str, Any]:
        if self.is_same_run:
            return {"text": "the baseline itself", "drop": 0.0}
        level, drop = self.gate.level, self.before - self.now
        low, high = drop_bounds(self.counts, lower_level=level / count, upper_level=level)
        text = (
            f"accuracy {self.now:.4f} on {self.tested:,} equal images, {self.before:.4f} of the baseline "
            f"{self.name[:12]}: a drop of {drop:.4f} [{low:.4f}, {high:.4f}]; {self._allowed:g} is allowed{self.note}"
        )
        visible = least_visible_drop(self.counts, self._allowed, level / count)
        return {"text": text, "drop": drop, "visible": visible}


@dataclass(frozen=True, kw_only=True)
class _Minimum(_Question):
    """Whether a run of tonight reaches the accuracy that any must reach."""

    images: int
    right: int
    accuracy: float

    @property
    def _least(self) -> float:
        assert self.gate.min_accuracy is not None
        return self.gate.min_accuracy

    def p_failed(self, count: int) -> float:
        from scipy.special import bdtr

        return float(bdtr(self.right, self.images, self._least))

    def p_passed(self) -> float:
        from scipy.special import bdtrc

        # P(B >= right) where the accuracy is the least allowed.
        return float(bdtrc(self.right - 1, self.images, self._least)) if self.right else 1.0

    def told(self, count: int) -> dict[str, Any]:
        return {"text": f"accuracy {self.accuracy:.4f} on {self.tested:,} images; {self._least:g} is the least allowed"}


def _drops(name: str, gate: GateConfig, rows: list[dict[str, object]], *, store: FeatureStore) -> list[_Question]:
    baseline = store.run(name)
    asked = _asked(baseline.config)
    # A run that was trained under another name stands in the store under that one.
    named = ((row, _recorded(store, row)) for row in rows)
    tonight = [row for row, config in named if asked in (_asked({**config, **row}), _asked(config))]
    if not tonight:
        raise GateFailed(f"baseline {name[:12]}: no run of tonight answers the same question {asked}.")
    return [_drop(baseline, row, gate, store=store) for row in tonight]


def _drop(baseline: ProbeResult, row: dict[str, object], gate: GateConfig, *, store: FeatureStore) -> _Drop:
    from probe.comparison import pair_answers

    run = store.run(str(row["run_id"]))
    pairs = pair_answers(baseline, run)
    differences = pairs.is_first.astype(float) - pairs.is_second
    scale = _draws_of_an_image(differences, pairs.units)
    before, now = (round(scale * float(count)) for count in ((differences > 0).sum(), (differences < 0).sum()))
    note = f"; {pairs.relabelled:,} of the images have another label than then" if pairs.relabelled else ""
    if baseline.protocol != run.protocol:
        note += f"; the baseline is of protocol {baseline.protocol}, tonight's of {run.protocol}"
    return _Drop(
        name=baseline.run_id,
        part=_named(row),
        gate=gate,
        tested=len(differences),
        is_same_run=run.run_id == baseline.run_id,
        # Rounded apart, those that differ must not be more than all.
        counts=PairedCounts(max(1, int(scale * len(differences)), before + now), before, now),
        before=float(pairs.is_first.mean()),
        now=float(pairs.is_second.mean()),
        note=note,
    )


def _minima(gate: GateConfig, rows: list[dict[str, object]], store: FeatureStore) -> Iterable[_Question]:
    """Yield the question of each run that was trained on all of train; floors need reach nothing beside others."""
    from probe.draws import units_of

    are_floors = all(is_floor(str(row["extractor"])) for row in rows)
    for row in rows:
        values = values_of(_recorded(store, row))
        is_limited = values["shots"] != "all" or values["train_share"] != 1.0
        if is_limited or (is_floor(str(row["extractor"])) and not are_floors):
            continue
        told = store.predictions(str(row["run_id"]))
        is_correct = told["is_correct"].to_numpy(float)
        units, _ = units_of(told["content_sha256"].tolist(), told["group"].astype(str).tolist())
        images = max(1, int(len(told) * _draws_of_an_image(is_correct, units)))
        accuracy = float(is_correct.mean())
        yield _Minimum(
            name=str(row["run_id"]),
            part=_named(row),
            gate=gate,
            tested=len(told),
            images=images,
            right=round(accuracy * images),
            accuracy=accuracy,
        )


def _draws_of_an_image(values: np.ndarray, units: np.ndarray) -> float:
    """Return for how much of a draw each image counts: images of one group are no draws of their own."""
    return 1.0 if int(units.max()) + 1 == len(units) else 1 / design_effect(values, units)


def _quarantines(gate: GateConfig, sets: Collection[Mapping[str, Any]]) -> list[Failure]:
    if gate.max_quarantined is None:
        return []
    from extract import Budget

    budget, failures = Budget.parse(str(gate.max_quarantined)), []
    for row in sets:
        bad, rows = row.get("quarantined") or 0, row.get("rows") or 0
        if not budget.allows(bad, bad + rows):
            part = f"{row['dataset']} / {row['split']} / {row['extractor']}"
            text = f"{part}: {bad:,} of {bad + rows:,} images are quarantined; {budget.text()} are allowed."
            failures.append(Failure(f"gate {part}", GateFailed(text)))
    return failures


def _named(row: Mapping[str, object]) -> str:
    return f"{row['dataset']} / {row['extractor']} / {row['head']}"


def _asked(names: Mapping[str, object]) -> dict[str, object]:
    values = values_of(names, but=_FREE)
    if protocol_of(names) >= _KEEPING:
        return values
    # Protocol 2 drew its test part by the same hash. Protocol 3 moves images only to keep a class, and tests limited
    # runs on what seed 0 draws.
    seed = values["seed"]
    drawn = seed if values["shots"] == "all" and values["train_share"] == 1.0 else 0
    return {**values, "test": str(values["test"]).replace(f"/seed{seed}[", f"/draw{drawn}[")}


def _recorded(store: FeatureStore, row: Mapping[str, object]) -> Mapping[str, object]:
    return store.record(str(row["run_id"])).config
