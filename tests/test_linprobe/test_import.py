"""`import linprobe`: what it costs, and what may stand in its way."""

import subprocess
import sys

import pytest


def python(folder, *arguments):
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("hiding", ["extract.py", "probe.py", "store/__init__.py", "reports.py"])
def test_a_file_that_hides_a_package_is_named(tmp_path, hiding):
    (tmp_path / hiding).parent.mkdir(exist_ok=True)
    (tmp_path / hiding).write_text("")
    name = hiding.partition("/")[0].removesuffix(".py")
    found = python(tmp_path, "-c", "import linprobe")
    assert found.returncode == 1
    sentence = f"{tmp_path / hiding} hides linprobe's package {name!r}, expected at "
    assert found.stderr.splitlines()[-1].startswith(f"ImportError: {sentence}")
    assert "rename it, or work in another folder." in found.stderr
    # The command line says the same in one line, without a traceback.
    found = python(tmp_path, "-m", "linprobe", "--version")
    assert found.returncode == 1
    assert sentence in found.stderr
    assert found.stderr.count("\n") == 1


def test_folders_called_like_packages_hide_nothing(tmp_path):
    for name in ("extract", "probe", "store", "reports", "linprobe-store"):
        (tmp_path / name).mkdir()
    found = python(tmp_path, "-m", "linprobe", "--version")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("linprobe ")
