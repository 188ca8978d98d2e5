"""Training on views: a view goes where its image goes, and nothing is ever validated or tested on one."""

import dataclasses
import hashlib
from functools import cached_property

import numpy as np
import pytest

from probe import FeatureError, ProbeError, ProbeRequest, ViewMissing, predict_proba, restore_head, run_id, run_probe
from probe.draws import units_of
from probe.heads import knn
from probe.heads.dense import DenseHead
from probe.heads.logistic import LogisticHead
from probe.heads.registry import find_head, resolve_options
from probe.heads.ridge_path import RidgePath
from probe.heads.wide import WideDense
from probe.request import training_splits
from probe.selection import make_folds
from probe.sweep import SoftmaxPath
from probe.training import TrainingData
from store import FeatureSet

REQUEST = ProbeRequest("made", "arrays", "logistic", views=2)
CREATED = "2026-11-24T00:00:00Z"


def run(sets, view_sets, **fields):
    return run_probe(dataclasses.replace(REQUEST, **fields), sets, view_sets, created=CREATED)


@pytest.fixture
def views(lab, blobs):
    """Two views of each training image of `blob_sets`, in an order of their own."""
    features, labels = blobs(120, 4, 8, seed=1)
    order = np.random.default_rng(0).permutation(120)
    names = [f"train picture {at}" for at in order]
    return [
        {"train": lab.publish("train", features[order] + 0.1 * number, labels[order], contents=names)}
        for number in (1, 2)
    ]


