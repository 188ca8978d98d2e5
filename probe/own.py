"""A classifier of one's own on the parts of the protocol: fitted once, tested once, and kept like a head."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from probe.errors import OptionError
from probe.heads.options import HeadOptions
from probe.heads.registry import HEADS
from probe.near_duplicates import Hashes
from probe.request import Plan, ProbeRequest, plan_probe
from probe.run import run_planned
from probe.training import Trained, TrainingData, no_curves
from store import FeatureSet, ProbeResult

__all__ = ["OwnOptions", "describe_estimator", "plan_own", "run_own"]

_NAME = re.compile(r"[\w.+-]{1,64}")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class OwnOptions(HeadOptions):
    """What a classifier of one's own is, in words: part of the run's name.

    Attributes:
        estimator: its class and parameters, see `describe_estimator`.
    """

    estimator: str


def describe_estimator(estimator: Any) -> str:
    """Return a scikit-learn estimator's class and parameters as text, the same in every process."""
    parameters = estimator.get_params(deep=True)
    # Estimators inside are told by their own parameters, which stand beside them.
    told = {name: value for name, value in parameters.items() if not hasattr(value, "get_params")}
    listed = ", ".join(f"{name}={_ADDRESS.sub('', repr(value))}" for name, value in sorted(told.items()))
    return f"{type(estimator).__module__}.{type(estimator).__qualname__}({listed})"


def plan_own(request: ProbeRequest, estimator: Any, sets: Mapping[str, FeatureSet]) -> Plan:
    """Check what is asked against the sets at hand; nothing is fitted.

    Args:
        request: the probe; its head is what the classifier is called.
        estimator: a scikit-learn classifier.
        sets: base split → its set, all of one extractor.

    Raises:
        OptionError: the name is a head's, or none that a run can have; or the estimator gives no probabilities.
        SplitError, ProbeError: see `probe.request.plan_probe`.
    """
    if request.head in HEADS or not _NAME.fullmatch(request.head):
        raise OptionError(
            f"name = {request.head!r}: a name of its own expected, of letters, digits and . + - _; {', '.join(HEADS)} "
            "are heads of ours."
        )
    if not all(hasattr(estimator, name) for name in ("fit", "get_params")):
        raise OptionError(f"{estimator!r}: a scikit-learn classifier expected, with fit, predict_proba and get_params.")
    if not hasattr(estimator, "predict_proba"):
        raise OptionError(
            f"{type(estimator).__name__} has no predict_proba, and a run keeps probabilities: wrap it in "
            "sklearn.calibration.CalibratedClassifierCV, or set what makes it give them (probability=True of SVC)."
        )
    return plan_probe(request, sets, options=OwnOptions(estimator=describe_estimator(estimator)))


def run_own(
    request: ProbeRequest,
    plan: Plan,
    estimator: Any,
    *,
    sets: Mapping[str, FeatureSet],
    created: str,
    hashes: Hashes | None = None,
) -> ProbeResult:
    """Fit a clone of a classifier on train (and validation, where there is such a part), and test it once.

    Features are given as they are, (N, D) float32: scaling and selection are the classifier's own, as a pipeline's.

    Args:
        request, estimator, sets: see `plan_own`.
        plan: what that gave.
        created: the time to record: UTC, ISO 8601 to the second.
        hashes: see `probe.run_probe`.

    Raises:
        SplitError, LabelError, FeatureError: see `probe.run_probe`.
    """
    from sklearn.base import clone

    fitted = clone(estimator)

    def train(data: TrainingData) -> Trained:
        fitted.fit(data.features, data.labels)
        selection = {"method": "none: a classifier of one's own", "selected": {}, "table": [], "notes": []}
        fit = {
            "converged": True,
            "converged_means": "nobody looked: a classifier of one's own",
            "iterations": 0,
            "trainable_parameters": 0,
        }
        return Trained({}, data.official_validation, selection, fit, no_curves(), ("numpy", "scikit-learn"))

    def predict(features: np.ndarray, classes: int) -> np.ndarray:
        found = np.zeros((len(features), classes))
        # A class that train lacks has no probability.
        found[:, np.asarray(fitted.classes_, np.int64)] = fitted.predict_proba(features)
        return found

    result = run_planned(request, plan, sets, created=created, train=train, predict=predict, hashes=hashes)
    if np.isfinite(result.predictions["confidence"]).all():
        return result
    return replace(result, warnings=(*result.warnings, "some probabilities are not finite"))
