"""`linprobe doctor`: what this machine has, what is missing, and what to do about it."""

import os
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from extract import ExtractError, open_extractor
from linprobe.job.environment import Environment, installed_versions
from linprobe.job.errors import ExitCode
from linprobe.job.plan import DEFAULT_EXTRACTOR
from linprobe.job.session import Session
from store import FeatureStore, StoreError, StoreNotFound

__all__ = ["Check", "Diagnosis", "diagnose"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        state: `ok`, `note` (works without) or `missing`.
        text: what was found, and what to do.
    """

    name: str
    state: str
    text: str


@dataclass(frozen=True)
class Diagnosis:
    """All that was looked at."""

    checks: list[Check]

    @property
    def code(self) -> ExitCode:
        """0, or 69 where something is missing that a job needs."""
        return ExitCode.UNAVAILABLE if any(check.state == "missing" for check in self.checks) else ExitCode.DONE

    def text(self) -> str:
        """Return a line per check."""
        width = max(len(check.name) for check in self.checks)
        return "\n".join(f"{check.state:8}{check.name:{width}}  {check.text}" for check in self.checks)

    def document(self) -> dict[str, Any]:
        """Return what --json prints."""
        return {"checks": [asdict(check) for check in self.checks]}


def diagnose(session: Session, *, is_deep: bool = False) -> Diagnosis:
    """Look at Python, packages, devices, engines, weights, caches, the store and its disk.

    Args:
        session: where the caches and the store are.
        is_deep: start TensorFlow, and look for the GPUs that it finds; else only what is installed is told.
    """
    environment = session.environment
    versions = installed_versions()
    checks = [
        Check("python", "ok", f"{platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"),
        Check("packages", "ok", ", ".join(f"{name} {version}" for name, version in versions.items())),
        _started_tensorflow(environment) if is_deep else _tensorflow(versions),
        _openvino(versions),
        _weights(environment),
        *_caches(environment),
        _store(session.store_path),
        _disk(session.store_path),
    ]
    return Diagnosis(checks)


def _tensorflow(versions: dict[str, str]) -> Check:
    if "tensorflow" not in versions:
        return Check("tensorflow", "missing", "not installed; 'pip install linprobe' brings it")
    return Check("tensorflow", "ok", "installed; 'linprobe doctor --deep' starts it and looks for GPUs")


def _started_tensorflow(environment: Environment) -> Check:
    environment.prepare_frameworks()
    from extract.engines.tensorflow_engine import describe_gpus, find_gpus

    gpus = find_gpus()
    if gpus:
        return Check("tensorflow", "ok", f"{len(gpus)} GPU(s): {', '.join(describe_gpus())}; memory growth is on")
    return Check(
        "tensorflow", "ok", "runs on the CPU, no GPU found ('pip install linprobe[gpu]' on a machine with one)"
    )


def _openvino(versions: dict[str, str]) -> Check:
    if "openvino" in versions:
        return Check("openvino", "ok", "the engine that 'auto' takes on a CPU")
    return Check(
        "openvino", "note", "not installed; 'pip install linprobe[cpu]' makes extraction on a CPU several times faster"
    )


def _weights(environment: Environment) -> Check:
    try:
        open_extractor(DEFAULT_EXTRACTOR, environment.caches)
    except ExtractError as error:
        return Check("weights", "missing", str(error))
    return Check("weights", "ok", f"{DEFAULT_EXTRACTOR} is installed, and its hash is the pinned one")


def _caches(environment: Environment) -> list[Check]:
    caches = environment.caches
    named = {"tfhub cache": caches.tfhub, "keras cache": caches.keras}
    checks = []
    for name, path in named.items():
        count = sum(1 for _ in path.iterdir()) if path.is_dir() else 0
        checks.append(Check(name, "ok" if count else "note", f"{path}: {count} model(s)"))
    data_dir = environment.tfds_data_dir
    checks.append(
        Check("tfds data", "ok" if data_dir else "note", str(data_dir or "TFDS's own default (set TFDS_DATA_DIR)"))
    )
    return checks


def _store(path: Path) -> Check:
    try:
        store = FeatureStore(path)
        return Check("store", "ok", f"{path.absolute()}: {len(store.catalog_rows())} sets, {len(store.records())} runs")
    except StoreNotFound:
        return Check("store", "note", f"{path.absolute()}: none yet, the first extraction makes it")
    except (StoreError, OSError) as error:
        return Check("store", "missing", str(error))


def _disk(path: Path) -> Check:
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    state = "ok" if os.access(existing, os.W_OK) else "missing"
    note = "" if state == "ok" else "; not writable for this user"
    return Check("disk", state, f"{free / 2**30:.1f} GiB free at {existing}{note}")
