"""Images to rows: sources, decoding, preprocessing, extractors, engines, the run of one base split.

Nothing here imports a framework before a row has to be computed.
"""

from extract.engines import DEVICES, ENGINES, Engine, ParameterCounts, open_engine
from extract.errors import (
    BadData,
    CanaryDrift,
    EngineUnavailable,
    ExtractError,
    InvalidSetting,
    ModelMismatch,
    ModelUnavailable,
    OutOfMemory,
    SourceUnavailable,
    UnknownName,
)
from extract.extractors import PRECISIONS, PRESETS, Declared, Extractor, ModelCaches, extractor_names, open_extractor
from extract.lost_splits import LostSplit, end_lost_splits, find_lost_splits
from extract.outcome import Contribution, Extraction, Naming, Progress, combine
from extract.planning import Plan, has_missing_rows, plan_extraction
from extract.preprocessing import RESIZE_METHODS, VALUE_RANGES, Preprocessing
from extract.run import compute_share, extract_features, publish_if_complete
from extract.shares import WHOLE, Share
from extract.sources import DatasetSource, Example, open_source
from extract.survey import Budget
from extract.timing import TimeSpent

__all__ = [
    "DEVICES",
    "ENGINES",
    "PRECISIONS",
    "PRESETS",
    "RESIZE_METHODS",
    "VALUE_RANGES",
    "WHOLE",
    "BadData",
    "Budget",
    "CanaryDrift",
    "Contribution",
    "DatasetSource",
    "Declared",
    "Engine",
    "EngineUnavailable",
    "Example",
    "ExtractError",
    "Extraction",
    "Extractor",
    "InvalidSetting",
    "LostSplit",
    "ModelCaches",
    "ModelMismatch",
    "ModelUnavailable",
    "Naming",
    "OutOfMemory",
    "ParameterCounts",
    "Plan",
    "Preprocessing",
    "Progress",
    "Share",
    "SourceUnavailable",
    "TimeSpent",
    "UnknownName",
    "combine",
    "compute_share",
    "end_lost_splits",
    "extract_features",
    "extractor_names",
    "find_lost_splits",
    "has_missing_rows",
    "open_engine",
    "open_extractor",
    "open_source",
    "plan_extraction",
    "publish_if_complete",
]