def by_hand(sets, views) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and labels of train and of its views, put together image by image."""
    train = sets["train"]
    rows, labels = [np.asarray(train.features)], [np.asarray(train.labels)]
    for of_view in views:
        found = of_view["train"]
        row_of = {content.tobytes(): row for content, row in zip(found.content_sha256, found.features[:], strict=True)}
        rows.append(np.stack([row_of[content.tobytes()] for content in train.content_sha256]))
        labels.append(np.asarray(train.labels))
    return np.concatenate(rows), np.concatenate(labels)


# Which rows are fitted on


@dataclasses.dataclass
class Fits:
    """What heads were fitted on, by the first feature: the number of the row."""

    fitted: list[np.ndarray] = dataclasses.field(default_factory=list)

    def saw(self, features, rows=None) -> None:
        seen = np.asarray(features)[:, 0] if rows is None else np.asarray(features)[rows, 0]
        self.fitted.append(np.round(seen).astype(int))


@pytest.fixture
def fits(monkeypatch) -> Fits:
    """Every place where the four heads take rows to fit on, watched."""
    fits = Fits()
    softmax, ridge = SoftmaxPath.__init__, RidgePath.__init__
    dense, wide, neighbours, scaler = DenseHead.fit, WideDense.fit, knn.find_neighbours, knn.fit_scaler

    def watched_softmax(self, features, labels, classes, *, folds, **named):
        for fold in folds:
            fits.saw(features, fold)
        softmax(self, features, labels, classes, folds=folds, **named)

    def watched_ridge(self, features, labels, classes, *, rows, scaling):
        fits.saw(features, rows)
        ridge(self, features, labels, classes, rows=rows, scaling=scaling)

    def watched_dense(self, features, *rest, **named):
        fits.saw(features)
        dense(self, features, *rest, **named)

    def watched_wide(self, features, labels, rows, *rest, **named):
        fits.saw(features, rows)
        return wide(self, features, labels, rows, *rest, **named)

    def watched_neighbours(queries, bank, count):
        fits.saw(bank._features, bank._selected)
        return neighbours(queries, bank, count)

    def watched_scaler(kind, features):
        fits.saw(features)
        return scaler(kind, features)

    monkeypatch.setattr(SoftmaxPath, "__init__", watched_softmax)
    monkeypatch.setattr(RidgePath, "__init__", watched_ridge)
    monkeypatch.setattr(DenseHead, "fit", watched_dense)
    monkeypatch.setattr(WideDense, "fit", watched_wide)
    monkeypatch.setattr(knn, "find_neighbours", watched_neighbours)
    monkeypatch.setattr(knn, "fit_scaler", watched_scaler)
    return fits


def numbered(images: int, views: int, official: int = 0, shared: int = 0) -> TrainingData:
    """Images of three classes and views of those of train; row n has n as its first feature.

    The last `official` images are a validation part; of the first, `shared` pairs are equal images.
    """
    rng = np.random.default_rng(0)
    train = images - official
    view_of = np.tile(np.arange(train), views)
    labels = np.arange(images) // 2 % 3
    labels = np.concatenate([labels, labels[view_of]])
    features = (rng.normal(size=(len(labels), 5)) + labels[:, None]).astype(np.float32)
    features[:, 0] = np.arange(len(labels))
    names = [at - at % 2 if at < 2 * shared else at for at in range(images)]
    contents = [hashlib.sha256(str(name).encode()).hexdigest() for name in names]
    units, tokens = units_of(contents, [""] * images)
    return TrainingData(
        features, labels, units, tokens, official, 3, 0, contents,
        view_of=view_of, view_numbers=np.repeat(np.arange(1, views + 1), train),
    )  # fmt: skip


# The last number: how many images are an official validation part; without one, folds or a tenth are drawn.
@pytest.mark.framework
@pytest.mark.parametrize(
    ("head", "options", "official"),
    [
        ("logistic", {}, 0),
        ("logistic", {}, 12),
        ("ridge", {}, 0),
        ("ridge", {}, 12),
        ("knn", {"k": [1, 5]}, 0),
        ("knn", {"k": [1, 5]}, 12),
        ("dense", {"epochs": 1}, 0),
        ("dense", {"epochs": 1, "learning_rate": [1e-3, 1e-2], "patience": 1}, 12),
    ],
)
def test_no_view_of_an_image_that_is_held_out_reaches_a_fit(head, options, official, fits):
    data = numbered(60, 3, official, shared=8)
    trained = find_head(head).train(data, resolve_options(head, options), lambda _: None)
    selecting, final = fits.fitted[:-1], fits.fitted[-1]
    assert selecting
    for rows in selecting:
        images = rows[rows < 60]
        shown = data.view_of[rows[rows >= 60] - 60]
        # Every view shows an image that the fit sees itself, of which none is held out, and all of them are there.
        assert set(shown) == set(images) - set(range(60 - official, 60))
        assert len(shown) == 3 * len(set(shown))
        held_out = np.setdiff1d(np.arange(60), images)
        assert len(held_out)
        # Nor does one that shows the same image under another id.
        assert not set(data.units[shown]) & set(data.units[held_out])
    # In the end nothing is held out: all images, and all views of those of train.
    assert sorted(final) == list(range(len(data.labels)))
    assert trained.held_out is not None
    assert set(trained.held_out.labels) == {0, 1, 2}


def test_folds_hold_out_the_same_images_with_views_and_without():
    with_views, without = make_folds(numbered(60, 3, shared=8)), make_folds(numbered(60, 0, shared=8))
    assert with_views is not None
    assert without is not None
    assert with_views.method == without.method
    for (train, held_out), (plain, held) in zip(with_views.pairs, without.pairs, strict=True):
        assert np.array_equal(held_out, held)
        assert np.array_equal(train[train < 60], plain)
        assert len(train) == 4 * len(plain)
        assert (np.diff(train) > 0).all()


def test_whether_to_cross_validate_is_a_matter_of_images_and_not_of_their_views():
    folds = make_folds(numbered(1800, 3))
    assert folds is not None
    assert folds.n_validation == 0


class WatchedSet(FeatureSet):
    """A set that writes down the rows whose features are read."""

    def __init__(self, features: FeatureSet, read: list[int]) -> None:
        super().__init__(features.folder)
        self._read = read

    @cached_property
    def features(self):
        found, read = super().features, self._read

        class Watched:
            shape = found.shape

            def __getitem__(self, rows):
                read.extend(np.arange(len(found))[rows].tolist())
                return found[rows]

        return Watched()


def test_views_of_validation_and_test_images_are_never_read(blob_sets, views):
    # One base split for all three parts: views of every image are at hand.
    read: list[int] = []
    watched = [{"train": WatchedSet(of_view["train"], read)} for of_view in views]
    found = run(
        {"train": blob_sets["train"]}, watched, train="train[:60]", validation="train[60:90]", test="train[90:]"
    )
    contents = [f"train picture {at}" for at in range(60)]
    trained_on = {hashlib.sha256(name.encode()).digest() for name in contents}
    assert {views[0]["train"].content_sha256[row].tobytes() for row in read} == trained_on
    assert len(read) == 120
    assert found.counts["n_train"] == 90
    assert found.counts["n_train_rows"] == 60 + 30 + 2 * 60


# What becomes of them


@pytest.mark.heavy
def test_the_final_head_is_the_fit_of_all_rows_put_together_by_hand(blob_sets, views):
    found = run(blob_sets, views)
    rows, labels = by_hand(blob_sets, views)
    head = LogisticHead(found.fit["C"], 4)
    head.fit(rows, labels)
    assert np.allclose(found.head["kernel"], head.arrays()["kernel"], atol=1e-2 * np.abs(found.head["kernel"]).max())
    assert np.allclose(found.head["mean"], rows.mean(axis=0, dtype=np.float64))
    assert (found.counts["n_train"], found.counts["n_train_rows"], found.counts["n_test"]) == (120, 360, 60)
    assert found.fit["converged"]


@pytest.mark.heavy
def test_the_penalty_is_held_from_the_folds_to_the_refit_counting_views(blob_sets, views):
    logistic, ridge = run(blob_sets, views), run(blob_sets, views, head="ridge")
    # Five folds of 120 images train on 96 and 2 views of each: λ = 1 / (C N) = alpha / N.
    assert logistic.fit["penalty"] == pytest.approx(1 / (logistic.selection["selected"]["C"] * 288))
    assert ridge.fit["penalty"] == pytest.approx(ridge.selection["selected"]["alpha"] / 288)
    assert logistic.fit["C"] * 360 == pytest.approx(logistic.selection["selected"]["C"] * 288)


def test_shots_are_images_each_with_its_views(blob_sets, views):
    plain, seen = run(blob_sets, (), views=0, head="knn", shots=3), run(blob_sets, views, head="knn", shots=3)
    assert (seen.counts["n_train"], seen.counts["n_train_rows"]) == (12, 36)
    assert {row.tobytes() for row in seen.head["neighbour_contents"]} == {
        row.tobytes() for row in plain.head["neighbour_contents"]
    }
    assert np.bincount(seen.head["neighbour_labels"]).tolist() == [9] * 4
    assert np.bincount(seen.head["neighbour_views"]).tolist() == [12] * 3


def test_a_head_of_neighbours_finds_its_views_again(blob_sets, views):
    found = run(blob_sets, views, head="knn", options={"k": 3})
    restored = restore_head(found.head, blob_sets.values(), [of_view.values() for of_view in views])
    rows, _ = by_hand(blob_sets, views)
    assert np.array_equal(restored["neighbour_rows"], rows)
    probabilities = predict_proba(restored, np.asarray(blob_sets["test"].features))
    assert np.array_equal(probabilities.argmax(axis=1), found.predictions["predicted"])
    with pytest.raises(FeatureError, match="240 of the head's 360 training rows are in none of its sets"):
        restore_head(found.head, blob_sets.values())


# What a run is called, and what it says


@pytest.mark.heavy
def test_a_run_without_views_is_what_it_was(blob_sets, views):
    plain = dataclasses.replace(REQUEST, views=0)
    assert run_id(plain, blob_sets, views) == run_id(plain, blob_sets)
    found = run(blob_sets, views, views=0)
    assert not {"views", "view_sets"} & found.config.keys()
    assert "n_train_rows" not in found.counts
    assert "neighbour_views" not in run(blob_sets, views, views=0, head="knn").head


def test_how_many_views_and_which_sets_name_a_run(blob_sets, views, lab, blobs):
    other = [views[0], {"train": lab.publish("train", *blobs(120, 4, 8, seed=9))}]
    both = run_id(REQUEST, blob_sets, views)
    one = run_id(dataclasses.replace(REQUEST, views=1), blob_sets, views)
    assert len({both, one, run_id(REQUEST, blob_sets, other), run_id(REQUEST, blob_sets, views[::-1])}) == 4
    # What is not trained on names nothing.
    assert run_id(REQUEST, blob_sets, [{**of_view, "test": of_view["train"]} for of_view in views]) == both


@pytest.mark.heavy
def test_a_run_says_its_views_and_keeps_their_sets(blob_sets, views, lab):
    found = run(blob_sets, views)
    assert found.config["views"] == 2
    assert found.config["view_sets"] == [{"train": of_view["train"].key} for of_view in views]
    lab.store.publish_run(found)
    (row,) = lab.store.results().to_dict("records")
    assert (row["n_train"], row["n_train_rows"]) == (120, 360)
    kept = lab.store.run(found.run_id)
    assert kept.config == {**found.config, "folds": 0}


def test_a_view_that_is_not_there_is_named(blob_sets, views):
    with pytest.raises(ViewMissing, match=r"view 2 of 'train' expected, and no set of it found; .* views = 2"):
        run(blob_sets, views[:1])
    with pytest.raises(ViewMissing, match="view 1 of 'train' expected"):
        run(blob_sets, [{}, views[1]])


def test_an_image_without_its_view_is_named(blob_sets, views, lab, blobs):
    features, labels = blobs(120, 4, 8, seed=1)
    short = lab.publish("train", features[:118], labels[:118])
    with pytest.raises(ViewMissing, match=r"view 2 of 'train' lacks 2 of the 120 .*, such as 'train/0118.png'"):
        run(blob_sets, [views[0], {"train": short}])


@pytest.mark.heavy
def test_labels_are_those_of_the_images_set(blob_sets, views, lab, blobs):
    features, labels = blobs(120, 4, 8, seed=1)
    relabelled = [{"train": lab.publish("train", features + 0.1 * at, 3 - labels)} for at in (1, 2)]
    found, expected = run(blob_sets, relabelled, head="ridge"), run(blob_sets, views, head="ridge")
    # Sums of the same rows in another order.
    assert np.allclose(found.head["kernel"], expected.head["kernel"], atol=1e-8)


def test_views_of_another_dim_are_refused(blob_sets, lab, blobs):
    narrow = {"train": lab.publish("train", *blobs(120, 4, 5, seed=1))}
    with pytest.raises(FeatureError, match=r"differ in dim \(train 8, view 1 of train 5, view 2 of train 5\)"):
        run(blob_sets, [narrow, narrow])


@pytest.mark.parametrize("views", [-1, 1.0, True])
def test_an_impossible_number_of_views_is_refused(blob_sets, views):
    with pytest.raises(ProbeError, match=rf"views = {views}: a number from 0 on expected"):
        run(blob_sets, (), views=views)


def test_the_base_splits_that_are_trained_on_are_those_that_need_views(blob_sets):
    only = {"all": blob_sets["train"]}
    assert training_splits(REQUEST, blob_sets) == ["train"]
    assert training_splits(REQUEST, only) == ["all"]
    two = dataclasses.replace(REQUEST, train="train[:10%]+test[:50%]", test="test[50%:]")
    assert training_splits(two, blob_sets) == ["train", "test"]
