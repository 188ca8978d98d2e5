import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from linprobe.commands.schedule import Container, schedule_text
from linprobe.job.errors import ConfigError

CONTAINER = Container("hub.example/linprobe:1", "night-data")


def test_cron_runs_the_job_in_its_folder_at_the_time():
    text = schedule_text(
        "cron", Path("/jobs/n.toml"), "2:17", folder=Path("/data/my work"), program=Path("/opt/linprobe")
    )
    line = text.splitlines()[-1]
    assert line == (
        "17 2 * * * cd '/data/my work' && /opt/linprobe nightly /jobs/n.toml >> '/data/my work/linprobe-nightly.log' 2>&1"
    )


def test_cron_escapes_the_percent_sign_that_would_end_the_line():
    text = schedule_text("cron", Path("/jobs/100%.toml"), "23:05", folder=Path("/d"), program=Path("/opt/linprobe"))
    assert r"/jobs/100\%.toml" in text


def test_systemd_gets_a_service_and_a_timer_that_catches_up():
    text = schedule_text("systemd", Path("/jobs/n.toml"), "02:17", folder=Path("/data"), program=Path("/opt/linprobe"))
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
    text = schedule_text("systemd", tmp_path / "n$x 5%.toml", "02:17", folder=tmp_path, program=program)
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
        schedule_text("cron", Path("n.toml"), at, folder=Path("/d"))


def test_the_night_uses_the_store_of_the_day():
    text = schedule_text(
        "cron", Path("/n.toml"), "02:17", folder=Path("/d"), program=Path("/opt/linprobe"), store=Path("/my store")
    )
    assert "nightly /n.toml --store '/my store' >>" in text


def test_kubernetes_gets_a_cron_job_that_tries_again_what_was_interrupted_alone():
    folder = Path("/data/my work: 花")
    text = schedule_text(
        "k8s", folder / "Große Nacht.toml", "2:05", folder=folder, store=folder / "s", container=CONTAINER
    )
    found = yaml.safe_load(text)
    assert (found["apiVersion"], found["kind"]) == ("batch/v1", "CronJob")
    assert found["metadata"]["name"] == "linprobe-gro-e-nacht"
    spec = found["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("5 2 * * *", "Etc/UTC", "Forbid")
    job = spec["jobTemplate"]["spec"]
    disruption, final = job["podFailurePolicy"]["rules"]
    assert disruption == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    assert final["action"] == "FailJob"
    assert final["onExitCodes"] == {"containerName": "linprobe", "operator": "In", "values": [2, 3, 65, 69, 70, 74]}
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert container == {
        "name": "linprobe",
        "image": "hub.example/linprobe:1",
        "command": ["linprobe", "nightly", str(folder / "Große Nacht.toml"), "--store", str(folder / "s")],
        "workingDir": str(folder),
        "volumeMounts": [{"name": "work", "mountPath": str(folder)}],
    }
    assert pod["volumes"] == [{"name": "work", "persistentVolumeClaim": {"claimName": "night-data"}}]


def test_kubernetes_names_are_short_enough():
    name = yaml.safe_load(
        schedule_text("k8s", Path(f"/d/{'x.' * 60}toml"), "2:05", folder=Path("/d"), container=CONTAINER)
    )
    assert len(name["metadata"]["name"]) <= 52
    assert name["metadata"]["name"][-1].isalnum()


@pytest.mark.parametrize("container", [None, Container("", "c"), Container("i", "")])
def test_kubernetes_needs_an_image_and_a_claim(container):
    with pytest.raises(ConfigError, match=r"--image IMAGE expected.*--claim NAME.*mounted at /d"):
        schedule_text("k8s", Path("/d/n.toml"), "2:05", folder=Path("/d"), container=container)


@pytest.mark.parametrize(("config", "store"), [("/e/n.toml", "/d/s"), ("/d/n.toml", "/e/s")])
def test_what_the_claim_does_not_hold_is_told(config, store):
    with pytest.raises(ConfigError, match=r"/e/.* lies outside /d, where the claim is mounted"):
        schedule_text("k8s", Path(config), "2:05", folder=Path("/d"), store=Path(store), container=CONTAINER)


def test_slurm_gets_an_entry_of_scrontab_whose_signal_reaches_the_night():
    text = schedule_text(
        "slurm", Path("/jobs/n x.toml"), "2:05", folder=Path("/data/my work"), program=Path("/opt/linprobe")
    )
    options = [line for line in text.splitlines() if line.startswith("#SCRON ")]
    assert options == [
        "#SCRON --job-name=linprobe-n-x",
        "#SCRON --chdir='/data/my work'",
        "#SCRON --output=linprobe-nightly-%j.log",
        "#SCRON --time=12:00:00",
        "#SCRON --signal=B:TERM@300",
    ]
    assert text.splitlines()[-1] == "5 2 * * * exec /opt/linprobe nightly '/jobs/n x.toml'"
