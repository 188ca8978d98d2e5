"""The gate: a night whose results fell too far below a pinned baseline has failed."""

from collections.abc import Mapping

from jobs.config import GateConfig
from jobs.errors import GateFailed
from jobs.failures import Failure, foreseen
from store import FeatureStore

__all__ = ["check_gate"]


def check_gate(gate: GateConfig, rows: list[dict[str, object]], store: FeatureStore) -> list[Failure]:
    """Compare a night's runs with their baselines.

    A baseline is compared with the runs of the same dataset, extractor, head and seed.

    Args:
        gate: how much worse a run may be, and than which runs.
        rows: tonight's runs, as `jobs.probing` gives them.
        store: holds the baselines.
    """
    failures = []
    question = ("dataset", "extractor", "head", "seed", "shots")
    for name in gate.baselines:
        try:
            baseline = store.run(name)
            asked = {part: baseline.config[part] for part in question}
            # A run that was trained under another name stands in the store under that one.
            tonight = [
                row
                for row in rows
                if asked in [{part: names[part] for part in question} for names in (row, _recorded(store, row))]
            ]
            if not tonight:
                raise GateFailed(f"baseline {name}: no run of tonight answers the same question {asked}.")
            for row in tonight:
                before, now = baseline.metrics["accuracy"], float(str(row["accuracy"]))
                if before - now > gate.max_drop:
                    what = f"{row['dataset']} / {row['extractor']} / {row['head']}"
                    raise GateFailed(
                        f"{what}: accuracy {now:.4f} is {before - now:.4f} below the baseline {name} ({before:.4f}); "
                        f"{gate.max_drop} is allowed."
                    )
        except foreseen() as error:
            failures.append(Failure(f"gate {name}", error))
    return failures


def _recorded(store: FeatureStore, row: Mapping[str, object]) -> Mapping[str, object]:
    return store.run(str(row["run_id"])).config
