"""The gate: a night whose results fell too far below a pinned baseline has failed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from linprobe.job.config import GateConfig
from linprobe.job.errors import ConfigError, GateFailed
from linprobe.job.failures import Failure, foreseen
from store import FeatureStore
from store.settings import values_of

__all__ = ["GateResult", "check_gate", "pin_baselines"]

# Tonight's head may be trained on more, or with other options: it must do no worse on the same test.
_FREE = ("options", "train", "validation")


@dataclass
class GateResult:
    """What the gate says of a night.

    Attributes:
        failures: baselines that a run fell too far below, or that no run answers.
        drops: accuracy of the baseline less tonight's, of each comparison.
    """

    failures: list[Failure] = field(default_factory=list)
    drops: list[float] = field(default_factory=list)

    def line(self, gate: GateConfig) -> str:
        """Return the result in a line."""
        compared = f"{len(self.drops)} run{'' if len(self.drops) == 1 else 's'} compared"
        if self.drops:
            compared += f", the largest drop of accuracy {max(self.drops):.4f} ({gate.max_drop:g} is allowed)"
        return f"Gate: {'failed' if self.failures else 'passed'}; {compared}."


def pin_baselines(gate: GateConfig, store: FeatureStore) -> GateConfig:
    """Return the gate with the full ids of its baselines, before a night adds runs.

    Raises:
        RunNotFound: a baseline is not in the store.
        ConfigError: one is named by what it answers; the newest run of that name is tonight's own.
    """
    pinned = []
    for name in gate.baselines:
        found = store.find_run(name)
        if not found.startswith(name):
            raise ConfigError(
                f"gate.baselines: {name} names the newest run, and tonight's would be compared with itself; pin a run "
                f"by its id, such as {found[:12]}."
            )
        pinned.append(found)
    return gate.model_copy(update={"baselines": tuple(pinned)})


def check_gate(
    gate: GateConfig,
    rows: list[dict[str, object]],
    store: FeatureStore,
    *,
    kept: Collection[tuple[str, str]] = (),
) -> GateResult:
    """Compare a night's answers with their baselines.

    A baseline is compared with the runs that answer the same question: equal dataset, extractor, head, seed, shots,
    views and test split.

    Args:
        gate: how much worse a run may be, and than which runs.
        rows: tonight's runs, as `linprobe.commands.probe` gives them.
        store: holds the baselines.
        kept: (dataset, extractor) pairs, as the store calls them, that kept the answers of before tonight.
    """
    result = GateResult()
    rows = [*rows, *_kept_rows(store, kept)]
    for name in gate.baselines:
        try:
            for drop in _drops(name, rows, store):
                result.drops.append(drop.value)
                drop.require_at_most(gate.max_drop)
        except foreseen() as error:
            result.failures.append(Failure(f"gate {name[:12]}", error))
    return result


def _kept_rows(store: FeatureStore, kept: Collection[tuple[str, str]]) -> list[dict[str, object]]:
    """Return rows of the runs that still answer the questions of these pairs."""
    standing = [one for one in store.standing() if (one.dataset, one.extractor) in kept and one.is_read] if kept else []
    return [
        {**one.config, "run_id": one.run_id, "accuracy": store.record(one.run_id).metrics["accuracy"]}
        for one in standing
    ]


@dataclass(frozen=True, kw_only=True)
class _Drop:
    """How far a run of tonight is below a baseline."""

    baseline: str
    before: float
    row: dict[str, object]

    @property
    def now(self) -> float:
        return float(str(self.row["accuracy"]))

    @property
    def value(self) -> float:
        return self.before - self.now

    def require_at_most(self, max_drop: float) -> None:
        """Raise GateFailed where it is more than is allowed."""
        if self.value > max_drop:
            what = f"{self.row['dataset']} / {self.row['extractor']} / {self.row['head']}"
            raise GateFailed(
                f"{what}: accuracy {self.now:.4f} is {self.value:.4f} below the baseline {self.baseline[:12]} "
                f"({self.before:.4f}); {max_drop:g} is allowed."
            )


def _drops(name: str, rows: list[dict[str, object]], store: FeatureStore) -> list[_Drop]:
    baseline = store.run(name)
    asked = _asked(baseline.config)
    # A run that was trained under another name stands in the store under that one.
    tonight = [row for row in rows if asked in [_asked(names) for names in (row, _recorded(store, row))]]
    if not tonight:
        raise GateFailed(f"baseline {name[:12]}: no run of tonight answers the same question {asked}.")
    return [_Drop(baseline=name, before=baseline.metrics["accuracy"], row=row) for row in tonight]


def _asked(names: Mapping[str, object]) -> dict[str, object]:
    return values_of(names, but=_FREE)


def _recorded(store: FeatureStore, row: Mapping[str, object]) -> Mapping[str, object]:
    return store.run(str(row["run_id"])).config
