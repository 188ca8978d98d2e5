import pytest

from store import FeatureStore


@pytest.fixture
def job(tmp_path, images):
    def write(extra=""):
        path = tmp_path / "job.toml"
        path.write_text(
            f"""
            store = "{tmp_path}/s"
            [[datasets]]
            name = "shades"
            source = "folder:{images}"
            [[extractors]]
            name = "pixels"
            [[probes]]
            head = "logistic"
            [report]
            out = "{tmp_path}/report"
            {extra}
            """
        )
        return path

    return write


@pytest.mark.framework
def test_a_night_extracts_probes_and_reports(run, job, tmp_path):
    code, document, _ = run("nightly", job(), "--json")
    assert code == 0
    assert [row["status"] for row in document["feature_sets"]] == ["extracted"]
    assert [row["status"] for row in document["runs"]] == ["trained"]
    assert document["report"] == str(tmp_path / "report" / "index.html")
    assert "shades" in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.framework
def test_a_second_night_computes_nothing(run, job):
    run("nightly", job())
    code, document, _ = run("nightly", job(), "--json")
    assert code == 0
    assert [row["forward_passes"] for row in document["feature_sets"]] == [0]
    assert [row["status"] for row in document["runs"]] == ["cached"]


@pytest.mark.framework
def test_people_are_told_accuracies_floors_and_where_the_report_is(run, job, tmp_path):
    _, out, _ = run("nightly", job())
    assert "pixels" in out
    assert "floor" in out
    assert f"Report: {tmp_path}/report/index.html" in out


def test_a_night_that_finds_another_running_ends_with_75(run, job, tmp_path):
    store = FeatureStore.create(tmp_path / "s")
    with store.lock("nightly", wait=False):
        code, _, err = run("nightly", job())
    assert code == 75
    assert "run it again" in err


@pytest.mark.framework
@pytest.mark.parametrize("other", [("--head", "dense"), ("--train", "all/seed0[:50%]", "--test", "all/seed0[50%:]")])
def test_a_gate_whose_baseline_is_not_answered_fails(run, job, other):
    first = run("nightly", job(), "--json")[1]["runs"][0]
    options = ("--dataset", "shades", "--extractor", "pixels", *other, "--store", "s", "--json")
    other = run("probe", job(), *options)[1]["runs"][0]
    gate = f"[gate]\nmax_drop = 0.01\nbaselines = ['{first['run_id']}', '{other['run_id']}']"
    code, _, err = run("nightly", job(gate))
    assert code == 3
    assert "no run of tonight answers the same question" in err


@pytest.mark.parametrize("baseline", ["0123abcd", "shades/pixels/logistic"])
def test_a_baseline_that_pins_no_run_is_refused_before_the_night_begins(run, job, baseline):
    run("nightly", job())
    code, out, err = run("nightly", job(f"[gate]\nmax_drop = 0.01\nbaselines = ['{baseline}']"))
    assert (code, out) == (2, "")
    assert baseline in err
    assert "cached" not in err  # nothing was extracted or probed
