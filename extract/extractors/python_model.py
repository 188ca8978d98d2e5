"""`python:MODULE:FUNCTION`: a model that somebody's own Python code runs, such as one of timm or KerasHub."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np

from extract.errors import ModelMismatch, ModelUnavailable, OutOfMemory
from extract.extractors.extractor import Extractor
from extract.preprocessing import VALUE_RANGES, lesson

__all__ = ["PythonModel", "python_extractor"]


class PythonModel(Protocol):
    """What MODULE.FUNCTION() returns; no class of ours is needed, the attributes are enough.

    Attributes:
        size: the input's height and width in pixels.
        sha256: 64 hexadecimal digits that change whenever the features would: of the weights, say.
        value_range: a name of `extract.preprocessing.VALUE_RANGES`; without it, `0..255`.
        dim: D; without it, a first call tells.
    """

    size: int
    sha256: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute features.

        Args:
            images: (N, size, size, 3) float32 in the model's range and channel order, N ≥ 1.

        Returns:
            (N, D) numbers; a row depends on its image alone.
        """


def python_extractor(spec: str, name: str) -> Extractor:
    """Return the extractor of a model that a Python function returns.

    The function is called for every job, even where no row is missing: it should return at once, and
    leave loading to the first call of what it returns.

    Args:
        spec: `MODULE:FUNCTION`; the module is found as Python finds modules, by PYTHONPATH.
        name: what the extractor is called.

    Raises:
        ModelUnavailable: there is no such module or function.
        ModelMismatch: what it returns is no `PythonModel`.
    """
    model = _made(spec, name)
    size, sha256 = _required(model, name, "size", kind=int), _required(model, name, "sha256", kind=str)
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise ModelMismatch(f"{name}: sha256 must be 64 hexadecimal digits, {sha256!r} found.")
    value_range = getattr(model, "value_range", "0..255")
    return Extractor(
        name=name,
        architecture=f"python/{spec}",
        weights_sha256=sha256,
        output="default",
        preprocessing=lesson(size, value_range),
        dim=getattr(model, "dim", None),
        pixel_function=partial(_features, model, name=name, value_range=value_range),
        about=f"Python function {spec}",
    )


def _made(spec: str, name: str) -> Any:
    module_name, _, function_name = spec.rpartition(":")
    if not module_name or not function_name:
        raise ModelUnavailable(f"{name}: python:MODULE:FUNCTION expected, such as python:my_models:dino.")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ModelUnavailable(
            f"{name}: no module named {error.name!r}; put its folder into PYTHONPATH, or install what it needs."
        ) from error
    # A stranger's module may fail in any way.
    except Exception as error:
        raise ModelUnavailable(f"{name}: importing {module_name} fails: {type(error).__name__}: {error}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ModelUnavailable(f"{name}: {module_name} has no function {function_name!r}.")
    model = _called(function, name)
    if not callable(model):
        raise ModelMismatch(f"{name}: must return a callable, but returns {type(model).__name__}.")
    return model


def _required(model: Any, name: str, attribute: str, *, kind: type) -> Any:
    found = getattr(model, attribute, None)
    if not isinstance(found, kind):
        raise ModelMismatch(f"{name}: {attribute}, {kind.__name__}, expected of what it returns, {found!r} found.")
    return found


def _features(model: Any, images: np.ndarray, *, name: str, value_range: str) -> np.ndarray:
    scale, offset, channels = VALUE_RANGES[value_range]
    values = images.astype(np.float32)
    if channels == "BGR":
        values = values[..., ::-1]
    if value_range != "0..255":
        values = values * np.asarray(scale, np.float32) + np.asarray(offset, np.float32)
    return np.asarray(_called(lambda: np.asarray(model(np.ascontiguousarray(values))), name))


def _called(function: Callable[[], Any], name: str) -> Any:
    try:
        return function()
    except MemoryError as error:
        raise OutOfMemory(f"{name}: {error}") from error
    # A stranger's code may fail in any way; its text is what helps whoever wrote it.
    except Exception as error:
        if "out of memory" in str(error).lower():
            raise OutOfMemory(f"{name}: {error}") from error
        raise ModelMismatch(f"{name}: fails with {type(error).__name__}: {error}") from error
