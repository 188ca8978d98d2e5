"""Newton's method for several columns at once: certificate, direction, length.

Source: Nocedal and Wright, Numerical Optimization, 2006: 7.1 (inexact Newton), 5.1 (preconditioned conjugate
gradients). The certificate is that of `probe.objective`, with what an intercept short of its optimum could hide:
by Cauchy and Schwarz in the Hessian, moving the biases to their optimum moves the gradient by the kernels by at most
sqrt(curvature · decrement), decrement being Newton's for the biases alone.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from probe.sweep.preconditioner import Preconditioner
from probe.sweep.problem import Problem

__all__ = ["Certified", "Columns", "minimise"]

_NEWTON_STEPS = 60
_BIAS_STEPS = 2
_CG_STEPS = 100
# Conjugate gradients stop when the residual, in the preconditioner's norm, is this share of the gradient, …
_FORCING = 0.1
# … and so is its length, once no more than so many times what may be left to gain is expected: far from the optimum,
# where the next step sees another Hessian, the last of the gradient is dear, and only certificates need it.
_LATE = 100
# Or when both its length and what is left to gain are this share of what is asked for.
_ENOUGH = 0.5
# The certificate's bound is loose where curvature is far above λ and tight where it is not: so that every fit is as
# exact, what the next step is expected to gain must be below this share of the objective, …
_GAIN = 2e-7
# … and below this share of what the kernels have gained over none at all: where the penalty is strong the
# objective hardly moves, and kernels that are all wrong would pass; and yet it is their signs that predict.
_GAIN_OF_KERNELS = 1e-6
# … and the gradient's root mean square must be below this: with strong penalties the rest asks for less than
# scikit-learn does, which stops where no part of the gradient is above 1e-4, mostly at a root mean square of 1e-5.
_FLAT = 5e-6
# The part of the certificate that biases may take.
_BIAS_SHARE = 1e-2
_TRIALS = 20
# What a mean loss may be off by, logits being sums of many terms.
_ROUNDING = 1e-15


@dataclass(frozen=True)
class Columns:
    """Where J fits are.

    Attributes:
        kernels: (K, J, D) float64.
        biases: (K, J) float64.
        logits: (K, J, N) float64.
        folds: (J,) int.
        penalties: (J,) λ of the softmax.
    """

    kernels: np.ndarray
    biases: np.ndarray
    logits: np.ndarray
    folds: np.ndarray
    penalties: np.ndarray

    def pick(self, which: np.ndarray) -> "Columns":
        """Return some of the columns."""
        return Columns(
            self.kernels[:, which],
            self.biases[:, which],
            self.logits[:, which],
            self.folds[which],
            self.penalties[which],
        )

    def moved(self, lengths: np.ndarray, step: "Columns") -> "Columns":
        """Return the columns, moved by lengths (J,) along a step."""
        return replace(
            self,
            kernels=self.kernels + lengths[:, None] * step.kernels,
            biases=self.biases + lengths * step.biases,
            logits=self.logits + lengths[:, None] * step.logits,
        )

    def replaced(self, which: np.ndarray, other: "Columns") -> "Columns":
        """Return the columns, those where `which` (J,) says so from another."""
        return replace(
            self,
            kernels=np.where(which[:, None], other.kernels, self.kernels),
            biases=np.where(which, other.biases, self.biases),
            logits=np.where(which[:, None], other.logits, self.logits),
        )

    def shrinkage(self) -> np.ndarray:
        """Return the penalty's part of the objective, (J,)."""
        return np.asarray(0.5 * self.penalties * dot(self.kernels, self.kernels))


@dataclass(frozen=True)
class Certified:
    """How good J fits are; arrays (J,).

    Attributes:
        objective: F.
        gradient_norm: as `probe.objective.Certificate`'s.
        bound: F is at most this far above its minimum.
        newton_steps, iterations: steps of Newton's method, and of conjugate gradients inside.
    """

    objective: np.ndarray
    gradient_norm: np.ndarray
    bound: np.ndarray
    newton_steps: np.ndarray
    iterations: np.ndarray


