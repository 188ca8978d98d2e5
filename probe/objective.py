"""scikit-learn's logistic objective in float64, and a bound on how far from its optimum a head is.

With K classes, N rows, λ = 1 / (C N), kernel W (D, K) and intercept b (K,), the objective is

    F(W, b) = mean_i loss_i(W, b) + λ/2 ‖W‖²

with the softmax cross-entropy as loss. For K = 2 scikit-learn has one column w and the logistic
loss, F(w, b) = mean_i log(1 + exp(-s_i (x_i·w + b))) + λ/2 ‖w‖² with s_i = ±1.

The certificate. F is convex, but strongly convex in W alone, as b is not penalised. Let
G(W) = min_b F(W, b). F - λ/2 ‖W‖² is jointly convex, and minimising a jointly convex function over
some of its variables leaves it convex: so G is λ-strongly convex, and

    F(W, b(W)) - F* = G(W) - min G  ≤  ‖∇G(W)‖² / (2 λ)  =  ‖∇_W F(W, b(W))‖² / (2 λ)

where b(W) is the best intercept for W, at which ∇G = ∇_W F. (Multiply F by C N = 1/λ, scikit-learn's
unscaled form, and λ leaves the bound: ‖gradient‖²/2.) So b is first made optimal at fixed W by Newton's
method, a problem in K numbers; what its last step could still have gained, decrement²/2, is added twice.

Source: Boyd and Vandenberghe, Convex Optimization, 2004: 9.1.2 (strong convexity), 3.2.5 (partial
minimisation), 9.5.1 (Newton decrement).
"""

from dataclasses import dataclass

import numpy as np

from probe.scaling import softmax

__all__ = ["Certificate", "Objective"]

_NEWTON_STEPS = 50
_NEWTON_ENOUGH = 1e-26


@dataclass(frozen=True)
class Certificate:
    """How good a fit is.

    Attributes:
        objective: F.
        gradient_norm: ‖∇F‖ over kernel and intercept.
        bound: F is at most this far above its minimum.
    """

    objective: float
    gradient_norm: float
    bound: float


class Objective:
    """The objective on fixed rows.

    Args:
        features: (N, D) float64, scaled; float32 too, for a bound that is good to some 1e-6 of the objective.
        labels: (N,) int in 0 … K-1.
        classes: K ≥ 2.
        penalty: λ > 0.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, classes: int, *, penalty: float) -> None:
        self._features = features
        self._labels = labels
        self._is_binary = classes == 2
        self._penalty = penalty
        self._targets = np.eye(classes)[labels]

    def with_best_intercept(self, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Return the intercept that is optimal for a kernel: Newton's method from `bias`, halving steps.

        Args:
            kernel: (D, K) float64.
            bias: (K,) float64.
        """
        logits = self._logits(kernel)
        bias = bias - bias.mean()
        loss = self._loss(logits + bias)
        for _ in range(_NEWTON_STEPS):
            step, decrement = self._newton(logits + bias)
            if decrement <= _NEWTON_ENOUGH:
                break
            length = 1.0
            while length > 1e-6 and self._loss(logits + bias - length * step) > loss:
                length /= 2
            moved = bias - length * step
            moved_loss = self._loss(logits + moved)
            if not moved_loss < loss:
                break
            bias, loss = moved, moved_loss
        return bias

    def certify(self, kernel: np.ndarray, bias: np.ndarray) -> Certificate:
        """Evaluate a head whose intercept is optimal for its kernel; see the module for the bound.

        Args:
            kernel: (D, K) float64; for K = 2 the columns are -w/2 and +w/2.
            bias: (K,) float64.
        """
        logits = self._logits(kernel) + bias
        residual = (softmax(logits) - self._targets) / len(logits)
        if self._is_binary:
            weights, residual = kernel[:, 1:] - kernel[:, :1], residual[:, 1:]
        else:
            weights = kernel
        by_kernel = (residual.T.astype(self._features.dtype) @ self._features).T + self._penalty * weights
        by_bias = residual.sum(axis=0)
        decrement = self._newton(logits)[1]
        square = float(np.square(by_kernel).sum())
        return Certificate(
            objective=self._loss(logits) + 0.5 * self._penalty * float(np.square(weights).sum()),
            gradient_norm=float(np.sqrt(square + np.square(by_bias).sum())),
            bound=square / (2 * self._penalty) + decrement,
        )

    def _logits(self, kernel: np.ndarray) -> np.ndarray:
        # The one large product runs in the dtype of the features, so that they are not copied; all else in float64.
        return np.asarray(self._features @ kernel.astype(self._features.dtype), np.float64)

    def _loss(self, logits: np.ndarray) -> float:
        top = logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
        return float((log_sum - logits[np.arange(len(logits)), self._labels]).mean())

    def _newton(self, logits: np.ndarray) -> tuple[np.ndarray, float]:
        """Return Newton's step for the intercept, (K,), and its decrement squared."""
        probabilities = softmax(logits)
        gradient = (probabilities - self._targets).mean(axis=0)
        hessian = np.diag(probabilities.mean(axis=0)) - probabilities.T @ probabilities / len(logits)
        # Adding one number to every intercept changes nothing: the Hessian has that null direction.
        step = np.linalg.lstsq(hessian, gradient, rcond=1e-12)[0]
        return step, float(gradient @ step)
