"""Which run answers a question: the one published last for it, whatever any clock says."""

import json
import multiprocessing
import os
import time
from dataclasses import replace

import pytest

from store import DamagedStore, FeatureStore, collect_garbage, verify_store

QUESTION = {
    "dataset": "flowers", "extractor": "toy", "head": "logistic", "options": {}, "seed": 0, "shots": "all",
    "train_share": 1.0, "views": 0, "metric": "accuracy", "train": None, "validation": None, "test": None,
}  # fmt: skip
NOW = "2026-11-26T00:00:00Z"
A, B, C = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture
def publish(store, probe_result):
    """Publish a run of these names and settings, made at a time."""

    def publish(run_id, created=NOW, **config):
        store.publish_run(
            replace(probe_result, run_id=run_id, created=created, config={**probe_result.config, **config})
        )
        return run_id

    return publish


def answer(store, run_id, **asked):
    return store.put_answer({**QUESTION, **asked}, run_id, created=NOW)


def standing(store):
    return [one.run_id for one in store.standing()]


def test_the_last_answer_stands_whatever_the_clock_said(store, publish):
    publish(A, created="2026-01-01T00:00:00Z")
    publish(B, created="2036-01-01T00:00:00Z")
    assert answer(store, A)
    assert answer(store, B)
    assert standing(store) == [B]
    assert store.find_run("flowers/toy/logistic") == B
    # The good night finds its run cached, and answers again.
    assert answer(store, A)
    assert standing(store) == [A]
    assert store.find_run("flowers/toy/logistic") == A
    assert store.predictions("flowers/toy/logistic")["example_id"].tolist() == ["a.png", "b.png"]


def test_an_answer_that_stands_is_not_written_again(store, publish, tree):
    publish(A)
    answer(store, A)
    before = tree(store.path)
    assert not answer(store, A)
    assert not answer(FeatureStore(store.path), A)
    assert tree(store.path) == before


def test_of_two_questions_the_one_answered_last_is_meant(store, publish):
    publish(A, options={"C": 1.0})
    publish(B)
    answer(store, A, options={"C": 1.0})
    answer(store, B)
    assert standing(store) == [A, B]
    assert store.find_run("flowers/toy/logistic") == B
    # Another process counts on from what it finds.
    publish(C, options={"C": 2.0})
    answer(FeatureStore(store.path), C, options={"C": 2.0})
    assert FeatureStore(store.path).find_run("flowers/toy/logistic") == C


def test_of_seeds_on_equal_sets_a_name_means_the_smallest(store, publish):
    for seed, run_id in ((0, A), (1, B)):
        publish(run_id, seed=seed, sets={"train": "1" * 64})
        answer(store, run_id, seed=seed)
    assert store.find_run("flowers/toy/logistic") == A
    # Tonight's images are others, and so far only seed 1 has answered on them.
    publish(C, seed=1, sets={"train": "2" * 64})
    answer(store, C, seed=1)
    assert store.find_run("flowers/toy/logistic") == C


def test_a_run_answers_under_the_name_that_was_asked(store, publish):
    publish(A)
    answer(store, A)
    answer(store, A, dataset="folder:/data/plants")
    assert store.find_run("plants/toy/logistic") == A
    (one,) = store.standing()
    assert (one.dataset, one.config["dataset"]) == ("folder:/data/plants", "folder:/data/plants")


def test_without_answers_the_newest_by_its_own_time_answers(store, publish):
    publish(A, created="2026-02-01T00:00:00Z")
    publish(B, created="2026-01-01T00:00:00Z")
    publish(C, created="2026-01-15T00:00:00Z", head="ridge")
    assert standing(store) == [C, A]
    assert store.find_run("flowers/toy/logistic") == A


