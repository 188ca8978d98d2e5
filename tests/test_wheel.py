"""The wheel: what it holds, and that it works without the checkout."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PACKAGES = {"linprobe", "extract", "probe", "store", "reports"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from what git would check out, so that nothing that lies about gets in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", out]
    subprocess.run([*command, source], check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_it_holds_the_packages_their_data_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == PACKAGES
    assert any(name.endswith("licenses/LICENSE") for name in names)
    for needed in (
        "linprobe/commands/starter.toml",
        "reports/templates/index.html",
        "extract/extractors/shapes/mobilenet_v2.json",
    ):
        assert needed in names


def test_it_runs_in_an_environment_of_its_own(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    # The dependencies are this environment's: only what is ours is installed.
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (here,) = Path(sys.executable).parent.parent.glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    (tmp_path / "dependencies").mkdir()
    for entry in here.iterdir():
        if "linprobe" not in entry.name.lower() and not entry.name.endswith(".pth"):
            (tmp_path / "dependencies" / entry.name).symlink_to(entry)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "dependencies")}

    def linprobe(*arguments):
        return subprocess.run(
            [python, "-m", "linprobe", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    found = subprocess.run(
        [python, "-c", "import linprobe; print(linprobe.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert found.stdout.startswith(str(site)), found.stderr
    assert linprobe("--version").stdout.startswith("linprobe 0.1.0")
    extracted = linprobe("extract", "--dataset", "bundled:digits", "--extractor", "pixels", "--split", "test")
    assert extracted.returncode == 0, extracted.stderr
    assert "360" in linprobe("store", "ls").stdout
    assert linprobe("config", "init", "job.toml").returncode == 0
