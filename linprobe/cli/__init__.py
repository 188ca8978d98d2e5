"""The command line. Everything heavy is imported inside the command that needs it."""

# Importing a room adds its commands, in the order in which --help lists them.
from linprobe.cli import quick, work, heads, machine, store, config  # noqa: F401, I001
from linprobe.cli.app import app
from linprobe.cli.process import main

__all__ = ["app", "main"]
