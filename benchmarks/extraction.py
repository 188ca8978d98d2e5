"""How fast extraction is, beside the lesson, Keras and its own bounds: ratios of one run.

    python -m benchmarks.extraction [--images 256] [--rounds 3] [--network mobilenet_v2|inception_v3]

Every contestant works on the same JPEG files of 500 x 375 pixels in the same process. Rounds are
interleaved (A B C, A B C, ...) and medians compared, since the machine's speed drifts.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.images import CLASSES, write_images
from benchmarks.stream import plain_stream
from benchmarks.whole_split import extract_whole
from extract import Engine, Extractor, ModelCaches, open_engine, open_extractor, open_source
from extract.sources.example import DatasetSource
from linprobe.job.environment import Environment
from store import FeatureStore


def ours(source: DatasetSource, extractor: Extractor, engine: Engine, scratch: Path) -> Callable[[], float]:
    def run() -> float:
        shutil.rmtree(scratch, ignore_errors=True)
        store = FeatureStore.create(scratch)
        return extract_whole(source, extractor, store, open_engine=lambda: engine).seconds

    return run


def decode_bound(source: DatasetSource, size: int) -> Callable[[], float]:
    """TensorFlow's plain decode and resize of the files, read before, with nothing of ours."""
    run = plain_stream([bytes(example.read()) for example in source.examples("all")], size)

    def timed() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return timed


def forward_bound(engine: Engine, size: int, count: int) -> Callable[[], float]:
    """The engine alone, on arrays that lie in memory."""
    images = np.random.default_rng(0).uniform(0, 255, (64, size, size, 3)).astype(np.float32)

    def run() -> float:
        start = time.perf_counter()
        for at in range(0, count, 64):
            engine(images[: min(64, count - at)])
        return time.perf_counter() - start

    return run


def keras_contestants(folder: Path, network: str, size: int) -> dict[str, Callable[[], float]]:
    """The lesson's epoch and Keras's predict, as people write them."""
    import keras
    import tensorflow as tf

    application = {"mobilenet_v2": keras.applications.MobileNetV2, "inception_v3": keras.applications.InceptionV3}[
        network
    ]
    base = application(weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3))
    base.trainable = False
    lesson = keras.Sequential(
        [
            keras.Input((size, size, 3)),
            keras.layers.Rescaling(2.0, -1.0),
            base,
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    lesson.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    paths = sorted(str(path) for path in folder.rglob("*.jpg"))
    labels = [CLASSES.index(Path(path).parent.name) for path in paths]

    def load(path: object, label: object) -> tuple[object, object]:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.resize(image, (size, size)) / 255, label

    dataset = tf.data.Dataset.from_tensor_slices((paths, labels)).map(load, tf.data.AUTOTUNE).batch(32).prefetch(1)

    def timed(call: Callable[[], object]) -> Callable[[], float]:
        def run() -> float:
            start = time.perf_counter()
            call()
            return time.perf_counter() - start

        return run

    return {
        "Keras predict": timed(lambda: lesson.predict(dataset, verbose=0)),
        "the lesson, one epoch": timed(lambda: lesson.fit(dataset, epochs=1, verbose=0)),
    }


@contextmanager
def torch_contestant(python: str, folder: Path, network: str, size: int) -> Iterator[dict[str, Callable[[], float]]]:
    """PyTorch's network behind its DataLoader, in a process of its own; nothing where it is not installed."""
    script = Path(__file__).with_name("torch_loader.py")
    command = [python, str(script), str(folder), network, str(size)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        ask, answers = process.stdin, process.stdout

        def run() -> float:
            print("once", file=ask, flush=True)
            return float(answers.readline())

        if answers.readline().strip() == "ready":
            yield {"PyTorch with a DataLoader": run}
        else:
            print(f"Without PyTorch: {process.stderr.read().strip().splitlines()[-1]}", file=sys.stderr)
            yield {}
        ask.close()


def matrix_rate() -> float:
    """The machine's float32 matrix-product rate now, in GFLOP/s."""
    a = np.ones((2000, 2000), np.float32)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * 2000**3 / best / 1e9


def interleaved(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each in so many rounds, in which they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()  # warm: compilation, caches
    for _ in range(rounds):
        for name, run in contestants.items():
            seconds[name].append(run())
    return seconds


def measure(network: str, count: int, rounds: int, scratch: Path, python: str) -> dict[str, object]:
    folder = scratch / "images"
    write_images(folder, count)
    source = open_source(f"folder:{folder}")
    extractor = open_extractor(f"random:{network}", ModelCaches(scratch, scratch))
    size = extractor.preprocessing.size
    engines = {name: open_engine(extractor, name) for name in ("openvino", "tensorflow")}
    contestants: dict[str, Callable[[], float]] = {
        **{f"linprobe, {n}": ours(source, extractor, e, scratch / "store") for n, e in engines.items()},
        **{f"forward bound, {n}": forward_bound(e, size, count) for n, e in engines.items()},
        "decode bound": decode_bound(source, size),
        **keras_contestants(folder, network, size),
    }
    with torch_contestant(python, folder, network, size) as torch:
        seconds = interleaved(contestants | torch, rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    bound = medians["forward bound, openvino"] + medians["decode bound"]
    peers = {
        "Keras predict": "to Keras predict",
        "the lesson, one epoch": "to the lesson's epoch",
        "PyTorch with a DataLoader": "to PyTorch with a DataLoader",
    }
    return {
        "network": network,
        "images": count,
        "rounds": rounds,
        "cores": os.cpu_count(),
        "matrix_gflops": round(matrix_rate(), 1),
        "images_per_second": {name: round(count / value, 1) for name, value in medians.items()},
        "spread": {name: round(max(v) / min(v), 2) for name, v in seconds.items()},
        "ratios of linprobe, openvino": {
            **{
                title: round(medians[name] / medians["linprobe, openvino"], 2)
                for name, title in peers.items()
                if name in medians
            },
            "to the bound 1 / (forward + decode)": round(bound / medians["linprobe, openvino"], 2),
        },
    }


def table(result: dict[str, object]) -> str:
    speeds, spread, ratios = result["images_per_second"], result["spread"], result["ratios of linprobe, openvino"]
    assert isinstance(speeds, dict)
    assert isinstance(spread, dict)
    assert isinstance(ratios, dict)
    lines = [
        f"{result['network']}: {result['images']} JPEG files, medians of {result['rounds']} interleaved rounds, "
        f"{result['cores']} cores, matrix product {result['matrix_gflops']} GFLOP/s",
        f"  {'':30}{'images/s':>9}  slowest/fastest",
        *(f"  {name:30}{speed:9.1f}  {spread[name]:.2f}" for name, speed in speeds.items()),
        *(f"  linprobe, openvino {name:36}{ratio:6.2f} x" for name, ratio in ratios.items()),
    ]
    return "\n".join(lines)


def main() -> None:
    Environment(os.environ).prepare_frameworks()
    parser = argparse.ArgumentParser(description="Measure extraction as ratios of one run.")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", choices=("mobilenet_v2", "inception_v3"), action="append")
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has torch and torchvision")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    arguments = parser.parse_args()
    results = []
    for network in arguments.network or ["mobilenet_v2", "inception_v3"]:
        count = arguments.images if network == "mobilenet_v2" else arguments.images // 4
        with tempfile.TemporaryDirectory() as scratch:
            results.append(measure(network, count, arguments.rounds, Path(scratch), arguments.torch_python))
        print(table(results[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
