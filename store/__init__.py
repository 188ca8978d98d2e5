"""What was computed, and how to trust it.

The catalogue of pools, sets, names and runs; the only package that knows HDF5.
"""

from store.canary import keep_canary, read_canary
from store.catalog import FeatureStore
from store.errors import (
    DamagedStore,
    FeatureSetNotFound,
    InvalidFeatures,
    InvalidMoment,
    RowsUnavailable,
    RunNotFound,
    StoreBusy,
    StoreError,
    StoreFormatError,
    StoreNotFound,
)
from store.exports import EXPORT_FORMATS, export_set
from store.features import Features
from store.garbage import Garbage, GarbageCollection, GarbageRule, collect_garbage
from store.imports import IMPORTED, ImportedFeatures, import_features, read_features
from store.keys import PoolKey, Provenance, SetKey, rows_digest
from store.pool import Pool
from store.results import ProbeResult, RunRecord
from store.sets import LEDGER_COLUMNS, OPTIONAL_LEDGER_COLUMNS, FeatureSet
from store.verification import Problem, Verification, verify_store

__all__ = [
    "EXPORT_FORMATS",
    "IMPORTED",
    "LEDGER_COLUMNS",
    "OPTIONAL_LEDGER_COLUMNS",
    "DamagedStore",
    "FeatureSet",
    "FeatureSetNotFound",
    "FeatureStore",
    "Features",
    "Garbage",
    "GarbageCollection",
    "GarbageRule",
    "ImportedFeatures",
    "InvalidFeatures",
    "InvalidMoment",
    "Pool",
    "PoolKey",
    "ProbeResult",
    "Problem",
    "Provenance",
    "RowsUnavailable",
    "RunNotFound",
    "RunRecord",
    "SetKey",
    "StoreBusy",
    "StoreError",
    "StoreFormatError",
    "StoreNotFound",
    "Verification",
    "collect_garbage",
    "export_set",
    "import_features",
    "keep_canary",
    "read_canary",
    "read_features",
    "rows_digest",
    "verify_store",
]
