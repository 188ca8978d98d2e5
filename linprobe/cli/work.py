"""The commands of a day's work: extract, probe, report, compare, and the first three as one night."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from linprobe.cli.app import app
from linprobe.cli.examples import epilog
from linprobe.cli.options import (
    Config,
    ConfigRequired,
    Dataset,
    DatasetName,
    ExtractorName,
    Json,
    LogFormat,
    StorePath,
    Trust,
    finish,
    open_session,
    require_choice,
    require_text,
    split_commas,
    split_sources,
)
from linprobe.job.limits import MOST_FOLDS, MOST_SEEDS, MOST_WORKERS
from probe.heads.registry import describe_heads
from store.extractor_names import MAX_VIEWS
from store.metrics import SELECTION_METRICS

__all__ = ["compare", "extract", "nightly", "probe", "report"]


@app.command(epilog=epilog("extract"))
def extract(
    config: Config = None,
    *,
    dataset: Dataset = [],
    name: DatasetName = None,
    extractor: ExtractorName = [],
    split: Annotated[
        list[str],
        typer.Option("--split", metavar="SPLIT", help="A base split; all by default. May be repeated, or take commas."),
    ] = [],
    engine: Annotated[str | None, typer.Option(metavar="auto|tensorflow|openvino", help="What computes.")] = None,
    device: Annotated[str | None, typer.Option(metavar="auto|cpu|gpu", help="Where.")] = None,
    max_bad: Annotated[
        str | None, typer.Option("--max-bad", metavar="N|P%", help="How many images may be undecodable.")
    ] = None,
    accept_drift: Annotated[
        bool, typer.Option("--accept-drift", help="Add rows though the canary images come out otherwise than before.")
    ] = False,
    workers: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Processes side by side; auto is one for each GPU.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Compute only the I-th of N shares, as one job of an array.")
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(metavar="V", min=0, max=MAX_VIEWS, help="Seeded crops and flips of each training image."),
    ] = None,
    trust: Trust = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be computed; compute nothing.")] = False,
    store: StorePath = None,
    log_format: LogFormat = None,
    json: Json = False,
) -> None:
    """Run extractors over datasets, each image once.

    The features are kept in the store. What it has is not computed again: an interrupted job goes on where it stood.
    """
    from extract import WHOLE, Share
    from extract.engines import DEVICES, ENGINES
    from linprobe.commands.extract import ExtractOptions, extract_all
    from linprobe.job.plan import Selection, select

    if engine is not None:
        require_choice("--engine", engine, ENGINES)
    if device is not None:
        require_choice("--device", device, DEVICES)
    job = select(
        Selection(
            config=config,
            datasets=split_sources("--dataset", dataset),
            extractors=split_sources("--extractor", extractor),
            name=name,
        )
    )
    options = ExtractOptions(
        splits=tuple(split_commas("--split", split)),
        engine=engine,
        max_bad=max_bad,
        is_dry_run=dry_run,
        device=device,
        accept_drift=accept_drift,
        workers=_worker_count(workers),
        share=Share.parse(shard) if shard is not None else WHOLE,
        views=views,
        trust=trust,
    )
    session = open_session(store, json, job, file=config, log_format=log_format)
    if dry_run:
        session.say("Dry run: no image is decoded, so one that only decoding shows to be broken counts as a row.")
    outcome = extract_all(job, session, options=options)
    errors = [failure.row() for failure in outcome.failures]
    session.console.result("", {"feature_sets": outcome.rows, "errors": errors})
    finish(outcome.failures)


def _worker_count(text: str | None) -> int | Literal["auto"] | None:
    if text is None:
        return None
    if text == "auto":
        return "auto"
    if text.isdecimal() and 1 <= int(text) <= MOST_WORKERS:
        return int(text)
    from linprobe.job.errors import ConfigError

    raise ConfigError(f"--workers {text}: a number from 1 to {MOST_WORKERS}, or auto, expected.")


@app.command(epilog=epilog("probe"))
def probe(
    config: Config = None,
    *,
    dataset: Dataset = [],
    name: DatasetName = None,
    extractor: ExtractorName = [],
    head: Annotated[
        list[str],
        typer.Option(
            "--head",
            metavar="HEAD",
            help=f"{describe_heads('logistic')}. May be repeated, or take commas.",
        ),
    ] = [],
    train: Annotated[str | None, typer.Option(metavar="SPLIT", help="Such as train[:80%].")] = None,
    validation: Annotated[
        str | None, typer.Option(metavar="SPLIT", help="What selection goes by, if not cross-validation.")
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="SPLIT", help="What is tested on, once.")] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=MOST_SEEDS, help="Seeds 0 to N - 1; by default 1, of shots 20, of shares 5."
        ),
    ] = None,
    shots: Annotated[
        str | None, typer.Option(metavar="K,…", help="Training examples per class, such as 1,5,10,all.")
    ] = None,
    train_share: Annotated[
        str | None, typer.Option(metavar="P%,…", help="Shares of train for a learning curve, such as 10%,30%,100%.")
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(metavar="V", min=0, max=MAX_VIEWS, help="Train on V views of each training image too."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(metavar="K", min=0, max=MOST_FOLDS, help="Test each image once, by nested cross-validation."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="|".join(SELECTION_METRICS), help="What selection goes by.")
    ] = None,
    store: StorePath = None,
    log_format: LogFormat = None,
    json: Json = False,
) -> None:
    """Train heads on cached features, and test each once.

    Without CONFIG and --dataset, on all that is cached. An equal run is returned, not trained again.
    """
    from linprobe.commands.probe import ProbeOptions, all_cached, parse_shares, parse_shots, probe_all
    from linprobe.job.plan import Selection, select

    for option, text in (("--train", train), ("--validation", validation), ("--test", test)):
        require_text(option, text)
    if metric is not None:
        require_choice("--metric", metric, SELECTION_METRICS)
    options = ProbeOptions(
        train=train,
        validation=validation,
        test=test,
        seeds=seeds,
        shots=parse_shots(shots),
        train_shares=parse_shares(train_share),
        metric=metric,
        views=views,
        folds=folds,
    )
    selection = Selection(
        config=config,
        datasets=split_sources("--dataset", dataset),
        extractors=split_sources("--extractor", extractor),
        heads=split_commas("--head", head),
        name=name,
    )
    missing: frozenset[tuple[str, str]] = frozenset()
    if config is None and not dataset:
        session = open_session(store, json, log_format=log_format)
        selection, missing = all_cached(session.open_store(), selection)
        job = select(selection, needs_probes=True)
    else:
        job = select(selection, needs_probes=True)
        session = open_session(store, json, job, file=config, log_format=log_format)
    outcome = probe_all(job, session, options=options, skipped=missing)
    session.console.result("", {"runs": outcome.rows, "errors": [failure.row() for failure in outcome.failures]})
    finish(outcome.failures)


@app.command(epilog=epilog("report"))
def report(
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where the site goes; of a table its file, else it is printed."),
    ] = None,
    *,
    table_format: Annotated[
        str, typer.Option("--format", metavar="site|markdown|csv|json", help="A site, or one of the tables.")
    ] = "site",
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Write the report of all runs: a site, or a table.

    The site is a folder of plain files that opens from disk.
    """
    from linprobe.commands.report import TABLE_FORMATS, report_table, write_report

    require_choice("--format", table_format, ("site", *TABLE_FORMATS))
    session = open_session(store, json)
    opened = session.open_store()
    if table_format == "site":
        page = write_report(opened, out or Path("linprobe-report"), session.environment).absolute()
        session.console.result(str(page), {"report": str(page)})
    else:
        text, rows = report_table(opened, table_format)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(f"{text}\n", encoding="utf-8")
        session.console.result(str(out.absolute()) if out else text, {"leaderboard": rows})


