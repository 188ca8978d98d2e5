"""How busy a device is kept: a simulated one takes a fixed time for a batch, while the CPU decodes for it.

    python -m benchmarks.device [--images 2048] [--milliseconds 80] [--batch 64] [--json FILE]

The device sleeps: it takes no processor time, as a GPU would not. Busy is its share of the time from the start of the
second batch to the end of the last.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.images import write_images
from benchmarks.whole_split import extract_whole
from extract import ModelCaches, ParameterCounts, open_extractor, open_source
from store import FeatureStore


class SimulatedDevice:
    """An engine that takes a fixed time for a batch, one batch at a time; two may wait for it."""

    name = "simulated"
    device = "simulated"
    threads = 0
    in_flight = 2
    dim = 1280
    parameters = ParameterCounts(0, 0)

    def __init__(self, batch_size: int, seconds: float) -> None:
        self.batch_size = batch_size
        self.spans: list[tuple[float, float]] = []
        self._seconds = seconds
        self._is_free = threading.Lock()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        with self._is_free:
            start = time.perf_counter()
            time.sleep(self._seconds)
            self.spans.append((start, time.perf_counter()))
        return np.broadcast_to(images.mean(axis=(1, 2, 3))[:, None], (len(images), self.dim)).astype(np.float32)

    def busy(self) -> float:
        spans = self.spans[1:]
        return sum(end - start for start, end in spans) / (spans[-1][1] - spans[0][0])


def measure(count: int, batch: int, seconds: float, scratch: Path) -> dict[str, Any]:
    write_images(scratch / "images", count)
    extractor = open_extractor("random:mobilenet_v2", ModelCaches(scratch, scratch))
    source, store = open_source(f"folder:{scratch / 'images'}"), FeatureStore.create(scratch / "store")
    device = SimulatedDevice(batch, seconds)
    found = extract_whole(source, extractor, store, open_engine=lambda: device)
    return {
        "images": found.forward_passes,
        "batches": len(device.spans),
        "seconds": found.seconds,
        "busy": device.busy(),
        "device_images_per_second": batch / seconds,
        "images_per_second": found.forward_passes / found.seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how busy a simulated device is kept.")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--milliseconds", type=float, default=80.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        row = measure(arguments.images, arguments.batch, arguments.milliseconds / 1000, Path(scratch))
    print(
        f"A device of {arguments.milliseconds:g} ms a batch of {arguments.batch} "
        f"({row['device_images_per_second']:.0f} images/s): busy {row['busy']:.1%} from the second batch to the last; "
        f"{row['images_per_second']:.0f} images/s"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(row, indent=1))


if __name__ == "__main__":
    sys.exit(main())
