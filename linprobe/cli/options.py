"""What several commands share: their options, and how each begins and ends."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from extract.sources.schemes import has_path, source_forms

if TYPE_CHECKING:
    from linprobe.job.config import JobConfig
    from linprobe.job.console import Console
    from linprobe.job.errors import ExitCode
    from linprobe.job.failures import Failure
    from linprobe.job.session import Session

__all__ = [
    "Config",
    "ConfigRequired",
    "Dataset",
    "DatasetName",
    "ExtractorName",
    "Json",
    "LogFormat",
    "StorePath",
    "Trust",
    "finish",
    "open_console",
    "open_session",
    "require_choice",
    "require_text",
    "split_commas",
    "split_sources",
]

Config = Annotated[Path | None, typer.Argument(metavar="CONFIG", help="A TOML file, such as examples/demo.toml.")]
ConfigRequired = Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file, such as examples/demo.toml.")]
_REPEATED = "May be repeated, or take commas."
_SOURCES = f"{', '.join(source_forms())}, or a name of CONFIG."
Dataset = Annotated[list[str], typer.Option("--dataset", metavar="SOURCE", help=f"{_SOURCES} {_REPEATED}")]
DatasetName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What the dataset of --dataset is called.")
]
ExtractorName = Annotated[list[str], typer.Option("--extractor", metavar="NAME", help=f"An extractor. {_REPEATED}")]
StorePath = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", help="The store; else LINPROBE_STORE, the file, ./linprobe-store."),
]
Trust = Annotated[bool, typer.Option("--trust", help="Run a SavedModel that may reach files, network or Python.")]
LOG_FORMATS = ("text", "json")
LogFormat = Annotated[
    str | None,
    typer.Option(
        "--log-format", metavar="|".join(LOG_FORMATS), help="Write a log to stderr: an event a line, with its time."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def open_session(
    store: Path | None,
    is_json: bool,
    configured: "JobConfig | None" = None,
    *,
    file: Path | None = None,
    log_format: str | None = None,
) -> "Session":
    """Return what a command works with.

    Args:
        store: the flag.
        is_json: whether stdout gets one JSON document.
        configured: the job, which may name the store and require a lock.
        file: the job's file; `linprobe.lock` is beside it.
        log_format: of what goes to stderr, `text` or `json`; None writes for people.
    """
    import os

    from linprobe.job.environment import Environment
    from linprobe.job.session import Session

    environment = Environment(os.environ)
    return Session(
        environment=environment,
        store_path=environment.store_path(store, configured.store if configured else None),
        console=open_console(is_json, log_format),
        lock_folder=file.parent if file else None,
        requires_lock=configured.require_lock if configured else False,
    )


def open_console(is_json: bool, log_format: str | None = None) -> "Console":
    """Return where the command writes; from now on all other prints go to stderr."""
    from linprobe.job.console import Console

    if log_format is not None:
        require_choice("--log-format", log_format, LOG_FORMATS)
        import os

        from linprobe.job.environment import Environment
        from linprobe.job.streams import LogLines, telling

        sys.stderr = LogLines(telling(sys.stderr), log_format, Environment(os.environ).now)
    console = Console(is_json, sys.stdout)
    # TFDS and Keras print what they do; stdout is for the result alone. `main` puts it back.
    sys.stdout = sys.stderr
    return console


def finish(failures: "Sequence[Failure]") -> None:
    """End the command with the exit code of what failed, if something did."""
    from linprobe.job.failures import worst_of

    code: ExitCode = worst_of(list(failures))
    if code:
        raise typer.Exit(int(code))


def require_choice(option: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that the option does not know.

    Raises:
        ConfigError: naming the nearest.
    """
    if value not in choices:
        from linprobe.job.config import nearest
        from linprobe.job.errors import ConfigError

        raise ConfigError(f"{option} {value}: no such choice; {nearest(value, choices)}.")


def split_commas(option: str, values: Sequence[str]) -> list[str]:
    """Return what a flag that may be repeated, or take commas, names; each once.

    Raises:
        ConfigError: a piece is empty.
    """
    pieces = [piece.strip() for value in values for piece in value.split(",")]
    for piece in pieces:
        require_text(option, piece)
    return list(dict.fromkeys(pieces))


def split_sources(option: str, values: Sequence[str]) -> list[str]:
    """Return the sources, or extractors, that a flag names, each once; a comma within a path stays in it.

    So `folder:a,folder:b`, `digits,flowers` and `bundled:digits,flowers` are two, and `folder:a,b` is one.

    Raises:
        ConfigError: a piece is empty.
    """
    found: list[str] = []
    for value in values:
        pieces: list[str] = []
        for piece in value.split(","):
            if pieces and ":" not in piece.split("/")[0] and _names_path(pieces[-1]):
                pieces[-1] += f",{piece}"
            else:
                pieces.append(piece)
        found += [piece.strip() for piece in pieces]
    for piece in found:
        require_text(option, piece)
    return list(dict.fromkeys(found))


def _names_path(piece: str) -> bool:
    """Tell whether a source, or an extractor, is named by a path; extractors are imported for commas alone."""
    from extract.extractors import names_file

    return has_path(piece) or names_file(piece)


def require_text(option: str, value: str | None) -> None:
    """Refuse a value that is there but empty: what a script makes of a variable that is not set.

    Raises:
        ConfigError: it is empty.
    """
    if value is not None and not value.strip():
        from linprobe.job.errors import ConfigError

        raise ConfigError(f"{option}: a text expected, got an empty one; leave the flag out for the default.")
