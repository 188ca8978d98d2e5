"""How fast the store is, beside NumPy's own files: ratios of one run.

    python -m benchmarks.store [--rows 60000] [--dim 1280] [--rounds 5] [--sets 1000] [--runs 5000] [--images 60000]

Ours and the peer work on the same numbers in the same process. Rounds are interleaved (A B, A B, ...)
and medians compared, since the machine's speed drifts. What has no peer is held against a bound, in
seconds of processor time where that is what counts.
"""

import argparse
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.extraction import matrix_rate
from store import (
    LEDGER_COLUMNS,
    Features,
    FeatureStore,
    PoolKey,
    ProbeResult,
    Provenance,
    SetKey,
    rows_digest,
)

CREATED = "2026-01-01T00:00:00Z"
CHUNK = 1024
BULK_BYTES = 16 * 2**20
REPOSITORY = Path(__file__).parent.parent
# Where waiting for a disk would hide what is measured.
MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Result:
    """One measurement against its bound.

    Attributes:
        what: what was measured.
        value: the median of the rounds.
        unit: of value and bound.
        bound: what was promised.
        is_met: whether the value keeps to it.
        note: what stands beside it.
    """

    what: str
    value: float
    unit: str
    bound: str
    is_met: bool
    note: str = ""

    def line(self) -> str:
        met = "met" if self.is_met else "NOT MET"
        return f"  {self.what:52}{self.value:9.3f} {self.unit:6} {self.bound:9} {met:8}{self.note}"


def wall(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def processor(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def interleaved(rounds: int, *calls: Callable[[], float]) -> list[float]:
    """Return the medians of calls that take turns; the first round warms up and does not count."""
    seconds: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + 1):
        for times, call in zip(seconds, calls, strict=True):
            found = call()
            if number:
                times.append(found)
    return [statistics.median(times) for times in seconds]


def contents_of(rows: int) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(rows)]


def pool_key(name: str) -> PoolKey:
    return PoolKey(name, "0" * 64, "pool", {})


def write_rows(store: FeatureStore, name: str, features: np.ndarray, contents: list[bytes]) -> None:
    """Write rows as an extraction does: a shard for each chunk, on the disk before the next is begun."""
    pool = store.pool(pool_key(name))
    for at in range(0, len(features), CHUNK):
        pool.add(features[at : at + CHUNK], contents[at : at + CHUNK])


def publish(store: FeatureStore, pool: str, contents: list[bytes], name: str) -> str:
    rows = [
        (f"{at:06d}.png", 0, "", "ok", "", content.hex(), "PNG", "L", 28, 28, 700)
        for at, content in enumerate(contents)
    ]
    ledger = pd.DataFrame(rows, columns=list(LEDGER_COLUMNS))
    identity = rows_digest((row[0], row[5], row[1], row[3]) for row in rows)
    key = SetKey(pool_key(pool).digest, "train", (name,), len(rows), identity)
    store.publish_set(
        key, ledger, store.pool(pool_key(pool)), provenance=Provenance(CREATED, name, "bench", "bench", "none")
    )
    store.name_set(name, "train", "bench", key=key.digest, created=CREATED)
    return key.digest


def save_synced(path: Path, features: np.ndarray) -> None:
    """What `numpy.save` plus fsync is."""
    with path.open("wb") as file:
        np.save(file, features)
        file.flush()
        os.fsync(file.fileno())


def write_in_bulk(store: FeatureStore, features: np.ndarray, contents: list[bytes]) -> None:
    """Write rows as `store import` does: in large shards, some in flight at a time."""
    rows = BULK_BYTES // features[0].nbytes
    parts = range(0, len(features), rows)
    store.pool(pool_key("bulk")).add_all((features[at : at + rows], contents[at : at + rows]) for at in parts)


def save_chunks(folder: Path, features: np.ndarray) -> None:
    folder.mkdir()
    for at in range(0, len(features), CHUNK):
        save_synced(folder / f"{at}.npy", features[at : at + CHUNK])


