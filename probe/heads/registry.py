"""Which heads there are, each declared once. Reading this table imports neither TensorFlow nor scikit-learn.

A new head is a module beside this one with a model of its options and a function that trains it, and an entry here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from probe.errors import HeadNotFound, nearest
from probe.heads.dense import train_dense
from probe.heads.dense_options import DenseOptions
from probe.heads.head import Head
from probe.heads.knn import KnnOptions, train_knn
from probe.heads.logistic import LogisticOptions, train_logistic
from probe.heads.options import HeadOptions, OptionValue
from probe.heads.ridge import RidgeOptions, train_ridge
from probe.training import Progress, Trained, TrainingData

__all__ = ["HEADS", "default_options", "find_head", "resolve_options"]

_Options = TypeVar("_Options", bound=HeadOptions)


@dataclass(frozen=True)
class _Entry(Generic[_Options]):
    options: type[_Options]
    train: Callable[[TrainingData, _Options, Progress], Trained]
    meaning: str


_REGISTRY: dict[str, Head] = {
    "dense": _Entry(DenseOptions, train_dense, "Keras Dense softmax, Adam, a fixed number of epochs: the lesson's"),
    "logistic": _Entry(LogisticOptions, train_logistic, "logistic regression along its L2 path, each fit certified"),
    "ridge": _Entry(RidgeOptions, train_ridge, "ridge classification, every penalty from one decomposition"),
    "knn": _Entry(KnnOptions, train_knn, "the nearest neighbours by cosine; nothing is trained"),
}

HEADS = tuple(_REGISTRY)


def default_options(head: str) -> dict[str, OptionValue]:
    """Return every option of a head with its default.

    Raises:
        HeadNotFound: there is no such head.
    """
    return resolve_options(head, {}).document()


def resolve_options(head: str, given: Mapping[str, object]) -> HeadOptions:
    """Return every option of a head, those that are not given with their defaults.

    Raises:
        HeadNotFound: there is no such head.
        OptionError: there is no such option, or not with this value.
    """
    return find_head(head).options.parse(head, given)


def find_head(head: str) -> Head:
    """Return the kind of head of this name.

    Raises:
        HeadNotFound: there is no such head.
    """
    try:
        return _REGISTRY[head]
    except KeyError as error:
        raise HeadNotFound(f"head {head!r}: {nearest(head, _REGISTRY)}.") from error
