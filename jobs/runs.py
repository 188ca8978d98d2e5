"""Published runs, found by what people call them, and their heads made ready for use."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from extract import Declared, Extractor, ModelMismatch, open_extractor
from jobs.config import nearest
from jobs.surroundings import Surroundings
from probe import predict_proba, restore_head
from store import IMPORTED, FeatureSet, FeatureStore, ProbeResult, RunNotFound

__all__ = ["TrainedHead", "find_run", "open_trained_head", "reopen_extractor"]


def find_run(store: FeatureStore, name: str) -> ProbeResult:
    """Return the run that a RUN of the command line means.

    Args:
        store: whose runs.
        name: a run id, a unique prefix of one, or `DATASET/EXTRACTOR/HEAD` for its newest.

    Raises:
        RunNotFound: no run answers, or several do; the nearest names are given.
    """
    try:
        return store.run(name)
    except RunNotFound as error:
        results = store.results()
        if results.empty:
            raise RunNotFound(f"{name}: {store.path} holds no runs yet; 'linprobe probe' makes them.") from error
        names = (results["dataset"] + "/" + results["extractor"] + "/" + results["head"]).unique()
        raise RunNotFound(f"{error} {nearest(name, names)}.") from error


@dataclass(frozen=True)
class TrainedHead:
    """A run's head with all that turns pictures into its predictions.

    Attributes:
        run: the run.
        extractor: the very one whose features it was trained on.
        arrays: what `probe.predict_proba` takes.
    """

    run: ProbeResult
    extractor: Extractor
    arrays: Mapping[str, np.ndarray]

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return (N, K) float64 probabilities for (N, D) features as extracted."""
        return predict_proba(self.arrays, features)


def open_trained_head(store: FeatureStore, name: str, surroundings: Surroundings) -> TrainedHead:
    """Return the head of a run, its extractor and preprocessing rebuilt from the set it was trained on.

    Args:
        store: holds the run and its sets.
        name: see `find_run`.
        surroundings: where models are kept.

    Raises:
        RunNotFound: no run answers to the name.
        FeatureSetNotFound: the sets of the run are gone.
        ModelUnavailable, ModelMismatch: its extractor cannot be had here, or is another one here.
    """
    run = find_run(store, name)
    sets = [store.get(key=key) for key in run.config["sets"].values()]
    extractor = reopen_extractor(store, sets[0], surroundings)
    return TrainedHead(run, extractor, restore_head(run.head, sets))


def reopen_extractor(store: FeatureStore, features: FeatureSet, surroundings: Surroundings) -> Extractor:
    """Return the extractor that made a set, with the same settings.

    Raises:
        ModelMismatch: its weights or rules are others here, or its features were made elsewhere.
    """
    name = features.provenance.extractor
    if features.provenance.engine == IMPORTED:
        raise ModelMismatch(
            f"{name}: the features of set {features.key[:12]} were taken in by 'linprobe store import'; what made "
            "them is not known here, so no picture can be sent through it."
        )
    key = store.pool_key(features.manifest["pool"])
    # What the configuration stated of it stands in the pool's key.
    declared = Declared.of_pool(key, features.manifest["dim"])
    extractor = open_extractor(name, surroundings.caches, declared)
    here = replace(extractor.pool_key(), dtype=key.dtype)
    if here != key:
        raise ModelMismatch(
            f"{name} is another extractor here than when the set was made: pool {key.digest[:12]} expected, "
            f"{here.digest[:12]} found ({_difference(key.document(), here.document())})."
        )
    return extractor


def _difference(expected: Mapping[str, object], found: Mapping[str, object]) -> str:
    parts = [name for name in expected if expected[name] != found[name]]
    return ", ".join(f"{name}: {expected[name]} expected, {found[name]} found" for name in parts)
