"""Charts: repeatable, readable as XML, and true to names that look like markup."""

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from reports.figures import confusion_figure, curves_figure, growth_figure, intervals_figure, selection_figure

SVG = "{http://www.w3.org/2000/svg}"


def _texts(svg):
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def _rows(count=1, **changes):
    row = {"label": "mobilenet_v2 · logistic", "is_floor": False, "n_test": 360,
           "score": 0.9, "score_low": 0.85, "score_high": 0.95}  # fmt: skip
    return [{**row, **changes}] * count


@pytest.mark.heavy
def test_the_same_data_gives_the_same_bytes_and_no_date(curves, table):
    def draw():
        counts = np.array([[3, 1], [0, 2]])
        return [
            confusion_figure(counts, ["a", "b"]),
            curves_figure(curves),
            selection_figure(table, ["C"], {"C": 0.01}),
            intervals_figure(_rows()),
        ]

    first, second = draw(), draw()
    assert first == second
    assert not any(b"<dc:date>" in svg or b"http://matplotlib" in svg.split(b"<g", 1)[1] for svg in first)
    assert all(len(svg) < 40_000 for svg in first)


def test_a_users_style_does_not_change_a_figure():
    import matplotlib

    plain = intervals_figure(_rows())
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert intervals_figure(_rows()) == plain
        assert matplotlib.rcParams["font.size"] == 30


def test_names_are_drawn_as_they_are():
    names = ["$x$ & <script>", "bell\x07 狐", "caf\udce9"]
    texts = _texts(confusion_figure(np.eye(3, dtype=int), names))
    for name in ("$x$ & <script>", r"bell\x07 狐", r"caf\udce9"):
        assert texts.count(name) == 2


@pytest.mark.heavy
@pytest.mark.parametrize(("classes", "named"), [(2, 2), (20, 20), (21, 21), (60, 60), (61, 31), (1000, 50)])
def test_counts_are_written_up_to_20_classes_and_names_thinned_past_60(classes, named):
    counts = np.full((classes, classes), 7)
    texts = _texts(confusion_figure(counts, [f"class {index}" for index in range(classes)]))
    assert texts.count("7") == (classes**2 if classes <= 20 else 0)
    assert sum(text.startswith("class ") for text in texts) == 2 * named


def test_a_class_without_examples_has_an_empty_row():
    confusion_figure(np.array([[0, 0], [1, 1]]), ["a", "b"])


def test_rows_are_labelled_and_floors_are_hollow():
    svg = intervals_figure([*_rows(), *_rows(label="pixels · logistic · 5-shot", is_floor=True)])
    texts = _texts(svg)
    assert "pixels · logistic · 5-shot" in texts
    assert "mobilenet_v2 · logistic" in texts
    assert texts.count("90.0%") == 2
    assert svg.count(b"fill: #ffffff; stroke: #6b7280") == 1


def test_the_selection_chart_marks_best_selected_and_edge(table):
    texts = _texts(selection_figure(table, ["C"], {"C": 0.0011}))
    assert "most accurate: 0.01" in texts
    assert "selected: 0.001 (edge of the grid)" in texts
    assert "± standard error" in texts
    assert "C (log scale)" in texts
    assert "10⁻²" in texts


def test_the_selection_chart_takes_a_linear_option_without_errors():
    table = [{"k": 0, "accuracy": 0.5}, {"k": 5, "accuracy": float("nan")}]
    texts = _texts(selection_figure(table, ["k"], {}))
    assert "k" in texts
    assert "± standard error" not in texts
    assert "most accurate: 0 (edge of the grid)" in texts


def test_the_selection_chart_of_two_options_draws_a_line_for_each_value_of_the_second():
    table = [
        {"learning_rate": rate, "weight_decay": decay, "accuracy": 0.5 + decay + rate, "standard_error": 0.1}
        for decay in (0.1, 0.0)
        for rate in (1e-3, 1e-2, 1e-1)
    ]
    svg = selection_figure(table, ["learning_rate", "weight_decay"], {"learning_rate": 1e-2, "weight_decay": 0.0})
    texts = _texts(svg)
    assert {"weight decay = 0", "weight decay = 0.1", "learning rate (log scale)"} <= set(texts)
    assert "most accurate: 0.1 (edge of the grid)" in texts
    assert "selected: 0.01" in texts
    assert "± standard error" not in texts


@pytest.mark.heavy
def test_curves_say_which_training_figure_is_meant(curves):
    texts = _texts(curves_figure(curves))
    for label in (
        "training, running mean over the epoch",
        "training, at the epoch's end",
        "validation, at the epoch's end",
    ):
        assert texts.count(label) == 1


def test_curves_without_validation_leave_it_out(curves):
    bare = curves.drop(columns="validation_loss").assign(validation_accuracy=np.nan)
    assert "validation, at the epoch's end" not in _texts(curves_figure(bare))
    assert _texts(curves_figure(pd.DataFrame({"epoch": [1]})))


def test_learning_curves_name_their_heads_and_sizes():
    points = [{"n_train": n, "score": 0.5 + 0.1 * at, "sd": 0.02} for at, n in enumerate((10, 12, 50, 1437))]
    svg = growth_figure({"net · logistic": points, "pixels · logistic": points[:2]}, "balanced accuracy").decode()
    for text in ("net · logistic", "pixels · logistic", "test balanced accuracy", ">10<", ">50<", ">1,437<"):
        assert text in svg
    # 12 would stand on top of 10.
    assert ">12<" not in svg
