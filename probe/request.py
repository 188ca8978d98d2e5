"""What is asked of a probe, what that means on the sets at hand, and the name of its run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from probe.errors import ProbeError, SplitError, nearest
from probe.heads.options import HeadOptions
from probe.heads.registry import default_options, resolve_options
from probe.splits import Range, Slice, base_splits, drawn, parse_split
from probe.views import ViewSets, require_view_sets
from store import FeatureSet
from store.documents import digest
from store.metrics import SELECTION_METRICS

__all__ = [
    "PROTOCOL_VERSION",
    "Plan",
    "ProbeRequest",
    "Splits",
    "plan_probe",
    "question_of",
    "resolve",
    "run_id",
    "training_splits",
]

# Part of every run id. Raise it when equal inputs give other numbers than before.
PROTOCOL_VERSION = 3


@dataclass(frozen=True)
class ProbeRequest:
    """One probe, as it is asked for.

    Attributes:
        dataset: what the dataset is called; only for the record.
        extractor: what the extractor is called; only for the record.
        head: one of `probe.HEADS`.
        options: the head's options that differ from `probe.default_options(head)`.
        train: a split, or None for the default; see `resolve`.
        validation: a split, or None.
        test: a split, or None.
        seed: of everything that is drawn.
        shots: training examples per class, or `"all"`. Fewer shots are among the more of the same seed.
        train_share: the share of train to use, above 0 and up to 1. Smaller shares lie within larger ones.
        metric: what selection goes by, one of `store.metrics.SELECTION_METRICS`.
        views: how many views of each training image are trained on beside it.
        folds: of nested cross-validation: every image is tested once; 0 for a test part.
        group_duplicates: whether near duplicates are one group, so that no draw and no fold parts them.
        is_beside_limited: whether limited runs stand beside it, with which it is to share the test part.
    """

    dataset: str
    extractor: str
    head: str
    options: Mapping[str, Any] = field(default_factory=dict)
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    seed: int = 0
    shots: int | str = "all"
    train_share: float = 1.0
    metric: str = "accuracy"
    views: int = 0
    folds: int = 0
    group_duplicates: bool = False
    is_beside_limited: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether training gets less than all of train; it then gets nothing of validation either."""
        return self.shots != "all" or self.train_share != 1.0


@dataclass(frozen=True)
class Splits:
    """The three parts as text; `validation` is empty where the protocol draws it from train."""

    train: str
    validation: str
    test: str


@dataclass(frozen=True)
class Plan:
    """A request that was checked against the sets at hand.

    Attributes:
        splits: the parts as text.
        train, validation, test: the parts' terms; no validation has none.
        options: the head's options, all of them.
        sets: base split → set key, of the base splits that the parts name.
        view_sets: of each view likewise, of the base splits that train names.
        run_id: see `run_id`.
    """

    splits: Splits
    train: tuple[Slice, ...]
    validation: tuple[Slice, ...]
    test: tuple[Slice, ...]
    options: HeadOptions
    sets: Mapping[str, str]
    view_sets: tuple[Mapping[str, str], ...]
    run_id: str


