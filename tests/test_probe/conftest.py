import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from store import FeatureSet, FeatureStore, PoolKey, Provenance, SetKey, rows_digest

CREATED = "2026-11-24T00:00:00Z"


class Lab:
    """A real store in a temporary folder, and sets of it made from arrays."""

    def __init__(self, path: Path) -> None:
        self.store = FeatureStore.create(path)

    def publish(
        self,
        split: str,
        features: np.ndarray,
        labels: Sequence[int],
        *,
        classes: int | None = None,
        contents: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        quarantined: Sequence[int] = (),
    ) -> FeatureSet:
        """Publish a set; `contents` name images, `quarantined` are positions that have no row."""
        count = len(labels)
        names = contents or [f"{split} picture {at}" for at in range(count)]
        hashes = [hashlib.sha256(name.encode()).digest() for name in names]
        features = features if features.dtype == np.float16 else features.astype(np.float32)
        weights = hashlib.sha256(features.tobytes()).hexdigest()
        key = PoolKey("tests/arrays", weights, split, {}, str(features.dtype))
        pool = self.store.pool(key)
        is_ok = ~np.isin(np.arange(count), quarantined)
        rows: dict[bytes, np.ndarray] = {}
        for at in np.flatnonzero(is_ok):
            rows.setdefault(hashes[at], features[at])
        pool.add(np.stack(list(rows.values())), list(rows))
        ledger = pd.DataFrame(
            {
                "example_id": [f"{split}/{at:04d}.png" for at in range(count)],
                "label": np.asarray(labels, np.int64),
                "group": list(groups) if groups else [""] * count,
                "status": np.where(is_ok, "ok", "quarantined"),
                "reason": np.where(is_ok, "", "truncated"),
                "content_sha256": [content.hex() for content in hashes],
                "format": "PNG",
                "mode": "RGB",
                "width": 8,
                "height": 8,
                "bytes": 100,
            }
        )
        identity = rows_digest(
            (row.example_id, row.content_sha256, int(row.label), row.status) for row in ledger.itertuples()
        )
        class_names = tuple(f"class {label}" for label in range(classes or int(max(labels)) + 1))
        set_key = SetKey(key.digest, split, class_names, count, identity)
        provenance = Provenance(CREATED, "made", "arrays", "arrays", "none")
        return self.store.publish_set(set_key, ledger, pool, provenance=provenance)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "store")


def draw_blobs(rows: int, classes: int, dim: int, seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return features (rows, dim) float32 around one random centre per class, and labels in turn."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, dim))
    labels = np.arange(rows) % classes
    return (centres[labels] + spread * rng.normal(size=(rows, dim))).astype(np.float32), labels


@pytest.fixture(scope="session")
def blobs() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    return draw_blobs


@pytest.fixture
def blob_sets(lab: Lab) -> dict[str, FeatureSet]:
    """Train 120 and test 60, four classes, eight features, well separable."""
    train, test = draw_blobs(120, 4, 8, seed=1), draw_blobs(60, 4, 8, seed=2)
    return {"train": lab.publish("train", *train), "test": lab.publish("test", *test)}
