"""The command line's tree, to which the rooms beside this one add their commands."""

from typing import Annotated

import typer

__all__ = ["app", "config_app", "store_app"]

# Plain help: Rich's costs a third of a second at every start.
app = typer.Typer(
    name="linprobe",
    # Commands take it over; Click's own default knows --help alone.
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
store_app = typer.Typer(help="Look into the store.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(store_app, name="store")
config_app = typer.Typer(help="Write, show or check a job's file.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(f"linprobe {version('linprobe')}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")]


@app.callback()
def linprobe(version: Version = False) -> None:
    """Run a frozen image feature extractor once over every dataset, keep the features, train probes on them."""
