"""Rows to heads: splits, scaling, training, selection and metrics.

Importing this package imports neither TensorFlow nor scikit-learn, so that a run that was trained
before is found at once by its name.
"""

from typing import TYPE_CHECKING, Any

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
from probe.heads.registry import HEADS, default_options
from probe.prediction import predict_proba, restore_head
from probe.request import PROTOCOL_VERSION, ProbeRequest, Splits, resolve, run_id
from probe.run import run_probe, select_parts
from probe.verdicts import Verdict, find_disagreements, judge_runs

if TYPE_CHECKING:
    from probe.estimator import SoftmaxPathCV

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
    "resolve",
    "restore_head",
    "run_id",
    "run_probe",
    "select_parts",
]


def __getattr__(name: str) -> Any:
    """Import `SoftmaxPathCV` when it is first asked for: its base classes are scikit-learn's."""
    if name != "SoftmaxPathCV":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from probe.estimator import SoftmaxPathCV

    return SoftmaxPathCV
