"""One probe from sets to result: train, select, refit, and only then test, once."""

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from probe.draws import units_of
from probe.errors import FeatureError, LabelError
from probe.evaluation import evaluate
from probe.heads.registry import find_head
from probe.near_duplicates import Hashes, all_known, group_near, near_warning, stand_near, stand_near_others
from probe.nested import predict_by_folds
from probe.parts import (
    Limits,
    Part,
    SetTable,
    check_labels,
    check_overlap,
    limit_part,
    select_part,
    shared_warnings,
    stand_before,
)
from probe.prediction import kept_arrays, predict_proba
from probe.request import PROTOCOL_VERSION, Plan, ProbeRequest, plan_probe
from probe.splits import Draw
from probe.training import HeldOut, Progress, Trained, TrainingData
from probe.views import ViewSets, view_part
from store import FeatureSet, ProbeResult
from store.probability_tables import probability_table
from store.results import PREDICTION_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["run_planned", "run_probe", "select_parts"]

# From this version of the protocol on, a share of train holds every class.
_KEEPING = 3


def run_probe(
    request: ProbeRequest,
    sets: Mapping[str, FeatureSet],
    view_sets: ViewSets = (),
    *,
    created: str,
    on_progress: Progress | None = None,
    hashes: Hashes | None = None,
) -> ProbeResult:
    """Train a head on cached features and test it once.

    The features of the test part are first read when the final head is fitted. Its labels are looked
    at before, but only to refuse a test that lacks a class before minutes are spent on training.

    Args:
        request: the probe.
        sets: base split → its set, all of one extractor.
        view_sets: of view 1, view 2, … likewise, as far as the request asks for views; of base splits that are
            not trained on none is needed.
        created: the time to record: UTC, ISO 8601 to the second.
        on_progress: is told what goes on, a line at a time.
        hashes: perceptual hashes of the images, by which near duplicates are found; without, nothing is said of them.

    Raises:
        SplitError: a split cannot be read, selects nothing or overlaps another.
        LabelError: one class only, labels out of range, a class that train or test lacks, or of which train has
            fewer images than shots.
        ViewMissing: a view of a training image is not there.
        FeatureError: features that are not finite, or differ in dim.
        HeadNotFound, OptionError: there is no such head, or option.
    """
    plan = plan_probe(request, sets, view_sets)

    def train(data: TrainingData, where: str = "") -> Trained:
        say = on_progress or (lambda _: None)
        return find_head(request.head).train(data, plan.options, lambda text: say(f"{where}{text}"))

    if request.folds:
        return _run_folds(request, plan, sets, created=created, train=train, hashes=hashes)
    return run_planned(request, plan, sets, view_sets=view_sets, created=created, train=train, hashes=hashes)


def _run_folds(
    request: ProbeRequest,
    plan: Plan,
    sets: Mapping[str, FeatureSet],
    *,
    created: str,
    train: Callable[[TrainingData, str], Trained],
    hashes: Hashes | None,
) -> ProbeResult:
    """Test every image once, by heads that have not seen it, and keep a head of all of them; see `probe.nested`."""
    grouped = _grouping(request, hashes)
    (whole, *_), shown = _shown(_select_parts(plan, sets, grouped, has_test=False), _class_names(plan, sets))
    class_names = [name for name, is_shown in shown if is_shown]
    tested = replace(whole, name="test")
    warnings = _left_out(shown) + check_labels([whole], class_names) + shared_warnings([tested])
    data = _training_data([whole], [], len(class_names), request=request)
    started = time.perf_counter()
    probabilities = predict_by_folds(data, request.folds, lambda of, where: _finite(train(of, where), request.head))
    trained = _finite(train(data, ""), request.head)
    known = all_known([tested], hashes)
    near = stand_near_others(tested, known, units_of(tested.contents, tested.groups)[0]) if known else None
    metrics = evaluate([tested], probabilities, None, is_near=near)
    warnings += [near_warning(near, metrics)] if near is not None and near.any() else []
    seconds = time.perf_counter() - started
    method = f"{trained.selection['method']}; the metrics are of {request.folds} heads that were selected likewise"
    found = _Tested([whole, tested], class_names, data, trained, probabilities, metrics, seconds, created, near)
    result = _result(request, plan, sets, found=found, warnings=warnings)
    return replace(result, selection={**trained.selection, "method": method})


