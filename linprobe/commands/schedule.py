"""`linprobe schedule`: the text that makes a machine, or a cluster, run a job every night."""

import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from linprobe.job.errors import ConfigError

__all__ = ["SCHEDULE_FORMATS", "Container", "schedule_text"]

SCHEDULE_FORMATS = ("cron", "systemd", "k8s", "slurm")
# What another run would not change; 75, interrupted or locked, it would.
_FINAL_CODES = (2, 3, 65, 69, 70, 74)
# A CronJob's name, to which Kubernetes adds 11 characters.
_LONGEST_NAME = 52


@dataclass(frozen=True)
class Container:
    """What a night in a container needs.

    Attributes:
        image: holds linprobe.
        claim: of the volume that holds the folder where the job runs.
    """

    image: str
    claim: str


def schedule_text(
    schedule_format: str,
    config: Path,
    at: str,
    *,
    folder: Path,
    program: Path | None = None,
    store: Path | None = None,
    container: Container | None = None,
) -> str:
    """Return what to give to the scheduler.

    Args:
        schedule_format: one of `SCHEDULE_FORMATS`.
        config: the job's file.
        at: the time of day, `HH:MM`, in the machine's own zone; in UTC for k8s.
        folder: where the job runs: relative paths of the file begin here.
        program: the linprobe command; without it, the one that runs now.
        store: the night's store; without it, the one that the file names.
        container: what k8s runs.

    Raises:
        ConfigError: the time is none, or k8s lacks its container, or would not see the job's files.
    """
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", at)
    if not found:
        raise ConfigError(f"--at {at}: a time of day from 00:00 to 23:59 expected.")
    time = int(found[1]), int(found[2])
    command = [str(program or Path(sys.argv[0]).absolute()), "nightly", str(config.absolute())]
    command += ["--store", str(store.absolute())] if store else []
    if schedule_format == "cron":
        return _cron(command, time, folder.absolute())
    if schedule_format == "slurm":
        return _slurm(command, time, folder.absolute(), name=config.stem)
    if schedule_format == "k8s":
        if container is None or not container.image or not container.claim:
            raise ConfigError(
                "--format k8s: --image IMAGE expected, which holds linprobe, and --claim NAME, of the volume that is "
                f"mounted at {folder.absolute()}."
            )
        for path in (config, *([store] if store else [])):
            if not path.absolute().is_relative_to(folder.absolute()):
                raise ConfigError(
                    f"--format k8s: {path.absolute()} lies outside {folder.absolute()}, where the claim is mounted; "
                    "run schedule in a folder that holds both the job and its store."
                )
        return _k8s(["linprobe", *command[1:]], time, folder.absolute(), name=config.stem, container=container)
    return _systemd(command, time, folder.absolute(), name=config.stem)


def _cron(command: list[str], time: tuple[int, int], folder: Path) -> str:
    hour, minute = time
    log = folder / "linprobe-nightly.log"
    line = f"cd {shlex.quote(str(folder))} && {shlex.join(command)} >> {shlex.quote(str(log))} 2>&1"
    # To cron a percent sign is the end of the line.
    return (
        "# Add this line with 'crontab -e'. A night that finds the one before still running ends with 75.\n"
        f"{minute} {hour} * * * " + line.replace("%", r"\%") + "\n"
    )


def _slurm(command: list[str], time: tuple[int, int], folder: Path, *, name: str) -> str:
    hour, minute = time
    return f"""\
# Add these lines with 'scrontab -e' (the cluster must allow it: ScronParameters=enable), and what a night needs of your
# cluster, such as #SCRON --partition=gpu, --gpus=1, --cpus-per-task=8, --mem=32G. The next night is queued when
# this one has ended, so two never run at once.
#SCRON --job-name={_unit_name(name)}
#SCRON --chdir={shlex.quote(str(folder))}
#SCRON --output=linprobe-nightly-%j.log
#SCRON --time=12:00:00
# SIGTERM five minutes before the limit: the night ends with 75 after the rows that are being computed, and the next
# goes on from there. 'exec', so that it is linprobe that gets the signal.
#SCRON --signal=B:TERM@300
{minute} {hour} * * * exec {shlex.join(command)}
"""


def _k8s(command: list[str], time: tuple[int, int], folder: Path, *, name: str, container: Container) -> str:
    hour, minute = time
    called = ("linprobe-" + re.sub(r"[^a-z0-9]+", "-", name.lower()))[:_LONGEST_NAME].rstrip("-")
    # Every JSON text is a YAML text, and needs no rules for quoting of its own.
    return f"""\
# kubectl apply -f this. The claim holds {json.dumps(str(folder), ensure_ascii=False)}: the job, its data and its store.
# A GPU is asked for with resources: {{limits: {{nvidia.com/gpu: 1}}}} beside image.
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {json.dumps(called)}
spec:
  schedule: "{minute} {hour} * * *"
  timeZone: "Etc/UTC"
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 7
  jobTemplate:
    spec:
      # 75, interrupted or locked: the work that was done is kept, so once more is cheap.
      backoffLimit: 4
      podFailurePolicy:
        rules:
          # Evicted or preempted: no failure of the night.
          - action: Ignore
            onPodConditions:
              - type: DisruptionTarget
          - action: FailJob
            onExitCodes:
              containerName: linprobe
              operator: In
              values: {list(_FINAL_CODES)}
      template:
        spec:
          restartPolicy: Never
          # SIGTERM ends the night after the rows that are being computed.
          terminationGracePeriodSeconds: 120
          containers:
            - name: linprobe
              image: {json.dumps(container.image)}
              command: {json.dumps(command, ensure_ascii=False)}
              workingDir: {json.dumps(str(folder), ensure_ascii=False)}
              volumeMounts:
                - name: work
                  mountPath: {json.dumps(str(folder), ensure_ascii=False)}
          volumes:
            - name: work
              persistentVolumeClaim:
                claimName: {json.dumps(container.claim)}
"""


def _systemd(command: list[str], time: tuple[int, int], folder: Path, *, name: str) -> str:
    hour, minute = time
    unit = _unit_name(name)
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
RestartPreventExitStatus={" ".join(map(str, _FINAL_CODES))}
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


def _unit_name(name: str) -> str:
    return "linprobe-" + re.sub(r"[^A-Za-z0-9_.-]", "-", name)


def _systemd_escape(text: str) -> str:
    return text.replace("%", "%%")


def _systemd_quote(word: str) -> str:
    escaped = _systemd_escape(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"' if re.search(r"[^A-Za-z0-9_@%+=:,./-]", word) else escaped
