"""Which examples a page shows."""

from reports import grid_examples
from reports.examples import confident_mistakes


def _with_hashes(make_run, make_predictions, hashes):
    frame = make_predictions([0] * len(hashes), [0, 1] * (len(hashes) // 2))
    frame["content_sha256"] = [sign * 64 for sign in hashes]
    return make_run(frame=frame)


def test_the_grid_takes_the_smallest_hashes_ties_by_example_id(make_run, make_predictions):
    run = _with_hashes(make_run, make_predictions, "c1b1a0")
    assert grid_examples(run, 4) == ["test/0005", "test/0001", "test/0003", "test/0004"]


def test_the_grid_is_the_same_for_all_runs_on_one_split(make_run, make_predictions):
    labels = [0, 1, 2] * 20
    first = make_run("a", frame=make_predictions(labels, labels))
    other = make_run("b", frame=make_predictions(labels, [0] * 60).sample(frac=1, random_state=0))
    assert grid_examples(first) == grid_examples(other)
    assert len(grid_examples(first)) == 30


def test_a_small_split_is_shown_whole(make_run):
    assert len(grid_examples(make_run())) == 10


def test_mistakes_stand_by_confidence_ties_by_hash(make_run, make_predictions):
    run = _with_hashes(make_run, make_predictions, "cfbe0d")
    run.predictions.loc[[1, 3, 5], "confidence"] = [0.5, 0.8, 0.8]
    assert confident_mistakes(run) == ["test/0005", "test/0003", "test/0001"]
    assert confident_mistakes(run, 1) == ["test/0005"]