def resolve(request: ProbeRequest, sets: Mapping[str, FeatureSet]) -> Splits:
    """Fill in the parts that a request leaves open.

    With a base split `test`: train on `train`, test on `test`, select on `validation` if there is one. With `train` and
    `validation` alone (ImageNet, whose test labels are not published): test on `validation`, select on rows of train.
    With one base split only, that is not called `test`: the seed draws 80% to train and 20% to test, whose classes are
    kept in both where they can be. Limited runs are tested on what seed 0 draws, whatever their own seed.
    Where train is limited, by shots or by share, there is no validation part: the head would see more than it may.

    Args:
        request: the probe.
        sets: base split → its set.

    Raises:
        SplitError: the base splits leave open what to train or to test on.
    """
    names = sorted(sets)
    if not names:
        raise SplitError(f"{request.dataset}: no set of {request.extractor} to train on.")
    train, test = request.train, request.test
    if request.folds:
        return _whole(request, names)
    # Who has extracted `test` alone has not meant to train on a part of it.
    if train is None and test is None and len(names) == 1 and names != ["test"]:
        only = names[0]
        seed = 0 if request.is_limited or request.is_beside_limited else request.seed
        train, test = drawn(only, seed, ":80%"), drawn(only, seed, "80%:")
    listed = f"base splits: {', '.join(names)}"
    if train is None:
        if "train" not in names:
            raise SplitError(f"{request.dataset}: no base split 'train'; say what to train on with --train ({listed}).")
        train = "train"
    if test is None:
        if request.validation is None and names == ["train", "validation"]:
            test = "validation"
        elif "test" not in names:
            raise SplitError(f"{request.dataset}: no base split 'test'; say what to test on with --test ({listed}).")
        else:
            test = "test"
    validation = None if request.is_limited else request.validation
    if validation is None and not request.is_limited and "validation" in names:
        counts = {name: sets[name].candidates for name in names}
        used = {term.base for term in parse_split(train, counts) + parse_split(test, counts)}
        # Someone who trains or tests on rows of `validation` has given it another part.
        validation = None if "validation" in used else "validation"
    return Splits(train.strip(), (validation or "").strip(), test.strip())


def _whole(request: ProbeRequest, names: list[str]) -> Splits:
    """Return what nested cross-validation is of: what is to be trained on, or the only base split."""
    if request.test or request.validation:
        raise SplitError(
            f"folds = {request.folds}: every image is tested once, and there is no other part; leave test and "
            "validation out, or folds."
        )
    listed = f"base splits: {', '.join(names)}"
    whole = request.train or (names[0] if len(names) == 1 else "train")
    if request.train is None and whole not in names:
        raise SplitError(f"folds = {request.folds}: say what to put into folds with --train ({listed}).")
    return Splits(whole.strip(), "", whole.strip())


def training_splits(request: ProbeRequest, sets: Mapping[str, FeatureSet]) -> list[str]:
    """Return the base splits whose images a request trains on: those that need views, where there are any.

    Raises:
        SplitError: the base splits leave open what to train on.
    """
    return base_splits(resolve(request, sets).train, list(sets))


def plan_probe(
    request: ProbeRequest,
    sets: Mapping[str, FeatureSet],
    view_sets: ViewSets = (),
    *,
    options: HeadOptions | None = None,
) -> Plan:
    """Check a request against the sets at hand; reads no features, labels or ledgers.

    Args:
        request: the probe.
        sets: base split → its set.
        view_sets: of view 1, view 2, … likewise.
        options: of a classifier that is no head of ours; else those of the request.

    Raises:
        SplitError, HeadNotFound, OptionError, ViewMissing, ProbeError: see the message.
    """
    _check_values(request)
    options = options or resolve_options(request.head, request.options)
    splits = resolve(request, sets)
    counts = {name: features.candidates for name, features in sets.items()}
    train = _parse("train", splits.train, counts)
    validation = _parse("validation", splits.validation, counts) if splits.validation else ()
    test = _parse("test", splits.test, counts)
    keys = {term.base: sets[term.base].key for term in train + validation + test}
    views = _view_keys(request.views, train, view_sets)
    identity = {
        "head": request.head,
        "metric": request.metric,
        "options": options.document(),
        "protocol": PROTOCOL_VERSION,
        "seed": request.seed,
        "sets": keys,
        "shots": request.shots,
        "test": _document(test),
        "train": _document(train),
        "train_share": float(request.train_share),
        "validation": _document(validation),
        # Runs without views keep the names that they had before there were any.
        **({"views": views} if views else {}),
        **({"folds": request.folds} if request.folds else {}),
        **({"group_duplicates": True} if request.group_duplicates else {}),
    }
    sorted_keys = dict(sorted(keys.items()))
    return Plan(splits, train, validation, test, options, sorted_keys, tuple(views), digest(identity))


