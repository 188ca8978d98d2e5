"""Many jobs on one store at once, killed and begun again, beside `gc`: the end is what one job after another makes."""

import random
import signal
import time

import pytest
import stub_extraction as stub

from store import FeatureStore, verify_store

CHUNK = 16


def draw_jobs(generator, count):
    """Jobs over datasets that share images; some jobs are over the very same dataset."""
    sources = [
        stub.dataset(f"d{at}", generator.sample(range(150), generator.randrange(40, 90)))
        for at in range(count * 2 // 3)
    ]
    return [generator.choice(sources) for _ in range(count)]


def work_killing(generator, path, jobs, kills):
    """Begin all jobs at once; kill and begin again now and then, until every one has ended well."""
    running = {at: stub.start(stub.extract_stub, path, source, None, CHUNK) for at, source in enumerate(jobs)}
    killed = 0
    try:
        while running:
            victim = min(running)
            if killed < kills:
                # At first while all have hardly begun, then anywhere.
                time.sleep(generator.uniform(0, 0.2 if killed else 0.03))
                victim = generator.choice(sorted(running))
                running[victim].kill()
            running[victim].join()
            ending = running.pop(victim).exitcode
            assert ending in (0, -signal.SIGKILL)
            if ending:
                killed += 1
                running[victim] = stub.start(stub.extract_stub, path, jobs[victim], None, CHUNK)
    finally:
        for process in running.values():
            process.kill()
            process.join()
    return killed


def tables(path, sources):
    """What each name means, read by a fresh handle: set key, table and features."""
    found = {}
    for source in sources:
        features = FeatureStore(path).get(source.name, "all", "toy")
        found[source.name] = features.key, features.to_frame(), features.ledger()
    return found


@pytest.mark.parametrize(
    ("count", "kills", "seed"),
    [(3, 5, 0), *(pytest.param(8, 24, seed, marks=pytest.mark.campaign) for seed in range(1, 21))],
)
def test_concurrent_jobs_with_kills_end_as_a_serial_run(tmp_path, count, kills, seed):
    generator = random.Random(seed)
    jobs = draw_jobs(generator, count)
    killed = work_killing(generator, tmp_path / "store", jobs, kills)
    assert killed
    for source in jobs:
        stub.finish(stub.extract_stub, tmp_path / "serial", source, None, CHUNK)
        stub.check_set(tmp_path / "store", source)
    expected, found = tables(tmp_path / "serial", jobs), tables(tmp_path / "store", jobs)
    for name, (key, frame, ledger) in expected.items():
        assert found[name][0] == key, f"seed {seed}"
        assert found[name][1].equals(frame), f"seed {seed}"
        assert found[name][2].equals(ledger), f"seed {seed}"
    assert verify_store(tmp_path / "store", is_deep=True).is_sound, f"seed {seed}"
    print(f"\nseed {seed}: {count} jobs at once, {killed} kills, {len(expected)} sets equal to the serial run's")