def test_runs_older_than_answers_are_forgotten_where_an_answer_has_the_same_splits(store, publish):
    publish(A, created="2036-01-01T00:00:00Z")
    publish(C, created="2036-01-01T00:00:00Z", head="ridge")
    publish(B, created="2026-01-01T00:00:00Z")
    answer(store, B)
    assert standing(store) == [C, B]
    assert store.find_run("flowers/toy/logistic") == B
    # What has answered once never comes back by itself.
    publish("d" * 64, created="2026-01-01T00:00:00Z", train="train/seed0[:80%]")
    answer(store, "d" * 64)
    answer(store, B)
    assert standing(store) == [C, B]


def test_a_damaged_answer_is_told_and_the_next_takes_its_place(store, publish, caplog):
    publish(A)
    publish(B)
    answer(store, A)
    answer(store, B)
    (folder,) = (store.path / "answers").iterdir()
    (folder / "2.json").write_bytes(b"junk")
    assert A not in standing(store)
    assert "2.json: a sealed document expected" in caplog.text
    problems = verify_store(store.path).problems
    assert [(problem.kind, problem.path) for problem in problems] == [("answer", f"answers/{folder.name}/2.json")]
    assert answer(store, B)
    assert standing(store) == [B]


def test_an_answer_of_another_question_is_refused(store, publish):
    publish(A)
    answer(store, A)
    answer(store, A, seed=1)
    first, second = sorted((store.path / "answers").iterdir())
    os.replace(first / "1.json", second / "2.json")
    (problem,) = verify_store(store.path).problems
    assert "an answer to the question" in problem.message
    (first / "1.json").write_text(json.dumps({"no": "seal"}))
    assert len(verify_store(store.path).problems) == 2


def test_verify_counts_answers_and_misses_a_run_that_is_gone(store, publish):
    publish(A)
    answer(store, A)
    assert verify_store(store.path).counts["answers"] == 1
    assert verify_store(store.path).notes == []
    answer(store, B)
    (problem,) = verify_store(store.path).problems
    assert f"the run {B} that answers flowers / toy / logistic expected in runs/, none found" in problem.message


def test_a_run_that_is_gone_does_not_stand(store, publish, caplog):
    publish(A)
    answer(store, A)
    answer(store, B, head="ridge")
    assert standing(store) == [A]
    assert f"its run {B[:12]} is gone" in caplog.text


def test_a_damaged_run_that_answers_a_name_is_never_passed_over(store, publish):
    publish(A)
    publish(B)
    answer(store, A)
    answer(store, B)
    (store.path / "runs" / B / "run.json").write_bytes(b"junk")
    with pytest.raises(DamagedStore, match=f"its newest run expected, but the damaged run {B[:12]} may be it"):
        store.find_run("flowers/toy/logistic")
    # One that answers no more stands in nobody's way.
    answer(store, A)
    assert store.find_run("flowers/toy/logistic") == A


def test_gc_leaves_answers_alone_and_takes_what_a_killed_writer_left(store, publish, tree):
    publish(A)
    answer(store, A)
    before = tree(store.path)
    (folder,) = (store.path / "answers").iterdir()
    left = folder / ".tmp-1234"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    found = collect_garbage(store.path, time.time())
    assert [garbage.kind for garbage in found.removed] == ["temp"]
    assert tree(store.path) == before


def _answer_many(path, run_id, seeds):
    store = FeatureStore(path)
    for seed in seeds:
        answer(store, run_id, seed=seed)


def test_two_nights_at_once_publish_answers_without_harm(store, publish):
    publish(A)
    publish(B)
    nights = [
        multiprocessing.get_context("fork").Process(target=_answer_many, args=(store.path, run_id, range(30)))
        for run_id in (A, B)
    ]
    for night in nights:
        night.start()
    for night in nights:
        night.join()
    assert [night.exitcode for night in nights] == [0, 0]
    assert verify_store(store.path).problems == []
    current = store._answers.current()
    assert sorted(one.question["seed"] for one in current) == list(range(30))
    assert {one.run_id for one in current} <= {A, B}
    assert not list(store.path.rglob(".tmp-*"))