@dataclass(frozen=True)
class _Point:
    """Derivatives at the columns: probabilities, gradients by kernel and bias, decrement of the biases, objective."""

    probabilities: np.ndarray
    by_kernel: np.ndarray
    by_bias: np.ndarray
    decrement: np.ndarray
    objective: np.ndarray

    def pick(self, which: np.ndarray) -> "_Point":
        return _Point(
            self.probabilities[:, which],
            self.by_kernel[:, which],
            self.by_bias[:, which],
            self.decrement[which],
            self.objective[which],
        )


class _Iterate(NamedTuple):
    """How far Newton's system is solved: a direction, what it leaves of the gradient, and that, preconditioned."""

    kernels: np.ndarray
    biases: np.ndarray
    residual: np.ndarray
    residual_bias: np.ndarray
    solved: np.ndarray
    solved_bias: np.ndarray

    def length(self) -> np.ndarray:
        """Return the squared length of what is left, by kernel, (J,)."""
        return dot(self.residual, self.residual)

    def predicted_gain(self, other: "_Iterate") -> np.ndarray:
        """Return what is left times what is left of another, by the preconditioner, (J,)."""
        return np.asarray(dot(self.residual, other.solved) + (self.residual_bias * other.solved_bias).sum(axis=0))

    def towards(
        self, other: "_Iterate", grad_tol: np.ndarray, gain_tol: np.ndarray, *, is_mixed: np.ndarray
    ) -> "_Iterate":
        """Return what on the line to another has the least length² / grad_tol + gain / gain_tol; or the other."""
        change = _Iterate(*(new - old for old, new in zip(self, other, strict=True)))
        slope = dot(self.residual, change.residual) / grad_tol + self.predicted_gain(change) / gain_tol
        curvature = change.length() / grad_tol + change.predicted_gain(change) / gain_tol
        share = np.where(is_mixed, -slope / np.maximum(curvature, 1e-300), 1.0)
        parts = zip(self, change, strict=True)
        return _Iterate(*(old + (share if old.ndim == 2 else share[:, None]) * step for old, step in parts))


