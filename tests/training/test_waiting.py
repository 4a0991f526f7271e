"""The loop keeps the devices busy: it reads what a program measured while the next one runs."""

import types
from collections import Counter

import jax
import numpy as np
import pytest
from rich.console import Console

from cnn_jax.cluster.join import Alone
from cnn_jax.cluster.preemption import Preemption
from cnn_jax.progress import TrainingProgress
from cnn_jax.runs import metrics
from cnn_jax.runs.directory import RunDirectory
from cnn_jax.training import run_writer
from cnn_jax.training import train as loop
from cnn_jax.training.inputs import Report
from cnn_jax.training.plan import Plan
from tests.conftest import DENSE, launch_here


class Metric:
    """What a program gives: reading it waits for the program."""

    def __init__(self, events, first, count):
        self.events, self.first, self.count = events, first, count

    def __array__(self, dtype=None, copy=None):
        self.events.append(f"read {self.first}")
        return np.full(self.count, 0.5, dtype)


@pytest.fixture
def events(tiny_config, tmp_path):
    """What the loop did, in its order, in four programs of two steps, with a save after two."""
    plan = Plan(64, 8, 1, 8, 8, 4, 2, 8, (), 8)
    found = []

    def run_steps(state, first, count):
        found.append(f"start {first}")
        rate = np.full(count, 0.1)
        return state, {
            "loss": Metric(found, first, count),
            "top1_error": np.full(count, 0.5),
            "top5_error": np.zeros(count),
            "learning_rate": rate,
        }

    def gather(state):
        found.append("save")
        return state

    state = types.SimpleNamespace(
        params={"a": np.zeros(1)}, batch_stats={}, weights=lambda which: {}, step=0
    )
    seeds = types.SimpleNamespace(
        numbers=(0,),
        split=lambda tree: [tree],
        by_example=types.SimpleNamespace(addressable_devices=jax.devices()[:1]),
    )
    rate = types.SimpleNamespace(plateau=None)
    setup = types.SimpleNamespace(
        plan=plan,
        seeds=seeds,
        inputs=types.SimpleNamespace(report=lambda: Report([], None)),
        parts=types.SimpleNamespace(config=tiny_config, learning_rate=rate, start_notes=lambda: []),
        evaluate={},
    )
    group = Alone()
    group.gather = gather
    directory = RunDirectory(tmp_path / "run", tiny_config)
    (directory.path / "config.json").touch()
    progress = TrainingProgress(0, 8, 8, Console(quiet=True))
    saved = types.SimpleNamespace(save=lambda *_: None)
    writer = run_writer.RunWriter(setup, directory, saved, progress, group, seconds=0.0)
    loop.take_steps(setup, run_steps, state, 0, [writer], progress, Preemption(None), group)
    writer.close()
    directory.close()
    assert [line["step"] for line in metrics.read(tmp_path / "run")] == [2, 4, 6, 8]
    return found


def test_metrics_are_read_once_the_next_program_is_started(events):
    first, second = events[: events.index("save")], events[events.index("save") + 1 :]
    assert first == ["start 0", "start 2", "read 0", "read 2"]
    assert second == ["start 4", "start 6", "read 4", "read 6", "save"]


@pytest.fixture
def compiled():
    """How often a program of each name was compiled, from here on."""
    counts = Counter()

    def count(event, _, **about):
        if event == "/jax/core/compile/backend_compile_duration":
            counts[about.get("fun_name")] += 1

    jax.monitoring.register_event_duration_secs_listener(count)
    yield counts
    jax.monitoring.unregister_event_duration_listener(count)


def test_what_is_left_over_of_a_stretch_or_a_split_compiles_nothing_again(compiled, tmp_path):
    # 22 steps are programs of 10, 10 and 2; the last batch of the 180 images is one of 24.
    run, sizes = tmp_path / "run", {"training.steps_per_dispatch": 10, "evaluation.batch_size": 26}
    lenet = dict(field.split("=") for field in DENSE[:2])
    stretch = ("training.duration", "training.checkpoint_every", "evaluation.every")
    fields = {**lenet, **dict.fromkeys(stretch, "22 steps"), **sizes}
    train = ["train", *(f"--config.{field}={value}" for field, value in fields.items())]
    for command in ([*train, f"--workdir={run}"], ["eval", run, "--split=validation"]):
        done = launch_here(*command)
        assert done.returncode == 0, done.stderr
    expected = {"train_steps": 2, "sums_of": 2, "score": 1}  # sums of two splits
    assert {name: compiled[f"jit({name})"] for name in expected} == expected
