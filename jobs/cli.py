"""The command line. Everything heavy is imported inside the command that needs it."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from jobs.console import Console
    from jobs.errors import ExitCode
    from jobs.failures import Failure

__all__ = ["app", "main"]

# Plain help: Rich's costs a third of a second at every start.
app = typer.Typer(
    name="linprobe",
    help="Run a frozen image feature extractor once over every dataset, keep the features, train probes on them.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
store_app = typer.Typer(help="Look into the store.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(store_app, name="store")

# Typer carries its own copy of Click and exports only this subclass of its error for bad usage.
_UsageError: Any = typer.BadParameter.__bases__[0]

Config = Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="A TOML file, such as examples/demo.toml.")]
ConfigRequired = Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file, such as examples/demo.toml.")]
Dataset = Annotated[list[str], typer.Option("--dataset", metavar="SOURCE", help="A source, or a name of the file.")]
ExtractorName = Annotated[list[str], typer.Option("--extractor", metavar="NAME", help="An extractor.")]
StorePath = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", help="The store; else LINPROBE_STORE, the file, ./linprobe-store."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command()
def extract(
    config: Config = None,
    dataset: Dataset = [],
    extractor: ExtractorName = [],
    split: Annotated[list[str], typer.Option("--split", metavar="S", help="A base split; all by default.")] = [],
    engine: Annotated[str | None, typer.Option(metavar="E", help="auto, tensorflow or openvino.")] = None,
    max_bad: Annotated[
        str | None, typer.Option("--max-bad", metavar="N|P%", help="How many pictures may be undecodable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be computed; compute nothing.")] = False,
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Run extractors over datasets, each picture once, and keep the features."""
    from jobs.extracting import ExtractOptions, extract_all
    from jobs.plan import Selection, select
    from jobs.surroundings import Surroundings
    from store import FeatureStore

    surroundings = Surroundings(os.environ)
    job = select(Selection(config, dataset, extractor))
    path = surroundings.store_path(store, job.store)
    console = _console(json)

    def opened() -> FeatureStore:
        return FeatureStore(path) if dry_run else FeatureStore.create(path)

    _require_store_format(path)
    options = ExtractOptions(tuple(split), engine, max_bad, dry_run)
    outcome = extract_all(job, opened, path / "cache", options, surroundings, console)
    errors = [failure.row() for failure in outcome.failures]
    console.result("", {"feature_sets": outcome.rows, "errors": errors})
    _finish(outcome.failures)


