import numpy as np
import pytest

from probe.objective import Objective
from probe.sweep import SoftmaxPath
from probe.sweep.few_rows import FewRowsProblem, are_few
from probe.sweep.problem import Problem
from probe.sweep.rows import Rows
from probe.workers import Workers, open_workers

GRID = [float(C) for C in 10.0 ** np.linspace(-7, 2, 45)]


@pytest.fixture(autouse=True, scope="module")
def _one_blas_thread():
    """As in a sweep: BLAS's threads wait for each other in products as small as these."""
    with open_workers():
        yield


def few(classes=5, per_class=8, dim=300):
    """Rows like a network's features: not negative, some features constant, some doubled."""
    rng = np.random.default_rng(4)
    labels = rng.permutation(np.arange(classes * per_class) % classes).astype(np.int64)
    latent = rng.normal(size=(classes, 12))[labels] + rng.normal(size=(len(labels), 12))
    features = np.maximum(latent @ rng.normal(size=(12, dim)) + rng.normal(size=(len(labels), dim)), 0)
    features[:, 5], features[:, 6] = 3.0, 2 * features[:, 7]
    return features.astype(np.float32), labels


def folds_of(labels):
    return [np.flatnonzero(np.arange(len(labels)) % 4 != held) for held in range(4)]


def objective_of(fit, features, labels):
    scaled = fit.scaler.transform(features, np.float64)
    return Objective(scaled, labels, fit.kernel.shape[1], penalty=1 / (fit.C * len(labels)))


def paths(features, labels, scaling, folds):
    """The same fits in the span of the rows, and in the span of all features."""
    classes = int(labels.max()) + 1
    yield SoftmaxPath(features, labels, classes, folds=folds, scaling=scaling)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("probe.sweep.path.are_few", lambda *_, **__: False)
        yield SoftmaxPath(features, labels, classes, folds=folds, scaling=scaling)


