"""`linprobe.lock`: which models have been used, by the digests of their weights.

A model is pinned when it is first used; another one of the same name is refused from then on. The file stands beside
CONFIG, to be committed with it; without CONFIG it stands in the store.
"""

import json
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from extract import Engine, Extractor, ModelMismatch, UntrustedModel
from extract.extractors import PRESETS, names_file
from linprobe.job.errors import ConfigError
from linprobe.job.session import Session
from store.commit import replace_file
from store.extractor_names import split_view_name

__all__ = ["LOCK_NAME", "Pin", "Pins", "is_trusted", "pin", "pinning", "pins_of"]

LOCK_NAME = "linprobe.lock"

_HEAD = """\
# Which models 'linprobe' has used, by the digests of their weights: another one of the same name is refused.
# Commit this file beside your configuration. To accept another model, remove its entry.
version = 1
"""


@dataclass(frozen=True)
class Pin:
    """One model.

    Attributes:
        name: of the extractor, without preset and view; a path in it is relative to the lock's folder.
        sha256: of its weights.
        trusted: whether somebody has said --trust to exactly this one.
    """

    name: str
    sha256: str
    trusted: bool = False


@dataclass(frozen=True)
class Pins:
    """A lock file.

    Attributes:
        path: where it is, or will be.
        is_required: whether what it does not know is refused.
    """

    path: Path
    is_required: bool = False

    def read(self) -> dict[str, Pin]:
        """Return name → pin.

        Raises:
            ConfigError: the file is not one of ours.
        """
        try:
            document = tomllib.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:  # what is no UTF-8, and what is no TOML
            raise ConfigError(f"{self.path}: not a lock file: {error}.") from error
        if document.get("version") != 1:
            raise ConfigError(f"{self.path}: version = 1 expected, {document.get('version')!r} found.")
        models = document.get("models", [])
        try:
            pins = [Pin(**entry) for entry in models]
        except TypeError as error:
            raise ConfigError(f"{self.path}: [[models]] with name and sha256 expected, {models!r} found.") from error
        for pin in pins:
            if not isinstance(pin.name, str) or not isinstance(pin.sha256, str) or len(pin.sha256) != 64:
                raise ConfigError(f"{self.path}: 64 hexadecimal digits expected of {pin.name!r}, {pin.sha256!r} found.")
        return {pin.name: pin for pin in pins}

    def require(self, extractor: Extractor) -> bool:
        """Refuse a model that is not what the lock says; return whether the lock knows it.

        Raises:
            ModelMismatch: it is another model than was used under this name.
            UntrustedModel: the lock does not know it, and must.
        """
        if not extractor.has_weights:
            return True
        is_known = self._find(extractor, self.read()) is not None
        if self.is_required and not is_known:
            raise UntrustedModel(
                f"{extractor.name}: not in {self.path}, and require_lock = true; 'linprobe fetch' with the same "
                f"configuration pins it (weights {extractor.weights_sha256})."
            )
        return is_known

    def _find(self, extractor: Extractor, pins: Mapping[str, Pin]) -> Pin | None:
        """Return the pin of a model, None without one; raise ModelMismatch where its name has that of another."""
        pin = pins.get(self._spelled(extractor.name))
        if pin is not None and pin.sha256 != extractor.weights_sha256:
            raise ModelMismatch(
                f"{extractor.name}: another model than was used before: weights {pin.sha256} expected by {self.path}, "
                f"{extractor.weights_sha256} found; if this one is meant, remove its entry there."
            )
        return pin

    def add(self, extractor: Extractor, *, is_trusted: bool) -> bool:
        """Pin a model; return whether anything was written.

        Raises:
            ModelMismatch: another one is pinned under its name.
            OSError: the file cannot be written.
        """
        if not extractor.has_weights:
            return False
        pin = Pin(self._spelled(extractor.name), extractor.weights_sha256, is_trusted)
        # Others may add theirs meanwhile: until it is in what is there, it is added to that.
        is_written = False
        while (found := self._find(extractor, pins := self.read())) is None or (is_trusted and not found.trusted):
            added = pin if found is None else replace(found, trusted=True)
            replace_file(self.path, _text([*(pins | {pin.name: added}).values()]).encode())
            is_written = True
        return is_written

    def _spelled(self, name: str) -> str:
        plain, _ = split_view_name(name)
        base, _, preset = plain.rpartition("@")
        plain = base if base and preset in PRESETS else plain
        if not names_file(plain):
            return plain
        # So a lock moves with its folder, and means the same in every current folder.
        scheme, _, rest = plain.partition(":")
        path = Path(rest).expanduser().absolute()
        return f"{scheme}:{Path(os.path.relpath(path, self.path.parent.absolute())).as_posix()}"


def pins_of(session: Session) -> Pins:
    """Return the lock that a command goes by."""
    return Pins((session.lock_folder or session.store_path) / LOCK_NAME, session.requires_lock)


def pin(extractor: Extractor, session: Session, *, is_trusted: bool = False) -> None:
    """Pin a model that is used, and tell of it; where the lock cannot be written beside CONFIG, in the store.

    Args:
        extractor: that `Pins.require` has let pass.
        session: whose lock it is.
        is_trusted: whether --trust was said to it; the store keeps that too, for what runs the model of a run again.
    """
    pins, in_store = pins_of(session), Pins(session.store_path / LOCK_NAME)
    try:
        is_new = pins.add(extractor, is_trusted=is_trusted)
    except PermissionError as error:
        if not session.has_store():
            raise
        pins, is_new = in_store, in_store.add(extractor, is_trusted=is_trusted)
        if is_new:
            session.console.warn(f"{error.filename}: cannot be written; {extractor.name} is pinned in the store.")
    if is_trusted and pins != in_store and session.has_store():
        in_store.add(extractor, is_trusted=True)
    if is_new:
        said = ", trusted" if is_trusted else ""
        session.say(f"{extractor.name}: pinned in {pins.path}{said}: weights {extractor.weights_sha256}")


def pinning(
    open_engine: Callable[[], Engine], extractor: Extractor, session: Session, *, is_trusted: bool
) -> Callable[[], Engine]:
    """Return what loads an extractor once the lock lets it pass, and then pins it.

    What is cached loads nothing, so it needs no lock.
    """

    def opened() -> Engine:
        pins_of(session).require(extractor)
        engine = open_engine()
        pin(extractor, session, is_trusted=is_trusted)
        return engine

    return opened


def is_trusted(store: Path, sha256: str) -> bool:
    """Tell whether a model has been trusted when a store's rows were computed by it."""
    return any(pin.trusted and pin.sha256 == sha256 for pin in Pins(store / LOCK_NAME).read().values())


def _text(pins: Iterable[Pin]) -> str:
    entries = []
    for pin in sorted(pins, key=lambda pin: pin.name):
        # Texts are written in JSON as in TOML.
        lines = ["", "[[models]]", f"name = {json.dumps(pin.name, ensure_ascii=False)}", f'sha256 = "{pin.sha256}"']
        entries += [*lines, "trusted = true"] if pin.trusted else lines
    return _HEAD + "\n".join(entries) + "\n"
