"""How format-1.tar.gz and format-1.npz were made. They stay as they are: later versions must read them for ever.

    python tests/test_store/data/make_format_1.py FOLDER

writes both, with what the version at hand writes, into FOLDER. What must be read back is taken from what was
handed in, never from the store.
"""

import hashlib
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from store import FeatureStore, PoolKey, ProbeResult, Provenance, SetKey, import_features, read_features, rows_digest

CLASSES = ("Gänseblümchen", "tulip")
FIRST, SECOND, THIRD = "2026-01-02T03:04:05Z", "2026-02-03T04:05:06Z", "2026-03-04T05:06:07Z"
FULL = PoolKey("toy", "0" * 64, "average", {"range": [0, 1], "size": 8, "resize": "bilinear"})
HALF = PoolKey("toy", "1" * 64, "average", {"range": [0, 1], "size": 8, "resize": "bilinear"}, "float16")
RUN = "ab12" * 16


def rows(count: int, dim: int, seed: int, dtype: type = np.float32) -> np.ndarray:
    """Return (count, dim) numbers of every size, small enough for float16."""
    generator = np.random.RandomState(seed)
    found = generator.standard_normal((count, dim)) * 10.0 ** generator.randint(-3, 3, (count, dim))
    return np.asarray(found, dtype)


def contents(count: int, seed: int) -> np.ndarray:
    """Return (count, 32) uint8 hashes."""
    hashes = [hashlib.sha256(f"{seed} {number}".encode()).digest() for number in range(count)]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(count, 32)


def ledger(ids: list[str], labels: list[int], hashes: np.ndarray, quarantined: int | None = None) -> pd.DataFrame:
    """Return a row per candidate; one may be quarantined."""
    count = len(ids)
    is_bad = [at == quarantined for at in range(count)]
    return pd.DataFrame(
        {
            "example_id": ids,
            "label": labels,
            "group": ["patient 1" if at % 2 else "" for at in range(count)],
            "status": ["quarantined" if bad else "ok" for bad in is_bad],
            "reason": ["truncated file" if bad else "" for bad in is_bad],
            "content_sha256": [content.tobytes().hex() for content in hashes],
            "format": ["JPEG"] * count,
            "mode": ["RGB"] * count,
            "width": [64 + at for at in range(count)],
            "height": [48] * count,
            "bytes": [1000 + at for at in range(count)],
        }
    )


def publish(fs: FeatureStore, key: PoolKey, table: pd.DataFrame, split: str, created: str, extractor: str) -> str:
    """Publish a set as `flowers`, and return its key."""
    listed = zip(table.example_id, table.content_sha256, table.label.tolist(), table.status, strict=True)
    set_key = SetKey(key.digest, split, CLASSES, len(table), rows_digest(listed))
    provenance = Provenance(
        created, "flowers", "folder:/data/flowers", extractor, "stub", "a host", "CPU", 2, {"numpy": "2"},
        seconds=1.5, forward_passes=4, reused=1, ignored=2,
    )  # fmt: skip
    fs.publish_set(set_key, table, fs.pool(key), provenance=provenance)
    fs.name_set("flowers", split, extractor, key=set_key.digest, created=created)
    return set_key.digest


def run(set_keys: dict[str, str]) -> ProbeResult:
    """Return a run with every kind of field."""
    hashes = contents(9, 1)[[0, 3]]
    predictions = pd.DataFrame(
        {
            "example_id": ["0.jpg", "3.jpg"], "group": ["", "patient 1"],
            "content_sha256": [content.tobytes().hex() for content in hashes], "label": [0, 1], "predicted": [0, 0],
            "is_correct": [True, False], "confidence": [0.9, 0.625], "label_probability": [0.9, 0.375],
        }
    )  # fmt: skip
    config = {
        "dataset": "flowers", "extractor": "toy", "head": "logistic", "options": {"C": [0.1, 1.0]}, "train": "train",
        "validation": None, "test": "test", "seed": 3, "shots": None, "sets": set_keys, "protocol": 2,
    }  # fmt: skip
    return ProbeResult(
        run_id=RUN, config=config, counts={"n_train": 4, "n_validation": 0, "n_test": 2, "dim": 5, "classes": 2},
        selection={"method": "fixed", "selected": {"C": 0.1}, "table": [{"C": 0.1, "accuracy": 0.5}], "notes": ["one point"]},
        metrics={"accuracy": 0.5, "accuracy_low": 0.0945, "accuracy_high": 0.9055, "nll": 0.5431}, class_names=CLASSES, predictions=predictions,
        curves=pd.DataFrame({"epoch": [1, 2], "loss": [0.7, 0.5]}),
        head={"kernel": rows(5, 2, 7), "bias": np.array([0.25, -0.25], np.float32)},
        fit={"converged": True, "iterations": 3}, warnings=("two test pictures only",), seconds=0.25, created=THIRD, versions={"numpy": "2"},
    )  # fmt: skip


