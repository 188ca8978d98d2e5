import tomllib
from pathlib import Path

import pytest

from linprobe.job.config import JobConfig
from linprobe.job.plan import Selection, select


def test_the_first_file_runs_as_it_stands_and_is_never_overwritten(run):
    assert run("config", "init")[:2] == (0, "linprobe.toml\n")
    before = Path("linprobe.toml").read_bytes()
    code, found, err = run("config", "check", "linprobe.toml", "--json")
    assert code == 0, err
    assert [part["part"] for part in found["parts"]] == ["digits", "efficientnet_lite0", "pixels", "linprobe-store"]
    assert "train 1,437" in found["parts"][0]["found"]
    code, _, err = run("config", "init", "linprobe.toml")
    assert (code, Path("linprobe.toml").read_bytes()) == (2, before)
    assert "name another file" in err
    assert [path.name for path in Path().iterdir()] == ["linprobe.toml"]


@pytest.mark.parametrize("example", ["demo", "every_key", "cats_vs_dogs"])
def test_what_is_shown_is_the_same_job(run, tmp_path, example):
    file = Path(__file__).parents[2] / "examples" / f"{example}.toml"
    code, shown, _ = run("config", "show", file)
    assert code == 0
    again = tmp_path / "again.toml"
    again.write_text(shown)
    assert tomllib.loads(run("config", "show", again)[1]) == tomllib.loads(shown)
    first, second = (select(Selection(config=each), needs_probes=True) for each in (file, again))
    assert (first.datasets, first.extractors, first.gate) == (second.datasets, second.extractors, second.gate)


def test_show_tells_where_a_value_comes_from(run, tmp_path, monkeypatch):
    job = tmp_path / "job.toml"
    job.write_text('store = "here"\n[[datasets]]\nsource = "bundled:digits"\n[[probes]]\nhead = "knn"\n')

    def origin(key, *flags):
        lines = run("config", "show", job, *flags)[1].splitlines()
        return next(line.split()[-1] for line in lines if line.removeprefix("# ").startswith((f"{key} ", f"{key}:")))

    assert [origin(key) for key in ("store", "source", "workers", "train", "metric")] == [
        "file", "file", "default", "default", "default",
    ]  # fmt: skip
    assert origin("store", "--store", "there") == "flag"
    monkeypatch.setenv("LINPROBE_STORE", "elsewhere")
    assert origin("store") == "environment"
    found = run("config", "show", job, "--json")[1]["config"]
    assert found["store"] == "elsewhere"
    assert found["probes"][0]["head"] == "knn"


def test_check_tells_of_all_that_is_wrong(run, gone_and_mine, tmp_path):
    job = tmp_path / "job.toml"
    job.write_text(
        f"""
        {gone_and_mine}
        train = "trian[:80%]"
        [[datasets]]
        name = "far"
        source = "tfds:tf_flowers"
        [[extractors]]
        name = "inception_v3"
        [[extractors]]
        name = "savedmodel:{tmp_path / "none"}"
        [gate]
        max_drop = 0.01
        baselines = ["feed"]
        """
    )
    code, found, err = run("config", "check", job, "--json")
    assert code == 69
    assert [part["part"] for part in found["parts"]] == ["far", "inception_v3"]
    assert [error["part"] for error in found["errors"]][:2] == ["gone", "mine"]
    assert len(found["errors"]) == 4
    assert "trian" in err
    assert not (tmp_path / "linprobe-store").exists()


def test_check_refuses_what_no_job_may_say(run, tmp_path):
    job = tmp_path / "job.toml"
    job.write_text('[[datasets]]\nsource = "bundled:digits"\n[[probes]]\nhead = "logistic"\nC = 3\n')
    code, _, err = run("config", "check", job)
    assert code == 2
    assert "probes.1" in err


def test_starter_is_a_job():
    assert JobConfig.from_toml(Path(__file__).parents[2] / "linprobe" / "commands" / "starter.toml").gate is None