@app.command()
def probe(
    config: Config = None,
    dataset: Dataset = [],
    extractor: ExtractorName = [],
    head: Annotated[list[str], typer.Option("--head", metavar="HEAD", help="dense or logistic (the default).")] = [],
    train: Annotated[str | None, typer.Option(metavar="SPLIT", help="Such as train[:80%].")] = None,
    validation: Annotated[str | None, typer.Option(metavar="SPLIT")] = None,
    test: Annotated[str | None, typer.Option(metavar="SPLIT")] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", min=1, help="Train with seeds 0 to N - 1.")] = None,
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Train heads on cached features, and test each once."""
    from jobs.plan import Selection, select
    from jobs.probing import ProbeOptions, probe_all
    from jobs.surroundings import Surroundings
    from store import FeatureStore

    surroundings = Surroundings(os.environ)
    job = select(Selection(config, dataset, extractor, head), needs_probes=True)
    opened = FeatureStore(surroundings.store_path(store, job.store))
    console = _console(json)
    outcome = probe_all(job, opened, ProbeOptions(train, validation, test, seeds), surroundings, console)
    console.result("", {"runs": outcome.rows, "errors": [failure.row() for failure in outcome.failures]})
    _finish(outcome.failures)


@app.command()
def report(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the site goes.")] = Path("linprobe-report"),
    table_format: Annotated[
        str, typer.Option("--format", metavar="F", help="site, or markdown, csv or json on stdout.")
    ] = "site",
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Write the report of all runs: a site that opens from disk, or a table."""
    from jobs.reporting import TABLE_FORMATS, report_table, write_report
    from jobs.surroundings import Surroundings
    from store import FeatureStore

    _require_choice("--format", table_format, ("site", *TABLE_FORMATS))
    surroundings = Surroundings(os.environ)
    opened = FeatureStore(surroundings.store_path(store, None))
    console = _console(json)
    if table_format == "site":
        page = write_report(opened, out, surroundings).absolute()
        console.result(str(page), {"report": str(page)})
    else:
        text, rows = report_table(opened, table_format)
        console.result(text.rstrip("\n"), {"leaderboard": rows})


@app.command()
def nightly(config: ConfigRequired, store: StorePath = None, json: Json = False) -> None:
    """Extract, probe, report and gate, under one lock."""
    from jobs.nightly import run_night
    from jobs.plan import Selection, select
    from jobs.surroundings import Surroundings

    surroundings = Surroundings(os.environ)
    job = select(Selection(config), needs_probes=True)
    console = _console(json)
    night = run_night(job, surroundings.store_path(store, job.store), surroundings, console)
    console.result("\n".join(night.lines), night.document)
    _finish(night.failures)


@app.command()
def schedule(
    config: ConfigRequired,
    schedule_format: Annotated[str, typer.Option("--format", metavar="F", help="cron or systemd.")] = "cron",
    at: Annotated[str, typer.Option("--at", metavar="HH:MM", help="The time of day.")] = "02:17",
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Print what makes this machine run a job every night."""
    from jobs.config import JobConfig
    from jobs.schedule import SCHEDULE_FORMATS, schedule_text
    from jobs.surroundings import Surroundings

    _require_choice("--format", schedule_format, SCHEDULE_FORMATS)
    # The night must use the store that is used by day, whose name may stand in the environment alone.
    path = Surroundings(os.environ).store_path(store, JobConfig.from_toml(config).store)
    text = schedule_text(schedule_format, config, at, Path.cwd(), store=path)
    _console(json).result(text.rstrip("\n"), {"format": schedule_format, "text": text})


@app.command()
def doctor(store: StorePath = None, json: Json = False) -> None:
    """Look at what this machine has, and say what is missing."""
    from jobs.doctor import diagnose
    from jobs.surroundings import Surroundings

    surroundings = Surroundings(os.environ)
    diagnosis = diagnose(surroundings.store_path(store, None), surroundings)
    _console(json).result(diagnosis.text(), diagnosis.document())
    raise typer.Exit(diagnosis.code)


@store_app.command("ls")
def store_ls(store: StorePath = None, json: Json = False) -> None:
    """List the published sets."""
    from jobs.listing import list_sets
    from jobs.surroundings import Surroundings
    from store import FeatureStore

    text, document = list_sets(FeatureStore(Surroundings(os.environ).store_path(store, None)))
    _console(json).result(text, document)


@store_app.command("show")
def store_show(
    key: Annotated[str, typer.Argument(help="A set's key or run's id, or a unique prefix of one.")],
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Show one set or one run."""
    from jobs.listing import show
    from jobs.surroundings import Surroundings
    from store import FeatureStore

    text, document = show(FeatureStore(Surroundings(os.environ).store_path(store, None)), key)
    _console(json).result(text, document)


@store_app.command("verify")
def store_verify(
    deep: Annotated[
        bool, typer.Option("--deep", help="Check what the files say too, and compute some rows again.")
    ] = False,
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Check every file of the store."""
    from jobs.errors import ExitCode
    from jobs.surroundings import Surroundings
    from jobs.upkeep import verify
    from store import FeatureStore

    surroundings = Surroundings(os.environ)
    console = _console(json)
    opened = FeatureStore(surroundings.store_path(store, None))
    text, document, is_sound = verify(opened, deep, surroundings, console)
    console.result(text, document)
    if not is_sound:
        raise typer.Exit(int(ExitCode.IO))


@store_app.command("gc")
def store_gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")] = False,
    grace: Annotated[float, typer.Option(metavar="HOURS", min=0, help="How old what is left over must be.")] = 24,
    keep_old: Annotated[
        float, typer.Option("--keep-old", metavar="DAYS", min=0, help="How long a set must have had no name.")
    ] = 30,
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Remove what nothing needs any more."""
    from jobs.errors import ExitCode
    from jobs.surroundings import Surroundings
    from jobs.upkeep import collect
    from store import FeatureStore, GarbageRule

    surroundings = Surroundings(os.environ)
    opened = FeatureStore(surroundings.store_path(store, None))
    text, document = collect(opened, GarbageRule(grace, keep_old), dry_run, surroundings)
    _console(json).result(text, document)
    if document["hindrances"]:
        raise typer.Exit(int(ExitCode.IO))


@store_app.command("export")
def store_export(
    key: Annotated[str, typer.Argument(help="A set's key, or a unique prefix of one.")],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="The file to write.")],
    export_format: Annotated[str, typer.Option("--format", metavar="F", help="parquet, csv or npz.")] = "parquet",
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Write one set to a file for other tools."""
    from jobs.surroundings import Surroundings
    from jobs.transfer import export
    from store import EXPORT_FORMATS, FeatureStore

    _require_choice("--format", export_format, list(EXPORT_FORMATS))
    opened = FeatureStore(Surroundings(os.environ).store_path(store, None))
    text, document = export(opened, key, export_format, out)
    _console(json).result(text, document)


@store_app.command("import")
def store_import(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.npz", help="features, labels, perhaps class_names, example_ids.")
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What the dataset is called.")],
    extractor: Annotated[str, typer.Option("--extractor", metavar="NAME", help="What made the features.")],
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Take in features that were made elsewhere, as base split `all`."""
    from jobs.surroundings import Surroundings
    from jobs.transfer import take_in
    from store import FeatureStore

    surroundings = Surroundings(os.environ)
    path = surroundings.store_path(store, None)
    _require_store_format(path)
    text, document = take_in(lambda: FeatureStore.create(path), file, name, extractor, surroundings)
    _console(json).result(text, document)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; no user's mistake ends in a traceback."""
    stdout = sys.stdout
    try:
        with _stopping_softly():
            found = app(args=arguments, prog_name="linprobe", standalone_mode=False)
        return int(found or 0)
    except _UsageError as error:
        error.show()
        return 2
    except BrokenPipeError:
        return _leave_quietly()
    except SystemExit as error:
        # What Typer makes of a broken pipe; nobody else here exits so.
        if isinstance(error.__context__, BrokenPipeError):
            return _leave_quietly()
        return _report_error(error)
    # The one place that catches everything: what it is decides the exit code.
    except BaseException as error:  # noqa: BLE001
        return _report_error(error)
    finally:
        sys.stdout = stdout


class _Stopped(BaseException):
    """The process was told to stop. Not a KeyboardInterrupt, of which Typer makes an exit code of its own."""


def _leave_quietly() -> int:
    # The reader of stdout has left (head, less): there is nobody to tell.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return 0


def _report_error(error: BaseException) -> int:
    from jobs.errors import ExitCode, exit_code

    code = ExitCode.TRY_AGAIN if isinstance(error, _Stopped) else exit_code(error)
    if code is ExitCode.OUR_FAULT:
        import traceback

        traceback.print_exception(error)
        print("linprobe: this is a fault of ours; nothing that was published is affected.", file=sys.stderr)
    elif isinstance(error, _Stopped):
        print("linprobe: interrupted; what was computed is kept, run it again to go on.", file=sys.stderr)
    else:
        print(f"linprobe: {error}", file=sys.stderr)
    return int(code)


@contextmanager
def _stopping_softly() -> Iterator[None]:
    """Make a scheduler's SIGTERM and a person's Ctrl-C end the job in the same way."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stopped

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _console(is_json: bool) -> "Console":
    from jobs.console import Console

    console = Console(is_json, sys.stdout)
    # TFDS and Keras print what they do; stdout is for the result alone. `main` puts it back.
    sys.stdout = sys.stderr
    return console


def _finish(failures: "Sequence[Failure]") -> None:
    from jobs.failures import worst_of

    code: ExitCode = worst_of(list(failures))
    if code:
        raise typer.Exit(int(code))


def _require_choice(option: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        from jobs.config import nearest
        from jobs.errors import ConfigError

        raise ConfigError(f"{option} {value}: no such choice; {nearest(value, choices)}.")


def _require_store_format(path: Path) -> None:
    """Fail early, before models are loaded, where the folder is a store of another version."""
    from store import FeatureStore, StoreNotFound

    try:
        FeatureStore(path)
    except StoreNotFound:
        return
