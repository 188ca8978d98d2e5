import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import extract.canary
from extract import ModelCaches, open_extractor
from store import FeatureStore
from store.documents import digest

SET_FIELDS = {
    "key", "dataset", "split", "extractor", "dim", "rows", "quarantined", "ignored", "forward_passes", "reused", "status",
    "seconds", "images_per_second", "engine", "time", "images", "images_before", "classes", "classes_before", "lost_classes",
    "adopted", "told",
}  # fmt: skip


def sets(document):
    return {row["split"]: row for row in document["feature_sets"]}


@pytest.mark.framework
def test_json_has_the_fields_of_the_design_and_stdout_nothing_else(run):
    code, document, _ = run("extract", "--dataset", "bundled:digits", "--extractor", "pixels", "--json")
    assert code == 0
    assert [set(row) for row in document["feature_sets"]] == [SET_FIELDS] * 2
    train, test = document["feature_sets"]
    assert (train["split"], train["rows"], train["forward_passes"], train["reused"]) == ("train", 1437, 1437, 0)
    assert (test["split"], test["rows"], test["forward_passes"], test["dim"]) == ("test", 360, 360, 768)
    assert {train["status"], test["status"]} == {"extracted"}
    assert train["images_per_second"] == pytest.approx(1437 / train["seconds"], rel=0.01)
    assert document["errors"] == []


@pytest.mark.framework
def test_a_second_run_makes_no_forward_pass(run):
    arguments = ("extract", "--dataset", "bundled:digits", "--extractor", "pixels", "--split", "test", "--json")
    first = sets(run(*arguments)[1])["test"]
    second = sets(run(*arguments)[1])["test"]
    assert (second["status"], second["forward_passes"], second["reused"]) == ("cached", 0, 360)
    assert second["key"] == first["key"]


@pytest.mark.framework
def test_the_same_images_in_another_folder_make_no_forward_pass_and_are_the_same_set(run, images, tmp_path):
    first = sets(run("extract", "--dataset", f"folder:{images}", "--extractor", "pixels", "--json")[1])["all"]
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(images, elsewhere)
    second = sets(run("extract", "--dataset", f"folder:{elsewhere}", "--extractor", "pixels", "--json")[1])["all"]
    assert first["forward_passes"] == 24
    assert (second["forward_passes"], second["status"], second["key"]) == (0, "cached", first["key"])


@pytest.mark.framework
def test_another_slice_of_the_same_base_split_makes_no_forward_pass(run, extracted):
    code, document, _ = run(
        "probe",
        "--dataset",
        "bundled:digits",
        "--extractor",
        "pixels",
        "--head",
        "knn",
        "--train",
        "train[:50%]",
        "--json",
    )
    assert code == 0
    assert document["runs"][0]["n_train"] == 718
    again = run("extract", "--dataset", "bundled:digits", "--extractor", "pixels", "--json")[1]
    assert [row["forward_passes"] for row in again["feature_sets"]] == [0, 0]


@pytest.mark.framework
def test_dry_run_computes_and_writes_nothing(run, images, tmp_path):
    arguments = ("extract", "--dataset", f"folder:{images}", "--extractor", "pixels", "--json")
    code, document, _ = run(*arguments, "--dry-run")
    planned = sets(document)["all"]
    assert (code, planned["status"], planned["forward_passes"], planned["rows"]) == (0, "planned", 24, 24)
    assert not (tmp_path / "linprobe-store").exists()
    run(*arguments)
    assert sets(run(*arguments, "--dry-run")[1])["all"]["status"] == "cached"


def test_a_dry_run_says_that_the_budget_would_be_exceeded(run, images):
    (images / "dark" / "torn.jpg").write_bytes(b"no image at all")
    job = ("extract", "--dataset", f"folder:{images}", "--extractor", "pixels", "--dry-run")
    code, _, err = run(*job)
    assert code == 0
    assert "1 undecodable images are more than the budget allows: without --dry-run this ends with 65" in err
    assert "budget" not in run(*job, "--max-bad", "1")[2]


def test_a_folder_in_place_of_a_configuration_is_told_how_it_is_named(run, images):
    code, _, err = run("extract", "images")
    assert code == 2
    assert "images are named by --dataset folder:images" in err