def run_planned(
    request: ProbeRequest,
    plan: Plan,
    sets: Mapping[str, FeatureSet],
    *,
    view_sets: ViewSets = (),
    created: str,
    train: Callable[[TrainingData], Trained],
    predict: Callable[[np.ndarray, int], np.ndarray] | None = None,
    hashes: Hashes | None = None,
) -> ProbeResult:
    """Train what is asked for and test it once; see `run_probe`.

    Args:
        request: the probe.
        plan: what it means on these sets.
        sets, view_sets, created: see `run_probe`.
        train: returns what was trained.
        predict: of features (N, D) and the number of classes, (N, K) probabilities; without, those of the trained head.
        hashes: see `run_probe`.
    """
    whole, shown = _shown(_select_parts(plan, sets, _grouping(request, hashes)), _class_names(plan, sets))
    class_names = [name for name, is_shown in shown if is_shown]
    parts = _limited(whole, request, plan, class_names=class_names)
    test = parts[-1]
    warnings = _left_out(shown)
    warnings += (
        ["there is no base split 'test': tested on 'validation'"] if _is_validation_tested(request, plan) else []
    )
    is_thin_meant = _shots(request) is not None
    warnings += check_labels(parts, class_names, is_thin_meant=is_thin_meant, is_drawn=_is_test_drawn(request, plan))
    warnings += shared_warnings(parts)
    views = [view_part(parts[0], number, of_view) for number, of_view in enumerate(view_sets[: request.views], 1)]
    data = _training_data(parts[:-1], views, len(class_names), request=request)
    started = time.perf_counter()
    trained = _finite(train(data), request.head)
    tested = test.read()
    probabilities = predict(tested, len(class_names)) if predict else predict_proba(trained.head, tested)
    known = all_known(parts, hashes)
    is_near = stand_near(parts, known) if known else None
    metrics = evaluate(parts, probabilities, trained.held_out, is_near=is_near)
    near = is_near & ~stand_before(parts) if is_near is not None else None
    warnings += [near_warning(near, metrics)] if near is not None and near.any() else []
    seconds = time.perf_counter() - started
    found = _Tested(parts, class_names, data, trained, probabilities, metrics, seconds, created, near)
    return _result(request, plan, sets, found=found, warnings=warnings)


def _finite(trained: Trained, head: str) -> Trained:
    """Return what was trained, if its numbers are finite."""
    arrays = kept_arrays(trained.head).items()
    if not all(np.isfinite(array).all() for name, array in arrays if name.endswith(("kernel", "bias"))):
        raise FeatureError(f"{head}: the trained head holds NaN or infinity; lower the learning rate.")
    return trained


@dataclass(frozen=True)
class _Tested:
    """What a training and its test came to.

    Attributes:
        parts: what was trained on, and last the test part.
        class_names: K.
        data: what was trained on.
        trained: the head.
        probabilities: (N, K) of the test rows.
        metrics: of the test.
        seconds: from selection to metrics.
        created: UTC, ISO 8601 to the second.
        near: (N,) which test images have a near duplicate among those trained on; None where nobody knows.
    """

    parts: Sequence[Part]
    class_names: Sequence[str]
    data: TrainingData
    trained: Trained
    probabilities: np.ndarray
    metrics: dict[str, float]
    seconds: float
    created: str
    near: np.ndarray | None


def _result(
    request: ProbeRequest, plan: Plan, sets: Mapping[str, FeatureSet], *, found: _Tested, warnings: list[str]
) -> ProbeResult:
    test, trained, data = found.parts[-1], found.trained, found.data
    return ProbeResult(
        run_id=plan.run_id,
        config={**_config(request, plan), **_of_features(sets[plan.train[0].base])},
        counts={
            "n_train": data.images,
            **({"n_train_rows": len(data.labels)} if request.views else {}),
            "n_validation": trained.n_validation,
            "n_test": len(test),
            # In folds, no head has seen the images that it is tested on.
            "n_test_duplicates": 0 if request.folds else int(stand_before(found.parts).sum()),
            **({} if found.near is None else {"n_test_near_duplicates": int(found.near.sum())}),
            "dim": int(data.features.shape[1]),
            "classes": len(found.class_names),
        },
        selection=trained.selection,
        metrics=found.metrics,
        class_names=tuple(found.class_names),
        predictions=_predictions(test, found.probabilities),
        probabilities=_probabilities(found.parts, found.probabilities, trained.held_out),
        curves=trained.curves,
        head=kept_arrays(trained.head),
        fit=trained.fit,
        warnings=(*warnings, *trained.warnings),
        seconds=found.seconds,
        created=found.created,
        versions={name: _version(name) for name in ("linprobe", *trained.packages)},
    )


