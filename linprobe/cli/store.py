"""The commands that look into the store and keep it in order: `linprobe store …`."""

from pathlib import Path
from typing import Annotated

import typer

from linprobe.cli.app import store_app
from linprobe.cli.examples import epilog
from linprobe.cli.options import Json, StorePath, open_session, require_choice

__all__ = ["store_export", "store_gc", "store_import", "store_ls", "store_nights", "store_show", "store_verify"]


@store_app.command("ls", epilog=epilog("store ls"))
def store_ls(
    runs: Annotated[bool, typer.Option("--runs", help="List the runs instead, the newest last.")] = False,
    store: StorePath = None,
    json: Json = False,
) -> None:
    """List the published sets, or the runs."""
    from linprobe.commands.store_list import list_runs, list_sets

    session = open_session(store, json)
    opened = session.open_store()
    session.console.result(*(list_runs(opened) if runs else list_sets(opened)))


@store_app.command("nights", epilog=epilog("store nights"))
def store_nights(store: StorePath = None, json: Json = False) -> None:
    """List the nights: what each found and answered, and how it ended."""
    from linprobe.commands.store_list import list_nights

    session = open_session(store, json)
    session.console.result(*list_nights(session.open_store()))


@store_app.command("show", epilog=epilog("store show"))
def store_show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A set's key or run's id, or a unique prefix of one.")],
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Show one set or one run."""
    from linprobe.commands.store_list import show

    session = open_session(store, json)
    session.console.result(*show(session.open_store(), key))


@store_app.command("verify", epilog=epilog("store verify"))
def store_verify(
    deep: Annotated[
        bool, typer.Option("--deep", help="Check what the files say too, and compute some rows again.")
    ] = False,
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Check every file of the store."""
    from linprobe.commands.store_upkeep import verify
    from linprobe.job.errors import ExitCode

    session = open_session(store, json)
    text, document, is_sound = verify(session, is_deep=deep)
    session.console.result(text, document)
    if not is_sound:
        raise typer.Exit(int(ExitCode.IO))


@store_app.command("gc", epilog=epilog("store gc"))
def store_gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")] = False,
    *,
    grace: Annotated[float, typer.Option(metavar="HOURS", min=0, help="How old what is left over must be.")] = 24,
    keep_old: Annotated[
        float, typer.Option("--keep-old", metavar="DAYS", min=0, help="How long a set must have had no name.")
    ] = 30,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Remove also in folders of the store that are links to others.")
    ] = False,
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Remove what nothing needs any more."""
    from linprobe.commands.store_upkeep import collect
    from linprobe.job.errors import ExitCode
    from store import GarbageRule

    session = open_session(store, json)
    text, document = collect(GarbageRule(grace, keep_old, follow_links), session, is_dry_run=dry_run)
    session.console.result(text, document)
    if document["hindrances"]:
        raise typer.Exit(int(ExitCode.IO))


@store_app.command("export", epilog=epilog("store export"))
def store_export(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A set's key, or a unique prefix of one.")],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="The file to write.")],
    export_format: Annotated[
        str, typer.Option("--format", metavar="parquet|csv|npz", help="What is written.")
    ] = "parquet",
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Write one set to a file for other tools."""
    from linprobe.commands.store_transfer import export_features
    from store import EXPORT_FORMATS

    require_choice("--format", export_format, list(EXPORT_FORMATS))
    session = open_session(store, json)
    session.console.result(*export_features(session.open_store(), key, out, export_format=export_format))


@store_app.command("import", epilog=epilog("store import"))
def store_import(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.npz", help="features, labels, perhaps class_names, example_ids.")
    ],
    *,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What the dataset is called.")],
    extractor: Annotated[str, typer.Option("--extractor", metavar="NAME", help="What made the features.")],
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Import features that were made elsewhere.

    They become the base split `all` of a dataset.
    """
    from linprobe.commands.store_transfer import import_npz

    session = open_session(store, json)
    session.has_store()
    session.console.result(*import_npz(file, session, name=name, extractor=extractor))
