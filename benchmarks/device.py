"""How busy devices are kept: simulated ones take a fixed time for a batch, while the CPU decodes for them.

    python -m benchmarks.device [--images 2048] [--batch 64] [--json FILE]

One takes four fifths of what the cores can decode (measured just before, TensorFlow's plain decode and resize), one
four times as much. A device sleeps: it takes no processor time, as a GPU would not. Busy is its share of the time from
the start of the second batch to the end of the last.
"""

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.images import write_images
from benchmarks.stream import plain_stream
from benchmarks.whole_split import extract_whole
from extract import DatasetSource, ModelCaches, ParameterCounts, open_extractor, open_source
from linprobe.job.environment import Environment
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


def measure(source: DatasetSource, batch: int, seconds: float, scratch: Path) -> dict[str, Any]:
    extractor = open_extractor("random:mobilenet_v2", ModelCaches(scratch, scratch))
    shutil.rmtree(scratch / "store", ignore_errors=True)
    device = SimulatedDevice(batch, seconds)
    found = extract_whole(source, extractor, FeatureStore.create(scratch / "store"), open_engine=lambda: device)
    # Without the first batch: until it is there, nothing can be fed.
    fed = (found.forward_passes - batch) / (device.spans[-1][1] - device.spans[0][1])
    return {
        "images": found.forward_passes,
        "batches": len(device.spans),
        "seconds": found.seconds,
        "busy": device.busy(),
        "device_images_per_second": batch / seconds,
        "images_per_second": fed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how busy simulated devices are kept.")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    arguments = parser.parse_args()
    Environment(os.environ).prepare_frameworks()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_images(scratch / "images", arguments.images)
        source = open_source(f"folder:{scratch / 'images'}")
        run = plain_stream(
            [data for data in (one.read() for one in source.examples("all")) if isinstance(data, bytes)], 224
        )
        run()
        # Devices are made as slow as the machine's cores are now: a share of what they can decode.
        for share in (0.8, 4.0):
            began = time.perf_counter()
            run()
            rate = arguments.images / (time.perf_counter() - began)
            found = measure(source, arguments.batch, arguments.batch / (share * rate), scratch)
            rows.append({"share": share, "decoded_per_second": rate, **found})
    for row in rows:
        print(
            f"A device of {row['share']:g} times what the cores decode ({row['decoded_per_second']:.0f} images/s): "
            f"busy "
            f"{row['busy']:.1%} from the second batch to the last, {row['images_per_second']:.0f} images/s, "
            f"{row['images_per_second'] / row['decoded_per_second']:.2f} of what they decode"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
