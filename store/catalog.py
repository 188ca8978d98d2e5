"""The catalogue: one folder that holds pools, sets, names and runs."""

import hashlib
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.accepted_sizes import AcceptedSizes
from store.aliases import Alias, Aliases
from store.answers import Answers, Standing, answering, pick, standing_runs
from store.commit import PUBLISHED, list_folder, sync_folder
from store.errors import (
    DamagedStore,
    FeatureSetNotFound,
    MissingFile,
    RunNotFound,
    StoreBusy,
    StoreNotFound,
)
from store.keys import PoolKey, Provenance, SetKey
from store.locks import hold_lock
from store.moments import parse_moment
from store.names import find_dataset, shortest_ends
from store.nights import Nights
from store.opening import make_store, require_store
from store.perceptual_hashes import PerceptualHashes
from store.pool import Pool, read_pool_key
from store.publication import find_damage as find_set_damage
from store.publication import publish_set
from store.results import ProbeResult, RunFolder, RunRecord, publish_run
from store.results import find_damage as find_run_damage
from store.run_table import run_documents, run_rows
from store.sets import FeatureSet
from store.sizes import Size

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FeatureStore"]

# So many names fit into a message.
_LISTED = 8
_logger = logging.getLogger(__name__)
_CATALOG_COLUMNS = (
    "key", "dataset", "split", "extractor", "dim", "rows", "quarantined", "bytes", "created", "is_current"
)  # fmt: skip


