"""Decoding that a hostile or broken file cannot stop: in processes of their own, which are started again when they die.

As many as there are processors at most, each started when all others are busy, and kept until this process ends.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np

from extract.decoder_process import SECONDS
from extract.decoding import DecodeFailure, needs_look, read_header
from extract.header import Header, Rules

__all__ = ["decode_apart", "look_at", "processors"]

# What is wrong with a decoder is tried once more: a signal may have come from outside.
_TRIES = 2
_START = "import sys; sys.path[:] = {path!r}; from extract.decoder_process import main; main({file})"
_SIGPROF = 27
# Of the file for pixels, between two images.
_KEPT_BYTES = 64 << 20


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def look_at(data: bytes) -> Header:
    """Read what an image claims to be: JPEG and PNG here, which takes no decoder, anything else in a process.

    Raises:
        DecodeFailure: as `extract.decoding.read_header`, and where the decoder died of it.
    """
    if not needs_look(data):
        return read_header(data)
    header: Header = _Decoders.shared().submit(data, None).result()
    return header


def decode_apart(data: bytes, rules: Rules) -> "Future[np.ndarray]":
    """Decode an image in a process, see `extract.decoding.decode_carefully`.

    Returns:
        What will be (H, W, 3) uint8, or raise DecodeFailure.
    """
    return _Decoders.shared().submit(data, rules)


class _Decoders:
    """The processes, each served by a thread of its own."""

    _shared: "_Decoders | None" = None
    _lock = threading.Lock()

    @classmethod
    def shared(cls) -> "_Decoders":
        """Return those of this process."""
        with cls._lock:
            # A fork has none of the threads.
            if cls._shared is None or cls._shared._made_in != os.getpid():
                cls._shared = cls()
                atexit.register(cls._shared.close)
            return cls._shared

    def __init__(self) -> None:
        self._made_in = os.getpid()
        self._threads = ThreadPoolExecutor(processors(), "decode")
        self._own = threading.local()
        self._processes: list[_Process] = []

    def submit(self, data: bytes, rules: Rules | None) -> "Future[Any]":
        return self._threads.submit(self._ask, data, rules)

    def close(self) -> None:
        if self._made_in == os.getpid():
            self._threads.shutdown(cancel_futures=True)
            for process in self._processes:
                process.end()

    def _ask(self, data: bytes, rules: Rules | None) -> Any:
        for tries in range(1, _TRIES + 1):
            process: _Process | None = getattr(self._own, "process", None)
            if process is None:
                process = self._own.process = _Process()
                self._processes.append(process)
            try:
                return process.ask(data, rules)
            except _Died as error:
                self._own.process = None
                self._processes.remove(process)
                if tries == _TRIES:
                    raise DecodeFailure(str(error)) from error
        raise AssertionError("a loop that returns or raises")


class _Died(Exception):
    """A decoder process ended; the text says how."""


class _Process:
    """One decoder process."""

    def __init__(self) -> None:
        # In memory where there is such a thing: what is written to a disk is written back by and by.
        if hasattr(os, "memfd_create"):
            self._file = os.fdopen(os.memfd_create("pixels"), "r+b")
        else:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        number = self._file.fileno()
        # The path as it is here: a folder of the working directory must not come before it.
        program = _START.format(path=sys.path, file=number)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(number,),
            # An interrupt at the keyboard is for this process to handle.
            start_new_session=True,
        )

    def ask(self, data: bytes, rules: Rules | None) -> Any:
        """Return a header (without rules), or pixels."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"rules": None if rules is None else asdict(rules), "bytes": len(data)}
        try:
            self._process.stdin.write(json.dumps(asked).encode() + b"\n" + data)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = b""
        if not line:
            raise _Died(self._verdict())
        answer = json.loads(line)
        if "reason" in answer:
            raise DecodeFailure(answer["reason"])
        if "header" in answer:
            return Header(**answer["header"])
        shape = tuple(answer["shape"])
        pixels = np.empty(shape, np.uint8)
        rest, at = memoryview(pixels.reshape(-1)), 0  # type: ignore[arg-type]
        while at < len(rest):
            at += os.preadv(self._file.fileno(), [rest[at:]], at)
        if at > _KEPT_BYTES:
            os.ftruncate(self._file.fileno(), 0)
        return pixels

    def end(self) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._file):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._process.wait()

    def _verdict(self) -> str:
        self.end()
        if self._process.returncode == -_SIGPROF:
            return f"decoding it takes more than {SECONDS} s of processor time"
        return "the decoder died of it"