def _view_keys(views: int, train: tuple[Slice, ...], view_sets: ViewSets) -> list[dict[str, str]]:
    splits = sorted({term.base for term in train})
    require_view_sets(views, splits, view_sets)
    return [{split: of_view[split].key for split in splits} for of_view in view_sets[:views]]


def _check_values(request: ProbeRequest) -> None:
    shots, seed, share = request.shots, request.seed, request.train_share
    if shots != "all" and (isinstance(shots, bool) or not isinstance(shots, int) or shots < 1):
        raise ProbeError(f"shots = {shots!r}: a number of examples per class from 1 on, or 'all', expected.")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise ProbeError(f"train_share = {share!r}: a number above 0 and up to 1 expected.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ProbeError(f"seed = {seed!r}: an integer from 0 to 4294967295 expected.")
    if isinstance(request.views, bool) or not isinstance(request.views, int) or request.views < 0:
        raise ProbeError(f"views = {request.views!r}: a number from 0 on expected.")
    if isinstance(request.folds, bool) or not isinstance(request.folds, int) or request.folds < 0 or request.folds == 1:
        raise ProbeError(f"folds = {request.folds!r}: 2 or more expected, or 0 for a test part.")
    if request.folds and (request.is_limited or request.views):
        raise ProbeError(f"folds = {request.folds}: not with shots, shares of train or views; leave one of them out.")
    if request.metric not in SELECTION_METRICS:
        raise ProbeError(f"metric = {request.metric!r}: {nearest(str(request.metric), SELECTION_METRICS)}.")


def run_id(request: ProbeRequest, sets: Mapping[str, FeatureSet], view_sets: ViewSets = ()) -> str:
    """Return the name of the run that a request gives on these sets: 64 hexadecimal digits.

    SHA-256 of set keys, resolved splits, head, options (defaults filled in), metric, seed, shots, share of train
    and protocol version. What dataset and extractor are called is not in it.
    """
    return plan_probe(request, sets, view_sets).run_id


def question_of(request: ProbeRequest, own: HeadOptions | None = None) -> dict[str, Any]:
    """Return what is asked, as plain data: the same for every night that asks it, whatever images it finds.

    Splits stand as they are asked for, `None` where the protocol chooses; options that equal their defaults are left
    out, so that a version with more options asks the same.

    Args:
        request: the probe.
        own: options of a classifier that is no head of ours.

    Raises:
        HeadNotFound, OptionError: see the message.
    """
    options = (own or resolve_options(request.head, request.options)).document()
    defaults = {} if own else default_options(request.head)
    return {
        "dataset": request.dataset,
        "extractor": request.extractor,
        "head": request.head,
        "options": {name: value for name, value in options.items() if value != defaults.get(name)},
        "seed": request.seed,
        "shots": request.shots,
        "train_share": float(request.train_share),
        "views": request.views,
        "metric": request.metric,
        **{name: _stripped(getattr(request, name)) for name in ("train", "validation", "test")},
        **({"folds": request.folds} if request.folds else {}),
        **({"group_duplicates": True} if request.group_duplicates else {}),
        # Another question only where it has another answer.
        **(
            {"is_beside_limited": True} if request.is_beside_limited and request.seed and not request.is_limited else {}
        ),
    }


def _stripped(split: str | None) -> str | None:
    return split.strip() if split and split.strip() else None


def _parse(part: str, spec: str, counts: Mapping[str, int]) -> tuple[Slice, ...]:
    terms = parse_split(spec, counts)
    if not terms:
        raise SplitError(f"{part} = {spec!r} selects nothing.")
    return terms


def _document(terms: tuple[Slice, ...]) -> list[list[Any]]:
    return [
        [term.base, term.start, term.stop]
        if isinstance(term, Range)
        else [term.base, *(["draw"] if term.keeps_classes else []), term.seed, term.low, term.high]
        for term in terms
    ]
