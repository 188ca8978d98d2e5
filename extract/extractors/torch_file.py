"""Arrays of a PyTorch file in its older format, read without PyTorch and without running what is in it.

Source of the format: torch/serialization.py, `_legacy_save`: pickles of a magic number, the protocol's version and the
sizes of C's types; the pickled state dict, in which a storage is named by its key; the pickled list of keys; then for
each key an int64 count and the raw numbers, little-endian.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from extract.errors import ModelMismatch, UntrustedModel

__all__ = ["read_torch_arrays"]

# What a pickle raises that is not what it says it is.
_DAMAGE = (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, OverflowError)
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
# Kinds of storages, and their numbers.
_STORAGES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8"}


def read_torch_arrays(path: Path) -> Mapping[str, np.ndarray]:
    """Return the arrays of a state dict by name.

    Raises:
        UntrustedModel: its pickle asks for anything else than arrays; nothing of it has been run.
        ModelMismatch: it is no such file, or is damaged.
    """
    data = path.read_bytes()
    stream = io.BytesIO(data)
    try:
        for expected in (_MAGIC, _PROTOCOL):
            if _Unpickler(stream, path).load() != expected:
                raise ModelMismatch(f"{path}: not a file of arrays in PyTorch's older format.")
        _Unpickler(stream, path).load()
        named = _Unpickler(stream, path).load()
        keys = _Unpickler(stream, path).load()
        storages = _storages(stream, keys, {tensor.storage.key: tensor.storage.dtype for tensor in named.values()})
        return {str(name): tensor.of(storages[tensor.storage.key]) for name, tensor in named.items()}
    except (ModelMismatch, UntrustedModel):
        raise
    except _DAMAGE as error:
        raise ModelMismatch(f"{path}: not a file of arrays in PyTorch's older format ({error}).") from error


def _storages(stream: BinaryIO, keys: Sequence[str], dtypes: Mapping[str, np.dtype]) -> dict[str, np.ndarray]:
    found = {}
    for key in keys:
        (count,) = np.frombuffer(stream.read(8), "<i8")
        size = int(count) * dtypes[key].itemsize
        found[key] = np.frombuffer(stream.read(size), dtypes[key], count)
    return found


@dataclass(frozen=True)
class _Storage:
    """What a pickle calls a storage: its key and the type of its numbers."""

    key: str
    dtype: np.dtype


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset and strides are in numbers rather than bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, storage: np.ndarray) -> np.ndarray:
        """Return the tensor's numbers, copied out of its storage."""
        last = self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        if min((self.offset, *self.shape, *self.strides)) < 0 or last >= len(storage):
            raise ValueError(f"a tensor of shape {self.shape} lies outside of its storage of {len(storage)}")
        strides = [stride * storage.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, strides, writeable=False)
        return np.ascontiguousarray(view).reshape(self.shape)


def _tensor(*arguments: Any) -> _Tensor:
    """Stand in for torch._utils._rebuild_tensor_v2; whether gradients are wanted does not matter here."""
    storage, offset, shape, strides, *_ = arguments
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):  # noqa: S301 - which runs nothing but what it names itself
    """Knows ordered dicts, tensors and storages, and refuses every other name."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        super().__init__(stream)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands in for a name of a pickle."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _STORAGES:
            return np.dtype(_STORAGES[name])
        raise UntrustedModel(
            f"{self._path}: its pickle asks for {module}.{name}; only arrays are read from such files."
        )

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage that a pickle names."""
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise ModelMismatch(f"{self._path}: its pickle names a {kind}, a storage expected.")
        return _Storage(str(key), dtype)
