"""How the cost of an extraction grows with the number of images: time and peak memory.

    python -m benchmarks.growth [--images 1024 4096 16384] [--network mobilenet_v2] [--json FILE]

Each size runs in a process of its own, so that its peak memory is its own; the files are written before.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks.images import write_images
from benchmarks.whole_split import extract_whole
from extract import ModelCaches, open_engine, open_extractor, open_source
from store import FeatureStore


def extract_once(folder: Path, network: str, scratch: Path) -> dict[str, Any]:
    extractor = open_extractor(f"random:{network}", ModelCaches(scratch, scratch))
    source, store = open_source(f"folder:{folder}"), FeatureStore.create(scratch / "store")
    engine = open_engine(extractor)
    found = extract_whole(source, extractor, store, open_engine=lambda: engine)
    return {
        "images": found.forward_passes,
        "seconds": found.seconds,
        "time": asdict(found.time),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def measure(sizes: list[int], network: str, scratch: Path) -> list[dict[str, Any]]:
    rows = []
    for size in sizes:
        folder = scratch / f"images-{size}"
        write_images(folder, size)
        command = [sys.executable, "-m", "benchmarks.growth", "--network", network, "--folder", str(folder)]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(found.stdout.splitlines()[-1]))
        print(line(rows[-1]), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    return (
        f"  {row['images']:7,} images: {row['seconds']:7.1f} s, {row['images'] / row['seconds']:6.1f} images/s, "
        f"peak {row['peak_bytes'] / 2**20:6.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure time and peak memory against the number of images.")
    parser.add_argument("--images", type=int, nargs="+", default=[1024, 4096, 16384])
    parser.add_argument("--network", choices=("mobilenet_v2", "inception_v3"), default="mobilenet_v2")
    parser.add_argument("--folder", type=Path, help="extract from this folder once, and print JSON")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.folder:
            print(json.dumps(extract_once(arguments.folder, arguments.network, Path(scratch))))
            return
        print(f"{arguments.network}: extraction against the number of JPEG files, a process each")
        rows = measure(arguments.images, arguments.network, Path(scratch))
    least, most = rows[-2]["peak_bytes"] if len(rows) > 1 else rows[0]["peak_bytes"], rows[-1]["peak_bytes"]
    print(f"  peak memory of the last over the one before: {most / least:.2f} x")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
