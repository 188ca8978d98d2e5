"""The configuration file, parsed once: behind it there are only typed values."""

import difflib
import json
import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
    model_validator,
)

from extract.sources.reading import Reading
from extract.sources.schemes import has_path
from linprobe.job.errors import ConfigError
from linprobe.job.limits import MOST_FOLDS, MOST_SEEDS, MOST_WORKERS
from store.extractor_names import MAX_VIEWS
from store.metrics import SELECTION_METRICS
from store.names import full_name

__all__ = [
    "DatasetConfig",
    "ExtractorConfig",
    "GateConfig",
    "JobConfig",
    "MetricsConfig",
    "NotifyConfig",
    "ProbeConfig",
    "ReportConfig",
    "as_toml",
    "nearest",
]


def _as_list(value: Any) -> Any:
    """`shots = 5` is short for `shots = [5]`."""
    return value if isinstance(value, list | tuple) else (value,)


if TYPE_CHECKING:
    _Metric = str
else:
    _Metric = Literal[SELECTION_METRICS]
_Shots = Annotated[int, Field(strict=True, ge=1)] | Literal["all"]
_Share = Annotated[float, Field(strict=True, gt=0, le=1)]
_Name = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
_Views = Annotated[int, Field(strict=True, ge=0, le=MAX_VIEWS)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class DatasetConfig(_Table):
    """`[[datasets]]`: where images come from, and which of them train and test."""

    name: _Name = ""
    source: _Name
    splits: tuple[_Name, ...] = ()
    train: _Name | None = None
    validation: _Name | None = None
    test: _Name | None = None
    metric: _Metric = "accuracy"
    max_bad: Annotated[int, Field(strict=True)] | str = 0
    max_shrink: Annotated[int, Field(strict=True)] | str = "10%"
    layout: Literal["classes", "parts"] | None = None
    group: str | None = None
    group_duplicates: StrictBool = False
    merge: StrictBool = False

    @property
    def reading(self) -> Reading:
        """How its source is read."""
        return Reading(layout=self.layout, group=self.group, merge=self.merge)

    @property
    def stored_name(self) -> str:
        """What the store calls it: a folder or file without a name of its own by its full path.

        `folder:data` is another dataset in another current folder.
        """
        return full_name(self.source) if self.name == self.source and has_path(self.source) else self.name

    @model_validator(mode="before")
    @classmethod
    def _name_after_source(cls, values: Any) -> Any:
        if isinstance(values, dict) and "name" not in values and isinstance(values.get("source"), str):
            return {**values, "name": values["source"]}
        return values


class ExtractorConfig(_Table):
    """`[[extractors]]`: what to run; what is stated here of a registered one must be true.

    Preset and the single fields of the preprocessing that follow it are free to choose.
    """

    name: _Name
    engine: Literal["auto", "tensorflow", "openvino"] = "auto"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    size: int | None = Field(default=None, ge=1, le=4096, strict=True)
    value_range: str | None = Field(default=None, alias="range")
    dim: int | None = Field(default=None, ge=1, strict=True)
    output: str | None = None
    preset: str = "lesson"
    resize: str | None = None
    antialias: StrictBool | None = None
    crop: str | None = None
    pixels: str | None = None
    orientation: Literal["exif", "stored"] | None = None
    background: str | None = None
    precision: str = "float32"
    dtype: str = "float32"
    trust: StrictBool = False
    views: _Views = 0


_Folds = Annotated[int, Field(ge=0, le=MOST_FOLDS, strict=True)]


class ProbeConfig(BaseModel):
    """`[[probes]]`: which head to train; every other key is an option of that head."""

    model_config = ConfigDict(extra="allow", frozen=True)

    head: _Name
    seeds: int | None = Field(default=None, ge=1, le=MOST_SEEDS, strict=True)
    shots: Annotated[tuple[_Shots, ...], BeforeValidator(_as_list)] = ("all",)
    train_shares: Annotated[tuple[_Share, ...], BeforeValidator(_as_list)] = (1.0,)
    folds: _Folds = 0
    views: _Views = 0

    @property
    def options(self) -> Mapping[str, Any]:
        """What stands beside the fields above."""
        return dict(self.model_extra or {})


class ReportConfig(_Table):
    """`[report]`: where the report goes."""

    out: Path = Path("linprobe-report")


_Percent = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?%$")]


class GateConfig(_Table):
    """`[gate]`: how much worse than its pinned baseline a result may be, and what it must reach in any case."""

    max_drop: float | None = Field(default=None, ge=0, le=1, strict=True)
    baselines: Annotated[tuple[_Name, ...], Field(min_length=1)] | None = None
    level: float = Field(default=0.01, gt=0, lt=0.5, strict=True)
    min_accuracy: float | None = Field(default=None, gt=0, le=1, strict=True)
    max_quarantined: Annotated[int, Field(ge=0, strict=True)] | _Percent | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if (self.max_drop is None) != (self.baselines is None):
            raise ValueError("max_drop and baselines need each other: how far below which runs?")
        if self.max_drop is None and self.min_accuracy is None and self.max_quarantined is None:
            raise ValueError("nothing is asked; max_drop with baselines, min_accuracy or max_quarantined expected")
        return self


def _is_told(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Refuse a command line whose quotes do not close; the value is not repeated, for passwords stand there."""
    if isinstance(value, str) and not value.startswith(("https://", "http://")):
        shlex.split(value)
    return value


_Told = Annotated[_Name | Annotated[tuple[_Name, ...], Field(min_length=1)], AfterValidator(_is_told)] | None


class NotifyConfig(_Table):
    """`[notify]`: a command or a URL that gets the night's document; `timeout` is when it is given up, in seconds."""

    on_start: _Told = None
    on_success: _Told = None
    on_failure: _Told = None
    on_undecided: _Told = None
    timeout: float = Field(default=30.0, gt=0, le=3600, strict=True)


class MetricsConfig(_Table):
    """`[metrics]`: the file in which Prometheus finds the last night's numbers."""

    textfile: Path


class JobConfig(_Table):
    """A whole job: every dataset through every extractor, every head on each."""

    store: Path | None = None
    workers: Annotated[int, Field(strict=True, ge=1, le=MOST_WORKERS)] | Literal["auto"] = 1
    require_lock: StrictBool = False
    datasets: tuple[DatasetConfig, ...] = ()
    extractors: tuple[ExtractorConfig, ...] = ()
    probes: tuple[ProbeConfig, ...] = ()
    report: ReportConfig = ReportConfig()
    gate: GateConfig | None = None
    notify: NotifyConfig | None = None
    metrics: MetricsConfig | None = None

    @classmethod
    def from_toml(cls, path: Path) -> "JobConfig":
        """Read a configuration file.

        Raises:
            ConfigError: naming file, key, what was expected and, for an unknown key, the nearest.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except IsADirectoryError as error:
            raise ConfigError(
                f"{path}: a folder, and a configuration file expected; images are named by --dataset folder:{path}."
            ) from error
        except FileNotFoundError as error:
            raise ConfigError(
                f"{path}: no such configuration file; 'linprobe config init {path}' writes one."
            ) from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: UTF-8 expected, as TOML is written, found other ({error.reason}).") from error
        except RecursionError as error:
            raise ConfigError(f"{path}: tables or lists nested deeper than a configuration has.") from error
        except ValueError as error:  # TOMLDecodeError, and what Python says of numbers of thousands of digits
            raise ConfigError(f"{path}: not TOML: {error}.") from error
        return cls.from_mapping(values, where=str(path))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, where: str) -> "JobConfig":
        """Check a job that was read, or that a program states.

        Args:
            values: as a file has them.
            where: for messages: the file, or the function.

        Raises:
            ConfigError: naming key, what was expected and, for an unknown key, the nearest.
        """
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(f"{where}: {'; '.join(_describe(error.errors()))}.") from error
        for kind, names in (
            ("dataset", [dataset.name for dataset in config.datasets]),
            ("extractor", [extractor.name for extractor in config.extractors]),
        ):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ConfigError(f"{where}: the {kind} {twice!r} is duplicated; give each a name of its own.")
        config._require_views(where)
        return config

    def _require_views(self, where: str) -> None:
        """Raise ConfigError where a probe asks for views that none of this job's extractions makes."""
        for number, probe in enumerate(self.probes, 1):
            for extractor in self.extractors:
                if probe.views > extractor.views:
                    raise ConfigError(
                        f"{where}: probes.{number}.views: at most the {extractor.views} views of the extractor "
                        f"{extractor.name!r} expected, got {probe.views}; give that extractor views = {probe.views}."
                    )


_TABLES: dict[str, type[BaseModel]] = {
    "datasets": DatasetConfig,
    "extractors": ExtractorConfig,
    "probes": ProbeConfig,
    "report": ReportConfig,
    "gate": GateConfig,
    "notify": NotifyConfig,
    "metrics": MetricsConfig,
}


# What each kind of pydantic's errors expected, in a person's words; its own texts speak of Python.
_EXPECTED = {
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "path_type": "a path",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "too_short": "at least {min_length} in the list",
    "greater_than_equal": "{ge:g} or more",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "less than {lt:g}",
    "string_pattern_mismatch": "a percentage such as '0.5%'",
    "literal_error": "{expected}",
}


def _describe(errors: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence per key that is wrong: which, what was expected, what was found."""
    sentences: dict[str, str] = {}
    expected: dict[str, list[str]] = {}
    for error in errors:
        where = _where(error["loc"])
        if error["type"] == "extra_forbidden":
            table = _TABLES.get(str(error["loc"][0])) if len(error["loc"]) > 1 else JobConfig
            known = [field.alias or name for name, field in (table or JobConfig).model_fields.items()]
            sentences[where] = f"{where}: no such key; {nearest(str(error['loc'][-1]), known)}"
        elif error["type"] == "value_error":
            sentences[where] = f"{where}: {error['ctx']['error']}"
        elif error["type"] == "missing":
            sentences[where] = f"{where}: this key is missing"
        else:
            # A key that may be one thing or another has an error for each.
            text = _EXPECTED.get(error["type"], error["msg"]).format(**error.get("ctx", {}))
            expected.setdefault(where, []).append(text)
            wanted = " or ".join(dict.fromkeys(expected[where]))
            # A command or a URL is not repeated: passwords stand there.
            got = "another value" if error["loc"][0] == "notify" else as_toml(error["input"])
            sentences[where] = f"{where}: {wanted} expected, got {got}"
    return list(sentences.values())


def _where(location: Sequence[int | str]) -> str:
    """Return a key as `datasets.1.train`, without what pydantic adds about alternatives of a type."""
    table = _TABLES.get(str(location[0]))
    if table is None:
        # What follows are pydantic's words for alternatives of a type.
        return str(location[0])
    known = {field.alias or name for name, field in table.model_fields.items()}
    parts = [
        str(part + 1) if isinstance(part, int) else part
        for at, part in enumerate(location)
        if at < 2 or isinstance(part, int) or part in known or at == 2
    ]
    return ".".join(parts)


def as_toml(value: object) -> str:
    """Return a value as TOML writes it; a table in a word."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, Path):
        return json.dumps(str(value), ensure_ascii=False)
    # Texts, numbers and truths are written in JSON as in TOML; moments are written as they are.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float) else str(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint: the nearest known name, if there is one near, and all that are known."""
    names = list(known)
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return (f"did you mean {found[0]!r}? " if found else "") + f"known: {', '.join(names)}"
