"""`linprobe config`: write a job, show what is in effect, check whether it can run here."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from extract import open_source
from linprobe.commands.fetch import list_splits
from linprobe.commands.gate import pin_baselines, undecidable
from linprobe.job.config import DatasetConfig, ExtractorConfig, JobConfig, NotifyConfig, ProbeConfig, as_toml
from linprobe.job.environment import Environment
from linprobe.job.errors import ConfigError
from linprobe.job.failures import Failure, noted
from linprobe.job.session import Session
from linprobe.models.extractors import open_configured, readiness
from linprobe.models.pins import pins_of
from store import FeatureStore, StoreNotFound

__all__ = ["Checked", "check_job", "show_job", "write_starter"]

_COMMENT_AT = 44


def write_starter(path: Path) -> None:
    """Write a job that runs as it stands.

    Raises:
        ConfigError: there is something at this path, which stays as it is.
    """
    text = (resources.files("linprobe.commands") / "starter.toml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text.replace("FILE", str(path)))
    except FileExistsError as error:
        raise ConfigError(f"{path}: is there already, and stays as it is; name another file.") from error


def show_job(
    job: JobConfig, written: JobConfig, environment: Environment, *, store_flag: Path | None
) -> tuple[str, dict[str, Any]]:
    """Return a job as a configuration file with every key, and where each value comes from; and as a document.

    Args:
        job: with defaults; see `linprobe.job.plan.select`.
        written: what the file says.
        environment: whose variables may name the store.
        store_flag: the store of the command line.
    """
    path = environment.store_path(store_flag, written.store)
    named = "environment" if environment.variables.get("LINPROBE_STORE") else "file" if written.store else "default"
    lines = [
        _line("store", path, "flag" if store_flag else named),
        _line("workers", job.workers, _origin(job, "workers")),
    ]
    for name, tables in (("datasets", job.datasets), ("extractors", job.extractors), ("probes", job.probes)):
        written_tables = getattr(written, name)
        for table in tables:
            lines += ["", f"[[{name}]]", *_table(table, is_written=table in written_tables)]
    lines += ["", "[report]", *_table(job.report)]
    if job.gate:
        lines += ["", "[gate]", *_table(job.gate)]
    if job.notify:
        lines += ["", "[notify]", *_table(_hidden(job.notify))]
    if job.metrics:
        lines += ["", "[metrics]", *_table(job.metrics)]
    shown = job.model_copy(update={"notify": _hidden(job.notify)} if job.notify else {})
    document = shown.model_dump(mode="json", by_alias=True) | {"store": str(path)}
    document["probes"] = [dict(_values(probe)) for probe in job.probes]
    return "\n".join(lines), {"config": document}


def _hidden(config: NotifyConfig) -> NotifyConfig:
    """Return whom to notify without their commands and URLs: passwords stand there."""
    told = {name: "(hidden)" for name, value in config if name.startswith("on_") and value is not None}
    return config.model_copy(update=told)


def _table(table: BaseModel, is_written: bool = True) -> Iterator[str]:
    for key, value in _values(table):
        yield _line(key, value, _origin(table, key) if is_written else "default")


def _values(table: BaseModel) -> Iterator[tuple[str, Any]]:
    """Yield keys and values, of a probe those of its head too."""
    for name, described in type(table).model_fields.items():
        yield described.alias or name, getattr(table, name)
    if isinstance(table, ProbeConfig):
        from probe.heads.registry import resolve_options

        yield from resolve_options(table.head, table.options).document().items()


def _origin(table: BaseModel, key: str) -> str:
    names = {described.alias or name: name for name, described in type(table).model_fields.items()}
    return "file" if names.get(key, key) in table.model_fields_set else "default"


def _line(key: str, value: Any, origin: str) -> str:
    # TOML has no word for nothing.
    stated = f"# {key}: not set" if value is None else f"{key} = {as_toml(value)}"
    return f"{stated:<{_COMMENT_AT}}# {origin}"


@dataclass
class Checked:
    """What a check found.

    Attributes:
        parts: a document per dataset and extractor that is ready, or that the network must bring.
        failures: what keeps the job from running.
    """

    parts: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return what --json prints."""
        return {"parts": self.parts, "errors": [failure.row() for failure in self.failures]}


def check_job(job: JobConfig, session: Session) -> Checked:
    """Look at all that a job names, without network and without computing anything; tell of all that is wrong.

    Folders, model files, splits and baselines are looked at. What may have to be downloaded is not: `fetch` does that.

    Args:
        job: heads and options have been checked, see `linprobe.job.plan.select`.
        session: where the caches and the store are, and who is told.
    """
    checked = Checked()
    session.environment.prepare_frameworks()
    steps = [(entry.name, partial(_check_dataset, entry, session)) for entry in job.datasets]
    steps += [(entry.name, partial(_check_extractor, entry, session)) for entry in job.extractors]
    steps += [(str(session.store_path), partial(_check_store, job, session.store_path))]
    for name, check in steps:
        with noted(name, checked.failures, session.console):
            found = check()
            checked.parts.append({"part": name, "found": found})
            session.say(f"{name}: {found}")
    return checked


def _check_dataset(entry: DatasetConfig, session: Session) -> str:
    if entry.source.startswith("tfds:"):
        return "not looked at; 'linprobe fetch' brings it"
    source = open_source(entry.source, session.environment.source_caches(), reading=entry.reading)
    for split in entry.splits:
        if split not in source.splits:
            raise ConfigError(f"splits: no base split {split!r}; there are {', '.join(source.splits)}.")
    from probe.splits import base_splits

    for split in filter(None, (entry.train, entry.validation, entry.test)):
        base_splits(split, source.splits)
    return f"ready, {list_splits({split: source.count(split) for split in source.splits})}"


def _check_extractor(entry: ExtractorConfig, session: Session) -> str:
    from extract.extractors import needs_network

    if needs_network(entry.name):
        return "not looked at; 'linprobe fetch' brings it"
    extractor = open_configured(entry, session.environment)
    is_pinned = pins_of(session).require(extractor)
    found = readiness(extractor) if is_pinned else f"{readiness(extractor)}, not pinned yet"
    return f"{found}; {extractor.program()}" if extractor.program else found


def _check_store(job: JobConfig, path: Path) -> str:
    try:
        store = FeatureStore(path)
    except StoreNotFound:
        if job.gate:
            raise
        return "no store yet; the first extraction makes it"
    if job.gate is None:
        return "a store"
    gate = pin_baselines(job.gate, store)
    found = f"a store, with all {len(gate.baselines)} baselines" if gate.baselines else "a store"
    return "; ".join([found, *undecidable(gate, store)])
