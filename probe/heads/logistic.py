"""Logistic regression by scikit-learn: L2 selected on validation, refitted with the penalty held.

scikit-learn is imported where it is used: the name of a run must be found without it.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from probe.heads.options import Option
from probe.heads.training import Progress, Trained, TrainingData, no_curves
from probe.objective import Certificate, Objective
from probe.scaling import SCALINGS, Scaler, fit_scaler, head_arrays, predict_proba, softmax
from probe.selection import Folds, Score, choose, extend_grid, make_folds, score_fold, tabulate

__all__ = ["OPTIONS", "LogisticHead", "train_logistic"]

OPTIONS = (
    Option("scaling", "zscore", choices=SCALINGS),
    Option("keep_c", False),
)

# Source: DESIGN 5 for z-scored features; 1e-6 to 1e5 as DINOv2 (Oquab et al. 2023) for others.
_GRID_ZSCORE = tuple(float(f"{C:.12g}") for C in 10.0 ** np.linspace(-7, 2, 10))
_GRID_OTHERS = tuple(float(f"{C:.12g}") for C in 10.0 ** np.linspace(-6, 5, 12))
# Where there are too few rows to select on: scikit-learn's own default.
_UNSELECTED_C = 1.0

# A fit has converged if it is certified to lie at most this share of its objective above the optimum.
CERTIFIED_GAP = 1e-4
# In selection less is enough: accuracy does not move any more.
_SELECTION_GAP = 1e-2
_ITERATIONS = 2000
# L-BFGS stops by the largest entry of its gradient, which says little where the penalty is weak: so
# the tolerance falls until the certificate holds.
_SELECTION_TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
_FINAL_TOLERANCES = (1e-6, 1e-8, 1e-10)

# Below so many multiplications per product BLAS gets one thread: products with a few columns are bound
# by memory, and its threads wait for each other. Seen on two cores: 0.6 s with one thread and 5.7 s
# with two, for 15 iterations on 20,000 x 1,280 with ten classes.
_ONE_THREAD_BELOW = 1e10


@dataclass(frozen=True)
class _Fit:
    """Kernel (D, K), bias (K,), how good they are, and the iterations and attempts it took."""

    kernel: np.ndarray
    bias: np.ndarray
    certificate: Certificate
    iterations: int
    attempts: int

    def is_within(self, gap: float) -> bool:
        return self.certificate.bound <= gap * self.certificate.objective


class LogisticHead:
    """Multinomial logistic regression with an L2 penalty (scikit-learn, L-BFGS, float64).

    For two classes it is scikit-learn's binary model, kept as two columns, -w/2 and +w/2.

    Args:
        C: inverse penalty, as scikit-learn's: λ = 1 / (C N).
        classes: K ≥ 2; `fit` needs a row of each.
        scaling: zscore, l2 or none, fitted on the rows of `fit`.

    Attributes:
        iterations: of L-BFGS, all attempts together.
    """

    def __init__(self, C: float, classes: int, scaling: str = "zscore") -> None:
        self.C = C
        self.iterations = 0
        self._classes = classes
        self._scaling = scaling
        self._scaler: Scaler
        self._fit: _Fit

    @property
    def certificate(self) -> Certificate:
        """How near the optimum is; see `probe.objective`."""
        return self._fit.certificate

    @property
    def converged(self) -> bool:
        """Whether the optimum is certified to be near."""
        return self._fit.is_within(CERTIFIED_GAP)

    def fit(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Train on (N, D) features, not scaled, and (N,) labels in 0 … K-1, each of which occurs."""
        self._scaler = fit_scaler(self._scaling, features)
        with _few_threads(features, self._classes):
            model = _new_model()
            # A cheap float32 fit first: most iterations then move half the bytes.
            rough = _fit_certified(
                model, self._scaler.transform(features), labels, self.C, _SELECTION_TOLERANCES, _SELECTION_GAP
            )
            scaled = self._scaler.transform(features, np.float64)
            self._fit = _fit_certified(model, scaled, labels, self.C, _FINAL_TOLERANCES, CERTIFIED_GAP)
        self.iterations = rough.iterations + self._fit.iterations

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return (N, K) probabilities for (N, D) features, not scaled."""
        return predict_proba(self.arrays(), features)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the trained head as plain arrays; see `probe.scaling`."""
        return head_arrays(self._scaler, self._fit.kernel, self._fit.bias)


