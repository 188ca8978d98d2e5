"""Where in an image a linear head finds its evidence: class activation maps."""

from collections.abc import Mapping

import numpy as np

from probe.scaling import Scaler

__all__ = ["class_maps", "is_linear"]


def is_linear(head: Mapping[str, np.ndarray]) -> bool:
    """Return whether a head's logits are linear in the scaled features; see `probe.prediction`."""
    return "kernel" in head and "hidden_kernel" not in head


def class_maps(head: Mapping[str, np.ndarray], activations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share an image's logits out over the places of a network's last layer.

    The features are the mean of the activations over all places, and the logits of a linear head are linear in them.
    So every place has a share, and a class's logit is exactly the mean of its map plus its intercept. The scaling is
    applied to each place: with z-scores a map says what speaks for the class there, compared with the average image.

    Source: B. Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016.

    Args:
        head: arrays of a linear head.
        activations: (h, w, D) floating, whose mean over h and w is the features.

    Returns:
        maps: (K, h, w) float64.
        intercepts: (K,) float64.
    """
    places = np.asarray(activations, np.float64)
    scaler = Scaler(str(head["scaling"]), np.asarray(head["mean"]), np.asarray(head["scale"]))
    if scaler.kind == "l2":
        # The length is that of the features, the same for every place.
        length = float(np.linalg.norm(places.mean(axis=(0, 1))))
        scaled = places / (length or 1.0)
    else:
        scaled = scaler.transform(places.reshape(-1, places.shape[-1]), np.float64).reshape(places.shape)
    maps = np.moveaxis(scaled @ np.asarray(head["kernel"], np.float64), -1, 0)
    return maps, np.asarray(head["bias"], np.float64)
