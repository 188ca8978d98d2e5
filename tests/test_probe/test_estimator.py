import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import probe
from probe import SoftmaxPathCV
from probe.objective import Objective

GRID = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


# On small data the choice often does.
pytestmark = pytest.mark.filterwarnings("ignore:the choice (still )?lies on the")


@pytest.mark.heavy
def test_it_passes_scikit_learns_checks():
    with warnings.catch_warnings():
        # One check needs SCIPY_ARRAY_API in the environment, and says so by a warning.
        warnings.simplefilter("ignore")
        results = check_estimator(SoftmaxPathCV(GRID), on_fail=None)
    assert len(results) > 40
    assert {(found["check_name"], str(found["exception"])) for found in results if found["status"] == "failed"} == set()


def test_probe_knows_no_other_name():
    with pytest.raises(AttributeError, match="no attribute 'SoftmaxPath'"):
        probe.SoftmaxPath  # noqa: B018


@pytest.mark.heavy
@pytest.mark.parametrize("scaling", ["none", "zscore", "l2"])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_head_is_logistic_regression_at_the_selected_c(classes, scaling, blobs):
    features, labels = blobs(200, classes, 6, seed=1, spread=2.0)
    found = SoftmaxPathCV(GRID, scaling=scaling, rule="best", keep_c=True).fit(features, labels)
    scaled = features.astype(np.float64)
    if scaling == "zscore":
        scaled = StandardScaler().fit_transform(scaled)
    elif scaling == "l2":
        scaled = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    expected = LogisticRegression(C=found.C_, tol=1e-10, max_iter=10_000).fit(scaled, labels)
    assert found.C_ in GRID
    assert found.refit_C_ == found.C_
    assert found.coef_.shape == expected.coef_.shape
    assert np.allclose(found.predict_proba(features), expected.predict_proba(scaled), atol=1e-3)
    assert np.allclose(found.decision_function(features), expected.decision_function(scaled), atol=1e-2)
    assert (found.predict(features) == expected.predict(scaled)).mean() > 0.99


@pytest.mark.heavy
def test_selection_equals_a_loop_over_folds_and_penalties(blobs):
    features, labels = blobs(150, 3, 6, seed=1, spread=2.5)
    found = SoftmaxPathCV(GRID, rule="best").fit(features, labels)
    for fold, (train, test) in enumerate(StratifiedKFold(5).split(features, labels)):
        for at, C in enumerate(GRID):
            model = LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(features[train], labels[train])
            # A row on the border may fall to either side.
            assert abs(found.scores_[fold, at] - model.score(features[test], labels[test])) <= 1.01 / len(test)
    assert GRID[int(found.scores_.mean(axis=0).argmax())] == found.C_
    assert found.refit_C_ == pytest.approx(0.8 * found.C_)


def test_one_standard_error_takes_the_stronger_penalty(blobs):
    features, labels = blobs(150, 3, 6, seed=1, spread=2.5)
    best, careful = (SoftmaxPathCV(GRID, rule=rule).fit(features, labels) for rule in ("best", "one_se"))
    mean = best.scores_.mean(axis=0)
    error = best.scores_[:, mean.argmax()].std(ddof=1) / np.sqrt(5)
    assert GRID[int(np.flatnonzero(mean >= mean.max() - error - 1e-12)[0])] == careful.C_
    assert careful.C_ <= best.C_


def test_every_fit_of_the_default_grid_is_certified(blobs, monkeypatch):
    # To the end, which is where fits are hard.
    monkeypatch.setattr("probe.sweep.search.PATIENCE", 0)
    features, labels = blobs(150, 3, 6, seed=1, spread=2.5)
    found = SoftmaxPathCV().fit(features, labels)
    # 1e-6 to 1e5 for features of variance 1.
    variance = features.astype(np.float64).var(axis=0).mean()
    for end in (1e-6, 1e5):
        assert np.isclose(found.Cs_, end / variance, rtol=1e-9).sum() == 1
    assert len(found.Cs_) >= 45
    assert found.certificate_.shape == found.scores_.shape == found.n_iter_.shape == (5, len(found.Cs_))
    assert (found.certificate_ <= 1e-4 * found.objective_).all()
    assert found.solution_.converged


def test_labels_may_be_strings(blobs):
    features, labels = blobs(90, 3, 5, seed=1)
    names = np.array(["cat", "dog", "ant"])[labels]
    found = SoftmaxPathCV(GRID).fit(features, names)
    assert found.classes_.tolist() == ["ant", "cat", "dog"]
    assert (found.predict(features) == names).mean() > 0.9
    assert found.score(features, names) > 0.9


