"""The sweep as a scikit-learn estimator. Imports scikit-learn; `probe` hands it out when it is first asked for."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from probe.errors import nearest
from probe.scaling import SCALINGS, softmax
from probe.selection import RULES, Criterion, choose, tabulate
from probe.sweep import PathFit, SoftmaxPath
from probe.sweep.rows import Rows
from probe.sweep.search import Search, grid_for, search
from probe.workers import open_workers

__all__ = ["SoftmaxPathCV"]

_FLOATS = (np.float64, np.float32)


class SoftmaxPathCV(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Multinomial logistic regression with an L2 penalty that is selected along a path, each fit certified.

    The objective is that of `sklearn.linear_model.LogisticRegression`: the multinomial one, the binary one for two
    classes, with an intercept that is not penalised. The solver is `probe.sweep`.

    Features may be anything that scikit-learn takes, or a two-dimensional array-like with `shape` and `dtype` that is
    read in slices of rows, such as `store.Features`; the latter need not fit in memory.

    Args:
        Cs: inverse penalties to try; None for 45 from 1e-6 to 1e5 (1e-7 to 1e2 on z-scored features; unscaled ones
            divided by the features' mean variance), to which decades are added while the choice lies on an edge. Of
            your own, you are warned where it does.
        cv: number of stratified folds (of groups, where `fit` gets groups), None for 5, a scikit-learn splitter, or
            pairs of training and test rows, as numbers or as masks. A row that a pair names twice counts twice.
        scaling: none, zscore or l2, fitted on each fold's own training rows.
        rule: best for the highest accuracy; best_nll for the lowest negative log-likelihood of those that no standard
            error tells from it; one_se for the strongest penalty within one standard error of it; nll.
        keep_c: whether the refit on all rows keeps C; else it keeps λ = 1 / (C n), n being the rows it trains on.
        tol: a fit has converged if it is certified to lie at most this share of its objective above the optimum.

    Attributes:
        classes_: (K,) the classes, sorted.
        coef_: (K, D), or (1, D) for two classes: on features as they were given (for l2: divided by their length).
        intercept_: (K,) or (1,).
        C_: the selected one of `Cs_`.
        refit_C_: what the final fit took for C; see `keep_c`.
        Cs_: (M,) what was tried, from strong to weak regularisation.
        scores_: (F, M) accuracy of each fold.
        nll_: (F, M) negative log-likelihood.
        objective_: (F, M) scikit-learn's objective divided by C n.
        gradient_norm_: (F, M) of that.
        certificate_: (F, M) each objective is at most this far above its minimum.
        n_iter_: (F, M) steps of conjugate gradients.
        solution_: the final fit, a `probe.sweep.PathFit`, with the same numbers.
        n_features_in_: D.
    """

    n_features_in_: int

    def __init__(
        self,
        Cs: Sequence[float] | None = None,
        *,
        cv: Any = 5,
        scaling: str = "none",
        rule: str = "best_nll",
        keep_c: bool = False,
        tol: float = 1e-4,
    ) -> None:
        self.Cs = Cs
        self.cv = cv
        self.scaling = scaling
        self.rule = rule
        self.keep_c = keep_c
        self.tol = tol

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Select C, and fit on all rows.

        Args:
            X: (N, D) features.
            y: (N,) labels of any sortable kind, two or more.
            groups: (N,) rows of one group are never parted by a fold.

        Raises:
            ValueError: one class only, features that are not finite, a parameter that is not allowed, or a fold that
                trains on one class or holds nothing out.
        """
        self._check_parameters()
        X, y = self._validate_both(X, y)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{len(labels)} rows of one class only, {self.classes_[0]!r}: two or more expected.")
        pairs = self._make_folds(labels, groups)
        found = self._search(X, labels, pairs)
        start = self._select(found)
        shrink = np.mean([len(train) for train, _ in pairs]) / len(labels)
        self.refit_C_ = self.C_ if self.keep_c else float(self.C_ * shrink)
        self._refit(X, labels, start)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Return logits: (N, K), or (N,) for two classes, whose sign tells."""
        logits = np.concatenate([scaled @ self.coef_.T + self.intercept_ for scaled in self._blocks(X)])
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities, (N, K)."""
        logits = self.decision_function(X)
        return softmax(np.stack([-logits, logits], axis=1) / 2 if logits.ndim == 1 else logits)

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest classes, (N,)."""
        logits = self.decision_function(X)
        chosen = (logits > 0).astype(np.int64) if logits.ndim == 1 else logits.argmax(axis=1)
        return np.asarray(self.classes_[chosen])

    def _check_parameters(self) -> None:
        for name, allowed in (("scaling", SCALINGS), ("rule", RULES)):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"SoftmaxPathCV: {name} = {value!r}: {nearest(str(value), allowed)}.")
        if not 0 < self.tol < 1:
            raise ValueError(f"SoftmaxPathCV: tol = {self.tol!r}: a number between 0 and 1 expected.")
        if self.Cs is not None:
            values = np.asarray(self.Cs, np.float64)
            if values.ndim != 1 or not len(values) or not (np.isfinite(values) & (values > 0)).all():
                raise ValueError(f"SoftmaxPathCV: Cs = {self.Cs!r}: one or more finite numbers above 0 expected.")

    def _validate_both(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        """Return checked features and labels; features that are read in slices stay where they are."""
        if y is None or not _is_sliced(X):
            return validate_data(self, X, y, dtype=_FLOATS)  # type: ignore[no-any-return]
        y = np.asarray(y)
        if y.shape != (X.shape[0],):
            raise ValueError(f"y of shape ({X.shape[0]},) expected, {y.shape} found.")
        _check_finite(X)
        self.n_features_in_ = int(X.shape[1])
        return X, y

    def _validate(self, X: Any) -> Any:
        """Return checked features to predict on."""
        if not _is_sliced(X):
            return validate_data(self, X, dtype=_FLOATS, reset=False)
        if X.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {X.shape[1]} features, but {self.n_features_in_} are expected.")
        _check_finite(X)
        return X

    def _make_folds(self, labels: np.ndarray, groups: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return training and test rows, increasing numbers."""
        splitter = check_cv(list(self.cv) if _is_pairs(self.cv) else self.cv, labels, classifier=True)
        # What scikit-learn makes of a number, or of None.
        if groups is not None and not _is_pairs(self.cv) and not hasattr(self.cv, "split"):
            groups = np.asarray(groups)
            splitter = StratifiedGroupKFold(splitter.n_splits)
            count = len(np.unique(groups))
            if count < splitter.n_splits:
                raise ValueError(
                    f"SoftmaxPathCV: cv = {splitter.n_splits} folds of {count} groups: as many groups expected, or "
                    "fewer folds."
                )
        if isinstance(splitter, StratifiedKFold | StratifiedGroupKFold):
            thickest = int(np.bincount(labels).max())
            if thickest < splitter.n_splits:
                raise ValueError(
                    f"SoftmaxPathCV: cv = {splitter.n_splits} folds, and n_samples = {len(labels)}, at most {thickest} "
                    "of one class: as many expected, or fewer folds."
                )
        pairs = []
        for number, (train, test) in enumerate(splitter.split(np.zeros((len(labels), 1)), labels, groups)):
            pair = _row_numbers(train, len(labels)), _row_numbers(test, len(labels))
            known = len(np.unique(labels[pair[0]]))
            if known < 2 or not len(pair[1]):
                raise ValueError(
                    f"SoftmaxPathCV: fold {number} of cv trains on {known} class{'' if known == 1 else 'es'} and holds "
                    f"{len(pair[1])} rows out: two classes or more, and one row or more, expected."
                )
            pairs.append(pair)
        if not pairs:
            raise ValueError(f"SoftmaxPathCV: cv = {self.cv!r} gives no fold: one or more expected.")
        return pairs

    def _search(self, X: Any, labels: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Search:
        grid: Sequence[float] = np.unique(np.asarray(self.Cs, np.float64)).tolist() if self.Cs is not None else ()
        return search(
            X,
            labels,
            len(self.classes_),
            pairs=pairs,
            scaling=self.scaling,
            grid=grid or grid_for(X, self.scaling),
            gap=self.tol,
            is_extended=self.Cs is None,
            criterion=Criterion(rule=self.rule),
        )

    def _select(self, found: Search) -> tuple[np.ndarray, np.ndarray]:
        """Keep what the search saw, and return where the final fit may start."""
        self.Cs_ = np.array(found.points)
        self.scores_ = np.array([[score.accuracy for score in of_point] for of_point in found.scores]).T
        self.nll_ = np.array([[score.nll for score in of_point] for of_point in found.scores]).T
        for name, of_fit in (
            ("objective_", "objective"),
            ("gradient_norm_", "gradient_norm"),
            ("certificate_", "bound"),
            ("n_iter_", "iterations"),
        ):
            setattr(self, name, np.array([[getattr(fit, of_fit) for fit in of_point] for of_point in found.fits]).T)
        at = choose(tabulate([{"C": C} for C in found.points], found.scores), Criterion(rule=self.rule)).selected
        self.C_ = found.points[at]
        for text in found.unresolved:
            warnings.warn(f"{text}; give Cs that go on beyond it.", UserWarning, stacklevel=3)
        missed = sum(not fit.converged for of_point in found.fits for fit in of_point)
        if missed:
            warnings.warn(f"{missed} fits of the selection have not converged.", ConvergenceWarning, stacklevel=3)
        return found.starts[at]

    def _refit(self, X: Any, labels: np.ndarray, start: tuple[np.ndarray, np.ndarray]) -> None:
        rows = [np.arange(len(labels))]
        with open_workers() as workers:
            path = SoftmaxPath(
                X, labels, len(self.classes_), folds=rows, scaling=self.scaling, workers=workers, gap=self.tol
            )
            path.start_at(self.refit_C_, [start[0]], [start[1]])
            (self.solution_,) = path.fit(self.refit_C_)
        if not self.solution_.converged:
            warnings.warn("The final fit has not converged.", ConvergenceWarning, stacklevel=3)
        self.coef_, self.intercept_ = _coefficients(self.solution_)

    def _blocks(self, X: Any) -> Iterable[np.ndarray]:
        check_is_fitted(self)
        rows = Rows(self._validate(X), is_l2=self.scaling == "l2")
        return (rows.exact(at) for at in rows.blocks)


def _is_pairs(cv: Any) -> bool:
    return isinstance(cv, Iterable) and not isinstance(cv, str) and not hasattr(cv, "split")


def _row_numbers(rows: Any, count: int) -> np.ndarray:
    """Return rows as increasing numbers, of numbers (negative ones from the end) or of a mask, as NumPy takes them.

    Raises:
        ValueError: one is out of bounds.
    """
    rows = np.asarray(rows)
    try:
        return np.sort(np.arange(count)[rows if rows.size else rows.astype(np.int64)])
    except IndexError as error:
        raise ValueError(f"SoftmaxPathCV: cv names rows of {count} that there are not: {error}.") from error


def _is_sliced(X: Any) -> bool:
    """Whether X is to be read in slices of rows, and not taken as a whole as scikit-learn would."""
    if isinstance(X, np.ndarray) or any(hasattr(X, name) for name in ("iloc", "tocsr", "__array_namespace__")):
        return False
    is_floating = np.issubdtype(getattr(X, "dtype", None) or np.object_, np.floating)
    return is_floating and len(getattr(X, "shape", ())) == 2 and hasattr(X, "__getitem__")


def _check_finite(X: Any) -> None:
    rows = Rows(X)
    if not rows.count or not all(np.isfinite(rows.exact(at)).all() for at in rows.blocks):
        raise ValueError(f"Input X of shape {X.shape} has no rows, or contains NaN or infinity.")


def _coefficients(fit: PathFit) -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's coefficients and intercept, for features that are not scaled."""
    kernel = fit.kernel / fit.scaler.scale[:, None]
    coefficients, intercept = kernel.T, fit.bias - fit.scaler.mean @ kernel
    if len(intercept) == 2:
        return coefficients[1:] - coefficients[:1], intercept[1:] - intercept[:1]
    return coefficients, intercept
