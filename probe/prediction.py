"""A trained head as plain arrays, and what it predicts. No library but NumPy is needed for that.

Every head says what is done to features x first; see `probe.scaling`:

    scaling   ()  str        zscore | l2 | none
    mean      (D,) float64   subtracted   (zeros unless zscore)
    scale     (D,) float64   divided by   (ones unless zscore)

A linear head (dense, logistic, ridge) predicts softmax(x @ kernel + bias):

    kernel    (D, K)
    bias      (K,)

One with a hidden layer (dense with `hidden`) predicts softmax(max(0, x @ hidden_kernel + hidden_bias) @ kernel + bias):

    hidden_kernel  (D, H)
    hidden_bias    (H,)
    kernel         (H, K)
    bias           (K,)

One of neighbours (knn) predicts what `probe.neighbours.vote` says of the most similar training rows. It names them by
the content of their images; the rows themselves stay in the store, and `restore_head` fetches them:

    neighbour_count        ()  int64          k
    neighbour_weights      ()  str            softmax | uniform
    neighbour_temperature  ()  float64        of softmax weights
    neighbour_classes      ()  int64          K
    neighbour_labels       (N,) int64
    neighbour_contents     (N, 32) uint8      SHA-256 of the images' bytes
    neighbour_views        (N,) int64         which view of the image, 0 for itself; only where there are views
    neighbour_rows         (N, D)             as extracted, not scaled; only in memory
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from probe.errors import FeatureError
from probe.neighbours import UnitRows, find_neighbours, vote
from probe.scaling import Scaler, softmax
from store import FeatureSet

__all__ = ["head_arrays", "kept_arrays", "neighbour_arrays", "predict_proba", "restore_head"]

_BLOCK_ROWS = 4096
_ONLY_IN_MEMORY = "neighbour_rows"


def head_arrays(
    scaler: Scaler, kernel: np.ndarray, bias: np.ndarray, *, hidden: tuple[np.ndarray, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Return a linear head, or one with a hidden layer, as plain arrays; see the module.

    Args:
        scaler: what is done to the features first.
        kernel: (D, K) floating, or (H, K).
        bias: (K,) floating.
        hidden: kernel (D, H) and bias (H,) of a hidden layer.
    """
    layer = {} if hidden is None else {"hidden_kernel": np.asarray(hidden[0]), "hidden_bias": np.asarray(hidden[1])}
    return {**_scaling_arrays(scaler), **layer, "kernel": np.asarray(kernel), "bias": np.asarray(bias)}


