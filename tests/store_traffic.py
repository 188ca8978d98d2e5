"""What goes on in a store at once, each in a process of its own: writers, readers, `gc`, and time that passes.

A process ends by itself when the file `stop` appears beside the store, and counts what it did, a word a line.
"""

import contextlib
import os
import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import stub_extraction as stub

from store import DamagedStore, FeatureSetNotFound, FeatureStore, GarbageRule, StoreBusy, collect_garbage
from store.commit import is_leftover
from store.errors import MissingFile

CHUNK = 16
AN_HOUR = 3600.0
# Seconds that stand for the day in which nothing that was just written goes.
GRACE = 0.3
# Temps of living writers are younger than this, what `pass_time` has touched is older.
RULE = GarbageRule(grace_hours=0.5, keep_old_days=0)


def version(name: str, number: int) -> stub.Dataset:
    """Return a dataset as it is at a time: images come and go, and some old states come back."""
    generator = random.Random(f"{name} {number % 7}")
    return stub.dataset(name, generator.sample(range(120), generator.randrange(20, 60)))


def is_over(store: Path) -> bool:
    return (store.parent / "stop").exists()


def note(store: Path, word: str) -> None:
    with (store.parent / "counts").open("ab", buffering=0) as stream:
        stream.write(f"{word}\n".encode())


def counts(store: Path) -> Counter[str]:
    """Return what all processes have counted."""
    path = store.parent / "counts"
    return Counter(path.read_text().split() if path.exists() else [])


def write_versions(store: Path, name: str, versions: int) -> None:
    """Extract a dataset's versions, from where a killed writer has come to; what must be run again is."""
    number = counts(store)[f"{name}-written"]
    while number < versions:
        try:
            stub.extract_stub(store, version(name, number), None, CHUNK)
            note(store, f"{name}-written")
            number += 1
        except StoreBusy:
            note(store, "busy")


def read_all(store: Path) -> None:
    """Read every set there is, again and again: what is found is right, or missing, and never wrong."""
    while not is_over(store):
        for path in sorted(store.glob("sets/[0-9a-f]*")):
            manifest = bytes_of(path / "manifest.json")
            try:
                read_one(FeatureStore(store), path.name)
                note(store, "read")
            except (FeatureSetNotFound, MissingFile):
                note(store, "gone")
            except DamagedStore:
                # Taken away and made again while it was read: the manifest was that of one, the part of the other.
                if bytes_of(path / "manifest.json") == manifest:
                    raise
                note(store, "replaced")


def bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def read_one(fs: FeatureStore, key: str) -> None:
    found = fs.get(key=key)
    numbers = [int(example_id.removesuffix(".png")) for example_id in found.example_ids.tolist()]
    np.testing.assert_array_equal(np.asarray(found.features), stub.features(numbers))
    assert found.content_sha256.tobytes() == b"".join(map(stub.content, numbers))
    assert found.labels.tolist() == [number % len(stub.CLASSES) for number in numbers]


def pass_time(store: Path) -> None:
    """Make all that is published an hour old, again and again."""
    while not is_over(store):
        make_old(store, GRACE)
        time.sleep(0.01)


def make_old(store: Path, grace: float = 0.0) -> None:
    """Make what was published before a grace period, in seconds, an hour old; what is being written stays young."""
    now = time.time()
    for folder, folders, files in os.walk(store, topdown=False):
        if not any(map(is_leftover, Path(folder).relative_to(store).parts)):
            for path in (Path(folder, name) for name in (*folders, *files) if not is_leftover(name)):
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime <= now - grace:
                        os.utime(path, (now - AN_HOUR, now - AN_HOUR))


def collect_again_and_again(store: Path) -> None:
    """Run `gc` without a pause."""
    while not is_over(store):
        found = collect_garbage(store, time.time(), RULE)
        for garbage in found.removed:
            note(store, f"{garbage.kind}-removed")
        for _ in found.restored:
            note(store, "restored")
        note(store, "collected")
