"""The features of one dataset by one extractor, and the probes that train on them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from linprobe.api.display import Described
from linprobe.api.runs import Run, Runs
from linprobe.job.config import JobConfig
from linprobe.job.errors import ConfigError
from store import FeatureSet, FeatureSetNotFound, FeatureStore

if TYPE_CHECKING:
    import pandas as pd

    from linprobe.api.workspace import Workspace

__all__ = ["Arrays", "Features", "PartRows"]


class Arrays(NamedTuple):
    """Features and labels of train and test, as scikit-learn takes them.

    Attributes:
        X_train, X_test: (N, D) float32.
        y_train, y_test: (N,) int64.
    """

    X_train: np.ndarray
    X_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray


class PartRows(Described):
    """The rows of train, validation or test, by the protocol's own split.

    Attributes:
        name: train, validation or test.
        split: what was split, such as `all/seed0[:80%]`.
        labels: (N,) int64.
        example_ids: (N,) str.
        groups: (N,) str, empty for images that are in none.
    """

    def __init__(self, part: Any, split: str) -> None:
        self._part = part
        self.name: str = part.name
        self.split = split
        self.labels: np.ndarray = part.labels
        self.example_ids = np.array(part.example_ids, dtype=str)
        self.groups = np.array(part.groups, dtype=str)

    @property
    def features(self) -> np.ndarray:
        """(N, D) float32, read when they are asked for."""
        return np.asarray(self._part.read())

    def __len__(self) -> int:
        return len(self.labels)

    def _title(self) -> str:
        return f"{self.name}: {self.split}"

    def _facts(self) -> list[tuple[str, str]]:
        return [("rows", f"{len(self):,}"), ("classes", f"{len(np.unique(self.labels)):,}")]


class Features(Described):
    """What an extractor made of a dataset: a set for each of its base splits.

    Args:
        workspace: where they are kept.
        dataset: its full name.
        extractor: its name.
    """

    def __init__(self, workspace: "Workspace", dataset: str, extractor: str) -> None:
        self._workspace = workspace
        self.dataset = dataset
        self.extractor = extractor

    @property
    def splits(self) -> list[str]:
        """The base splits that there are features of.

        Raises:
            FeatureSetNotFound: there are none.
        """
        found = self._store.splits(self.dataset, self.extractor)
        if not found:
            raise FeatureSetNotFound(
                f"no cached features of {self.dataset} by {self.extractor} in "
                f"{self._store.path}; .extract() them first."
            )
        return found

    @property
    def class_names(self) -> list[str]:
        """The K classes, in label order."""
        return self.set(self.splits[0]).class_names

    def set(self, split: str | None = None) -> FeatureSet:
        """Return the set of a base split, the only one where there is one.

        Raises:
            FeatureSetNotFound: there is no such base split, or there are several and none is named.
        """
        return self._store.get(self.dataset, split, self.extractor)

    def ledger(self, split: str | None = None) -> "pd.DataFrame":
        """Return a row per candidate: `split, example_id, status (ok|quarantined), reason, …`.

        Args:
            split: a base split; without, all.
        """
        import pandas as pd

        splits = [split] if split is not None else self.splits
        frames = [self.set(name).ledger().assign(split=name) for name in splits]
        found = pd.concat(frames, ignore_index=True)
        return found[["split", *(column for column in found.columns if column != "split")]]

    def parts(
        self, *, train: str | None = None, validation: str | None = None, test: str | None = None, seed: int = 0
    ) -> tuple[PartRows, ...]:
        """Return train and test, with validation between them where there is one: those that a probe would use.

        Args:
            train, validation, test: splits; without, the protocol's own.
            seed: of the protocol's draw, where there is no test split.

        Raises:
            SplitError: a split cannot be read, selects nothing, or overlaps another.
        """
        from probe import ProbeRequest, select_parts

        request = ProbeRequest(
            dataset=self.dataset,
            extractor=self.extractor,
            head="logistic",
            train=train,
            validation=validation,
            test=test,
            seed=seed,
        )
        sets = {split: self.set(split) for split in self.splits}
        return tuple(PartRows(part, split) for split, part in select_parts(request, sets))

    def arrays(self, *, train: str | None = None, test: str | None = None, seed: int = 0) -> Arrays:
        """Return X_train, X_test, y_train, y_test; rows of a validation split stand behind those of train.

        Raises:
            SplitError: see `parts`.
        """
        *trained, tested = self.parts(train=train, test=test, seed=seed)
        return Arrays(
            X_train=np.concatenate([part.features for part in trained]),
            X_test=tested.features,
            y_train=np.concatenate([part.labels for part in trained]),
            y_test=tested.labels,
        )

    def probe(
        self,
        head: str = "logistic",
        *,
        seed: int = 0,
        shots: int | str = "all",
        train_share: float = 1.0,
        train: str | None = None,
        validation: str | None = None,
        test: str | None = None,
        metric: str = "accuracy",
        views: int = 0,
        folds: int = 0,
        **options: Any,
    ) -> Run:
        """Train a head and test it once; an equal run is returned, not trained again.

        Args:
            head: one of `probe.HEADS`: dense, logistic, ridge, knn.
            seed: of draws, folds and initialisation.
            shots: training images per class, or `all`.
            train_share: of train, in (0, 1].
            train, validation, test: splits, such as `train[:80%]`; without, the protocol's own.
            metric: what selection goes by.
            views: how many views of each training image are trained on too.
            folds: of nested cross-validation: every image is tested once; 0 for a test part.
            options: of the head; see docs/protocol.md.

        Raises:
            ConfigError: an argument or an option that cannot be meant so.
            ProbeError: labels, splits or features with which no honest head can be trained.
        """
        (run,) = self.probes(
            [{"head": head, **options}],
            seeds=[seed],
            shots=[shots],
            train_shares=[train_share],
            train=train,
            validation=validation,
            test=test,
            metric=metric,
            views=views,
            folds=folds,
        )
        return run

    def evaluate(
        self,
        estimator: Any,
        name: str,
        *,
        seed: int = 0,
        shots: int | str = "all",
        train_share: float = 1.0,
        train: str | None = None,
        validation: str | None = None,
        test: str | None = None,
        metric: str = "accuracy",
    ) -> Run:
        """Fit a scikit-learn classifier on the parts that a probe would use and test it once; an equal run is returned.

        It is kept, compared and reported like a head of ours, but for the fitted classifier itself, which is not kept.
        Features are given as they are: scale and select in a pipeline.

        Args:
            estimator: a classifier with `predict_proba`; a clone of it is fitted.
            name: what the run's head is called.
            seed, shots, train_share, train, validation, test, metric: see `probe`.

        Raises:
            ConfigError: a name that a head of ours has, or a classifier without probabilities.
            ProbeError: labels, splits or features with which nothing honest can be trained.
        """
        from probe import OptionError, ProbeRequest, question_of
        from probe.own import plan_own, run_own

        request = ProbeRequest(
            dataset=self.dataset,
            extractor=self.extractor,
            head=name,
            train=train,
            validation=validation,
            test=test,
            seed=seed,
            shots=shots,
            train_share=train_share,
            metric=metric,
        )
        sets = {split: self.set(split) for split in self.splits}
        try:
            plan = plan_own(request, estimator, sets)
        except OptionError as error:
            raise ConfigError(f"evaluate: {error}") from error
        created = self._workspace.session.environment.now()
        if not self._store.has_run(plan.run_id):
            hashes = self._store.hashes_of(sets.values())
            self._store.publish_run(run_own(request, plan, estimator, sets=sets, created=created, hashes=hashes))
        self._store.put_answer(question_of(request, plan.options), plan.run_id, created=created)
        return self._workspace.run(plan.run_id)

    def probes(
        self,
        heads: Sequence[str | Mapping[str, Any]] = ("logistic",),
        *,
        seeds: int | Sequence[int] | None = None,
        shots: Sequence[int | str] = ("all",),
        train_shares: Sequence[float] = (1.0,),
        train: str | None = None,
        validation: str | None = None,
        test: str | None = None,
        metric: str = "accuracy",
        views: int = 0,
        folds: int = 0,
    ) -> Runs:
        """Train every head with every number of shots, share of train and seed.

        Args:
            heads: names, or tables such as `{"head": "dense", "epochs": 12}`.
            seeds: how many, or which; without, 1, of shots 20 and of shares 5.
            shots: training images per class.
            train_shares: shares of train.
            train, validation, test, metric, views, folds: see `probe`.

        Raises:
            ConfigError, ProbeError: see `probe`; runs that were done before stay in the store.
        """
        from linprobe.commands.probe import ProbeOptions, probe_all

        count = seeds if isinstance(seeds, int) else None
        job = JobConfig.from_mapping(
            {
                "datasets": [
                    {
                        "name": self.dataset,
                        "source": self.dataset,
                        "metric": metric,
                        **{
                            name: spec
                            for name, spec in (("train", train), ("validation", validation), ("test", test))
                            if spec is not None
                        },
                    }
                ],
                "extractors": [{"name": self.extractor, "views": views}],
                "probes": [
                    {
                        **({"head": head} if isinstance(head, str) else head),
                        "shots": list(shots),
                        "train_shares": [float(share) for share in train_shares],
                        "views": views,
                        "folds": folds,
                        **({"seeds": count} if count is not None else {}),
                    }
                    for head in heads
                ],
            },
            where="probes",
        )
        chosen = tuple(seeds) if seeds is not None and not isinstance(seeds, int) else None
        outcome = probe_all(job, self._workspace.session, options=ProbeOptions(chosen_seeds=chosen))
        if outcome.failures:
            error = outcome.failures[0].error
            if outcome.rows:
                error.add_note(f"{len(outcome.rows)} runs were done besides, and are kept in {self._store.path}.")
            raise error
        return Runs(self._workspace, [self._workspace.run(row["run_id"]) for row in outcome.rows])

    @property
    def _store(self) -> FeatureStore:
        return self._workspace.store

    def __len__(self) -> int:
        return sum(len(self.set(split).labels) for split in self.splits)

    def _title(self) -> str:
        return f"Features of {self.dataset} by {self.extractor}"

    def _facts(self) -> list[tuple[str, str]]:
        facts = []
        for split in self.splits:
            manifest = self.set(split).manifest
            lost = f", {manifest['quarantined']:,} quarantined" if manifest["quarantined"] else ""
            facts.append((split, f"{manifest['rows']:,} rows of {manifest['dim']:,} features{lost}"))
        return [*facts, ("classes", f"{len(self.class_names):,}")]
