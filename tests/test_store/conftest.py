"""A small store: images named by letters, whose rows are worked out by hand."""

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from store import LEDGER_COLUMNS, FeatureStore, PoolKey, ProbeResult, Provenance, SetKey, rows_digest

CREATED = "2026-01-02T03:04:05Z"
POOL_KEY = PoolKey("toy", "0" * 64, "pool", {"size": 2, "range": [0, 1]})
PROVENANCE = Provenance(CREATED, "flowers", "folder:/data/flowers", "toy", "stub", host="here", seconds=1.5)


class Corpus:
    """Images `a`, `b`, …: the row of a letter is (its number, its number + 0.5, -its number)."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self.pool_key = POOL_KEY
        self.provenance = PROVENANCE
        self.pool = store.pool(POOL_KEY)

    @staticmethod
    def content(letter: str) -> bytes:
        return hashlib.sha256(letter.encode()).digest()

    @staticmethod
    def features(letters: str) -> np.ndarray:
        numbers = np.array([ord(letter) - ord("a") for letter in letters], np.float32)
        return np.stack([numbers, numbers + np.float32(0.5), -numbers], axis=1)

    def add(self, letters: str) -> str:
        return self.pool.add(self.features(letters), [self.content(letter) for letter in letters])

    def ledger(self, letters: str, quarantined: str = "", ids: list[str] | None = None) -> pd.DataFrame:
        rows = [
            (
                ids[at] if ids else f"{letter}.png", at % 2, "", "quarantined" if letter in quarantined else "ok",
                "truncated" if letter in quarantined else "", self.content(letter).hex(), "PNG", "RGB", 2, 2, 12,
            )
            for at, letter in enumerate(letters)
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(LEDGER_COLUMNS))

    def key(self, ledger: pd.DataFrame, split: str = "train") -> SetKey:
        rows = zip(ledger.example_id, ledger.content_sha256, ledger.label.tolist(), ledger.status, strict=True)
        return SetKey(self.pool_key.digest, split, ("daisy", "tulip"), len(ledger), rows_digest(rows))

    def publish(self, letters: str, quarantined: str = "", split: str = "train", name: str = "flowers"):
        ledger = self.ledger(letters, quarantined)
        key = self.key(ledger, split)
        found = self.store.publish_set(key, ledger, self.pool, provenance=replace(self.provenance, dataset=name))
        self.store.name_set(name, split, "toy", key=key.digest, created=CREATED)
        return found


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "store")


@pytest.fixture
def corpus(store):
    return Corpus(store)


@pytest.fixture
def flowers(corpus):
    """The set c, a, b, x (quarantined), d; its rows lie in two shards."""
    corpus.add("abc")
    corpus.add("d")
    return corpus.publish("cabxd", quarantined="x")


@pytest.fixture
def probe_result():
    predictions = pd.DataFrame(
        {
            "example_id": ["a.png", "b.png"],
            "content_sha256": [Corpus.content("a").hex(), Corpus.content("b").hex()],
            "group": ["", ""],
            "label": [0, 1],
            "predicted": [0, 0],
            "is_correct": [True, False],
            "confidence": [0.9, 0.6],
            "label_probability": [0.9, 0.4],
        }
    )
    return ProbeResult(
        run_id="ab12" * 16,
        config={
            "dataset": "flowers", "extractor": "toy", "head": "logistic", "options": {}, "train": "train",
            "validation": None, "test": "test", "seed": 0, "shots": None, "sets": {"train": "0" * 64}, "protocol": 1,
        },
        counts={"n_train": 2, "n_validation": 0, "n_test": 2, "dim": 3, "classes": 2},
        selection={"method": "fixed", "selected": {"C": 1.0}, "table": [], "notes": []},
        metrics={"accuracy": 0.5, "accuracy_low": 0.1, "accuracy_high": 0.9},
        class_names=("daisy", "tulip"),
        predictions=predictions,
        curves=pd.DataFrame({"epoch": [1, 2], "loss": [0.7, 0.5]}),
        head={"kernel": np.arange(6, dtype=np.float32).reshape(3, 2), "bias": np.zeros(2, np.float32)},
        fit={"converged": True, "iterations": 3},
        warnings=("two test images only",),
        seconds=0.25,
        created=CREATED,
        versions={"numpy": "2"},
    )  # fmt: skip


@pytest.fixture
def tree():
    """Returns a function: every file below a folder with its bytes, temp and damaged ones included."""

    def read(folder):
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    return read
