"""A store against a plain dictionary: whatever is written, killed, resumed, grown, relabelled, swept and read."""

import dataclasses
import random
import shutil
import tempfile
import time
from pathlib import Path

import crash_model
import everything_read
import hypothesis
import pytest
import stub_extraction as stub
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from test_crash_model import run as crash_run

from store import FeatureStore, GarbageRule, collect_garbage, verify_store

CHUNK = 4
NAMES = st.sampled_from("ab")
NUMBERS = st.lists(st.integers(0, 15), min_size=1, max_size=10, unique=True)
CHOICES = {
    "nothing more": crash_model.nothing_more,
    "names without bytes": crash_model.names_without_bytes,
    "newest names only": crash_model.newest_names_only,
    "everything": crash_model.everything,
}
# Nothing is too young to go.
AT_ONCE = GarbageRule(grace_hours=0, keep_old_days=0)


def run_id(question, number):
    return f"{question}{number}" * 32


class StoreMachine(RuleBasedStateMachine):
    """The dictionary `meaning` says what each name may mean: one dataset, or two where a crash left it open."""

    def __init__(self):
        super().__init__()
        shared = Path("/dev/shm")
        self.root = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
        self.path, self.log = self.root / "inside" / "store", self.root / "log"
        self.path.parent.mkdir()
        self.meaning: dict[str, list[stub.Dataset]] = {}
        # Sets that were published and that no sweep has had a chance to take: key → what they are.
        self.published: dict[str, stub.Dataset] = {}
        self.unfinished: stub.Dataset | None = None
        # Question → the runs that may answer it, two where a crash left it open; and the nights that have ended.
        self.answers: dict[str, list[str]] = {}
        self.nights: set[str] = set()

    def teardown(self):
        shutil.rmtree(self.root)

    # What people do

    @rule(name=NAMES, numbers=NUMBERS)
    def write(self, name, numbers):
        self._extract(stub.dataset(name, numbers))

    @precondition(lambda self: self.meaning)
    @rule(data=st.data(), numbers=NUMBERS)
    def grow(self, data, numbers):
        self._extract(self._grown(data, numbers))

    @precondition(lambda self: self.meaning)
    @rule(data=st.data())
    def lose(self, data):
        known = self._known(data)
        self._extract(stub.Dataset(known.name, known.images[: (len(known.images) + 1) // 2]))

    @precondition(lambda self: self.meaning)
    @rule(data=st.data(), by=st.integers(1, 2))
    def relabel(self, data, by):
        before = len(stub.computed(self.log))
        self._extract(self._relabelled(data, by))
        assert not self.is_settled or len(stub.computed(self.log)) == before, "labels cost no forward pass"

    @precondition(lambda self: self.unfinished)
    @rule()
    def resume(self):
        self._extract(self.unfinished)

    @rule(question=NAMES, number=st.integers(0, 2))
    def answer(self, question, number):
        self._answer(question, number)
        self.answers[question] = [run_id(question, number)]

    @rule()
    def have_a_night(self):
        store = FeatureStore.create(self.path)
        night = store.begin_night({"begun": "2026-01-01T00:00:00Z"})
        store.end_night(night, {"ended": "2026-01-01T00:00:00Z", "how": "done", "exit_code": 0})
        self.nights.add(night)

    @rule()
    def sweep(self):
        if self.path.exists():
            self._sweep()
            self._keep_named()

    # Crashes

    @rule(data=st.data(), name=NAMES, numbers=NUMBERS)
    def crash_while_writing(self, data, name, numbers):
        self._crash_extracting(data, stub.dataset(name, numbers))

    @precondition(lambda self: self.meaning)
    @rule(data=st.data(), by=st.integers(1, 2))
    def crash_while_relabelling(self, data, by):
        self._crash_extracting(data, self._relabelled(data, by))

    @rule(data=st.data(), question=NAMES, number=st.integers(0, 2))
    def crash_while_answering(self, data, question, number):
        is_done = self._crash(data, lambda: self._answer(question, number))
        possible = [] if is_done else self.answers.get(question, [""])
        self.answers[question] = [*possible, run_id(question, number)]

    @precondition(lambda self: self.meaning)
    @rule(data=st.data())
    def crash_while_sweeping(self, data):
        self._crash(data, self._sweep)
        self._keep_named()

    # What must be so

    @invariant()
    def everything_is_as_the_dictionary_says(self):
        everything_read.forget()
        for name, possible in self.meaning.items():
            self.meaning[name] = [self._read(name, possible)] if possible else []
        for key, source in self.published.items():
            found = FeatureStore(self.path).get(key=key)
            assert found.example_ids.tolist() == [f"{number}.png" for number, _ in source.images]
            assert found.labels.tolist() == [label for _, label in source.images]
        if (self.path / "FORMAT").exists():
            self._read_answers()
            assert {night["night"] for night in FeatureStore(self.path).nights()} == self.nights
            assert verify_store(self.path, is_deep=True).problems == []

    def _read_answers(self):
        standing = {one.config["dataset"]: one.run_id for one in FeatureStore(self.path).standing()}
        for question, possible in self.answers.items():
            found = standing.pop(question, "")
            assert found in possible
            self.answers[question] = [found]
        assert standing == {}

    def _answer(self, question, number):
        store = FeatureStore.create(self.path)
        result = crash_run()
        config = {**result.config, "dataset": question, "options": {}, "metric": "accuracy"}
        # A later run may have been made by an earlier clock: nothing goes by that.
        created = f"20{40 - number}-01-01T00:00:00Z"
        store.publish_run(dataclasses.replace(result, run_id=run_id(question, number), config=config, created=created))
        asked = {**config, "train": None, "validation": None, "test": None}
        store.put_answer(asked, run_id(question, number), created=created)

    def _read(self, name, possible):
        failures = []
        for source in possible:
            try:
                stub.check_set(self.path, source)
                return source
            except AssertionError as error:
                failures.append(str(error))
        raise AssertionError(f"{name}: none of what it may mean: {failures}")

    # How

    @property
    def is_settled(self):
        return self.unfinished is None

    def _known(self, data):
        return self.meaning[data.draw(st.sampled_from(sorted(self.meaning)))][0]

    def _grown(self, data, numbers):
        known = self._known(data)
        new = [number for number in numbers if number not in {number for number, _ in known.images}]
        return stub.Dataset(known.name, (*known.images, *((number, number % 3) for number in new)))

    def _relabelled(self, data, by):
        known = self._known(data)
        return stub.Dataset(known.name, tuple((number, (label + by) % 3) for number, label in known.images))

    def _extract(self, source):
        """Extract, as a new process; exactly what the pool lacks is computed."""
        everything_read.forget()
        missing = {stub.content(number) for number, _ in source.images} - set(stub.committed(self.path))
        before = len(stub.computed(self.log))
        done = stub.extract_stub(self.path, source, self.log, CHUNK)
        assert sorted(stub.computed(self.log)[before:]) == sorted(missing)
        self.meaning[source.name] = [source]
        self.published[done.feature_set.key] = source
        if self.unfinished and self.unfinished.name == source.name:
            self.unfinished = None

    def _sweep(self):
        everything_read.forget()
        collect_garbage(self.path, time.time() + 10, AT_ONCE)

    def _keep_named(self):
        named = {source for possible in self.meaning.values() for source in possible}
        self.published = {key: source for key, source in self.published.items() if source in named}

    def _crash_extracting(self, data, source):
        before = self.meaning.get(source.name, [])
        is_done = self._crash(data, lambda: stub.extract_stub(self.path, source, None, CHUNK))
        self.unfinished = None if is_done else source
        if is_done:
            self.meaning[source.name] = [source]
        elif before:
            self.meaning[source.name] = [*before, source]

    def _crash(self, data, do):
        """Do something, and crash in the middle; returns whether it had been done by then."""
        everything_read.forget()
        inside = self.path.parent
        before = crash_model.durable(inside)
        recorder = crash_model.Recorder(inside)
        with recorder.recording():
            do()
        length = data.draw(st.integers(0, len(recorder.steps)), label="operations before the crash")
        how = data.draw(st.sampled_from([*CHOICES, *range(8)]), label="what is left")
        choice = crash_model.at_random(random.Random(how)) if isinstance(how, int) else CHOICES[how]()
        folder, _ = crash_model.replay(recorder.root, before, recorder.steps[:length])
        shutil.rmtree(inside)
        crash_model.build(crash_model.what_is_left(folder, choice), inside)
        return length == len(recorder.steps)


def run_machine(examples, steps, seed):
    settings = hypothesis.settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, database=None, print_blob=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    machine = type("StoreMachine", (StoreMachine,), {})
    run_state_machine_as_test(hypothesis.seed(seed)(machine), settings=settings)
    print(f"\nseed {seed}: {examples} histories of up to {steps} steps, none that the dictionary does not know")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("examples", "steps", "seed"),
    [(8, 10, 0), *(pytest.param(100, 30, seed, marks=pytest.mark.campaign) for seed in range(1, 6))],
)
def test_every_history_ends_as_the_dictionary_says(examples, steps, seed):
    run_machine(examples, steps, seed)
