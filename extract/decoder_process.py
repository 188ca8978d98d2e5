"""A process that decodes what is not plain, under limits: whatever a file does to a decoder, it does to this process.

Asked by `extract.decoders` over its standard input: a line of JSON with what to do and how many bytes follow, then the
encoded file. It answers with a line of JSON; pixels lie in the file that it was handed.
"""

import json
import os
import resource
import signal
import sys
from dataclasses import asdict
from typing import Any, BinaryIO

import numpy as np

from extract.decoding import DecodeFailure, decode_carefully, read_header
from extract.header import Rules

__all__ = ["MEMORY_BYTES", "SECONDS", "main"]

# The largest image allowed has 89 million pixels: a few copies of it, in 4 bytes each.
MEMORY_BYTES = 4 << 30
# Of processor time, so that a busy machine fails no image. The largest take a few.
SECONDS = 60


def main(pixels_file: int) -> None:
    """Serve until the standard input ends.

    Args:
        pixels_file: the descriptor of the file that pixels are written to.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    # A decoder that prints must not be taken for an answer.
    sys.stdout = sys.stderr
    while line := requests.readline():
        asked = json.loads(line)
        data = _read(requests, asked["bytes"])
        # Its signal ends the process where nothing handles it.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        answer = _answer(asked, data, pixels_file)
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _read(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        sys.exit(0)
    return data


def _answer(asked: dict[str, Any], data: bytes, pixels_file: int) -> dict[str, Any]:
    try:
        if asked["rules"] is None:
            return {"header": asdict(read_header(data))}
        pixels = decode_carefully(data, Rules(**asked["rules"]))
    except DecodeFailure as error:
        return {"reason": str(error)}
    except MemoryError:
        return {"reason": f"decoding it takes more than {MEMORY_BYTES >> 30} GiB of memory"}
    rest, at = memoryview(np.ascontiguousarray(pixels).reshape(-1)), 0  # type: ignore[arg-type]
    while at < len(rest):
        at += os.pwrite(pixels_file, rest[at:], at)
    return {"shape": pixels.shape}
