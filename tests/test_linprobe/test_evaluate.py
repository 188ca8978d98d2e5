import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import linprobe as lp
from linprobe.job.errors import ConfigError
from probe.own import describe_estimator


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 3
    rows = (rng.normal(size=(3, 8))[labels] + rng.normal(size=(150, 8))).astype(np.float32)
    np.savez(folder / "x.npz", features=rows, labels=labels, class_names=np.array(["ant", "bee", "cat"]))
    from linprobe.cli import main

    command = [
        "store",
        "import",
        str(folder / "x.npz"),
        "--name",
        "x",
        "--extractor",
        "e",
        "--store",
        str(folder / "s"),
    ]
    assert main(command) == 0
    return lp.open(folder / "s").features("x", "e")


def test_any_classifier_is_kept_compared_and_reported_like_a_head(features, tmp_path):
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    mine = features.evaluate(pipeline, name="scaled-lr")
    arrays = features.arrays()
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(arrays.X_train, arrays.y_train)
    assert mine.accuracy == pytest.approx(fitted.score(arrays.X_test, arrays.y_test))
    assert mine.metrics["nll"] == pytest.approx(log_loss(arrays.y_test, fitted.predict_proba(arrays.X_test)), rel=1e-5)
    np.testing.assert_allclose(mine.probabilities(), fitted.predict_proba(arrays.X_test), atol=1e-6)
    assert not hasattr(pipeline[-1], "coef_")
    ours = features.probe("ridge")
    workspace = features._workspace
    found = workspace.compare(ours, mine)
    assert "equal test images" in str(found)
    assert set(workspace.results()["head"]) >= {"ridge", "scaled-lr"}
    page = workspace.report(tmp_path / "report")
    assert "scaled-lr" in (tmp_path / "report" / "index.html").read_text()
    assert page is not None


def test_an_equal_one_is_not_fitted_again_and_another_is(features):
    first = features.evaluate(GaussianNB(), name="nb")
    fitted = []

    class Watched(GaussianNB):
        def fit(self, X, y):
            fitted.append(len(X))
            return super().fit(X, y)

    Watched.__module__, Watched.__qualname__ = GaussianNB.__module__, GaussianNB.__qualname__
    assert features.evaluate(Watched(), name="nb").id == first.id
    assert fitted == []
    other = features.evaluate(Watched(var_smoothing=1e-3), name="nb")
    assert other.id != first.id
    assert len(fitted) == 1
    assert features.evaluate(Watched(), name="nb", shots=3).id != first.id
    assert fitted[1] == 9


@pytest.mark.parametrize(
    ("estimator", "name", "told"),
    [
        (GaussianNB(), "ridge", "are heads of ours"),
        (GaussianNB(), "a/b", "a name of its own expected"),
        (RidgeClassifier(), "rc", "RidgeClassifier has no predict_proba"),
        ("svm", "svm", "a scikit-learn classifier expected"),
    ],
)
def test_what_cannot_be_kept_is_refused(features, estimator, name, told):
    with pytest.raises(ConfigError, match=told):
        features.evaluate(estimator, name)


def test_a_run_of_ones_own_says_that_it_cannot_predict(features):
    mine = features.evaluate(DummyClassifier(strategy="prior"), name="prior")
    with pytest.raises(ConfigError, match="is of a classifier of one's own, 'prior'"):
        mine.predict(["a.png"])


def test_an_estimator_is_told_by_its_class_and_parameters():
    text = describe_estimator(make_pipeline(StandardScaler(), LogisticRegression(C=0.1)))
    assert text == describe_estimator(make_pipeline(StandardScaler(), LogisticRegression(C=0.1)))
    assert text != describe_estimator(make_pipeline(StandardScaler(), LogisticRegression(C=0.2)))
    assert "0x" not in describe_estimator(make_pipeline(StandardScaler(), LogisticRegression(C=0.1)))
