"""`onnx:FILE`: a model in ONNX, as PyTorch and many others export it; OpenVINO reads it directly."""

import hashlib
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from extract.errors import ModelMismatch, ModelUnavailable
from extract.extractors.extractor import Extractor
from extract.preprocessing import lesson
from store.documents import digest

__all__ = ["onnx_extractor"]

# In a TensorProto, external_data holds pairs of strings: the field `key` (tag 0x0a) with its length
# and "location", then the field `value` (tag 0x12), a length as varint, and the file's name.
# Source: onnx/onnx.proto, StringStringEntryProto.
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x80-\xff]?[\x00-\x7f])")


def onnx_extractor(
    path: Path,
    name: str,
    size: int = 224,
    *,
    value_range: str = "0..1",
    dim: int | None = None,
    output: str | None = None,
) -> Extractor:
    """Return the extractor of an ONNX file.

    Args:
        path: the file.
        name: what the extractor is called.
        size: the input's height and width.
        value_range: what the network expects, `torch` for most that PyTorch exported.
        dim: length of its vectors, if it is known.
        output: which output, for a model with several; the name of an inner tensor will do.

    Raises:
        ModelUnavailable: the file, or one that it keeps its weights in, is not there.
        ModelMismatch: it is empty, or names weights outside its folder.
    """
    if not path.is_file():
        raise ModelUnavailable(f"{path}: no such ONNX file.")
    return Extractor(
        name=name,
        architecture="onnx",
        weights_sha256=_model_sha256(path),
        output=output or "default",
        preprocessing=lesson(size, value_range),
        dim=dim,
        onnx=path,
        about=f"ONNX model {path}",
    )


def _model_sha256(path: Path) -> str:
    """Digest the file; where it keeps weights in files beside it, those too."""
    beside = sorted(set(_external_files(path)))
    found = _file_sha256(path)
    return digest([found, *([name, _file_sha256(path.parent / name)] for name in beside)]) if beside else found


def _external_files(path: Path) -> Iterator[str]:
    if not path.stat().st_size:
        raise ModelMismatch(f"{path}: an ONNX model expected, an empty file found.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for match in _LOCATION.finditer(data):
            length = sum((byte & 0x7F) << (7 * at) for at, byte in enumerate(match[1]))
            name = data[match.end() : match.end() + length].decode("utf-8", "replace")
            place = path.parent / name
            if not place.resolve().is_relative_to(path.parent.resolve()):
                raise ModelMismatch(f"{path}: names weights outside its folder, {name!r}; export it anew.")
            if not place.is_file():
                raise ModelUnavailable(f"{path}: keeps weights in {name!r}, which is missing beside it.")
            yield name


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
