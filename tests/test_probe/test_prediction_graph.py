import numpy as np
import pytest

from probe.prediction import head_arrays, predict_proba
from probe.prediction_graph import probability_function
from probe.scaling import fit_scaler

pytestmark = pytest.mark.framework


@pytest.mark.parametrize("scaling", ["zscore", "l2", "none"])
@pytest.mark.parametrize("has_hidden", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-7), ("float32", 1e-5)])
def test_graph_predicts_what_the_arrays_predict(scaling, has_hidden, dtype, tolerance):
    rng = np.random.default_rng(0)
    features = rng.gamma(2, 2, (50, 20)).astype(np.float32)
    features[7] = 0
    width = 6 if has_hidden else 20
    hidden = (rng.normal(size=(20, 6)), rng.normal(size=6)) if has_hidden else None
    head = head_arrays(fit_scaler(scaling, features), rng.normal(size=(width, 3)), rng.normal(size=3), hidden=hidden)
    found = probability_function(head, dtype)(features).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, predict_proba(head, features), atol=tolerance)
