"""A trained head as TensorFlow operations, for models that leave this house. See `probe.prediction` for its arrays."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["probability_function"]


def probability_function(head: Mapping[str, np.ndarray], dtype: str) -> Callable[[Any], Any]:
    """Return what `predict_proba` computes, as a function on tensors.

    Args:
        head: arrays of a linear head, or one with a hidden layer.
        dtype: of the arithmetic: `float64` as `predict_proba`, or `float32` where the runtime has no other.

    Returns:
        TensorFlow (N, D) float32 features as extracted → (N, K) float32 probabilities.

    Raises:
        KeyError: the head is one of neighbours, which has no kernel.
    """
    import tensorflow as tf

    arrays = {name: np.asarray(array, dtype) for name, array in head.items() if name != "scaling"}
    scaling, kernel, bias = str(head["scaling"]), arrays["kernel"], arrays["bias"]

    def probabilities(features: Any) -> Any:
        values = tf.cast(features, dtype)
        if scaling == "zscore":
            values = (values - arrays["mean"]) / arrays["scale"]
        elif scaling == "l2":
            square = tf.reduce_sum(values * values, axis=-1, keepdims=True)
            # A row of zeros has no direction; it stays zeros.
            values = values * tf.math.rsqrt(tf.maximum(square, np.finfo(np.float32).tiny))
        if "hidden_kernel" in arrays:
            values = tf.nn.relu(tf.matmul(values, arrays["hidden_kernel"]) + arrays["hidden_bias"])
        return tf.cast(tf.nn.softmax(tf.matmul(values, kernel) + bias), tf.float32)

    return probabilities
