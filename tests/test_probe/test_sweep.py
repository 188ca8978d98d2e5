import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from probe.draws import units_of
from probe.objective import Objective
from probe.selection import choose, tabulate
from probe.sweep import SoftmaxPath
from probe.sweep.few_rows import FewRowsProblem
from probe.sweep.newton import _Iterate
from probe.sweep.preconditioner import apply_twice, draw_by_weight, invert
from probe.sweep.problem import Problem
from probe.sweep.products import backproject, project
from probe.sweep.rows import Rows
from probe.sweep.search import search
from probe.training import TrainingData

GRID = [float(C) for C in 10.0 ** np.linspace(-7, 2, 45)]
SIX = [GRID[at] for at in (0, 12, 20, 28, 36, 44)]


def digits(rows=360, seed=0):
    """Real digits, 8 x 8 pixels, some of which are constant."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(seed).permutation(len(found.target))[:rows]
    return found.data[order].astype(np.float32), found.target[order].astype(np.int64)


def path_of(features, labels, scaling="zscore", folds=None, **options):
    folds = [np.arange(len(labels))] if folds is None else folds
    return SoftmaxPath(features, labels, int(labels.max()) + 1, folds=folds, scaling=scaling, **options)


def certified(fit, features, labels):
    """What `probe.objective` says of a fit, in float64 and by code of its own."""
    scaled = fit.scaler.transform(features, np.float64)
    objective = Objective(scaled, labels, fit.kernel.shape[1], penalty=1 / (fit.C * len(labels)))
    return objective.certify(fit.kernel, objective.with_best_intercept(fit.kernel, fit.bias))


def evaluated(fit, features, labels):
    scaled = fit.scaler.transform(features, np.float64)
    objective = Objective(scaled, labels, fit.kernel.shape[1], penalty=1 / (fit.C * len(labels)))
    return objective.certify(fit.kernel, fit.bias)


def optimum(fit, features, labels):
    """What `probe.objective` says of scikit-learn's fit, run to a tight tolerance."""
    scaled = fit.scaler.transform(features, np.float64)
    objective = Objective(scaled, labels, fit.kernel.shape[1], penalty=1 / (fit.C * len(labels)))
    # Its products have few columns: two threads would wait for each other.
    with threadpool_limits(1, user_api="blas"):
        model = LogisticRegression(C=fit.C, tol=1e-9, max_iter=20_000).fit(scaled, labels)
    kernel, bias = model.coef_.T, model.intercept_
    if kernel.shape[1] == 1:
        kernel, bias = np.hstack([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
    return objective.certify(kernel, objective.with_best_intercept(kernel, bias))


def selected(features, labels):
    """The C of the grid that is chosen on a tenth held out."""
    units, tokens = units_of([str(at) for at in range(len(labels))], [""] * len(labels))
    train, held_out, _ = TrainingData(features, labels, units, tokens, 0, int(labels.max()) + 1, 0).holdout()
    classes, pairs = int(labels.max()) + 1, [(train, held_out)]
    found = search(features, labels, classes, pairs=pairs, scaling="zscore", grid=GRID, is_extended=False)
    return found.points[choose(tabulate([{"C": C} for C in found.points], found.scores)).selected]


def six_with(C):
    """The selected C in the place of the nearest of SIX: itself and five others, from end to end."""
    nearest = min(SIX[1:-1], key=lambda other: abs(np.log(other / C)))
    return {C if other == nearest else other for other in SIX}


def two_classes():
    features, labels = digits()
    return features, (labels % 2).astype(np.int64)


def fewer_rows_than_features():
    rng = np.random.default_rng(0)
    features, labels = digits(60)
    return np.hstack([features, features @ rng.normal(size=(64, 64)).astype(np.float32)]), labels


def collinear_and_constant():
    features, labels = digits()
    return np.hstack([features, 3 * features[:, 20:30], np.full((len(labels), 2), 7.0, np.float32)]), labels


def a_class_seen_once():
    features, labels = digits()
    keep = np.append(np.flatnonzero(labels != 9), np.flatnonzero(labels == 9)[:1])
    return features[keep], labels[keep]


CASES = [digits, two_classes, fewer_rows_than_features, collinear_and_constant, a_class_seen_once]


def a_hundred_classes():
    rng = np.random.default_rng(3)
    labels = rng.permutation(np.arange(6000) % 100)
    return (rng.normal(size=(100, 96))[labels] + rng.normal(size=(6000, 96))).astype(np.float32), labels


@pytest.mark.heavy
@pytest.mark.parametrize("case", [*CASES, pytest.param(a_hundred_classes, marks=pytest.mark.campaign)])
def test_every_point_is_certified_and_the_selected_and_five_others_equal_scikit_learn(case):
    features, labels = case()
    six = six_with(selected(features, labels))
    assert len(six) == 6
    path = path_of(features, labels)
    for C in GRID:
        (fit,) = path.fit(C)
        assert fit.converged
        found = certified(fit, features, labels)
        assert found.bound <= 1e-4 * found.objective
        assert fit.objective == pytest.approx(evaluated(fit, features, labels).objective, rel=1e-9)
        if C in six:
            peer = optimum(fit, features, labels)
            # Else it would be scikit-learn that is judged.
            assert peer.bound <= 1e-7 * peer.objective
            assert fit.objective == pytest.approx(peer.objective, rel=1e-6)


@pytest.mark.parametrize("scaling", ["none", "l2"])
@pytest.mark.parametrize("classes", [2, 10])
def test_unscaled_and_unit_features_reach_the_optimum_too(scaling, classes):
    features, labels = digits() if classes == 10 else two_classes()
    path = path_of(features, labels, scaling)
    for C in 10.0 ** np.linspace(-6, 5, 12):
        (fit,) = path.fit(float(C))
        found = certified(fit, features, labels)
        assert fit.converged
        assert found.bound <= 1e-4 * found.objective
        assert fit.objective == pytest.approx(evaluated(fit, features, labels).objective, rel=1e-9)


def test_the_gradient_norm_is_that_of_the_certificate():
    for features, labels in (digits(), two_classes()):
        (fit,) = path_of(features, labels).fit(0.01)
        assert fit.gradient_norm == pytest.approx(evaluated(fit, features, labels).gradient_norm, rel=1e-6)


def test_a_fit_does_not_depend_on_where_it_started():
    features, labels = digits()
    path = path_of(features, labels)
    for C in GRID[:33]:
        (walked,) = path.fit(C)
    (cold,) = path_of(features, labels).fit(GRID[32])
    backwards = path_of(features, labels)
    for C in GRID[44:31:-2]:
        (back,) = backwards.fit(C)
    warm = path_of(features, labels)
    warm.start_at(GRID[20], [walked.kernel + 0.01], [walked.bias])
    (warmed,) = warm.fit(GRID[32])
    for other in (cold, back, warmed):
        assert other.objective == pytest.approx(walked.objective, rel=1e-6)
        assert np.abs(other.kernel - walked.kernel).max() < 1e-2 * np.abs(walked.kernel).max()


def test_a_good_start_is_taken():
    features, labels = digits()
    cold = path_of(features, labels)
    (fit,) = cold.fit(0.1)
    warm = path_of(features, labels)
    warm.start_at(0.1, [fit.kernel], [fit.bias])
    (again,) = warm.fit(0.1)
    assert (fit.newton_steps > 2, again.newton_steps) == (True, 0)
    assert again.objective == pytest.approx(fit.objective, rel=1e-12)


@pytest.mark.heavy
def test_a_fold_is_what_it_would_be_alone():
    features, labels = digits()
    folds = [np.flatnonzero(np.arange(len(labels)) % 3 != held) for held in range(3)]
    together = path_of(features, labels, folds=folds)
    alone = [path_of(features[rows], labels[rows]) for rows in folds]
    for C in GRID[::6]:
        for fit, single, rows in zip(together.fit(C), alone, folds, strict=True):
            (expected,) = single.fit(C)
            assert fit.objective == pytest.approx(expected.objective, rel=1e-6)
            assert np.array_equal(fit.scaler.scale, expected.scaler.scale) or np.allclose(
                fit.scaler.scale, expected.scaler.scale, rtol=1e-12
            )
            assert certified(fit, features[rows], labels[rows]).bound <= 1e-4 * fit.objective


class Counted:
    """What a problem's method is asked for: the folds of its columns at each call."""

    def __init__(self, problem, name, monkeypatch):
        self.calls = []
        method = getattr(problem, name)

        def counted(probabilities, folds, *others):
            assert probabilities.shape[1] == len(folds)
            self.calls.append(folds.tolist())
            return method(probabilities, folds, *others)

        monkeypatch.setattr(problem, name, counted)


@pytest.mark.parametrize(("rows", "kind"), [(60, FewRowsProblem), (360, Problem)])
def test_a_fold_that_has_converged_is_computed_no_more(rows, kind, monkeypatch):
    features, labels = digits(rows)
    folds = [np.flatnonzero(np.arange(rows) % 3 != held) for held in range(2)]
    alone = [path_of(features, labels, folds=[fold]) for fold in folds]
    (optimal,), (cold,) = (path.fit(1.0) for path in alone)
    path = path_of(features, labels, folds=folds)
    assert type(path._problem) is kind
    nothing = np.zeros_like(optimal.kernel), np.zeros_like(optimal.bias)
    path.start_at(1.0, [optimal.kernel, nothing[0]], [optimal.bias, nothing[1]])
    gradients = Counted(path._problem, "kernel_gradient", monkeypatch)
    hessians = Counted(path._problem, "hessian", monkeypatch)
    done, walked = path.fit(1.0)
    assert (done.newton_steps, done.iterations) == (0, 0)
    assert walked.newton_steps >= 3
    # Both are certified once; from then on there is one.
    assert gradients.calls == [[0, 1]] + [[1]] * walked.newton_steps
    assert hessians.calls == [[1]] * walked.newton_steps
    for fit, expected in ((done, optimal), (walked, cold)):
        assert fit.converged
        assert fit.objective == pytest.approx(expected.objective, rel=1e-6)


@pytest.mark.parametrize("left", [2, 3])
def test_a_fold_without_a_class_knows_the_others_only(left, blobs):
    features, labels = blobs(90, left + 1, 5, seed=1, spread=2.0)
    rows = np.flatnonzero(labels < left)
    both = path_of(features, labels, folds=[rows, np.arange(90)])
    expected = path_of(features[rows], labels[rows])
    for C in (1e-3, 0.1, 10.0):
        fit, (alone,) = both.fit(C)[0], expected.fit(C)
        assert fit.objective == pytest.approx(alone.objective, rel=1e-6)
        assert np.allclose(fit.kernel[:, :left], alone.kernel, atol=1e-3)
        assert not fit.kernel[:, left].any()
        assert fit.bias[left] < -1e5


class Sliced:
    """Features that can only be sliced by rows, and say how many at once."""

    def __init__(self, features):
        self._features, self.shape, self.most = features, features.shape, 0

    def __getitem__(self, at):
        assert isinstance(at, slice)
        found = self._features[at]
        self.most = max(self.most, len(found))
        return found


def test_streamed_features_give_the_same_fits(monkeypatch):
    features, labels = digits(600)
    # A third of the rows is in no fold: what is read must be what is asked for.
    folds = [np.flatnonzero(np.arange(600) % 3 != 0)]
    monkeypatch.setattr("probe.sweep.rows._MIN_BLOCK_ROWS", 70)
    monkeypatch.setattr("probe.sweep.rows._BLOCK_BYTES", 1)
    sliced = Sliced(features)
    streamed = SoftmaxPath(sliced, labels, 10, folds=folds, scaling="zscore", kept_bytes=0)
    kept = SoftmaxPath(features, labels, 10, folds=folds, scaling="zscore")
    for C in GRID[::5]:
        (fit,), (expected,) = streamed.fit(C), kept.fit(C)
        assert fit.objective == pytest.approx(expected.objective, rel=1e-7)
        # Only rows that are kept can be left out of the Hessian: the way to the optimum differs a little.
        assert np.allclose(fit.kernel, expected.kernel, atol=1e-4)
    assert sliced.most < 120


def test_permuting_rows_features_and_classes_permutes_the_fit():
    features, labels = digits()
    rng = np.random.default_rng(1)
    rows, columns, classes = rng.permutation(len(labels)), rng.permutation(64), rng.permutation(10)
    path, other = path_of(features, labels), path_of(features[rows][:, columns], classes[labels[rows]])
    for C in GRID[::6]:
        (fit,), (moved,) = path.fit(C), other.fit(C)
        assert moved.objective == pytest.approx(fit.objective, rel=1e-6)
        assert np.allclose(moved.kernel[:, classes], fit.kernel[columns], atol=2e-2 * np.abs(fit.kernel).max())


def test_scaling_features_by_a_constant_is_scaling_the_penalty():
    features, labels = digits()
    path, other = path_of(features, labels, "none"), path_of(features * 1000, labels, "none")
    zscored, rescaled = path_of(features, labels), path_of(features * 1000 + 5, labels)
    for C in GRID[::8]:
        assert other.fit(C * 1e-6)[0].objective == pytest.approx(path.fit(C)[0].objective, rel=1e-6)
        assert rescaled.fit(C)[0].objective == pytest.approx(zscored.fit(C)[0].objective, rel=1e-6)


def test_float64_features_give_what_float32_gives():
    features, labels = digits()
    single, double = path_of(features, labels), path_of(features.astype(np.float64), labels)
    for C in GRID[::8]:
        assert double.fit(C)[0].objective == pytest.approx(single.fit(C)[0].objective, rel=1e-12)


def test_a_large_offset_does_not_spoil_unscaled_features():
    features, labels = digits()
    path, moved = path_of(features, labels, "none"), path_of(features + 4096, labels, "none")
    for C in (1e-4, 1e-2, 1.0):
        assert moved.fit(C)[0].objective == pytest.approx(path.fit(C)[0].objective, rel=1e-6)


def test_a_fit_that_has_not_converged_says_so(monkeypatch):
    monkeypatch.setattr("probe.sweep.newton._NEWTON_STEPS", 1)
    features, labels = digits()
    (fit,) = path_of(features, labels).fit(1.0)
    assert not fit.converged
    assert fit.bound > 1e-4 * fit.objective
    assert fit.bound == pytest.approx(certified(fit, features, labels).bound, rel=0.1)


def test_drawn_rows_stand_for_all_by_weight():
    weights = np.concatenate([np.full(1000, 0.001), [5.0, 7.0], np.zeros(10)])
    rows, found = draw_by_weight(weights, 100)
    assert len(rows) == pytest.approx(100, abs=2)
    assert found.sum() == pytest.approx(weights.sum(), rel=0.01)
    assert {1000, 1001} <= set(rows.tolist())
    assert found[rows == 1001] == 7.0
    assert np.array_equal(draw_by_weight(weights, 2000)[0], np.flatnonzero(weights))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernels", [1, 2, 10, 60, 300])
@pytest.mark.parametrize("rows", [0, 1, 119, 120, 121, 777])
def test_projecting_in_tiles_is_the_product(dtype, kernels, rows):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(kernels, 50)).astype(dtype), rng.normal(size=(rows, 50)).astype(dtype)
    found = project(left, right)
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, left.astype(np.float64) @ right.T, rtol=0, atol=1e3 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("count", "length"), [(1, 1), (10, 100), (10, 409), (10, 3000), (300, 409), (2, 0)])
@pytest.mark.parametrize("dim", [1, 31, 64, 200, 784])
def test_collecting_in_tiles_is_the_product(dtype, count, length, dim):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(count, length)).astype(dtype), rng.normal(size=(length, dim)).astype(dtype)
    found = backproject(left, right)
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, left.astype(np.float64) @ right, rtol=0, atol=1e4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("penalty", [1.0, 1e-7])
@pytest.mark.parametrize("dim", [1, 63, 64, 65, 300])
def test_a_factor_is_that_of_the_inverse(dim, penalty):
    rows = np.random.default_rng(0).normal(size=(3 * dim, dim)).astype(np.float32)
    gram = rows.T @ rows / len(rows)
    found = invert(gram, penalty)
    assert found.dtype == np.float32
    assert not np.triu(found, 1).any()
    expected = np.linalg.inv(gram.astype(np.float64) + penalty * np.eye(dim))
    np.testing.assert_allclose(found.T.astype(np.float64) @ found, expected, rtol=0, atol=1e-5 * abs(expected).max())


