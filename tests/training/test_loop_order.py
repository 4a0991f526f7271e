"""What the loop does in which order, with all that it calls written down and nothing trained."""

import contextlib
import json
import signal
import types
from dataclasses import replace

import pytest

from cnn_jax.errors import DIVERGED, STOPPED, UserError
from cnn_jax.training import train as loop
from cnn_jax.training.inputs import Report
from cnn_jax.training.plan import Plan

# 8 steps in programs of 2; an evaluation after 4 of them, a checkpoint after 6.
PLAN = Plan(64, 8, 1, 8, 8, 6, 2, 4, (), 8)
Fake = types.SimpleNamespace


class Around:
    """What stands around the loop; each call is a line of `events`."""

    def __init__(self, path, plan, count, notes, requested):
        self.events = []
        self.note = self.events.append
        self.reports = iter([Report([f"warning {i}"], i / 8) for i in range(99)])
        self.requested, self.asked = iter([*requested, *99 * [None]]), []
        self.writers = [self.writer(i, path / str(i)) for i in range(count)]
        self.setup = Fake(
            plan=plan,
            seeds=Fake(numbers=range(count), split=lambda tree: count * [tree]),
            inputs=Fake(report=lambda: next(self.reports)),
            parts=Fake(start_notes=lambda: list(notes), learning_rate=Fake(plateau=None)),
        )
        self.group = Fake(
            note_step=lambda step: self.note(f"at {step}"), synced_stop=lambda: self.synced
        )

    def writer(self, i, path):
        path.mkdir()
        return Fake(
            directory=Fake(path=path),
            failure=None,
            log_steps=lambda first, fetch, waited: self.note(f"log {first} {fetch()} {waited}"),
            evaluate_and_save=lambda *what: self.note(f"save {what}"),
            wait=lambda: self.note(f"wait {i}"),
        )

    def synced(self, number):
        self.asked.append(number)
        return number

    def run_steps(self, state, first, count):
        self.note(f"run {state} {first} {count}")
        return f"state-{first + count}", f"values-{first}"

    @contextlib.contextmanager
    def dispatch(self, first, count, phase):
        self.note(f"guard {first} {count} {phase}")
        yield


@pytest.fixture
def looped(tmp_path, monkeypatch):
    """`looped(...)` takes the steps, and gives what happened."""

    def take(step=0, plan=PLAN, count=1, notes=(), requested=(), failures=()):
        around = Around(tmp_path, plan, count, notes, requested)
        for writer, failure in zip(around.writers, failures, strict=False):
            writer.failure = failure
        monkeypatch.setattr(loop, "Guards", lambda: contextlib.nullcontext(around))

        class Progress(contextlib.nullcontext):
            line = staticmethod(around.note)
            skip_time = staticmethod(lambda: around.note("skip time"))

        stop = type("Stop", (), {"requested": property(lambda _: next(around.requested))})()
        found.append(around)
        first = (around.setup, around.run_steps, "state", step, around.writers)
        loop.take_steps(*first, Progress(), stop, around.group)
        assert stop.can_save
        return around

    found = take.found = []
    return take


def test_a_program_is_run_guarded_logged_saved_where_that_is_due_and_told(looped):
    plan = replace(PLAN, unfreeze=4)
    around = looped(plan=plan)
    assert around.events == [
        "at 0",
        *("guard 0 2 True", "run state 0 2", "log 0 values-0 0.0"),
        *("warning 0", "warning 1", "at 2"),
        *("guard 2 2 True", "run state-2 2 2", "log 2 values-2 0.25"),
        *("save ('state-4', 4, True)", "skip time", "warning 2", "warning 3", "at 4"),
        *("guard 4 2 False", "run state-4 4 2", "log 4 values-4 0.5"),
        *("save ('state-6', 6, False)", "skip time", "warning 4", "warning 5", "at 6"),
        *("guard 6 2 False", "run state-6 6 2", "log 6 values-6 0.75"),
        *("save ('state-8', 8, True)", "skip time", "warning 6", "warning 7", "at 8"),
    ]
    assert around.asked == [0, 0, 0, 0]


def test_a_run_that_goes_on_says_so_and_a_new_one_what_it_starts_from(looped, tmp_path):
    notes = ["weights of a run", "but for its classifier"]
    events = looped(notes=notes, count=2).events
    assert events[:3] == [*notes, "at 0"]
    for i in range(2):
        assert json.loads((tmp_path / str(i) / "init.json").read_text()) == notes


def test_a_run_that_goes_on_says_from_where(looped, tmp_path):
    events = looped(6, notes=["weights of a run"]).events
    assert events[:3] == ["going on at step 6 of 8", "at 6", "guard 6 2 False"]
    assert not (tmp_path / "0" / "init.json").exists()


def test_a_signal_saves_after_its_program_waits_for_all_and_ends(looped):
    with pytest.raises(UserError, match="^SIGTERM: saved at step 2 of 8 and stopped") as caught:
        looped(count=2, requested=[signal.SIGTERM])
    assert caught.value.exit_code == STOPPED
    (around,) = looped.found
    saved = 2 * ["save ('state-2', 2, False)"]
    assert around.events[5:] == [*saved, "skip time", "warning 0", "warning 1", "at 2",
                                 "wait 0", "wait 1"]  # fmt: skip


def test_a_signal_in_the_last_program_stops_nothing(looped):
    events = looped(requested=[None, None, None, signal.SIGTERM]).events
    assert events[-1] == "at 8" and "wait 0" not in events


def test_the_loop_ends_once_every_seed_has_diverged(looped):
    first, second = UserError("first", DIVERGED), UserError("second", DIVERGED)
    with pytest.raises(UserError, match="first"):
        looped(count=2, failures=[first, second])
    assert looped.found[0].events[-1] == "at 2"


def test_the_loop_goes_on_while_a_seed_has_not_diverged(looped):
    assert looped(count=2, failures=[UserError("first", DIVERGED)]).events[-1] == "at 8"
