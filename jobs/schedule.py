"""`linprobe schedule`: the text that makes a machine run a job every night."""

import re
import shlex
import sys
from pathlib import Path

from jobs.errors import ConfigError

__all__ = ["SCHEDULE_FORMATS", "schedule_text"]

SCHEDULE_FORMATS = ("cron", "systemd")


def schedule_text(
    schedule_format: str, config: Path, at: str, folder: Path, program: Path | None = None, store: Path | None = None
) -> str:
    """Return what to give to the scheduler.

    Args:
        schedule_format: one of `SCHEDULE_FORMATS`.
        config: the job's file.
        at: the time of day, `HH:MM`, in the machine's own zone.
        folder: where the job runs: relative paths of the file begin here.
        program: the linprobe command; without it, the one that runs now.
        store: the night's store; without it, the one that the file names.

    Raises:
        ConfigError: the time is none.
    """
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", at)
    if not found:
        raise ConfigError(f"--at {at}: a time of day from 00:00 to 23:59 expected.")
    hour, minute = int(found[1]), int(found[2])
    command = [str(program or Path(sys.argv[0]).absolute()), "nightly", str(config.absolute())]
    command += ["--store", str(store.absolute())] if store else []
    if schedule_format == "cron":
        return _cron(command, hour, minute, folder.absolute())
    return _systemd(command, hour, minute, folder.absolute(), config.stem)


def _cron(command: list[str], hour: int, minute: int, folder: Path) -> str:
    log = folder / "linprobe-nightly.log"
    line = f"cd {shlex.quote(str(folder))} && {shlex.join(command)} >> {shlex.quote(str(log))} 2>&1"
    # To cron a percent sign is the end of the line.
    return (
        "# Add this line with 'crontab -e'. A night that finds the one before still running ends with 75.\n"
        f"{minute} {hour} * * * " + line.replace("%", r"\%") + "\n"
    )


def _systemd(command: list[str], hour: int, minute: int, folder: Path, name: str) -> str:
    unit = "linprobe-" + re.sub(r"[^A-Za-z0-9_.-]", "-", name)
    start = " ".join(_systemd_quote(word) for word in command)
    return f"""\
# /etc/systemd/system/{unit}.service
[Unit]
Description=linprobe night of {_systemd_escape(name)}

[Service]
Type=oneshot
WorkingDirectory={_systemd_escape(str(folder))}
ExecStart={start}
# Interrupted or locked: the work that was done is kept, so once more is cheap.
Restart=on-failure
RestartPreventExitStatus=2 3 65 69 70 74
RestartSec=15min
# SIGTERM ends the night after the rows that are being computed.
TimeoutStopSec=2min

# /etc/systemd/system/{unit}.timer
# Enable it with: systemctl enable --now {unit}.timer
[Unit]
Description=linprobe night of {_systemd_escape(name)}, timer

[Timer]
OnCalendar=*-*-* {hour:02d}:{minute:02d}:00
Persistent=true
RandomizedDelaySec=5min

[Install]
WantedBy=timers.target
"""


def _systemd_escape(text: str) -> str:
    return text.replace("%", "%%")


def _systemd_quote(word: str) -> str:
    escaped = _systemd_escape(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"' if re.search(r"[^A-Za-z0-9_@%+=:,./-]", word) else escaped
