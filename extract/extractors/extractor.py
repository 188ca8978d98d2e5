"""What to run: an extractor, known by its digest before any framework is imported."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from extract.extractors.published import Evaluation
from extract.preprocessing import Preprocessing
from store import PoolKey
from store.extractor_names import split_view_name, view_name

__all__ = ["Extractor", "Network", "arrays_sha256"]


# A loaded network: TensorFlow float32 (N, H, W, 3) in the extractor's range → (N, D) float32.
# It holds its variables; `extract.engines.frozen` makes constants of them.
Network = Callable[[Any], Any]


@dataclass(frozen=True)
class Extractor:
    """A frozen image feature extractor.

    Attributes:
        name: what it is called, such as `efficientnet_lite0` or `hub:HANDLE`.
        architecture: what kind of network it is, part of the pool's key.
        weights_sha256: digest of its weights, part of the pool's key.
        output: which tensor the features are, part of the pool's key.
        preprocessing: how images become its input, part of the pool's key.
        dim: D, or None where only loading tells.
        load: loads the network into TensorFlow; None where that cannot run it.
        onnx: the ONNX file, which OpenVINO reads, for a model that TensorFlow cannot run.
        pixel_function: NumPy (N, H, W, 3), 0 to 255 → (N, D), for a floor or a model in plain Python.
        precision: what the network multiplies in, part of the pool's key: `float32`, `tf32` or `bfloat16`.
        dtype: how its rows are stored, part of the pool's key: `float32` or `float16`.
        takes_orientation_of_source: whether nobody has said which orientation is seen; then the source decides.
        evaluation: how its authors prepared images, None where that is not known.
        is_floor: whether it is a yardstick rather than a candidate.
        program: says in a line what would be run, without running it, and raises UntrustedModel where that is refused;
            None where it is code of a package installed here.
        preset: what its preprocessing was declared after.
        about: one line for people.
    """

    name: str
    architecture: str
    weights_sha256: str
    output: str
    preprocessing: Preprocessing
    dim: int | None
    load: Callable[[], Network] | None = None
    onnx: Path | None = None
    pixel_function: Callable[[np.ndarray], np.ndarray] | None = None
    precision: str = "float32"
    dtype: str = "float32"
    takes_orientation_of_source: bool = True
    evaluation: Evaluation | None = None
    is_floor: bool = False
    program: Callable[[], str] | None = None
    preset: str = "lesson"
    about: str = ""

    @property
    def has_weights(self) -> bool:
        """Whether there are any: pixels have none, and then the digest is that of nothing."""
        return self.weights_sha256 != hashlib.sha256().hexdigest()

    def pool_key(self) -> PoolKey:
        """Return the identity of its rows."""
        document = self.preprocessing.document()
        return PoolKey(self.architecture, self.weights_sha256, self.output, document, self.dtype, self.precision)

    def seeing(self, orientation: str) -> "Extractor":
        """Return the extractor for images that are shown so, unless somebody has said how it sees them.

        Args:
            orientation: `exif` or `stored`, see `Preprocessing`.
        """
        if not self.takes_orientation_of_source:
            return self
        seen = replace(self.preprocessing, orientation=orientation)
        return replace(self, preprocessing=seen, takes_orientation_of_source=False)

    def view(self, number: int) -> "Extractor":
        """Return the extractor of a view of each image, see `extract.views`; of the image itself for 0."""
        seen = replace(self.preprocessing, view=number)
        return replace(self, name=view_name(split_view_name(self.name)[0], number), preprocessing=seen)


def arrays_sha256(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """Digest named arrays: names, dtypes, shapes and bytes, in the given order."""
    sha = hashlib.sha256()
    for name, array in arrays:
        sha.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
