"""`onnx:FILE`: a model in ONNX, as PyTorch and many others export it; OpenVINO reads it directly."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from extract.errors import EngineUnavailable, ModelMismatch, ModelUnavailable
from extract.extractors.extractor import Extractor
from extract.preprocessing import lesson
from store.documents import digest
from store.hdf5 import file_sha256

__all__ = ["onnx_extractor"]


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
        ModelMismatch: it is no ONNX model, or names weights that are not beside it.
        EngineUnavailable: the package that reads ONNX is not installed.
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
        program=partial(_program, path),
    )


def _program(path: Path) -> str:
    run = Counter(node.op_type for node in _parsed(path).graph.node)
    return f"a graph of {run.total():,} operations of {len(run)} kinds, run by OpenVINO"


def _model_sha256(path: Path) -> str:
    """Digest the file; where it keeps weights in files beside it, those too."""
    beside = sorted(set(_external_files(path)))
    found = file_sha256(path)
    return digest([found, *([name, file_sha256(path.parent / name)] for name in beside)]) if beside else found


def _parsed(path: Path) -> Any:
    """Return an onnx.ModelProto, without the weights that other files hold."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise EngineUnavailable("onnx: not installed, and ONNX is read by it; 'pip install linprobe[cpu]'.") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelMismatch(f"{path}: not an ONNX model, or cut off: {error}.") from error
    if not model.HasField("graph"):
        raise ModelMismatch(f"{path}: an ONNX model expected, a file without a graph found.")
    return model


def _external_files(path: Path) -> Iterator[str]:
    for tensor in _tensors(_parsed(path)):
        places = {entry.key: entry.value for entry in tensor.external_data}
        if tensor.data_location != tensor.EXTERNAL and not places:
            continue
        name = places.get("location", "")
        # Beside it, as a plain file: what a path or a link leads to is not in the folder that one copies.
        place = path.parent / name
        if not name or name != Path(name).name or name == ".." or place.is_symlink():
            raise ModelMismatch(
                f"{path}: the tensor {tensor.name!r} names its weights {name!r}, and the name of a plain file beside "
                "the model is expected; export it anew."
            )
        if not place.is_file():
            raise ModelUnavailable(f"{path}: keeps weights in {name!r}, which is missing beside it.")
        try:
            first, length = int(places.get("offset", 0) or 0), int(places.get("length", 0) or 0)
        except ValueError as error:
            raise ModelMismatch(
                f"{path}: the tensor {tensor.name!r} has no sound place in {name!r}: {error}."
            ) from error
        if first < 0 or first + length > place.stat().st_size:
            raise ModelMismatch(
                f"{path}: the tensor {tensor.name!r} needs {first + length:,} bytes of {name!r}, which has "
                f"{place.stat().st_size:,}; it is cut off, or another model's."
            )
        yield name


def _tensors(message: Any) -> Iterator[Any]:
    """Yield the TensorProtos anywhere in a message: of graphs, their branches, functions and attributes."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            # A single message has descriptors of its own; several come as a sequence.
            for part in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _tensors(part)
