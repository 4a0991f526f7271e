"""The pieces of the loop, without a training: which runs, from which step, and how they end."""

import contextlib
import io
import types
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from cnn_jax.cluster.join import Alone
from cnn_jax.errors import DIVERGED, STOPPED, UserError
from cnn_jax.training import train as loop

ALONE = Alone()


def directories(**statuses):
    return [types.SimpleNamespace(name=n, status=status) for n, status in statuses.items()]


def test_seeds_count_from_that_of_the_config_each_in_its_directory(tiny_config, tmp_path):
    config = tiny_config.copy_and_resolve_references()
    config.seed = 3
    runs = loop.runs_of(config, tmp_path, 2)
    assert {path.name: own.seed for path, own in runs.items()} == {"seed-3": 3, "seed-4": 4}
    assert all(own.is_locked and own.training == config.training for own in runs.values())
    assert loop.runs_of(config, tmp_path, None) == {tmp_path: config}
    (tmp_path / "config.json").touch()
    with pytest.raises(UserError, match="is a single run"):
        loop.runs_of(config, tmp_path, 2)


def test_a_seed_that_diverged_is_over_and_a_single_run_that_did_is_tried_again():
    runs = directories(a="done", b="diverged", c="preempted", d="running")
    assert [d.name for d in loop.unfinished(runs, True, ALONE)] == ["c", "d"]
    assert [d.name for d in loop.unfinished(runs, False, ALONE)] == ["b", "c", "d"]


def test_seeds_that_diverged_are_named_at_the_end():
    loop.raise_diverged(directories(a="done"))
    with pytest.raises(UserError, match="^a, c diverged; the others are done$") as caught:
        loop.raise_diverged(directories(a="diverged", b="done", c="diverged"))
    assert caught.value.exit_code == DIVERGED
    with pytest.raises(UserError, match="^a diverged$"):
        loop.raise_diverged(directories(a="diverged"))


def test_a_run_that_was_stopped_says_where():
    error = loop.stopped("SIGTERM", 1200, 64000)
    assert error.exit_code == STOPPED
    assert str(error).startswith("SIGTERM: saved at step 1,200 of 64,000 and stopped")
    assert loop.STATUS == {75: "preempted", 3: "diverged"}


def test_metrics_of_all_seeds_are_fetched_once():
    asked = []

    def split(tree):
        asked.append(tree)
        return [{"loss": tree["loss"][i]} for i in range(2)]

    seeds = types.SimpleNamespace(numbers=(5, 6), split=split)
    first, second = loop.fetches(seeds, {"loss": np.array([[1.0], [2.0]])})
    assert not asked
    assert (second()["loss"], first()["loss"]) == (2.0, 1.0) and len(asked) == 1


def test_a_summary_has_the_errors_and_the_accuracy_of_each_split():
    values = {"loss": 0.51239, "top1_error": 0.125, "top5_error": 0.0625}
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(loop.summary_table({"test": values}, "tiny"))
    row = console.export_text().splitlines()[-2].replace("│", " ").split()
    assert row == ["test", "0.5124", "12.50%", "6.25%", "87.50%"]


class Saved:
    """Checkpoints of the steps, whose arrays are the step alone."""

    def __init__(self, *steps, pace=10.0):
        self.steps, self.pace = steps, pace

    def restore_latest(self, template, limit):
        steps = [step for step in self.steps if limit is None or step <= limit]
        if not steps:
            return None
        return types.SimpleNamespace(step=steps[-1]), {"seconds": self.pace * steps[-1]}


def restored(*saved, asked=None):
    def broadcast_json(what, value):
        if asked is not None:
            asked.append(what)
        return value

    group = types.SimpleNamespace(
        broadcast_json=broadcast_json,
        broadcast=lambda value, template: value,
        put_global=lambda state, shardings: state,
    )
    seeds = types.SimpleNamespace(template={}, join=lambda states: [s.step for s in states])
    setup = types.SimpleNamespace(seeds=seeds, initial_state=lambda: "initial")
    runs = directories(**{f"seed-{i}": "running" for i in range(len(saved))})
    return loop.restore(setup, runs, list(saved), group)


