"""Logistic regression: L2 selected along a path, refitted with the penalty held, compared with scikit-learn's fit.

scikit-learn and SciPy are imported where they are used: the name of a run must be found without them.
"""

from typing import Any

import numpy as np

from probe.heads.options import HeadOptions
from probe.heads.peer import compare_with_scikit_learn
from probe.objective import Certificate
from probe.prediction import predict_proba
from probe.scaling import Scaling
from probe.selection import Folds, Rule, choose, describe_selection, make_folds, tabulate, why_unselected
from probe.sweep import PathFit, SoftmaxPath
from probe.sweep.search import grid_for, search
from probe.training import HeldOut, Progress, Trained, TrainingData, fixed_penalty, no_curves
from probe.workers import open_workers

__all__ = ["LogisticHead", "LogisticOptions", "train_logistic"]

# A fit has converged if it is certified to lie at most this share of its objective above the optimum.
CERTIFIED_GAP = 1e-4


class LogisticOptions(HeadOptions):
    """Options of `logistic`.

    Attributes:
        scaling: of the features.
        keep_c: hold C from selection to the refit, as DINOv2 does, instead of the penalty λ = 1 / (C N).
        rule: how C is selected.
    """

    scaling: Scaling = "zscore"
    keep_c: bool = False
    rule: Rule = "best_nll"