class FeatureStore:
    """The catalogue of what was computed; open it with its path, `FeatureStore("linprobe-store")`.

        STORE/FORMAT     linprobe-store 1
              pools/     rows of features, by extractor and content
              sets/      published sets
              aliases/   what people call them
              runs/      probe runs
              cache/     disposable

    Args:
        path: of an existing store; see `FeatureStore.create` for a new one.

    Raises:
        StoreNotFound: nothing is there.
        StoreFormatError: another format version, or no store.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # Absolute: what is read later must not depend on the working directory then.
        self.path = Path(path).absolute()
        require_store(self.path)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> "FeatureStore":
        """Open a store, making it first where there is none."""
        try:
            store = cls(path)
        except StoreNotFound:
            make_store(Path(path).absolute())
            return cls(path)
        # Another process may have made it a moment ago, and not have come to its fsync: after a
        # crash our folders would then stand in something that is no store.
        sync_folder(store.path)
        return store

    # Sets

    def catalog(self) -> "pd.DataFrame":
        """Return a row per published set.

        Columns: `key, dataset, split, extractor, dim, rows, quarantined, bytes, created,
        is_current`. `dataset` and `extractor` are what the set was called last; `bytes` is what
        its features take in the pool, rows shared with other sets included.

        A damaged set is left out and logged; `verify_store` tells of all, `get` raises.
        """
        import pandas as pd

        frame = pd.DataFrame(self.catalog_rows(), columns=list(_CATALOG_COLUMNS))
        frame["created"] = pd.to_datetime(frame["created"], utc=True, format="ISO8601")
        # An empty table would have no types, and could not be filtered.
        frame = frame.astype({**dict.fromkeys(("dim", "rows", "quarantined", "bytes"), "int64"), "is_current": bool})
        return frame.sort_values(["dataset", "extractor", "split", "created"], ignore_index=True)

    def catalog_rows(self) -> list[dict[str, Any]]:
        """Return the rows of `catalog` as plain data, in the same order; pandas is not imported for them."""
        current = {
            alias.set_key: alias for alias in sorted(self._aliases.current(), key=lambda a: ":" not in a.dataset)
        }
        rows = []
        for features in self.sets():
            try:
                rows.append(_catalog_row(features, current.get(features.key)))
            except DamagedStore as error:
                _logger.warning("%s The set is left out.", error)
        return sorted(rows, key=lambda row: tuple(row[name] for name in ("dataset", "extractor", "split", "created")))

    def sets(self) -> Iterator[FeatureSet]:
        """Yield every published set, in the order of their keys; a damaged one is left out and logged."""
        for key in self._published("sets"):
            try:
                found = FeatureSet(self.path / "sets" / key)
            except DamagedStore as error:
                _logger.warning("%s The set is left out.", error)
                continue
            yield found

    def get(
        self,
        dataset: str | None = None,
        split: str | None = None,
        extractor: str | None = None,
        *,
        as_of: str | None = None,
        key: str | None = None,
    ) -> FeatureSet:
        """Return a set, by name or by key.

        Args:
            dataset: a name of the configuration, the SOURCE as typed, or any end that means no other dataset.
            split: the base split; the only one where there is one.
            extractor: what the extractor is called.
            as_of: an ISO 8601 time: what the name meant then; without it, what it means now.
            key: a set key or a unique prefix of one, instead of a name.

        Raises:
            FeatureSetNotFound: nothing answers, or several do; the message lists what there is.
            InvalidMoment: `as_of` is no ISO 8601 time.
        """
        if key is not None:
            return FeatureSet(self.path / "sets" / self._complete(key))
        if dataset is None or extractor is None:
            raise FeatureSetNotFound("dataset, split and extractor name a set together; or give key.")
        if split is None or not self._aliases.numbers(Alias(dataset, split, extractor, "", "").name_digest):
            dataset = self.find_dataset(dataset)
        if split is None:
            split = self._only_split(dataset, extractor)
        if as_of is None:
            # Only the newest entry is read: an older one that is damaged stands in nobody's way.
            history = self._aliases.newest(dataset, split, extractor)
        else:
            moment = parse_moment(as_of)
            history = self._aliases.history(dataset, split, extractor)
            history = [alias for alias in history if parse_moment(alias.created) <= moment]
        if not history or history[-1].has_ended:
            when = f" as of {as_of}" if as_of else ""
            ended = f" since {history[-1].created}, when its source had that base split no more" if history else ""
            raise FeatureSetNotFound(
                f"{dataset} / {split} / {extractor}: no such set{when} in {self.path}{ended}; "
                f"sets here: {self._listed()}."
            )
        found = history[-1].set_key
        if not self._is_published("sets", found):
            raise FeatureSetNotFound(
                f"{dataset} / {split} / {extractor}: its set {found} is not in {self.path}/sets; extract it again."
            )
        return FeatureSet(self.path / "sets" / found)

    def _listed(self) -> str:
        known = sorted({(a.dataset, a.split, a.extractor) for a in self._aliases.current()})
        more = f"; and {len(known) - _LISTED} more, see 'linprobe store ls'" if len(known) > _LISTED else ""
        return ("; ".join(" / ".join(name) for name in known[:_LISTED]) or "none") + more

    def find_dataset(self, asked: str) -> str:
        """Return the full name of the dataset that a text means.

        Args:
            asked: its name, its SOURCE as typed, or any end that means no other, see `store.names.find_dataset`.

        Returns:
            The full name; `asked` itself where no dataset answers, which then nothing will be found of.

        Raises:
            FeatureSetNotFound: several datasets end so; the message lists them.
        """
        found = find_dataset(asked, self._aliases.datasets())
        if len(found) > 1:
            raise FeatureSetNotFound(
                f"{asked}: one dataset expected, {len(found)} end so: {', '.join(found)}; give more of the name."
            )
        return found[0] if found else asked

    def shown_names(self, others: Collection[str] = ()) -> dict[str, str]:
        """Return full name → what people read instead, the shortest end that means no other, of every dataset here.

        Args:
            others: full names that the store need not know yet; they are among those returned.
        """
        return shortest_ends({*self._aliases.datasets(), *others})

    def _only_split(self, dataset: str, extractor: str) -> str:
        splits = self.splits(dataset, extractor)
        if len(splits) == 1:
            return splits[0]
        if splits:
            raise FeatureSetNotFound(
                f"{dataset} / {extractor}: split expected, for there are {len(splits)}: {', '.join(splits)}."
            )
        raise FeatureSetNotFound(f"{dataset} / {extractor}: no such set in {self.path}; sets here: {self._listed()}.")

    def splits(self, dataset: str, extractor: str) -> list[str]:
        """Return the base splits under which a dataset has sets of an extractor now, sorted.

        Raises:
            DamagedStore: what one of them is called is damaged.
        """
        return self._aliases.splits(dataset, extractor)

    def has_set(self, key: str, pool: Pool | None = None) -> bool:
        """Return whether a set of this key is published and unharmed; see `find_set`."""
        return self.find_set(key, pool) is not None

    def find_set(self, key: str, pool: Pool | None = None) -> FeatureSet | None:
        """Return the set of this key if it is published and unharmed; damage is logged.

        Reads every byte of the set, and of its shards once per process: an extraction that this
        gives nothing publishes the set anew.

        Args:
            key: the set's.
            pool: the set's, whose `sound_shards` are then not read again.
        """
        sound_shards = pool.sound_shards if pool else ()
        if not self._is_sound("sets", key, lambda folder, name: find_set_damage(folder, name, sound_shards)):
            return None
        try:
            return FeatureSet(self.path / "sets" / key)
        except MissingFile:
            return None  # `gc` took it away just now

    def publish_set(
        self,
        key: SetKey,
        ledger: "pd.DataFrame",
        pool: Pool,
        *,
        provenance: Provenance,
        notes: Mapping[str, Any] | None = None,
    ) -> FeatureSet:
        """Publish a set whose rows lie in the pool; see `store.publication.publish_set`."""
        folder = self.path / "sets" / key.digest
        publish_set(folder, key, ledger, pool=pool, provenance=provenance, notes=notes)
        try:
            return FeatureSet(folder)
        except MissingFile as error:
            raise self._gone(key.digest) from error

    def name_set(
        self,
        dataset: str,
        split: str,
        extractor: str,
        *,
        key: str,
        created: str,
        size: Size | None = None,
        is_accepted: bool = False,
    ) -> None:
        """Make a name mean a published set from now on.

        Args:
            dataset, split, extractor: the name.
            key: of a set that was published, or found, by the caller.
            created: UTC, ISO 8601 to the second.
            size: of the base split, which others are held against from now on, as far as it is larger.
            is_accepted: whether somebody has agreed to this size, also where it is smaller.

        Raises:
            StoreBusy: it is not there: `gc` took it away meanwhile.
        """
        if not self._is_published("sets", key):
            raise self._gone(key)
        # The name must not outlive the set, which another writer may not have synced yet.
        sync_folder(self.path / "sets")
        alias = Alias(dataset, split, extractor, key, created)
        if size is not None:
            accepted = self._sizes.next_accepted(alias, size, is_accepted)
            alias = replace(alias, size=size.document(), accepted=accepted.document())
        self._aliases.put(alias)
        # Looked at again now that the name is there: `gc` reads names again after it took a set away.
        if not self._is_published("sets", key):
            raise self._gone(key)

    def accepted_size(self, dataset: str, split: str, extractor: str) -> Size | None:
        """Return how large a base split was when somebody last agreed to it: the largest since.

        Args:
            dataset, split, extractor: its name. By an extractor that has no name of it yet, those of others count.

        Returns:
            None for a base split that is new, or whose end was agreed to.
        """
        return self._sizes.accepted(dataset, split, extractor)

    def named_size(self, dataset: str, split: str, extractor: str) -> Size | None:
        """Return how large the base split is that a name means now; None where its entry does not say."""
        return self._sizes.named(dataset, split, extractor)

    def unaccepted_ends(self, dataset: str, extractor: str, kept: Collection[str]) -> list[str]:
        """Return the base splits of a dataset that have ended without anybody agreeing to it, and are not there again.

        Args:
            dataset: a name of the configuration, or the source.
            extractor: what the extractor is called.
            kept: the base splits that the source has.
        """
        return self._sizes.unaccepted_ends(dataset, extractor, kept)

    def _gone(self, key: str) -> StoreBusy:
        return StoreBusy(f"{self.path}/sets/{key}: taken away by 'linprobe store gc' meanwhile; run it again.")

    def lost_splits(self, dataset: str, extractor: str, kept: Collection[str]) -> dict[str, str]:
        """Return base split → set key of what a dataset still names, and its source has no more.

        Args:
            dataset: a name of the configuration, or the source.
            extractor: what the extractor is called.
            kept: the base splits that the source has.
        """
        return {a.split: a.set_key for a in self._aliases.named(dataset, extractor) if a.split not in kept}

    def end_name(self, dataset: str, split: str, extractor: str, *, created: str, is_accepted: bool = True) -> bool:
        """Let a name mean nothing from now on; what it meant stays, and `as_of` and `key` reach it.

        Args:
            dataset, split, extractor: the name.
            created: UTC, ISO 8601 to the second.
            is_accepted: whether somebody has agreed to that; else `unaccepted_ends` names it.

        Returns:
            False if it meant nothing already, or got a new meaning at this very moment.
        """
        before = None if is_accepted else self.accepted_size(dataset, split, extractor)
        accepted = before.document() if before else None
        return self._aliases.end(dataset, split, extractor, created=created, accepted=accepted)

    def pool(self, key: PoolKey) -> Pool:
        """Return the pool of a key, which may hold nothing yet."""
        return Pool(self.path / "pools" / key.digest, key)

    def pool_key(self, digest: str) -> PoolKey:
        """Return the key that a pool is named by.

        Raises:
            DamagedStore: its pool.json is missing, damaged or another pool's.
        """
        return read_pool_key(self.path / "pools" / digest)

    def pools(self) -> list[Pool]:
        """Return the pools that hold something, by their keys; damaged ones are left out, `verify_store` tells."""
        found = []
        for name in self._published("pools"):
            try:
                found.append(self.pool(self.pool_key(name)))
            except DamagedStore:
                continue
        return found

    # Runs

    def results(self) -> "pd.DataFrame":
        """Return a row per probe run, the newest last: configuration, counts and metrics.

        A damaged run is left out and logged; `verify_store` tells of all, `run` raises. What was
        read once is kept in the disposable cache, see `store.run_table`.
        """
        import pandas as pd

        rows = self.results_rows()
        if not rows:
            return pd.DataFrame(columns=["run_id", "dataset", "extractor", "head", "accuracy", "created"])
        return pd.DataFrame(rows)

    def results_rows(self) -> list[dict[str, Any]]:
        """Return the rows of `results` as plain data, in the same order; pandas is not imported for them."""
        rows, damage = run_rows(self.path, self._published("runs"))
        self._log_damage(damage)
        return sorted(rows, key=lambda row: (row["created"], row["run_id"]))

    def records(self) -> list[RunRecord]:
        """Return what every run says of itself, in the order of their ids; a damaged one is left out and logged.

        The table of a selection is left out. What was read once is kept in the disposable cache, see `store.run_table`.
        """
        documents, damage = run_documents(self.path, self._published("runs"))
        self._log_damage(damage)
        return [RunRecord.of_document(run_id, document) for run_id, document in documents.items()]

    def record(self, run_id: str) -> RunRecord:
        """Return what a run says of itself, by id, unique prefix or `DATASET/EXTRACTOR/HEAD` (its newest)."""
        return RunFolder(self.path / "runs" / self.find_run(run_id)).record()

    def _log_damage(self, damage: Mapping[str, str]) -> None:
        for run_id, sentence in damage.items():
            _logger.warning("%s The run %s is left out.", sentence, run_id[:12])

    def predictions(self, run_id: str) -> "pd.DataFrame":
        """Return a run's predictions, a row per test example, with the names of the classes beside their numbers."""
        import numpy as np

        run = RunFolder(self.path / "runs" / self.find_run(run_id))
        found = run.predictions()
        names = np.array(run.record().class_names, dtype=object)
        return found.assign(label_name=names[found["label"]], predicted_name=names[found["predicted"]])

    def probabilities(self, run_id: str, part: str = "test") -> "pd.DataFrame | None":
        """Return the probability of every class, float32, as the run kept it: a row per example id, a column per class.

        Args:
            run_id: an id, a unique prefix of one, or `DATASET/EXTRACTOR/HEAD`.
            part: `test`; or `held_out`: training images, by a fit of the selection that had not seen them.

        Returns:
            None where the run kept none: before protocol 3. Of more than 20 million numbers each row has its 20
            likeliest classes, and NaN else.
        """
        run = RunFolder(self.path / "runs" / self.find_run(run_id))
        return run.probabilities(part, run.record().class_names)

    def run(self, run_id: str) -> ProbeResult:
        """Return a whole run, by id, unique prefix or `DATASET/EXTRACTOR/HEAD` (its newest)."""
        return RunFolder(self.path / "runs" / self.find_run(run_id)).result()

    def runs(self) -> Iterator[ProbeResult]:
        """Yield every run, in the order of their ids; a damaged one is left out and logged."""
        for run_id in self._published("runs"):
            try:
                found = RunFolder(self.path / "runs" / run_id).result()
            except DamagedStore as error:
                _logger.warning("%s The run is left out.", error)
                continue
            yield found

    def run_digests(self, run_ids: Sequence[str] | None = None) -> dict[str, str]:
        """Return run id → digest of all that the run is: its manifest holds the digests of its parts.

        Args:
            run_ids: of published runs; without, of all. One that cannot be read has none.
        """
        found = {}
        for run_id in self._published("runs") if run_ids is None else run_ids:
            with suppress(FileNotFoundError, NotADirectoryError):
                found[run_id] = hashlib.sha256((self.path / "runs" / run_id / "manifest.json").read_bytes()).hexdigest()
        return found

    def has_run(self, run_id: str) -> bool:
        """Return whether a run of exactly this id is published and unharmed; damage is logged."""
        return self._is_sound("runs", run_id, find_run_damage)

    def publish_run(self, result: ProbeResult) -> bool:
        """Publish a run; False if it was there already."""
        return publish_run(self.path / "runs" / result.run_id, result)

    def put_answer(self, question: Mapping[str, Any], run_id: str, *, created: str) -> bool:
        """Make a published run answer a question from now on; see `store.answers`.

        Args:
            question: what was asked, as `probe.question_of` gives it.
            run_id: the run.
            created: UTC, ISO 8601 to the second.

        Returns:
            False if it does already.
        """
        return self._answers.put(question, run_id, created=created)

    def standing(self) -> list[Standing]:
        """Return the runs that answer a question now, each once, the last at the end; see `store.answers`."""
        documents, damage = run_documents(self.path, self._published("runs"))
        self._log_damage(damage)
        return standing_runs(self._answers, documents, damage)

    def find_run(self, name: str) -> str:
        """Return the id that a run id, a unique prefix or `DATASET/EXTRACTOR/HEAD` names.

        Three parts mean what answers now: of the question answered last that they fit, the run of the smallest seed.

        Raises:
            RunNotFound: no run answers, or several do.
            DamagedStore: a damaged run may be the one of that name.
        """
        if self._is_published("runs", name):
            return name
        ids = self._published("runs")
        found = [run_id for run_id in ids if name and run_id.startswith(name)]
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            raise RunNotFound(f"{name}: {len(found)} runs begin so; give more of the id.")
        documents, damage = run_documents(self.path, ids)
        standing = standing_runs(self._answers, documents, damage)
        matching = answering(name, [one for one in standing if one.config])
        # Of a damaged run that no answer names nobody can say what it answers.
        unclear = next((one for one in standing if not one.is_read and (one in matching or not one.config)), None)
        if unclear is not None:
            raise DamagedStore(
                f"{name}: its newest run expected, but the damaged run {unclear.run_id[:12]} may be it; give an id. "
                f"{damage[unclear.run_id]}"
            )
        if len(asked := sorted({one.dataset for one in matching})) > 1:
            raise RunNotFound(
                f"{name}: one dataset expected, {len(asked)} end so: {', '.join(asked)}; give more of the name."
            )
        if matching:
            return pick(matching).run_id
        raise RunNotFound(
            f"{name}: none of the {len(ids)} runs in {self.path} answers to this id, prefix or DATASET/EXTRACTOR/HEAD."
        )

    # Nights

    def begin_night(self, document: Mapping[str, Any]) -> str:
        """Write that a night has begun, and return its id; see `store.nights`."""
        return self._nights.begin(document)

    def end_night(self, night: str, document: Mapping[str, Any]) -> None:
        """Write how a night has ended."""
        self._nights.end(night, document)

    def nights(self) -> list[dict[str, Any]]:
        """Return what every night was asked, found and answered, and how it ended; the last at the end."""
        return self._nights.all()

    def perceptual_hashes(self) -> PerceptualHashes:
        """Return what is known of images beyond their bytes; disposable."""
        return PerceptualHashes(self.path / "cache" / "phash")

    def hashes_of(self, sets: Iterable[FeatureSet]) -> dict[str, bytes | None]:
        """Return the perceptual hashes of sets' images, as far as they are known: content in hexadecimal → hash."""
        found: dict[str, bytes | None] = {}
        for one in sets:
            contents = {bytes(row) for row in one.content_sha256[:]}
            known = self.perceptual_hashes().find(contents, one.key)
            found.update((content.hex(), hashed) for content, hashed in known.items())
        return found

    # Locks

    def lock(
        self, name: str, wait: bool, holder: str = "", *, on_wait: Callable[[str], None] = lambda text: None
    ) -> AbstractContextManager[None]:
        """Hold a lock that saves double work; nothing's correctness rests on it, see `store.locks.hold_lock`.

        Raises:
            StoreBusy: it is held, and `wait` is false.
        """
        return hold_lock(self.path / "cache" / "locks", name, wait, holder=holder, on_wait=on_wait)

    @property
    def _nights(self) -> Nights:
        return Nights(self.path / "nights")

    @cached_property
    def _answers(self) -> Answers:
        return Answers(self.path / "answers")

    @property
    def _sizes(self) -> AcceptedSizes:
        return AcceptedSizes(self.path, self._aliases)

    @cached_property
    def _aliases(self) -> Aliases:
        return Aliases(self.path / "aliases")

    def _published(self, kind: str) -> list[str]:
        return [name for name in list_folder(self.path / kind) if PUBLISHED.fullmatch(name)]

    def _is_published(self, kind: str, name: str) -> bool:
        """Return whether a name is among `_published`, without listing what else is."""
        if not PUBLISHED.fullmatch(name):
            return False
        try:
            (self.path / kind / name).lstat()
        except FileNotFoundError:
            return False
        return True

    def _is_sound(self, kind: str, name: str, find_damage: Callable[[Path, str], str | None]) -> bool:
        if not self._is_published(kind, name):
            return False
        damage = find_damage(self.path / kind / name, name)
        if damage:
            _logger.warning("%s", damage)
        return damage is None

    def _complete(self, prefix: str) -> str:
        found = [key for key in self._published("sets") if prefix and key.startswith(prefix)]
        if len(found) != 1:
            raise FeatureSetNotFound(
                f"{prefix}: {len(found)} sets in {self.path} have this key or begin so, one expected."
            )
        return found[0]


def _catalog_row(features: FeatureSet, alias: Alias | None) -> dict[str, Any]:
    provenance, manifest = features.provenance, features.manifest
    return {
        "key": features.key,
        "dataset": alias.dataset if alias else provenance.dataset,
        "split": features.split,
        "extractor": alias.extractor if alias else provenance.extractor,
        "dim": manifest["dim"],
        "rows": manifest["rows"],
        "quarantined": manifest["quarantined"],
        "bytes": features.features.nbytes,
        "created": provenance.created,
        "is_current": alias is not None,
    }