def measure_writing(scratch: Path, features: np.ndarray, rounds: int) -> list[Result]:
    contents = contents_of(len(features))
    place = scratch / "written"

    def timed(call: Callable[[], object]) -> float:
        seconds = wall(call)
        shutil.rmtree(place)
        return seconds

    def whole() -> None:
        place.mkdir()
        save_synced(place / "all.npy", features)

    bulk, one, chunks, files = interleaved(
        rounds,
        lambda: timed(lambda: write_in_bulk(FeatureStore.create(place), features, contents)),
        lambda: timed(whole),
        lambda: timed(lambda: write_rows(FeatureStore.create(place), "bench", features, contents)),
        lambda: timed(lambda: save_chunks(place, features)),
    )
    speeds = [f"{features.nbytes / seconds / 1e6:.0f}" for seconds in (bulk, one, chunks, files)]
    return [
        Result(
            "writing in bulk, to numpy.save + fsync of the same bytes",
            one / bulk,
            "x",
            ">= 0.8",
            one >= 0.8 * bulk,
            f"{speeds[0]} and {speeds[1]} MB/s",
        ),
        Result(
            f"chunks of {CHUNK:,}, to numpy.save + fsync of each",
            files / chunks,
            "x",
            ">= 0.8",
            files >= 0.8 * chunks,
            f"{speeds[2]} and {speeds[3]} MB/s",
        ),
    ]


def measure_reading(scratch: Path, features: np.ndarray, rounds: int) -> list[Result]:
    root = scratch / "read"
    store = FeatureStore.create(root)
    contents = contents_of(len(features))
    write_rows(store, "bench", features, contents)
    key = publish(store, "bench", contents, "bench")
    np.save(scratch / "read.npy", features)

    def opened(path: Path = root) -> np.ndarray:
        return np.array(FeatureStore(path).get(key=key).features)

    np.testing.assert_array_equal(opened(), features)
    mine, theirs = interleaved(rounds, lambda: wall(opened), lambda: wall(lambda: np.load(scratch / "read.npy")))

    def mapping() -> float:
        return wall(lambda: FeatureStore(root).get("bench", "train", "bench").features.shape)

    def first(read: Callable[[Features], object]) -> float:
        """Return GB/s of reads that verify every byte."""
        seconds = []
        for _ in range(rounds):
            # Under another name each file is new to this process, so that it is verified again.
            place = scratch / secrets.token_hex(4)
            os.rename(root, place)
            fresh = FeatureStore(place).get(key=key).features
            seconds.append(wall(partial(read, fresh)))
            os.rename(place, root)
        return features.nbytes / statistics.median(seconds) / 1e9

    mapped = statistics.median(mapping() for _ in range(rounds))
    whole = first(np.array)
    sliced = first(lambda fresh: [fresh[at : at + CHUNK] for at in range(0, len(fresh), CHUNK)])
    return [
        Result(
            "reading all features warm, to numpy.load",
            mine / theirs,
            "x",
            "<= 1.15",
            mine <= 1.15 * theirs,
            f"{mine:.3f} s and {theirs:.3f} s",
        ),
        Result("mapping without reading", 1000 * mapped, "ms", "< 50", mapped < 0.05),
        Result("first read of all, every byte verified", whole, "GB/s", ">= 1", whole >= 1),
        Result("first read of chunk by chunk, likewise", sliced, "GB/s", ">= 1", sliced >= 1),
    ]


def measure_catalog(scratch: Path, sets: int) -> Result:
    store = FeatureStore.create(scratch / "catalog")
    contents = contents_of(8)
    write_rows(store, "bench", np.ones((8, 4), np.float32), contents)
    for number in range(sets):
        publish(store, "bench", contents, f"set {number:05d}")
    seconds = statistics.median(processor(lambda: FeatureStore(store.path).catalog()) for _ in range(3))
    return Result(f"catalog() over {sets:,} sets", seconds, "s", "< 1", seconds < 1)


