"""The commands about a machine and its jobs: what is written, what is missing, how a job runs by itself."""

import os
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.app import app, config_app
from jobs.cli.options import Config, ConfigRequired, Json, StorePath, finish, open_console, require_choice

__all__ = ["config_check", "config_init", "config_show", "doctor", "fetch", "schedule"]


@config_app.command("init")
def config_init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where it goes.")] = Path("linprobe.toml"),
    json: Json = False,
) -> None:
    """Write a job to begin with, which runs as it stands."""
    from jobs.configuring import write_starter

    write_starter(file)
    open_console(json).result(str(file), {"file": str(file)})


@config_app.command("show")
def config_show(config: Config = None, store: StorePath = None, json: Json = False) -> None:
    """Print every key of a job with its value, and whether file, environment, flag or default gave it."""
    from jobs.config import JobConfig
    from jobs.configuring import show_job
    from jobs.plan import Selection, select
    from jobs.surroundings import Surroundings

    written = JobConfig.from_toml(config) if config else JobConfig()
    job = select(Selection(config), needs_probes=True) if config else written
    open_console(json).result(*show_job(job, written, store, Surroundings(os.environ)))


@config_app.command("check")
def config_check(config: ConfigRequired, store: StorePath = None, json: Json = False) -> None:
    """Say whether a job can run here: its keys, folders, model files, splits and baselines. Nothing is computed."""
    from jobs.configuring import check_job
    from jobs.plan import Selection, select
    from jobs.surroundings import Surroundings

    surroundings = Surroundings(os.environ)
    job = select(Selection(config), needs_probes=True)
    console = open_console(json)
    checked = check_job(job, surroundings.store_path(store, job.store), surroundings, console)
    console.result("", checked.document())
    finish(checked.failures)


@app.command()
def fetch(config: ConfigRequired, json: Json = False) -> None:
    """Bring every model and dataset of a job into the caches, for a machine that will have no network."""
    from jobs.fetching import fetch_all
    from jobs.plan import Selection, select
    from jobs.surroundings import Surroundings

    console = open_console(json)
    fetched = fetch_all(select(Selection(config)), Surroundings(os.environ), console)
    console.result("", fetched.document())
    finish(fetched.failures)


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

    require_choice("--format", schedule_format, SCHEDULE_FORMATS)
    # The night must use the store that is used by day, whose name may stand in the environment alone.
    path = Surroundings(os.environ).store_path(store, JobConfig.from_toml(config).store)
    text = schedule_text(schedule_format, config, at, Path.cwd(), store=path)
    open_console(json).result(text.rstrip("\n"), {"format": schedule_format, "text": text})


@app.command()
def doctor(store: StorePath = None, json: Json = False) -> None:
    """Look at what this machine has, and say what is missing."""
    from jobs.doctor import diagnose
    from jobs.surroundings import Surroundings

    surroundings = Surroundings(os.environ)
    diagnosis = diagnose(surroundings.store_path(store, None), surroundings)
    open_console(json).result(diagnosis.text(), diagnosis.document())
    raise typer.Exit(diagnosis.code)
