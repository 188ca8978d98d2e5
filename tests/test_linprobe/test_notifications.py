"""Who is told of a night, and the numbers that monitoring reads: what fails there harms nothing."""

import http.server
import json
import sys
import threading
import time

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from store import FeatureStore

pytestmark = pytest.mark.framework

KEEP = "import sys, pathlib; path = pathlib.Path(sys.argv[1]); path.open('a').write(sys.stdin.read() + chr(10))"


@pytest.fixture
def night(run, tmp_path):
    """Run a night on 40 + 20 images, or as many fewer as are said; gives exit code and stderr."""

    def night(extra="", *, images=60, flags=()):
        rng = np.random.default_rng(0)
        made, labels = rng.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8), np.arange(60) % 3
        parts = {"train_images": made[:40], "train_labels": labels[:40]}
        np.savez(tmp_path / "images.npz", **parts, test_images=made[40:images], test_labels=labels[40:images])
        (tmp_path / "job.toml").write_text(
            f"""
            store = "s"
            [[datasets]]
            name = "made"
            source = "npz:{tmp_path}/images.npz"
            [[extractors]]
            name = "pixels"
            [[probes]]
            head = "ridge"
            {extra}
            """
        )
        code, _, err = run("nightly", "job.toml", *flags)
        return code, err

    return night


def told(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_commands_get_the_nights_document_and_a_failure_is_told_once(night, tmp_path):
    def command(name):
        return json.dumps([sys.executable, "-c", KEEP, str(tmp_path / name)])

    extra = "[notify]\n" + "\n".join(f"on_{what} = {command(what)}" for what in ("start", "success", "failure"))
    assert night(extra)[0] == 0
    assert [night(extra, images=50)[0] for _ in range(3)] == [65, 65, 65]
    assert night(extra)[0] == 0
    assert night(extra, images=50)[0] == 65
    starts, successes, failures = (told(tmp_path / name) for name in ("start", "success", "failure"))
    assert len(starts) == 6
    assert [one["verdict"] for one in successes] == ["success", "success"]
    # Of three bad nights the first is told, and the one after the good one.
    assert [one["verdict"] for one in failures] == ["failure", "failure"]
    assert [row["value"] > 0 for row in successes[0]["answered"]] == [True]
    assert "20 images before, 10 now" in failures[0]["errors"][0]["error"]
    nights = FeatureStore("s").nights()
    assert [one["night"] for one in starts] == [one["night"] for one in nights]
    assert "on_failure" not in json.dumps(nights)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ([sys.executable, "-c", "import sys; sys.exit(7)", "SECRET"], "notify.on_success: the command ended with 7"),
        (["/nowhere/SECRET"], "notify.on_success: the command could not be started (FileNotFoundError)"),
        ("http://127.0.0.1:9/SECRET", "notify.on_success: the URL was not reached (URLError)"),
    ],
)
def test_what_fails_is_logged_without_its_secrets_and_harms_nothing(night, target, says):
    code, err = night(f"[notify]\non_success = {json.dumps(target)}")
    assert code == 0
    assert says in err
    assert "SECRET" not in err


def test_a_command_that_hangs_is_killed_with_what_it_started(night, tmp_path):
    late, script = tmp_path / "late", tmp_path / "hang.py"
    waiting = f"import time; time.sleep(3); open({str(late)!r}, 'w')"
    script.write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {waiting!r}])\n")
    began = time.monotonic()
    code, err = night(f"[notify]\ntimeout = 0.5\non_success = {json.dumps([sys.executable, str(script)])}")
    assert code == 0
    assert "notify.on_success: the command was killed, it took more than 0.5 s" in err
    time.sleep(max(0.0, began + 6 - time.monotonic()))
    assert not late.exists()


def test_a_url_gets_the_document_and_may_take_its_token_from_the_environment(night, monkeypatch):
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200 if len(got) == 1 else 500)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("TOKEN", "t0k3n")
    extra = f"[notify]\non_success = 'http://127.0.0.1:{server.server_port}/hook/${{TOKEN}}'"
    code, err = night(extra)
    assert (code, "notify" in err) == (0, False)
    code, err = night(extra)
    assert code == 0
    assert "notify.on_success: the server answered 500" in err
    assert "t0k3n" not in err
    server.shutdown()
    server.server_close()
    assert [path for path, _ in got] == ["/hook/t0k3n"] * 2
    assert got[0][1]["verdict"] == "success"


def samples(path):
    families = text_string_to_metric_families(path.read_text())
    found = [sample for family in families for sample in family.samples]
    return {(sample.name, *(sample.labels.get(of) for of in ("dataset", "split"))): sample.value for sample in found}


def test_monitoring_finds_the_last_nights_numbers(night, tmp_path):
    path = tmp_path / "collected" / "linprobe.prom"
    extra = f"[metrics]\ntextfile = '{path}'"
    assert night(extra)[0] == 0
    good = samples(path)
    assert good["linprobe_night_exit_code", None, None] == 0
    assert good["linprobe_rows", "made", "test"] == 20
    assert good["linprobe_lost_images", "made", "test"] == 0
    assert good["linprobe_night_forward_passes", None, None] == 60
    assert (
        good["linprobe_night_success_timestamp_seconds", None, None]
        == good["linprobe_night_end_timestamp_seconds", None, None]
    )
    assert good["linprobe_result", "made", None] == FeatureStore("s").nights()[0]["answered"][0]["value"]
    time.sleep(1.1)
    assert night(extra, images=50)[0] == 65
    bad = samples(path)
    assert bad["linprobe_night_exit_code", None, None] == 65
    assert bad["linprobe_night_failed_parts", None, None] == 1
    assert (
        bad["linprobe_night_success_timestamp_seconds", None, None]
        == good["linprobe_night_success_timestamp_seconds", None, None]
    )
    assert (
        bad["linprobe_night_end_timestamp_seconds", None, None]
        > good["linprobe_night_end_timestamp_seconds", None, None]
    )
    assert night(extra, images=50, flags=["--accept-shrink", "made"])[0] == 0
    assert samples(path)["linprobe_lost_images", "made", "test"] == 10


def test_a_metrics_file_that_cannot_be_written_is_told_and_harms_nothing(night):
    code, err = night("[metrics]\ntextfile = '/proc/nowhere/linprobe.prom'")
    assert code == 0
    assert "metrics.textfile: " in err


def test_neither_config_show_nor_an_error_repeats_a_secret(night, run, tmp_path):
    night("[notify]\non_failure = 'https://example.org/SECRET'")
    code, out, _ = run("config", "show", "job.toml")
    assert code == 0
    assert 'on_failure = "(hidden)"' in out
    assert "SECRET" not in json.dumps(run("config", "show", "job.toml", "--json")[1])
    code, err = night('[notify]\non_failure = "mail \'SECRET"')
    assert code == 2
    assert "notify.on_failure" in err
    assert "SECRET" not in err
    assert "SECRET" not in (tmp_path / "linprobe-report" / "index.html").read_text()
