"""The OpenVINO engine: on a CPU three to four times TensorFlow's throughput."""

import numpy as np

from extract.engines.openvino_models import OpenVinoModel
from extract.errors import EngineUnavailable, OutOfMemory

__all__ = ["OpenVinoEngine"]

# Requests of 8 images keep the caches warm; two of them in flight keep the cores busy.
_REQUEST = 8


class OpenVinoEngine:
    """Runs a network in float32, in small requests side by side.

    With a dynamic batch a row is bitwise the same whatever the batch, threads and streams.

    Args:
        model: the network.
        threads: how many it may use; None takes all cores.

    Raises:
        EngineUnavailable: the CPU cannot run it.
    """

    name = "openvino"
    device = "CPU"
    in_flight = 1  # its queue has one owner, and is parallel within

    def __init__(self, model: OpenVinoModel, threads: int | None = None) -> None:
        import openvino as ov

        # bfloat16 would be taken unasked where the CPU has it, and change the numbers.
        options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            compiled = ov.Core().compile_model(model.model, "CPU", options)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise EngineUnavailable(f"openvino: cannot run this model ({reason}); use --engine tensorflow.") from error
        self.dim = model.dim
        self.parameters = model.parameters
        self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        self.batch_size = _REQUEST * 8
        self._queue = ov.AsyncInferQueue(compiled)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute features; see `Engine`."""
        features = np.empty((len(images), self.dim), np.float32)
        size = min(_REQUEST, self.batch_size)

        def keep(request: object, at: int) -> None:
            rows = request.get_output_tensor(0).data  # type: ignore[attr-defined]
            features[at : at + len(rows)] = rows

        self._queue.set_callback(keep)
        try:
            for at in range(0, len(images), size):
                self._queue.start_async([images[at : at + size]], at)
            self._queue.wait_all()
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "alloc" not in str(error):
                raise
            raise OutOfMemory(f"openvino: {error}") from error
        return features
