"""The commands about a machine: what it lacks, and how it runs a job by itself."""

from pathlib import Path
from typing import Annotated

import typer

from linprobe.cli.app import app
from linprobe.cli.examples import epilog
from linprobe.cli.options import (
    Config,
    ConfigRequired,
    Dataset,
    ExtractorName,
    Json,
    StorePath,
    finish,
    open_session,
    require_choice,
    split_sources,
)

__all__ = ["doctor", "fetch", "schedule"]


@app.command(epilog=epilog("fetch"))
def fetch(
    config: Config = None,
    *,
    dataset: Dataset = [],
    extractor: ExtractorName = [],
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Bring all models and datasets of a job into the caches.

    For a machine that will have no network. Models are pinned in linprobe.lock. Nothing is computed.
    """
    from linprobe.commands.fetch import fetch_all
    from linprobe.job.plan import Selection, select

    selection = Selection(
        config=config,
        datasets=split_sources("--dataset", dataset),
        extractors=split_sources("--extractor", extractor),
    )
    job = select(selection, needs_datasets=not extractor)
    session = open_session(store, json, job, file=config)
    fetched = fetch_all(job, session)
    session.console.result("", fetched.document())
    finish(fetched.failures)


@app.command(epilog=epilog("schedule"))
def schedule(
    config: ConfigRequired,
    *,
    schedule_format: Annotated[
        str, typer.Option("--format", metavar="cron|systemd|k8s|slurm", help="What runs it.")
    ] = "cron",
    at: Annotated[str, typer.Option("--at", metavar="HH:MM", help="The time of day; UTC for k8s.")] = "02:17",
    image: Annotated[str, typer.Option("--image", metavar="IMAGE", help="k8s: what holds linprobe.")] = "",
    claim: Annotated[str, typer.Option("--claim", metavar="NAME", help="k8s: the claim of this folder's volume.")] = "",
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Print what makes a machine or cluster run a job at night."""
    from linprobe.commands.schedule import SCHEDULE_FORMATS, Container, schedule_text
    from linprobe.job.config import JobConfig

    require_choice("--format", schedule_format, SCHEDULE_FORMATS)
    # The night must use the store that is used by day, whose name may stand in the environment alone.
    session = open_session(store, json, JobConfig.from_toml(config))
    container = Container(image, claim) if schedule_format == "k8s" else None
    text = schedule_text(schedule_format, config, at, folder=Path.cwd(), store=session.store_path, container=container)
    session.console.result(text.rstrip("\n"), {"format": schedule_format, "text": text})


@app.command(epilog=epilog("doctor"))
def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Start TensorFlow, and look for GPUs.")] = False,
    *,
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Look at what this machine has, and say what is missing."""
    from linprobe.commands.doctor import diagnose

    session = open_session(store, json)
    diagnosis = diagnose(session, is_deep=deep)
    session.console.result(diagnosis.text(), diagnosis.document())
    raise typer.Exit(diagnosis.code)
