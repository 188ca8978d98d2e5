"""`savedmodel:PATH` and `hub:HANDLE`: any TensorFlow SavedModel that maps images to vectors."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from extract.errors import ModelMismatch, ModelUnavailable, UntrustedModel
from extract.extractors.extractor import Extractor, Network
from extract.extractors.operations import operations_of
from extract.extractors.published import SLIM
from extract.preprocessing import lesson
from store.documents import digest
from store.hdf5 import file_sha256

__all__ = ["HUB_MODELS", "HubModel", "hub_cache_path", "hub_extractor", "saved_model_extractor"]


@dataclass(frozen=True)
class HubModel:
    """What a TF-Hub feature vector declares: all take RGB in [0, 1], and are TF-Slim's networks."""

    handle: str
    size: int
    dim: int


_IMAGENET = "https://tfhub.dev/google/imagenet/{}/feature_vector/5"
_PREVIEW = "https://tfhub.dev/google/tf2-preview/{}/feature_vector/4"

# The first two are the lesson's, and have names of their own.
HUB_MODELS = {
    "mobilenet_v2": HubModel(_PREVIEW.format("mobilenet_v2"), 224, 1280),
    "inception_v3": HubModel(_PREVIEW.format("inception_v3"), 299, 2048),
    "mobilenet_v2_100_224": HubModel(_IMAGENET.format("mobilenet_v2_100_224"), 224, 1280),
    "mobilenet_v2_130_224": HubModel(_IMAGENET.format("mobilenet_v2_130_224"), 224, 1664),
    "mobilenet_v2_140_224": HubModel(_IMAGENET.format("mobilenet_v2_140_224"), 224, 1792),
    "mobilenet_v3_large_100_224": HubModel(_IMAGENET.format("mobilenet_v3_large_100_224"), 224, 1280),
    "mobilenet_v3_small_100_224": HubModel(_IMAGENET.format("mobilenet_v3_small_100_224"), 224, 1024),
    "inception_v3_imagenet": HubModel(_IMAGENET.format("inception_v3"), 299, 2048),
    "resnet_v2_50": HubModel(_IMAGENET.format("resnet_v2_50"), 224, 2048),
    "nasnet_mobile": HubModel(_IMAGENET.format("nasnet_mobile"), 224, 1056),
}
_BY_HANDLE = {model.handle: model for model in HUB_MODELS.values()}


def saved_model_extractor(
    path: Path,
    name: str,
    size: int = 224,
    *,
    value_range: str = "0..1",
    dim: int | None = None,
    output: str | None = None,
    is_trusted: bool = False,
) -> Extractor:
    """Return the extractor of a SavedModel folder.

    Args:
        path: the folder that holds `saved_model.pb`.
        name: what the extractor is called.
        size: the input's height and width.
        value_range: what the network expects; [0, 1] is TF-Hub's common signature.
        dim: length of its vectors, if it is known.
        output: which output, for a model with several.
        is_trusted: whether it may run operations that no frozen network needs, see `operations`.

    Raises:
        ModelUnavailable: the folder holds no SavedModel.
    """
    if not (path / "saved_model.pb").is_file():
        raise ModelUnavailable(f"{path}: no SavedModel here (saved_model.pb is missing).")
    return Extractor(
        name=name,
        architecture="savedmodel",
        weights_sha256=_folder_sha256(path),
        output=output or "default",
        preprocessing=lesson(size, value_range),
        dim=dim,
        load=partial(_load, path, size, output=output, is_trusted=is_trusted),
        program=partial(_program, path, is_trusted),
        about=f"SavedModel {path}",
    )


def hub_extractor(
    handle: str,
    cache: Path,
    size: int | None = None,
    *,
    value_range: str = "0..1",
    dim: int | None = None,
    output: str | None = None,
    name: str | None = None,
    is_trusted: bool = False,
) -> Extractor:
    """Return the extractor of a TF-Hub handle, from the cache or the network.

    Args:
        handle: to the letter, such as `https://tfhub.dev/google/imagenet/resnet_v2_50/feature_vector/5`.
        cache: TF-Hub's cache folder.
        size, value_range, dim, output: as for `saved_model_extractor`; known handles know theirs.
        name: what the extractor is called; without it, `hub:HANDLE`.
        is_trusted: as for `saved_model_extractor`.

    Raises:
        ModelUnavailable: neither cache nor network has it.
        ModelMismatch: what was declared differs from what is known of the handle.
    """
    known = _BY_HANDLE.get(handle)
    if known:
        _require_declared(handle, {"size": (size, known.size), "dim": (dim, known.dim), "range": (value_range, "0..1")})
        size, dim = known.size, known.dim
    path = hub_cache_path(handle, cache)
    if not path.is_dir() or not any(path.iterdir()):
        _download(handle, cache)
    opened = saved_model_extractor(
        path,
        name or f"hub:{handle}",
        size or 224,
        value_range=value_range,
        dim=dim,
        output=output,
        is_trusted=is_trusted,
    )
    return replace(opened, evaluation=SLIM) if known else opened


