"""The command of the first ten minutes."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from linprobe.cli.app import app
from linprobe.cli.examples import epilog
from linprobe.cli.options import Json, StorePath, finish, open_session, require_text

__all__ = ["quick"]


@app.command(epilog=epilog("quick"))
def quick(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="A folder of images for each class; or a table, or any source.")
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the report goes.")] = Path("linprobe-report"),
    show: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the report in a browser; in a terminal you are asked."),
    ] = None,
    max_bad: Annotated[
        str, typer.Option("--max-bad", metavar="N|P%", help="How many images may be unreadable.")
    ] = "5%",
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Take a first look at a folder: extract, probe, report.

    By efficientnet_lite0 and, to compare with, the pixels themselves; the head is logistic. Below 1,000 images without
    a test part it is trained in 5 folds, so that each image is tested once. Unreadable images are listed.
    """
    from linprobe.commands.quick import look_at

    require_text("FOLDER", folder)
    is_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty() and not json
    session = open_session(store, json)
    look = look_at(folder, session, out=out, max_bad=max_bad)
    session.console.result("\n".join(look.lines), look.document)
    if look.page is not None:
        is_wanted = show if show is not None else is_terminal and typer.confirm("Open the report?", err=True)
        if is_wanted:
            import webbrowser

            webbrowser.open(look.page.as_uri())
    finish(look.failures)
