"""Which heads there are, each declared once. Reading this table imports neither TensorFlow nor scikit-learn.

A new head is a module beside this one with a model of its options and a function that trains it, and an entry here;
help, hints and the commands follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from probe.errors import HeadNotFound, nearest

if TYPE_CHECKING:
    from probe.heads.head import Head
    from probe.heads.options import HeadOptions, OptionValue
    from probe.training import Progress, Trained, TrainingData

__all__ = ["HEADS", "default_options", "describe_heads", "find_head", "resolve_options"]


@dataclass(frozen=True)
class _Entry:
    """A `Head` whose module is imported once something is asked of it: a help text needs its name alone."""

    module: str
    options_name: str
    train_name: str
    meaning: str

    @property
    def options(self) -> "type[HeadOptions]":
        found: type[HeadOptions] = getattr(import_module(self.module), self.options_name)
        return found

    def train(self, data: "TrainingData", options: "HeadOptions", on_progress: "Progress") -> "Trained":
        found: Trained = getattr(import_module(self.module), self.train_name)(data, options, on_progress)
        return found


_REGISTRY: "dict[str, Head]" = {
    "dense": _Entry("probe.heads.dense", "DenseOptions", "train_dense", "Keras Dense softmax and Adam, the lesson's"),
    "logistic": _Entry(
        "probe.heads.logistic", "LogisticOptions", "train_logistic", "logistic regression along its L2 path"
    ),
    "ridge": _Entry("probe.heads.ridge", "RidgeOptions", "train_ridge", "ridge classification, the fastest"),
    "knn": _Entry("probe.heads.knn", "KnnOptions", "train_knn", "nearest neighbours by cosine"),
}

HEADS = tuple(_REGISTRY)


def describe_heads(default: str) -> str:
    """Return every head with what it is, for a help text.

    Args:
        default: the head that is taken where none is named.
    """
    return "; ".join(
        f"{name}{' (the default)' if name == default else ''}: {head.meaning}" for name, head in _REGISTRY.items()
    )


def default_options(head: str) -> "dict[str, OptionValue]":
    """Return every option of a head with its default.

    Raises:
        HeadNotFound: there is no such head.
    """
    return resolve_options(head, {}).document()


def resolve_options(head: str, given: Mapping[str, object]) -> "HeadOptions":
    """Return every option of a head, those that are not given with their defaults.

    Raises:
        HeadNotFound: there is no such head.
        OptionError: there is no such option, or not with this value.
    """
    return find_head(head).options.parse(head, given)


def find_head(head: str) -> "Head":
    """Return the kind of head of this name.

    Raises:
        HeadNotFound: there is no such head.
    """
    try:
        return _REGISTRY[head]
    except KeyError as error:
        raise HeadNotFound(f"head {head!r}: {nearest(head, _REGISTRY)}.") from error
