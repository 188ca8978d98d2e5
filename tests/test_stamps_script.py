"""`make stamps`, with packages that a test makes: what is fetched, and what is said where nothing is."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "examples" / "fetch_stamps.sh"

APT = """#!/bin/sh
case "$*" in
    *download*) [ -e "$HAVE" ] || { echo "E: Unable to locate package tuxpaint-stamps-default" >&2; exit 100; }; touch a.deb ;;
    *update*) echo "W: no network" >&2; exit 100 ;;
esac
"""
DPKG = """#!/bin/sh
mkdir -p "$3/usr/share/tuxpaint/stamps/animals/birds" "$3/usr/share/doc/tuxpaint-stamps-default"
touch "$3/usr/share/tuxpaint/stamps/animals/birds/owl.png"
echo GPL-2 > "$3/usr/share/doc/tuxpaint-stamps-default/copyright"
"""


@pytest.fixture
def fetch(tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("apt-get", APT), ("dpkg-deb", DPKG)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)

    def run(path=None):
        environment = {
            "PATH": path if path is not None else f"{tools}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "HAVE": str(tmp_path / "have"), "STAMPS_INSTALLED": str(tmp_path / "usr"), "HOME": str(tmp_path),
        }  # fmt: skip
        return subprocess.run(
            ["/bin/sh", SCRIPT, "20"], env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
        )

    return run


def test_the_package_is_unpacked_into_the_cache_once_with_its_notice(fetch, tmp_path):
    (tmp_path / "have").touch()
    found = fetch()
    assert found.returncode == 0, found.stderr
    folder = tmp_path / "cache" / "linprobe" / "stamps"
    assert (folder / "animals" / "birds" / "owl.png").is_file()
    assert (folder / "COPYRIGHT").read_text() == "GPL-2\n"
    assert [path.name for path in folder.parent.iterdir()] == ["stamps"]
    assert fetch().stderr == ""


def test_where_it_cannot_be_had_the_reason_is_told_and_nothing_is_left(fetch, tmp_path):
    found = fetch()
    assert found.returncode == 1
    assert "stamps: not to be had: " in found.stderr
    assert not list((tmp_path / "cache" / "linprobe").iterdir())


def test_a_machine_without_debians_tools_is_told_what_to_copy_where(fetch, tmp_path):
    tools = tmp_path / "few"
    tools.mkdir()
    for name in ("mkdir", "rm", "id"):
        (tools / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    found = fetch(str(tools))
    assert found.returncode == 1
    assert "no apt-get here" in found.stderr
    assert f"usr/share/tuxpaint/stamps to {tmp_path}/cache/linprobe/stamps" in found.stderr
