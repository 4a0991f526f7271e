"""SIGINT and SIGTERM: noted, so that a run can save first; obeyed at once where nothing is lost."""

import signal
import socket
import threading
from collections.abc import Callable

from cnn_jax.errors import UserError

STOPPED = 75  # exit code of launch.py
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A context in which the first signal sets `requested`, once there is something to save.

    Before `has_progress` is set, and at a SIGINT after another signal, the run is to end at once:
    `end(error)` is called, in a thread, since the main one may compile for a minute or wait for
    another process. Without `end`, as in a notebook, the main thread gets the error.
    """

    def __init__(self, end: Callable[[UserError], None] | None = None):
        self.requested: signal.Signals | None = None
        self.has_progress = False
        self._end = end

    def __enter__(self) -> "Interruption":
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        self._fd_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        if self._end:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._writer.close()  # ends the thread

    def _note(self, number: int, _frame) -> None:
        """Python calls it in the main thread, between two of its instructions."""
        error = self._at_once(number, self.requested is not None)
        self.requested = self.requested or signal.Signals(number)
        if error and not self._end:
            raise error

    def _watch(self) -> None:
        """Python writes the number of each signal to the socket as it comes."""
        signalled = False
        while byte := self._reader.recv(1):
            if byte[0] in SIGNALS:
                if error := self._at_once(byte[0], signalled):
                    self._end(error)
                signalled = True

    def _at_once(self, number: int, again: bool) -> UserError | None:
        name = signal.Signals(number).name
        if not self.has_progress:
            what = "stopped before there was anything to save; the same command starts again"
            return UserError(f"{name}: {what}", STOPPED)
        if again and number == signal.SIGINT:
            return UserError(f"{name} again: stopped without saving; the last checkpoint is whole")
        return None
