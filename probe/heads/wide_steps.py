"""The steps of many dense heads at once, compiled: what happens in a batch, without Python.

Column g of G is a head of its own, with its own learning rate and weight decay. All columns see the same batches in the
same order, the same dropout and the same initial weights, so each ends where it would end alone. The optimiser is Adam
as Keras writes it, with decoupled weight decay on kernels, not on biases.

    kernel  (D, G, K)    bias  (G, K)         and with a hidden layer of H units
    hidden_kernel  (D, G, H)    hidden_bias  (G, H)    kernel  (G, H, K)    bias  (G, K)

Source: Kingma and Ba 2015 (Adam), Loshchilov and Hutter 2019 (decoupled decay), `keras.optimizers.AdamW` (where ε
stands).

TensorFlow is imported inside functions: nothing else of `probe` waits for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Architecture", "Column", "WideSteps"]

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7


@dataclass(frozen=True)
class Column:
    """What one head is trained with."""

    learning_rate: float
    weight_decay: float


@dataclass(frozen=True)
class Architecture:
    """What all heads of a wide layer share.

    Attributes:
        dim: D.
        classes: K.
        hidden: H, the width of a hidden layer with ReLU; 0 for none.
        dropout: the share of what enters the last layer that each step leaves out.
        batch_size: rows of a step.
    """

    dim: int
    classes: int
    hidden: int = 0
    dropout: float = 0.0
    batch_size: int = 32

    @property
    def first_kernel(self) -> str:
        """The name of the kernel that features are multiplied with."""
        return "hidden_kernel" if self.hidden else "kernel"

    @property
    def parameters(self) -> int:
        """How many numbers one head has."""
        if not self.hidden:
            return (self.dim + 1) * self.classes
        return (self.dim + 1) * self.hidden + (self.hidden + 1) * self.classes

    def draw_weights(self, seed: int) -> dict[str, np.ndarray]:
        """Draw one head's weights: kernels Glorot-uniform, as Keras has them, and biases zero."""
        rng = np.random.default_rng(seed)
        inside = self.hidden or self.dim
        weights = {"kernel": _glorot(rng, inside, self.classes), "bias": np.zeros(self.classes, np.float32)}
        if self.hidden:
            layer = _glorot(rng, self.dim, self.hidden)
            weights = {"hidden_kernel": layer, "hidden_bias": np.zeros(self.hidden, np.float32), **weights}
        return weights


