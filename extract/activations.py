"""What a frozen network computes on the way to its features: its last layer before the mean, and any named layer."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from extract.engines.frozen import FrozenGraph, freeze
from extract.errors import ModelMismatch, UnknownName
from extract.extractors.extractor import Extractor

__all__ = ["NetworkLayers", "open_layers"]

# What may stand between the mean and the output without changing a number.
_PASSING = ("Identity", "Squeeze", "Reshape", "StopGradient", "Snapshot")
# Scopes that frameworks put around and inside of layers, and that nobody calls a layer.
_UNNAMED = ("Func", "PartitionedCall", "StatefulPartitionedCall", "batchnorm")


def open_layers(extractor: Extractor) -> "NetworkLayers":
    """Load an extractor's network to look into it.

    Raises:
        ModelMismatch: it is no TensorFlow network.
    """
    if extractor.load is None:
        raise ModelMismatch(
            f"{extractor.name}: is no TensorFlow network, so its layers cannot be looked into; take an extractor such "
            "as efficientnet_lite0, keras:NAME, hub:HANDLE or savedmodel:PATH."
        )
    return NetworkLayers(extractor.name, freeze(extractor))


class NetworkLayers:
    """The layers of a frozen network that give an image of channels.

    Args:
        name: of the extractor, for messages.
        graph: of the network.
    """

    def __init__(self, name: str, graph: FrozenGraph) -> None:
        self._name = name
        self._function = graph.function

    @property
    def names(self) -> list[str]:
        """The layers that can be asked for, from the image to the features.

        For a Keras network these are the names that `model.summary()` shows; else the scopes of the graph.
        """
        return list(self._tensors)

    def before_mean(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return the function from images to what global average pooling makes the features of.

        Returns:
            (N, H, W, 3), 0 to 255 → (N, h, w, D) float32, whose mean over h and w is the features.

        Raises:
            ModelMismatch: the network does not end in global average pooling.
        """
        run = self._pruned([self._averaged_tensor()])
        return lambda images: run(images)[0]

    def activations(self, names: list[str]) -> Callable[[np.ndarray], list[np.ndarray]]:
        """Return the function from images to what the named layers give, each (N, h, w, C) float32.

        Raises:
            UnknownName: there is no such layer; the nearest is suggested.
        """
        for name in names:
            if name not in self._tensors:
                raise UnknownName(f"layer of {self._name}", name, self._tensors)
        return self._pruned([self._tensors[name] for name in names])

    def _pruned(self, tensors: list[Any]) -> Callable[[np.ndarray], list[np.ndarray]]:
        import tensorflow as tf

        function = self._function.prune(self._function.inputs, tensors)
        return lambda images: [np.asarray(found, np.float32) for found in function(tf.constant(images))]

    def _averaged_tensor(self) -> Any:
        operation = self._function.outputs[0].op
        while operation.type in _PASSING:
            operation = operation.inputs[0].op
        if _is_mean_over_space(operation):
            return operation.inputs[0]
        raise ModelMismatch(
            f"{self._name}: does not end in global average pooling (its last operation is {operation.type}), so no map "
            "of its last layer adds up to its predictions; look at its layers with --layers."
        )

    @cached_property
    def _tensors(self) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for operation in self._function.graph.get_operations():
            scope = _scope(operation.name)
            if scope and operation.type not in _PASSING and len(operation.outputs) == 1:
                shape = operation.outputs[0].shape
                # The last operation of a layer is its output; weights have no unknown batch size.
                if shape.rank == 4 and shape[0] is None and shape[3] is not None:
                    found.pop(scope, None)
                    found[scope] = operation.outputs[0]
        return dict(zip(_readable(list(found)), found.values(), strict=True))


def _is_mean_over_space(operation: Any) -> bool:
    import tensorflow as tf

    if not operation.inputs or operation.inputs[0].shape.rank != 4:
        return False
    shape = operation.inputs[0].shape
    if operation.type == "Mean":
        axes = tf.get_static_value(operation.inputs[1])
        return axes is not None and {int(axis) % 4 for axis in np.ravel(axes)} == {1, 2}
    if operation.type == "AvgPool":
        window = list(operation.get_attr("ksize"))
        is_valid = operation.get_attr("padding") == b"VALID"
        return bool(is_valid and operation.get_attr("data_format") == b"NHWC" and window == [1, shape[1], shape[2], 1])
    return False


def _scope(name: str) -> str:
    return "/".join(part for part in name.split("/")[:-1] if part not in _UNNAMED)


def _readable(scopes: list[str]) -> list[str]:
    """Leave out what all names have in common: the network's own name, and Keras's mark of its second call."""
    parts = [scope.split("/") for scope in scopes]
    while parts and all(len(part) > 1 and part[0] == parts[0][0] for part in parts):
        parts = [part[1:] for part in parts]
    names = ["/".join(part) for part in parts]
    return [name[:-2] for name in names] if all(name.endswith("_1") for name in names) else names
