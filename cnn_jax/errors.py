"""Mistakes of the user, as one line: what is wrong, where, and what to do about it."""

import difflib
from collections.abc import Iterable

# Exit codes of launch.py, besides 0 (done), 1 (failed) and 2 (wrong arguments).
DIVERGED, STOPPED = 3, 75


class UserError(ValueError):
    """`launch.py` prints it as `error: ...` and leaves with `exit_code`."""

    def __init__(self, message: str, exit_code: int = 1):
        super().__init__(message)
        self.exit_code = exit_code


def unknown(what: str, name: str, choices: Iterable[str]) -> UserError:
    """The error for a misspelt name: the closest right one first, then all of them."""
    choices = [str(choice) for choice in choices]
    close = difflib.get_close_matches(str(name), choices, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return UserError(f"unknown {what} {name!r}{hint}; choose from: {', '.join(choices)}", 2)


def first_line(error: BaseException, length: int = 200) -> str:
    """What an exception says, in one line of at most `length` characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:length]