def test_a_gram_matrix_that_rounding_made_indefinite_is_inverted_with_a_larger_penalty():
    gram = np.diag(np.array([1.0, 1.0, -1e-9], np.float32))
    found = invert(gram, 1e-10)
    assert found[2, 2] ** -2 == pytest.approx(1e-7, rel=0.02)
    assert found[0, 0] == pytest.approx(1, rel=1e-6)


def test_iterates_are_mixed_so_that_least_is_left():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(4, 4))
    inverse = matrix @ matrix.T

    def iterate():
        kernels, residual = rng.normal(size=(2, 3, 2, 4))
        biases, residual_bias = rng.normal(size=(2, 3, 2))
        return _Iterate(kernels, biases, residual, residual_bias, residual @ inverse, 2 * residual_bias)

    def merit(found):
        return found.length() / short + found.predicted_gain(found) / little

    first, second, short, little = iterate(), iterate(), np.array([2.0, 0.5]), np.array([1.0, 3.0])
    found = first.towards(second, short, little, is_mixed=np.array([True, True]))
    assert (merit(found) < np.minimum(merit(first), merit(second))).all()
    assert np.allclose(merit(found.towards(second, short, little, is_mixed=np.array([True, True]))), merit(found))
    share = ((found.kernels - first.kernels) / (second.kernels - first.kernels)).mean(axis=(0, 2))
    for off in (0.99, 1.01):
        other = share * off
        near = _Iterate(
            *(
                old + (other if old.ndim == 2 else other[:, None]) * (new - old)
                for old, new in zip(first, second, strict=True)
            )
        )
        assert (merit(found) < merit(near)).all()
    others = first.towards(second, short, little, is_mixed=np.array([False, True]))
    assert np.allclose(others.kernels[:, 0], second.kernels[:, 0])
    assert np.array_equal(others.residual[:, 1], found.residual[:, 1])


