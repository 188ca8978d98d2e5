"""Freezing, literally: the network's weights become constants of a graph that takes pixels."""

from dataclasses import dataclass
from typing import Any

from extract.engines.engine import ParameterCounts
from extract.errors import ModelMismatch
from extract.extractors.extractor import Extractor
from extract.preprocessing import VALUE_RANGES

__all__ = ["FrozenGraph", "freeze"]


@dataclass(frozen=True)
class FrozenGraph:
    """A network as one function of constants.

    Attributes:
        function: TensorFlow concrete function, (N, H, W, 3) pixels, 0 to 255, in the
            preprocessing's pixel type → (N, D) float32.
        dim: D.
        parameters: of the network, all frozen.
    """

    function: Any
    dim: int
    parameters: ParameterCounts


def freeze(extractor: Extractor) -> FrozenGraph:
    """Load an extractor's network and freeze it, with the value scaling inside.

    Raises:
        ModelMismatch: it does not give one vector per image, or not of the declared length.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    if extractor.load is None:
        raise ModelMismatch(f"{extractor.name}: has no network to freeze.")
    network = extractor.load()
    size = extractor.preprocessing.size
    scale, offset, channels = VALUE_RANGES[extractor.preprocessing.value_range]

    def features(images: Any) -> Any:
        values = tf.cast(images, tf.float32)
        if channels == "BGR":
            values = tf.reverse(values, axis=[-1])
        return network(values * tf.constant(scale) + tf.constant(offset))

    spec = tf.TensorSpec((None, size, size, 3), extractor.preprocessing.pixels, name="images")
    # Without autograph, which wraps an error of ours into a page of text about its source code.
    concrete = tf.function(features, autograph=False).get_concrete_function(spec)
    frozen = convert_variables_to_constants_v2(concrete)
    shape = frozen.outputs[0].shape
    if shape.rank != 2 or shape[1] is None:
        raise ModelMismatch(f"{extractor.name}: a vector of fixed length per image expected, shape {shape} found.")
    dim = int(shape[1])
    if extractor.dim is not None and dim != extractor.dim:
        raise ModelMismatch(
            f"{extractor.name}: dim {extractor.dim} was declared, but it gives {dim} numbers; declare dim = {dim}."
        )
    return FrozenGraph(frozen, dim, ParameterCounts(_count(concrete) - _count(frozen), _count(frozen)))


def _count(concrete: Any) -> int:
    return sum(int(variable.shape.num_elements()) for variable in concrete.variables)
