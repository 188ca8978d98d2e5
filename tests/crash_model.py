"""A file system that can crash: records what a writer does, and builds what may be left of it.

What POSIX promises, and no more: a file's bytes survive once the file was fsynced, a name survives
once its folder was fsynced, a rename within one folder happens at once or not at all. Everything
else may be lost, torn or kept, in any order.
"""

import contextlib
import hashlib
import os
import random
import stat
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class File:
    durable: bytes = b""
    volatile: bytes = b""


@dataclass
class Folder:
    durable: "dict[str, Node]" = field(default_factory=dict)
    # Changes since the last fsync; each is one step: name → node, or None where the name goes.
    pending: "list[dict[str, Node | None]]" = field(default_factory=list)

    def now(self) -> "dict[str, Node]":
        return changed(self.durable, self.pending)


Node = File | Folder


def changed(names: dict[str, Node], changes: "list[dict[str, Node | None]]") -> dict[str, Node]:
    found = dict(names)
    for change in changes:
        for name, node in change.items():
            if node is None:
                found.pop(name, None)
            else:
                found[name] = node
    return found


@dataclass(frozen=True)
class Step:
    """One thing a writer did: an operation on the file system, or `ack`: it was told a result is safe."""

    operation: str
    path: str = ""
    other: str = ""
    data: bytes = b""


# Functions that only pass on what to sync.
_PASSING_ON = {"sync_folder", "_write_new", "_write_synced", "_write_temp"}


def site() -> str:
    """Where in the project the fsync stands: the function that asked for it, and the line."""
    frames = [f for f in traceback.extract_stack() if "/store/" in f.filename and "site-packages" not in f.filename]
    asking = next(f for f in reversed(frames) if f.name not in _PASSING_ON)
    return f"{asking.name}:{asking.lineno}"


class Paused(BaseException):
    """The other writer has come so far, and no further."""