@pytest.mark.framework
def test_a_broken_image_is_quarantined_within_the_budget_and_refused_beyond_it(run, images):
    (images / "dark" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    (images / "dark" / "notes.txt").write_text("no image")
    arguments = ("extract", "--dataset", f"folder:{images}", "--extractor", "pixels", "--json")
    code, document, err = run(*arguments)
    assert code == 65
    assert document["feature_sets"] == []
    assert "1 of the" in err
    assert "dark/torn.jpg" in err
    assert "raise --max-bad" in err
    code, document, _ = run(*arguments, "--max-bad", "1")
    found = sets(document)["all"]
    assert (code, found["rows"], found["quarantined"], found["ignored"]) == (0, 24, 1, 1)
    _, shown, _ = run("store", "show", found["key"][:10], "--json")
    assert [entry["example_id"] for entry in shown["quarantined"]] == ["dark/torn.jpg"]


@pytest.mark.framework
def test_a_deleted_split_is_told_of_and_no_probe_uses_it(run, images, tmp_path):
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        shutil.copytree(images, tmp_path / "data" / split)
    job = ("--dataset", f"folder:{tmp_path}/data", "--extractor", "pixels", "--json")
    run("extract", *job)
    assert run("probe", *job)[1]["runs"][0]["test"] == "test"
    shutil.rmtree(tmp_path / "data" / "test")
    message = f"folder:{tmp_path}/data / test / pixels: the source has no base split 'test' any more; the name "
    assert f"{message}would end" in run("extract", *job, "--dry-run")[2]
    code, document, err = run("extract", *job)
    assert (code, [row["status"] for row in document["feature_sets"]]) == (0, ["cached"])
    assert f"{message}has ended; its set " in err
    assert err.count("has ended") == 1
    assert run("probe", *job)[1]["runs"][0]["test"] != "test"
    assert "has ended" not in run("extract", *job)[2]


def test_a_job_that_fails_on_a_new_path_leaves_no_store_behind(run, images, tmp_path):
    (images / "dark" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    job = ("extract", "--dataset", f"folder:{images}", "--extractor", "pixels", "--split", "all")
    for path in (images / "bright").iterdir():
        path.write_bytes(b"\xff\xd8\xff\xe0 torn")
    for path in (images / "dark").iterdir():
        path.write_bytes(b"\xff\xd8\xff\xe0 torn")
    assert run(*job)[0] == 65
    assert not (tmp_path / "linprobe-store").exists()
    FeatureStore.create(tmp_path / "linprobe-store")
    assert run(*job)[0] == 65
    assert (tmp_path / "linprobe-store" / "FORMAT").exists(), "that store was somebody's"


def test_a_plain_file_as_store_is_told(run, images, tmp_path):
    (tmp_path / "file").write_text("mine")
    code, _, err = run("extract", "--dataset", f"folder:{images}", "--extractor", "pixels", "--store", "file")
    assert code == 74
    assert err == f"linprobe: {tmp_path}/file: a store's folder expected, a file found; name a folder with --store.\n"


@pytest.mark.framework
def test_a_store_that_may_only_be_read_serves_what_it_has(run, extracted, tmp_path, monkeypatch, tree):
    job = ("--dataset", "bundled:digits", "--extractor", "pixels", "--json")
    assert run("probe", *job, "--head", "knn")[0] == 0
    shutil.rmtree(tmp_path / "linprobe-store" / "cache", ignore_errors=True)
    before = tree(tmp_path / "linprobe-store")
    real = {name: getattr(os, name) for name in ("mkdir", "open", "link", "rename", "replace", "unlink")}

    def refusing(name):
        def call(path, *arguments, **options):
            is_write = name != "open" or arguments[0] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if is_write and str(tmp_path / "linprobe-store") in os.path.abspath(path):
                raise OSError(errno.EROFS, "Read-only file system", str(path))
            return real[name](path, *arguments, **options)

        return call

    for name in real:
        monkeypatch.setattr(os, name, refusing(name))
    code, document, err = run("extract", *job)
    assert (code, [row["status"] for row in document["feature_sets"]]) == (0, ["cached", "cached"]), err
    code, document, err = run("probe", *job, "--head", "knn")
    assert (code, [row["status"] for row in document["runs"]]) == (0, ["cached"]), err
    assert tree(tmp_path / "linprobe-store") == before
    assert not (tmp_path / "linprobe-store" / "cache").exists()


@pytest.mark.framework
def test_one_dataset_that_fails_does_not_stop_the_others(run, images, tmp_path):
    job = tmp_path / "job.toml"
    job.write_text(
        f"""
        [[datasets]]
        name = "gone"
        source = "folder:{tmp_path}/gone"
        [[datasets]]
        name = "here"
        source = "folder:{images}"
        [[extractors]]
        name = "pixels"
        """
    )
    code, document, err = run("extract", job, "--json")
    assert code == 69
    assert [row["dataset"] for row in document["feature_sets"]] == ["here"]
    assert [(e["part"], e["exit_code"]) for e in document["errors"]] == [("gone / pixels", 69)]
    assert "gone / pixels: " in err


@pytest.mark.framework
def test_a_relative_folder_is_the_one_of_the_current_folder(run, images, tmp_path, monkeypatch):
    store = tmp_path / "s"
    for place, kept in (("a", 12), ("b", 6)):
        (tmp_path / place).mkdir()
        shutil.copytree(images, tmp_path / place / "data")
        for path in (tmp_path / place / "data").rglob("*.png"):
            if int(path.stem) >= kept:
                path.unlink()
        monkeypatch.chdir(tmp_path / place)
        run("extract", "--dataset", "folder:data", "--extractor", "pixels", "--store", store)
    monkeypatch.chdir(tmp_path / "a")
    (row,) = run("probe", "--dataset", "folder:data", "--extractor", "pixels", "--store", store, "--json")[1]["runs"]
    assert row["n_train"] + row["n_test"] == 24
    assert row["dataset"] == "folder:data"


@pytest.mark.heavy
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_told_to_stop_ends_with_75_and_says_that_its_rows_are_kept(images, tmp_path, number):
    linprobe = Path(sys.executable).parent / "linprobe"
    store = FeatureStore.create(tmp_path / "s")
    # It waits for the lock of another job, which is a good moment to be stopped.
    key = open_extractor("pixels", ModelCaches(tmp_path, tmp_path)).seeing("exif").pool_key().digest
    lock = digest([f"folder:{images}", "all", key])[:32]
    command = [linprobe, "extract", "--dataset", f"folder:{images}", "--extractor", "pixels", "--store", store.path]
    with store.lock(f"extract-{lock}", wait=True):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        told = next(line for line in process.stderr if "waiting for another process" in line)
        assert re.search(r"images/all pixels: waiting for another process \(\w+\), since 2.*Z, which holds ", told)
        assert process.poll() is None
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "what was computed is kept, run it again" in err
    assert "Traceback" not in err


@pytest.mark.framework
def test_a_preset_is_an_extractor_of_its_own_and_both_stand_in_one_job(run, images, tmp_path):
    (tmp_path / "job.toml").write_text(
        f"""
        [[datasets]]
        name = "d"
        source = "folder:{images}"
        [[extractors]]
        name = "pixels"
        [[extractors]]
        name = "pixels@published"
        crop = "square:0.5"
        """
    )
    code, found, _ = run("extract", "job.toml", "--json")
    assert code == 0
    assert [row["forward_passes"] for row in found["feature_sets"]] == [24, 24]
    code, again, _ = run("extract", "job.toml", "--json")
    assert [row["forward_passes"] for row in again["feature_sets"]] == [0, 0]
    assert run("store", "verify", "--deep")[0] == 0


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ('crop = "centre"', 2, "crop 'centre': none, fraction:F or square:F"),
        ('preset = "publishd"', 2, "publishd: no such preset; did you mean 'published'?"),
        ('resize = "cubic"', 2, "cubic: no such resize method; did you mean 'bicubic'?"),
        ('precision = "bfloat16"', 2, "precision bfloat16 is for networks that TensorFlow runs"),
    ],
)
def test_a_setting_that_cannot_be_meant_so_is_named(run, images, tmp_path, line, code, message):
    dataset = f'[[datasets]]\nsource = "folder:{images}"\n'
    (tmp_path / "job.toml").write_text(f'{dataset}[[extractors]]\nname = "pixels"\n{line}\n')
    found, _, err = run("extract", "job.toml")
    assert found == code
    assert message in err


