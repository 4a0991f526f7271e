"""Reads damaged files and says what came of it.

A case is a format: how its valid files are made, and how they are read. Every input is a function
of the case, a seed and a number, so that any of them can be made again alone.
"""

import contextlib
import faulthandler
import gc
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from cnn_jax.errors import UserError
from tests.fuzz.mutations import DAMAGES, swap

HANG = 300  # seconds after which a reader is taken to be hanging; a busy machine is slow
CPU = 10.0  # seconds of the processor that no input may take
MEMORY = 2**30  # bytes that no input may take
LONGEST = 1000  # characters of a message
CACHE = "cache"  # the folder of a case that is its `CNN_JAX_CACHE`
EXPECTED = {"same", "line", "other"}


class Case(NamedTuple):
    """A format. What is made and what is read lies in a folder of its own."""

    name: str
    make: Callable[[Path, int], None]  # writes valid files; another number, other content
    read: Callable[[Path], Any]  # what is compared: arrays, and whatever has a repr
    damaged: str = "**/*"  # a pattern: the files that are damaged, one in each input
    checksum: bool = False  # then only a valid file in the place of another may be read as such
    errors: tuple[type[Exception], ...] = (UserError,)
    # Where damage is done inside: content -> inside, and (inside, content) -> content.
    inside: tuple[Callable[[bytes], bytes], Callable[[bytes, bytes], bytes]] | None = None


class Input(NamedTuple):
    """A damaged file."""

    file: str  # relative to the case's folder
    how: str
    content: bytes
    is_swapped: bool  # it is a whole valid file


class Hang(BaseException):
    """No reader catches it."""


class Fuzzer:
    """The inputs of a case, below a folder."""

    def __init__(self, case: Case, folder: Path, seed: int, stderr: TextIO = sys.__stderr__):
        """Makes the valid files; `stderr` is told where a reader hangs that nothing can stop."""
        self.case, self._seed, self._work = case, seed, folder / "work"
        self._stderr = stderr
        self._valid, self._sibling = folder / "valid", folder / "sibling"
        for number, place in enumerate((self._valid, self._sibling)):
            place.mkdir()
            case.make(place, number)
        found = sorted(file for file in self._valid.glob(case.damaged) if file.is_file())
        self._files = [f.relative_to(self._valid).as_posix() for f in found if f.stat().st_size]
        self._expected = self._read(None)
        again = self._read(None)
        assert again == self._expected, f"{case.name}: two readings differ"

    def input(self, number: int) -> Input:
        """The input of a number."""
        random = np.random.default_rng([self._seed, zlib.crc32(self.case.name.encode()), number])
        file = self._files[random.integers(len(self._files))]
        content = (self._valid / file).read_bytes()
        which = number % (len(DAMAGES) + 2)
        if which == len(DAMAGES):
            return Input(file, swap.__name__, swap(content, random), True)
        if which > len(DAMAGES):
            other = self._sibling / file
            others = [self._valid / one for one in self._files if Path(one).suffix == other.suffix]
            others += [other] if other.exists() else []
            return Input(file, "sibling", others[random.integers(len(others))].read_bytes(), True)
        damage = DAMAGES[which]
        if self.case.inside:
            unpack, pack = self.case.inside
            inside = unpack(content)
            return Input(file, damage.__name__, pack(damage(inside, random), content), False)
        return Input(file, damage.__name__, damage(content, random), False)

    def outcome(self, damaged: Input) -> tuple[str, str]:
        """One of `EXPECTED`, or what is wrong; and the message or the traceback."""
        forget_peak_memory()
        before, start = peak_memory(), time.process_time()
        try:
            with limited(self._stderr):
                same = self._read(damaged) == self._expected
            found, text = ("same" if same else "other"), ""
        except self.case.errors as error:
            found, text = "line", str(error)
            if "\n" in text or not 0 < len(text) <= LONGEST:
                found = "no clear line"
        except Hang:
            found, text = f"hangs for {HANG} s", traceback.format_exc()
        except Exception as error:
            found, text = type(error).__name__, traceback.format_exc()
        if found == "other" and self.case.checksum and not damaged.is_swapped:
            found = "another result in spite of the checksum"
        if (taken := time.process_time() - start) > CPU:
            found = f"takes {taken:.0f} s"
        if (grown := peak_memory() - before) > MEMORY:
            found = f"takes {grown / 2**30:.1f} GiB"
        return found, text

    def _read(self, damaged: Input | None) -> Any:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._valid, self._work)
        if damaged:
            (self._work / damaged.file).write_bytes(damaged.content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return plain(self.case.read(self._work))


@contextlib.contextmanager
def limited(stderr: TextIO):
    """Raises `Hang` after `HANG` seconds; ends the process where even that does not help."""

    def hang(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, HANG)
    faulthandler.dump_traceback_later(2 * HANG, exit=True, file=stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def forget_peak_memory() -> None:
    """Lets `peak_memory` begin anew, where the system can (Linux; proc(5), clear_refs)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """The most bytes that the process has held since they were forgotten, or else started."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def plain(value: Any) -> Any:
    """What was read, so that `==` compares it: arrays with their types and every bit."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value if isinstance(value, bytes) else repr(value)


class Failure(NamedTuple):
    """The first input of those that fail in the same way."""

    number: int
    damaged: Input
    what: str
    text: str


def run(fuzzer: Fuzzer, numbers: Iterable[int]) -> tuple[Counter, list[Failure]]:
    """How many inputs came to what, and a failure of each kind."""
    counts, failures = Counter(), {}
    for number in numbers:
        damaged = fuzzer.input(number)
        found, text = fuzzer.outcome(damaged)
        counts[found if found in EXPECTED else "failed"] += 1
        if found not in EXPECTED:
            key = found if text == "" else (found, text.splitlines()[-4:-1])
            failures.setdefault(str(key), Failure(number, damaged, found, text))
        if number % 100 == 0:
            gc.collect()
    return counts, list(failures.values())
