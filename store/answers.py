"""Which run answers a question: what reports show, and what names and gates mean.

answers/<digest of the question>/<n>.json     question, run id, order, time; the highest n is current

A question is what was asked for, with splits as they were asked for: another night's images, or another version of the
protocol, answer it anew. So one bad night is forgotten by the next good one, also where that finds its run cached. No
clock decides: which of two questions was answered last is told by `order`, a counter of the store's.

Runs that no answer has ever named are those of stores older than answers, or of a writer that died before it could
answer. The newest of them by its own time answers, as long as no answer has the same splits, sets aside.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.commit import PUBLISHED, list_folder
from store.documents import digest, read_sealed, seal
from store.errors import DamagedStore
from store.histories import append_entry, entry_numbers
from store.names import find_dataset
from store.settings import circumstances, protocol_of, same_but_seed, values_of

__all__ = ["Answer", "Answers", "Standing", "answering", "pick", "standing_runs"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answering of a question.

    Attributes:
        question: what was asked, plain data: `dataset`, `extractor`, `head`, `options`, `seed` and the other settings.
        run_id: the run that answers it.
        order: the larger, the later it was answered among all questions of the store.
        created: UTC, ISO 8601 to the second; for people, nothing is ordered by it.
    """

    question: Mapping[str, Any]
    run_id: str
    order: int
    created: str

    @property
    def name(self) -> str:
        """The question's folder."""
        return digest(self.question)


