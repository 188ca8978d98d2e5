"""Batches in flight: order, memory, errors, and a device that is never left waiting."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from extract import BadData, Example, ParameterCounts
from extract.flight import Flight
from extract.header import Header
from extract.pipeline import Batch
from extract.sources.example import Pending


class Device:
    """A simulated device: computes the means of a batch once the test lets it.

    Attributes:
        started: batches that it has begun, by their first number.
        waits: released once for each batch that may end.
    """

    name, device, threads, batch_size, dim = "simulated", "none", 1, 64, 1
    parameters = ParameterCounts(0, 0)

    def __init__(self, in_flight: int = 1) -> None:
        self.in_flight = in_flight
        self.started: list[float] = []
        self.waits = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.started.append(float(images[0, 0, 0, 0]))
        self.begun.release()
        assert self.waits.acquire(timeout=30)
        return images.mean(axis=(1, 2, 3))[:, np.newaxis]


def batch(number: int, count: int = 2) -> Batch:
    example = Example(str(number), 0, b"")
    pending = [Pending(number, example, b"", Header("PNG", "RGB", 1, 1))] * count
    return Batch(pending, np.full((count, 1, 1, 3), number, np.float32), [])


def numbers(landed: Iterator[tuple[Batch, np.ndarray]]) -> list[float]:
    return [float(rows[0, 0]) for _, rows in landed]


@pytest.mark.parametrize("in_flight", [1, 2])
def test_rows_land_in_the_order_of_their_batches_with_one_more_in_flight(in_flight):
    device = Device(in_flight)
    with Flight(device) as flight:
        for _ in range(8):
            device.waits.release()
        landed = []
        for number in range(5):
            flight.launch(batch(number))
            landed.append(numbers(flight.land(leave=1)))
        assert landed == [[], [0], [1], [2], [3]]
        assert numbers(flight.land()) == [4]


def test_the_next_batch_waits_at_the_door_while_one_is_computed():
    device = Device()
    with Flight(device) as flight:
        flight.launch(batch(0))
        assert device.begun.acquire(timeout=30)
        # The first is being computed; the second is handed over, and its rows are not waited for.
        flight.launch(batch(1))
        assert device.started == [0]
        device.waits.release()
        assert numbers(flight.land(leave=1)) == [0]
        # Nothing was asked of the flight since, and the device has begun the second all the same.
        assert device.begun.acquire(timeout=30)
        assert device.started == [0, 1]
        device.waits.release()
        assert numbers(flight.land()) == [1]


def test_two_are_on_a_device_that_takes_two():
    device = Device(in_flight=2)
    with Flight(device) as flight:
        flight.launch(batch(0))
        flight.launch(batch(1))
        # Both have begun before the rows of the first are there.
        assert device.begun.acquire(timeout=30)
        assert device.begun.acquire(timeout=30)
        device.waits.release(2)
        assert numbers(flight.land()) == [0, 1]


def test_a_batch_of_broken_pictures_alone_is_not_computed_and_keeps_its_place():
    device = Device()
    empty = Batch([], np.empty((0, 1, 1, 3), np.float32), [(batch(9).pending[0], "truncated")])
    with Flight(device) as flight:
        device.waits.release(2)
        for one in (batch(0), empty, batch(2)):
            flight.launch(one)
        landed = list(flight.land())
    assert [rows.shape for _, rows in landed] == [(2, 1), (0, 1), (2, 1)]
    assert device.started == [0, 2]


def test_an_error_of_the_engine_reaches_who_takes_the_rows():
    class Broken(Device):
        def __call__(self, images: np.ndarray) -> np.ndarray:
            raise BadData("the device is gone")

    with Flight(Broken()) as flight:
        flight.launch(batch(0))
        with pytest.raises(BadData, match="the device is gone"):
            list(flight.land())


def test_leaving_early_computes_no_more_than_what_has_begun():
    device = Device()

    def leave() -> None:
        with Flight(device) as flight:
            flight.launch(batch(0))
            flight.launch(batch(1))
            assert device.begun.acquire(timeout=30)
            device.waits.release()
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        leave()
    assert device.started == [0]
