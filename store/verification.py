"""`verify`: every file of a store against the digests that name it, and at depth what they say.

One damaged item never hides another: each is looked at by itself, and what is wrong is collected.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from store.aliases import Alias, Aliases
from store.answers import Answer, Answers
from store.canary import POOL_DOCUMENTS
from store.commit import PUBLISHED, is_leftover, list_folder
from store.content_index import ContentIndex
from store.documents import read_sealed
from store.drift import Recompute, drift_of
from store.errors import REPAIR, DamagedStore, RowsUnavailable
from store.hdf5 import verify_file
from store.inspection import run_faults, set_faults, shard_faults
from store.nights import NIGHT_PARTS, Nights
from store.pool import read_pool_key
from store.results import OPTIONAL_RUN_PARTS, RUN_PARTS, RunFolder
from store.sets import OPTIONAL_SET_PARTS, SET_PARTS, FeatureSet
from store.shards import SHARD_NAME, Shard, forget_contents, open_shard
from store.writer_drift import compare_writers

__all__ = ["Problem", "Verification", "verify_store"]


@dataclass(frozen=True)
class Problem:
    """One thing that is not what it must be.

    Attributes:
        kind: `store`, `pool`, `shard`, `set`, `name`, `run`, `answer`, `night` or `drift`.
        path: of the file or folder, relative to the store.
        message: which, expected, found, and what to do next.
    """

    kind: str
    path: str
    message: str


@dataclass
class Verification:
    """What `verify_store` found.

    Attributes:
        problems: what is damaged, has drifted, or is missing.
        notes: what is worth knowing and harms nothing: leftovers, files that are not the store's,
            sets whose rows could not be recomputed.
        counts: how much was looked at: `pools`, `shards`, `sets`, `names`, `runs`, `answers`, `nights`, `files`,
            `bytes`, and at depth `rows_recomputed`.
    """

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def document(self) -> dict[str, Any]:
        """Return it as plain data."""
        counts = {name: self.counts[name] for name in _COUNTED}
        return {"problems": [asdict(problem) for problem in self.problems], "notes": self.notes, "counts": counts}


_KINDS = ("aliases", "answers", "nights", "pools", "runs", "sets")
_COUNTED = ("pools", "shards", "sets", "names", "runs", "answers", "nights", "files", "bytes", "rows_recomputed")


def verify_store(root: Path, is_deep: bool = False, recompute: Recompute | None = None) -> Verification:
    """Check every file of a store, also those that nothing refers to.

    Args:
        root: the store's folder.
        is_deep: check too what the files say: schema, counts, finite values, unique ids, labels in
            range, ledger and segments against features.h5, predictions against metrics.
        recompute: at depth, computes rows of current sets again; see `store.drift`.

    Returns:
        What was found; damage is no exception here.
    """
    verifier = _Verifier(root, is_deep)
    verifier.pools()
    verifier.sets()
    current = verifier.names()
    verifier.runs()
    verifier.answers()
    verifier.nights()
    verifier.strangers()
    if is_deep and recompute is not None:
        verifier.drift(current, recompute)
    return verifier.found


class _Verifier:
    def __init__(self, root: Path, is_deep: bool) -> None:
        self.found = Verification()
        self._root = root
        self._is_deep = is_deep
        # (pool, shard) → whether its bytes are right.
        self._shards: dict[tuple[str, str], bool] = {}
        self._sound: set[str] = set()

    def pools(self) -> None:
        for key in self._names_in(self._root / "pools"):
            with self._noting("pool", self._root / "pools" / key):
                self._pool(self._root / "pools" / key)

    def _pool(self, folder: Path) -> None:
        shards = [Path(name).stem for name in list_folder(folder / "shards") if SHARD_NAME.fullmatch(name)]
        self._strange(folder, {*POOL_DOCUMENTS, "shards"})
        self._strange(folder / "shards", {f"{name}.h5" for name in shards})
        # A pool that was made and never filled has no document yet.
        dtype = self._pool_document(folder) if shards or (folder / "pool.json").exists() else None
        if (folder / "canary.json").exists():
            self._canary(folder)
        dim: int | None = None
        for name in shards:
            dim = self._shard(folder, name, dtype, dim=dim)
        if self._is_deep:
            self._writers(folder, [name for name in shards if self._shards[folder.name, name]])
        if not all(self._shards[folder.name, name] for name in shards):
            forget_contents(folder)

    def _writers(self, folder: Path, shards: Sequence[str]) -> None:
        """Compare the rows of images that several shards hold."""
        index = ContentIndex()

        def opened(name: str) -> Shard:
            return open_shard(folder / "shards" / f"{name}.h5")

        for name in shards:
            path = folder / "shards" / f"{name}.h5"
            with self._noting("shard", path):
                for other, rows in index.enter(name, opened(name).content_sha256.tobytes()).items():
                    drift = compare_writers((other, name), rows, lambda shard: opened(shard).features)
                    if drift is not None:
                        self._problem("drift", path, f"{folder}: {drift.sentence()}")

    def _pool_document(self, folder: Path) -> np.dtype | None:
        self.found.counts["pools"] += 1
        with self._noting("pool", folder / "pool.json"):
            dtype = np.dtype(read_pool_key(folder).dtype)
            self.found.counts.update(files=1, bytes=(folder / "pool.json").stat().st_size)
            return dtype
        return None

    def _canary(self, folder: Path) -> None:
        with self._noting("pool", folder / "canary.json"):
            read_sealed(folder / "canary.json")
            self.found.counts.update(files=1, bytes=(folder / "canary.json").stat().st_size)

    def _shard(self, folder: Path, name: str, dtype: np.dtype | None, *, dim: int | None) -> int | None:
        path = folder / "shards" / f"{name}.h5"
        self.found.counts["shards"] += 1
        self._shards[folder.name, name] = False
        with self._noting("shard", path):
            self._file(path, name)
            self._shards[folder.name, name] = True
            if self._is_deep:
                for fault in shard_faults(path, dtype, dim):
                    self._problem("shard", path, f"{path}: {fault}; {REPAIR}.")
                return open_shard(path).features.shape[1] if dim is None else dim
        return dim

    def sets(self) -> None:
        for key in self._names_in(self._root / "sets"):
            before = len(self.found.problems)
            with self._noting("set", self._root / "sets" / key):
                self._set(self._root / "sets" / key)
            if len(self.found.problems) == before:
                self._sound.add(key)

    def _set(self, folder: Path) -> None:
        self.found.counts["sets"] += 1
        self._strange(folder, {*SET_PARTS, *OPTIONAL_SET_PARTS, "manifest.json"})
        features = FeatureSet(folder)
        is_sound = self._parts("set", folder, features.manifest["parts"])
        self._shards_of(features)
        if is_sound:
            features.verify_identity()
            for fault in set_faults(features) if self._is_deep else ():
                self._problem("set", folder, f"{folder}: {fault}; {REPAIR}.")

    def _shards_of(self, features: FeatureSet) -> None:
        pool = features.manifest["pool"]
        names = list(dict.fromkeys(shard for shard, _, _ in features.manifest["segments"]))
        bad = [name for name in names if not self._shards.get((pool, name))]
        if bad:
            state = "is damaged" if (pool, bad[0]) in self._shards else "is missing"
            raise DamagedStore(
                f"{features.folder}: {len(names)} sound shards expected, {len(bad)} of them found damaged or missing "
                f"(pools/{pool}/shards/{bad[0]}.h5 {state}); {REPAIR}."
            )

    def names(self) -> list[Alias]:
        """Check what people call the sets, and return what is current."""
        aliases = Aliases(self._root / "aliases")
        current: list[Alias] = []
        for name in self._names_in(aliases.folder):
            with self._noting("name", aliases.folder / name):
                current.extend(self._name(aliases, name))
        return current

    def _name(self, aliases: Aliases, name: str) -> Iterator[Alias]:
        numbers = aliases.numbers(name)
        self.found.counts["names"] += bool(numbers)
        self._strange(aliases.folder / name, {f"{number}.json" for number in numbers})
        for number in numbers:
            path = aliases.folder / name / f"{number}.json"
            with self._noting("name", path):
                self.found.counts.update(files=1, bytes=path.stat().st_size)
                alias = aliases.read(name, number)
                if number == numbers[-1] and not alias.has_ended:
                    yield alias
                    self._require_named(alias, path)

    def _require_named(self, alias: Alias, path: Path) -> None:
        if not (self._root / "sets" / alias.set_key).is_dir():
            raise DamagedStore(
                f"{path}: the set {alias.set_key} that {alias.dataset} / {alias.split} / {alias.extractor} means "
                "expected in sets/, none found; extract it again."
            )

    def runs(self) -> None:
        for run_id in self._names_in(self._root / "runs"):
            with self._noting("run", self._root / "runs" / run_id):
                self._run(self._root / "runs" / run_id)

    def _run(self, folder: Path) -> None:
        self.found.counts["runs"] += 1
        self._strange(folder, {*RUN_PARTS, *OPTIONAL_RUN_PARTS, "manifest.json"})
        run = RunFolder(folder)
        if self._parts("run", folder, run.parts) and self._is_deep:
            for fault in run_faults(run.result()):
                self._problem("run", folder, f"{folder}: {fault}; {REPAIR}.")

    def answers(self) -> None:
        """Check which runs answer which questions."""
        answers = Answers(self._root / "answers")
        for name in self._names_in(answers.folder):
            numbers = answers.numbers(name)
            self.found.counts["answers"] += bool(numbers)
            self._strange(answers.folder / name, {f"{number}.json" for number in numbers})
            for number in numbers:
                path = answers.folder / name / f"{number}.json"
                with self._noting("answer", path):
                    self.found.counts.update(files=1, bytes=path.stat().st_size)
                    self._require_run(answers.read(name, number), path)

    def nights(self) -> None:
        """Check the journal."""
        nights = Nights(self._root / "nights")
        for night in self._names_in(nights.folder):
            folder = nights.folder / night
            self.found.counts["nights"] += 1
            self._strange(folder, set(NIGHT_PARTS))
            with self._noting("night", folder):
                nights.read(night)
                for part in list_folder(folder):
                    if part in NIGHT_PARTS:
                        self.found.counts.update(files=1, bytes=(folder / part).stat().st_size)

    def _require_run(self, answer: Answer, path: Path) -> None:
        if not (self._root / "runs" / answer.run_id).is_dir():
            raise DamagedStore(
                f"{path}: the run {answer.run_id} that answers {answer.question.get('dataset')} / "
                f"{answer.question.get('extractor')} / {answer.question.get('head')} expected in runs/, none found; "
                "probe it again."
            )

    def drift(self, current: Sequence[Alias], recompute: Recompute) -> None:
        """Compute a few rows of every current set that is sound again."""
        for key in sorted({alias.set_key for alias in current} & self._sound):
            folder = self._root / "sets" / key
            with self._noting("drift", folder):
                try:
                    drift = drift_of(FeatureSet(folder), recompute)
                except RowsUnavailable as error:
                    self.found.notes.append(f"{folder}: no row was recomputed: {error}")
                    continue
                self.found.counts["rows_recomputed"] += drift.rows
                for sentence in drift.sentences():
                    self._problem("drift", folder, f"{folder}: {sentence}")

    def strangers(self) -> None:
        """Note what lies in the store and is not part of it."""
        self._strange(self._root, {"FORMAT", "cache", "linprobe.lock", *_KINDS})
        for kind in _KINDS:
            self._strange(self._root / kind, set(self._names_in(self._root / kind)))
        leftovers = sum(is_leftover(path.name) for path in self._root.rglob(".*"))
        if leftovers:
            self.found.notes.append(f"{leftovers} leftovers of other times; 'linprobe store gc' removes old ones")

    def _names_in(self, folder: Path) -> list[str]:
        with self._noting("store", folder):
            return [name for name in list_folder(folder) if PUBLISHED.fullmatch(name)]
        return []

    def _strange(self, folder: Path, known: set[str]) -> None:
        with self._noting("store", folder):
            for name in list_folder(folder):
                if name not in known and not is_leftover(name):
                    path = (folder / name).relative_to(self._root)
                    self.found.notes.append(f"{path}: not part of the store, and never read")

    def _parts(self, kind: str, folder: Path, parts: Mapping[str, str]) -> bool:
        """Check the parts that a manifest lists, each by itself; True if all are right."""
        self.found.counts.update(files=1, bytes=(folder / "manifest.json").stat().st_size)
        before = len(self.found.problems)
        for name in sorted(parts):
            with self._noting(kind, folder / name):
                self._file(folder / name, parts[name])
        return len(self.found.problems) == before

    def _file(self, path: Path, expected: str) -> None:
        verify_file(path, expected, is_afresh=True)
        self.found.counts.update(files=1, bytes=path.stat().st_size)

    @contextmanager
    def _noting(self, kind: str, path: Path) -> Iterator[None]:
        try:
            yield
        except DamagedStore as error:
            self._problem(kind, path, str(error))
        except OSError as error:
            self._problem(kind, path, f"{path}: a readable file expected, {error} found; look at the disk.")
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            # A true digest over something that is not of this format: a forger, or a fault of ours.
            self._problem(kind, path, f"{path}: what format 1 says expected, found other ({error!r}); {REPAIR}.")

    def _problem(self, kind: str, path: Path, message: str) -> None:
        self.found.problems.append(Problem(kind, path.relative_to(self._root).as_posix(), message))
