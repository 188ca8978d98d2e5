"""`linprobe probe`: every head on every dataset and extractor, from cached features alone."""

from dataclasses import dataclass, field
from typing import Any

from jobs.config import DatasetConfig, JobConfig, ProbeConfig
from jobs.console import Console
from jobs.failures import Failure, foreseen
from jobs.surroundings import Surroundings
from probe import ProbeRequest, run_id, run_probe
from store import FeatureSet, FeatureSetNotFound, FeatureStore, ProbeResult

__all__ = ["ProbeOptions", "ProbeOutcome", "probe_all"]


@dataclass(frozen=True)
class ProbeOptions:
    """What the command line adds to the job.

    Attributes:
        train, validation, test: splits instead of the configured ones.
        seeds: how many seeds, 0 and on, instead of the configured number.
    """

    train: str | None = None
    validation: str | None = None
    test: str | None = None
    seeds: int | None = None


@dataclass
class ProbeOutcome:
    """What became of a probe job.

    Attributes:
        rows: a document per run, in the order of the work.
        failures: parts that failed.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def probe_all(
    job: JobConfig,
    store: FeatureStore,
    options: ProbeOptions,
    surroundings: Surroundings,
    console: Console,
    skipped: frozenset[tuple[str, str]] = frozenset(),
) -> ProbeOutcome:
    """Train and test what a job asks for; an equal run is returned, not trained again.

    Args:
        job: datasets, extractors, probes.
        store: the features, and where runs go.
        options: what the command line adds.
        surroundings: where the job runs.
        console: who is told.
        skipped: (dataset, extractor) pairs to leave out.
    """
    outcome = ProbeOutcome()
    surroundings.prepare_frameworks()
    for dataset in job.datasets:
        for extractor in (entry.name for entry in job.extractors if (dataset.name, entry.name) not in skipped):
            for probe in job.probes:
                part = f"{dataset.name} / {extractor} / {probe.head}"
                try:
                    sets = _sets(store, dataset.stored_name, extractor)
                    for seed in range(options.seeds or probe.seeds):
                        request = _request(dataset, extractor, probe, options, seed)
                        row = _run(request, sets, store, surroundings, console)
                        # An equal run may have been trained under another name.
                        outcome.rows.append({**row, "dataset": dataset.name, "extractor": extractor})
                        console.say(_line(outcome.rows[-1]))
                except foreseen() as error:
                    outcome.failures.append(Failure(part, error))
                    console.say(f"{part}: {error}")
    return outcome


def _sets(store: FeatureStore, dataset: str, extractor: str) -> dict[str, FeatureSet]:
    splits = store.splits(dataset, extractor)
    if not splits:
        raise FeatureSetNotFound(
            f"no cached features of {dataset} by {extractor} in {store.path}; run 'linprobe extract' with the same "
            "CONFIG, or --dataset and --extractor, first."
        )
    return {split: store.get(dataset, split, extractor) for split in splits}


def _request(
    dataset: DatasetConfig, extractor: str, probe: ProbeConfig, options: ProbeOptions, seed: int
) -> ProbeRequest:
    return ProbeRequest(
        dataset=dataset.stored_name,
        extractor=extractor,
        head=probe.head,
        options=probe.options,
        train=options.train or dataset.train,
        validation=options.validation or dataset.validation,
        test=options.test or dataset.test,
        seed=seed,
    )


def _run(
    request: ProbeRequest,
    sets: dict[str, FeatureSet],
    store: FeatureStore,
    surroundings: Surroundings,
    console: Console,
) -> dict[str, Any]:
    identity = run_id(request, sets)
    if store.has_run(identity):
        return _row(store.run(identity), "cached")
    result = run_probe(request, sets, created=surroundings.now(), on_progress=console.status)
    store.publish_run(result)
    return _row(result, "trained")


def _row(result: ProbeResult, status: str) -> dict[str, Any]:
    named = ("dataset", "extractor", "head", "seed", "shots", "train", "validation", "test")
    return {
        "run_id": result.run_id,
        **{name: result.config[name] for name in named},
        "n_train": result.counts["n_train"],
        "n_test": result.counts["n_test"],
        **result.metrics,
        "seconds": round(result.seconds, 3),
        "converged": bool(result.fit["converged"]),
        "status": status,
        "selected": dict(result.selection["selected"]),
        "warnings": list(result.warnings),
    }


def _line(row: dict[str, Any]) -> str:
    selected = ", ".join(f"{name} = {value:.3g}" for name, value in row["selected"].items())
    notes = [text for text in (selected, "" if row["converged"] else "NOT CONVERGED") if text]
    seed = f" seed {row['seed']}" if row["seed"] else ""
    took = "cached" if row["status"] == "cached" else f"{row['seconds']:.1f} s"
    return (
        f"{row['dataset']} {row['extractor']} {row['head']}{seed}: accuracy {row['accuracy']:.1%} "
        f"[{row['accuracy_low']:.1%}, {row['accuracy_high']:.1%}] on {row['n_test']:,} test examples"
        f"{f' ({chr(44).join(notes)})' if notes else ''}, {took}"
        + "".join(f"\n  note: {warning}" for warning in row["warnings"])
    )
