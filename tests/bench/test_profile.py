"""A trace of a run holds the steps that were asked for, under their names."""

import argparse
import gzip
import json

import pytest

from cnn_jax.bench import profile
from cnn_jax.commands.train import steps_of
from tests.conftest import DENSE, launch_here


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """The folder of the trace of three steps of a run of two programs, of five steps each."""
    workdir = tmp_path_factory.mktemp("profile") / "run"
    stretch = ("training.duration", "training.checkpoint_every", "evaluation.every")
    fields = [*DENSE, "augmentation.crop_padding=1", *(f"{f}=10 steps" for f in stretch)]
    command = ["train", *(f"--config.{field}" for field in fields), f"--workdir={workdir}"]
    done = launch_here(*command, "--profile=7:10")
    assert done.returncode == 0, done.stderr
    assert f"the trace is in {workdir}/profile" in done.stdout
    return workdir / "profile"


def test_a_trace_has_the_program_with_the_steps_and_no_other(traced):
    (file,) = traced.rglob("*.trace.json.gz")
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    steps = [e["args"]["step_num"] for e in events if e.get("name") == "train"]
    assert steps == ["5"]
    assert any("train_steps" in e.get("name", "") for e in events)


def test_a_trace_names_the_parts_of_a_step_and_the_layers(traced):
    (file,) = traced.rglob("*.xplane.pb")
    content = file.read_bytes()
    passes = (b"/jvp(LeNet)/ip1/", b"/transpose(jvp(LeNet))/ip1/")
    for name in (b"/data/", b"/augment/", *passes, b"/update/"):
        assert name in content, name


@pytest.mark.parametrize(
    "begin,length,found", [(None, 3, [5]), (None, 6, [5, 10]), (0, 1, [0]), (7, 5, [5, 10])]
)
def test_steps_are_traced_in_whole_programs_without_the_first_unless_it_is_named(
    begin, length, found, tmp_path, monkeypatch
):
    inside, is_open = [], []
    monkeypatch.setattr(profile, "start", lambda folder: (folder.mkdir(), is_open.append(1)))
    monkeypatch.setattr("jax.profiler.stop_trace", is_open.clear)

    def run_steps(state, first, count):
        inside.extend([first] * len(is_open))
        return state, {}

    with profile.traced(run_steps, begin, length, tmp_path / "profile") as traced_steps:
        for first in range(0, 20, 5):
            traced_steps(0, first, 5)
    assert inside == found and not is_open


def test_steps_that_a_run_does_not_take_are_told(tmp_path):
    with (
        pytest.warns(UserWarning, match="no such step was taken"),
        profile.traced(lambda *_: (0, {}), 100, 5, tmp_path / "profile") as traced_steps,
    ):
        traced_steps(0, 0, 5)


def test_steps_are_a_number_or_a_range():
    assert steps_of("10") == (None, 10) and steps_of("100:110") == (100, 10)
    for text in ("0", "ten", "5:5", "9:3", ":3"):
        with pytest.raises(argparse.ArgumentTypeError, match="no number of steps"):
            steps_of(text)
