"""The IMAGE arguments of commands: files, folders and patterns, read as images without labels."""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from extract import BadData, Example
from extract.preprocessing import Preprocessing
from extract.single_images import ImageFunction, compute_each
from extract.sources.folder import IMAGE_SUFFIXES
from extract.sources.memory import MemorySource
from linprobe.job.errors import ConfigError
from linprobe.job.failures import Failure

__all__ = ["compute_images", "find_images", "memory_source", "named_examples"]

_T = TypeVar("_T")


def find_images(arguments: Sequence[str], failures: list[Failure]) -> list[Path]:
    """Return the files that arguments mean, each once, in the arguments' order.

    Args:
        arguments: files; folders, whose images (by their names' ends) are taken recursively and in the order of
            their paths, hidden ones aside; or patterns such as `flowers/**/*.jpg`.
        failures: gets those that mean nothing.

    Raises:
        ConfigError: nothing at all is left.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        paths = _meant(argument)
        if not paths:
            failures.append(Failure(argument, BadData(f"{argument}: no such image, and no image below it.")))
        found.update(dict.fromkeys(paths))
    if not found and not failures:
        raise ConfigError("IMAGE: at least one image, folder or pattern expected.")
    return list(found)


def _meant(argument: str) -> list[Path]:
    path = Path(argument).expanduser()
    if path.is_dir():
        inside = (file.relative_to(path) for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        return [path / file for file in sorted(inside) if not any(part.startswith(".") for part in file.parts)]
    if path.exists() or path.is_symlink():
        return [path]
    return [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if not Path(name).is_dir()]


def compute_images(
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    open_function: Callable[[], ImageFunction[_T]],
    *,
    failures: list[Failure],
) -> Iterator[tuple[Example, _T]]:
    """Send files through a function; one that cannot be read or decoded stops no other.

    Args:
        paths: the files.
        preprocessing: how they are decoded and resized.
        open_function: loads the function, if there is an image for it.
        failures: gets files that are no images, with the reason.

    Yields:
        The image, its path as id, and what the function gave for it; not always in the order of the paths.
    """
    for computed in compute_each(_read(paths, failures), preprocessing, open_function):
        name = computed.example.example_id
        if computed.value is None:
            failures.append(Failure(name, BadData(f"{name}: {computed.reason}.")))
        else:
            yield computed.example, computed.value


def memory_source(images: Any) -> MemorySource:
    """Return images that a program gives as a source without classes: one base split `all`, ids by position.

    Args:
        images: N paths; or (N, H, W, 3), (N, H, W, 1) or (N, H, W) uint8 pixels; or N such images of any sizes.

    Raises:
        BadData: there is none, or one is no image.
    """
    given = [images] if isinstance(images, str | os.PathLike) else list(images)
    if not given:
        raise BadData("images: at least one image expected, none given.")
    ids = [f"{at:07d}" for at in range(len(given))]
    return MemorySource("images", given, [0] * len(given), class_names=("",), example_ids=ids)


def named_examples(images: Any) -> list[Example]:
    """Return images that a program gives as examples, named by their path, else by their position.

    Args:
        images: paths, folders or patterns, or one such; or pixels, see `memory_source`.

    Raises:
        BadData: a path leads nowhere, or one is no image.
    """
    given = [images] if isinstance(images, str | os.PathLike) else list(images)
    if not given or not all(isinstance(item, str | os.PathLike) for item in given):
        return list(memory_source(given).examples("all"))
    failures: list[Failure] = []
    examples = list(_read(find_images([os.fspath(path) for path in given], failures), failures))
    for failure in failures:
        raise failure.error
    return examples


def _read(paths: Sequence[Path], failures: list[Failure]) -> Iterator[Example]:
    for path in paths:
        try:
            # Opening a pipe would wait for ever.
            if path.exists() and not path.is_file():
                raise BadData(f"{path}: not a regular file.")
            yield Example(str(path), -1, path.read_bytes())
        except (OSError, BadData) as error:
            reason = error if isinstance(error, BadData) else BadData(f"{path}: cannot be read ({error.strerror}).")
            failures.append(Failure(str(path), reason))
