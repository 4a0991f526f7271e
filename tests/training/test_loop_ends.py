"""How runs begin and end: what is opened, noted, told and closed, with nothing trained."""

import contextlib
import types

import pytest
from rich.console import Console

from cnn_jax.errors import DIVERGED, STOPPED, UserError
from cnn_jax.training import train as loop
from cnn_jax.training.plan import Plan

PLAN = Plan(64, 8, 1, 8, 8, 6, 2, 4, (), 8)
Fake = types.SimpleNamespace


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """`ran(...)` is `train.run` of such runs: what happened, and how they ended."""

    def run(names="a", index=0, ends=None, lost=()):
        events, stop = [], Fake(saved=None)

        def writer(setup, directory, saved, progress, group, *, seconds, label):
            events.append((directory.name, saved, progress, seconds, label))
            return Fake(
                directory=directory,
                failure=UserError("lost", DIVERGED) if directory.name in lost else None,
                wait=lambda: events.append(f"wait {directory.name}"),
                close=lambda: events.append(f"close {directory.name}"),
            )

        def take_steps(setup, run_steps, state, step, writers, progress, stop, group):
            events.append((run_steps, state, step, len(writers), progress))
            if ends:
                raise ends

        def note_failure(directory, status, error):
            events.append((directory.name, status, str(error)))

        group = Fake(index=index, explained=lambda error: error)
        runs = [
            Fake(
                name=name, path=tmp_path / name, set_status=lambda s, n=name: events.append((n, s))
            )
            for name in names
        ]
        setup = Fake(plan=PLAN)
        monkeypatch.setattr(loop, "open_checkpoints", lambda own, d, *_: f"saved {d.name}")
        monkeypatch.setattr(loop, "restore", lambda own, d, saved, _: (saved, 4, 1.5))
        monkeypatch.setattr(loop, "TrainingProgress", lambda *numbers: numbers[:3])
        monkeypatch.setattr(loop, "RunWriter", writer)
        monkeypatch.setattr(loop, "take_steps", take_steps)
        monkeypatch.setattr(loop, "note_failure", note_failure)
        found.update(events=events, stop=stop)
        loop.run(setup, "run_steps", runs, "console", stop, group)
        return events

    found = run.found = {}
    return run


PROGRESS = (4, 8, 8)  # the step, of how many, and the size of a batch


def test_a_run_is_restored_written_waited_for_closed_and_done(ran):
    assert ran("a") == [
        ("a", "saved a", PROGRESS, 1.5, ""),
        ("run_steps", ["saved a"], 4, 1, PROGRESS),
        *("wait a", "close a", ("a", "done")),
    ]
    assert "there is no checkpoint yet" in ran.found["stop"].saved()
    ran("a", index=1)
    assert ran.found["stop"].saved is None


def test_lines_of_several_seeds_begin_with_their_names_and_one_that_diverged_is_not_done(ran):
    events = ran("ab", lost="a")
    assert [event[-1] for event in events[:2]] == ["a  ", "b  "]
    assert events[3:] == ["wait a", "wait b", "close b", "close a", ("b", "done")]


