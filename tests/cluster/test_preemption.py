"""Which signals are heard, and what a person is told who does not wait."""

import os
import signal

import pytest

from cnn_jax.cluster import preemption
from cnn_jax.errors import UserError


@pytest.fixture(autouse=True)
def terminal():
    """SIGHUP as in a terminal: tests may be run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", preemption.SIGNALS)
def test_a_signal_is_noted_once_there_is_something_to_save(number):
    with preemption.listening() as stop:
        stop.can_save = True
        os.kill(os.getpid(), number)
        assert stop.requested == number


def test_a_closed_terminal_is_not_heard_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with preemption.listening() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.requested is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_interrupt_tells_what_is_on_disk():
    with (
        pytest.raises(UserError, match="^SIGINT again: stopped without saving; none yet$"),
        preemption.listening() as stop,
    ):
        stop.can_save, stop.saved = True, lambda: "none yet"
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
