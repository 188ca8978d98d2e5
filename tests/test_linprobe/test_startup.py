"""What a command imports that finds its work done, and what a small one imports that does it."""

import subprocess
import sys

import numpy as np
import pytest

from linprobe.cli import main

pytestmark = pytest.mark.heavy

FRAMEWORKS = {"tensorflow", "keras", "tf_keras", "tensorflow_datasets", "tensorflow_hub", "torch", "openvino", "ray"}
STATISTICS = {"sklearn", "scipy", "statsmodels"}
DRAWING = {"matplotlib", "jinja2", "PIL.ImageDraw"}
JOB = """
[[datasets]]
name = "made"
source = "npz:images.npz"
[[extractors]]
name = "pixels"
[[probes]]
head = "ridge"
"""


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A folder whose job is done."""
    folder = tmp_path_factory.mktemp("night")
    images, labels = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8), np.arange(60) % 3
    parts = {"train_images": images[:40], "train_labels": labels[:40], "test_images": images[40:]}
    np.savez(folder / "images.npz", **parts, test_labels=labels[40:])
    (folder / "job.toml").write_text(JOB)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["nightly", "job.toml"]) == 0
    return folder


@pytest.mark.parametrize(
    ("arguments", "forbidden"),
    [
        (["store", "ls"], FRAMEWORKS | STATISTICS | DRAWING | {"pandas", "PIL"}),
        (["probe", "job.toml"], FRAMEWORKS | STATISTICS | DRAWING | {"pandas"}),
        (["extract", "job.toml"], FRAMEWORKS | STATISTICS | DRAWING | {"pandas"}),
        (["nightly", "job.toml"], FRAMEWORKS | STATISTICS | DRAWING),
        (["report"], FRAMEWORKS | STATISTICS | DRAWING),
        (["doctor"], FRAMEWORKS | STATISTICS | DRAWING | {"pandas"}),
        # This one is trained: another split.
        (
            ["probe", "job.toml", "--train", "train[:30]", "--test", "test"],
            FRAMEWORKS | DRAWING | {"sklearn", "scipy.stats", "statsmodels"},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_imports_no_more_than_it_uses(night, arguments, forbidden):
    code = (
        "import sys; from linprobe.cli import main; code = main(sys.argv[1:]); "
        f"print(code, sorted({forbidden!r} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=night, check=True
    )
    assert found.stdout.splitlines()[-1] == "0 []", found.stderr