@pytest.mark.parametrize(
    "error,status",
    [
        (UserError("stop", STOPPED), "preempted"),
        (UserError("nan", DIVERGED), "diverged"),
        (UserError("disk", 1), "failed"),
        (KeyboardInterrupt("key"), "failed"),
    ],
)
def test_how_a_run_ended_is_noted_but_of_seeds_that_had_diverged_before(error, status, ran):
    with pytest.raises(type(error)):
        ran("abc", ends=error, lost="b")
    events = ran.found["events"][4:]
    assert events[:2] == [("a", status, str(error)), ("c", status, str(error))]
    assert events[2:] == ["close c", "close b", "close a"]


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """`trained(...)` is `train.train` of runs with such statuses: what happened."""

    def train(index=0, seeds=None, statuses=("running",), **given):
        events = []
        group = Fake(index=index)

        @contextlib.contextmanager
        def own_directory(workdir, own):
            yield workdir / "own"
            events.append("left")

        @contextlib.contextmanager
        def watch(own, path):
            yield f"watched {path.name}"
            events.append("watched")

        def directory(place, config):
            i = int(place.name)
            events.append(f"open {i} {config}")
            return Fake(
                seed=i, name=place.name, path=place, status=statuses[i],
                close=lambda: events.append(f"close {i}"),
                write_start=lambda *start: events.append((i, *start)),
            )  # fmt: skip

        parts = Fake(facts=lambda: "facts", preprocessing="preprocessing")
        closed = Fake(close=lambda: events.append("close inputs"))
        setup = Fake(parts=parts, inputs=closed, compiler_options="options")

        def unfinished(directories, are_seeds, own):
            assert are_seeds == (seeds is not None)
            return [d for d in directories if d.status == "running"]

        def build(config, seeds, group):
            events.append(f"build {config} {seeds}")
            return setup

        def run(own, run_steps, todo, console, stop, own_group):
            assert own is setup and own_group is group
            events.append((run_steps, [d.name for d in todo], stop))

        places = lambda config, path, seeds: {path / str(i): f"{config}-{i}"  # noqa: E731
                                              for i in range(len(statuses))}  # fmt: skip
        monkeypatch.setattr(loop, "own_directory", own_directory)
        monkeypatch.setattr(loop, "runs_of", places)
        monkeypatch.setattr(loop, "RunDirectory", directory)
        monkeypatch.setattr(loop, "unfinished", unfinished)
        monkeypatch.setattr(loop, "check_config", lambda config, own: events.append("check"))
        monkeypatch.setattr(loop, "build", build)
        monkeypatch.setattr(loop, "run", run)
        monkeypatch.setattr(loop.metrics, "summary", lambda path: {})
        monkeypatch.setattr(loop, "summary_table", lambda summary, name: f"summary {name}")
        console = Fake(print=events.append)
        monkeypatch.setattr(loop, "print_line", lambda own, text: events.append(text))
        loop.train("config", tmp_path, console, "stop", seeds, group, watch)
        return events

    return train


def test_a_training_opens_builds_notes_its_start_runs_and_closes_in_the_other_order(trained):
    assert trained() == [
        *("open 0 config-0", "check", "build config None"),
        (0, "facts", "preprocessing", "options"),
        *(("watched own", ["0"], "stop"), "summary 0"),
        *("watched", "close inputs", "close 0", "left"),
    ]


def test_of_several_seeds_those_that_are_not_over_are_trained(trained):
    events = trained(seeds=3, statuses=("running", "done", "running"))
    assert events[3:5] == ["check", "build config [0, 2]"]
    assert events[5:8] == [
        (0, "facts", "preprocessing", "options"),
        (2, "facts", "preprocessing", "options"),
        ("watched own", ["0", "2"], "stop"),
    ]
    assert events[8:11] == ["summary 0", "summary 1", "summary 2"]


def test_a_run_that_is_over_is_told_and_nothing_is_built(trained, tmp_path):
    told = f"{tmp_path} is finished, and is not run again"
    assert trained(statuses=("done",)) == [
        *("open 0 config-0", told, "summary 0", "close 0", "left")
    ]


def test_process_0_alone_prints_the_summary(trained):
    assert "summary 0" not in trained(index=1)


def test_a_seed_that_diverged_is_an_error_at_the_end(trained):
    with pytest.raises(UserError, match="^1 diverged; the others are done$"):
        trained(seeds=2, statuses=("done", "diverged"))


def test_without_a_group_or_a_stop_a_training_is_alone_and_listens(monkeypatch, tmp_path):
    seen = {}

    def runs_of(config, path, seeds):
        raise LookupError

    @contextlib.contextmanager
    def own_directory(workdir, group):
        seen["group"] = group
        yield workdir

    @contextlib.contextmanager
    def listening():
        seen["listens"] = True
        yield "stop"

    monkeypatch.setattr(loop, "runs_of", runs_of)
    monkeypatch.setattr(loop, "own_directory", own_directory)
    monkeypatch.setattr(loop.preemption, "listening", listening)
    with pytest.raises(LookupError):
        loop.train("config", tmp_path, Console(quiet=True))
    assert isinstance(seen["group"], loop.Alone) and seen["listens"]
    with pytest.raises(LookupError):
        loop.train("config", tmp_path, Console(quiet=True), group="others")
    assert seen["group"] == "others"