def test_groups_never_part():
    # Labels are those of the group, and every row of a group is nearly the same: parted, each row would be known.
    features, labels, groups = grouped()
    apart = SoftmaxPathCV([10.0]).fit(features, labels, groups)
    parted = SoftmaxPathCV([10.0], cv=StratifiedKFold(5, shuffle=True, random_state=0)).fit(features, labels)
    given = SoftmaxPathCV([10.0], cv=GroupKFold(5)).fit(features, labels, groups)
    assert parted.scores_.mean() > 0.95
    assert apart.scores_.mean() < 0.8
    assert given.scores_.mean() < 0.8


def grouped():
    """20 groups of 6 rows: a row tells its group."""
    groups = np.arange(120) // 6
    rng = np.random.default_rng(0)
    features = np.eye(20, dtype=np.float32)[groups] + 0.01 * rng.normal(size=(120, 20)).astype(np.float32)
    return features, (groups * 7919 % 5 % 2).astype(int), groups


class Mapped:
    """Features as the store has them: no array, but shape, dtype, and slices of rows."""

    def __init__(self, features):
        self._features, self.shape, self.dtype = features, features.shape, features.dtype

    def __len__(self):
        return len(self._features)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self._features[rows]

    def __array__(self, *args, **kwargs):
        raise AssertionError("read as a whole")


@pytest.mark.parametrize("scaling", ["none", "zscore", "l2"])
def test_mapped_features_are_read_in_slices_and_give_the_same(scaling, blobs):
    features, labels = blobs(120, 3, 5, seed=1, spread=2.0)
    expected = SoftmaxPathCV(GRID, scaling=scaling).fit(features, labels)
    found = SoftmaxPathCV(GRID, scaling=scaling).fit(Mapped(features), labels)
    assert np.array_equal(found.scores_, expected.scores_)
    assert np.allclose(found.predict_proba(Mapped(features)), expected.predict_proba(features), atol=1e-12)
    with pytest.raises(ValueError, match="has 4 features, but 5 are expected"):
        found.predict(Mapped(features[:, :4]))
    broken = features.copy()
    broken[7, 2] = np.inf
    with pytest.raises(ValueError, match="contains NaN or infinity"):
        SoftmaxPathCV().fit(Mapped(broken), labels)
    with pytest.raises(ValueError, match="y of shape"):
        SoftmaxPathCV().fit(Mapped(features), labels[:-1])


@pytest.mark.heavy
def test_features_of_a_store_can_be_given(blob_sets):
    train, test = blob_sets["train"], blob_sets["test"]
    found = SoftmaxPathCV(scaling="zscore").fit(train.features, train.labels)
    assert found.score(test.features, test.labels) > 0.75


def test_it_stands_in_a_pipeline(blobs):
    features, labels = blobs(120, 3, 5, seed=1)
    piped = make_pipeline(StandardScaler(), SoftmaxPathCV(GRID)).fit(features, labels)
    assert piped.score(features, labels) > 0.9
    assert clone(piped[-1]).get_params() == piped[-1].get_params()


NOT_THERE = np.zeros(0, np.int64)
FOUR = np.arange(12) % 4


@pytest.mark.parametrize(
    ("cv", "groups", "told"),
    [
        (0, None, "n_splits=0"),
        (1, None, "n_splits=1"),
        (-3, None, "n_splits=-3"),
        ("five", None, "Expected `cv`"),
        ([], None, "gives no fold"),
        (7, None, "cv = 7 folds, and n_samples = 12, at most 6 of one class"),
        (5, FOUR, "cv = 5 folds of 4 groups"),
        (None, FOUR, "cv = 5 folds of 4 groups"),
        (GroupKFold(5), FOUR, "greater than the number of groups: 4"),
        (GroupKFold(3), None, "'groups' parameter should not be None"),
        ([(np.arange(6), np.arange(6, 12))], None, "fold 0 of cv trains on 1 class and holds 6 rows out"),
        ([(NOT_THERE, np.arange(12))], None, "trains on 0 classes"),
        ([(np.arange(12), NOT_THERE)], None, "holds 0 rows out"),
        ([(np.arange(12), np.array([12]))], None, "names rows of 12 that there are not"),
        ([(np.arange(12), np.ones(11, bool))], None, "names rows of 12 that there are not"),
    ],
)
def test_folds_that_select_nothing_are_refused_as_scikit_learn_does(cv, groups, told):
    labels = np.repeat([0, 1], 6)
    features = labels[:, None] + np.random.default_rng(0).normal(size=(12, 2))
    with pytest.raises(ValueError, match=re.escape(told)):
        SoftmaxPathCV(GRID, cv=cv).fit(features, labels, groups)