@pytest.mark.heavy
@pytest.mark.parametrize("scaling", ["zscore", "l2", "none"])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_optimum_in_the_span_of_a_folds_rows_is_the_optimum(scaling, classes):
    features, labels = few(classes, 40 // classes)
    folds = folds_of(labels)
    inside, outside = paths(features, labels, scaling, folds)
    assert isinstance(inside._problem, FewRowsProblem)
    assert type(outside._problem) is Problem
    for C in GRID[::11]:
        for fit, expected, rows in zip(inside.fit(C), outside.fit(C), folds, strict=True):
            assert fit.converged
            # By the features themselves, in float64 and by code of its own.
            objective = objective_of(fit, features[rows], labels[rows])
            found = objective.certify(fit.kernel, objective.with_best_intercept(fit.kernel, fit.bias))
            assert found.bound <= 1e-4 * found.objective
            assert fit.objective == pytest.approx(objective.certify(fit.kernel, fit.bias).objective, rel=1e-9)
            assert fit.objective == pytest.approx(expected.objective, rel=1e-6)
            assert np.array_equal(fit.scaler.scale, expected.scaler.scale)


def test_a_weak_penalty_on_rows_that_can_be_told_apart_ends_at_the_optimum_too(monkeypatch):
    # The objective is nearly nothing here, and blocks from where it was more would foresee no gain.
    features, labels = few(2, 20)
    (path, _), (exact, _) = (
        paths(features, labels, "none", [np.arange(40)]),
        paths(features, labels, "none", [np.arange(40)]),
    )
    found = {C: path.fit(C)[0].objective for C in 10.0 ** np.linspace(-3, 5, 33)}
    monkeypatch.setattr("probe.sweep.newton._GAIN", 1e-11)
    for C, objective in found.items():
        assert objective == pytest.approx(exact.fit(C)[0].objective, rel=1e-6)


def test_gradient_norm_and_bound_are_those_of_the_features(monkeypatch):
    monkeypatch.setattr("probe.sweep.newton._NEWTON_STEPS", 1)
    features, labels = few()
    (fit,) = SoftmaxPath(features, labels, 5, folds=[np.arange(len(labels))], scaling="zscore").fit(1.0)
    objective = objective_of(fit, features, labels)
    assert not fit.converged
    assert fit.gradient_norm == pytest.approx(objective.certify(fit.kernel, fit.bias).gradient_norm, rel=1e-6)
    certified = objective.certify(fit.kernel, objective.with_best_intercept(fit.kernel, fit.bias))
    assert fit.bound == pytest.approx(certified.bound, rel=0.1)


def test_a_start_is_taken_for_what_it_says_of_the_rows():
    features, labels = few()
    rows = [np.arange(len(labels))]
    (fit,) = SoftmaxPath(features, labels, 5, folds=rows, scaling="zscore").fit(0.01)
    scaled = fit.scaler.transform(features, np.float64)
    noise = np.random.default_rng(0).normal(size=fit.kernel.shape)
    noise -= np.linalg.pinv(scaled, rcond=1e-10) @ (scaled @ noise)
    warm = SoftmaxPath(features, labels, 5, folds=rows, scaling="zscore")
    warm.start_at(0.01, [fit.kernel + noise], [fit.bias])
    (again,) = warm.fit(0.01)
    assert again.newton_steps == 0
    assert np.allclose(again.kernel, fit.kernel, atol=1e-9)


def test_folds_of_unlike_sizes_and_without_a_class_are_what_they_would_be_alone():
    features, labels = few()
    folds = [np.flatnonzero(labels < 3), np.arange(len(labels)), np.arange(10, 30)]
    together = SoftmaxPath(features, labels, 5, folds=folds, scaling="zscore")
    alone = [
        SoftmaxPath(features[rows], labels[rows], 5, folds=[np.arange(len(rows))], scaling="zscore") for rows in folds
    ]
    for C in (1e-3, 0.1, 10.0):
        for fit, single in zip(together.fit(C), alone, strict=True):
            assert fit.objective == pytest.approx(single.fit(C)[0].objective, rel=1e-6)
        assert not together.fit(C)[0].kernel[:, 3:].any()


def test_threads_change_no_bit(monkeypatch):
    features, labels = few()
    monkeypatch.setattr("probe.sweep.few_rows._ALONE_BELOW", 0)
    with open_workers() as workers:
        several = SoftmaxPath(features, labels, 5, folds=folds_of(labels), scaling="zscore", workers=workers)
        single = SoftmaxPath(features, labels, 5, folds=folds_of(labels), scaling="zscore", workers=Workers())
        for C in GRID[::11]:
            for fit, expected in zip(several.fit(C), single.fit(C), strict=True):
                assert np.array_equal(fit.kernel, expected.kernel)


def test_a_span_keeps_the_rows_products_with_each_other():
    features, labels = few()
    weights = np.zeros((2, 40))
    weights[0, :30], weights[1, 5:] = 1 / 30, 1 / 35
    problem = FewRowsProblem(Rows(features), labels, 5, weights=weights, is_zscored=True, workers=Workers())
    assert problem.dim == 35
    for fold, members in enumerate((slice(0, 30), slice(5, 40))):
        scaled = (features[members] - problem.centre[fold]) / problem.scale[fold]
        rotated = problem.features[fold, members]
        assert np.allclose(rotated @ rotated.T, scaled @ scaled.T, atol=1e-10)
    kernels = np.einsum("kfn,fnr->kfr", np.random.default_rng(0).normal(size=(5, 2, 40)), problem.features)
    assert np.allclose(problem.reduce(problem.expand(kernels)), kernels, atol=1e-10)


def test_few_rows_are_those_of_which_each_fold_has_fewer_than_features_and_which_fit_in_memory():
    assert are_few(1280, 100, [80] * 25, kept_bytes=1 << 29)
    assert not are_few(1280, 1250, [1000] * 10, kept_bytes=1 << 29)
    # 10 folds of 1,600: spans alone take 10 x 1600 x 4096 x 8 bytes, half a gigabyte and more.
    assert not are_few(4096, 2000, [1600] * 10, kept_bytes=1 << 29)
    assert not are_few(1280, 100, [80] * 25, kept_bytes=0)
