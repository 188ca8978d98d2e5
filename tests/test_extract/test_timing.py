import time

import numpy as np
import pytest

from extract import Example, TimeSpent
from extract.timing import Stopwatch


def test_two_add_up_stage_by_stage():
    assert TimeSpent(1, 2, 3, 4, 5) + TimeSpent(10, 20, 30, 40, 50) == TimeSpent(11, 22, 33, 44, 55)


def test_a_stopwatch_counts_what_items_take_to_come_and_not_what_is_done_with_them():
    watch = Stopwatch()

    def items():
        time.sleep(0.02)
        yield 1
        yield 2

    for _ in watch.over(items()):
        before = watch.seconds
        time.sleep(0.02)
        assert watch.seconds == before
    assert watch.seconds >= 0.02
    assert watch.lap() == watch.seconds
    assert watch.lap() == 0


@pytest.fixture
def slow_engine(make_engine):
    """Takes 20 ms for each of its batches."""

    class Slow(make_engine):
        def __call__(self, images):
            time.sleep(0.02)
            return super().__call__(images)

    return Slow(batch_size=4)


def images(make_source, count=12):
    return make_source([Example(f"{at}", at % 2, np.full((8, 8, 3), at, np.uint8)) for at in range(count)])


@pytest.mark.framework
def test_forward_and_waiting_are_the_time_from_the_first_batch_to_the_last_row(lab, make_source, slow_engine):
    done = lab.extract(images(make_source), engine=slow_engine)
    spent = done.time
    # Three batches of at least 20 ms each, one after another.
    assert spent.forward >= 3 * 0.02
    assert spent.forward + spent.waiting <= done.seconds
    assert min(spent.read, spent.decode, spent.write, spent.waiting) > 0


@pytest.mark.framework
def test_a_job_that_computes_nothing_reads_and_writes_only(lab, make_source):
    lab.extract(images(make_source))
    spent = lab.extract(images(make_source)).time
    assert spent.read > 0
    assert (spent.decode, spent.forward, spent.waiting) == (0, 0, 0)


@pytest.mark.framework
def test_a_source_that_is_slow_shows_as_reading_and_waiting(lab, make_source):
    class Slow(make_source):
        def examples(self, split):
            for example in super().examples(split):
                time.sleep(0.01)
                yield example

    spent = lab.extract(Slow(images(make_source).listed)).time
    assert spent.read >= 12 * 0.01
    # The first image is read before there is an engine that could wait.
    assert spent.waiting >= 8 * 0.01


@pytest.mark.framework
def test_broken_pictures_cost_decoding_too(lab, make_folder, broken_jpeg, make_jpeg, monkeypatch):
    from extract import Budget, open_source
    from extract.pipeline import decode_apart

    def slowly(data, rules):
        time.sleep(0.05)
        return decode_apart(data, rules)

    monkeypatch.setattr("extract.pipeline.decode_apart", slowly)
    folder = make_folder({"a/1.jpg": make_jpeg(1), "a/2.jpg": broken_jpeg})
    assert lab.extract(open_source(f"folder:{folder}"), budget=Budget(1)).time.decode >= 0.05