class LogisticHead:
    """Multinomial logistic regression with an L2 penalty, scikit-learn's objective in float64.

    For two classes it is scikit-learn's binary model, kept as two columns, -w/2 and +w/2.

    Args:
        C: inverse penalty, as scikit-learn's: λ = 1 / (C N).
        classes: K ≥ 2; `fit` needs a row of each.
        scaling: zscore, l2 or none, fitted on the rows of `fit`.

    Attributes:
        solution: what `fit` found, and how good it is.
    """

    def __init__(self, C: float, classes: int, scaling: str = "zscore") -> None:
        self.C = C
        self.solution: PathFit
        self._classes = classes
        self._scaling = scaling

    @property
    def certificate(self) -> Certificate:
        """How near the optimum is; see `probe.objective`."""
        return Certificate(self.solution.objective, self.solution.gradient_norm, self.solution.bound)

    @property
    def converged(self) -> bool:
        """Whether the optimum is certified to be near."""
        return self.solution.converged

    def fit(self, features: np.ndarray, labels: np.ndarray, start: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        """Train on (N, D) features, not scaled, and (N,) labels in 0 … K-1, each of which occurs.

        Args:
            features: (N, D) floating.
            labels: (N,) int.
            start: a kernel (D, K) and a bias (K,) from which the optimum may be near; changes the time, not the end.
        """
        with open_workers() as workers:
            rows = [np.arange(len(labels))]
            path = SoftmaxPath(
                features, labels, self._classes, folds=rows, scaling=self._scaling, workers=workers, gap=CERTIFIED_GAP
            )
            if start is not None:
                path.start_at(self.C, [start[0]], [start[1]])
            (self.solution,) = path.fit(self.C)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return (N, K) probabilities for (N, D) features, not scaled."""
        return predict_proba(self.arrays(), features)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the trained head as plain arrays; see `probe.prediction`."""
        return self.solution.arrays()


def train_logistic(data: TrainingData, options: LogisticOptions, on_progress: Progress) -> Trained:
    """Select C, and refit on train and validation with λ = 1 / (C N) held (C itself with `keep_c`)."""
    scaling = options.scaling
    folds = make_folds(data, options.rule)
    messages: list[str] = []
    start, held_out = None, None
    if folds is None:
        refit_C = 1 / fixed_penalty(data.features, scaling)
        selection = _unselected(refit_C, why_unselected(data))
    else:
        selection, messages, start, held_out = _select(data, folds, scaling, on_progress=on_progress)
        C = selection["selected"]["C"]
        refit_C = C if options.keep_c else C * folds.training_rows / len(data.labels)
    on_progress(f"logistic: final fit on {len(data.labels)} rows, C = {refit_C:.3g}")
    head = LogisticHead(refit_C, data.classes, scaling)
    head.fit(data.features, data.labels, start)
    if not head.converged:
        messages.append(
            f"the final fit has not converged: up to {head.certificate.bound:.2g} above the optimum, "
            f"objective {head.certificate.objective:.2g}"
        )
    n_validation = folds.n_validation if folds else data.official_validation
    packages = ("numpy", "scipy", "scikit-learn")
    fit = _describe(head, data, on_progress)
    return Trained(head.arrays(), n_validation, selection, fit, no_curves(), packages, tuple(messages), held_out)


def _describe(head: LogisticHead, data: TrainingData, on_progress: Progress) -> dict[str, Any]:
    on_progress("logistic: the same fit by scikit-learn, to compare")
    with open_workers():
        # One BLAS thread: its products have few columns, and two threads would wait for each other.
        comparison = compare_with_scikit_learn(data.features, data.labels, head.solution)
    return {
        "converged": head.converged,
        "iterations": head.solution.iterations,
        "newton_steps": head.solution.newton_steps,
        "C": head.C,
        "penalty": 1.0 / (head.C * len(data.labels)),
        "objective": head.certificate.objective,
        "gradient_norm": head.certificate.gradient_norm,
        "certificate": head.certificate.bound,
        "trainable_parameters": (data.features.shape[1] + 1) * (data.classes if data.classes > 2 else 1),
        **{f"scikit_learn_{name}": value for name, value in comparison.items()},
    }


def _unselected(C: float, why: str) -> dict[str, Any]:
    note = f"{why}; C = {C:.3g}: 1 over the mean squared length of the rows (Tian et al. 2020)"
    return {"method": "none: a fixed penalty", "selected": {"C": C}, "table": [], "fits": [], "notes": [note]}


def _select(
    data: TrainingData, folds: Folds, scaling: str, *, on_progress: Progress
) -> tuple[dict[str, Any], list[str], tuple[np.ndarray, np.ndarray], HeldOut]:
    """Return the selection's document and its warnings; of the selected C, one fold's head and what was held out."""
    count = len(folds.pairs)
    found = search(
        data.features,
        data.labels,
        data.classes,
        pairs=folds.pairs,
        scaling=scaling,
        grid=grid_for(data.features, scaling),
        gap=CERTIFIED_GAP,
        criterion=folds.criterion,
        predicted_folds=folds.first_repeat,
        on_point=lambda C: on_progress(f"logistic: C = {C:.3g} on {count} fold{'s' * (count > 1)}"),
    )
    table = tabulate([{"C": C} for C in found.points], found.scores, folds.criterion)
    choice = choose(table, folds.criterion)
    best, by_nll = table[choice.best], table[choice.by_nll]
    notes = [
        f"best C = {best['C']:g}; selected: {folds.criterion.told('the strongest penalty')}",
        f"by NLL: C = {by_nll['C']:g}, accuracy {by_nll['accuracy']:.4f}",
        *found.notes,
        *found.unresolved,
    ]
    uncertified = sum(not fit.converged for of_point in found.fits for fit in of_point)
    warnings = list(found.unresolved)
    if uncertified:
        warnings.append(
            f"{uncertified} fits of the selection are not certified to {CERTIFIED_GAP:g} of their objective"
        )
    document = describe_selection(folds, table, choice, options=["C"], notes=notes)
    document["fits"] = [_record(fit, fold) for of_point in found.fits for fold, fit in enumerate(of_point)]
    rows = folds.held_out_rows()
    held_out = HeldOut(data.labels[rows], found.held_out[choice.selected], rows)
    return document, warnings, found.starts[choice.selected], held_out


def _record(fit: PathFit, fold: int) -> dict[str, Any]:
    return {
        "C": fit.C,
        "fold": fold,
        "objective": fit.objective,
        "gradient_norm": fit.gradient_norm,
        "certificate": fit.bound,
        "newton_steps": fit.newton_steps,
        "iterations": fit.iterations,
        "converged": fit.converged,
    }
