"""The gate: a night whose results fell too far below a pinned baseline has failed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from linprobe.job.config import GateConfig
from linprobe.job.errors import ConfigError, GateFailed
from linprobe.job.failures import Failure, foreseen
from store import FeatureStore

__all__ = ["Verdict", "check_gate", "pin_baselines"]

_QUESTION = ("dataset", "extractor", "head", "seed", "shots", "train_share", "metric", "test")


@dataclass
class Verdict:
    """What the gate says of a night.

    Attributes:
        failures: baselines that a run fell too far below, or that no run answers.
        drops: accuracy of the baseline less tonight's, of each comparison.
    """

    failures: list[Failure] = field(default_factory=list)
    drops: list[float] = field(default_factory=list)

    def line(self, gate: GateConfig) -> str:
        """Return the verdict in a line."""
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


def check_gate(gate: GateConfig, rows: list[dict[str, object]], store: FeatureStore) -> Verdict:
    """Compare a night's runs with their baselines.

    A baseline is compared with the runs that answer the same question: equal dataset, extractor, head, seed, shots,
    views and test split.

    Args:
        gate: how much worse a run may be, and than which runs.
        rows: tonight's runs, as `linprobe.commands.probe` gives them.
        store: holds the baselines.
    """
    verdict = Verdict()
    for name in gate.baselines:
        try:
            _compare(name, gate.max_drop, rows, store, verdict)
        except foreseen() as error:
            verdict.failures.append(Failure(f"gate {name[:12]}", error))
    return verdict


def _compare(name: str, max_drop: float, rows: list[dict[str, object]], store: FeatureStore, verdict: Verdict) -> None:
    baseline = store.run(name)
    asked = _asked(baseline.config)
    # A run that was trained under another name stands in the store under that one.
    tonight = [row for row in rows if asked in [_asked(names) for names in (row, _recorded(store, row))]]
    if not tonight:
        raise GateFailed(f"baseline {name[:12]}: no run of tonight answers the same question {asked}.")
    for row in tonight:
        before, now = baseline.metrics["accuracy"], float(str(row["accuracy"]))
        verdict.drops.append(before - now)
        if before - now > max_drop:
            what = f"{row['dataset']} / {row['extractor']} / {row['head']}"
            raise GateFailed(
                f"{what}: accuracy {now:.4f} is {before - now:.4f} below the baseline {name[:12]} ({before:.4f}); "
                f"{max_drop:g} is allowed."
            )


def _asked(names: Mapping[str, object]) -> dict[str, object]:
    # Runs that were trained without views, or before there were any, do not speak of them.
    return {**{part: names[part] for part in _QUESTION}, "views": names.get("views", 0)}


def _recorded(store: FeatureStore, row: Mapping[str, object]) -> Mapping[str, object]:
    return store.run(str(row["run_id"])).config
