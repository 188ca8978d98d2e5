"""Networks as OpenVINO reads them: from a frozen graph, or from an ONNX file that TensorFlow cannot run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from extract.engines.engine import ParameterCounts
from extract.engines.frozen import FrozenGraph
from extract.errors import EngineUnavailable, ModelMismatch, UnknownName
from extract.extractors.extractor import Extractor
from extract.preprocessing import VALUE_RANGES

__all__ = ["OpenVinoModel", "is_openvino_installed", "read_graph", "read_onnx"]

_REAL = ("f16", "f32", "f64")


@dataclass(frozen=True)
class OpenVinoModel:
    """A network that OpenVINO can compile.

    Attributes:
        model: openvino.Model, (N, H, W, 3) pixels, 0 to 255, in the preprocessing's pixel type
            → (N, D), N dynamic.
        dim: D.
        parameters: of the network, all frozen.
    """

    model: Any
    dim: int
    parameters: ParameterCounts


def is_openvino_installed() -> bool:
    """Return whether OpenVINO can be imported."""
    from importlib.util import find_spec

    return find_spec("openvino") is not None


def read_graph(graph: FrozenGraph) -> OpenVinoModel:
    """Convert a frozen TensorFlow graph.

    Raises:
        EngineUnavailable: OpenVINO is not installed or cannot read the graph.
    """
    with _reading("this model", "; use --engine tensorflow"):
        from openvino.frontend import FrontEndManager
        from openvino.frontend.tensorflow.graph_iterator import GraphIteratorTFGraph

        # As openvino.convert_model does, which asks first whether the graph is a Keras model, and imports Keras for it:
        # seconds of every extraction. The numbers are the same bitwise.
        reader = FrontEndManager().load_by_framework("tf")
        # Which is read while it is converted.
        operations = GraphIteratorTFGraph(graph.function.graph, True)
        model = reader.convert(reader.load(operations))
    return OpenVinoModel(model, graph.dim, graph.parameters)


def read_onnx(extractor: Extractor) -> OpenVinoModel:
    """Read an extractor's ONNX file, choose its output, and put the value scaling before it.

    Raises:
        EngineUnavailable: OpenVINO is not installed or cannot read the file.
        UnknownName: it has no such output.
        ModelMismatch: it does not map images of the declared size to vectors of the declared length.
    """
    name, size = str(extractor.onnx), extractor.preprocessing.size
    with _reading(name, ", and nothing else here runs ONNX") as ov:
        model = ov.Core().read_model(name)
        constants = [op for op in model.get_ops() if op.get_type_name() == "Constant"]
        frozen = sum(op.data.size for op in constants if op.get_element_type().get_type_name() in _REAL)
    model = _with_output(ov, model, extractor.output, name=name)
    layout = _layout(model, size, name)
    try:
        with _reading(name, ""):
            model.reshape([-1, 3, size, size] if layout == "NCHW" else [-1, size, size, 3])
    except EngineUnavailable as error:
        # Whatever the engine calls it: a model for other images.
        raise ModelMismatch(f"{error} A batch of any length and images of size {size} expected.") from error
    dim = _dim(model, extractor)
    return OpenVinoModel(_with_pixels(ov, model, layout, extractor=extractor), dim, ParameterCounts(frozen, 0))


@contextmanager
def _reading(what: str, instead: str) -> Iterator[Any]:
    """Give the module `openvino`, and name what it cannot read."""
    try:
        import openvino as ov
        from openvino import frontend
    except ImportError as error:
        raise EngineUnavailable(f"openvino: not installed; 'pip install linprobe[cpu]'{_or_else(instead)}.") from error
    logging.getLogger("openvino").setLevel(logging.ERROR)
    try:
        with _root_logger_kept():
            yield ov
    except (
        RuntimeError,
        # None of these is a RuntimeError, nor have they a base of their own.
        frontend.GeneralFailure,
        frontend.InitializationFailure,
        frontend.NotImplementedFailure,
        frontend.OpConversionFailure,
        frontend.OpValidationFailure,
    ) as error:
        reason = " ".join(str(error).split())[:300]
        raise EngineUnavailable(f"openvino: cannot read {what} ({reason}){instead}.") from error


def _or_else(instead: str) -> str:
    return ", or --engine tensorflow" if "tensorflow" in instead else instead


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Undo what OpenVINO's converter does to the root logger: level ERROR and a handler of its own."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def _with_output(ov: Any, model: Any, asked: str, *, name: str) -> Any:
    """Return the model with one output: the only one, or the one that was named, an inner tensor perhaps."""
    outputs = {output.get_any_name(): output for output in model.outputs if output.get_names()}
    if asked == "default" and asked not in outputs:
        if len(model.outputs) != 1:
            raise ModelMismatch(f"{name}: {len(model.outputs)} outputs, {sorted(outputs)}; name one as output.")
        return model
    tensors = {text for op in model.get_ops() for port in op.outputs() for text in port.get_names()}
    if asked not in tensors:
        raise UnknownName(f"output of {name}", asked, sorted(outputs) + sorted(tensors - set(outputs)))
    model.add_outputs(asked)
    (chosen,) = {output.get_node() for output in model.outputs if asked in output.get_names()}
    return ov.Model([chosen], model.get_parameters(), "chosen")


def _layout(model: Any, size: int, name: str) -> str:
    """Return `NCHW` or `NHWC`, once the input is one for images of this size."""
    if len(model.inputs) != 1:
        raise ModelMismatch(f"{name}: one input expected, {[port.get_any_name() for port in model.inputs]} found.")
    kind = model.inputs[0].get_element_type().get_type_name()
    if kind not in _REAL:
        raise ModelMismatch(f"{name}: takes {kind} images, f32 expected.")
    shape = model.inputs[0].get_partial_shape()
    sides = [None if side.is_dynamic else side.get_length() for side in shape] if shape.rank.is_static else []
    if len(sides) != 4 or 3 not in (sides[1], sides[3]):
        raise ModelMismatch(f"{name}: takes {shape}; images (N, 3, H, W) or (N, H, W, 3) expected.")
    layout = "NCHW" if sides[1] == 3 else "NHWC"
    height, width = sides[2:] if layout == "NCHW" else sides[1:3]
    if height not in (None, size) or width not in (None, size):
        raise ModelMismatch(f"{name}: takes images of {height} x {width}, size {size} was declared; declare its size.")
    return layout


def _dim(model: Any, extractor: Extractor) -> int:
    shape = model.outputs[0].get_partial_shape()
    if shape.rank.is_dynamic or len(shape) != 2 or shape[1].is_dynamic:
        raise ModelMismatch(f"{extractor.name}: a vector of fixed length per image expected, shape {shape} found.")
    if shape[0].is_static:
        raise ModelMismatch(
            f"{extractor.name}: a row per image expected, {shape} found for any number of them; export it with a "
            "dynamic batch axis."
        )
    dim = int(shape[1].get_length())
    if extractor.dim is not None and dim != extractor.dim:
        raise ModelMismatch(
            f"{extractor.name}: dim {extractor.dim} was declared, but it gives {dim} numbers; declare dim = {dim}."
        )
    return dim


def _with_pixels(ov: Any, model: Any, layout: str, *, extractor: Extractor) -> Any:
    """Return the model with pixels as its input: the value scaling and the layout become part of it."""
    from openvino import opset13 as ops
    from openvino.preprocess import PrePostProcessor

    scale, offset, channels = VALUE_RANGES[extractor.preprocessing.value_range]

    def scaled(pixels: Any) -> Any:
        if channels == "BGR":
            pixels = ops.gather(pixels, np.array([2, 1, 0]), np.array(3))
        values = ops.add(ops.multiply(pixels, np.asarray(scale, np.float32)), np.asarray(offset, np.float32))
        return values.output(0)

    steps = PrePostProcessor(model)
    pixel_type = ov.Type.u8 if extractor.preprocessing.pixels == "uint8" else ov.Type.f32
    steps.input().tensor().set_element_type(pixel_type).set_layout(ov.Layout("NHWC"))
    steps.input().preprocess().convert_element_type(ov.Type.f32).custom(scaled)
    steps.input().model().set_layout(ov.Layout(layout))
    steps.output().tensor().set_element_type(ov.Type.f32)
    return steps.build()
