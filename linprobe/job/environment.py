"""What a job reads from outside itself: environment, clock, host, versions."""

import ctypes
import datetime
import functools
import logging
import os
import platform
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from linprobe.job.quiet import silence_tensorflow_import

if TYPE_CHECKING:
    from extract import ModelCaches, SourceCaches

__all__ = ["DEFAULT_STORE", "Environment", "installed_versions"]

DEFAULT_STORE = Path("linprobe-store")
_VERSIONED = ("linprobe", "tensorflow", "keras", "openvino", "tensorflow-datasets", "numpy", "h5py", "pillow")


# <malloc.h>
_M_TOP_PAD, _TOP_PAD_BYTES = -2, 64 << 20


@dataclass(frozen=True)
class Environment:
    """Where a job runs.

    Attributes:
        variables: the process's environment variables.
    """

    variables: Mapping[str, str]

    def store_path(self, flag: Path | None, configured: Path | None) -> Path:
        """Return where the store is: flag, environment, file, default, in this order."""
        named = self.variables.get("LINPROBE_STORE")
        return flag or (Path(named) if named else None) or configured or DEFAULT_STORE

    @property
    def caches(self) -> "ModelCaches":
        """Where downloaded models are kept.

        TF-Hub's own default lies in the temp folder, which cleaners empty.
        """
        # Looking into a store needs no model.
        from extract import ModelCaches

        tfhub = Path(self.variables.get("TFHUB_CACHE_DIR") or self._cache / "linprobe" / "tfhub")
        keras = Path(self.variables.get("KERAS_HOME") or Path.home() / ".keras") / "models"
        return ModelCaches(tfhub, keras)

    def source_caches(self, known_files: tuple[Path, int] | None = None) -> "SourceCaches":
        """Where sources find what was kept of them.

        Args:
            known_files: what is known of unchanged files, see `SourceCaches.stat_cache`.
        """
        from extract import SourceCaches

        return SourceCaches(
            tfds_data_dir=self.tfds_data_dir, stamps=self._cache / "linprobe" / "stamps", stat_cache=known_files
        )

    @property
    def _cache(self) -> Path:
        return Path(self.variables.get("XDG_CACHE_HOME") or Path.home() / ".cache")

    @property
    def tfds_data_dir(self) -> Path | None:
        """Where TFDS keeps its data, or None for its own default."""
        named = self.variables.get("TFDS_DATA_DIR")
        return Path(named) if named else None

    @property
    def host(self) -> str:
        """The machine's name."""
        return platform.node()

    @property
    def process(self) -> str:
        """Which process this is, for those who wait for it."""
        return f"process {os.getpid()} on {self.host}"

    def now(self) -> str:
        """Return the time: UTC, ISO 8601 to the second."""
        return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def timestamp(self) -> float:
        """Return the time in seconds since 1970."""
        return time.time()

    def prepare_frameworks(self) -> None:
        """Set what TensorFlow and TF-Hub read when they are imported, and make that quiet."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("TFHUB_CACHE_DIR", str(self.caches.tfhub))
        silence_tensorflow_import()
        _grow_heaps_in_large_steps()
        # What fails is told by an error of ours; retries and missing side files of TFDS are noise.
        for name in ("absl", "urllib3"):
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)


@functools.cache
def _grow_heaps_in_large_steps() -> None:
    """Let glibc ask the kernel for memory in steps of 64 MiB: a batch of decoded images is torn down and made anew all
    the time, and the page faults of it were up to two fifths of what TensorFlow's decoding cost (benchmarks/README.md).
    """
    if "MALLOC_TOP_PAD_" in os.environ:
        return
    # Another C library has no such function, and needs no such care.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)


@functools.cache
def _installed_versions() -> Mapping[str, str]:
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that numbers may depend on."""
    return dict(_installed_versions())
