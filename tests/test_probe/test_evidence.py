import numpy as np
import pytest

from probe.evidence import class_maps, is_linear
from probe.prediction import head_arrays
from probe.scaling import Scaler, fit_scaler, softmax


@pytest.mark.parametrize("scaling", ["zscore", "l2", "none"])
def test_mean_of_a_map_plus_intercept_is_the_logit(scaling):
    rng = np.random.default_rng(0)
    activations = rng.gamma(1, 2, (3, 5, 8))
    head = head_arrays(fit_scaler(scaling, rng.gamma(1, 2, (40, 8))), rng.normal(size=(8, 4)), rng.normal(size=4))
    maps, intercepts = class_maps(head, activations)
    assert maps.shape == (4, 3, 5)
    features = activations.mean(axis=(0, 1))
    scaled = {
        "zscore": (features - head["mean"]) / head["scale"],
        "l2": features / np.sqrt((features**2).sum()),
        "none": features,
    }[scaling]
    logits = scaled @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(maps.mean(axis=(1, 2)) + intercepts, logits, rtol=1e-12)


def test_a_place_gets_what_its_own_channels_say():
    activations = np.zeros((2, 2, 2))
    activations[0, 1] = (4, 0)
    activations[1, 0] = (0, 8)
    identity = Scaler("none", np.zeros(2), np.ones(2))
    maps, _ = class_maps(head_arrays(identity, np.array([[1.0, 0.0], [0.0, -1.0]]), np.zeros(2)), activations)
    np.testing.assert_array_equal(maps[0], [[0, 4], [0, 0]])
    np.testing.assert_array_equal(maps[1], [[0, 0], [-8, 0]])


def test_a_black_image_has_maps_of_zeros_under_l2():
    head = head_arrays(Scaler("l2", np.zeros(3), np.ones(3)), np.ones((3, 2)), np.array([0.5, -0.5]))
    maps, intercepts = class_maps(head, np.zeros((2, 2, 3)))
    assert not maps.any()
    np.testing.assert_allclose(softmax(intercepts), softmax(np.array([0.5, -0.5])))


def test_a_hidden_layer_or_neighbours_are_not_linear():
    scaler, kernel, bias = Scaler("none", np.zeros(2), np.ones(2)), np.ones((2, 2)), np.zeros(2)
    assert is_linear(head_arrays(scaler, kernel, bias))
    assert not is_linear(head_arrays(scaler, kernel, bias, hidden=(kernel, bias)))
    assert not is_linear({"neighbour_labels": np.zeros(3)})
