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
from extract.job import RunContext, SplitJob, compute, has_missing_rows, plan, publish
from extract.lost_splits import LostSplit, end_lost_splits, find_lost_splits
from extract.outcome import NOTHING, Computed, Extraction, Plan, Progress, combine
from extract.preprocessing import RESIZE_METHODS, VALUE_RANGES, Preprocessing
from extract.shares import WHOLE, Share
from extract.sources import DatasetSource, Example, open_source
from extract.survey import Budget
from extract.timing import TimeSpent

__all__ = [
    "DEVICES",
    "ENGINES",
    "NOTHING",
    "PRECISIONS",
    "PRESETS",
    "RESIZE_METHODS",
    "VALUE_RANGES",
    "WHOLE",
    "BadData",
    "Budget",
    "CanaryDrift",
    "Computed",
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
    "OutOfMemory",
    "ParameterCounts",
    "Plan",
    "Preprocessing",
    "Progress",
    "RunContext",
    "Share",
    "SourceUnavailable",
    "SplitJob",
    "TimeSpent",
    "UnknownName",
    "combine",
    "compute",
    "end_lost_splits",
    "extractor_names",
    "find_lost_splits",
    "has_missing_rows",
    "open_engine",
    "open_extractor",
    "open_source",
    "plan",
    "publish",
]
