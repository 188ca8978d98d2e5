"""Which heads there are. Reading this table imports neither TensorFlow nor scikit-learn."""

from collections.abc import Mapping
from dataclasses import dataclass

from probe.errors import HeadNotFound, nearest
from probe.heads import dense, knn, logistic, ridge
from probe.heads.options import Option, OptionValue, complete_options
from probe.heads.training import Recipe

__all__ = ["HEADS", "default_options", "find_recipe", "resolve_options"]


@dataclass(frozen=True)
class _Entry:
    options: tuple[Option, ...]
    recipe: Recipe


_REGISTRY = {
    "dense": _Entry(dense.OPTIONS, dense.train_dense),
    "logistic": _Entry(logistic.OPTIONS, logistic.train_logistic),
    "ridge": _Entry(ridge.OPTIONS, ridge.train_ridge),
    "knn": _Entry(knn.OPTIONS, knn.train_knn),
}

HEADS = tuple(_REGISTRY)


def default_options(head: str) -> dict[str, OptionValue]:
    """Return every option of a head with its default.

    Raises:
        HeadNotFound: there is no such head.
    """
    return resolve_options(head, {})


def resolve_options(head: str, given: Mapping[str, object]) -> dict[str, OptionValue]:
    """Return every option of a head, those that are not given with their defaults.

    Raises:
        HeadNotFound: there is no such head.
        OptionError: there is no such option, or not with this value.
    """
    return complete_options(head, _find(head).options, given)


def find_recipe(head: str) -> Recipe:
    """Return what selects and trains a head.

    Raises:
        HeadNotFound: there is no such head.
    """
    return _find(head).recipe


def _find(head: str) -> _Entry:
    try:
        return _REGISTRY[head]
    except KeyError as error:
        raise HeadNotFound(f"head {head!r}: {nearest(head, _REGISTRY)}.") from error
