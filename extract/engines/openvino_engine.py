"""The OpenVINO engine: on a CPU three to four times TensorFlow's throughput."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from extract.engines.frozen import FrozenGraph
from extract.errors import EngineUnavailable

__all__ = ["OpenVinoEngine", "is_openvino_installed"]

# Requests of 8 pictures keep the caches warm; two of them in flight keep the cores busy.
_REQUEST = 8


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


def is_openvino_installed() -> bool:
    """Return whether OpenVINO can be imported."""
    from importlib.util import find_spec

    return find_spec("openvino") is not None


class OpenVinoEngine:
    """Runs a frozen graph in float32, in small requests side by side.

    With a dynamic batch a row is bitwise the same whatever the batch, threads and streams.

    Args:
        graph: the frozen network.

    Raises:
        EngineUnavailable: OpenVINO is not installed or cannot read the graph.
    """

    name = "openvino"
    device = "CPU"

    def __init__(self, graph: FrozenGraph) -> None:
        try:
            import openvino as ov
            from openvino import frontend
        except ImportError as error:
            raise EngineUnavailable(
                "openvino: not installed; 'pip install linprobe[cpu]', or --engine tensorflow."
            ) from error
        logging.getLogger("openvino").setLevel(logging.ERROR)
        try:
            with _root_logger_kept():
                model = ov.convert_model(graph.function.graph)
            compiled = ov.Core().compile_model(
                model,
                "CPU",
                # bfloat16 would be taken unasked where the CPU has it, and change the numbers.
                {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"},
            )
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
            raise EngineUnavailable(f"openvino: cannot read this model ({reason}); use --engine tensorflow.") from error
        self.dim = graph.dim
        self.parameters = graph.parameters
        self.threads = os.cpu_count() or 1
        self.batch_size = _REQUEST * 8
        self._queue = ov.AsyncInferQueue(compiled)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute features; see `Engine`."""
        features = np.empty((len(images), self.dim), np.float32)

        def keep(request: object, at: int) -> None:
            rows = request.get_output_tensor(0).data  # type: ignore[attr-defined]
            features[at : at + len(rows)] = rows

        self._queue.set_callback(keep)
        for at in range(0, len(images), _REQUEST):
            self._queue.start_async([images[at : at + _REQUEST]], at)
        self._queue.wait_all()
        return features
