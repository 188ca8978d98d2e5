"""Rows to heads: splits, scaling, training, selection and metrics.

Importing this package imports neither TensorFlow nor scikit-learn, so that a run that was trained
before is found at once by its name.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probe.comparison import Comparison, Difference, compare_runs
    from probe.errors import (
        FeatureError,
        HeadNotFound,
        LabelError,
        NotComparable,
        OptionError,
        ProbeError,
        SplitError,
        ViewMissing,
    )
    from probe.estimator import SoftmaxPathCV
    from probe.heads.registry import HEADS, default_options
    from probe.prediction import predict_proba, restore_head
    from probe.request import PROTOCOL_VERSION, ProbeRequest, Splits, question_of, resolve, run_id
    from probe.run import run_probe, select_parts
    from probe.verdicts import Verdict, find_disagreements, judge_runs

__all__ = [
    "HEADS",
    "PROTOCOL_VERSION",
    "Comparison",
    "Difference",
    "FeatureError",
    "HeadNotFound",
    "LabelError",
    "NotComparable",
    "OptionError",
    "ProbeError",
    "ProbeRequest",
    "SoftmaxPathCV",
    "SplitError",
    "Splits",
    "Verdict",
    "ViewMissing",
    "compare_runs",
    "default_options",
    "find_disagreements",
    "judge_runs",
    "predict_proba",
    "question_of",
    "resolve",
    "restore_head",
    "run_id",
    "run_probe",
    "select_parts",
]

# Where each public name lives; its module is imported when the name is first asked for.
_HOMES = {
    "HEADS": "probe.heads.registry",
    "PROTOCOL_VERSION": "probe.request",
    "Comparison": "probe.comparison",
    "Difference": "probe.comparison",
    "FeatureError": "probe.errors",
    "HeadNotFound": "probe.errors",
    "LabelError": "probe.errors",
    "NotComparable": "probe.errors",
    "OptionError": "probe.errors",
    "ProbeError": "probe.errors",
    "ProbeRequest": "probe.request",
    "SoftmaxPathCV": "probe.estimator",
    "SplitError": "probe.errors",
    "Splits": "probe.request",
    "Verdict": "probe.verdicts",
    "ViewMissing": "probe.errors",
    "compare_runs": "probe.comparison",
    "default_options": "probe.heads.registry",
    "find_disagreements": "probe.verdicts",
    "judge_runs": "probe.verdicts",
    "predict_proba": "probe.prediction",
    "resolve": "probe.request",
    "restore_head": "probe.prediction",
    "question_of": "probe.request",
    "run_id": "probe.request",
    "run_probe": "probe.run",
    "select_parts": "probe.run",
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
