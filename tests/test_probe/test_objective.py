import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from probe.objective import Objective


def data(classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(90) % classes
    return rng.normal(size=(90, 5)) + labels[:, None] * np.linspace(0, 1, 5), labels


def test_objective_of_the_zero_head_is_log_k():
    features, labels = data(3)
    found = Objective(features, labels, 3, penalty=0.1).certify(np.zeros((5, 3)), np.zeros(3))
    assert found.objective == pytest.approx(np.log(3))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_gradient_norm_is_that_of_finite_differences(classes):
    features, labels = data(classes)
    objective = Objective(features, labels, classes, penalty=0.3)
    rng = np.random.default_rng(1)
    if classes == 2:
        weights, bias = rng.normal(size=5), 0.2

        def value(v):
            return objective.certify(np.stack([-v[:5], v[:5]], axis=1) / 2, np.array([-v[5], v[5]]) / 2).objective

        point = np.append(weights, bias)
    else:

        def value(v):
            return objective.certify(v[:-classes].reshape(5, classes), v[-classes:]).objective

        point = rng.normal(size=6 * classes)
    step = 1e-5
    gradient = [(value(point + step * e) - value(point - step * e)) / (2 * step) for e in np.eye(len(point))]
    if classes == 2:
        kernel, bias = np.stack([-point[:5], point[:5]], axis=1) / 2, np.array([-point[5], point[5]]) / 2
    else:
        kernel, bias = point[:-classes].reshape(5, classes), point[-classes:]
    assert objective.certify(kernel, bias).gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("C", [1e-3, 1.0, 100.0])
def test_the_certificate_bounds_the_true_distance(classes, C):
    features, labels = data(classes)
    objective = Objective(features, labels, classes, penalty=1 / (C * 90))

    def certified(tolerance):
        model = LogisticRegression(C=C, tol=tolerance, max_iter=5000).fit(features, labels)
        kernel, bias = model.coef_.T, model.intercept_
        if classes == 2:
            kernel, bias = np.hstack([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
        return objective.certify(kernel, objective.with_best_intercept(kernel, bias))

    rough, exact = certified(1e-1), certified(1e-9)
    assert exact.bound < 1e-9
    assert exact.objective <= rough.objective + 1e-12
    assert rough.objective - exact.objective <= rough.bound


def test_the_best_intercept_gives_the_class_shares():
    # Without features the intercept is all there is: probabilities are the shares of the classes.
    labels = np.array([0] * 5 + [1] * 3 + [2] * 2)
    bias = Objective(np.zeros((10, 1)), labels, 3, penalty=1.0).with_best_intercept(np.zeros((1, 3)), np.zeros(3))
    assert np.exp(bias) / np.exp(bias).sum() == pytest.approx([0.5, 0.3, 0.2])
    assert bias.sum() == pytest.approx(0, abs=1e-12)