def hub_cache_path(handle: str, cache: Path) -> Path:
    """Return the folder in which TF-Hub keeps a handle's model: the SHA-1 of its exact letters."""
    return cache / hashlib.sha1(handle.encode("utf-8"), usedforsecurity=False).hexdigest()


def _download(handle: str, cache: Path) -> None:
    import tensorflow as tf
    import tensorflow_hub as hub

    path = hub_cache_path(handle, cache)
    try:
        found = hub.resolve(handle)
    except (OSError, RuntimeError, ValueError, tf.errors.OpError) as error:
        raise ModelUnavailable(
            f"{handle}: not in the cache and cannot be downloaded ({type(error).__name__}: {str(error)[:160]}); on a "
            f"machine with network, download it and unpack it into {path} (with saved_model.pb directly in it)."
        ) from error
    if Path(found) != path:
        raise ModelUnavailable(f"{handle}: downloaded to {found}, {path} expected; set TFHUB_CACHE_DIR to {cache}.")


def _require_declared(what: str, fields: Mapping[str, tuple[Any, Any]]) -> None:
    for field, (declared, known) in fields.items():
        if declared is not None and declared != known:
            raise ModelMismatch(
                f"{what}: {field} {declared} was declared, but it is {known}; remove {field} or correct it."
            )


def _folder_sha256(path: Path) -> str:
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != "fingerprint.pb")
    return digest([[file.relative_to(path).as_posix(), file_sha256(file)] for file in files])


def _program(path: Path, is_trusted: bool) -> str:
    """Return what a SavedModel would run.

    Raises:
        UntrustedModel: operations that no frozen network needs, and nobody has trusted them.
    """
    run, foreign = operations_of(path)
    if foreign and not is_trusted:
        listed = ", ".join(f"{name} ({number})" for name, number in sorted(foreign.items()))
        raise UntrustedModel(
            f"{path}: would run operations that no frozen network needs, and that may reach files, network or Python: "
            f"{listed}; if whoever made it is to be trusted, --trust runs it, as does trust = true in its "
            "[[extractors]] table."
        )
    return f"a program of {run.total():,} operations of {len(run)} kinds, run by TensorFlow"


def _load(path: Path, size: int, *, output: str | None, is_trusted: bool) -> Network:
    import tensorflow as tf

    if not is_trusted:
        _program(path, is_trusted)
    try:
        model = tf.saved_model.load(str(path))
    except (OSError, ValueError, LookupError, RuntimeError, tf.errors.OpError) as error:
        raise ModelMismatch(f"{path}: TensorFlow cannot load this SavedModel: {str(error)[:300]}") from error
    signatures = model.signatures
    signature = signatures.get("serving_default") or signatures.get("default")
    if callable(model) and (output is None or signature is None):
        call: Any = model
    elif signature is not None:
        call = signature
        _require_input(path, call, size)
    else:
        raise ModelMismatch(f"{path}: neither callable nor with a signature serving_default; found {list(signatures)}.")

    def function(images: Any, owner: Any = model) -> Any:  # the variables live as long as their owner
        try:
            found = call(images)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            raise ModelMismatch(
                f"{path}: does not take float32 ({size}, {size}, 3) images: {str(error)[:300]}"
            ) from error
        outputs = _named_outputs(found)
        if output is None and len(outputs) > 1:
            names = signature.structured_outputs if signature is not None else outputs
            raise ModelMismatch(f"{path}: {len(outputs)} outputs, {sorted(names)}; name one as output.")
        if output is not None and output not in outputs:
            raise ModelMismatch(f"{path}: no output {output!r}; it has {sorted(outputs)}.")
        return outputs[output] if output else next(iter(outputs.values()))

    return function


def _require_input(path: Path, signature: Any, size: int) -> None:
    specs = list(signature.structured_input_signature[1].values())
    if len(specs) != 1:
        raise ModelMismatch(f"{path}: one input expected, {[spec.name for spec in specs]} found.")
    shape = specs[0].shape
    if specs[0].dtype.name != "float32":
        raise ModelMismatch(f"{path}: takes {specs[0].dtype.name} images, float32 expected.")
    if shape.rank is None:
        return
    if shape.rank != 4 or shape[1] not in (None, size) or shape[2] not in (None, size) or shape[3] not in (None, 3):
        raise ModelMismatch(
            f"{path}: takes images of shape {tuple(shape)[1:]}, size {size} was declared; declare its size."
        )


def _named_outputs(found: Any) -> Mapping[str, Any]:
    if isinstance(found, Mapping):
        return found
    if isinstance(found, list | tuple):
        return {str(at): tensor for at, tensor in enumerate(found)}
    return {"default": found}
