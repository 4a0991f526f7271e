"""Signals that ask to stop: noted, so that a run can save; obeyed at once where nothing is lost."""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator

from cnn_jax.errors import STOPPED, UserError

# Ctrl-C, what schedulers send, and a terminal or connection that is closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heard() -> list[signal.Signals]:
    """`SIGNALS`, without a SIGHUP that `nohup` has set to be ignored."""
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in SIGNALS if number != signal.SIGHUP or not is_ignored]


class Preemption:
    """Whether the run is asked to stop: the first signal, once there is something to save.

    Before `can_save` is set, and at a SIGINT after another signal, the run is to end at once:
    `end(error)` is called, in a thread, since the main one may compile for a minute or wait for
    another process. Without `end`, as in a notebook, the main thread gets the error.
    """

    def __init__(self, end: Callable[[UserError], None] | None = None):
        self.requested: signal.Signals | None = None
        self.can_save = False
        # What is on disk, for a person who does not wait until it is saved.
        self.saved: Callable[[], str] = lambda: "what was saved before is whole"
        self._end = end

    def note(self, number: int, _frame) -> None:
        """The handler, which Python calls in the main thread, between two of its instructions."""
        error = self._at_once(number, self.requested is not None)
        self.requested = self.requested or signal.Signals(number)
        if error and not self._end:
            raise error

    def listen(self, reader: socket.socket) -> None:
        """Takes the numbers of signals as they come, until the other side is closed."""
        is_again = False
        with reader:
            while byte := reader.recv(1):
                if byte[0] in SIGNALS:
                    if error := self._at_once(byte[0], is_again):
                        self._end(error)
                    is_again = True

    def _at_once(self, number: int, again: bool) -> UserError | None:
        name = signal.Signals(number).name
        if not self.can_save:
            what = "stopped before there was anything to save"
            return UserError(f"{name}: {what}; the same command begins as this one did", STOPPED)
        if again and number == signal.SIGINT:
            return UserError(f"{name} again: stopped without saving; {self.saved()}")
        return None


@contextlib.contextmanager
def listening(end: Callable[[UserError], None] | None = None) -> Iterator[Preemption]:
    """Signals go to a `Preemption` for as long as this lasts, and then where they went before.

    Only the main thread hears signals: in another one nothing is listened to.
    """
    preemption = Preemption(end)
    if threading.current_thread() is not threading.main_thread():
        yield preemption
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = {number: signal.signal(number, preemption.note) for number in heard()}
    fd_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    if end:
        threading.Thread(target=preemption.listen, args=(reader,), daemon=True).start()
    try:
        yield preemption
    finally:
        signal.set_wakeup_fd(fd_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()  # ends the thread
        if not end:
            reader.close()
