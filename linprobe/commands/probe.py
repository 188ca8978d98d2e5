"""`linprobe probe`: every head on every dataset and extractor, from cached features alone."""

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from extract import SizeChange
from linprobe.commands.probe_views import find_view_sets
from linprobe.job.config import DatasetConfig, JobConfig, ProbeConfig, nearest
from linprobe.job.errors import ConfigError
from linprobe.job.failures import Failure, noted
from linprobe.job.plan import Selection
from linprobe.job.session import Session
from linprobe.models.runs import name_limits
from probe import ProbeRequest, find_disagreements, question_of, run_id, run_probe
from store import FeatureSet, FeatureSetNotFound, FeatureStore, RunRecord
from store.extractor_names import split_view_name
from store.settings import values_of

__all__ = ["ProbeOptions", "ProbeOutcome", "all_cached", "parse_shares", "parse_shots", "probe_all"]


# Few-shot results hang on which examples were drawn: as many draws as the field reports. A share of train: as many as
# scikit-learn's learning_curve.
_SEEDS_OF_SHOTS = 20
_SEEDS_OF_SHARES = 5
# From so many seeds on, a line tells of all of them instead of each.
_MANY_SEEDS = 5
_ONLY_READ = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """What the command line says instead of the job.

    Attributes:
        train, validation, test: splits.
        seeds: how many seeds, 0 and on.
        shots: examples per class, a run for each.
        train_shares: shares of train, a run for each.
        metric: what selection goes by.
        views: how many views of each training image are trained on.
        folds: of nested cross-validation.
        chosen_seeds: these, whatever their number.
    """

    train: str | None = None
    validation: str | None = None
    test: str | None = None
    seeds: int | None = None
    shots: tuple[int | str, ...] | None = None
    train_shares: tuple[float, ...] | None = None
    metric: str | None = None
    views: int | None = None
    folds: int | None = None
    chosen_seeds: tuple[int, ...] | None = None

    def seeds_of(self, probe: ProbeConfig, shots: int | str, share: float) -> Sequence[int]:
        """Return the seeds with which a head is trained on so many shots and such a share of train."""
        if self.chosen_seeds is not None:
            return self.chosen_seeds
        return range(self.seeds or probe.seeds or _default_seeds(shots, share))


