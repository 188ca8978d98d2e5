"""`store verify` and `store gc` from the command line."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from extract import EngineUnavailable
from linprobe.models import golden_rows as golden
from store import FeatureSet

pytestmark = pytest.mark.framework


def shards():
    return sorted(Path("linprobe-store").glob("pools/*/shards/*.h5"))


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_verify_of_a_sound_store_says_what_it_read_and_ends_with_0(run, extracted):
    code, out, _ = run("store", "verify")
    assert code == 0
    assert out.startswith("1 pools, 3 shards, 2 sets, 2 names, 0 runs, 0 answers, 0 nights; 17 files, ")
    assert out.endswith(" MB read: all sound\n")
    code, document, _ = run("store", "verify", "--json")
    assert code == 0
    assert document["problems"] == []
    assert document["counts"]["shards"] == 3


def test_verify_has_a_line_per_problem_and_ends_with_74(run, extracted):
    for path in shards()[:2]:
        damage(path)
    code, out, _ = run("store", "verify")
    assert code == 74
    lines = out.splitlines()
    assert [line.split(": ")[0] for line in lines[:2]] == ["shard", "shard"]
    assert all(str(path) in line for path, line in zip(shards()[:2], lines, strict=False))
    assert all(line.startswith("set: ") for line in lines[2:-1])
    assert lines[-1].endswith(f": {len(lines) - 1} problems")
    code, document, _ = run("store", "verify", "--json")
    assert code == 74
    assert len(document["problems"]) == len(lines) - 1
    assert set(document["problems"][0]) == {"kind", "path", "message"}


def test_what_verify_finds_is_fixed_by_the_command_that_it_names(run, extracted):
    for path in shards():
        damage(path)
    assert run("store", "verify")[0] == 74
    assert run("extract", "--dataset", "bundled:digits", "--extractor", "pixels")[0] == 0
    assert run("store", "verify", "--deep")[0] == 0


def test_deep_verify_computes_rows_of_every_current_set_again(run, extracted):
    code, document, _ = run("store", "verify", "--deep", "--json")
    assert code == 0
    assert document["counts"]["rows_recomputed"] == 8  # 4 of train, 4 of test
    assert document["notes"] == []


@pytest.mark.parametrize(("made_by", "opened"), [("openvino", "openvino"), ("numpy", "auto"), ("", "auto")])
def test_deep_verify_opens_the_engine_that_made_the_rows(run, extracted, monkeypatch, made_by, opened):
    real, asked = golden.open_engine, []

    def open_engine(extractor, name, say):
        asked.append(name)
        return real(extractor, name, say)

    monkeypatch.setattr(golden, "open_engine", open_engine)
    provenance = FeatureSet.provenance
    made = property(lambda features: replace(provenance.func(features), engine=made_by))
    monkeypatch.setattr(FeatureSet, "provenance", made)
    code, document, _ = run("store", "verify", "--deep", "--json")
    assert (code, document["counts"]["rows_recomputed"]) == (0, 8)
    assert asked == [opened]


def test_deep_verify_takes_another_engine_where_that_one_cannot_run(run, extracted, monkeypatch):
    real = golden.open_engine

    def open_engine(extractor, name, say):
        if name == "openvino":
            raise EngineUnavailable("openvino: not installed.")
        return real(extractor, name, say)

    monkeypatch.setattr(golden, "open_engine", open_engine)
    provenance = FeatureSet.provenance
    made = property(lambda features: replace(provenance.func(features), engine="openvino"))
    monkeypatch.setattr(FeatureSet, "provenance", made)
    code, document, err = run("store", "verify", "--deep", "--json")
    assert (code, document["counts"]["rows_recomputed"]) == (0, 8)
    assert "openvino: not installed. Another engine computes the golden rows." in err


def test_deep_verify_reports_an_extractor_that_gives_other_numbers_as_drift(run, extracted, monkeypatch):
    real = golden.open_engine

    def open_engine(extractor, name, say):
        engine = real(extractor, name, say)

        class Other:
            batch_size = engine.batch_size

            def __call__(self, images):
                return engine(images) * 1.01

        return Other()

    monkeypatch.setattr(golden, "open_engine", open_engine)
    code, out, _ = run("store", "verify", "--deep")
    assert code == 74
    assert len([line for line in out.splitlines() if line.startswith("drift: ") and ", 0.01 found by" in line]) == 8


def test_deep_verify_notes_sets_whose_images_are_gone(run, images):
    assert run("extract", "--dataset", f"folder:{images}", "--extractor", "pixels", "--split", "all")[0] == 0
    shutil.rmtree(images)
    code, document, err = run("store", "verify", "--deep", "--json")
    assert code == 0
    assert document["counts"]["rows_recomputed"] == 0
    assert "no row was recomputed" in document["notes"][0]
    assert "note: " in err


def test_gc_removes_what_nobody_needs_and_says_how_much(run, extracted):
    store = Path("linprobe-store")
    (store / "sets" / ".tmp-1-ab").write_bytes(b"12345")
    os.utime(store / "sets" / ".tmp-1-ab", (0, 0))
    code, out, _ = run("store", "gc", "--dry-run")
    assert (code, out.splitlines()) == (
        0,
        ["temp sets/.tmp-1-ab: 5 bytes", "1 items, 5 bytes would be removed"],
    )
    assert (store / "sets" / ".tmp-1-ab").exists()
    document = run("store", "gc", "--json")[1]
    assert document == {
        "removed": [{"kind": "temp", "path": "sets/.tmp-1-ab", "bytes": 5}],
        "restored": [],
        "hindrances": [],
        "bytes": 5,
        "dry_run": False,
    }
    assert not (store / "sets" / ".tmp-1-ab").exists()
    assert run("store", "verify")[0] == 0


@pytest.mark.parametrize(("hours", "removed"), [("1", 1), ("3", 0)])
def test_gc_waits_as_long_as_it_is_told(run, extracted, hours, removed):
    temp = Path("linprobe-store", "sets", ".tmp-1-ab")
    temp.write_bytes(b"")
    os.utime(temp, (time.time() - 7200, time.time() - 7200))
    assert len(run("store", "gc", "--grace", hours, "--json")[1]["removed"]) == removed


def test_gc_of_a_store_that_it_cannot_wholly_read_ends_with_74(run, extracted):
    next(Path("linprobe-store").glob("aliases/*/1.json")).write_bytes(b"junk")
    code, out, _ = run("store", "gc", "--grace", "0", "--keep-old", "0")
    assert code == 74
    assert "kept what may be needed: " in out
    assert len(shards()) == 3


def test_model_that_fails_in_its_own_way_hides_nothing_else(run, extracted, monkeypatch):
    def open_engine(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(golden, "open_engine", open_engine)
    damage(next(Path("linprobe-store").glob("aliases/*/1.json")))
    code, document, _ = run("store", "verify", "--deep", "--json")
    assert code == 74
    assert [problem["kind"] for problem in document["problems"]] == ["name"]
    assert [note.split(": ", 1)[1] for note in document["notes"]] == [
        "no row was recomputed: RuntimeError: out of memory"
    ]