@app.command(epilog=epilog("compare"))
def compare(
    first: Annotated[
        str, typer.Argument(metavar="RUN", help="An id, its unique beginning, or DATASET/EXTRACTOR/HEAD.")
    ],
    *,
    second: Annotated[str, typer.Argument(metavar="RUN", help="Likewise.")],
    store: StorePath = None,
    json: Json = False,
) -> None:
    """Compare two runs on the test images that they share.

    Which is better, by how much, and how sure that is.
    """
    from linprobe.commands.compare import compare as compare_runs
    from linprobe.commands.compare import nothing_left
    from probe import NotComparable

    session = open_session(store, json)
    try:
        found = compare_runs(session.open_store(), first, second)
    except NotComparable as error:
        # A program that reads the document learns that nothing was told apart, and why.
        if json and (error.n_conflicting or error.n_relabelled):
            session.console.result("", nothing_left(error))
        raise
    session.console.result(found.text(), found.document())


@app.command(epilog=epilog("nightly"))
def nightly(
    config: ConfigRequired,
    *,
    accept_shrink: Annotated[
        list[str],
        typer.Option(
            "--accept-shrink",
            metavar="DATASET",
            help="Accept its size for this night, though it lost images. May be repeated, or take commas.",
        ),
    ] = [],
    store: StorePath = None,
    log_format: LogFormat = None,
    json: Json = False,
) -> None:
    """Extract, probe, report and gate, under one lock."""
    from linprobe.commands.nightly import run_night
    from linprobe.job.plan import Selection, select

    job = select(Selection(config=config), needs_probes=True)
    session = open_session(store, json, job, file=config, log_format=log_format)
    night = run_night(job, session, accept_shrink=split_sources("--accept-shrink", accept_shrink))
    session.console.result("\n".join(night.lines), night.document)
    finish(night.failures)
