"""The TensorFlow engine: the reference on a CPU, and the engine of GPUs."""

from dataclasses import dataclass

import numpy as np

from extract.engines.frozen import FrozenGraph
from extract.engines.mixed_precision import in_bfloat16
from extract.errors import EngineUnavailable, ModelMismatch, OutOfMemory

__all__ = ["ON_CPU", "ON_GPU", "Placement", "TensorFlowEngine", "describe_gpus", "find_gpus"]


@dataclass(frozen=True)
class Placement:
    """Where and how TensorFlow runs a network.

    Attributes:
        device: TensorFlow's name of it.
        batch_size: images at once.
        is_compiled: whether XLA compiles the network.
        in_flight: batches that are handed over before the first one's rows are taken.
    """

    device: str
    batch_size: int
    is_compiled: bool
    in_flight: int


# Measured on two AVX2 cores: small batches stay in the caches (90 images/s at 8, 47 at 64), and
# XLA is ten times slower for MobileNetV2.
ON_CPU = Placement("/CPU:0", 8, is_compiled=False, in_flight=1)
# Two in flight: while the device computes one batch, the next is copied to it.
ON_GPU = Placement("/GPU:0", 64, is_compiled=True, in_flight=2)


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


def describe_gpus() -> list[str]:
    """Return a line per GPU: its model, and its compute capability (tf32 and bfloat16 want 8.0 or more)."""
    import tensorflow as tf

    lines = []
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        capability = ".".join(str(number) for number in details.get("compute_capability", ()))
        lines.append(f"{details.get('device_name', gpu.name)} (compute capability {capability or 'unknown'})")
    return lines


class TensorFlowEngine:
    """Runs a frozen graph, with batches of one fixed shape: the last one is padded.

    A fixed shape lets XLA compile once, and keeps the low bits of a row from depending on how many
    images came with it.

    Args:
        graph: the frozen network.
        placement: where it runs.
        precision: what it multiplies in: `float32`, `tf32` (a GPU's) or `bfloat16`.

    Raises:
        EngineUnavailable: the device does not compute in this precision.
    """

    name = "tensorflow"

    def __init__(self, graph: FrozenGraph, placement: Placement = ON_CPU, precision: str = "float32") -> None:
        import tensorflow as tf

        if precision == "tf32" and "GPU" not in placement.device:
            raise EngineUnavailable(
                "tensorflow: tf32 is a format of GPUs (NVIDIA's since Ampere), and this is a CPU; "
                'take precision = "float32", or run it where a GPU is.'
            )
        self._tf = tf
        self.dim = graph.dim
        self.parameters = graph.parameters
        self.device = placement.device
        self.threads = tf.config.threading.get_intra_op_parallelism_threads()
        self.batch_size = placement.batch_size
        self.in_flight = placement.in_flight
        self._is_tf32 = precision == "tf32"
        self._is_bfloat16 = precision == "bfloat16"
        function = in_bfloat16(graph.function) if precision == "bfloat16" else graph.function
        self._function = tf.function(function, jit_compile=True) if placement.is_compiled else function

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute features; see `Engine`.

        Raises:
            EngineUnavailable: TensorFlow has no kernel for this precision here, which only a batch shows.
        """
        # A switch of the whole process, and on by default: set for each call, since another engine may have turned it.
        self._tf.config.experimental.enable_tensor_float_32_execution(self._is_tf32)
        size = self.batch_size
        return np.concatenate([self._batch(images[at : at + size], size) for at in range(0, len(images), size)])

    def _batch(self, images: np.ndarray, size: int) -> np.ndarray:
        count = len(images)
        if count < size:
            images = np.concatenate([images, np.zeros((size - count, *images.shape[1:]), images.dtype)])
        errors = self._tf.errors
        try:
            with self._tf.device(self.device):
                found = self._function(self._tf.constant(images))
            features = (found[0] if isinstance(found, list | tuple) else found).numpy()
        except errors.ResourceExhaustedError as error:
            raise OutOfMemory(f"tensorflow: {error.message[:200]}") from error
        except (errors.AbortedError, errors.UnimplementedError) as error:
            if not self._is_bfloat16:
                raise
            # Seen where a processor has bfloat16 units and ONEDNN_MAX_CPU_ISA forbids them.
            reason = error.message.replace("\n", " ")[:200]
            raise EngineUnavailable(
                f"tensorflow: has no bfloat16 kernels for {self.device} as it is set up here ({reason}); take "
                'precision = "float32", or set TF_ENABLE_ONEDNN_OPTS=0.'
            ) from error
        if features.shape != (size, self.dim):
            raise ModelMismatch(f"({size}, {self.dim}) features expected, {features.shape} found.")
        return np.asarray(features[:count], np.float32)
