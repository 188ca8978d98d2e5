"""What can go wrong with a store, each error with the builtin that a caller would expect."""

__all__ = [
    "DamagedStore",
    "FeatureSetNotFound",
    "InvalidFeatures",
    "InvalidMoment",
    "MissingFile",
    "RowsUnavailable",
    "RunNotFound",
    "StoreBusy",
    "StoreError",
    "StoreFormatError",
    "StoreNotFound",
]

# The next step in every message about damage: `FeatureStore.has_set` and `has_run` see it too.
REPAIR = "run the extract or probe that made it again, it replaces what is damaged; or move it out of the store"


class StoreError(Exception):
    """Base of everything that `store` raises on purpose."""


class StoreNotFound(StoreError, FileNotFoundError):
    """There is no store at the given path."""


class StoreFormatError(StoreError, ValueError):
    """The folder is a store of another format version, or no store at all."""


class DamagedStore(StoreError, OSError):
    """A file's bytes or its schema are not what its name or manifest promises."""


class MissingFile(DamagedStore):
    """A file that something refers to is not there: lost, or taken away by `gc` a moment ago."""


class FeatureSetNotFound(StoreError, LookupError):
    """No published set has the given name or key."""


class RunNotFound(StoreError, LookupError):
    """No probe run, or more than one, answers to the given name."""


class RowsUnavailable(StoreError, LookupError):
    """Rows cannot be computed again here: the extractor or the images are not at hand."""


class InvalidFeatures(StoreError, ValueError):
    """Features from elsewhere are not what the store can take."""


class InvalidMoment(StoreError, ValueError):
    """A text that should name a moment names none."""


class StoreBusy(StoreError, TimeoutError):
    """Another process stands in the way right now; the same again later will do."""
