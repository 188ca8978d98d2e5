"""What all tests share: an environment that knows nothing of the person who runs them, and the tiers."""

import importlib.abc
import importlib.machinery
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Most products of a test are small: a second thread would only wait for the first.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import pytest

# A stranger's run is the one that was seen; 'make campaign' draws anew with --hypothesis-profile=free. No test is timed:
# on a machine that is busy an example takes many times as long.
hypothesis.settings.register_profile("seen", derandomize=True, deadline=None)
hypothesis.settings.register_profile("free", deadline=None)
hypothesis.settings.load_profile("seen")

# What takes seconds to import or to start.
FRAMEWORKS = (
    "ai_edge_litert", "keras", "openvino", "playwright", "ray", "tensorflow", "tensorflow_datasets", "tensorflow_hub",
    "tf_keras",
)  # fmt: skip
NOT_QUICK = ("framework", "heavy", "slow", "campaign")


def pytest_addoption(parser):
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out what is slow, imports a framework or starts a browser; any other test that does so fails",
    )


def pytest_configure(config):
    if config.getoption("--quick"):
        sys.meta_path.insert(0, _NoFrameworks())


def pytest_ignore_collect(collection_path: Path, config):
    """Leave out modules that are slow as a whole: importing them may import a framework."""
    if config.getoption("--quick") and collection_path.name.startswith("test_") and collection_path.suffix == ".py":
        text = collection_path.read_text(encoding="utf-8")
        return any(f"\npytestmark = pytest.mark.{mark}\n" in text for mark in NOT_QUICK) or None
    return None


def pytest_collection_modifyitems(config, items):
    if config.getoption("--quick"):
        dropped = [item for item in items if any(item.get_closest_marker(mark) for mark in NOT_QUICK)]
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in set(dropped)]


class _NoFrameworks(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets frameworks be found, and fails the test that imports one."""

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name.partition(".")[0] in FRAMEWORKS else None

    def create_module(self, spec):
        pytest.fail(f"{spec.name} is imported: mark the test with pytest.mark.framework, and it runs in 'make test'.")

    def exec_module(self, module):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path_factory):
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    for name in ("LINPROBE_STORE", "TFDS_DATA_DIR", "TFHUB_CACHE_DIR", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
