"""The rows of a set as a `tf.data.Dataset`. Nothing imports TensorFlow before one is asked for."""

from typing import Any

import numpy as np

from store.features import Features

__all__ = ["tf_dataset"]


def tf_dataset(features: Features, labels: np.ndarray, batch_size: int, *, shuffle: bool, seed: int | None) -> Any:
    """Return a `tf.data.Dataset` of (features, labels) batches; see `FeatureSet.to_tf_dataset`.

    Args:
        features: (N, D).
        labels: (N,) int64.
        batch_size: B ≥ 1.
        shuffle: whether every pass has an order of its own.
        seed: of that order.
    """
    import tensorflow as tf

    def rows(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return features[chosen].astype(np.float32, copy=False), labels[chosen]

    def batch(chosen: Any) -> tuple[Any, Any]:
        found, named = tf.numpy_function(rows, [chosen], (tf.float32, tf.int64), stateful=False)
        found.set_shape((None, features.shape[1]))
        named.set_shape((None,))
        return found, named

    # Row numbers are shuffled and batched, not rows: a full shuffle then costs 8 bytes a row.
    numbers = tf.data.Dataset.range(len(features))
    if shuffle:
        numbers = numbers.shuffle(len(features), seed=seed)
    return numbers.batch(batch_size).map(batch).prefetch(tf.data.AUTOTUNE)