def make_store(path: Path) -> dict[str, np.ndarray]:
    """Make the store; returns what must be read back."""
    fs = FeatureStore.create(path)
    full, half, hashes = rows(9, 5, 1), rows(3, 4, 2), contents(9, 1)
    listed = [content.tobytes() for content in hashes]
    ids = [f"{number}.jpg" for number in range(8)] + ["Größe/ñ 8.jpg"]
    fs.pool(FULL).add(full[:4], listed[:4])
    # Float32 rows, rounded as they are stored.
    fs.pool(HALF).add(half, listed[:3])
    first = publish(fs, FULL, ledger(ids[:5], [0, 1, 0, 1, 0], hashes[:5], quarantined=4), "train", FIRST, "toy")
    fs.pool(FULL).add(full[4:], listed[4:])
    # Grown, relabelled and in another order; picture 4 can be read now.
    order = [8, 0, 1, 2, 3, 4, 5]
    grown = ledger([ids[at] for at in order], [1, 1, 1, 0, 1, 0, 1], hashes[order])
    second = publish(fs, FULL, grown, "train", SECOND, "toy")
    test = publish(fs, FULL, ledger([ids[3], ids[7]], [1, 0], hashes[[3, 7]]), "test", FIRST, "toy")
    publish(fs, HALF, ledger(ids[:3], [0, 1, 1], hashes[:3]), "train", FIRST, "toy half")
    fs.name_set("an old name", "train", "toy", key=first, created=FIRST)
    fs.end_name("an old name", "train", "toy", created=SECOND)
    elsewhere = rows(4, 3, 5)
    np.savez(path.parent / "elsewhere.npz", features=elsewhere, labels=[2, 0, 1, 0], class_names=["x", "y", "z"])
    import_features(
        fs,
        read_features(path.parent / "elsewhere.npz"),
        "elsewhere",
        extractor="clip",
        source="elsewhere.npz",
        created=THIRD,
    )
    result = run({"train": second, "test": test})
    fs.publish_run(result)
    return {
        "first.features": full[:4], "first.labels": np.array([0, 1, 0, 1]), "first.content": hashes[:4],
        "first.ids": np.array(ids[:4]),
        "second.features": full[order], "second.labels": grown["label"].to_numpy(), "second.content": hashes[order],
        "second.ids": np.array([ids[at] for at in order]),
        "test.features": full[[3, 7]], "test.labels": np.array([1, 0]), "test.content": hashes[[3, 7]],
        "test.ids": np.array([ids[3], ids[7]]),
        "half.features": half.astype(np.float16), "half.labels": np.array([0, 1, 1]), "half.content": hashes[:3],
        "half.ids": np.array(ids[:3]),
        "import.features": elsewhere, "import.labels": np.array([2, 0, 1, 0]),
        "import.ids": np.array(["0", "1", "2", "3"]),
        "run.kernel": result.head["kernel"], "run.bias": result.head["bias"],
    }  # fmt: skip


def main(folder: Path) -> None:
    """Make both files."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "store"
        expected = make_store(path)
        with tarfile.open(folder / "format-1.tar.gz", "w:gz", compresslevel=9) as archive:
            for entry in sorted(path.rglob("*")):
                if entry.is_file() and "cache" not in entry.relative_to(path).parts:
                    archive.add(entry, entry.relative_to(path))
    np.savez_compressed(folder / "format-1.npz", **expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
