"""`linprobe nightly`: extract, probe, report and gate, under one lock."""

from dataclasses import dataclass
from typing import Any

from linprobe.commands.extract import extract_all
from linprobe.commands.gate import check_gate, pin_baselines
from linprobe.commands.probe import probe_all
from linprobe.commands.report import summarise, write_report
from linprobe.job.config import JobConfig
from linprobe.job.errors import sentence
from linprobe.job.failures import Failure, foreseen
from linprobe.job.session import Session
from reports.errors import NothingToReport

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


def run_night(job: JobConfig, session: Session) -> Night:
    """Do a whole night's work; what fails does not stop the rest.

    Args:
        job: the configuration.
        session: where the job runs, where its store is or will be, and who is told.

    Raises:
        StoreBusy: another night runs on this store.
        RunNotFound: a baseline of the gate is not in the store; nothing has been done then.
    """
    environment, console = session.environment, session.console
    store = session.create_store()
    with store.lock("nightly", wait=False, holder=environment.process):
        gate = pin_baselines(job.gate, store) if job.gate else None
        extracted = extract_all(job, session)
        probed = probe_all(job, session, skipped=frozenset(extracted.failed_pairs))
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
            checked = check_gate(gate, probed.rows, store)
            failures.extend(checked.failures)
            for failure in checked.failures:
                console.say(f"{failure.part}: {sentence(failure.error)}")
            lines.append(checked.line(gate))
    document = {
        "feature_sets": extracted.rows,
        "runs": probed.rows,
        "report": str(page.absolute()) if page else None,
        "errors": [failure.row() for failure in failures],
    }
    return Night(document, lines, failures)