def test_seeds_go_on_from_their_last_common_step_and_the_longest_time():
    assert restored(Saved(10, 20)) == ([20], 20, 200.0)
    assert restored(Saved(10, 20), Saved(10, 20, 30)) == ([20, 20], 20, 200.0)
    assert restored(Saved(10, 20, pace=12.0), Saved(10, 20)) == ([20, 20], 20, 240.0)
    asked, latest = [], [f"the latest checkpoint of seed-{i}" for i in (0, 1)]
    assert restored(Saved(10, 30), Saved(10, 20), asked=asked) == ([10, 10], 10, 100.0)
    wanted = [*latest, *(f"{what} up to step {limit}" for limit in (20, 10) for what in latest)]
    assert asked == wanted


def test_without_a_checkpoint_of_each_a_run_begins_anew():
    assert restored(Saved()) == ("initial", 0, 0.0)
    assert restored(Saved(20), Saved()) == ("initial", 0, 0.0)


@pytest.mark.parametrize("plateau,joined", [(None, "state"), ("rule", [11, 12])])
def test_a_plateau_alone_changes_the_state_that_is_saved(plateau, joined):
    writers = [
        types.SimpleNamespace(evaluate_and_save=lambda own, step, due, i=i: own + i + 1)
        for i in range(2)
    ]
    seeds = types.SimpleNamespace(split=lambda state: [10, 10], join=list)
    rate = types.SimpleNamespace(plateau=plateau)
    setup = types.SimpleNamespace(seeds=seeds, parts=types.SimpleNamespace(learning_rate=rate))
    assert loop.save(setup, writers, "state", 7, True) == joined


def test_process_0_writes_and_the_others_work_in_a_folder_that_goes(tmp_path):
    workdir = tmp_path / "run"
    with loop.own_directory(workdir, ALONE) as path:
        assert path == workdir
    with loop.own_directory(workdir, types.SimpleNamespace(index=1)) as path:
        assert path.name == "run" and path != workdir and path.parent.is_dir()
    assert not path.parent.exists()


def test_process_0_alone_has_checkpoints_and_they_are_closed(tmp_path, monkeypatch):
    def opened_at(folder):
        found.append(folder)
        return types.SimpleNamespace(close=lambda: found.append("closed"))

    found = []
    monkeypatch.setattr(loop, "Checkpoints", opened_at)
    directory = types.SimpleNamespace(path=tmp_path)
    with contextlib.ExitStack() as opened:
        assert loop.open_checkpoints(None, directory, ALONE, opened)
        other = types.SimpleNamespace(index=1)
        assert loop.open_checkpoints(None, directory, other, opened) is None
    assert found == [tmp_path / "checkpoints", "closed"]


def test_what_is_left_is_the_earliest_of_the_last_steps(monkeypatch):
    steps = {"a": [5, 10, 30], "b": [5, 10, 20], "c": [], "d": [7]}
    monkeypatch.setattr(loop, "saved_steps", lambda folder: steps[folder.parent.name])
    assert loop.left_on_disk([Path("d")]).endswith("step 7")
    told = loop.left_on_disk([Path("a"), Path("b")])
    assert told.endswith("goes on from the checkpoint of step 20")
    assert "no checkpoint yet" in loop.left_on_disk([Path("a"), Path("c")])


def test_a_process_with_another_config_is_refused(tiny_config):
    loop.check_config(tiny_config, ALONE)
    there = tiny_config.to_dict() | {"seed": 7}
    group = types.SimpleNamespace(broadcast_json=lambda what, value: there)
    with pytest.raises(UserError, match="process 0 has another config: .*seed"):
        loop.check_config(tiny_config, group)
