"""What a command is about: its datasets, extractors and probes, from a file, flags, or both."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from extract.sources.schemes import guess_scheme
from linprobe.job.config import DatasetConfig, ExtractorConfig, JobConfig, ProbeConfig, nearest
from linprobe.job.errors import ConfigError
from store.extractor_names import split_view_name

__all__ = ["Selection", "select"]

DEFAULT_EXTRACTOR = "efficientnet_lite0"

_Entry = TypeVar("_Entry")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a command line chooses.

    Attributes:
        config: the file, if one was given.
        datasets: names of the file, or sources where there is no file.
        extractors: likewise.
        heads: names of heads.
        name: what the one dataset that a flag gives is called.
    """

    config: Path | None = None
    datasets: Sequence[str] = ()
    extractors: Sequence[str] = ()
    heads: Sequence[str] = ()
    name: str | None = None


def select(selection: Selection, needs_probes: bool = False, needs_datasets: bool = True) -> JobConfig:
    """Return the job that a command line means.

    With a file, flags narrow it to some of its entries. Without one, they are the job.

    Raises:
        ConfigError: a flag names nothing in the file, or something is missing.
    """
    config = JobConfig.from_toml(selection.config) if selection.config else JobConfig()
    datasets = config.datasets
    _require_one_to_name(selection)
    extractors = config.extractors or (ExtractorConfig(name=DEFAULT_EXTRACTOR),)
    if selection.datasets:
        made = [_dataset(source, selection.name) for source in selection.datasets]
        by_name = {entry.name: entry for entry in datasets}
        datasets = tuple(_narrow("dataset", selection.datasets, by_name, file=selection.config) if datasets else made)
    if selection.extractors:
        named = [ExtractorConfig(name=name) for name in selection.extractors]
        known = {entry.name: entry for entry in extractors}
        extractors = tuple(
            _narrow("extractor", selection.extractors, known, file=selection.config) if config.extractors else named
        )
    probes = config.probes
    if selection.heads:
        chosen = [[p for p in probes if p.head == head] or [ProbeConfig(head=head)] for head in selection.heads]
        probes = tuple(probe for found in chosen for probe in found)
    probes = probes or (ProbeConfig(head="logistic"),)
    where = f"{selection.config}: " if selection.config else ""
    _check_heads(config.probes, where)
    for entry in extractors:
        _refuse_view(entry.name)
    if not datasets and needs_datasets:
        raise ConfigError(f"{where}no dataset; name one with --dataset, or in a [[datasets]] table of a file.")
    return config.model_copy(
        update={"datasets": datasets, "extractors": extractors, "probes": probes if needs_probes else config.probes}
    )


def _require_one_to_name(selection: Selection) -> None:
    """Raise ConfigError where --name names nothing, or several at once."""
    if selection.name is None:
        return
    if not selection.name.strip():
        raise ConfigError("--name: a text expected, got an empty one; leave the flag out for the source's own name.")
    if selection.config:
        raise ConfigError(f"--name {selection.name}: {selection.config} names its datasets; change name = … there.")
    if len(selection.datasets) != 1:
        raise ConfigError(
            f"--name {selection.name}: one --dataset expected to be called so, {len(selection.datasets)} given."
        )


def _dataset(source: str, name: str | None) -> DatasetConfig:
    path = Path(source).expanduser()
    scheme = guess_scheme(path)
    if ":" not in source and scheme:
        kind = "a folder" if path.is_dir() else "a file"
        raise ConfigError(f"--dataset {source}: {kind}, and a source expected; did you mean {scheme}:{source}?")
    return DatasetConfig(source=source, name=name) if name else DatasetConfig(source=source)


def _check_heads(probes: Sequence[ProbeConfig], where: str) -> None:
    """Raise ConfigError for a head or an option that is none: before a night's extraction, not after it."""
    if not probes:
        return
    from probe import ProbeError
    from probe.heads.registry import resolve_options

    for number, probe in enumerate(probes, 1):
        try:
            resolve_options(probe.head, probe.options)
        except ProbeError as error:
            raise ConfigError(f"{where}probes.{number}: {error}") from error


def _refuse_view(name: str) -> None:
    """Raise ConfigError where an extractor is a view: on its own it would be validated and tested on."""
    plain, view = split_view_name(name)
    if view:
        raise ConfigError(
            f"extractor {name!r}: views are for training alone; take {plain!r} with --views {view}, or views = {view} "
            "in its [[extractors]] table."
        )


def _narrow(kind: str, names: Sequence[str], known: dict[str, _Entry], *, file: Path | None) -> list[_Entry]:
    for name in names:
        if name not in known:
            raise ConfigError(f"{file}: has no {kind} {name!r}; {nearest(name, known)}.")
    return [known[name] for name in names]
