"""Reading a base split once: who is there, what the pool has, what cannot be decoded."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extract.adoption import Adoption
from extract.decoding import is_lasting
from extract.errors import BadData
from extract.extractors.extractor import Extractor
from extract.handling import Handling, handling_of, ledger_entry
from extract.header import Header, Rules
from extract.shares import numbered_examples
from extract.sources.example import DatasetSource, Example, Known, Pending
from store import (
    LEDGER_COLUMNS,
    OPTIONAL_LEDGER_COLUMNS,
    DamagedStore,
    FeatureSetNotFound,
    FeatureStore,
    Pool,
    SetKey,
    rows_digest,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "STRICT",
    "Budget",
    "Candidate",
    "Survey",
    "known_decode_failures",
    "require_within_budget",
    "set_key",
]


@dataclass(frozen=True)
class Budget:
    """How many images may be undecodable before a base split counts as bad data.

    Attributes:
        images: an absolute number, or None.
        share: of the candidates, 0 to 1, or None.
    """

    images: int | None = 0
    share: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Parse `N` or `P%`.

        Raises:
            ValueError: it is neither.
        """
        try:
            if text.endswith("%"):
                share = float(text[:-1]) / 100
                if 0 <= share <= 1:
                    return cls(None, share)
            elif int(text) >= 0:
                return cls(int(text))
        except ValueError:
            pass
        raise ValueError(f"{text!r}: a number of images (12) or a share (0.5%) expected.")

    def text(self) -> str:
        """Return it as `parse` reads it."""
        return str(self.images) if self.images is not None else f"{100 * (self.share or 0.0):g}%"

    def allows(self, bad: int, candidates: int | None) -> bool:
        """Return whether so many bad images are within the budget; a share needs the total."""
        if self.images is not None:
            return bad <= self.images
        return candidates is None or bad <= self._images_of(candidates)

    def for_share(self, candidates: int | None) -> "Budget":
        """Return what a share of the candidates is held against: all bad images of the whole may lie in it."""
        if self.images is not None:
            return self
        return Budget(None, 1.0) if candidates is None else Budget(int(self._images_of(candidates)))

    def _images_of(self, candidates: int) -> float:
        # A little more, because 0.29 * 100 is less than 29 in floating point.
        return (self.share or 0.0) * candidates + 1e-6


STRICT = Budget()


@dataclass(slots=True)
class Candidate:
    """What is remembered of an image: enough for the ledger, and never its bytes."""

    example_id: str
    label: int
    group: str
    known: Known


class Survey:
    """Reads a base split once: remembers every candidate, passes on those that the pool lacks.

    A thread of the pipeline reads while another takes what came of it.

    Args:
        source: where the images come from.
        split: the base split.
        pool: whose rows are known.
        failures: content → reason, of images that are known to be undecodable.
        is_wanted: whether the candidate at a place, from 0, is looked at; all are by default.
        adoption: what other pools have.
        allows: whether so many undecodable images are within the budget; reading ends where they are not.

    Attributes:
        candidates: those read until now.
        pool: as given.
        decode_failures: those given, and what is found since.
        reused: candidates that needed no computation, until now.
        bad: candidates read until now that are undecodable.
    """

    def __init__(
        self,
        source: DatasetSource,
        split: str,
        pool: Pool,
        *,
        failures: Mapping[bytes, str],
        is_wanted: Callable[[int], bool] = lambda ordinal: True,
        adoption: Adoption | None = None,
        allows: Callable[[int], bool] = lambda bad: True,
    ) -> None:
        self._source = source
        self._split = split
        self._is_wanted = is_wanted
        self.pool = pool
        self._adoption = adoption
        self._allows = allows
        self._known = pool.index()
        self._scheduled: set[bytes] = set()
        self._times: Counter[bytes] = Counter()
        self._lock = threading.Lock()
        self.candidates: list[Candidate] = []
        self.decode_failures = dict(failures)
        self.reused = 0
        self.bad = 0

    def missing(self) -> Iterator[Pending]:
        """Yield the images whose rows have to be computed, each content once."""
        for ordinal, example in numbered_examples(self._source, self._split, self._is_wanted):
            known = example.look()
            if self._remember(example, known) and known.header is not None:
                yield Pending(ordinal, example, known.content, known.header)
            elif known.header is None and not self._allows(self.bad):
                return

    def _remember(self, example: Example, known: Known) -> bool:
        """Count a candidate; True if its row has to be computed."""
        content = known.content
        with self._lock:
            self.candidates.append(Candidate(example.example_id, example.label, example.group, known))
            self._times[content] += 1
            if known.reason:
                self.decode_failures.setdefault(content, known.reason)
            if content in self.decode_failures:
                self.bad += 1
                return False
            if content in self._known or content in self._scheduled or self._is_adopted(known):
                self.reused += 1
                return False
            self._scheduled.add(content)
            return True

    def _is_adopted(self, known: Known) -> bool:
        is_offered = self._adoption is not None and self._adoption.offers(known.content, known.header)
        if is_offered:
            self._scheduled.add(known.content)
        return is_offered

    def bring_adopted(self) -> int:
        """Take over the rows that other pools offer for what was read until now; return how many were, in all."""
        if self._adoption is None:
            return 0
        self._adoption.bring()
        return self._adoption.adopted

    def refuse(self, content: bytes, reason: str) -> None:
        """Remember that an image that was passed on turned out to be undecodable, and so all its equals."""
        with self._lock:
            self.decode_failures[content] = reason
            self.bad += self._times[content]
            self.reused -= self._times[content] - 1

    def quarantined(self) -> list[Candidate]:
        """Return the candidates read until now that are undecodable."""
        with self._lock:
            return [candidate for candidate in self.candidates if candidate.known.content in self.decode_failures]

    def rows(self) -> list[tuple[str, str, int, str]]:
        """Return id, content, label and status of each candidate, as `store.rows_digest` takes them."""
        decode_failures = self.decode_failures
        return [
            (
                c.example_id,
                c.known.content.hex(),
                c.label,
                "quarantined" if c.known.content in decode_failures else "ok",
            )
            for c in self.candidates
        ]

    def ledger(self, rules: Rules) -> "pd.DataFrame":
        """Return a row per candidate, in order, with all columns of a ledger; `rules` are what was done to it."""
        import pandas as pd

        rows = []
        for candidate, (example_id, content, label, status) in zip(self.candidates, self.rows(), strict=True):
            known, reason = candidate.known, self.decode_failures.get(candidate.known.content, "")
            header = known.header or Header("", "", 0, 0)
            looks = (header.format, header.mode, header.width, header.height, known.size)
            handled = ledger_entry(header, rules)
            rows.append((example_id, label, candidate.group, status, reason, content, *looks, *handled))
        return pd.DataFrame(rows, columns=[*LEDGER_COLUMNS, *OPTIONAL_LEDGER_COLUMNS])

    def headers(self) -> dict[bytes, tuple[str, Header]]:
        """Return of each image that can be decoded, by its content, the first id and the header."""
        found: dict[bytes, tuple[str, Header]] = {}
        for candidate in self.candidates:
            known = candidate.known
            if known.header is not None and known.content not in self.decode_failures:
                found.setdefault(known.content, (candidate.example_id, known.header))
        return found

    def handling(self, rules: Rules) -> Handling:
        """Return what rules do to the images that can be decoded."""
        headers = (
            candidate.known.header
            for candidate in self.candidates
            if candidate.known.header is not None and candidate.known.content not in self.decode_failures
        )
        return handling_of(headers, rules)


