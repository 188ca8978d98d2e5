"""`gc` without a pause beside writers, readers and kills: nothing needed is lost, nothing wrong is read."""

import random
import signal
import time

import pytest
import store_traffic as traffic
import stub_extraction as stub

from store import collect_garbage, verify_store


def kill_now_and_then(generator, path, writers, collector, most):
    """Kill writers and `gc` at random instants and begin them again, until every writer has written all it has."""
    kills = 0
    while writers:
        time.sleep(generator.uniform(0.05, 0.3))
        name = generator.choice(sorted(writers))
        if kills < most and generator.random() < 0.3:
            writers[name][0].kill()
        if kills < most and generator.random() < 0.3:
            collector.kill()
            collector.join()
            kills += collector.exitcode == -signal.SIGKILL
            collector = stub.start(traffic.collect_again_and_again, path)
        assert collector.is_alive(), "gc failed"
        for name, (process, versions) in list(writers.items()):
            if process.is_alive():
                continue
            del writers[name]
            assert process.exitcode in (0, -signal.SIGKILL), f"the writer of {name} failed"
            if process.exitcode:
                kills += 1
                writers[name] = stub.start(traffic.write_versions, path, name, versions), versions
    return kills, collector


@pytest.mark.parametrize(
    ("names", "versions", "most", "seed"),
    [("ab", 3, 4, 0), *(pytest.param("abcd", 25, 40, seed, marks=pytest.mark.campaign) for seed in range(1, 11))],
)
def test_gc_beside_writers_readers_and_kills_loses_nothing_that_is_needed(tmp_path, names, versions, most, seed):
    path = tmp_path / "store"
    stub.finish(stub.extract_stub, path, traffic.version("a", 0), None, traffic.CHUNK)
    others = [stub.start(function, path) for function in (traffic.read_all, traffic.pass_time)]
    collector = stub.start(traffic.collect_again_and_again, path)
    writers = {name: (stub.start(traffic.write_versions, path, name, versions), versions) for name in names}
    try:
        kills, collector = kill_now_and_then(random.Random(seed), path, writers, collector, most)
    finally:
        (tmp_path / "stop").touch()
        for process in (*others, collector, *(process for process, _ in writers.values())):
            process.join()
    assert [process.exitcode for process in (*others, collector)] == [0, 0, 0], f"seed {seed}"
    traffic.make_old(path)
    collect_garbage(path, time.time(), traffic.RULE)
    for name in names:
        stub.check_set(path, traffic.version(name, versions - 1))
    found = verify_store(path, is_deep=True)
    assert found.is_sound, f"seed {seed}: {found.problems}"
    assert found.counts["sets"] == len(names)
    print(f"\nseed {seed}: {kills} kills, {dict(sorted(traffic.counts(path).items()))}")
