"""Images to rows: sources, decoding, preprocessing, extractors, engines, the run of one base split.

Nothing here imports a framework before a row has to be computed.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extract.engines import DEVICES, ENGINES, Engine, ParameterCounts, open_engine
    from extract.errors import (
        BadData,
        CanaryDrift,
        DataShrank,
        EngineUnavailable,
        ExtractError,
        InvalidSetting,
        ModelMismatch,
        ModelUnavailable,
        OutOfMemory,
        SourceUnavailable,
        UnknownName,
        UntrustedModel,
    )
    from extract.extractors import (
        PRECISIONS,
        PRESETS,
        Declared,
        Extractor,
        ModelCaches,
        extractor_names,
        open_extractor,
    )
    from extract.job import RunContext, SplitJob, compute, has_missing_rows, plan, publish
    from extract.lost_splits import LostSplit, end_lost_splits, find_lost_splits, require_no_lost_split
    from extract.outcome import NOTHING, Computed, Extraction, Plan, Progress, combine
    from extract.preprocessing import RESIZE_METHODS, VALUE_RANGES, Preprocessing
    from extract.shares import WHOLE, Share
    from extract.shrink import SizeChange
    from extract.sources.example import DatasetSource, Example
    from extract.sources.reading import AS_IT_IS, LENIENT, Reading
    from extract.sources.schemes import SourceCaches, open_source
    from extract.survey import Budget
    from extract.timing import TimeSpent

__all__ = [
    "AS_IT_IS",
    "DEVICES",
    "ENGINES",
    "LENIENT",
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
    "DataShrank",
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
    "Reading",
    "RunContext",
    "Share",
    "SizeChange",
    "SourceCaches",
    "SourceUnavailable",
    "SplitJob",
    "TimeSpent",
    "UnknownName",
    "UntrustedModel",
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
    "require_no_lost_split",
]

# Where each public name lives; its module is imported when the name is first asked for.
_HOMES = {
    "DEVICES": "extract.engines",
    "ENGINES": "extract.engines",
    "NOTHING": "extract.outcome",
    "PRECISIONS": "extract.extractors",
    "PRESETS": "extract.extractors",
    "RESIZE_METHODS": "extract.preprocessing",
    "VALUE_RANGES": "extract.preprocessing",
    "WHOLE": "extract.shares",
    "BadData": "extract.errors",
    "Budget": "extract.survey",
    "CanaryDrift": "extract.errors",
    "Computed": "extract.outcome",
    "DatasetSource": "extract.sources.example",
    "Declared": "extract.extractors",
    "Engine": "extract.engines",
    "EngineUnavailable": "extract.errors",
    "Example": "extract.sources.example",
    "ExtractError": "extract.errors",
    "Extraction": "extract.outcome",
    "Extractor": "extract.extractors",
    "InvalidSetting": "extract.errors",
    "LostSplit": "extract.lost_splits",
    "ModelCaches": "extract.extractors",
    "ModelMismatch": "extract.errors",
    "ModelUnavailable": "extract.errors",
    "OutOfMemory": "extract.errors",
    "ParameterCounts": "extract.engines",
    "Plan": "extract.outcome",
    "Preprocessing": "extract.preprocessing",
    "Progress": "extract.outcome",
    "RunContext": "extract.job",
    "Share": "extract.shares",
    "SourceCaches": "extract.sources.schemes",
    "SourceUnavailable": "extract.errors",
    "SplitJob": "extract.job",
    "TimeSpent": "extract.timing",
    "UnknownName": "extract.errors",
    "UntrustedModel": "extract.errors",
    "combine": "extract.outcome",
    "compute": "extract.job",
    "DataShrank": "extract.errors",
    "end_lost_splits": "extract.lost_splits",
    "require_no_lost_split": "extract.lost_splits",
    "SizeChange": "extract.shrink",
    "extractor_names": "extract.extractors",
    "find_lost_splits": "extract.lost_splits",
    "has_missing_rows": "extract.job",
    "open_engine": "extract.engines",
    "open_extractor": "extract.extractors",
    "open_source": "extract.sources.schemes",
    "AS_IT_IS": "extract.sources.reading",
    "LENIENT": "extract.sources.reading",
    "Reading": "extract.sources.reading",
    "plan": "extract.job",
    "publish": "extract.job",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