def select_parts(
    request: ProbeRequest,
    sets: Mapping[str, FeatureSet],
    *,
    protocol: int = PROTOCOL_VERSION,
    hashes: Hashes | None = None,
) -> list[tuple[str, Part]]:
    """Return the parts that a probe would use: train, validation where there is a split for it, and test.

    Args:
        request: the probe; its head does not matter.
        sets: base split → its set, all of one extractor.
        protocol: the version whose draws are meant.
        hashes: perceptual hashes of the images; a request that groups near duplicates needs all of them.

    Returns:
        Each part with the split that it is, as text.

    Raises:
        SplitError: a split cannot be read, selects nothing or overlaps another.
        LabelError: the sets differ in their classes, or train has fewer images of one than shots.
    """
    plan = plan_probe(request, sets)
    if request.folds:
        (part,) = _select_parts(plan, sets, _grouping(request, hashes), has_test=False)
        return [(plan.splits.train, part), (plan.splits.test, replace(part, name="test"))]
    whole, shown = _shown(_select_parts(plan, sets, _grouping(request, hashes)), _class_names(plan, sets))
    labels = np.flatnonzero([is_shown for _, is_shown in shown])
    names = [name for name, is_shown in shown if is_shown]
    parts = _limited(whole, request, plan, class_names=names, protocol=protocol)
    # Labels as the sets have them: whoever takes the parts knows the sets' class names.
    parts = [replace(part, labels=labels[part.labels]) for part in parts]
    texts = {"train": plan.splits.train, "validation": plan.splits.validation, "test": plan.splits.test}
    return [(str(texts[part.name]), part) for part in parts]


def _grouping(request: ProbeRequest, hashes: Hashes | None) -> Hashes | None:
    """Return by which hashes near duplicates are grouped; None where they are not."""
    return (hashes or {}) if request.group_duplicates else None


def _is_validation_tested(request: ProbeRequest, plan: Plan) -> bool:
    return request.test is None and plan.splits.test == "validation"


def _is_test_drawn(request: ProbeRequest, plan: Plan) -> bool:
    return request.test is None and any(isinstance(term, Draw) for term in plan.test)


def _class_names(plan: Plan, sets: Mapping[str, FeatureSet]) -> list[str]:
    found = {base: sets[base].class_names for base in plan.sets}
    first = next(iter(found))
    for base, names in found.items():
        if names != found[first]:
            raise LabelError(
                f"{base!r} has other classes than {first!r}: {', '.join(names[:5])} … against "
                f"{', '.join(found[first][:5])} …; a head needs one list of classes."
            )
    return found[first]


def _shown(parts: list[Part], class_names: list[str]) -> tuple[list[Part], list[tuple[str, bool]]]:
    """Return the parts with labels that count the classes which one of them shows, and which those are.

    A dataset may declare more classes than it uses (37 letters of which 26 occur), and an array label from 1.
    """
    everywhere = np.concatenate([part.labels for part in parts])
    is_shown = np.zeros(len(class_names), bool)
    in_range = (everywhere >= 0) & (everywhere < len(class_names))
    is_shown[everywhere[in_range]] = True
    shown = list(zip(class_names, is_shown.tolist(), strict=True))
    if is_shown.all() or not in_range.all():
        # A label out of range is told by who checks them.
        return parts, [(name, True) for name in class_names]
    place = np.cumsum(is_shown) - 1
    return [replace(part, labels=place[part.labels]) for part in parts], shown


def _left_out(shown: list[tuple[str, bool]]) -> list[str]:
    names = [name for name, is_shown in shown if not is_shown]
    if not names:
        return []
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return [f"left out, since no image shows them: {len(names)} of {len(shown)} classes ({listed})"]


def _select_parts(
    plan: Plan, sets: Mapping[str, FeatureSet], hashes: Hashes | None, *, has_test: bool = True
) -> list[Part]:
    """Return train, validation if there is one, and test; train alone where every image of it is tested.

    Args:
        plan: of the probe.
        sets: base split → its set.
        hashes: by which near duplicates are one group; None leaves groups as they are.
    """
    tables = {base: SetTable(sets[base]) for base in plan.sets}
    if hashes is not None:
        for table in tables.values():
            table.groups = group_near(table.contents, table.groups, hashes)
    parts = [select_part("train", plan.splits.train, plan.train, tables=tables)]
    if plan.validation:
        parts.append(select_part("validation", plan.splits.validation, plan.validation, tables=tables))
    if not has_test:
        return parts
    parts.append(select_part("test", plan.splits.test, plan.test, tables=tables))
    check_overlap(parts)
    return parts


