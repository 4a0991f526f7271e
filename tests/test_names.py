"""Files, classes, runs and rows may have any name: it is printed, written and quoted as it is."""

import argparse
import csv
import io
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from rich.table import Table

from cnn_jax.analysis import comparison, markdown
from cnn_jax.commands import train as train_command
from cnn_jax.commands.arguments import quoted
from cnn_jax.errors import UserError, printable
from cnn_jax.evaluation import files
from cnn_jax.progress import PlainConsole, ProgressBar, print_line, summary_table
from cnn_jax.runs import metrics
from cnn_jax.runs.directory import RunDirectory
from tests.analysis.making import record
from tests.conftest import launch_here

NASTY = (
    "[b]",
    "[/x]",
    "\\[b]",
    ":smile:",
    "a|b",
    "it's",
    "$\\frac$",
    "a\nb\r",
    "\x1b[1m",
    "caf\udce9",
)
# What Linux takes for a name: all but / and NUL, and bytes that are no UTF-8.
characters = st.one_of(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]),
    st.sampled_from("[]{}()$*?!'\"\\|&;<>#`~ :\n\x1b"),
    st.integers(0xDC80, 0xDCFF).map(chr),
)
names = st.text(characters, min_size=1, max_size=30)


def any_name(test):
    """A property of every name, tried with those that have broken something."""
    for name in NASTY:
        test = example(name)(test)
    return settings(max_examples=20, deadline=None, derandomize=True)(given(names)(test))


def unfolded(text):
    return "".join(text.split())


@any_name
def test_a_name_is_printed_as_it_is_in_lines_and_tables(name):
    console = PlainConsole(file=io.StringIO())
    print_line(console, name)
    assert console.file.getvalue() == f"{printable(name)}\n"
    console.file.getvalue().encode()
    table = Table("column", title=name)
    table.add_row(name)
    console.print(table)
    assert unfolded(console.file.getvalue()).count(unfolded(printable(name))) >= 3


@any_name
def test_what_training_prints_takes_any_name_in_somebody_elses_console_too(name):
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    numbers = dict.fromkeys(("loss", "top1_error", "top5_error"), 0.0)
    console.print(summary_table({"test": numbers}, name))
    with ProgressBar(console) as bar:
        bar.show(name, 1, 2, name)
        bar.line(name)
    assert unfolded(printable(name)) in unfolded(console.file.getvalue())


@any_name
def test_a_report_has_a_row_in_one_line_for_any_name(name):
    ((facts, records),) = comparison.tables([record(name, 0, 5.0, title=name, protocol=name)])
    lines = comparison.lines(records)
    text = markdown.markdown(facts, lines)
    assert text.startswith(f"## {printable(name)}\n")
    (row,) = [line for line in text.splitlines() if "| test/top1_error |" in line]
    assert row.startswith(f"| {markdown.escaped(name)} | ")
    rows = list(csv.reader(io.StringIO(markdown.as_csv([(facts, lines)]), newline="")))
    assert len(rows) == 2 and rows[1][2] == printable(name)


@given(st.lists(names, max_size=20))
@example(list(NASTY))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_a_word_of_a_printed_command_comes_to_the_program_as_it_was(words):
    command = " ".join(["printf '%s\\0' -", *map(quoted, words)])
    assert printable(command) == command
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert done.stdout.split(b"\0")[1:-1] == [os.fsencode(word) for word in words]


@pytest.mark.parametrize("name", ["plain", "two words", "it's", '"', "-x", "$HOME"])
def test_the_commands_that_a_run_prints_to_go_on_with_are_quoted(name):
    arguments = argparse.Namespace(program="cnn-jax", profile=None)
    _, evaluate, predict, page, python, board = train_command.what_next(
        Path(name), [Path(name)], arguments
    )
    path = f"./{name}" if name == "-x" else name
    assert shlex.split(evaluate) == ["cnn-jax", "eval", path]
    assert shlex.split(predict)[:3] == ["cnn-jax", "predict", path]
    assert shlex.split(page)[:3] == ["cnn-jax", "report", path]
    assert shlex.split(board)[:2] == ["tensorboard", "--logdir=."]
    code = shlex.split(python)[2]
    assert eval(code.partition("load_run(")[2].partition(").history")[0]) == name


def test_the_commands_after_several_seeds_go_on_with_a_run_of_them():
    runs = [Path("runs", f"seed-{seed}") for seed in (3, 4)]
    arguments = argparse.Namespace(program="cnn-jax", profile=None)
    where, evaluate, *_ = train_command.what_next(Path("runs"), runs, arguments)
    assert where.startswith("the runs are runs/seed-3 to seed-4, each")
    assert shlex.split(evaluate) == ["cnn-jax", "eval", "runs/seed-3"]


def test_predict_prints_files_and_classes_as_they_are(tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    facts = json.loads((run / "dataset.json").read_text())
    facts["class_names"] = NASTY
    (run / "dataset.json").write_text(json.dumps(facts))
    image = tmp_path / "[b] a\n[x] caf\udce9.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(image)
    done = launch_here("predict", run, image, "--top=10")
    assert done.returncode == 0, done.stderr
    shown = unfolded(done.stdout)
    assert not [name for name in NASTY if unfolded(printable(name)) not in shown.replace("│", "")]


def test_the_files_of_an_evaluation_take_any_class(predictions, tmp_path):
    result = {"files": "one", "split": "test", "protocol": "center", "weights": "raw", "step": 1}
    folder = files.write(tmp_path, result, predictions, NASTY[-8:], with_logits=True)
    with np.load(folder / "predictions.npz") as arrays:
        assert tuple(arrays["class_names"]) == NASTY[-8:]
    assert "caf\\udce9" in (folder / "confusion.csv").read_text(encoding="utf-8")


def test_report_writes_a_table_and_a_figure_for_any_name(tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    for number, name in enumerate(NASTY):
        one = record(name, 0, 5.0, title=f"Table {NASTY[-1]} $x_$ [b]", protocol="$\\frac$")
        (runs / f"{number}.json").write_text(json.dumps(one))
    done = launch_here("report", runs, f"--out={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/report.md").read_text(encoding="utf-8").count("test/top1_error") == 10


@pytest.fixture
def curves():
    """They are drawn here."""


def test_the_curves_of_a_run_take_any_name(tmp_path):
    line = {"split": "test", "epoch": 1, "loss": 1.0, "top1_error": 0.5}
    metrics.draw_curves([line], tmp_path / "curves.png", " ".join(NASTY))
    assert (tmp_path / "curves.png").stat().st_size


@pytest.mark.parametrize("name", ["[b]", "a*", "a?", "caf\udce9"])
def test_a_directory_in_which_checkpoints_would_be_lost_is_refused_at_once(
    name, tmp_path, tiny_config
):
    with pytest.raises(UserError, match="no checkpoints can be kept in .*choose another"):
        RunDirectory(tmp_path / name / "run", tiny_config)
    assert not (tmp_path / name).exists()
