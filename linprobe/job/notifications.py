"""Who is told of a night: a command or a URL that gets its document; what fails there is logged and harms nothing."""

import json
import os
import shlex
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from linprobe.job.config import NotifyConfig
from linprobe.job.session import Session

__all__ = ["notify", "verdict_of"]


def verdict_of(night: Mapping[str, Any]) -> str:
    """Return what a night came to: `success`, `failure`, or `undecided` where its gate could not tell.

    Args:
        night: the document of its end.
    """
    if night["exit_code"]:
        return "failure"
    return "undecided" if night.get("undecided") else "success"


def notify(config: NotifyConfig, night: Mapping[str, Any], session: Session, *, before: str | None = None) -> None:
    """Tell of a night that begins, or of its end.

    A failure and an undecided gate are told when the verdict changes, not each night again.

    Args:
        config: whom to tell of what.
        night: its document; with `verdict` at its end.
        session: who is told what failed.
        before: the verdict of the night before; None if there was none, or it has not ended.
    """
    verdict = night.get("verdict")
    if verdict is None:
        what = "on_start"
    elif verdict == "success" or verdict != before:
        what = f"on_{verdict}"
    else:
        return
    target = getattr(config, what)
    if target is None:
        return
    try:
        _send(target, json.dumps(night, ensure_ascii=False).encode(), config.timeout)
    except _NotSent as error:
        # Neither the command nor the URL is told: passwords stand there.
        session.say(f"notify.{what}: {error}")


class _NotSent(Exception):
    pass


def _send(target: str | tuple[str, ...], data: bytes, timeout: float) -> None:
    if isinstance(target, str) and target.startswith(("https://", "http://")):
        _post(os.path.expandvars(target), data, timeout)
    else:
        _run(shlex.split(target) if isinstance(target, str) else list(target), data, timeout)


def _post(url: str, data: bytes, timeout: float) -> None:
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # http(s), see _send
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        raise _NotSent(f"the server answered {error.code}") from None
    except (OSError, ValueError) as error:
        raise _NotSent(f"the URL was not reached ({type(error).__name__})") from None


def _run(command: list[str], data: bytes, timeout: float) -> None:
    try:
        # A group of its own, so that what it has started is killed with it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise _NotSent(f"the command could not be started ({type(error).__name__})") from None
    try:
        process.communicate(data, timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise _NotSent(f"the command was killed, it took more than {timeout:g} s") from None
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode:
        raise _NotSent(f"the command ended with {process.returncode}")
