"""A trace of some steps of a run: what the devices and the host did when, for TensorBoard."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import jax


@contextlib.contextmanager
def traced(run_steps: Callable, begin: int | None, length: int, folder: Path) -> Iterator[Callable]:
    """Gives a `run_steps` that writes a trace of some steps, in whole programs, into a folder.

    Args:
      begin: the first of these steps; None is that of the second program from now on.
      length: how many they are.
    """
    programs, is_open = 0, False

    def traced_steps(state, first, count):
        nonlocal begin, programs, is_open
        if begin is None and programs == 1:
            begin = first  # the program before has been compiled
        programs += 1
        is_inside = begin is not None and first < begin + length and first + count > begin
        if is_inside and not is_open:
            jax.block_until_ready(state)
            start(folder)
            is_open = True
        with jax.profiler.StepTraceAnnotation("train", step_num=first):
            after, values = run_steps(state, first, count)
        if is_open and first + count >= begin + length:
            jax.block_until_ready(after)
            jax.profiler.stop_trace()
            is_open = False
        return after, values

    try:
        yield traced_steps
    finally:
        if is_open:
            jax.profiler.stop_trace()
    if not folder.exists():
        warnings.warn("--profile: no such step was taken, so there is no trace", stacklevel=2)


def start(folder: Path) -> None:
    """Starts the profiler; Python's own calls would hide the rest."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    jax.profiler.start_trace(folder, profiler_options=options)
