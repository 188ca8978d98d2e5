"""Published runs, found by what people call them, and their heads made ready for use."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from extract import Extractor
from linprobe.job.config import nearest
from linprobe.job.environment import Environment
from linprobe.job.errors import ConfigError
from linprobe.models.extractors import reopen_extractor
from probe import predict_proba, restore_head
from store import FeatureStore, ProbeResult, RunNotFound

__all__ = ["TrainedHead", "find_run", "name_limits", "name_run", "open_trained_head", "test_probabilities"]


def find_run(store: FeatureStore, name: str) -> ProbeResult:
    """Return the run that a RUN of the command line means.

    Args:
        store: whose runs.
        name: a run id, a unique prefix of one, or `DATASET/EXTRACTOR/HEAD` for what answers now.

    Raises:
        RunNotFound: no run answers, or several do; the nearest names are given.
    """
    try:
        return store.run(name)
    except RunNotFound as error:
        standing = store.standing()
        if not standing:
            raise RunNotFound(f"{name}: {store.path} holds no runs yet; 'linprobe probe' makes them.") from error
        names = sorted({f"{one.dataset}/{one.extractor}/{one.config['head']}" for one in standing if one.config})
        raise RunNotFound(f"{error} {nearest(name, names)}.") from error


def name_run(run: ProbeResult, store: FeatureStore) -> str:
    """Return what a run is called: dataset, extractor, head, what limits its training, and the seed if it is not 0.

    Args:
        run: the run.
        store: what else it holds decides how much of a path tells the dataset from others.
    """
    config = run.config
    seed = f" seed {config['seed']}" if config["seed"] else ""
    limits = name_limits(config["shots"], config["train_share"], run.views, folds=config.get("folds", 0))
    dataset = config["dataset"]
    return f"{store.shown_names([dataset])[dataset]} / {config['extractor']} / {config['head']}{limits}{seed}"


def name_limits(shots: int | str, share: float, views: int, *, folds: int = 0) -> str:
    """Return what is special in a run's training, such as ` 5-shot on 0.1 of train with 4 views`, or nothing."""
    part = f" on {share:.3g} of train" if share < 1 else ""
    seen = f" with {views} view{'s' * (views > 1)}" if views else ""
    tested = f" in {folds} folds" if folds else ""
    return (f" {shots}-shot" if shots != "all" else "") + part + seen + tested


@dataclass(frozen=True)
class TrainedHead:
    """A run's head with all that turns images into its predictions.

    Attributes:
        run: the run.
        extractor: the very one whose features it was trained on.
        arrays: what `probe.predict_proba` takes.
        name: what the run is called, see `name_run`.
        dtype: of the features that it was trained on, as they are kept.
    """

    run: ProbeResult
    extractor: Extractor
    arrays: Mapping[str, np.ndarray]
    name: str
    dtype: np.dtype

    @property
    def title(self) -> str:
        """The run for people: a name of three parts means the newest, which may be of few shots."""
        metric = self.run.config["metric"]
        score = f"{metric.replace('_', ' ')} {self.run.metrics[metric]:.1%}"
        return f"run {self.run.run_id[:12]}: {self.name}, {score}"

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return (N, K) float64 probabilities for (N, D) features as extracted."""
        return predict_proba(self.arrays, self.as_kept(features))

    def as_kept(self, features: np.ndarray) -> np.ndarray:
        """Return (N, D) features rounded as a pool keeps them, which is what the head was trained on; float32."""
        return np.asarray(features).astype(self.dtype).astype(np.float32)

    @property
    def temperature(self) -> float | None:
        """What its logits are better divided by, as its own test says; None where it needs none."""
        metrics = self.run.metrics
        found = metrics.get("temperature", 1.0)
        return found if found != 1.0 and metrics["nll_calibrated"] < metrics["nll"] else None


def test_probabilities(store: FeatureStore, run: ProbeResult) -> np.ndarray:
    """Return what a run's head says of its test images: (N, K) float64, a row per row of its predictions.

    Args:
        store: holds the sets that it was trained and tested on.
        run: the run.

    Raises:
        FeatureSetNotFound: the sets of the run are gone.
    """
    sets = [store.get(key=key) for key in run.config["sets"].values()]
    views = [[store.get(key=key) for key in of_view.values()] for of_view in run.config.get("view_sets", ())]
    contents = [bytes.fromhex(content) for content in run.predictions["content_sha256"]]
    # Equal images have equal rows, so any set that has the image will do.
    rows: dict[bytes, np.ndarray] = {}
    for one in sets:
        hashes = [content.tobytes() for content in np.asarray(one.content_sha256)]
        wanted = set(contents) - set(rows)
        at = [number for number, content in enumerate(hashes) if content in wanted]
        rows.update(zip((hashes[number] for number in at), np.asarray(one.features[at]), strict=True))
    return predict_proba(restore_head(run.head, sets, views), np.stack([rows[content] for content in contents]))


def open_trained_head(store: FeatureStore, name: str, environment: Environment) -> TrainedHead:
    """Return the head of a run, its extractor and preprocessing rebuilt from the set it was trained on.

    Args:
        store: holds the run and its sets.
        name: see `find_run`.
        environment: where models are kept.

    Raises:
        RunNotFound: no run answers to the name.
        FeatureSetNotFound: the sets of the run are gone.
        ModelUnavailable, ModelMismatch: its extractor is unavailable here, or is another one here.
    """
    run = find_run(store, name)
    if not run.head:
        raise ConfigError(
            f"run {run.run_id[:12]} is of a classifier of one's own, {run.config['head']!r}: the store keeps what it "
            "predicted, and not the classifier itself."
        )
    sets = [store.get(key=key) for key in run.config["sets"].values()]
    views = [[store.get(key=key) for key in of_view.values()] for of_view in run.config.get("view_sets", ())]
    # Of the images themselves, whatever views the head was trained on.
    extractor = reopen_extractor(store, sets[0], environment)
    arrays = restore_head(run.head, sets, views)
    return TrainedHead(run, extractor, arrays, name_run(run, store), np.dtype(sets[0].features.dtype))
