"""TensorFlow's import: its native chatter kept from people's terminals, and Keras left to those who need it.

TensorFlow writes some lines straight to file descriptor 2 before any log level counts. Those that
are known to mean nothing are dropped; every other line is passed on. It imports all of Keras at its end, "so that any
function/method that needs to happen at load time will trigger, eg registration of optimizers in the SavedModel
registry", and goes on without where that fails. That is half of its import; a frozen network has no optimizer, and
`import keras`, `tf.keras` and what else imports it get it whole afterwards.
"""

import importlib.util
import io
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

__all__ = ["silence_tensorflow_import"]

_MEANINGLESS = re.compile(
    r"All log messages before absl::InitializeLog"
    r"|cudart_stub.*Could not find cuda drivers"
    r"|oneDNN custom operations are on"
    r"|cpu_feature_guard|TF-TRT Warning|To enable the following instructions"
    # No driver at all, on a machine without a GPU. Other CUDA errors are worth reading.
    r"|failed call to cuInit.*(UNKNOWN ERROR \(303\)|no CUDA-capable device)"
)


def silence_tensorflow_import() -> None:
    """Make the coming import of TensorFlow quiet; without effect once it is imported."""
    if "tensorflow" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


class _QuietLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _filtered_stderr():
            with _without_keras():
                self._loader.exec_module(module)
            # The first look for devices is as talkative as the import.
            module.config.list_physical_devices()


class _NotNow(MetaPathFinder, Loader):
    """Lets Keras be found, which TensorFlow asks for its folder, and not be imported by this thread."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "keras" or threading.get_ident() != self._thread:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None:
            spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        raise ImportError("Keras is imported after TensorFlow, by those who need it")

    def exec_module(self, module: ModuleType) -> None:
        raise NotImplementedError


@contextmanager
def _without_keras() -> Iterator[None]:
    finder = _NotNow()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def _filtered_stderr() -> Iterator[None]:
    stderr = sys.stderr
    stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        # What Python prints meanwhile is passed on too, once: a log would put its time before it here and there.
        forward = _Forward()
        sys.stderr = forward
        try:
            yield
        finally:
            sys.stderr = stderr
            forward.is_captured = False
            os.dup2(kept, 2)
            os.close(kept)
            captured.seek(0)
            for line in captured.read().decode("utf-8", "replace").splitlines():
                if not _MEANINGLESS.search(line):
                    print(line, file=sys.stderr)


class _Forward(io.TextIOBase):
    """Writes to file descriptor 2 while that is captured, and to stderr afterwards: loggers made meanwhile keep it."""

    is_captured = True

    def write(self, text: str) -> int:
        if self.is_captured:
            os.write(2, text.encode("utf-8", "backslashreplace"))
        else:
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        if not self.is_captured:
            sys.stderr.flush()

    def close(self) -> None:
        """Do nothing: see `linprobe.job.streams.Telling.close`."""