def train_logistic(data: TrainingData, options: Mapping[str, Any], on_progress: Progress) -> Trained:
    """Select C, and refit on train and validation with λ = 1 / (C N) held (C itself with `keep_c`)."""
    scaling = str(options["scaling"])
    folds = make_folds(data)
    C, refit_C, selection = _UNSELECTED_C, _UNSELECTED_C, _unselected()
    messages: list[str] = []
    if folds is not None:
        selection, messages = _select(data, folds, scaling, on_progress)
        C = selection["selected"]["C"]
        refit_C = C if options["keep_c"] else C * folds.training_rows / len(data.labels)
    on_progress(f"logistic: final fit on {len(data.labels)} rows, C = {refit_C:.3g}")
    head = LogisticHead(refit_C, data.classes, scaling)
    head.fit(data.features, data.labels)
    if not head.converged:
        messages.append(
            f"the final fit has not converged: up to {head.certificate.bound:.2g} above the optimum, "
            f"objective {head.certificate.objective:.2g}"
        )
    fit = {
        "converged": head.converged,
        "iterations": head.iterations,
        "C": refit_C,
        "penalty": 1.0 / (refit_C * len(data.labels)),
        "objective": head.certificate.objective,
        "gradient_norm": head.certificate.gradient_norm,
        "certificate": head.certificate.bound,
        "trainable_parameters": (data.features.shape[1] + 1) * (data.classes if data.classes > 2 else 1),
    }
    n_validation = folds.n_validation if folds else data.official_validation
    packages = ("numpy", "scipy", "scikit-learn")
    return Trained(head.arrays(), n_validation, selection, fit, no_curves(), packages, tuple(messages))


def _unselected() -> dict[str, Any]:
    note = f"too few rows to select on: C = {_UNSELECTED_C:g}, scikit-learn's default"
    return {"method": "none", "selected": {"C": _UNSELECTED_C}, "table": [], "notes": [note]}


def _select(data: TrainingData, folds: Folds, scaling: str, on_progress: Progress) -> tuple[dict[str, Any], list[str]]:
    """Return the selection's document and its warnings."""
    paths = [_FoldPath(data, train, validation, scaling) for train, validation in folds.pairs]

    def score(C: float) -> list[Score]:
        on_progress(f"logistic: C = {C:.3g} on {len(paths)} fold{'s' * (len(paths) > 1)}")
        return [path.score(C) for path in paths]

    grid = _GRID_ZSCORE if scaling == "zscore" else _GRID_OTHERS
    with _few_threads(data.features, data.classes):
        found, scores, extensions, unresolved = extend_grid(grid, score)
    table = tabulate(found, scores)
    choice = choose(table)
    best, by_nll = table[choice.best], table[choice.by_nll]
    notes = [
        f"best C = {best['C']:g}; selected: the strongest penalty within one standard error",
        f"by NLL: C = {by_nll['C']:g}, accuracy {by_nll['accuracy']:.4f}",
        *extensions,
        *unresolved,
    ]
    uncertified = sum(path.uncertified for path in paths)
    if uncertified:
        notes.append(f"{uncertified} fits of the selection are not certified to {_SELECTION_GAP:g} of their objective")
    document = {
        "method": folds.method,
        "selected": {"C": table[choice.selected]["C"]},
        "best": {"C": best["C"]},
        "by_nll": {"C": by_nll["C"]},
        "table": table,
        "notes": notes,
    }
    return document, unresolved


