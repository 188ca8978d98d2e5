"""The commands about a job's file: `linprobe config …`."""

from pathlib import Path
from typing import Annotated

import typer

from linprobe.cli.app import config_app
from linprobe.cli.examples import epilog
from linprobe.cli.options import Config, ConfigRequired, Json, StorePath, finish, open_console, open_session

__all__ = ["config_check", "config_init", "config_show"]


@config_app.command("init", epilog=epilog("config init"))
def config_init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where it goes.")] = Path("linprobe.toml"),
    json: Json = False,
) -> None:
    """Write a job to begin with, which runs as it stands."""
    from linprobe.commands.config import write_starter

    write_starter(file)
    open_console(json).result(str(file), {"file": str(file)})


@config_app.command("show", epilog=epilog("config show"))
def config_show(config: Config = None, store: StorePath = None, json: Json = False) -> None:
    """Print every key of a job, its value, and who gave it.

    File, environment, flag or default.
    """
    import os

    from linprobe.commands.config import show_job
    from linprobe.job.config import JobConfig
    from linprobe.job.environment import Environment
    from linprobe.job.plan import Selection, select

    written = JobConfig.from_toml(config) if config else JobConfig()
    job = select(Selection(config=config), needs_probes=True) if config else written
    open_console(json).result(*show_job(job, written, Environment(os.environ), store_flag=store))


@config_app.command("check", epilog=epilog("config check"))
def config_check(config: ConfigRequired, store: StorePath = None, json: Json = False) -> None:
    """Say whether a job can run here. Nothing is computed.

    Its keys, folders, model files, splits and baselines are looked at.
    """
    from linprobe.commands.config import check_job
    from linprobe.job.plan import Selection, select

    job = select(Selection(config=config), needs_probes=True)
    session = open_session(store, json, job, file=config)
    checked = check_job(job, session)
    session.console.result("", checked.document())
    finish(checked.failures)
