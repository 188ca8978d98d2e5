import re

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.framework


@pytest.fixture
def shades(tmp_path):
    """200 images of two classes, 40 of which are drawn to be tested on."""
    rng = np.random.default_rng(0)
    for name, level in (("bright", 180), ("dark", 60)):
        (tmp_path / "many" / name).mkdir(parents=True)
        for number in range(100):
            pixels = (level + rng.integers(-20, 20, (8, 8, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "many" / name / f"{number:03d}.png")
    return tmp_path / "many"


@pytest.fixture
def job(tmp_path, shades):
    def write(extra="", heads=("ridge",)):
        probes = "".join(f"[[probes]]\nhead = '{head}'\n" for head in heads)
        (tmp_path / "job.toml").write_text(
            f"""
            store = "{tmp_path}/s"
            [[datasets]]
            name = "shades"
            source = "folder:{shades}"
            [[extractors]]
            name = "pixels"
            {probes}
            [report]
            out = "{tmp_path}/report"
            {extra}
            """
        )
        return tmp_path / "job.toml"

    return write


def exchange(shades, share):
    """Give a share of the images of each class the other's."""
    for number in range(round(100 * share)):
        bright, dark = (shades / name / f"{number:03d}.png" for name in ("bright", "dark"))
        one, other = bright.read_bytes(), dark.read_bytes()
        bright.write_bytes(other)
        dark.write_bytes(one)


def pinned(run, job, max_drop=0.1):
    first = run("nightly", job(), "--json")[1]["runs"][0]
    return first, f"[gate]\nmax_drop = {max_drop}\nbaselines = ['{first['run_id']}']\n"


def test_a_large_drop_fails_and_the_same_run_passes(run, job, shades):
    first, gate = pinned(run, job)
    code, out, _ = run("nightly", job(gate))
    assert code == 0
    assert out.endswith("Gate: passed; 1 run compared, the largest drop of accuracy 0.0000 (0.1 is allowed).\n")
    exchange(shades, 0.5)
    code, document, err = run("nightly", job(gate), "--json")
    assert code == 3
    assert document["errors"][0]["exit_code"] == 3
    assert document["runs"][0]["accuracy"] < first["accuracy"] - 0.2
    assert "0.1 is allowed" in err
    assert "of the images have another label than then" in err


def test_a_drop_that_so_few_images_cannot_tell_is_undecided_and_said(run, job, shades, tmp_path):
    _, gate = pinned(run, job, 0.01)
    exchange(shades, 0.03)
    notify = f"[notify]\non_undecided = ['cp', '/dev/stdin', '{tmp_path}/told.json']\n"
    code, out, err = run("nightly", job(gate + notify))
    assert code == 0
    assert "Gate: undecided; 1 run compared, 1 undecided, the largest drop" in out
    assert "would have been seen)" in out
    assert re.search(r"gate, undecided: shades / pixels / ridge: accuracy .* on \d+ equal images", err)
    assert '"undecided": 1' in (tmp_path / "told.json").read_text()
    code, out, err = run("config", "check", job(gate))
    assert code == 0, err
    assert "it takes 528 to pass another run, even where no prediction differs" in out + err


def test_a_gate_may_ask_for_a_least_accuracy_alone(run, job, shades):
    code, out, err = run("nightly", job("[gate]\nmin_accuracy = 0.7", heads=("ridge", "logistic")))
    assert code == 0, err
    first = run("nightly", job(), "--json")[1]["runs"][0]
    assert "Gate: passed; 2 runs compared." in out
    code, out, err = run("nightly", job("[gate]\nmin_accuracy = 0.999"))
    assert code == 0
    assert "Gate: undecided; 1 run compared, 1 undecided." in out
    assert f"on {first['n_test']} images; 0.999 is the least allowed" in err
    exchange(shades, 0.5)
    code, _, err = run("nightly", job("[gate]\nmin_accuracy = 0.9"))
    assert code == 3
    assert "0.9 is the least allowed" in err


@pytest.mark.parametrize(("allowed", "code"), [("0", 3), ("'1%'", 0), ("1", 0), ("'0.4%'", 3)])
def test_a_gate_may_ask_for_few_quarantined_images(run, job, shades, allowed, code):
    (shades / "dark" / "000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    path = job(f"[gate]\nmax_quarantined = {allowed}")
    path.write_text(path.read_text().replace('name = "shades"', 'name = "shades"\nmax_bad = 5'))
    found, _, err = run("nightly", path)
    assert found == code
    if code:
        assert "shades / all / pixels: 1 of 200 images are quarantined" in err


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ("", "min_accuracy or max_quarantined expected"),
        ("max_drop = 0.01", "max_drop and baselines need each other"),
        ("baselines = ['abc']", "max_drop and baselines need each other"),
        ("min_accuracy = 1.5", "min_accuracy"),
        ("min_accuracy = 0.5\nlevel = 0.7", "level"),
        ("max_quarantined = '5 percent'", "max_quarantined"),
        ("max_quarantined = -1", "max_quarantined"),
    ],
)
def test_a_gate_that_cannot_be_read_is_refused(run, job, gate, told):
    code, out, err = run("nightly", job(f"[gate]\n{gate}"))
    assert (code, out) == (2, "")
    assert told in err


def test_a_part_that_somebody_typed_is_not_taken_for_the_protocols_draw(run, job):
    run("nightly", job())
    typed = ("--train", "all/seed0[:80%]", "--test", "all/seed0[80%:]")
    _, document, _ = run("probe", job(), "--dataset", "shades", *typed, "--json")
    (other,) = document["runs"]
    code, _, err = run("nightly", job(f"[gate]\nmax_drop = 0.1\nbaselines = ['{other['run_id']}']\n"))
    assert code == 3
    assert "no run of tonight answers the same question" in err
