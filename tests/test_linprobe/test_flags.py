import pytest


@pytest.mark.framework
@pytest.mark.parametrize(
    ("flag", "value", "nearest"), [("--engine", "openvno", "openvino"), ("--device", "gpus", "gpu")]
)
def test_a_mistyped_engine_is_refused_though_everything_is_cached(run, extracted, flag, value, nearest):
    arguments = ("extract", "--dataset", "bundled:digits", "--extractor", "pixels")
    assert run(*arguments)[0] == 0
    code, _, err = run(*arguments, flag, value)
    assert code == 2
    assert f"{flag} {value}: no such choice; did you mean '{nearest}'?" in err


@pytest.mark.framework
@pytest.mark.parametrize("flag", ["--train", "--validation", "--test"])
def test_an_empty_split_is_refused(run, extracted, flag):
    code, _, err = run("probe", "--dataset", "bundled:digits", "--extractor", "pixels", flag, "")
    assert code == 2
    assert f"{flag}: a text expected, got an empty one" in err


def test_a_dry_run_says_that_it_decodes_nothing(run, images):
    (images / "dark" / "cut.png").write_bytes((images / "dark" / "00.png").read_bytes()[:200])
    code, _, err = run("extract", "--dataset", f"folder:{images}", "--extractor", "pixels", "--dry-run")
    assert code == 0
    assert "no image is decoded" in err
    assert "25 rows" in err
