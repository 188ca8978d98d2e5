import shutil
import subprocess
from pathlib import Path

import pytest

from jobs.errors import ConfigError
from jobs.schedule import schedule_text


def test_cron_runs_the_job_in_its_folder_at_the_time():
    text = schedule_text("cron", Path("/jobs/n.toml"), "2:17", Path("/data/my work"), Path("/opt/linprobe"))
    line = text.splitlines()[-1]
    assert line == (
        "17 2 * * * cd '/data/my work' && /opt/linprobe nightly /jobs/n.toml >> '/data/my work/linprobe-nightly.log' 2>&1"
    )


def test_cron_escapes_the_percent_sign_that_would_end_the_line():
    text = schedule_text("cron", Path("/jobs/100%.toml"), "23:05", Path("/d"), Path("/opt/linprobe"))
    assert r"/jobs/100\%.toml" in text


def test_systemd_gets_a_service_and_a_timer_that_catches_up():
    text = schedule_text("systemd", Path("/jobs/n.toml"), "02:17", Path("/data"), Path("/opt/linprobe"))
    service, timer = text.split("# /etc/systemd/system/linprobe-n.timer")
    assert "Type=oneshot" in service
    assert "ExecStart=/opt/linprobe nightly /jobs/n.toml" in service
    assert "WorkingDirectory=/data" in service
    assert "OnCalendar=*-*-* 02:17:00" in timer
    assert "Persistent=true" in timer


def test_systemd_accepts_the_units(tmp_path):
    analyze = shutil.which("systemd-analyze")
    assert analyze, "systemd-analyze is missing: apt-get install systemd"
    program = tmp_path / "linprobe of mine"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = schedule_text("systemd", tmp_path / "n$x 5%.toml", "02:17", tmp_path, program)
    parts = text.split("# /etc/systemd/system/")
    paths = []
    for part in parts[1:]:
        name, _, body = part.partition("\n")
        path = tmp_path / name
        path.write_text(body)
        paths.append(str(path))
    found = subprocess.run(
        [analyze, "verify", "--recursive-errors=yes", "--man=no", *paths], capture_output=True, text=True, check=False
    )
    ours = [line for line in found.stderr.splitlines() if str(tmp_path) in line or "linprobe" in line]
    assert ours == []


@pytest.mark.parametrize("at", ["24:00", "2", "02:60", "noon", ""])
def test_a_time_that_is_none_is_refused(at):
    with pytest.raises(ConfigError, match="a time of day from 00:00 to 23:59 expected"):
        schedule_text("cron", Path("n.toml"), at, Path("/d"))


def test_the_night_uses_the_store_of_the_day():
    text = schedule_text("cron", Path("/n.toml"), "02:17", Path("/d"), Path("/opt/linprobe"), Path("/my store"))
    assert "nightly /n.toml --store '/my store' >>" in text
