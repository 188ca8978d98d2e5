"""How the cost of commands that find everything done grows with the number of feature sets: processor seconds.

    python -m benchmarks.many_sets [--sets 300 3000]

Every set is a dataset of its own, with two runs. What grows faster than the store shows as a ratio above that of the
sizes.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from linprobe.cli import main as linprobe
from store import FeatureStore
from store.imports import import_features, read_features

COMMANDS = {
    "store ls": ["store", "ls"],
    "cached probe of everything": ["probe", "--head", "ridge,knn", "--shots", "2", "--seeds", "1"],
    "report --format csv": ["report", "--format", "csv"],
    "compare of two": ["compare", "made-000001/measured/ridge", "made-000001/measured/knn"],
    "store verify": ["store", "verify"],
}


def prepare(folder: Path, sets: int) -> None:
    """Write a store of so many sets, each of 120 rows of 4 features, and two runs on each."""
    store = FeatureStore.create(folder / "linprobe-store")
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    for number in range(sets):
        features = (rng.normal(size=(120, 4)) + labels[:, None]).astype(np.float32)
        np.savez(folder / "rows.npz", features=features, labels=labels)
        import_features(
            store,
            read_features(folder / "rows.npz"),
            f"made-{number:06}",
            extractor="measured",
            source="rows.npz",
            created="2026-01-01T00:00:00Z",
        )


def processor_seconds(arguments: list[str], folder: Path) -> float:
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "linprobe", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def measure(sets: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        prepare(folder, sets)
        here = Path.cwd()
        os.chdir(folder)
        try:
            # The runs are trained in this process.
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                linprobe(COMMANDS["cached probe of everything"])
        finally:
            os.chdir(here)
        print(f"{sets:,} sets prepared in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        return {what: processor_seconds(arguments, folder) for what, arguments in COMMANDS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sets", type=int, nargs="+", default=[300, 3000])
    sizes = parser.parse_args().sets
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    found = [measure(size) for size in sizes]
    print(f"{'processor s':<28}" + "".join(f"{size:>10,}" for size in sizes) + f"{'ratio':>10}")
    for what in COMMANDS:
        times = [of_size[what] for of_size in found]
        print(f"{what:<28}" + "".join(f"{value:10.2f}" for value in times) + f"{times[-1] / times[0]:10.1f}")


if __name__ == "__main__":
    main()
