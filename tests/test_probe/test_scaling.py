import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from probe.errors import FeatureError, OptionError
from probe.scaling import fit_scaler, head_arrays, predict_proba, softmax


def test_zscore_divides_by_the_population_deviation():
    scaler = fit_scaler("zscore", np.array([[0.0, 1.0], [2.0, 5.0]], np.float32))
    assert scaler.mean.tolist() == [1.0, 3.0]
    assert scaler.scale.tolist() == [1.0, 2.0]
    assert scaler.transform(np.array([[3.0, 5.0]], np.float32)).tolist() == [[2.0, 1.0]]


def test_a_constant_feature_divides_by_one():
    scaler = fit_scaler("zscore", np.full((1000, 1), 0.1, np.float32))
    assert scaler.scale.tolist() == [1.0]
    assert abs(scaler.transform(np.array([[0.1]], np.float32))[0, 0]) < 1e-7


def test_l2_gives_rows_of_length_one_and_leaves_zeros():
    scaler = fit_scaler("l2", np.zeros((1, 2), np.float32))
    scaled = scaler.transform(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    assert np.allclose(scaled, [[0.6, 0.8], [0.0, 0.0]])


def test_transform_leaves_its_argument_alone():
    features = np.ones((2, 2), np.float32)
    fit_scaler("zscore", np.array([[0.0, 1.0], [2.0, 5.0]])).transform(features)
    assert (features == 1).all()


def test_an_unknown_scaling_names_the_nearest():
    with pytest.raises(OptionError, match="did you mean 'zscore'"):
        fit_scaler("zscores", np.ones((1, 1)))


def test_prediction_is_the_documented_formula():
    scaler = fit_scaler("zscore", np.array([[0.0], [4.0]]))  # mean 2, scale 2
    head = head_arrays(scaler, np.array([[0.0, np.log(3.0)]]), np.zeros(2))
    # (4 - 2) / 2 = 1, logits 0 and log 3: probabilities 1/4 and 3/4.
    assert np.allclose(predict_proba(head, np.array([[4.0]], np.float32)), [[0.25, 0.75]])


def test_another_dim_is_refused():
    head = head_arrays(fit_scaler("none", np.ones((1, 3))), np.zeros((3, 2)), np.zeros(2))
    with pytest.raises(FeatureError, match=r"features \(N, 3\) expected, \(5, 4\) found"):
        predict_proba(head, np.zeros((5, 4)))


@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6)))
def test_softmax_is_a_distribution_without_overflow(logits):
    found = softmax(logits)
    assert np.allclose(found.sum(axis=1), 1)
    assert (found >= 0).all()