@pytest.mark.parametrize("dim", [1, 255, 256, 600])
def test_applying_factors_in_bands_is_the_product_with_the_inverse(dim):
    rng = np.random.default_rng(0)
    factors = np.tril(rng.normal(size=(3, dim, dim))) / np.sqrt(dim)
    vectors = rng.normal(size=(3, 2, dim))
    inverse = factors.swapaxes(1, 2) @ factors
    np.testing.assert_allclose(apply_twice(factors, vectors), vectors @ inverse, rtol=0, atol=1e-12)


def test_rows_are_read_in_both_forms():
    features = np.arange(12, dtype=np.float32).reshape(6, 2)
    rows = Rows(features, np.array([1, 4, 5]))
    rows.standardise(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    assert np.array_equal(rows.exact(slice(0, 2)), [[2, 3], [8, 9]])
    assert np.array_equal(rows.fast(slice(1, 3)), [[3.5, 1.75], [4.5, 2.25]])
    assert np.array_equal(rows.take(np.array([0, 2])), [[0.5, 0.25], [4.5, 2.25]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("is_l2", [False, True])
def test_fast_rows_that_are_not_kept_are_what_kept_ones_are(dtype, is_l2):
    # Far from zero: what float32 loses of the centre, no row may be moved by.
    features = (np.random.default_rng(0).normal(size=(50, 6)) + 900).astype(dtype)
    kept, read = Rows(features, is_l2=is_l2), Rows(features, is_l2=is_l2, kept_bytes=0)
    exact = kept.exact(slice(0, 50))
    for rows in (kept, read):
        rows.standardise(exact.mean(axis=0), exact.std(axis=0))
    assert np.array_equal(kept.fast(slice(0, 50)), read.fast(slice(0, 50)))
    expected = (exact - read.centre) / read.scale
    # A row of unit length is known to float32 only.
    assert np.allclose(read.fast(slice(0, 50)), expected, atol=1e-6 if not is_l2 else 1e-3)
