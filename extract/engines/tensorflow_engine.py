"""The TensorFlow engine: the reference on a CPU, and the engine of GPUs."""

import numpy as np

from extract.engines.frozen import FrozenGraph
from extract.errors import ModelMismatch

__all__ = ["TensorFlowEngine", "find_gpus"]

# Measured on two AVX2 cores: small batches stay in the caches (90 pictures/s at 8, 47 at 64).
_CPU_BATCH = 8
_GPU_BATCH = 64


def find_gpus() -> list[str]:
    """Return the names of the GPUs that TensorFlow sees, each set to grow its memory as needed."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            # Without growth TensorFlow takes the whole memory, and a second worker finds none.
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            # The device is in use already; what it was set to then holds.
            break
    return [gpu.name for gpu in gpus]


class TensorFlowEngine:
    """Runs a frozen graph, with batches of one fixed shape: the last one is padded.

    A fixed shape lets XLA compile once, and keeps the low bits of a row from depending on how many
    pictures came with it.

    Args:
        graph: the frozen network.
        gpu: the device's name, or None for the CPU.
    """

    name = "tensorflow"

    def __init__(self, graph: FrozenGraph, gpu: str | None = None) -> None:
        import tensorflow as tf

        self._tf = tf
        self.dim = graph.dim
        self.parameters = graph.parameters
        self.device = "/GPU:0" if gpu else "/CPU:0"
        self.threads = tf.config.threading.get_intra_op_parallelism_threads()
        self.batch_size = _GPU_BATCH if gpu else _CPU_BATCH
        # XLA pays on a GPU; on a CPU it was measured ten times slower for MobileNetV2.
        self._function = tf.function(graph.function, jit_compile=True) if gpu else graph.function

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute features; see `Engine`."""
        rows = [self._batch(images[at : at + self.batch_size]) for at in range(0, len(images), self.batch_size)]
        return np.concatenate(rows)

    def _batch(self, images: np.ndarray) -> np.ndarray:
        missing = self.batch_size - len(images)
        if missing:
            images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)])
        with self._tf.device(self.device):
            found = self._function(self._tf.constant(images))
        features = (found[0] if isinstance(found, list | tuple) else found).numpy()
        if features.shape != (self.batch_size, self.dim):
            raise ModelMismatch(f"({self.batch_size}, {self.dim}) features expected, {features.shape} found.")
        return np.asarray(features[: len(images) - missing if missing else None], np.float32)
