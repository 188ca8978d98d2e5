import io

import pytest

from extract import Progress
from linprobe.api.progress import ProgressConsole
from linprobe.job.console import Console
from linprobe.job.pace import Pace


def test_speed_counts_what_is_computed_and_time_left_what_is_done():
    pace = Pace()
    pace.note(Progress(1000, computed=0, reused=100), 5.0)
    pace.note(Progress(1000, computed=80, reused=120, quarantined=0), 15.0)
    # 80 computed and 100 done in 10 s; 800 are left.
    assert pace.images_per_second == pytest.approx(8)
    assert pace.seconds_left == pytest.approx(80)
    assert pace.text() == "8 images/s, 1:20 left"


def test_an_unknown_total_leaves_the_time_open():
    pace = Pace()
    pace.note(Progress(None), 0.0)
    pace.note(Progress(None, computed=50), 10.0)
    assert pace.seconds_left is None
    assert pace.text() == "5 images/s"


def test_the_speed_is_that_of_the_last_minute():
    pace = Pace()
    for second in range(0, 200, 10):
        pace.note(Progress(10_000, computed=second if second < 100 else 100 + (second - 100) * 5), float(second))
    assert pace.images_per_second == pytest.approx(5)


def test_hours_are_shown_as_such():
    pace = Pace()
    pace.note(Progress(100_000), 0.0)
    pace.note(Progress(100_000, computed=100), 10.0)
    assert pace.text() == "10 images/s, 2:46:30 left"


def test_a_log_gets_a_line_after_ten_seconds_and_then_each_minute():
    now = [0.0]
    err = io.StringIO()
    console = Console(is_json=False, out=io.StringIO(), err=err, clock=lambda: now[0])
    with console.progress("flowers/all toy") as update:
        for second in range(0, 135, 5):
            now[0] = float(second)
            update(Progress(4000, read=second, computed=10 * second, reused=7, quarantined=1))
    lines = err.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0] == (
        "flowers/all toy: 108 of 4,000 images, 100 computed, 7 reused, 1 quarantined; 10 images/s, 6:29 left"
    )


@pytest.mark.parametrize(("is_terminal", "shows"), [(True, True), (False, False)])
def test_many_probes_from_python_have_a_bar_where_somebody_looks(monkeypatch, is_terminal, shows):
    class Stream(io.StringIO):
        def isatty(self):
            return is_terminal

    stream = Stream()
    monkeypatch.setattr("sys.stderr", stream)
    with ProgressConsole().steps("probes", 4) as step:
        for _ in range(4):
            step()
    assert ("probes" in stream.getvalue() and "/4" in stream.getvalue()) == shows
