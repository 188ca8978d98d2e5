import numpy as np
import pytest

from probe.errors import FeatureError
from probe.prediction import head_arrays, predict_proba
from probe.scaling import fit_scaler


def test_prediction_is_the_documented_formula():
    scaler = fit_scaler("zscore", np.array([[0.0], [4.0]]))  # mean 2, scale 2
    head = head_arrays(scaler, np.array([[0.0, np.log(3.0)]]), np.zeros(2))
    # (4 - 2) / 2 = 1, logits 0 and log 3: probabilities 1/4 and 3/4.
    assert np.allclose(predict_proba(head, np.array([[4.0]], np.float32)), [[0.25, 0.75]])


def test_another_dim_is_refused():
    head = head_arrays(fit_scaler("none", np.ones((1, 3))), np.zeros((3, 2)), np.zeros(2))
    with pytest.raises(FeatureError, match=r"features \(N, 3\) expected, \(5, 4\) found"):
        predict_proba(head, np.zeros((5, 4)))
