"""What was computed, and how to trust it.

The catalogue of pools, sets, names and runs; the only package that knows HDF5.
"""

from store.catalog import FeatureStore
from store.errors import (
    DamagedStore,
    FeatureSetNotFound,
    RunNotFound,
    StoreBusy,
    StoreError,
    StoreFormatError,
    StoreNotFound,
)
from store.features import Features
from store.keys import PoolKey, Provenance, SetKey, rows_digest
from store.pool import Pool
from store.results import ProbeResult
from store.sets import LEDGER_COLUMNS, FeatureSet

__all__ = [
    "LEDGER_COLUMNS",
    "DamagedStore",
    "FeatureSet",
    "FeatureSetNotFound",
    "FeatureStore",
    "Features",
    "Pool",
    "PoolKey",
    "ProbeResult",
    "Provenance",
    "RunNotFound",
    "SetKey",
    "StoreBusy",
    "StoreError",
    "StoreFormatError",
    "StoreNotFound",
    "rows_digest",
]
