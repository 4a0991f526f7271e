"""Mistakes of the user, as one line: what is wrong, where, and what to do about it."""

import difflib
import os
import re
import sys
import traceback
from collections.abc import Iterable

# Exit codes of launch.py, besides 0 (done), 1 (failed) and 2 (wrong arguments).
DIVERGED, STOPPED = 3, 75
LAUNCH = "python launch.py"  # what a user of the checkout types before a command
DEBUG = "CNN_JAX_DEBUG"  # in the environment: anything but 0 shows tracebacks, as --debug does
# Line ends, escape codes, and what stands for bytes that are not UTF-8.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
SHORT = 20  # names that are listed although one of them is close
LONGEST = 200  # characters of an unknown name in a message


class UserError(ValueError):
    """`launch.py` prints it as `error: ...` and leaves with `exit_code`."""

    def __init__(self, message: str, exit_code: int = 1):
        super().__init__(printable(message))
        self.exit_code = exit_code


def printable(text: str) -> str:
    r"""The text as one line that any terminal and any file takes.

    Names may have line ends, escape codes and bytes that are no UTF-8: \n, \x1b and \xe9 of these.
    """
    return UNPRINTABLE.sub(lambda found: escaped(found[0]), text)


def escaped(character: str) -> str:
    """A character as Python and shells spell it; of `surrogateescape` the byte that it is for."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return repr(character)[1:-1] if code < 0x80 else f"\\u{code:04x}"


def unknown(what: str, name: str, choices: Iterable[str]) -> UserError:
    """The error for a misspelt name: the closest right one, and all of them unless there are many.

    Without a close one all are listed. Of a name that is longer than any (a damaged file may have
    one of a million characters) the beginning is shown.
    """
    choices = [str(choice) for choice in choices]
    shown = f"{name[:LONGEST]}..." if isinstance(name, str) and len(name) > LONGEST else name
    text = f"unknown {what} {shown!r}"
    if close := difflib.get_close_matches(str(name), choices, n=1):
        text += f" (did you mean {close[0]!r}?)"
        if len(choices) > SHORT:
            return UserError(text, 2)
    return UserError(f"{text}; choose from: {', '.join(choices)}", 2)


def first_line(error: BaseException, length: int = 200) -> str:
    """What an exception says, in one line of at most `length` characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:length]


def described(error: BaseException, length: int = 500) -> str:
    """An exception in one line; one that no user is told begins with its type."""
    text = printable(" ".join(str(error).split()))
    if not isinstance(error, UserError | OSError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text[:length]


def facts(error: BaseException) -> dict[str, str | list[str]]:
    """What `status.json` says of a run that an exception ended: of a surprise, its traceback."""
    told = {"message": described(error)}
    if not isinstance(error, UserError):
        told["traceback"] = "".join(traceback.format_exception(error)).splitlines()
    return told


def line_in(package: str, error: BaseException) -> str | None:
    """The innermost line of modules whose names begin so that an exception came through."""
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__", "").startswith(package):
            place = f"{frame.f_code.co_filename}, line {line}"
    if isinstance(error, SyntaxError) and os.path.isfile(error.filename or ""):
        place = f"{error.filename}, line {error.lineno}"  # a file that cannot run has no frame
    return place


def show(error: BaseException, program: str = LAUNCH) -> int:
    """Prints an exception as one line on stderr, after its traceback where that is asked for.

    Messages speak of launch.py; who installed the package types `program`. Returns the exit code.
    """
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        traceback.print_exception(error)
    text = described(error, length=10_000)
    if not isinstance(error, UserError):
        text += f" ({line_in('cnn_jax', error)}; --debug shows the traceback)"
    print(f"error: {text}".replace(LAUNCH, program), file=sys.stderr)
    return getattr(error, "exit_code", 1)
