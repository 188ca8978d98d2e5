import json
import shutil

import numpy as np
import pytest
from PIL import Image

from jobs.cli import main


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run a command in an empty folder; gives exit code, stdout (parsed with --json) and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in arguments and out else out, err

    return run


@pytest.fixture
def pictures(tmp_path):
    """A folder of two classes, 12 pictures each: dark ones and bright ones."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    for name, low in (("bright", 128), ("dark", 0)):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(low, low + 128, (20, 30, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return folder


@pytest.fixture
def tree():
    """Everything below a folder with its bytes; the disposable cache aside."""

    def tree(folder):
        return {
            path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
            for path in sorted(folder.rglob("*"))
            if path.relative_to(folder).parts[0] != "cache"
        }

    return tree


@pytest.fixture(scope="session")
def digits_store(tmp_path_factory):
    """Stores that hold the pixels of some base splits of the digits; to be copied, not used."""
    made = {}

    def digits_store(*splits):
        if splits not in made:
            made[splits] = tmp_path_factory.mktemp("digits") / "store"
            asked = [argument for split in splits for argument in ("--split", split)]
            job = ["extract", "--dataset", "bundled:digits", "--extractor", "pixels", "--store", str(made[splits])]
            assert main([*job, *asked]) == 0
        return made[splits]

    return digits_store


@pytest.fixture
def extracted(run, digits_store, tmp_path):
    """The current folder's store holds the pixels of the digits."""
    shutil.copytree(digits_store("train", "test"), tmp_path / "linprobe-store")