class Answers:
    """The folder of answers.

    Args:
        folder: `STORE/answers`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last_order: int | None = None

    def put(self, question: Mapping[str, Any], run_id: str, *, created: str) -> bool:
        """Make a run answer a question from now on.

        Returns:
            False if it does already; nothing is written then.
        """
        name = digest(question)

        def says_so(number: int) -> bool:
            try:
                return self.read(name, number).run_id == run_id
            except DamagedStore:
                return False  # the next number takes its place

        def data() -> bytes:
            document = {"question": dict(question), "run_id": run_id, "order": self._next_order(), "created": created}
            return seal(document)

        return append_entry(self.folder / name, data, says_so=says_so)

    def _next_order(self) -> int:
        # Read once: what others answer meanwhile may get the same number, and then counts as answered at the same time.
        if self._last_order is None:
            self._last_order = max((answer.order for answer in self.current()), default=0)
        self._last_order += 1
        return self._last_order

    def current(self) -> list[Answer]:
        """Return what answers each question now, the last at the end; one that is damaged is left out and logged."""
        found = []
        for name in self.names():
            try:
                found += [self.read(name, number) for number in self.numbers(name)[-1:]]
            except DamagedStore as error:
                _logger.warning("%s The answer is left out.", error)
        return sorted(found, key=lambda answer: (answer.order, answer.name))

    def former_runs(self) -> set[str]:
        """Return the runs that have answered a question once and may answer it no more."""
        found = set()
        for name in self.names():
            for number in self.numbers(name)[:-1]:
                try:
                    found.add(self.read(name, number).run_id)
                except DamagedStore:
                    continue  # it says nothing, and what is current stands
        return found

    def names(self) -> list[str]:
        """Return the digests of the questions."""
        return [name for name in list_folder(self.folder) if PUBLISHED.fullmatch(name)]

    def numbers(self, name: str) -> list[int]:
        """Return the numbers of a question's entries, rising."""
        return entry_numbers(self.folder / name)

    def read(self, name: str, number: int) -> Answer:
        """Return one entry of a question, by its digest.

        Raises:
            DamagedStore: it is not what was written, or stands under another question.
        """
        path = self.folder / name / f"{number}.json"
        answer = Answer(**read_sealed(path))
        if answer.name != name:
            raise DamagedStore(f"{path}: an answer to the question {name} expected, one to {answer.name} found.")
        return answer


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A run that answers a question now.

    Attributes:
        run_id: the run.
        dataset, extractor: what they are called in the question; the run may have been trained under other names.
        config: the run's, with these names.
        is_read: False where its run.json is damaged; `config` is the question then.
    """

    run_id: str
    dataset: str
    extractor: str
    config: Mapping[str, Any]
    is_read: bool = True


# What draws, and by which rule heads were selected where nothing was said, up to protocol 2.
_DRAW = re.compile(r"/(seed|draw)")
_RULE_OF_BEFORE = "one_se"


def standing_runs(
    answers: Answers, documents: Mapping[str, Mapping[str, Any]], damaged: Iterable[str] = ()
) -> list[Standing]:
    """Return the runs that answer a question now, each once, the one answered last at the end.

    Args:
        answers: of the store.
        documents: run id → run.json, of every run that can be read.
        damaged: ids of those that cannot.
    """
    unread = set(damaged)
    current = answers.current()
    found: dict[str, Standing] = {}
    for answer in current:
        if answer.run_id not in documents and answer.run_id not in unread:
            _logger.warning("%s/%s: its run %s is gone.", answers.folder, answer.name, answer.run_id[:12])
            continue
        # A run that answers under several names is called as in the last; it stands where that does.
        found.pop(answer.run_id, None)
        found[answer.run_id] = _standing(answer, documents.get(answer.run_id))
    known = set(found) | answers.former_runs()
    asked: dict[str, list[Mapping[str, Any]]] = {}
    for standing in found.values():
        asked.setdefault(_resolved(standing.config), []).append(standing.config)
    unanswered: dict[str, list[tuple[str, str]]] = {}
    for run_id, document in documents.items():
        config = document["config"]
        options = config.get("options") or {}
        if run_id in known or any(_agree(config, other) for other in asked.get(_resolved(config), ())):
            continue
        question = _resolved(config) + json.dumps(options, sort_keys=True)
        unanswered.setdefault(question, []).append((document["created"], run_id))
    oldest = [
        Standing(run_id=run_id, dataset=config["dataset"], extractor=config["extractor"], config=config)
        for _, run_id in sorted(max(runs) for runs in unanswered.values())
        for config in [documents[run_id]["config"]]
    ]
    lost = [
        Standing(run_id=run_id, dataset="", extractor="", config={}, is_read=False) for run_id in sorted(unread - known)
    ]
    return [*lost, *oldest, *found.values()]


def _standing(answer: Answer, document: Mapping[str, Any] | None) -> Standing:
    names = {name: str(answer.question[name]) for name in ("dataset", "extractor")}
    config = {**(document["config"] if document else answer.question), **names}
    return Standing(run_id=answer.run_id, config=config, is_read=document is not None, **names)


def _resolved(config: Mapping[str, Any]) -> str:
    values = values_of(config, but=["options"]).values()
    # Protocol 2 spelled its draws another way.
    return _DRAW.sub("/draw", json.dumps(list(values), sort_keys=True))


def _agree(config: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two runs had the same options, as far as both versions knew them: a later one has more.

    A rule that was the default of its version asks the same as the default of another.
    """
    options, others = config.get("options") or {}, other.get("options") or {}
    names = options.keys() & others.keys()
    if protocol_of(config) != protocol_of(other) and options.get("rule") == _RULE_OF_BEFORE:
        names -= {"rule"}
    return all(options[name] == others[name] for name in names)


def answering(name: str, standing: Sequence[Standing]) -> list[Standing]:
    """Return the runs that DATASET/EXTRACTOR/HEAD means; of several datasets where DATASET is an end of several."""
    whole = [one for one in standing if f"{one.dataset}/{one.extractor}/{one.config['head']}" == name]
    if whole:
        return whole
    ends: dict[str, set[str]] = {}
    for one in standing:
        end = f"/{one.extractor}/{one.config['head']}"
        if name.endswith(end):
            ends.setdefault(end, set()).add(one.dataset)
    meant = {(end, dataset) for end, known in ends.items() for dataset in find_dataset(name.removesuffix(end), known)}
    return [one for one in standing if (f"/{one.extractor}/{one.config['head']}", one.dataset) in meant]


def pick(standing: Sequence[Standing]) -> Standing:
    """Return the run that a name means of those it fits: of the question answered last, the smallest seed.

    Only seeds on the same sets and protocol count: a larger seed's answer must not be hidden by one on older images.
    """
    last = standing[-1]
    if not last.is_read:
        return last
    alike = [
        one
        for one in standing
        if one.is_read
        and same_but_seed(one.config) == same_but_seed(last.config)
        and circumstances(one.config) == circumstances(last.config)
    ]
    return min(alike, key=lambda one: int(one.config["seed"]))
