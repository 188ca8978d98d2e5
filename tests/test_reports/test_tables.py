"""The leaderboard as CSV, JSON, Markdown and as the last lines of a job."""

import dataclasses
import io
import json

import pandas as pd

from reports import leaderboard, summary_lines, to_csv, to_json, to_markdown


def _runs(make_run):
    return [
        make_run("net", metrics={"accuracy": 1 / 3, "accuracy_low": 0.25, "accuracy_high": 0.5}, warnings=("Thin.",)),
        make_run("floor", extractor="pixels", metrics={"accuracy": 0.25}),
    ]


def test_csv_and_json_hold_the_frame_in_full_precision(make_run):
    frame = leaderboard(_runs(make_run))
    from_csv = pd.read_csv(io.StringIO(to_csv(frame)))
    from_json = json.loads(to_json(frame))
    assert list(from_csv.columns) == list(frame.columns)
    assert from_csv["accuracy"].tolist() == [1 / 3, 0.25]
    assert [row["accuracy"] for row in from_json] == [1 / 3, 0.25]
    assert [row["above_floor"] for row in from_json] == [1 / 3 - 0.25, None]
    assert [row["is_floor"] for row in from_json] == [False, True]
    assert [row["top5"] for row in from_json] == [None, None]
    assert from_json[0]["run_id"] == frame["run_id"][0]


def test_markdown_has_a_row_per_run_and_rounds_to_four_digits(make_run):
    head, rule, *rows = to_markdown(leaderboard(_runs(make_run))).splitlines()
    assert head.startswith("| dataset | extractor | head | shots | train | test | accuracy | 95% low | 95% high |")
    assert "top-5" not in head
    assert "| --- | ---: |" in rule
    assert rows[0].startswith("| pets | mobilenet_v2 | logistic | all | train | test | 0.3333 | 0.2500 | 0.5000 |")
    assert "| +0.0833 |" in rows[0]
    assert "| – |" in rows[1]
    assert len({line.count("|") for line in (head, rule, *rows)}) == 1


def test_markdown_escapes_what_a_name_could_break(make_run):
    name = "a|b\n<script>*_x_\u202e"
    row = to_markdown(leaderboard([make_run("a", dataset=name)])).splitlines()[2]
    assert row.startswith(r"| a\|b\\n\<script\>\*\_x\_\\u202e | mobilenet_v2 |")


def test_half_a_surrogate_pair_can_be_written_as_every_text(make_run):
    # What os.fsdecode makes of a folder name in Latin-1.
    frame = leaderboard([make_run("a", dataset="caf\udce9")])
    for text in (to_csv(frame), to_json(frame), to_markdown(frame), *summary_lines([make_run("a", dataset="\udce9")])):
        text.encode("utf-8")


def test_an_empty_leaderboard_is_a_header():
    frame = leaderboard([])
    assert to_json(frame) == "[]\n"
    assert len(to_csv(frame).splitlines()) == 1
    assert len(to_markdown(frame).splitlines()) == 2
    assert summary_lines([]) == []


def test_summary_lines_are_aligned_and_mark_floors_and_warnings(make_run):
    assert summary_lines(_runs(make_run)) == [
        "pets  mobilenet_v2  logistic   33.3%  95%: 25.0% to 50.0%, n = 10  "
        "+8.3 points over pixels/logistic, 1 warning",
        "pets  pixels        logistic   25.0%  95%: 40.0% to 90.0%, n = 10  floor",
    ]


def test_summary_lines_tell_shots_seeds_and_a_fit_that_did_not_converge(make_run):
    runs = [
        make_run("a", shots=5, seed=0, fit={"converged": False}),
        make_run("b", shots=5, seed=1, metrics={"accuracy": 0.9}),
    ]
    (line,) = summary_lines(runs)
    assert line == (
        "pets  mobilenet_v2  logistic  5-shot   70.0%  95%: 40.0% to 90.0%, n = 10  "
        "2 seeds: 80.0% ± 14.1%, did not converge"
    )


def test_summary_lines_and_markdown_tell_what_cannot_be_told_from_the_best(make_run, make_verdict):
    best, close = make_run("a", metrics={"accuracy": 0.9}), make_run("b", head="ridge")
    verdicts = {
        best.run_id: make_verdict(is_best=True),
        close.run_id: make_verdict(is_indistinguishable=True, p_best=0.2, disagreement="odd"),
    }
    lines = summary_lines([best, close], verdicts)
    assert [line.rpartition("  ")[2] for line in lines] == ["best", "indistinguishable from the best, 1 warning"]
    table = to_markdown(leaderboard([best, close], verdicts))
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    at = head.index("indistinguishable from the best")
    assert [row[at] for row in rows] == ["no", "yes"]
    assert [row[head.index("p (best)")] for row in rows] == ["–", "0.2000"]
    assert rows[1][head.index("disagreement")] == "odd"
    (first, second) = json.loads(to_json(leaderboard([best, close], verdicts)))
    assert (first["is_best"], first["p_best"], second["is_indistinguishable"]) == (True, None, True)
    assert "is_indistinguishable" in to_csv(leaderboard([best, close], verdicts)).splitlines()[0]


def test_settings_that_no_row_changes_are_left_out_of_markdown(make_run):
    heading = to_markdown(leaderboard([make_run("a")])).splitlines()[0]
    assert "share of train" not in heading
    assert "| metric" not in heading
    heading = to_markdown(leaderboard([make_run("a", train_share=0.1), make_run("b")])).splitlines()[0]
    assert "| share of train |" in heading
    assert "views" not in heading
    assert "| views |" in to_markdown(leaderboard([make_run("a", views=4), make_run("b")])).splitlines()[0]


def test_the_lines_that_end_a_job_say_how_a_head_was_trained_where_that_is_special(make_run):
    runs = [make_run("a", views=4, shots=5), make_run("b", views=1), make_run("c")]
    lines = sorted(summary_lines(runs))
    assert [line.split("70.0%")[0].split("logistic")[1].strip() for line in lines] == ["", "1 view", "5-shot, 4 views"]


def test_versions_of_the_protocol_are_told_apart_wherever_rows_stand(make_run):
    runs = [make_run(name, extractor=name) for name in ("older", "newer")]
    runs = [
        dataclasses.replace(run, config={**run.config, "protocol": version})
        for run, version in zip(runs, (2, 3), strict=True)
    ]
    rows = leaderboard(runs)
    assert dict(zip(rows["extractor"], rows["protocol"], strict=True)) == {"older": 2, "newer": 3}
    older, newer = sorted(summary_lines(runs), key=lambda line: "newer" in line)
    assert "protocol 2" in older
    assert "protocol" not in newer
    assert "protocol" in to_markdown(rows).splitlines()[0]
    assert "protocol" not in to_markdown(leaderboard(runs[:1])).splitlines()[0]
    # A floor of another version is no floor.
    floor = make_run("floor", extractor="pixels")
    floor = dataclasses.replace(floor, config={**floor.config, "protocol": 2})
    found = leaderboard([*runs, floor]).set_index("extractor")
    assert found.loc["older", "floor"] == "pixels/logistic"
    assert pd.isna(found.loc["newer", "floor"])