def _limited(
    parts: list[Part],
    request: ProbeRequest,
    plan: Plan,
    *,
    class_names: list[str],
    protocol: int = PROTOCOL_VERSION,
) -> list[Part]:
    """Return the parts with train limited as the request asks; a plan that limits it has no validation part."""
    if not request.is_limited:
        return parts
    # A label out of range has no name that a message about shots could give.
    check_labels(parts, class_names, is_drawn=_is_test_drawn(request, plan))
    limits = Limits(_shots(request), request.train_share, request.seed, keeps_classes=protocol >= _KEEPING)
    train = limit_part(parts[0], limits, class_names)
    return [train, *parts[1:]]


def _shots(request: ProbeRequest) -> int | None:
    return None if request.shots == "all" else int(request.shots)


def _training_data(parts: list[Part], views: list[Part], classes: int, *, request: ProbeRequest) -> TrainingData:
    contents = [content for part in parts for content in part.contents]
    groups = [group for part in parts for group in part.groups]
    units, tokens = units_of(contents, groups)
    every = (*parts, *views)
    if len({part.dim for part in every}) > 1:
        dims = ", ".join(f"{part.name} {part.dim}" for part in every)
        raise FeatureError(f"the parts differ in dim ({dims}); give sets of one extractor.")
    # Where they stay: parts that are joined afterwards would be in memory twice.
    features = np.empty((sum(map(len, every)), every[0].dim), np.float32)
    ends = np.cumsum([len(part) for part in every])
    for part, rows in zip(every, np.split(features, ends[:-1]), strict=True):
        part.read(rows)
    return TrainingData(
        features=features,
        labels=np.concatenate([part.labels for part in (*parts, *views)]),
        units=units,
        tokens=tokens,
        official_validation=len(parts[1]) if len(parts) > 1 else 0,
        classes=classes,
        seed=request.seed,
        metric=request.metric,
        shots=_shots(request),
        contents=contents,
        view_of=np.tile(np.arange(len(parts[0])), len(views)),
        view_numbers=np.repeat(np.arange(1, len(views) + 1), len(parts[0])),
    )


def _config(request: ProbeRequest, plan: Plan) -> dict[str, object]:
    return {
        "dataset": request.dataset,
        "extractor": request.extractor,
        "head": request.head,
        "options": plan.options.document(),
        "train": plan.splits.train,
        "validation": plan.splits.validation,
        "test": plan.splits.test,
        "seed": request.seed,
        "shots": request.shots,
        "train_share": float(request.train_share),
        "metric": request.metric,
        "sets": dict(plan.sets),
        "protocol": PROTOCOL_VERSION,
        **({"views": request.views, "view_sets": list(plan.view_sets)} if request.views else {}),
        **({"folds": request.folds} if request.folds else {}),
        **({"group_duplicates": True} if request.group_duplicates else {}),
    }


def _of_features(features: FeatureSet) -> dict[str, str]:
    """Return which features those are, for tables of results."""
    return {
        "pool_key": features.pool_digest,
        "weights_sha256": features.pool_key.weights_sha256,
        "preset": features.provenance.preset,
    }


def _predictions(test: Part, probabilities: np.ndarray) -> "pd.DataFrame":
    import pandas as pd

    predicted = probabilities.argmax(axis=1)
    columns = {
        "example_id": list(test.example_ids),
        "content_sha256": list(test.contents),
        "group": list(test.groups),
        "label": test.labels,
        "predicted": predicted,
        "is_correct": predicted == test.labels,
        "confidence": probabilities.max(axis=1),
        "label_probability": probabilities[np.arange(len(test)), test.labels],
    }
    return pd.DataFrame(columns)[list(PREDICTION_COLUMNS)]


def _probabilities(parts: Sequence[Part], tested: np.ndarray, held_out: HeldOut | None) -> "pd.DataFrame":
    """Return what is kept of every class: of the test rows, and of training images by fits that had not seen them."""
    import pandas as pd

    test, frames, found = parts[-1], [], [tested]
    frames.append(_rows("test", test.example_ids, test.contents, labels=test.labels))
    if held_out is not None:
        ids = [example_id for part in parts[:-1] for example_id in part.example_ids]
        contents = [content for part in parts[:-1] for content in part.contents]
        at = held_out.rows.tolist()
        frames.append(
            _rows("held_out", [ids[row] for row in at], [contents[row] for row in at], labels=held_out.labels)
        )
        found.append(held_out.probabilities)
    return probability_table(pd.concat(frames, ignore_index=True), np.concatenate(found))


def _rows(part: str, ids: Sequence[str], contents: Sequence[str], *, labels: np.ndarray) -> "pd.DataFrame":
    import pandas as pd

    columns = {"part": part, "example_id": list(ids), "content_sha256": list(contents), "label": labels}
    return pd.DataFrame(columns)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        # A checkout that is run without being installed.
        return "unknown"