def probe_result(number: int) -> ProbeResult:
    """Return a run as the logistic head leaves it: a sweep of 45 penalties."""
    table = [{"C": 10.0 ** (at / 5 - 7), "accuracy": 0.9, "nll": 0.3, "gradient": 1e-9} for at in range(45)]
    predictions = pd.DataFrame(
        {
            "example_id": ["a", "b"], "group": ["", ""], "content_sha256": ["0" * 64, "1" * 64], "label": [0, 1],
            "predicted": [0, 1], "is_correct": [True, True], "confidence": [0.9, 0.8], "label_probability": [0.9, 0.8],
        }
    )  # fmt: skip
    names = ("accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "macro_f1", "top5", "nll", "ece")
    return ProbeResult(
        run_id=f"{number:064x}",
        config={
            "dataset": f"dataset {number % 50}", "extractor": "bench", "head": "logistic", "options": {}, "train": None,
            "validation": None, "test": None, "seed": number, "shots": None, "sets": {"train": "0" * 64}, "protocol": 1,
        },
        counts={"n_train": 1000, "n_validation": 100, "n_test": 2, "dim": 1280, "classes": 2},
        selection={"method": "sweep", "selected": {"C": 1e-3}, "table": table, "notes": []},
        metrics=dict.fromkeys(names, 0.9),
        class_names=("a", "b"),
        predictions=predictions,
        curves=pd.DataFrame(),
        head={"kernel": np.zeros((8, 2), np.float32)},
        fit={"converged": True, "iterations": 9},
        created=CREATED,
    )  # fmt: skip


def measure_results(scratch: Path, runs: int) -> list[Result]:
    store = FeatureStore.create(scratch / "results")
    for number in range(runs):
        store.publish_run(probe_result(number))

    def first() -> float:
        shutil.rmtree(store.path / "cache", ignore_errors=True)
        return processor(lambda: FeatureStore(store.path).results())

    cold, warm = interleaved(3, first, lambda: processor(lambda: FeatureStore(store.path).results()))
    assert len(store.results()) == runs
    return [
        Result(f"results() over {runs:,} runs, without its cache", cold, "s CPU", "< 2", cold < 2),
        Result(f"results() over {runs:,} runs, with it", warm, "s CPU", "< 0.5", warm < 0.5),
    ]


def write_images(folder: Path, count: int) -> None:
    """Write grey PNGs of 28 x 28 pixels in ten classes, as Fashion-MNIST has them."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for label in range(10):
        (folder / f"class{label}").mkdir(parents=True)
    for number in range(count):
        pixels = generator.integers(0, 256, (28, 28), np.uint8)
        Image.fromarray(pixels).save(folder / f"class{number % 10}" / f"{number:05d}.png")
    past = time.time() - 60  # what changed a moment ago is read again, rightly
    for path in folder.rglob("*.png"):
        os.utime(path, (past, past))


def measure_noop(scratch: Path, count: int, rounds: int) -> Result:
    """The second `linprobe extract` of a complete folder, as a process of its own, and what it imports."""
    write_images(scratch / "images", count)
    command = (
        "import resource, sys; from linprobe.cli import main; code = main(sys.argv[1:]); "
        "used = resource.getrusage(resource.RUSAGE_SELF); "
        "print(code, used.ru_utime + used.ru_stime, 'tensorflow' in sys.modules)"
    )
    job = [
        "extract",
        "--dataset",
        f"folder:{scratch / 'images'}",
        "--extractor",
        "pixels",
        "--store",
        str(scratch / "s"),
    ]
    # Compiled once, as an installed package is, also where the environment says not to.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(scratch / "compiled")

    def run(is_complete: bool) -> float:
        done = subprocess.run(
            [sys.executable, "-c", command, *job],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        code, seconds, has_tensorflow = done.stdout.split()[-3:]
        assert code == "0", done.stderr
        assert not is_complete or (has_tensorflow == "False" and "cached" in done.stderr), done.stderr
        return float(seconds)

    seconds = []
    for number in range(rounds + 2):  # the first extracts, the second compiles what only it imports
        seconds.append(run(is_complete=number > 0))
    median = statistics.median(seconds[2:])
    return Result(
        f"no-op extract of {count:,} files", median, "s CPU", "< 1.5", median < 1.5, "TensorFlow not imported"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the store as ratios of one run.")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--scratch", type=Path, help="a folder on the disk to measure; else the system's for temps")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    arguments = parser.parse_args()
    features = np.random.default_rng(0).normal(size=(arguments.rows, arguments.dim)).astype(np.float32)
    print(
        f"{arguments.rows:,} x {arguments.dim:,} float32, medians of {arguments.rounds} interleaved rounds, "
        f"{os.cpu_count()} cores, matrix product {matrix_rate():.0f} GFLOP/s"
    )
    results: list[Result] = []

    def tell(*found: Result) -> None:
        results.extend(found)
        print("\n".join(result.line() for result in found), flush=True)

    with tempfile.TemporaryDirectory(dir=arguments.scratch) as name:
        tell(*measure_reading(Path(name), features, arguments.rounds))
        tell(*measure_writing(Path(name), features, arguments.rounds))
        tell(measure_noop(Path(name), arguments.images, arguments.rounds))
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        tell(measure_catalog(Path(name), arguments.sets))
        tell(*measure_results(Path(name), arguments.runs))
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(result) for result in results], indent=1))


if __name__ == "__main__":
    main()
