import tomllib
from pathlib import Path

from linprobe.cli import main

ROOT = Path(__file__).parents[2]


def test_version_is_the_one_of_the_project_file(capsys):
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"linprobe {stated}\n"
