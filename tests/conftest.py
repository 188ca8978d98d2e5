"""What all tests share: an environment that knows nothing of the person who runs them."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis
import pytest

# A stranger's run is the one that was seen; 'make campaign' draws anew with --hypothesis-profile=free.
hypothesis.settings.register_profile("seen", derandomize=True)
hypothesis.settings.register_profile("free")
hypothesis.settings.load_profile("seen")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path_factory):
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    for name in ("LINPROBE_STORE", "TFDS_DATA_DIR", "TFHUB_CACHE_DIR", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
