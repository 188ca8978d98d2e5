"""`--workers` and `--shard`: real processes, killed and not, over one store."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from onnx_files import node, save_model
from PIL import Image

from extract import UnknownName
from linprobe.executors import Crew
from linprobe.executors.places import Place, share_machine
from store import FeatureStore

# A network of somebody's own, which notes where it runs, and does to its process what the test wants.
MODULE = """
import multiprocessing, os, pathlib, signal, time

class Means:
    size, dim, sha256 = 6, 3, "a" * 64

    def __init__(self):
        self.here = pathlib.Path(__file__).parent
        self.is_worker = multiprocessing.parent_process() is not None

    def __call__(self, images):
        what = os.environ.get("MEANS", "")
        if self.is_worker:
            (self.here / f"{os.getpid()}.pid").write_text(repr(sorted(os.sched_getaffinity(0))))
            print("a library that prints")
        if what == "kill" and self.is_worker and not (self.here / "killed").exists():
            (self.here / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "sleep":
            time.sleep(600)
        features = images.mean(axis=(1, 2))
        return features * float("nan") if what == "nan" else features

def means():
    return Means()
"""
MEANS = "python:means_of_tests:means"


@pytest.fixture
def means(tmp_path, monkeypatch):
    """The folder of a module that workers can import too; returns a function: what its network does."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "means_of_tests.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "means_of_tests", raising=False)

    def does(what):
        monkeypatch.setenv("MEANS", what)
        return folder

    return does


@pytest.fixture
def many_images(tmp_path):
    """2,100 small images of two classes: three chunks."""
    folder = tmp_path / "many"
    rng = np.random.default_rng(0)
    for number in range(2100):
        path = folder / "ab"[number % 2] / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8)).save(path)
        os.utime(path, (1e9, 1e9))  # files that have rested are known the next time
    return folder


def shards(store):
    return sorted(path.name for path in Path(store).glob("pools/*/shards/*.h5"))


def rows_of(document):
    return {row["split"]: row for row in document["feature_sets"]}


@pytest.mark.framework
def test_two_workers_compute_what_one_process_does_bit_by_bit(run, many_images, tmp_path):
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(5, 3, 3, 3)).astype(np.float32)
    mean = node("ReduceMean", ["maps"], "features", axes=[2, 3], keepdims=0)
    nodes = [node("Conv", ["images", "kernel"], "maps", strides=[2, 2]), mean]
    save_model(tmp_path / "net.onnx", nodes, {"images": ("N", 3, 16, 16)}, {"features": ("N", 5)}, {"kernel": kernel})
    (tmp_path / "job.toml").write_text(
        f"""
        workers = 2
        [[datasets]]
        name = "many"
        source = "folder:{many_images}"
        [[extractors]]
        name = "onnx:{tmp_path / "net.onnx"}"
        size = 16
        range = "0..255"
        """
    )
    code, shared, err = run("extract", "job.toml", "--store", "two", "--json")
    assert code == 0, err
    row = rows_of(shared)["all"]
    assert (row["rows"], row["forward_passes"], row["reused"], row["engine"]) == (2100, 2100, 0, "openvino")
    assert "2 workers: " in err
    assert err.count("5 features, openvino on CPU") == 1
    alone = rows_of(run("extract", "job.toml", "--store", "one", "--workers", "1", "--json")[1])["all"]
    assert alone["key"] == row["key"]
    assert shards("one") == shards("two")
    assert len(shards("one")) == 3
    # Nothing lacks: no worker is started.
    code, again, err = run("extract", "job.toml", "--store", "two", "--json")
    assert rows_of(again)["all"]["status"] == "cached"
    assert "2 workers: " not in err
    # What workers have read of the files is kept: nobody reads them again.
    index, *_ = (tmp_path / "two" / "cache" / "stat").glob("*.index")
    assert len(json.loads(index.read_bytes().partition(b"\n")[2])["names"]) == 2100


@pytest.mark.slow
def test_the_share_of_a_killed_worker_is_computed_by_the_job_itself(run, many_images, means):
    folder = means("kill")
    job = ("extract", "--dataset", f"folder:{many_images}", "--extractor", MEANS, "--workers", "2", "--json")
    code, document, err = run(*job)
    assert code == 0
    assert rows_of(document)["all"]["rows"] == 2100
    assert (
        "of 2 has ended before its time (killed, or out of memory); what it had not committed is computed here" in err
    )
    assert (folder / "killed").exists()
    store = FeatureStore("linprobe-store")
    assert store.get(key=document["feature_sets"][0]["key"]).features.shape == (2100, 3)
    cores = {file.read_text() for file in folder.glob("*.pid")}
    assert len(cores) == min(2, len(os.sched_getaffinity(0)))


@pytest.mark.framework
def test_what_a_worker_finds_wrong_is_the_jobs_error(run, many_images, means):
    means("nan")
    code, _, err = run("extract", "--dataset", f"folder:{many_images}", "--extractor", MEANS, "--workers", "2")
    assert code == 65
    assert "gives NaN or infinity for it" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_workers_end_with_the_job_however_it_ends(many_images, means, tmp_path):
    folder = means("sleep")
    command = [Path(sys.executable).with_name("linprobe"), "extract", "--dataset", f"folder:{many_images}"]
    options = ["--extractor", MEANS, "--workers", "2", "--device", "cpu"]
    # A store each, or the second job would wait for the first one's lock.
    jobs = [
        subprocess.Popen([*command, *options, "--store", tmp_path / name], stderr=subprocess.PIPE)
        for name in ("a", "b")
    ]
    try:
        _wait(lambda: len(list(folder.glob("*.pid"))) == 4)
    finally:
        for job, number in zip(jobs, (signal.SIGTERM, signal.SIGKILL), strict=True):
            job.send_signal(number)
    assert [job.wait(timeout=30) for job in jobs] == [75, -signal.SIGKILL]
    for job in jobs:
        job.stderr.close()
    workers = [int(file.stem) for file in folder.glob("*.pid")]
    _wait(lambda: not any(_is_running(pid) for pid in workers))


