import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from probe.errors import OptionError
from probe.scaling import fit_scaler, softmax


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


@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6)))
def test_softmax_is_a_distribution_without_overflow(logits):
    found = softmax(logits)
    assert np.allclose(found.sum(axis=1), 1)
    assert (found >= 0).all()
