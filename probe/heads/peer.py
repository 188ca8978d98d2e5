"""The same fit by scikit-learn, and how far ours agrees with it."""

import warnings
from typing import Any

import numpy as np

from probe.objective import Objective
from probe.sweep import PathFit

__all__ = ["compare_with_scikit_learn"]

# Multiplications of one gradient up to which scikit-learn starts cold; above, a cold fit takes minutes, and it
# starts where ours ended.
_COLD_BELOW = 5e7
_COLD_ITERATIONS = 1000
_WARM_ITERATIONS = 50
_TOLERANCE = 1e-6
# The scaled copy that scikit-learn needs: float64 up to here, then float32, then none at all.
_COPY_BYTES = 512 << 20


def compare_with_scikit_learn(features: np.ndarray, labels: np.ndarray, fit: PathFit) -> dict[str, Any]:
    """Fit `sklearn.linear_model.LogisticRegression` at the same C, and compare.

    Args:
        features: (N, D), not scaled: the rows of the fit.
        labels: (N,) int in 0 … K-1; every class is there.
        fit: ours.

    Returns:
        `start` (cold, warm: from our fit, or none: too large to copy), and unless that is none `converged`
        (by scikit-learn's tolerance), `iterations`, `objective`, `objective_difference` (ours less theirs, as a
        share of theirs), `gradient_norm`, `certificate`, `coefficient_difference` (length of the difference as a
        share of theirs) and `equal_predictions` (share of the rows).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if 4 * features.size > _COPY_BYTES:
        return {"start": "none: the features are too large to copy"}
    dtype = np.float64 if 8 * features.size <= _COPY_BYTES else np.float32
    scaled = fit.scaler.transform(features, dtype)
    is_cold = features.size * fit.kernel.shape[1] <= _COLD_BELOW
    model = LogisticRegression(
        C=fit.C, tol=_TOLERANCE, max_iter=_COLD_ITERATIONS if is_cold else _WARM_ITERATIONS, warm_start=True
    )
    if not is_cold:
        model.coef_, model.intercept_ = (values.astype(dtype) for values in _rows(fit.kernel, fit.bias))
    with warnings.catch_warnings():
        # Whether it has converged is part of what is told.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Classes of one or two rows are classes all the same.
        warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%", UserWarning)
        model.fit(scaled, labels)
    kernel, bias = _columns(model)
    objective = Objective(scaled, labels, kernel.shape[1], penalty=1.0 / (fit.C * len(labels)))
    theirs = objective.certify(kernel, objective.with_best_intercept(kernel, bias))
    ours = scaled @ fit.kernel.astype(dtype) + fit.bias
    predicted = (scaled @ kernel.astype(dtype) + bias).argmax(axis=1)
    return {
        "start": "cold" if is_cold else "warm",
        "converged": int(model.n_iter_[0]) < model.max_iter,
        "iterations": int(model.n_iter_[0]),
        "objective": theirs.objective,
        "objective_difference": (fit.objective - theirs.objective) / theirs.objective,
        "gradient_norm": theirs.gradient_norm,
        "certificate": theirs.bound,
        "coefficient_difference": _relative(fit.kernel, kernel),
        "equal_predictions": float((ours.argmax(axis=1) == predicted).mean()),
    }


def _relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    length = float(np.linalg.norm(theirs))
    return float(np.linalg.norm(ours - theirs)) / length if length else 0.0


def _columns(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a fitted model's kernel (D, K) and bias (K,), float64."""
    kernel, bias = np.asarray(model.coef_, np.float64).T, np.asarray(model.intercept_, np.float64)
    if kernel.shape[1] == 1:
        # sigmoid(z) is the second column of softmax((-z/2, +z/2)).
        kernel, bias = np.hstack([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
    return np.ascontiguousarray(kernel), bias


def _rows(kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's coefficients and intercept of a kernel (D, K) and a bias (K,)."""
    if len(bias) == 2:
        return (kernel[:, 1:] - kernel[:, :1]).T, bias[1:] - bias[:1]
    return kernel.T, bias
