"""Help as a person reads it, and completion as a shell asks for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from linprobe.cli import app, main
from linprobe.cli.examples import EXAMPLES
from linprobe.cli.options import split_commas, split_sources
from linprobe.job.errors import ConfigError

ROOT = typer.main.get_command(app)


def commands():
    for name, command in ROOT.commands.items():
        inner = getattr(command, "commands", {})
        yield from ((f"{name} {each}", one) for each, one in inner.items()) if inner else [(name, command)]


COMMANDS = dict(commands())


def help_of(name, capsys):
    assert main([*name.split(), "-h"]) == 0
    return capsys.readouterr().out


def test_lists_show_whole_first_lines_at_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for group in ("", "store", "config"):
        text = help_of(group, capsys)
        assert "..." not in text.replace("[ARGS]...", "")
        assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_by_both_flags_and_an_example(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(name, capsys)
    assert main([*name.split(), "--help"]) == 0
    assert capsys.readouterr().out == text
    assert all(f"    {example}\n" in text for example in EXAMPLES[name])
    # Metavars say what they are: no single letter for a choice, and no type of Python.
    assert not [word for word in ("F", "E", "D", "S", "T", "M") if f" {word} " in text]


@pytest.mark.parametrize(("name", "example"), [(name, one) for name, lines in EXAMPLES.items() for one in lines])
def test_every_example_is_understood(name, example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program, *words = example.split()
    assert program == "linprobe"
    assert words[: len(name.split())] == name.split()
    # Parsed by the command's own parser; an unknown option or a missing argument raises.
    context = COMMANDS[name].make_context(name, words[len(name.split()) :])
    assert context.command is COMMANDS[name]


def test_repeated_flags_say_so():
    for command in COMMANDS.values():
        for parameter in command.params:
            if parameter.multiple:
                assert "May be repeated, or take commas." in parameter.help, (command.name, parameter.name)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a,b", "c"], ["a", "b", "c"]),
        (["a, b", "b"], ["a", "b"]),
        ([], []),
    ],
)
def test_flags_take_commas_and_repetition(values, expected):
    assert split_commas("--head", values) == expected


@pytest.mark.parametrize("values", [["a,,b"], [""], ["a,"]])
def test_an_empty_piece_is_refused(values):
    with pytest.raises(ConfigError, match=r"^--head: a text expected, got an empty one"):
        split_commas("--head", values)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("folder:a,folder:b", ["folder:a", "folder:b"]),
        ("folder:/data/a,b", ["folder:/data/a,b"]),
        ("folder:/data/a,b/c:d", ["folder:/data/a,b/c:d"]),
        ("digits,flowers", ["digits", "flowers"]),
        ("bundled:digits,flowers", ["bundled:digits", "flowers"]),
        ("pixels,random:mobilenet_v2,pixels", ["pixels", "random:mobilenet_v2"]),
        ("savedmodel:/m,1,pixels:x", ["savedmodel:/m,1", "pixels:x"]),
    ],
)
def test_a_comma_in_a_path_stays_in_it(value, expected):
    assert split_sources("--dataset", [value]) == expected


@pytest.mark.framework
def test_name_names_the_one_dataset_of_a_flag(run, images):
    source = f"folder:{images}"
    code, document, _ = run("extract", "--dataset", source, "--name", "mine", "--extractor", "pixels", "--json")
    assert code == 0
    assert {row["dataset"] for row in document["feature_sets"]} == {"mine"}
    code, document, err = run("probe", "--dataset", "mine", "--extractor", "pixels", "--head", "ridge", "--json")
    assert [row["dataset"] for row in document["runs"]] == ["mine"], err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--dataset", "bundled:digits,bundled:digits2", "--name", "x"),
            "one --dataset expected to be called so, 2 given",
        ),
        (("--name", "x"), "one --dataset expected to be called so, 0 given"),
        (("--dataset", "bundled:digits", "--name", " "), "--name: a text expected, got an empty one"),
        (("job.toml", "--name", "x"), "job.toml names its datasets; change name = … there"),
    ],
)
def test_a_name_for_none_or_several_is_refused(run, tmp_path, arguments, message):
    (tmp_path / "job.toml").write_text('[[datasets]]\nsource = "bundled:digits"\n')
    code, _, err = run("extract", *arguments)
    assert (code, message in err) == (2, True)


def test_an_existing_path_without_its_scheme_gets_it_as_the_hint(run, images, tmp_path):
    (tmp_path / "a.npz").write_bytes(b"")
    (tmp_path / "t.csv").write_bytes(b"")
    for typed, meant in (
        ("images", "folder:images"),
        ("./images", "folder:./images"),
        ("a.npz", "npz:a.npz"),
        ("t.csv", "table:t.csv"),
    ):
        code, _, err = run("extract", "--dataset", typed, "--extractor", "pixels")
        assert code == 2
        assert f"did you mean {meant}?" in err


@pytest.mark.heavy
@pytest.mark.parametrize("value", ["", "x", "source_", "complete_zebra", "_", "complete", "source_bash", "show_bash"])
def test_what_asks_for_completion_gets_no_traceback(value, tmp_path):
    environment = {**os.environ, "_LINPROBE_COMPLETE": value}
    found = subprocess.run(
        [sys.executable, "-m", "linprobe", "--version"], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert "Traceback" not in found.stderr
    assert "fault of ours" not in found.stderr


@pytest.mark.heavy
def test_bash_completes_commands_and_options(tmp_path):
    bash = shutil.which("bash")
    assert bash
    folder = Path(sys.executable).parent
    script = f"""
        export PATH={folder}:$PATH
        eval "$(linprobe --show-completion bash)"
        complete_words() {{ COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _linprobe_completion linprobe; echo "${{COMPREPLY[*]}}"; }}
        complete_words linprobe ex
        complete_words linprobe probe --train
        complete_words linprobe store v
    """
    found = subprocess.run([bash, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert found.stdout.splitlines() == ["extract explain export", "--train --train-share", "verify"], found.stderr