def parse_shots(text: str | None) -> tuple[int | str, ...] | None:
    """Parse `1,5,10,all`.

    Raises:
        ConfigError: something in it is neither a number from 1 on nor `all`.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    wrong = [part for part in parts if part != "all" and not (part.isascii() and part.isdigit() and int(part))]
    if wrong:
        raise ConfigError(
            f"--shots {text}: {wrong[0]!r} found, a number from 1 on or 'all' expected: --shots 1,5,10,all."
        )
    return tuple(dict.fromkeys(part if part == "all" else int(part) for part in parts))


def parse_shares(text: str | None) -> tuple[float, ...] | None:
    """Parse `0.1,0.3,1` or `10%,30%,100%`.

    Raises:
        ConfigError: something in it is no share above 0 and up to 1.
    """
    if text is None:
        return None
    shares = []
    for part in text.split(","):
        number, is_percent = part.strip().removesuffix("%"), part.strip().endswith("%")
        try:
            share = float(number) / (100 if is_percent else 1)
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            raise ConfigError(
                f"--train-share {text}: {part!r} found, a share above 0 and up to 1 expected: "
                "--train-share 10%,30%,100%."
            )
        shares.append(share)
    return tuple(dict.fromkeys(shares))


@dataclass
class ProbeOutcome:
    """Result of a probe job.

    Attributes:
        rows: a document per run, in the order of the work.
        failures: parts that failed.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def probe_all(
    job: JobConfig,
    session: Session,
    *,
    options: ProbeOptions | None = None,
    skipped: frozenset[tuple[str, str]] = frozenset(),
) -> ProbeOutcome:
    """Train and test what a job asks for; an equal run is returned, not trained again.

    Args:
        job: datasets, extractors, probes.
        session: whose store has the features and gets the runs, where the job runs, and who is told.
        options: what the command line adds.
        skipped: (dataset, extractor) pairs to leave out.
    """
    outcome = ProbeOutcome()
    options = options or ProbeOptions()
    session.environment.prepare_frameworks()
    store = session.open_store()
    shown_names = store.shown_names()
    noted_before: set[tuple[str, str]] = set()
    features = [
        _Asked(
            session=session,
            store=store,
            shown_names=shown_names,
            dataset=dataset,
            extractor=entry.name,
            options=options,
            noted=noted_before,
        )
        for dataset in job.datasets
        for entry in job.extractors
        if (dataset.name, entry.name) not in skipped
    ]
    limits = [
        (probe, shots, share)
        for probe in job.probes
        for shots, share in product(options.shots or probe.shots, options.train_shares or probe.train_shares)
    ]
    total = len(features) * sum(len(options.seeds_of(*limit)) for limit in limits)
    with session.console.steps("probes", total) as step:
        for asked in features:
            first = len(outcome.rows)
            for probe, shots, share in limits:
                limited = name_limits(shots, share, asked.views(probe), folds=asked.folds(probe))
                part = f"{asked.dataset.name} / {asked.extractor} / {probe.head}{limited}"
                with noted(part, outcome.failures, session.console):
                    outcome.rows += asked.run_seeds(probe, shots, share, step=step)
            asked.warn_of_disagreements(outcome.rows[first:])
    return outcome


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a job asks of the features of one dataset by one extractor.

    `noted` are the warnings of each dataset that lines have told already: most say something of its parts, and so would
    stand under every run.
    """

    session: Session
    store: FeatureStore
    shown_names: Mapping[str, str]
    dataset: DatasetConfig
    extractor: str
    options: ProbeOptions
    noted: set[tuple[str, str]]

    @cached_property
    def sets(self) -> dict[str, FeatureSet]:
        found = _sets(self.store, self.stored_name, self.extractor)
        for split in found:
            self._tell_of_shrink(split)
        for split in self.store.unaccepted_ends(self.stored_name, self.extractor, list(found)):
            self.session.console.warn(
                f"{self.shown_name} {self.extractor}: SHRANK: the base split {split!r} is gone; NOT what was accepted"
            )
        return found

    def _tell_of_shrink(self, split: str) -> None:
        now, accepted = (
            size(self.stored_name, split, self.extractor) for size in (self.store.named_size, self.store.accepted_size)
        )
        if now and accepted and now.is_smaller_than(accepted):
            title, change = f"{self.shown_name}/{split} {self.extractor}", SizeChange(accepted, now).text()
            self.session.console.warn(f"{title}: SHRANK: {change}; NOT what was accepted")

    @cached_property
    def hashes(self) -> dict[str, bytes | None]:
        """What is known of the images beyond their bytes: by their content, in hexadecimal."""
        return self.store.hashes_of(self.sets.values())

    @cached_property
    def stored_name(self) -> str:
        """What the store calls the dataset, which may have been named by an end."""
        return self.store.find_dataset(self.dataset.stored_name)

    @property
    def shown_name(self) -> str:
        """What lines for people call it."""
        return self.shown_names[self.stored_name]

    def views(self, probe: ProbeConfig) -> int:
        """Return how many views of each training image a head is trained on."""
        return probe.views if self.options.views is None else self.options.views

    def folds(self, probe: ProbeConfig) -> int:
        """Return by how many folds every image is tested once; 0 for a test part."""
        return probe.folds if self.options.folds is None else self.options.folds

    def run_seeds(
        self, probe: ProbeConfig, shots: int | str, share: float, *, step: Callable[[], None]
    ) -> list[dict[str, Any]]:
        """Train a head with every seed, and tell of it."""
        seeds = self.options.seeds_of(probe, shots, share)
        count = len(seeds)
        rows = []
        for seed in seeds:
            row = self._run(self._request(probe, shots=shots, share=share, seed=seed))
            # An equal run may have been trained under another name.
            rows.append({**row, "dataset": self.dataset.name, "extractor": self.extractor})
            step()
            if count < _MANY_SEEDS:
                self.session.console.say(_line(rows[-1], self.shown_name) + self._new_notes(rows[-1]["warnings"]))
            else:
                self.session.console.status(_line(rows[-1], self.shown_name))
        if count >= _MANY_SEEDS:
            warnings = dict.fromkeys(warning for row in rows for warning in row["warnings"])
            self.session.console.say(_line_of_many(rows, self.shown_name) + self._new_notes(warnings))
        return rows

    def _new_notes(self, warnings: Iterable[str]) -> str:
        """Return a line for each warning that has not been told of this dataset."""
        new = [text for text in warnings if (self.dataset.name, text) not in self.noted]
        self.noted.update((self.dataset.name, text) for text in new)
        return "".join(f"\n  note: {text}" for text in new)

    def warn_of_disagreements(self, rows: list[dict[str, Any]]) -> None:
        """Add to the rows of these features what their heads contradict each other in, and tell of it."""
        own = [row for row in rows if row["head"] in ("dense", "logistic")]
        if len({row["head"] for row in own}) < 2:
            return
        found = find_disagreements(self.store.record(row["run_id"]) for row in own)
        for row in own:
            if row["run_id"] in found:
                row["warnings"].append(found[row["run_id"]])
        for text in dict.fromkeys(found.values()):
            self.session.console.say(f"{self.shown_name} {self.extractor}: {text}")

    def _request(self, probe: ProbeConfig, *, shots: int | str, share: float, seed: int) -> ProbeRequest:
        dataset, options = self.dataset, self.options
        return ProbeRequest(
            dataset=self.stored_name,
            extractor=self.extractor,
            head=probe.head,
            options=probe.options,
            train=options.train or dataset.train,
            validation=options.validation or dataset.validation,
            test=options.test or dataset.test,
            seed=seed,
            shots=shots,
            train_share=share,
            metric=options.metric or dataset.metric,
            views=self.views(probe),
            folds=self.folds(probe),
            group_duplicates=dataset.group_duplicates,
            is_beside_limited=self._has_limits(probe),
        )

    def _has_limits(self, probe: ProbeConfig) -> bool:
        """Whether some of its runs get less than all of train."""
        shots, shares = self.options.shots or probe.shots, self.options.train_shares or probe.train_shares
        return any(many != "all" for many in shots) or any(share < 1 for share in shares)

    def _run(self, request: ProbeRequest) -> dict[str, Any]:
        view_sets = find_view_sets(self.store, request, self.sets)
        identity = run_id(request, self.sets, view_sets)
        if self.store.has_run(identity):
            self._answer(request, identity)
            return _row(self.store.record(identity), "cached")
        session = self.session
        result = run_probe(
            request,
            self.sets,
            view_sets,
            created=session.environment.now(),
            on_progress=session.console.status,
            hashes=self.hashes,
        )
        self.store.publish_run(result)
        self.store.put_answer(question_of(request), identity, created=session.environment.now())
        return _row(result, "trained")

    def _answer(self, request: ProbeRequest, identity: str) -> None:
        """Make a cached run the answer again, if another is; a store that may only be read keeps the one it has."""
        try:
            self.store.put_answer(question_of(request), identity, created=self.session.environment.now())
        except OSError as error:
            if error.errno not in _ONLY_READ:
                raise
            self.session.console.say(
                f"{self.shown_name} {self.extractor} {request.head}: answer not published (run {identity[:12]}), for "
                f"{self.store.path} may only be read; reports and names go on with the answer before."
            )


def all_cached(store: FeatureStore, selection: Selection) -> tuple[Selection, frozenset[tuple[str, str]]]:
    """Return a selection of every dataset that is cached, by the extractors named or else by all; and what is missing.

    Args:
        store: the features.
        selection: without a dataset.

    Returns:
        The selection with datasets and extractors, and the pairs of them that have no features.

    Raises:
        FeatureSetNotFound: nothing is cached.
        ConfigError: an extractor is named that nothing is cached of.
    """
    named = {(row["dataset"], row["extractor"]) for row in store.catalog_rows() if row["is_current"]}
    # Views are for training alone.
    pairs = {(dataset, extractor) for dataset, extractor in named if not split_view_name(extractor)[1]}
    if not pairs:
        raise FeatureSetNotFound(f"{store.path}: no features are cached yet; run 'linprobe extract' first.")
    known = sorted({extractor for _, extractor in pairs})
    for name in selection.extractors:
        if name not in known:
            raise ConfigError(
                f"--extractor {name}: no features of it are cached in {store.path}; {nearest(name, known)}."
            )
    extractors = list(selection.extractors) or known
    datasets = sorted({dataset for dataset, extractor in pairs if extractor in extractors})
    missing = frozenset(set(product(datasets, extractors)) - pairs)
    return replace(selection, datasets=datasets, extractors=extractors), missing


def _default_seeds(shots: int | str, share: float) -> int:
    if shots != "all":
        return _SEEDS_OF_SHOTS
    return _SEEDS_OF_SHARES if share < 1 else 1


def _sets(store: FeatureStore, dataset: str, extractor: str) -> dict[str, FeatureSet]:
    splits = store.splits(dataset, extractor)
    if not splits:
        current = [row for row in store.catalog_rows() if row["is_current"]]
        known = sorted({f"{row['dataset']} by {row['extractor']}" for row in current})
        hint = nearest(f"{dataset} by {extractor}", known) if known else "nothing is there yet"
        raise FeatureSetNotFound(
            f"no cached features of {dataset} by {extractor} in {store.path}: {hint}; run 'linprobe extract' with the "
            "same CONFIG, or --dataset and --extractor, first."
        )
    return {split: store.get(dataset, split, extractor) for split in splits}


def _row(result: RunRecord, status: str) -> dict[str, Any]:
    return {
        "run_id": result.run_id,
        **values_of(result.config, but=["options"]),
        "n_train": result.counts["n_train"],
        "n_train_rows": result.counts.get("n_train_rows", result.counts["n_train"]),
        "n_test": result.counts["n_test"],
        **result.metrics,
        "seconds": round(result.seconds, 3),
        "converged": bool(result.fit["converged"]),
        "status": status,
        "selected": dict(result.selection["selected"]),
        "warnings": list(result.warnings),
    }


def _line(row: dict[str, Any], dataset: str) -> str:
    selected = ", ".join(f"{name} = {value:.3g}" for name, value in row["selected"].items())
    notes = [text for text in (selected, "" if row["converged"] else "NOT CONVERGED") if text]
    seed = f" seed {row['seed']}" if row["seed"] else ""
    took = "cached" if row["status"] == "cached" else f"{row['seconds']:.1f} s"
    metric = row["metric"]
    return (
        f"{_name(row, dataset)}{seed}: {metric.replace('_', ' ')} {row[metric]:.1%} "
        f"[{row[f'{metric}_low']:.1%}, {row[f'{metric}_high']:.1%}] on {row['n_test']:,} test examples"
        f"{f' ({chr(44).join(notes)})' if notes else ''}, {took}, run {row['run_id'][:12]}"
    )


def _line_of_many(rows: list[dict[str, Any]], dataset: str) -> str:
    first = rows[0]
    metric = first["metric"]
    values = np.array([row[metric] for row in rows])
    unconverged = sum(not row["converged"] for row in rows)
    is_varied = len({(row[metric], row["nll"]) for row in rows}) > 1
    spread = f"± {values.std(ddof=1):.1%} (mean and standard deviation of" if is_varied else "(not varied by"
    return (
        f"{_name(first, dataset)}: {metric.replace('_', ' ')} {values.mean():.1%} {spread} {len(rows)} seeds), "
        f"{first['n_train']:,} training examples"
        f"{f', {unconverged} NOT CONVERGED' if unconverged else ''}"
    )


def _name(row: dict[str, Any], dataset: str) -> str:
    limits = name_limits(row["shots"], row["train_share"], row["views"], folds=row.get("folds", 0))
    return f"{dataset} {row['extractor']} {row['head']}{limits}"
