"""What runs an extractor, and the choice among them."""

from collections.abc import Callable

from extract.engines.engine import Engine, ParameterCounts
from extract.engines.function_engine import FunctionEngine
from extract.engines.halving import HalvingEngine
from extract.engines.openvino_models import is_openvino_installed, read_graph, read_onnx
from extract.errors import EngineUnavailable, UnknownName
from extract.extractors.extractor import Extractor

__all__ = ["DEVICES", "ENGINES", "Engine", "ParameterCounts", "open_engine"]

ENGINES = ("auto", "tensorflow", "openvino")
DEVICES = ("auto", "cpu", "gpu")


def open_engine(
    extractor: Extractor,
    engine: str = "auto",
    notify: Callable[[str], None] = lambda text: None,
    *,
    device: str = "auto",
) -> Engine:
    """Load an extractor into an engine.

    Args:
        extractor: what to run.
        engine: `auto` takes TensorFlow on a GPU; on a CPU OpenVINO where it is installed and can
            read the model, else TensorFlow. ONNX is OpenVINO's alone; floors and Python functions
            run as they are.
        notify: told where `auto` had to fall back, and where a batch had to be halved.
        device: `auto` takes a GPU where there is one, `gpu` insists on it, `cpu` does without.

    Raises:
        UnknownName: there is no such engine, device or output.
        EngineUnavailable: the one that was asked for cannot run here.
        ModelMismatch: the model is not what was declared.
    """
    if engine not in ENGINES:
        raise UnknownName("engine", engine, ENGINES)
    if device not in DEVICES:
        raise UnknownName("device", device, DEVICES)
    if extractor.pixel_function is not None:
        opened: Engine = FunctionEngine(extractor)
    elif extractor.onnx is not None:
        opened = _open_onnx(extractor, engine, device)
    else:
        opened = _open_network(extractor, engine, notify, device=device)
    return HalvingEngine(opened, notify)


def _open_onnx(extractor: Extractor, engine: str, device: str) -> Engine:
    from extract.engines.openvino_engine import OpenVinoEngine

    if engine == "tensorflow":
        raise EngineUnavailable(f"tensorflow: cannot run ONNX ({extractor.onnx}); use --engine openvino, or auto.")
    _refuse_gpu(device)
    return OpenVinoEngine(read_onnx(extractor))


def _open_network(extractor: Extractor, engine: str, notify: Callable[[str], None], *, device: str) -> Engine:
    from extract.engines.frozen import freeze
    from extract.engines.tensorflow_engine import ON_CPU, ON_GPU, TensorFlowEngine, find_gpus

    precision = extractor.precision
    if engine == "openvino":
        _refuse_gpu(device)
        if precision != "float32":
            raise EngineUnavailable(f"openvino: computes in float32 here, not {precision}; use --engine tensorflow.")
    gpus = [] if device == "cpu" else find_gpus()
    if device == "gpu" and not gpus:
        raise EngineUnavailable(
            "gpu: TensorFlow finds none here; on a machine with one, 'pip install linprobe[gpu]' and see what "
            "'linprobe doctor' says; or take --device cpu."
        )
    graph = freeze(extractor)
    is_for_openvino = engine == "auto" and not gpus and precision == "float32" and is_openvino_installed()
    if engine == "openvino" or is_for_openvino:
        from extract.engines.openvino_engine import OpenVinoEngine

        try:
            return OpenVinoEngine(read_graph(graph))
        except EngineUnavailable as error:
            if engine == "openvino":
                raise
            notify(f"{error} Running it on TensorFlow.")
    return TensorFlowEngine(graph, ON_GPU if gpus else ON_CPU, precision)


def _refuse_gpu(device: str) -> None:
    if device == "gpu":
        raise EngineUnavailable("openvino: runs on the CPU here; use --engine tensorflow with --device gpu.")
