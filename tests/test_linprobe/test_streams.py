"""Telling never harms: whatever happens to stdout and stderr, the work is done and decides the exit code."""

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from linprobe.job.console import Console
from linprobe.job.streams import LogLines, Telling, telling, visible
from store import FeatureStore

STATES = ("whole", "closed", "full", "broken", "ascii")
LINPROBE = [sys.executable, "-m", "linprobe"]


@pytest.fixture
def rows(tmp_path):
    """Features to import under a name that ASCII lacks."""
    features = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", features=features, labels=np.arange(20) % 2)
    return tmp_path


def streamed(arguments, folder, stdout, stderr, environment=None):
    """Run a command with its streams in two of `STATES`; return the exit code and what arrived."""
    arrived = {}
    handles = {}
    for number, (name, state) in enumerate((("stdout", stdout), ("stderr", stderr)), start=1):
        if state == "full":
            handles[number] = os.open("/dev/full", os.O_WRONLY)
        elif state == "broken":
            reader, handles[number] = os.pipe()
            os.close(reader)
        else:
            arrived[name] = folder / f"{name}.txt"
            handles[number] = os.open(arrived[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def prepare():
        for number, handle in handles.items():
            os.dup2(handle, number)
        for number, state in ((1, stdout), (2, stderr)):
            if state == "closed":
                os.close(number)

    locale = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"} if "ascii" in (stdout, stderr) else {}
    done = subprocess.run(
        [*LINPROBE, *arguments], cwd=folder, env={**os.environ, **locale, **(environment or {})}, preexec_fn=prepare,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    for handle in handles.values():
        os.close(handle)
    return done.returncode, {name: path.read_text() for name, path in arrived.items()}


def check_import(rows, stdout, stderr, is_json):
    arguments = ["store", "import", "rows.npz", "--name", "blätter", "--extractor", "measured"]
    code, arrived = streamed([*arguments, *(["--json"] if is_json else [])], rows, stdout, stderr)
    lost = is_json and stdout not in ("whole", "ascii")
    assert code == (74 if lost else 0), arrived
    # The work is done.
    (features,) = FeatureStore(rows / "linprobe-store").sets()
    assert len(features.labels) == 20
    if is_json and not lost:
        assert json.loads(arrived["stdout"])["dataset"] == "blätter"
    if lost and stderr in ("whole", "ascii"):
        assert "the document of --json could not be written" in arrived["stderr"]
    for text in arrived.values():
        assert "Traceback" not in text
        assert "Exception ignored" not in text


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("stdout", "stderr", "is_json"),
    [
        ("closed", "closed", False), ("full", "broken", True), ("ascii", "ascii", True),
    ],
)  # fmt: skip
def test_the_work_is_done_whatever_the_streams_are(rows, stdout, stderr, is_json):
    check_import(rows, stdout, stderr, is_json)


@pytest.mark.slow
@pytest.mark.parametrize("is_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize(("stdout", "stderr"), list(itertools.product(STATES, STATES)))
def test_every_combination_of_streams(rows, stdout, stderr, is_json):
    check_import(rows, stdout, stderr, is_json)


@pytest.mark.heavy
def test_an_argument_that_the_locale_cannot_read_is_a_usage_error(rows):
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    arguments = ["store", "import", "rows.npz", "--name", "blätter", "--extractor", "measured"]
    code, arrived = streamed(arguments, rows, "whole", "whole", locale)
    assert code == 2
    assert "not read as such in this locale; rename it, or set LC_ALL=C.UTF-8" in arrived["stderr"]


NIGHT = """
store = "s"
[[datasets]]
name = "made"
source = "npz:images.npz"
[[extractors]]
name = "pixels"
[[probes]]
head = "ridge"
"""


@pytest.fixture
def night(tmp_path):
    images, labels = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8), np.arange(60) % 3
    parts = {"train_images": images[:40], "train_labels": labels[:40], "test_images": images[40:]}
    np.savez(tmp_path / "images.npz", **parts, test_labels=labels[40:])
    (tmp_path / "job.toml").write_text(NIGHT)
    return tmp_path


@pytest.mark.framework
@pytest.mark.parametrize(
    ("stdout", "stderr", "environment"),
    [
        pytest.param("closed", "closed", {}, marks=pytest.mark.slow),
        # matplotlib's cache, Keras's, TFDS's: nothing of it can be written, not by root either.
        ("whole", "full", {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "", "MPLCONFIGDIR": ""}),
    ],
)
def test_a_night_is_done_without_streams_and_without_a_home(night, stdout, stderr, environment):
    code, _ = streamed(["nightly", "job.toml"], night, stdout, stderr, environment)
    assert code == 0
    assert (night / "linprobe-report" / "index.html").exists()
    assert [one.dataset for one in FeatureStore(night / "s").standing()] == ["made"]


@pytest.mark.framework
def test_the_log_of_a_night_has_an_event_a_line(night):
    code, arrived = streamed(["nightly", "job.toml", "--log-format", "json"], night, "whole", "whole")
    assert code == 0
    events = [json.loads(line) for line in arrived["stderr"].splitlines()]
    assert all({"time", "event", "message"} <= set(event) for event in events)
    assert {event["event"] for event in events} >= {"begin", "message", "end"}
    assert (events[0]["event"], events[-1]["event"]) == ("begin", "end")
    assert events[-1]["exit_code"] == 0
    code, arrived = streamed(["nightly", "job.toml", "--log-format", "text"], night, "whole", "whole")
    assert code == 0
    lines = arrived["stderr"].splitlines()
    assert all(line[:20].endswith("Z ") or line[19] == "Z" for line in lines)
    assert "begins" in lines[0]
    assert "ended" in lines[-1]


@pytest.mark.framework
@pytest.mark.parametrize(
    ("handler", "code"),
    [(signal.SIG_DFL, 75), pytest.param(signal.SIG_IGN, 0, marks=pytest.mark.slow)],
    ids=["plain", "nohup"],
)
def test_a_terminal_that_goes_away_ends_the_job_as_sigterm_does_unless_under_nohup(night, handler, code):
    process = subprocess.Popen(
        [*LINPROBE, "nightly", "job.toml"], cwd=night, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, handler),
    )  # fmt: skip
    # The first thing that a night leaves behind.
    while not list(night.glob("s/sets/*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert ("interrupted; what was computed is kept" in err) == (code == 75)


class _Failing(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


def test_a_stream_that_failed_is_not_tried_again():
    stream = Telling(_Failing())
    assert stream.write("lost") == 4
    assert stream.failure is not None
    stream.flush()
    assert not stream.isatty()
    closed = io.StringIO()
    closed.close()
    assert telling(closed).write("lost") == 4
    assert Telling(None).write("lost") == 4


def test_what_a_log_is_made_of():
    out = io.StringIO()
    log = LogLines(Telling(out), "text", lambda: "2026-01-01T00:00:00Z")
    log.write("half a ")
    assert out.getvalue() == ""
    log.write("line\nand another\n\n")
    console = Console(is_json=False, out=io.StringIO(), err=log)
    console.say("a line\n  note: with another")
    assert out.getvalue().splitlines() == [
        "2026-01-01T00:00:00Z half a line",
        "2026-01-01T00:00:00Z and another",
        "2026-01-01T00:00:00Z a line | note: with another",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat\x1b[2Jdog", "cat\\x1b[2Jdog"),
        ("a\rb", "a\\rb"),
        ("\x9b31mred", "\\x9b31mred"),
        ("exe\u202egpj", "exe\\u202egpj"),
        ("tab\tand\nline stay, and so does é", "tab\tand\nline stay, and so does é"),
    ],
)
def test_control_characters_are_made_visible(text, shown):
    assert visible(text) == shown
    err, out = io.StringIO(), io.StringIO()
    console = Console(is_json=False, out=out, err=err)
    console.say(text.partition("\n")[0])
    console.result(text, {})
    assert err.getvalue() == shown.partition("\n")[0] + "\n"
    assert out.getvalue() == f"{shown}\n"


def test_no_name_can_forge_a_line():
    err = io.StringIO()
    Console(is_json=False, out=io.StringIO(), err=err).say("class 'a\nlinprobe: done' is new")
    assert err.getvalue() == "class 'a\n  linprobe: done' is new\n"