class _FoldPath:
    """The path of fits on one fold, each started where the one before ended (float32).

    A candidate outside the path so far, at its strong end, starts from the last fit too: the
    objective is convex, so the start changes the time and not the end.
    """

    def __init__(self, data: TrainingData, train: np.ndarray, validation: np.ndarray, scaling: str) -> None:
        scaler = fit_scaler(scaling, data.features[train])
        self._features = scaler.transform(data.features[train])
        # A fold may lack a class; its head knows the others only.
        self._known, self._labels = np.unique(data.labels[train], return_inverse=True)
        self._held_out = scaler.transform(data.features[validation])
        self._held_out_labels = data.labels[validation]
        self._classes = data.classes
        self._model = _new_model()
        self._tolerances: Sequence[float] = _SELECTION_TOLERANCES
        self.uncertified = 0

    def score(self, C: float) -> Score:
        """Fit at C, and score on the rows held out."""
        fit = _fit_certified(self._model, self._features, self._labels, C, self._tolerances, _SELECTION_GAP)
        # A weaker penalty needs no looser tolerance: go on with the one that was enough.
        self._tolerances = self._tolerances[fit.attempts - 1 :]
        self.uncertified += not fit.is_within(_SELECTION_GAP)
        probabilities = np.zeros((len(self._held_out), self._classes))
        probabilities[:, self._known] = softmax(self._held_out @ fit.kernel.astype(np.float32) + fit.bias)
        return score_fold(self._held_out_labels, probabilities)


def _new_model() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(solver="lbfgs", max_iter=_ITERATIONS, warm_start=True)


def _fit_certified(
    model: Any, features: np.ndarray, labels: np.ndarray, C: float, tolerances: Sequence[float], gap: float
) -> _Fit:
    """Fit from where the model stands, to falling tolerances, until the certificate lies within the gap.

    The intercept is made optimal after each attempt. Where the penalty is strong, L-BFGS stops before it
    has moved the intercept at all, and a head that predicts by chance would pass for a good one.

    Args:
        model: a LogisticRegression with warm_start; is left at what was found.
        features: (N, D) float32 or float64, scaled.
        labels: (N,) int in 0 … K-1, each of which occurs.
        C: inverse penalty.
        tolerances: of L-BFGS, falling.
        gap: the share of the objective that is good enough.
    """
    from sklearn.exceptions import ConvergenceWarning

    objective = Objective(features, labels, int(labels.max()) + 1, 1.0 / (C * len(labels)))
    iterations = 0
    for attempts, tolerance in enumerate(tolerances, 1):
        model.set_params(C=C, tol=tolerance)
        with warnings.catch_warnings():
            # Whether it has converged is for the certificate to say.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features, labels)
        iterations += int(model.n_iter_[0])
        kernel, bias = _columns(model)
        bias = objective.with_best_intercept(kernel, bias)
        model.intercept_ = (bias if len(bias) > 2 else bias[1:] - bias[:1]).astype(features.dtype)
        fit = _Fit(kernel, bias, objective.certify(kernel, bias), iterations, attempts)
        if fit.is_within(gap):
            break
    return fit


def _columns(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a fitted model's kernel (D, K) and bias (K,), float64."""
    kernel, bias = np.asarray(model.coef_, np.float64).T, np.asarray(model.intercept_, np.float64)
    if kernel.shape[1] == 1:
        # sigmoid(z) is the second column of softmax((-z/2, +z/2)).
        kernel, bias = np.hstack([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
    return np.ascontiguousarray(kernel), bias


@contextmanager
def _few_threads(features: np.ndarray, classes: int) -> Iterator[None]:
    """Hold BLAS to one thread where the products are small."""
    from threadpoolctl import threadpool_limits

    limit = 1 if features.size * classes < _ONE_THREAD_BELOW else None
    with threadpool_limits(limit, user_api="blas"):
        yield