@pytest.mark.parametrize("cv", [np.int64(4), 4, None])
def test_a_number_of_folds_of_any_kind_keeps_groups_whole(cv, monkeypatch):
    features, labels, groups = grouped()
    seen = []
    monkeypatch.setattr("probe.estimator.search", lambda *given, pairs, **options: seen.extend(pairs) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        SoftmaxPathCV(GRID, cv=cv).fit(features, labels, groups)
    assert len(seen) == (5 if cv is None else 4)
    assert all(not set(groups[train]) & set(groups[test]) for train, test in seen)


def test_a_splitter_that_ignores_groups_says_so():
    with pytest.warns(UserWarning, match="groups parameter is ignored by StratifiedKFold"):
        SoftmaxPathCV([1.0], cv=StratifiedKFold(4)).fit(*grouped())


def test_masks_and_numbers_from_the_end_are_the_rows_that_they_name(blobs):
    features, labels = blobs(150, 3, 6, seed=2)
    mask = np.arange(150) < 100
    forms = [(mask, ~mask), (np.arange(100), np.arange(100, 150)), (np.arange(-150, -50), np.arange(-50, 0))]
    first, *others = (SoftmaxPathCV(GRID, cv=[pair]).fit(features, labels) for pair in forms)
    for other in others:
        np.testing.assert_array_equal(other.scores_, first.scores_)
        np.testing.assert_array_equal(other.nll_, first.nll_)
        np.testing.assert_array_equal(other.coef_, first.coef_)


@pytest.mark.parametrize("scaling", ["none", "zscore"])
@pytest.mark.parametrize("dim", [6, 60])
def test_a_row_that_a_fold_names_twice_counts_twice(scaling, dim, blobs):
    # Resampling with replacement; with 60 dimensions folds are fitted in the span of their rows.
    features, labels = blobs(90, 3, dim, seed=3)
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 60, 50), rng.integers(60, 90, 40)) for _ in range(3)]
    found = SoftmaxPathCV([0.1, 1.0], cv=pairs, scaling=scaling, tol=1e-8).fit(features, labels)
    for fold, (train, test) in enumerate(pairs):
        for at, C in enumerate([0.1, 1.0]):
            model = LogisticRegression(C=C, tol=1e-10, max_iter=10_000)
            peer = make_pipeline(StandardScaler(), model) if scaling == "zscore" else model
            peer.fit(features[train].astype(np.float64), labels[train])
            assert found.scores_[fold, at] == pytest.approx(peer.score(features[test], labels[test]))
            expected = log_loss(labels[test], peer.predict_proba(features[test].astype(np.float64)), labels=[0, 1, 2])
            assert found.nll_[fold, at] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("size", [1e-20, 1e-3, 7.0, 1e3, 1e15])
def test_unscaled_features_of_any_size_give_the_same_model(size, blobs):
    features, labels = blobs(120, 3, 10, seed=4, spread=3.0)
    features = features.astype(np.float64) + 2
    known = SoftmaxPathCV(cv=3).fit(features, labels)
    found = SoftmaxPathCV(cv=3).fit(features * size, labels)
    assert pytest.approx(known.C_ / size**2, rel=1e-9) == found.C_
    np.testing.assert_array_equal(found.scores_, known.scores_)
    np.testing.assert_allclose(found.nll_, known.nll_, atol=2e-3)
    np.testing.assert_allclose(found.predict_proba(features * size), known.predict_proba(features), atol=2e-3)
    assert found.n_iter_.sum() < 1.3 * known.n_iter_.sum()


@pytest.mark.parametrize("size", [1e-6, 1e4])
def test_at_any_size_the_optimum_and_its_gradient_are_scikit_learns(size, blobs):
    features, labels = blobs(120, 3, 6, seed=4, spread=3.0)
    features = size * features.astype(np.float64) + size
    C = 0.3 / size**2
    found = SoftmaxPathCV([C], cv=3, tol=1e-9, keep_c=True).fit(features, labels)
    # The same problem with the size taken out: kernels are divided by it.
    peer = LogisticRegression(C=0.3, tol=1e-12, max_iter=10_000).fit(features / size, labels)
    np.testing.assert_allclose(found.predict_proba(features), peer.predict_proba(features / size), atol=1e-4)
    np.testing.assert_allclose(found.coef_ * size, peer.coef_, rtol=1e-3, atol=1e-5)
    objective = Objective(features, labels, 3, penalty=1 / (found.refit_C_ * len(labels)))
    certificate = objective.certify(found.solution_.kernel, found.solution_.bias)
    assert found.solution_.objective == pytest.approx(certificate.objective, rel=1e-9)
    assert found.solution_.gradient_norm == pytest.approx(certificate.gradient_norm, rel=0.05, abs=1e-9 * size)


@pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")
def test_a_class_of_one_row_is_known(blobs):
    features, labels = blobs(61, 2, 4, seed=1)
    labels[60] = 2
    found = SoftmaxPathCV(GRID).fit(features, labels)
    assert found.predict_proba(features).shape == (61, 3)
    assert found.solution_.converged


@pytest.mark.parametrize(
    ("features", "labels", "told"),
    [
        (np.zeros((0, 3)), [], "0 sample"),
        (np.zeros((1, 3)), [0], "one class only"),
        (np.zeros((4, 3)), [1, 1, 1, 1], "one class only"),
        (np.full((4, 3), np.nan), [0, 1, 0, 1], "NaN"),
        (np.full((4, 3), np.inf), [0, 1, 0, 1], "infinity"),
        (np.zeros((4, 3)), [0, 1, 0], "inconsistent numbers"),
        (np.zeros((4, 3)), [0.1, 0.2, 0.3, 0.45], "Unknown label type"),
        (np.zeros(4), [0, 1, 0, 1], "2D array"),
    ],
)
def test_hostile_input_is_refused_in_words(features, labels, told):
    with pytest.raises(ValueError, match=told):
        SoftmaxPathCV().fit(features, labels)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"scaling": "zscor"}, "did you mean 'zscore'"),
        ({"rule": "worst"}, "rule = 'worst'"),
        ({"tol": 0.0}, "tol = 0.0"),
        ({"Cs": [0.1, -1.0]}, "Cs = "),
        ({"Cs": []}, "Cs = "),
    ],
)
def test_parameters_are_refused_in_words(parameters, told, blobs):
    with pytest.raises(ValueError, match=told):
        SoftmaxPathCV(**parameters).fit(*blobs(30, 2, 3, seed=1))


def test_features_that_say_nothing_give_the_class_shares():
    labels = np.array([0] * 50 + [1] * 30 + [2] * 20)
    found = SoftmaxPathCV(GRID).fit(np.ones((100, 3)), labels)
    assert np.allclose(found.predict_proba(np.ones((1, 3))), [[0.5, 0.3, 0.2]], atol=1e-6)


@pytest.mark.parametrize(("grid", "edge"), [([1e-9, 1e-8], "weak edge of the grid, C = 1e-08"), ([1e4, 1e5], "strong")])
def test_a_choice_on_the_edge_of_ones_own_grid_is_warned_of(grid, edge, blobs):
    features, labels = blobs(150, 3, 6, seed=1, spread=2.5)
    with pytest.warns(UserWarning, match=f"the choice lies on the .*{edge}.*give Cs that go on beyond it"):
        SoftmaxPathCV(grid, rule="best").fit(features, labels)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("grid", [[0.1], [1e-7, 0.01, 0.03, 100.0]])
def test_a_choice_within_the_grid_or_none_at_all_is_not_warned_of(grid, blobs):
    SoftmaxPathCV(grid, rule="best").fit(*blobs(150, 3, 6, seed=1, spread=2.5))


def test_what_has_not_converged_is_warned_of(blobs, monkeypatch):
    monkeypatch.setattr("probe.sweep.newton._NEWTON_STEPS", 1)
    with pytest.warns(ConvergenceWarning) as told:
        SoftmaxPathCV([100.0]).fit(*blobs(90, 3, 6, seed=1, spread=3.0))
    assert [str(warning.message) for warning in told] == [
        "5 fits of the selection have not converged.",
        "The final fit has not converged.",
    ]


@pytest.mark.heavy
def test_it_fits_and_predicts_where_tensorflow_cannot_be_imported():
    script = """
import sys
sys.modules.update(dict.fromkeys(("tensorflow", "keras", "tf_keras")))
import numpy as np
from probe import SoftmaxPathCV
features = np.random.default_rng(0).normal(size=(90, 4))
labels = np.arange(90) % 3
features[np.arange(90), labels] += 9
found = SoftmaxPathCV((0.1, 1.0), scaling="zscore").fit(features, labels)
print((found.predict(features) == labels).mean(), found.predict_proba(features).shape)
try:
    import tensorflow
except ImportError:
    print("no tensorflow")
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "1.0 (90, 3)\nno tensorflow\n"
