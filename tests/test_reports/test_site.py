"""The site as files: what is written, what is said, what is refused, and how fast."""

import dataclasses
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reports
from reports import DuplicateRun, InvalidRun, NotAReport, NothingToReport, leaderboard, to_csv, to_json, to_markdown
from reports import write_site as write

CREATED = "2026-11-24T12:00:00+00:00"


def no_images(run, names):
    return {}


class _Page(HTMLParser):
    """Collects tags, their attributes, and the text of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in ("td", "th", "li", "p", "pre"):
            self.text += " "

    def handle_data(self, data):
        self.text += data

    def all(self, tag, **attributes):
        return [a for t, a in self.tags if t == tag and all(a.get(name) == v for name, v in attributes.items())]

    def links(self):
        return [a.get("href") or a.get("src") for _, a in self.tags if a.get("href") or a.get("src")]


def run_page(index, run):
    return index.parent / "runs" / f"{run.run_id[:12]}.html"


def text_of(index, run):
    return " ".join(_Page(run_page(index, run)).text.split())


def test_public_names_are_pinned():
    assert reports.__all__ == [
        "DuplicateRun", "ImageLookup", "InvalidRun", "NotAReport", "NothingToReport", "ReportError",
        "grid_examples", "leaderboard", "summary_lines", "to_csv", "to_json", "to_markdown", "write_site",
    ]  # fmt: skip
    assert all(hasattr(reports, name) for name in reports.__all__)


def test_importing_reports_loads_no_heavy_library():
    heavy = ("matplotlib", "jinja2", "sklearn", "scipy", "tensorflow", "keras")
    code = f"import reports, sys; print([name for name in {heavy} if name in sys.modules])"
    root = Path(reports.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.heavy
def test_writing_a_site_loads_neither_pyplot_nor_tensorflow(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import conftest, pathlib, reports\n"
        "reports.write_site([conftest.build_run(table=None)], pathlib.Path(sys.argv[2]), lambda r, i: {}, created='')\n"
        "print([name for name in ('matplotlib.pyplot', 'tensorflow') if name in sys.modules])"
    ).replace("table=None", "")
    argv = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "site")]
    root = Path(reports.__file__).parents[1]
    assert subprocess.run(argv, capture_output=True, text=True, cwd=root, check=True).stdout == "[]\n"


@pytest.mark.heavy
def test_the_same_runs_give_the_same_bytes(tmp_path, make_run, make_png, curves, table):
    selection = {"method": "m", "selected": {"C": 0.01}, "table": table, "notes": []}
    runs = [make_run("a", curves=curves), make_run("b", selection=selection, extractor="pixels")]
    image = make_png(np.zeros((8, 8), np.uint8))
    for out in ("one", "two"):
        write(runs, tmp_path / out, lambda run, names: dict.fromkeys(names, image), created=CREATED)
    one, two = (
        {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*") if path.is_file()}
        for out in ("one", "two")
    )
    assert one == two
    assert {path.suffix for path in one} == {".html", ".svg", ".png", ".csv", ".md", ".json"}


def test_text_files_hold_the_leaderboard(tmp_path, make_run):
    runs = [make_run("a"), make_run("b", extractor="pixels")]
    index = write(runs, tmp_path / "site", no_images, created=CREATED)
    frame = leaderboard(runs)
    assert index == tmp_path / "site" / "index.html"
    for name, text in (("csv", to_csv(frame)), ("md", to_markdown(frame)), ("json", to_json(frame))):
        assert (index.parent / f"leaderboard.{name}").read_text("utf-8") == text


def test_every_link_leads_to_a_file_of_the_site(tmp_path, make_run, make_png, curves, table):
    selection = {"method": "m", "selected": {"C": 0.01}, "table": table, "notes": []}
    runs = [make_run("old", created="2026-11-23T10:00:00+00:00"), make_run("new", curves=curves, selection=selection)]
    image = make_png(np.zeros((8, 8), np.uint8))
    index = write(runs, tmp_path / "site", lambda run, names: dict.fromkeys(names, image), created=CREATED)
    for page in (index, *(run_page(index, run) for run in runs)):
        links = [link for link in _Page(page).links() if link != "data:,"]
        assert links
        assert not [link for link in links if not (page.parent / link).is_file()]
        assert not re.search(r"https?://|@import|url\(", page.read_text("utf-8"))


def test_an_older_run_keeps_its_page_and_is_listed(tmp_path, make_run):
    old = make_run("old", created="2026-11-23T10:00:00+00:00")
    index = write([old, make_run("new")], tmp_path / "site", no_images, created=CREATED)
    text = " ".join(_Page(index).text.split())
    assert "Earlier runs and other seeds (1)" in text
    assert "(2026-11-23T10:00:00+00:00)" in text
    assert run_page(index, old).is_file()


def test_names_from_data_are_text_on_every_page_and_in_no_path(tmp_path, make_run, make_predictions, make_png):
    evil = "<script>alert(1)</script>"
    frame = make_predictions([0, 1, 2], [0, 2, 1], prefix=f"../../{evil}")
    run = make_run(
        frame=frame, class_names=(evil, '"onerror="x', "owl"), dataset=evil, extractor=f"../{evil}", head=evil,
        train=evil, options={evil: evil}, warnings=(evil,), sets={evil: "5" * 64}, fit={evil: evil},
        selection={"method": evil, "selected": {evil: 1}, "table": [{evil: 1, "accuracy": 0.5}], "notes": [evil]},
        curves=pd.DataFrame({"epoch": [1], evil: [0.5]}),
    )  # fmt: skip
    run = dataclasses.replace(run, created=evil, versions={evil: evil})
    image = make_png(np.zeros((8, 8), np.uint8))
    index = write([run], tmp_path / "site", lambda run, names: dict.fromkeys(names, image), created=evil)
    assert [len(_Page(page).all("script")) for page in (index, run_page(index, run))] == [1, 0]
    assert not [attributes for _, attributes in _Page(run_page(index, run)).tags if "onerror" in attributes]
    assert evil in _Page(run_page(index, run)).text
    names = [path.name for path in tmp_path.rglob("*")]
    assert not [name for name in names if "script" in name]
    for svg in (index.parent / "figures").iterdir():
        assert b"<script" not in svg.read_bytes()


def test_signs_that_no_page_may_hold_are_written_out(tmp_path, make_run):
    # Half a surrogate pair (a folder name in Latin-1), a bell, and a sign that reverses what follows.
    run = make_run(class_names=("caf\udce9", "bell\x07", "\u202edog"), dataset="caf\udce9")
    index = write([run], tmp_path / "site", no_images, created=CREATED)
    html = run_page(index, run).read_text("utf-8") + index.read_text("utf-8")
    assert all(name in html for name in (r"caf\udce9", r"bell\x07", r"\u202edog"))
    assert not set(html) & set("\x07\u202e")


def test_a_run_page_says_what_the_run_was(tmp_path, make_run, curves, table):
    selection = {"method": "5-fold.", "selected": {"C": 0.01}, "table": table, "notes": ["The best lies on no edge."]}
    run = make_run(
        "net", curves=curves, selection=selection, warnings=("Owls are few.",), metrics={"accuracy": 0.7},
        fit={"converged": False, "trainable_parameters": 3843, "frozen_parameters": 2257984},
    )  # fmt: skip
    floor = make_run("floor", extractor="pixels", metrics={"accuracy": 0.5})
    index = write([run, floor], tmp_path / "site", no_images, created=CREATED)
    assert "points over the floor" not in text_of(index, floor), "a floor has none to be compared with"
    text = text_of(index, run)
    for said in (
        "70.0% accuracy, 95% interval 40.0% to 90.0%",
        "7 of n = 10 test examples right; +20.0 points over the floor pixels/logistic",
        "The final fit did not converge. Owls are few.",
        "NLL 0.8000 Mean negative log-probability of the true class, in nats; lower is better. "
        "Guessing all 3 classes alike gives 1.0986.",
        "All 3 wrong predictions, the surest first",
        "cat 4 75.0% 75.0% 30.1% to 95.4% 0.7500",
        "5-fold. Selected: C = 0.01. The best lies on no edge.",
        "All 3 candidates",
        # (3,843 + 2,257,984) · 4 bytes / 1024² = 8.63 MB, 3,843 · 4 / 1024 = 15.01 KB.
        "Total params: 2,261,827 (8.63 MB) Trainable params: 3,843 (15.01 KB) "
        "Non-trainable params: 2,257,984 (8.61 MB)",
        "the running mean over the epoch",
        "smallest content hashes: a fixed, unbiased sample, the same for all runs on one test split",
        "scikit-learn 1.9.1",
    ):
        assert said in text


def test_a_fit_that_did_not_converge_is_told_once(tmp_path, make_run):
    warned = make_run("warned", fit={"converged": False}, warnings=("The fit has not converged in 9 rounds.",))
    silent = make_run("silent", fit={"converged": False})
    index = write([warned, silent], tmp_path / "site", no_images, created=CREATED)
    assert "numbers The fit has not converged in 9 rounds. Metrics" in text_of(index, warned)
    assert "numbers The final fit did not converge. Metrics" in text_of(index, silent)


def test_set_keys_are_shortened_with_the_whole_in_the_title(tmp_path, make_run):
    run = make_run()
    page = _Page(run_page(write([run], tmp_path / "site", no_images, created=CREATED), run))
    assert [code["title"] for code in page.all("code") if "title" in code] == [run.run_id, "5" * 64, "6" * 64]
    assert "5" * 12 in page.text
    assert "5" * 13 not in page.text


def test_the_grid_marks_right_and_wrong_by_more_than_colour(tmp_path, make_run):
    run = make_run()
    page = run_page(write([run], tmp_path / "site", no_images, created=CREATED), run)
    html = page.read_text("utf-8")
    # Ten examples in the grid, and its three mistakes once more below it.
    assert (html.count('class="tile right"'), html.count('class="tile wrong"')) == (7, 6)
    assert (html.count(">✓</span>"), html.count(">✗</span>")) == (7, 6)
    assert html.count("image not at hand") == 13
    # The fourth example: a cat, taken for a dog with 0.9 - 0.003.
    assert " ".join(html.split()).count("✗</span> <bdi>dog</bdi> 90% (<bdi>cat</bdi>)") == 2


@pytest.mark.heavy
def test_a_run_without_mistakes_has_no_grid_of_them(tmp_path, make_run, make_predictions):
    run = make_run(frame=make_predictions([0, 1], [0, 1]))
    text = text_of(write([run], tmp_path / "site", no_images, created=CREATED), run)
    assert "most confident mistakes" not in text
    assert "No test example was confused with another class." in text


def test_pages_ask_only_for_the_images_they_show(tmp_path, make_run, make_predictions, make_png):
    asked = []
    labels = [0, 1, 2] * 100
    run = make_run(frame=make_predictions(labels, [*labels[:-1], 0]))
    image = make_png(np.zeros((300, 300), np.uint8))

    def look(run, names):
        asked.append(list(names))
        return {names[0]: image, names[1]: b"no image"}

    page = run_page(write([run], tmp_path / "site", look, created=CREATED), run)
    assert [len(names) for names in asked] == [31]
    assert asked[0][:30] == reports.grid_examples(run)
    assert [(image["width"], image["height"]) for image in _Page(page).all("img") if "width" in image] == [
        ("224", "224")
    ]
    assert len(list((tmp_path / "site" / "thumbnails").iterdir())) == 1


def test_the_leaderboard_marks_floors_and_tells_only_settings_that_differ(tmp_path, make_run):
    runs = [
        make_run("a", head="dense", options={"epochs": 6, "batch": 32}),
        make_run("b", head="dense", options={"epochs": 12, "batch": 32}),
        make_run("c", extractor="pixels"),
    ]
    page = _Page(write(runs, tmp_path / "site", no_images, created=CREATED))
    assert len(page.all("tr", **{"class": "floor"})) == 1
    text = " ".join(page.text.split())
    assert "epochs = 12" in text
    chart = (tmp_path / "site" / "figures" / "leaderboard-1.svg").read_text("utf-8")
    assert "mobilenet_v2 · dense · epochs = 12" in chart
    assert "batch" not in text
    assert "Shots" not in text


def test_tables_have_headers_with_scope_and_images_have_alternatives(tmp_path, make_run, make_png, curves):
    run = make_run(curves=curves)
    image = make_png(np.zeros((8, 8), np.uint8))
    index = write([run], tmp_path / "site", lambda run, names: dict.fromkeys(names, image), created=CREATED)
    for path in (index, run_page(index, run)):
        page = _Page(path)
        assert page.all("html") == [{"lang": "en"}]
        assert len(page.all("title")) == len(page.all("h1")) == 1
        assert all(head.get("scope") in ("row", "col") for head in page.all("th"))
        assert page.all("img")
        assert all(image.get("alt") for image in page.all("img"))


@pytest.mark.heavy
def test_a_thousand_classes_make_a_page(tmp_path, make_run, make_predictions):
    labels = np.arange(2000) % 1000
    run = make_run(
        frame=make_predictions(labels, (labels + (labels % 7 == 0)) % 1000), class_names=tuple(map(str, range(1000)))
    )
    index = write([run], tmp_path / "site", no_images, created=CREATED)
    assert sum(path.stat().st_size for path in index.parent.rglob("*") if path.is_file()) < 1_000_000


def test_no_runs_are_nothing_to_report(tmp_path):
    with pytest.raises(NothingToReport, match="no probe runs to report; run 'linprobe probe' first"):
        write([], tmp_path / "site", no_images, created=CREATED)
    assert not (tmp_path / "site").exists()


def test_a_foreign_folder_is_refused_before_any_work(tmp_path, make_run):
    (tmp_path / "thesis.tex").write_text("years of work")

    def look(run, names):
        raise AssertionError("no image may be looked for")

    with pytest.raises(NotAReport, match="nothing was changed"):
        write([make_run()], tmp_path, look, created=CREATED)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("run_id", ["", "short", "../../../../etc/passwd", "0123456789ab.html", "0123456789ab\n"])
def test_a_run_id_that_cannot_name_a_page_is_refused(tmp_path, make_run, run_id):
    run = dataclasses.replace(make_run(), run_id=run_id)
    with pytest.raises(InvalidRun, match="12 or more letters and digits expected"):
        write([run], tmp_path / "site", no_images, created=CREATED)


def test_two_runs_on_one_page_are_refused_and_one_run_twice_is_not(tmp_path, make_run):
    run = make_run()
    other = dataclasses.replace(run, run_id=run.run_id[:12] + "0" * 52)
    with pytest.raises(DuplicateRun, match=f"both would be runs/{run.run_id[:12]}.html"):
        write([run, other], tmp_path / "site", no_images, created=CREATED)
    write([run, run], tmp_path / "site", no_images, created=CREATED)
    assert len(list((tmp_path / "site" / "runs").iterdir())) == 1


@pytest.mark.parametrize(("column", "value"), [("label", -1), ("predicted", 3)])
def test_a_label_without_a_class_is_refused(tmp_path, make_run, column, value):
    run = make_run()
    run.predictions.loc[0, column] = value
    with pytest.raises(InvalidRun, match=f"{column} in 0 to 2 expected"):
        write([run], tmp_path / "site", no_images, created=CREATED)


def test_a_run_without_predictions_is_refused(tmp_path, make_run, make_predictions):
    run = make_run(frame=make_predictions([], []))
    with pytest.raises(InvalidRun, match="a prediction per test example expected, none found"):
        write([run], tmp_path / "site", no_images, created=CREATED)


def test_a_lookup_that_fails_leaves_the_old_site(tmp_path, make_run):
    index = write([make_run("old")], tmp_path / "site", no_images, created=CREATED)
    before = index.read_bytes()

    def look(run, names):
        raise OSError("the disk with the images is gone")

    with pytest.raises(OSError, match="the disk with the images is gone"):
        write([make_run("new")], tmp_path / "site", look, created=CREATED)
    assert index.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_the_first_page_marks_what_cannot_be_told_from_the_best_and_heads_that_disagree(
    tmp_path, make_run, make_verdict
):
    best, close = make_run("a", metrics={"accuracy": 0.9}), make_run("b", head="dense")
    verdicts = {
        best.run_id: make_verdict(is_best=True),
        close.run_id: make_verdict(is_indistinguishable=True, p_best=0.2, disagreement="dense and logistic lie apart"),
    }
    page = write([best, close], tmp_path / "out", no_images, created=CREATED, verdicts=verdicts)
    text = page.read_text()
    assert text.count('<span class="tag best">best</span>') == 1
    assert text.count(">indistinguishable from the best</span>") == 1
    assert "p = 0.200" in text
    assert 'title="dense and logistic lie apart">heads disagree' in text
    own = (tmp_path / "out" / "runs" / f"{close.run_id[:12]}.html").read_text()
    assert "<li>dense and logistic lie apart</li>" in own
    assert "Indistinguishable from the best of its dataset" in own
    assert "Over seeds: not varied." in own


def test_the_metric_that_was_asked_for_leads(tmp_path, make_run):
    run = make_run("a", metric="balanced_accuracy", metrics={"accuracy": 0.9, "balanced_accuracy": 0.6})
    text = write([run], tmp_path / "out", no_images, created=CREATED).read_text()
    assert ">Balanced accuracy</th>" in text
    assert '<td class="num strong" data-sort="0.6">60.0%</td>' in text
    own = (tmp_path / "out" / "runs" / f"{run.run_id[:12]}.html").read_text()
    assert '<span class="big">60.0%</span>' in own


@pytest.mark.heavy
def test_shots_and_shares_are_drawn_as_learning_curves(tmp_path, make_run):
    runs = [make_run("all", n_train=1000)]
    runs += [make_run(f"shots {k}", shots=k, n_train=3 * k) for k in (1, 5)]
    runs += [make_run("share", train_share=0.1, n_train=100)]
    page = write(runs, tmp_path / "out", no_images, created=CREATED)
    text = page.read_text()
    assert "figures/growth-1-shots.svg" in text
    assert "Learning curves over share of train" in text
    assert ">1,000<" in (tmp_path / "out" / "figures" / "growth-1-share.svg").read_text()
    alone = write(runs[:1], tmp_path / "alone", no_images, created=CREATED)
    assert "growth" not in alone.read_text()
    # What was tested in folds is no point of the curve.
    folded = make_run("folds", n_train=2000)
    folded = dataclasses.replace(folded, config={**folded.config, "folds": 5})
    write([*runs, folded], tmp_path / "more", no_images, created=CREATED)
    figures = tmp_path / "more" / "figures"
    assert "5 folds" in (figures / "leaderboard-1.svg").read_text()
    own = (tmp_path / "more" / "runs" / f"{folded.run_id[:12]}.html").read_text()
    assert "each image tested once in 5 folds" in own
    assert ">1,000<" in (figures / "growth-1-share.svg").read_text()
    assert ">2,000<" not in (figures / "growth-1-share.svg").read_text()
