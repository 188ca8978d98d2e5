"""Weights files of Keras are data: what in them is a program, or lies elsewhere, is refused before Keras opens them."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from extract.errors import ModelMismatch, UntrustedModel

__all__ = ["require_data"]

# Layers that hold Python code; the second is what Keras makes of TensorFlow's functions in older files.
_CODE = ("Lambda", "TFOpLambda")


def require_data(path: Path) -> None:
    """Refuse a weights file that is more than data.

    Args:
        path: an .h5, .weights.h5 or .keras file.

    Raises:
        UntrustedModel: it is a whole model with a layer of Python code.
        ModelMismatch: it is none of these kinds, is damaged, or its arrays lie in other files.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found = json.loads(archive.read("config.json"))
        elif h5py.is_hdf5(path):
            with h5py.File(path, "r", locking=False) as file:
                _require_inside(file, path)
                found = json.loads(file.attrs.get("model_config", "null"))
        else:
            raise ModelMismatch(f"{path}: a weights file of Keras (.h5, .weights.h5) expected, found neither.")
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        if isinstance(error, ModelMismatch):
            raise
        raise ModelMismatch(f"{path}: cannot be read as a weights file of Keras ({str(error)[:200]}).") from error
    code = sorted(set(_code_in(found)))
    if code:
        raise UntrustedModel(
            f"{path}: a whole model with {', '.join(code)}, a layer of Python code, where weights alone are read; have "
            "its makers save them by model.save_weights, and name that file."
        )


def _require_inside(group: h5py.Group, path: Path) -> None:
    """Raise ModelMismatch where the weights lie in other files: these would be in no digest."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise ModelMismatch(f"{path}: {group.name}/{name} is in another file, {link.filename!r}; copy it in.")
        if isinstance(link, h5py.SoftLink):
            continue
        item = group[name]
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            raise ModelMismatch(f"{path}: the numbers of {item.name} are in another file; copy them in.")
        if isinstance(item, h5py.Group):
            _require_inside(item, path)


def _code_in(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        name = config.get("class_name")
        if name in _CODE:
            yield f"{name} {config.get('config', {}).get('name', '')!r}"
        config = list(config.values())
    if isinstance(config, list):
        for part in config:
            yield from _code_in(part)
