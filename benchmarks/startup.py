"""What a command costs that finds everything done: processor seconds of whole processes, bytecode compiled.

    python -m benchmarks.startup

Each figure is the least of several runs; start-up is import, so the least is what the code asks for.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

RUNS = 3
LINPROBE = [sys.executable, "-m", "linprobe"]
# Source: the figures that this project sets itself.
LIMITS = {
    "store ls": 0.6, "cached probe": 0.8, "cached extract": 0.9, "idle night": 1.5, "doctor": 1.0,
    "ridge, 150 x 4": 1.5,
}  # fmt: skip
JOB = """
[[datasets]]
name = "made"
source = "npz:images.npz"
[[extractors]]
name = "pixels"
[[probes]]
head = "ridge"
"""


def processor_seconds(arguments: list[str], folder: Path) -> float:
    before = os.times()
    subprocess.run([*LINPROBE, *arguments], cwd=folder, check=True, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def prepare(folder: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8), np.arange(60) % 3
    np.savez(
        folder / "images.npz",
        train_images=images[:40], train_labels=labels[:40], test_images=images[40:], test_labels=labels[40:],
    )  # fmt: skip
    (folder / "job.toml").write_text(JOB)
    subprocess.run([*LINPROBE, "nightly", "job.toml"], cwd=folder, check=True, capture_output=True)
    labels = np.arange(150) % 3
    features = (rng.normal(size=(150, 4)) + labels[:, None]).astype(np.float32)
    np.savez(folder / "flowers.npz", features=features, labels=labels)
    imported = ["store", "import", "flowers.npz", "--name", "flowers", "--extractor", "measured"]
    subprocess.run([*LINPROBE, *imported], cwd=folder, check=True, capture_output=True)


def main() -> None:
    # Compiled once, whatever the environment says: it is what 'make install' does.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        commands: dict[str, Callable[[int], list[str]]] = {
            "store ls": lambda run: ["store", "ls"],
            "cached probe": lambda run: ["probe", "job.toml"],
            "cached extract": lambda run: ["extract", "job.toml"],
            "idle night": lambda run: ["nightly", "job.toml"],
            "doctor": lambda run: ["doctor"],
            # Another part of the rows each time, so that it is trained.
            "ridge, 150 x 4": lambda run: [
                "probe", "--dataset", "flowers", "--extractor", "measured", "--head", "ridge",
                "--train", f"all[:{100 + run}]", "--test", f"all[{100 + run}:]",
            ],
        }  # fmt: skip
        print(f"{'command':<16} {'processor s':>12} {'limit s':>8} {'ratio':>6}")
        for what, arguments in commands.items():
            least = min(processor_seconds(arguments(run), folder) for run in range(RUNS))
            print(f"{what:<16} {least:12.2f} {LIMITS[what]:8.1f} {least / LIMITS[what]:6.2f}")


if __name__ == "__main__":
    main()