def _wait(is_so):
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def _is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    # An orphan's rest, which nobody has fetched yet, runs no more.
    return state != "Z"


@pytest.mark.framework
def test_jobs_of_an_array_compute_a_share_each_and_the_last_one_publishes(run):
    job = ("extract", "--dataset", "bundled:digits", "--split", "train", "--extractor", "pixels", "--json")
    plan = rows_of(run(*job, "--shard", "1/2", "--dry-run")[1])["train"]
    assert (plan["status"], plan["forward_passes"]) == ("planned", 413)
    code, first, err = run(*job, "--shard", "1/2")
    row = rows_of(first)["train"]
    assert (code, row["status"], row["key"], row["shard"]) == (0, "partial", "", "1/2")
    assert (row["rows"], row["forward_passes"]) == (413, 413)
    assert "shard 1/2 is done: 413 rows" in err
    assert run("probe", "--dataset", "bundled:digits", "--extractor", "pixels")[0] == 69
    again = rows_of(run(*job, "--shard", "1/2")[1])["train"]
    assert (again["status"], again["forward_passes"], again["reused"]) == ("partial", 0, 413)
    last = rows_of(run(*job, "--shard", "0/2")[1])["train"]
    assert (last["status"], last["forward_passes"], last["reused"]) == ("extracted", 1024, 413)
    whole = rows_of(run(*job)[1])["train"]
    assert (whole["status"], whole["key"]) == ("cached", last["key"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--workers", "0"), "--workers 0: a number from 1 to 256, or auto, expected"),
        (("--workers", "many"), "--workers many: a number from 1 to 256, or auto, expected"),
        (("--shard", "2/2"), "shard '2/2': I/N expected, I from 0 to N - 1"),
    ],
)
def test_a_number_of_workers_or_a_share_that_is_none_is_refused(run, flags, message):
    code, _, err = run("extract", "--dataset", "bundled:digits", *flags)
    assert code == 2
    assert message in err


def test_cores_and_gpus_are_shared_equally():
    assert share_machine(1, 0, range(4)) == [Place((0, 1, 2, 3))]
    assert [place.cores for place in share_machine(3, 0, range(8))] == [(0, 1), (2, 3, 4), (5, 6, 7)]
    # More workers than cores share them.
    assert [place.cores for place in share_machine(4, 0, (2, 5))] == [(2,), (2,), (5,), (5,)]
    assert [place.gpu for place in share_machine(4, 4, range(8))] == ["0", "1", "2", "3"]
    assert [place.gpu for place in share_machine(3, 2, range(8))] == ["0", "1", "0"]
    assert [place.gpu for place in share_machine(2, 2, range(8), visible="GPU-8a, 3")] == ["GPU-8a", "3"]
    assert str(Place((1, 2), "3")) == "GPU 3, 2 cores"


@pytest.mark.heavy
def test_a_place_is_occupied_before_frameworks_look():
    code = (
        "import os, sys; from linprobe.executors.places import Place, usable_cores; "
        "core = usable_cores()[-1]; Place((core,), '7').occupy(); "
        "assert usable_cores() == (core,); assert os.environ['CUDA_VISIBLE_DEVICES'] == '7'; "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("asked", "gpus", "device", "expected"),
    [("auto", 4, "auto", 4), ("auto", 0, "auto", 1), ("auto", 4, "cpu", 1), (3, 1, "auto", 3), ("auto", 1, "auto", 1)],
)
def test_auto_is_a_worker_for_each_gpu(monkeypatch, asked, gpus, device, expected):
    hired = []
    monkeypatch.setattr("extract.engines.tensorflow_engine.find_gpus", lambda: ["gpu"] * gpus)
    monkeypatch.setattr(
        "linprobe.executors.local.LocalExecutor", lambda places, notify: hired.append(places) or _Idle(places)
    )
    crew = Crew(asked, lambda text: None)
    crew.compute(_spec(device), 100, lambda progress: None)
    assert len(hired[0]) == expected


class _Idle:
    """An executor that notes the shares that it is given, and does none."""

    def __init__(self, places):
        self.workers = len(places)

    def compute(self, specs, on_progress):
        assert len({str(spec.share) for spec in specs}) == self.workers
        return []


def _spec(device):
    from extract import WHOLE, Budget
    from linprobe.executors import SplitSpec
    from linprobe.job.config import ExtractorConfig

    extractor = ExtractorConfig(name="pixels")
    return SplitSpec(
        store=Path("s"), dataset="d", source="x:y", split="all", extractor=extractor, engine="auto", device=device,
        budget=Budget(), accept_drift=False, known_files=(Path("c"), 0), share=WHOLE,
    )  # fmt: skip


def test_errors_travel_between_processes():
    error = UnknownName("head", "logistik", ["logistic", "ridge"])
    ours, theirs = multiprocessing.Pipe()
    ours.send(error)
    assert str(theirs.recv()) == str(error)
    assert "did you mean 'logistic'?" in str(error)
