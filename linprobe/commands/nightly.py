"""`linprobe nightly`: extract, probe, report and gate, under one lock."""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from linprobe.commands.extract import ExtractOptions, extract_all
from linprobe.commands.gate import check_gate, pin_baselines
from linprobe.commands.probe import probe_all
from linprobe.commands.report import summarise, write_report
from linprobe.job.config import JobConfig, nearest
from linprobe.job.errors import ConfigError, sentence
from linprobe.job.failures import Failure, foreseen, worst_of
from linprobe.job.journal import journalled
from linprobe.job.session import Session
from reports.errors import NothingToReport
from store.names import find_dataset

__all__ = ["Night", "run_night"]


@dataclass(frozen=True)
class Night:
    """Result of a night.

    Attributes:
        document: what --json prints.
        lines: the same for people: accuracies, floors, where the report is.
        failures: parts that failed.
    """

    document: dict[str, Any]
    lines: list[str]
    failures: list[Failure]


def run_night(job: JobConfig, session: Session, *, accept_shrink: Sequence[str] = ()) -> Night:
    """Do a whole night's work; what fails does not stop the rest.

    A dataset that shrank by more than its `max_shrink`, or lost a class or a base split, keeps its names and answers.

    Args:
        job: the configuration.
        session: where the job runs, where its store is or will be, and who is told.
        accept_shrink: datasets of the job whose size is accepted this night, whatever it was.

    Raises:
        StoreBusy: another night runs on this store.
        RunNotFound: a baseline of the gate is not in the store; nothing has been done then.
        ConfigError: a dataset whose size is to be accepted is none of the job's.
    """
    environment, console = session.environment, session.console
    accepted = _accepted(job, accept_shrink)
    store = session.create_store()
    with contextlib.ExitStack() as night:
        night.enter_context(store.lock("nightly", wait=False, holder=environment.process))
        gate = pin_baselines(job.gate, store) if job.gate else None
        entry = night.enter_context(journalled(job, session, store, accepted=sorted(accepted)))
        extracted = extract_all(job, session, options=ExtractOptions(is_guarded=True, accepted=accepted))
        entry.note_extraction(extracted.rows)
        probed = probe_all(job, session, skipped=frozenset(extracted.failed_pairs))
        entry.note_answers(probed.rows)
        failures = extracted.failures + probed.failures
        page, lines = None, []
        try:
            page = write_report(store, job.report.out, environment)
            lines = [*summarise(store, probed.rows), f"Report: {page.absolute()}"]
        except foreseen() as error:
            console.say(f"report: {sentence(error)}")
            # Where every probe failed, the empty report follows from that, and must not hide why.
            if not (failures and isinstance(error, NothingToReport)):
                failures.append(Failure("report", error))
        if gate:
            stored = {one.name: one.stored_name for one in job.datasets}
            kept = {(stored[dataset], extractor) for dataset, extractor in extracted.failed_pairs}
            checked = check_gate(gate, probed.rows, store, sets=extracted.rows, kept=kept)
            failures.extend(checked.failures)
            for failure in checked.failures:
                console.say(f"{failure.part}: {sentence(failure.error)}")
            for verdict in checked.undecided:
                console.say(f"gate, undecided: {verdict.part}: {verdict.text}.")
            lines.append(checked.line(gate))
            entry.document |= {
                "gate": checked.line(gate),
                "gate_passed": not checked.failures,
                "undecided": len(checked.undecided),
                "verdicts": [asdict(verdict) for verdict in checked.verdicts],
            }
        errors = [failure.row() for failure in failures]
        report = str(page.absolute()) if page else None
        entry.document |= {"errors": errors, "report": report}
        entry.exit_code = worst_of(failures)
    document = {"feature_sets": extracted.rows, "runs": probed.rows, "report": report, "errors": errors}
    return Night(document, lines, failures)


def _accepted(job: JobConfig, asked: Sequence[str]) -> frozenset[str]:
    """Return the names in the job of datasets that are asked for by name, source or any end that means no other."""
    found = set()
    for text in asked:
        names = {one.stored_name: one.name for one in job.datasets}
        meant = [one.name for one in job.datasets if text in (one.name, one.source)]
        meant = meant or [names[full] for full in find_dataset(text, names.keys())]
        if len(meant) != 1:
            raise ConfigError(f"--accept-shrink {text}: {nearest(text, [one.name for one in job.datasets])}.")
        found.add(meant[0])
    return frozenset(found)
