"""Images that lie in files of their own, and the names that people give to the parts of a dataset."""

import errno
import os
import re
import stat
from pathlib import Path

from extract.sources.example import Example, Known, UnreadFile
from extract.sources.stat_index import StatIndex

__all__ = [
    "IMAGE_SUFFIXES",
    "SPLIT_NAMES",
    "is_left_by_a_machine",
    "looks_like_image",
    "names_image",
    "open_image",
    "part_of",
]

# Those that are read here, one with an extra.
IMAGE_SUFFIXES = (
    ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pfm", ".pgm",
    ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip

# Images too, which nothing here reads: they are told one by one, and not passed over.
_FOREIGN_SUFFIXES = (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcm", ".dng", ".erf", ".exr", ".fits", ".hdr", ".ico", ".iiq", ".j2c",
    ".j2k", ".jp2", ".jpf", ".jpm", ".jpx", ".jxl", ".kdc", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pcx", ".pef",
    ".psb", ".psd", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".tga", ".x3f", ".xcf",
)  # fmt: skip

# The first bytes of images, at an offset.
_MAGIC = (
    (0, b"\xff\xd8\xff"), (0, b"\x89PNG\r\n\x1a\n"), (0, b"GIF87a"), (0, b"GIF89a"), (0, b"II*\0"), (0, b"MM\0*"),
    (8, b"WEBP"), (0, b"8BPS"), (0, b"\0\0\0\x0cjP  "), (0, b"\xff\x4f\xff\x51"), (0, b"\0\0\0\x0cJXL "),
    (4, b"ftypheic"), (4, b"ftypheix"), (4, b"ftypmif1"), (4, b"ftypavif"), (4, b"ftypcrx "), (0, b"v/1\x01"),
    (0, b"FUJIFILMCCD-RAW"), (0, b"IIRO"), (0, b"IIU\0"),
)  # fmt: skip
_LOOKED_AT = 32

# What operating systems, devices and notebooks leave, in lower case.
_LEFT_BY_MACHINES = frozenset((
    "@eadir", "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store", "lost+found", "$recycle.bin",
    "system volume information", ".ipynb_checkpoints", ".appledouble", ".appledb", ".appledesktop", ".spotlight-v100",
    ".trashes", ".fseventsd", ".trash", "#recycle", "@recycle", "@recently-snapshot", "@tmp", "icon\r",
))  # fmt: skip

# The names of folders and the values of a table's column `split`, and the base splits that they mean.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
    "testing": "test",
}
_PART = re.compile(
    r"(train(?:ing)?|valid(?:ation)?|val|dev(?:el(?:opment)?)?|test(?:ing)?)"
    r"(?:[ _-]*(?:set|data(?:set)?|images?|imgs?|split|part|folder))?(?:[ _-]*(?:19|20)\d\d)?"
)


def part_of(name: str) -> str | None:
    """Return the base split that a folder's name means, in a usual spelling such as `training_set` or `val2017`."""
    found = _PART.fullmatch(name.strip().lower())
    if found is None:
        return None
    return SPLIT_NAMES.get(found.group(1), "validation")


def is_left_by_a_machine(name: str) -> bool:
    """Tell whether a file or folder is what an operating system or a device leaves beside people's files."""
    return name.lower() in _LEFT_BY_MACHINES or name.startswith("._")


def names_image(name: str) -> bool:
    """Tell whether a file is called like a raster image, readable here or not."""
    return name.lower().endswith((*IMAGE_SUFFIXES, *_FOREIGN_SUFFIXES))


def looks_like_image(path: str, name: str) -> bool:
    """Tell whether a file is a raster image by its suffix or its first bytes, readable here or not."""
    if names_image(name):
        return True
    try:
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            head = file.read(_LOOKED_AT)
    except OSError:
        return False
    return any(head[at : at + len(magic)] == magic for at, magic in _MAGIC)


def open_image(path: str, example_id: str, label: int, *, index: StatIndex | None, group: str = "") -> Example:
    """Return a file as an example; one that is not there or may not be read becomes a candidate that is none."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        known = Known.unreadable(example_id, "its name, or its folder's, is not UTF-8")
        return Example(example_id, label, UnreadFile(path, known), group)
    try:
        status = os.stat(path)
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(status.st_mode):
            return Example(
                example_id, label, UnreadFile(path, Known.unreadable(example_id, "not a regular file")), group
            )
        found = index.find(example_id, status) if index is not None else None
        if found is not None:
            return Example(example_id, label, UnreadFile(path, found), group)
        data = Path(path).read_bytes()
    except OSError as error:
        # Other errors are the disk's, and say nothing of the file.
        if error.errno not in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise
        reason = f"cannot be read: {os.strerror(error.errno)}"
        return Example(example_id, label, UnreadFile(path, Known.unreadable(example_id, reason)), group)
    if index is not None:
        index.learn(example_id, status, Known.of_file(data))
    return Example(example_id, label, data, group)
