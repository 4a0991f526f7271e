"""Standard input, output and errors of a process, whose other ends may be gone."""

import errno
import io
import os
import sys
from typing import TextIO


class Unheard(io.FileIO):
    """A file whose reader may leave: what is written then is thrown away.

    So `launch.py train | head -1` and a terminal that is closed do not end a training.
    """

    def __init__(self, descriptor: int):
        super().__init__(descriptor, "w", closefd=False)
        # A terminal that is closed gives EIO, which is the fault of a disk elsewhere.
        self._gone = {errno.EPIPE, errno.EIO} if self.isatty() else {errno.EPIPE}

    def write(self, data) -> int | None:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in self._gone:
                raise
            return len(data)


def prepare() -> None:
    """Opens what is closed, and lets stdout and stderr outlive their readers.

    A closed one would be None to Python, and its number that of the next file that is opened.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout, sys.stderr = stream(1, sys.stdout), stream(2, sys.stderr)


def stream(descriptor: int, before: TextIO | None) -> TextIO:
    """A stream in place of the one before; it prints what its encoding lacks as `\\xe9`."""
    return io.TextIOWrapper(
        io.BufferedWriter(Unheard(descriptor)),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=descriptor == 2
        or bool(before and (before.line_buffering or before.write_through)),
    )


def finish() -> None:
    """Writes what is left; raises `OSError` where it cannot be, of a full disk, once."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes again at its end
        raise