@pytest.mark.framework
def test_a_gpu_that_is_asked_for_where_none_is_is_unavailable(run, images):
    job = ("extract", "--dataset", f"folder:{images}", "--extractor", "random:mobilenet_v2", "--device", "gpu")
    code, _, err = run(*job)
    assert code == 69
    assert "gpu: TensorFlow finds none here" in err


@pytest.mark.framework
def test_rows_are_stored_in_half_precision_where_the_configuration_says_so(run, images, tmp_path):
    job = tmp_path / "job.toml"
    text = f'[[datasets]]\nname = "d"\nsource = "folder:{images}"\n[[extractors]]\nname = "pixels"\n'
    job.write_text(text)
    full = sets(run("extract", job, "--json")[1])["all"]
    job.write_text(f'{text}dtype = "float16"\n')
    half = sets(run("extract", job, "--json")[1])["all"]
    store = FeatureStore(tmp_path / "linprobe-store")
    assert (half["status"], half["forward_passes"]) == ("extracted", 24)
    wide, narrow = (store.get(key=row["key"]) for row in (full, half))
    assert (str(wide.features.dtype), str(narrow.features.dtype)) == ("float32", "float16")
    assert narrow.features[:].tolist() == wide.features[:].astype("float16").tolist()
    assert wide.manifest["pool"] != narrow.manifest["pool"]
    assert store.get("d", "all", "pixels").key == half["key"]
    assert run("store", "verify", "--deep")[0] == 0
    job.write_text(f'{text}dtype = "float61"\n')
    code, _, err = run("extract", job)
    assert code == 2
    assert "float61: no such dtype; did you mean 'float16'?" in err


@pytest.mark.framework
def test_drift_ends_with_65_until_it_is_accepted(run, images, tmp_path, monkeypatch):
    job = ("extract", "--dataset", f"folder:{images}", "--extractor", "pixels", "--json")
    assert run(*job)[0] == 0
    Image.new("RGB", (9, 9), "red").save(images / "dark" / "new.png")
    real = extract.canary.decode_plain
    monkeypatch.setattr(extract.canary, "decode_plain", lambda data, header: real(data, header) ^ 1)
    code, found, err = run(*job)
    assert (code, found["feature_sets"]) == (65, [])
    assert "decode drift: colour.jpg, colour.png, grey.jpg of the canary images have other pixels" in err
    code, found, err = run(*job, "--accept-drift")
    assert code == 0
    assert found["feature_sets"][0]["forward_passes"] == 1