def known_decode_failures(
    store: FeatureStore | None, dataset: str, split: str, *, extractor: Extractor
) -> dict[bytes, str]:
    """Return what the current set of this name found undecodable: a function of the same bytes and rules."""
    if store is None:
        return {}
    try:
        current = store.get(dataset, split, extractor.name)
        if not current.manifest["quarantined"] or current.manifest["pool"] != extractor.pool_key().digest:
            return {}
        ledger = current.ledger()
    except (FeatureSetNotFound, DamagedStore):
        # Without what was found then, the images are decoded again; a damaged set is published anew.
        return {}
    bad = ledger[ledger["status"] == "quarantined"]
    return {
        bytes.fromhex(content): reason
        for content, reason in zip(bad["content_sha256"], bad["reason"], strict=True)
        if is_lasting(reason)
    }


def require_within_budget(survey: Survey, budget: Budget) -> None:
    """Check how many images are undecodable.

    Raises:
        BadData: more than the budget allows; some are named.
    """
    if budget.allows(survey.bad, len(survey.candidates)):
        return
    bad = survey.quarantined()
    shown = "; ".join(f"{c.example_id}: {survey.decode_failures[c.known.content]}" for c in bad[:3])
    raise BadData(
        f"{len(bad)} of the {len(survey.candidates)} images read so far cannot be decoded, more than the "
        f"budget allows ({shown}{'; …' if len(bad) > 3 else ''}); fix or remove them, or raise --max-bad. "
        "Rows computed until now are kept."
    )


def set_key(survey: Survey, source: DatasetSource, split: str, *, pool: Pool) -> SetKey:
    """Return the identity of the set that a finished survey describes.

    Raises:
        BadData: it holds nothing, an id is duplicated, or no image can be decoded.
    """
    rows = survey.rows()
    _require_sound(rows, survey, f"{source.name} {split}")
    return SetKey(
        pool=pool.folder.name,
        split=split,
        class_names=source.class_names,
        candidates=len(rows),
        rows_sha256=rows_digest(rows),
        origin=source.origin,
    )


def _require_sound(rows: Sequence[tuple[str, str, int, str]], survey: Survey, where: str) -> None:
    if not rows:
        raise BadData(f"{where}: holds no example.")
    if len({example_id for example_id, _, _, _ in rows}) != len(rows):
        (twice, _), *_ = Counter(example_id for example_id, _, _, _ in rows).most_common(1)
        raise BadData(f"{where}: the example id {twice!r} is duplicated.")
    if all(status == "quarantined" for _, _, _, status in rows):
        reason = survey.decode_failures[survey.candidates[0].known.content]
        raise BadData(f"{where}: none of its {len(rows)} images can be decoded ({reason}).")