def neighbour_arrays(
    scaler: Scaler,
    rows: np.ndarray,
    labels: np.ndarray,
    *,
    contents: Sequence[str],
    classes: int,
    count: int,
    weights: str,
    temperature: float,
    view_of: np.ndarray,
    view_numbers: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return a head of neighbours as plain arrays; see the module.

    Args:
        scaler: what is done to the features first.
        rows: (N, D) floating, not scaled: M images, then views of them.
        labels: (N,) int in 0 … K-1.
        contents: M content hashes in hexadecimal.
        classes: K.
        count: k, how many neighbours vote.
        weights, temperature: see `probe.neighbours.vote`.
        view_of: (N - M,) int: the image that each view shows.
        view_numbers: (N - M,) int: which of its views, from 1 on.
    """
    hashes = np.frombuffer(bytes.fromhex("".join(contents)), np.uint8).reshape(-1, 32)
    numbers = np.concatenate([np.zeros(len(hashes), np.int64), view_numbers])
    return {
        **_scaling_arrays(scaler),
        "neighbour_count": np.array(count, np.int64),
        "neighbour_weights": np.array(weights),
        "neighbour_temperature": np.array(temperature, np.float64),
        "neighbour_classes": np.array(classes, np.int64),
        "neighbour_labels": np.asarray(labels, np.int64),
        "neighbour_contents": np.concatenate([hashes, hashes[view_of]]) if len(view_of) else hashes,
        **({"neighbour_views": numbers} if len(view_of) else {}),
        _ONLY_IN_MEMORY: rows,
    }


def _scaling_arrays(scaler: Scaler) -> dict[str, np.ndarray]:
    return {"scaling": np.array(scaler.kind), "mean": scaler.mean, "scale": scaler.scale}


def kept_arrays(head: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a head that a run keeps: all but rows that stay in the store."""
    return {name: array for name, array in head.items() if name != _ONLY_IN_MEMORY}


def restore_head(
    head: Mapping[str, np.ndarray], sets: Iterable[FeatureSet], view_sets: Sequence[Iterable[FeatureSet]] = ()
) -> dict[str, np.ndarray]:
    """Return the arrays of a head that was read from a run, with all that it needs to predict.

    Args:
        head: as a run keeps it; of any kind.
        sets: the run's sets (`config["sets"]`): one extractor's, so that equal images have equal rows.
        view_sets: likewise of view 1, view 2, … (`config["view_sets"]`), where the run has views.

    Raises:
        FeatureError: the sets lack a row of the head.
    """
    if "neighbour_contents" not in head or _ONLY_IN_MEMORY in head:
        return dict(head)
    wanted = [content.tobytes() for content in np.asarray(head["neighbour_contents"])]
    views = np.asarray(head.get("neighbour_views", np.zeros(len(wanted), np.int64)))
    rows = np.empty((len(wanted), len(head["mean"])), np.float32)
    is_missing = np.ones(len(wanted), bool)
    for view, features in ((view, one) for view, of_view in enumerate([sets, *view_sets]) for one in of_view):
        row_of = {content.tobytes(): row for row, content in enumerate(np.asarray(features.content_sha256))}
        is_sought = is_missing & (views == view)
        found = np.array([is_sought[at] and content in row_of for at, content in enumerate(wanted)], bool)
        if found.any():
            rows[found] = features.features[np.array([row_of[wanted[at]] for at in np.flatnonzero(found)])]
            is_missing &= ~found
    if is_missing.any():
        raise FeatureError(
            f"{is_missing.sum()} of the head's {len(wanted)} training rows are in none of its sets, the first is "
            f"image {wanted[int(np.argmax(is_missing))].hex()}; train the head again."
        )
    return {**head, _ONLY_IN_MEMORY: rows}


def predict_proba(head: Mapping[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """Predict with a head's arrays.

    Args:
        head: see the module; one of neighbours with its rows.
        features: (N, D) array-like, as extracted: not scaled.

    Returns:
        (N, K) float64; each row sums to 1.

    Raises:
        FeatureError: the features have another dim than the head, or a head of neighbours lacks its rows.
    """
    features = np.asarray(features)
    dim = len(head["mean"])
    if features.ndim != 2 or features.shape[1] != dim:
        raise FeatureError(f"features (N, {dim}) expected, {features.shape} found; is it the head's extractor?")
    scaler = Scaler(str(head["scaling"]), np.asarray(head["mean"]), np.asarray(head["scale"]))
    if "neighbour_labels" in head:
        return _predict_by_neighbours(head, scaler, features)
    layers = {name: np.asarray(array, np.float64) for name, array in head.items() if name.endswith(("kernel", "bias"))}
    probabilities = np.empty((len(features), len(layers["bias"])))
    # Blocks: the float64 copy of the rows stays small, however many there are.
    for start in range(0, len(features), _BLOCK_ROWS):
        block = scaler.transform(features[start : start + _BLOCK_ROWS], np.float64)
        if "hidden_kernel" in layers:
            block = np.maximum(block @ layers["hidden_kernel"] + layers["hidden_bias"], 0.0)
        probabilities[start : start + _BLOCK_ROWS] = softmax(block @ layers["kernel"] + layers["bias"])
    return probabilities


def _predict_by_neighbours(head: Mapping[str, np.ndarray], scaler: Scaler, features: np.ndarray) -> np.ndarray:
    if _ONLY_IN_MEMORY not in head:
        raise FeatureError("a head of neighbours needs its training rows, which stay in the store: restore it first.")
    bank = UnitRows(head[_ONLY_IN_MEMORY], scaler)
    numbers, similarities = find_neighbours(UnitRows(features, scaler), bank, int(head["neighbour_count"]))
    labels = np.asarray(head["neighbour_labels"])[numbers]
    weights, temperature = str(head["neighbour_weights"]), float(head["neighbour_temperature"])
    return vote(labels, similarities, int(head["neighbour_classes"]), weights=weights, temperature=temperature)