def dot(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the inner products of columns, (J,), of two (K, J, D)."""
    return np.asarray(np.einsum("kjd,kjd->j", left, right))


def minimise(
    problem: Problem, columns: Columns, preconditioner: Preconditioner, *, gap: float
) -> tuple[Columns, Certified]:
    """Minimise the objective of every column.

    Args:
        problem: the objective.
        columns: where to start; its logits are those of its kernels and biases.
        preconditioner: is kept up to date.
        gap: a column is done when its certificate is within this share of its objective.

    Returns:
        Where the columns ended, and how good that is; the bound tells of one that was not done.
    """
    active = np.arange(len(columns.folds))
    ended, found = columns, _unknown(len(active))
    for step in range(_NEWTON_STEPS + 1):
        columns, point = _differentiate(problem, columns, gap)
        gradient_norm = np.sqrt(dot(point.by_kernel, point.by_kernel))
        bound = _bound(problem, columns, point, gradient_norm=gradient_norm)
        preconditioner.update(point.probabilities, columns.folds, columns.penalties)
        gain = _expected_gain(preconditioner, point, columns)
        of_biases = np.square(point.by_bias).sum(axis=0)
        whole_norm = np.sqrt(((problem.unit * gradient_norm) ** 2 + of_biases) / problem.factors[columns.folds])
        for kept, new in ((found.objective, point.objective), (found.gradient_norm, whole_norm), (found.bound, bound)):
            kept[active] = new
        ended = _put(ended, active, columns)
        is_open = (bound > gap * point.objective) | (gain > _allowed_gain(problem, columns, point))
        is_open |= gradient_norm > _allowed_norm(problem)
        if not is_open.any() or step == _NEWTON_STEPS:
            break
        active, columns, point = active[is_open], columns.pick(is_open), point.pick(is_open)
        direction, iterations, optimism = _solve(problem, columns, point, preconditioner=preconditioner, gap=gap)
        preconditioner.note(int(iterations.max()), float(optimism.max()))
        found.iterations[active] += iterations
        found.newton_steps[active] += 1
        lengths = _search(problem, columns, point, step=direction)
        if not lengths.any():
            break
        columns = columns.moved(lengths, direction)
    return ended, found


def _unknown(count: int) -> Certified:
    floats, ints = np.zeros((3, count)), np.zeros((2, count), np.int64)
    return Certified(floats[0], floats[1], floats[2], ints[0], ints[1])


def _put(whole: Columns, at: np.ndarray, part: Columns) -> Columns:
    if len(at) == len(whole.folds):
        return part
    # Its arrays are the caller's own only where a column was put before; so copy what is written to.
    kernels, biases, logits = whole.kernels.copy(), whole.biases.copy(), whole.logits.copy()
    kernels[:, at], biases[:, at], logits[:, at] = part.kernels, part.biases, part.logits
    return replace(whole, kernels=kernels, biases=biases, logits=logits)


def _differentiate(problem: Problem, columns: Columns, gap: float) -> tuple[Columns, _Point]:
    """Bring the biases near their optimum, at fixed kernels, and return the columns and their derivatives."""
    shrinkage = columns.shrinkage()
    losses, probabilities = problem.evaluate(columns.logits, columns.folds)
    for attempt in range(_BIAS_STEPS + 1):
        by_bias, hessian = problem.bias_system(probabilities, columns.folds)
        step = -(np.linalg.pinv(hessian, rcond=1e-15, hermitian=True) @ by_bias.T[..., None])[..., 0].T
        decrement = np.maximum(-(by_bias * step).sum(axis=0), 0.0)
        allowed = _BIAS_SHARE * 2 * columns.penalties * gap * (losses + shrinkage)
        is_near = decrement * problem.curvature[columns.folds] <= allowed
        if attempt == _BIAS_STEPS or is_near.all():
            break
        trial = columns.logits + step[..., None]
        trial_losses, trial_probabilities = problem.evaluate(trial, columns.folds)
        if not (trial_losses <= losses + _ROUNDING).all():
            # Too far from the optimum for a whole step; the joint step has a line search.
            break
        columns = replace(columns, biases=columns.biases + step, logits=trial)
        losses, probabilities = trial_losses, trial_probabilities
    by_kernel = problem.kernel_gradient(probabilities, columns.folds) + columns.penalties[:, None] * columns.kernels
    return columns, _Point(probabilities, by_kernel, by_bias, decrement, losses + shrinkage)


def _bound(problem: Problem, columns: Columns, point: _Point, *, gradient_norm: np.ndarray) -> np.ndarray:
    """Return how far above the minimum each column may be, (J,); see the module."""
    hidden = np.sqrt(problem.curvature[columns.folds] * point.decrement)
    return np.asarray(np.square(gradient_norm + hidden) / (2 * columns.penalties) + point.decrement)


def _expected_gain(preconditioner: Preconditioner, point: _Point, columns: Columns) -> np.ndarray:
    """Return half of gradient · approximate inverse · gradient, (J,), times by how much that was too little before."""
    kernels, biases = preconditioner(point.by_kernel, point.by_bias, columns.folds)
    square = dot(point.by_kernel, kernels) + (point.by_bias * biases).sum(axis=0)
    return np.asarray(0.5 * preconditioner.optimism * square)


def _allowed_gain(problem: Problem, columns: Columns, point: _Point) -> np.ndarray:
    """Return what may be left to gain, (J,)."""
    of_kernels = _GAIN_OF_KERNELS * (problem.entropy[columns.folds] - point.objective)
    return np.asarray(np.minimum(_GAIN * point.objective, np.maximum(of_kernels, _ROUNDING)))


def _allowed_norm(problem: Problem) -> float:
    """Return how long the gradient by the kernels may be, whatever the certificate allows."""
    return _FLAT * math.sqrt(problem.classes * problem.dim)


def _solve(
    problem: Problem, columns: Columns, point: _Point, *, preconditioner: Preconditioner, gap: float
) -> tuple[Columns, np.ndarray, np.ndarray]:
    """Return Newton's direction by preconditioned conjugate gradients, with its logits; steps (J,); and optimism (J,).

    Optimism is what the direction gains, by the quadratic model, over what the preconditioner alone foresaw.

    Near the optimum, where the certificate asks for a short gradient, the residual of conjugate gradients is up to
    several times as long as it need be: it falls in a zigzag. There each iterate is mixed with the last mixture, in
    the share that leaves least, and it is the mixture that is returned.
    Source: Zhou and Walker 1994, Residual smoothing techniques for iterative methods, SIAM J. Sci. Comput. 15.
    """
    folds, penalties = columns.folds, columns.penalties[:, None]
    curvature_of = problem.hessian(point.probabilities, folds, columns.penalties)
    along, along_bias = preconditioner(-point.by_kernel, -point.by_bias, folds)
    nothing = np.zeros_like(point.by_kernel), np.zeros_like(point.by_bias)
    best = here = _Iterate(*nothing, -point.by_kernel, -point.by_bias, along, along_bias)
    square = here.predicted_gain(here)
    small, small_residual = _FORCING**2 * square, _FORCING**2 * here.length()
    predicted, gained = np.maximum(square, 1e-300), np.zeros_like(square)
    certified = 2 * columns.penalties * gap * point.objective
    # Not zero, which could not be divided by, where no gap is allowed.
    grad_tol = np.maximum(_ENOUGH**2 * np.minimum(certified, _allowed_norm(problem) ** 2), 1e-40)
    allowed = _allowed_gain(problem, columns, point)
    gain_tol = _ENOUGH * 2 * allowed / preconditioner.optimism
    is_late = 0.5 * preconditioner.optimism * square < _LATE * allowed
    steps = np.zeros(len(folds), np.int64)
    is_open = square > 0
    for _ in range(_CG_STEPS):
        curved, curved_bias = curvature_of(along, along_bias)
        curved += penalties * along
        curvature = dot(along, curved) + (along_bias * curved_bias).sum(axis=0)
        is_open &= curvature > 0
        length = np.where(is_open, square / np.where(is_open, curvature, 1.0), 0.0)
        gained += length * square
        steps += is_open
        residual = here.residual - length[:, None] * curved
        residual_bias = here.residual_bias - length * curved_bias
        here = _Iterate(
            here.kernels + length[:, None] * along,
            here.biases + length * along_bias,
            residual,
            residual_bias,
            *preconditioner(residual, residual_bias, folds),
        )
        new_square = here.predicted_gain(here)
        best = best.towards(here, grad_tol, gain_tol, is_mixed=is_late)
        length_left, left = best.length(), best.predicted_gain(best)
        is_open &= (left > small) | (is_late & (length_left > small_residual))
        is_open &= (length_left > grad_tol) | (left > gain_tol)
        if not is_open.any():
            break
        turn = np.where(is_open, new_square / np.where(is_open, square, 1.0), 0.0)
        along, along_bias = here.solved + turn[:, None] * along, here.solved_bias + turn * along_bias
        square = new_square
    logits = problem.logits(best.kernels, best.biases, folds)
    return Columns(best.kernels, best.biases, logits, folds, columns.penalties), steps, gained / predicted


def _search(problem: Problem, columns: Columns, point: _Point, *, step: Columns) -> np.ndarray:
    """Return how far to go along a step, (J,): where the slope has all but vanished, and the objective fallen.

    The objective is convex along the step, so its slope has one sign change: it is bracketed, then narrowed by
    the secant. 0 where nothing falls.
    """
    first = dot(point.by_kernel, step.kernels) + (point.by_bias * step.biases).sum(axis=0)
    linear, square = (
        columns.penalties * dot(columns.kernels, step.kernels),
        columns.penalties * dot(step.kernels, step.kernels),
    )
    at_zero = columns.shrinkage()
    low, high = np.zeros_like(first), np.full_like(first, np.inf)
    low_slope, high_slope = first.copy(), np.ones_like(first)
    length = np.ones_like(first)
    for _ in range(_TRIALS):
        losses, slopes = problem.slope(columns.logits, step.logits, length, folds=columns.folds)
        slopes = slopes + linear + length * square
        objective = losses + at_zero + length * linear + 0.5 * length**2 * square
        has_fallen = objective <= point.objective * (1 + 1e-12) + _ROUNDING
        is_good = (np.abs(slopes) <= 0.4 * np.abs(first)) & has_fallen
        if is_good.all():
            break
        falls = slopes < 0
        low, low_slope = np.where(falls, length, low), np.where(falls, slopes, low_slope)
        high, high_slope = np.where(falls, high, length), np.where(falls, high_slope, slopes)
        share = np.clip(-low_slope / np.maximum(high_slope - low_slope, 1e-300), 0.1, 0.9)
        narrowed = low + np.where(np.isfinite(high), high - low, 0.0) * share
        length = np.where(is_good, length, np.where(np.isfinite(high), narrowed, 2 * length))
    # The slope is still negative at the lower end: there, at least, the objective has fallen.
    found: np.ndarray = np.where(is_good, length, low)
    return found