def _glorot(rng: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    limit = np.sqrt(6.0 / (inputs + outputs))
    return rng.uniform(-limit, limit, (inputs, outputs)).astype(np.float32)


class WideSteps:
    """Takes the steps of G heads. What it compiles holds for one shape of chunks.

    Args:
        architecture: what the heads share.
        columns: what each is trained with.
    """

    def __init__(self, architecture: Architecture, columns: Sequence[Column]) -> None:
        import tensorflow as tf

        self._architecture, self._count = architecture, len(columns)
        self._names = tuple(architecture.draw_weights(0))
        self._rates = tf.constant([column.learning_rate for column in columns], tf.float32)
        self._decays = tf.constant([column.learning_rate * column.weight_decay for column in columns], tf.float32)
        # XLA: all that a step does number by number becomes one pass over the weights.
        self._compiled = tf.function(self._run, jit_compile=True, autograph=False)

    def take(
        self,
        state: Sequence[Any],
        before: int,
        steps: int,
        *,
        batches: np.ndarray,
        labels: np.ndarray,
        is_counted: np.ndarray,
        seed: int,
    ) -> tuple[list[np.ndarray], list[Any]]:
        """Take the steps of a chunk.

        Args:
            state: weights, first and second moments, in the order of `Architecture.draw_weights`.
            before: steps that were taken before.
            steps: steps to take, at most S.
            batches: (S, B, D) float32 scaled features.
            labels: (S, B) int.
            is_counted: (S, B) float32, 0 for rows that only fill up a batch.
            seed: of dropout.

        Returns:
            Sums over rows of loss and of hits, (G,) each, before each step; and the new state.
        """
        import tensorflow as tf

        # As tensors: a Python number would be compiled into the function, anew for each.
        seen, after = self._compiled(
            [tf.convert_to_tensor(array) for array in state],
            tf.constant(before, tf.int32),
            tf.constant(steps, tf.int32),
            seed=tf.constant(seed % 2**31, tf.int32),
            batches=tf.constant(batches),
            labels=tf.constant(labels, tf.int32),
            is_counted=tf.constant(is_counted),
        )
        return [np.asarray(array, np.float64) for array in seen], list(after)

    def _run(
        self, state: Any, before: Any, steps: Any, *, seed: Any, batches: Any, labels: Any, is_counted: Any
    ) -> tuple[Any, Any]:
        import tensorflow as tf

        def body(at: Any, seen: Any, state: Any) -> Any:
            more, state = self._step(
                state, tf.stack([seed, before + at]), batches[at], labels=labels[at], is_counted=is_counted[at]
            )
            return at + 1, [a + b for a, b in zip(seen, more, strict=True)], state

        start = tf.constant(0), [tf.zeros(self._count), tf.zeros(self._count)], list(state)
        _, seen, state = tf.while_loop(lambda at, *_: at < steps, body, start)
        return seen, state

    def _step(self, state: list[Any], draw: Any, batch: Any, *, labels: Any, is_counted: Any) -> tuple[Any, Any]:
        """Take one step; `draw` is the seed and the number of steps before."""
        import tensorflow as tf

        size = len(self._names)
        weights, first, second = (state[at * size : (at + 1) * size] for at in range(3))
        with tf.GradientTape() as tape:
            tape.watch(weights)
            logits = self._forward(dict(zip(self._names, weights, strict=True)), batch, draw)
            wanted = tf.broadcast_to(labels[:, None], tf.shape(logits)[:2])
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, logits) * is_counted[:, None]
            # Columns are added up: no column's gradient holds another's loss.
            total = tf.reduce_sum(losses) / tf.reduce_sum(is_counted)
        gradients = tape.gradient(total, weights)
        first = [m + (g - m) * (1.0 - _BETA_1) for m, g in zip(first, gradients, strict=True)]
        second = [v + (g * g - v) * (1.0 - _BETA_2) for v, g in zip(second, gradients, strict=True)]
        is_hit = tf.argmax(logits, axis=-1, output_type=tf.int32) == wanted
        hits = tf.cast(is_hit, tf.float32) * is_counted[:, None]
        moved = self._move(weights, first, second, taken=tf.cast(draw[1] + 1, tf.float32))
        return [tf.reduce_sum(losses, axis=0), tf.reduce_sum(hits, axis=0)], [*moved, *first, *second]

    def _forward(self, weights: dict[str, Any], batch: Any, draw: Any) -> Any:
        """Return logits, (B, G, K)."""
        import tensorflow as tf

        classes, hidden, dim = self._architecture.classes, self._architecture.hidden, self._architecture.dim
        if hidden:
            inside = batch @ tf.reshape(weights["hidden_kernel"], (dim, self._count * hidden))
            inside = tf.nn.relu(tf.reshape(inside, (-1, self._count, hidden)) + weights["hidden_bias"])
            # One draw for all columns, so that each sees what it would see alone.
            inside *= self._kept((tf.shape(batch)[0], hidden), draw)[:, None]
            return tf.einsum("bgh,ghk->bgk", inside, weights["kernel"]) + weights["bias"]
        batch *= self._kept(tf.shape(batch), draw)
        logits = batch @ tf.reshape(weights["kernel"], (dim, self._count * classes))
        return tf.reshape(logits, (-1, self._count, classes)) + weights["bias"]

    def _kept(self, shape: Any, draw: Any) -> Any:
        """Return what dropout multiplies with: 0, or 1 / (1 - rate)."""
        import tensorflow as tf

        rate = self._architecture.dropout
        if not rate:
            return tf.ones((1, 1))
        return tf.cast(tf.random.stateless_uniform(shape, draw) >= rate, tf.float32) / (1.0 - rate)

    def _move(self, weights: list[Any], first: list[Any], second: list[Any], *, taken: Any) -> list[Any]:
        """Return the weights after Adam's step number `taken`, from 1 on."""
        import tensorflow as tf

        correction = tf.sqrt(1.0 - _BETA_2**taken) / (1.0 - _BETA_1**taken)
        moved = []
        for name, w, m, v in zip(self._names, weights, first, second, strict=True):
            # G is followed by one axis in biases and in what features are multiplied with, else by two.
            shape = (-1, *(1,) * (len(w.shape) - 1 - (name == self._architecture.first_kernel)))
            change = tf.reshape(self._rates, shape) * correction * m / (tf.sqrt(v) + _EPSILON)
            decay = tf.reshape(self._decays, shape) * w if name.endswith("kernel") else 0.0
            moved.append(w - decay - change)
        return moved
