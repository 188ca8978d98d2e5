"""What the way from file to engine costs, beside TensorFlow's own decode and resize: processor time of one run.

    python -m benchmarks.stream [--images 1024] [--rounds 5] [--small-steps]

Every contestant works on the same JPEG files of 500 x 375 pixels in the same process, in turns. `--small-steps` leaves
the heaps of the C library as they are, which is how other programs run.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks.images import write_images
from extract import Preprocessing, open_source
from extract.pipeline import stream_batches
from extract.sources.example import DatasetSource, Pending
from linprobe.job.environment import Environment

__all__ = ["main", "plain_stream"]

_BATCH = 64


def plain_stream(files: list[bytes], size: int) -> Callable[[], int]:
    """TensorFlow's decode and resize of images in memory, mapped over slices: what any such program pays."""
    import tensorflow as tf

    def decoded(data: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
        return tf.ensure_shape(tf.image.resize(image, (size, size)), (size, size, 3))

    dataset = tf.data.Dataset.from_tensor_slices(files).map(decoded, tf.data.AUTOTUNE).batch(_BATCH).prefetch(2)
    return lambda: sum(len(batch) for batch in dataset.as_numpy_iterator())


def our_stream(source: DatasetSource, preprocessing: Preprocessing) -> Callable[[], int]:
    """From files: read, hashed, looked at, decoded, resized and batched, as an extraction does."""

    def images() -> Iterator[Pending]:
        for ordinal, example in enumerate(source.examples("all")):
            known = example.look()
            assert known.header is not None
            yield Pending(ordinal, example, known.content, known.header)

    return lambda: sum(len(batch.pending) for batch in stream_batches(images(), preprocessing, _BATCH))


def _seconds(run: Callable[[], int]) -> tuple[float, float]:
    """Return processor and wall seconds of an image."""
    before, began = os.times(), time.perf_counter()
    count = run()
    after = os.times()
    return (after.user + after.system - before.user - before.system) / count, (time.perf_counter() - began) / count


def measure(count: int, rounds: int, scratch: Path) -> dict[str, dict[str, float]]:
    write_images(scratch, count)
    source = open_source(f"folder:{scratch}")
    files = [example.read() for example in source.examples("all")]
    contestants = {
        "TensorFlow, decode and resize": plain_stream([file for file in files if isinstance(file, bytes)], 224),
        "linprobe, from file to engine": our_stream(source, Preprocessing(224, "0..1")),
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()
    for _ in range(rounds):
        for name, run in contestants.items():
            spent[name].append(_seconds(run))
    return {
        name: {
            "processor_ms": 1e3 * statistics.median(processor for processor, _ in found),
            "wall_ms": 1e3 * statistics.median(wall for _, wall in found),
        }
        for name, found in spent.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the way to the engine costs.")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small-steps", action="store_true", help="leave the C library's heaps as they are")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    arguments = parser.parse_args()
    if not arguments.small_steps:
        Environment(os.environ).prepare_frameworks()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(arguments.images, arguments.rounds, Path(scratch))
    plain = next(iter(found.values()))
    for name, row in found.items():
        print(
            f"{name:32}{row['processor_ms']:6.2f} ms of processor time, {row['wall_ms']:5.2f} ms of wall time an "
            "image; "
            f"{row['processor_ms'] / plain['processor_ms']:.2f} x"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