class Recorder:
    """Records what happens below a root, while it really happens.

    Args:
        root: only paths below it count.
        suppressed: an fsync site that is to be taken out of the code, as it were.
    """

    def __init__(self, root: Path, suppressed: str | None = None) -> None:
        self.root = str(root)
        self.steps: list[Step] = []
        self.sites: set[str] = set()
        self.begin = 0
        self.is_paused = False
        self._folder_syncs: int | None = None
        self._suppressed = suppressed
        self._open: dict[int, str] = {}

    def ack(self, what: str) -> None:
        """Note that the caller was told that something is safe now."""
        self.steps.append(Step("ack", what))

    @contextlib.contextmanager
    def another_writer(self, folder_syncs: int) -> Iterator[None]:
        """What is done inside is done by a process that stops before its next folder fsync but so many."""
        self._folder_syncs = folder_syncs
        with contextlib.suppress(Paused):
            yield
        self._folder_syncs = None
        self.begin = len(self.steps)

    @contextlib.contextmanager
    def recording(self) -> Iterator["Recorder"]:
        real = {name: getattr(os, name) for name in ("open", "write", "fsync", "close", "link", "rename", "replace")}
        real |= {name: getattr(os, name) for name in ("mkdir", "unlink", "rmdir")}
        try:
            for name in real:
                setattr(os, name, self._wrapped(name, real[name]))
            yield self
        finally:
            for name, function in real.items():
                setattr(os, name, function)

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            is_new = name == "open" and not os.path.lexists(arguments[0])
            result = real(*arguments, **options)
            self._note(name, _absolute(arguments, options), result, is_new)
            return result

        return call

    def _note(self, name: str, arguments: tuple[Any, ...], result: Any, is_new: bool) -> None:
        if name == "open":
            if self._is_ours(arguments[0]):
                self._open[result] = os.path.abspath(arguments[0])
                if is_new:
                    self.steps.append(Step("create", self._open[result]))
        elif name in ("write", "fsync", "close"):
            path = self._open.pop(arguments[0], None) if name == "close" else self._open.get(arguments[0])
            if path and name == "write":
                self.steps.append(Step("write", path, data=bytes(arguments[1][:result])))
            elif path and name == "fsync":
                self._note_fsync(path)
        elif self._is_ours(arguments[0]):
            paths = [os.path.abspath(argument) for argument in arguments[:2] if isinstance(argument, str | os.PathLike)]
            self.steps.append(Step("rename" if name == "replace" else name, *paths))

    def _note_fsync(self, path: str) -> None:
        where = site()
        if self._folder_syncs is not None and stat.S_ISDIR(os.stat(path).st_mode):
            if self._folder_syncs == 0:
                self._folder_syncs, self.is_paused = None, True
                raise Paused
            self._folder_syncs -= 1
        self.sites.add(where)
        if where != self._suppressed:
            self.steps.append(Step("fsync", path))

    def _is_ours(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(self.root)


def _absolute(arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
    # `shutil.rmtree` names what it removes relative to an open folder.
    folder = options.get("dir_fd")
    return arguments if folder is None else (os.path.join(os.readlink(f"/proc/self/fd/{folder}"), arguments[0]),)


def replay(root: str, start: Folder, steps: list[Step]) -> tuple[Folder, set[str]]:
    """Do recorded steps in the model; returns the root folder and what was acknowledged."""
    acknowledged = set()

    def node(path: str) -> Node:
        found: Node = start
        for part in Path(path).relative_to(root).parts:
            assert isinstance(found, Folder)
            found = found.now()[part]
        return found

    def folder_of(path: str) -> Folder:
        found = node(os.path.dirname(path))
        assert isinstance(found, Folder)
        return found

    for step in steps:
        name = os.path.basename(step.path)
        if step.operation == "ack":
            acknowledged.add(step.path)
        elif step.operation in ("create", "mkdir"):
            folder_of(step.path).pending.append({name: File() if step.operation == "create" else Folder()})
        elif step.operation == "write":
            written = node(step.path)
            assert isinstance(written, File)
            written.volatile += step.data
        elif step.operation == "fsync":
            synced = node(step.path)
            if isinstance(synced, File):
                synced.durable = synced.volatile
            else:
                synced.durable, synced.pending = synced.now(), []
        elif step.operation == "link":
            folder_of(step.other).pending.append({os.path.basename(step.other): node(step.path)})
        elif step.operation in ("unlink", "rmdir"):
            folder_of(step.path).pending.append({name: None})
        else:
            folder_of(step.path).pending.append({name: None, os.path.basename(step.other): node(step.path)})
    return start, acknowledged


# A choice says what a crash leaves: which of a folder's pending changes, and what of a file's bytes.
Choice = tuple[Callable[[list[Any]], list[Any]], Callable[[File], bytes]]


def nothing_more() -> Choice:
    return (lambda changes: []), (lambda file: file.durable)


def newest_names_only() -> Choice:
    """Of each folder only the last change: names that were there before it are gone."""
    return (lambda changes: changes[-1:]), (lambda file: file.volatile)


def names_without_bytes() -> Choice:
    return (lambda changes: changes), (lambda file: file.durable)


def everything() -> Choice:
    return (lambda changes: changes), (lambda file: file.volatile)


def at_random(generator: random.Random) -> Choice:
    def some(changes: list[Any]) -> list[Any]:
        return [change for change in changes if generator.random() < 0.5]

    def torn(file: File) -> bytes:
        if file.durable == file.volatile:
            return file.durable
        cut = generator.randrange(len(file.volatile) + 1)
        return file.volatile[:cut] + bytes(generator.choice((0, len(file.volatile) - cut)))

    return some, torn


# A folder as a crash leaves it: name → bytes of a file, or what is in a folder.
Left = dict[str, "bytes | Left"]


def what_is_left(folder: Folder, choice: Choice) -> Left:
    """Return what a crash leaves of a folder."""
    names, content = choice
    return {
        name: content(node) if isinstance(node, File) else what_is_left(node, choice)
        for name, node in changed(folder.durable, names(folder.pending)).items()
    }


def digest(left: Left) -> bytes:
    """Return a digest that tells two such folders apart."""
    sha = hashlib.sha256()
    for name in sorted(left):
        node = left[name]
        kind, data = (b"file", hashlib.sha256(node).digest()) if isinstance(node, bytes) else (b"folder", digest(node))
        sha.update(kind + hashlib.sha256(name.encode()).digest() + data)
    return sha.digest()


def build(left: Left, target: Path) -> None:
    """Write such a folder."""
    target.mkdir()
    for name, node in left.items():
        if isinstance(node, bytes):
            (target / name).write_bytes(node)
        else:
            build(node, target / name)


def prefixes(recorder: Recorder, start: Callable[[], Folder]) -> Iterator[tuple[int, Folder, set[str]]]:
    """Yield the state after every prefix of what was recorded, once the other writer, if any, has stopped."""
    for length in range(recorder.begin, len(recorder.steps) + 1):
        yield length, *replay(recorder.root, start(), recorder.steps[:length])


def durable(path: Path) -> Folder:
    """Return a real folder as a model in which everything is durable."""
    found = Folder()
    for entry in path.iterdir():
        if entry.is_dir():
            found.durable[entry.name] = durable(entry)
        else:
            data = entry.read_bytes()
            found.durable[entry.name] = File(data, data)
    return found
