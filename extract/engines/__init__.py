"""What runs an extractor, and the choice among them."""

from collections.abc import Callable

from extract.engines.engine import Engine, ParameterCounts
from extract.engines.numpy_engine import NumpyEngine
from extract.engines.openvino_engine import is_openvino_installed
from extract.errors import EngineUnavailable, UnknownName
from extract.extractors.extractor import Extractor

__all__ = ["ENGINES", "Engine", "ParameterCounts", "open_engine"]

ENGINES = ("auto", "tensorflow", "openvino")


def open_engine(
    extractor: Extractor, engine: str = "auto", notify: Callable[[str], None] = lambda text: None
) -> Engine:
    """Load an extractor into an engine.

    Args:
        extractor: what to run.
        engine: `auto` takes TensorFlow on a GPU; on a CPU OpenVINO where it is installed and can
            read the model, else TensorFlow.
        notify: told where `auto` had to fall back.

    Raises:
        UnknownName: there is no such engine.
        EngineUnavailable: the one that was asked for cannot run here.
        ModelMismatch: the model is not what was declared.
    """
    if engine not in ENGINES:
        raise UnknownName("engine", engine, ENGINES)
    if extractor.pixel_function is not None:
        return NumpyEngine(extractor)
    from extract.engines.frozen import freeze
    from extract.engines.tensorflow_engine import TensorFlowEngine, find_gpus

    gpus = find_gpus()
    graph = freeze(extractor)
    if engine == "openvino" or (engine == "auto" and not gpus and is_openvino_installed()):
        from extract.engines.openvino_engine import OpenVinoEngine

        try:
            return OpenVinoEngine(graph)
        except EngineUnavailable as error:
            if engine == "openvino":
                raise
            notify(f"{error} Running it on TensorFlow.")
    return TensorFlowEngine(graph, gpus[0] if gpus else None)
