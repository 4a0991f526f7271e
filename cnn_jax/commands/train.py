"""Trains a network, or goes on with a run that was stopped.

Several processes train as one where SLURM or a TPU pod starts them, or with --coordinator,
--process_id and --num_processes on each; process 0 alone needs --workdir and writes there.
"""

import argparse
import contextlib
import functools
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from cnn_jax.commands import command_line
from cnn_jax.commands.arguments import (
    add_config,
    experiment_name,
    load_config,
    next_commands,
    positive,
    quoted,
)
from cnn_jax.progress import print_line

if TYPE_CHECKING:
    from cnn_jax.training.build import Setup


def add_arguments(add) -> None:
    """Which experiment, where it is kept, and which processes take part."""
    add_config(add)
    add("--workdir", type=Path, metavar="DIR", help="the run; default runs/EXPERIMENT-VARIANT")
    several = "trains N networks as one program, each in DIR/seed-I"
    add("--seeds", type=positive, metavar="N", help=several)
    evaluate = "evaluates the trained run by flags of eval: '--protocol=ten_crop'; may be repeated"
    add("--evaluate", action="append", default=[], metavar="FLAGS", help=evaluate)
    profile = "traces N steps, or those from FIRST to before END, into DIR/profile"
    add("--profile", type=steps_of, metavar="N|FIRST:END", help=profile)
    nans = "where the loss is not finite: names the layer in which that begins; slower"
    add("--debug_nans", action="store_true", help=nans)
    add("--coordinator", metavar="HOST:PORT", help="where process 0 is, for several processes")
    add("--process_id", type=int, metavar="I", help="which of them this is, from 0")
    add("--num_processes", type=int, metavar="N", help="how many there are")
    hang = "minutes without progress after which a process of several gives up; default 30"
    add("--hang_minutes", type=float, metavar="M", default=30.0, help=hang)


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Trains, and says what to do with the run."""
    from cnn_jax.cluster import preemption
    from cnn_jax.cluster.join import Exit, find_address, join
    from cnn_jax.files import keep_compiled
    from cnn_jax.training.train import train

    config = load_config(arguments)
    words = [["eval", *shlex.split(flags)] for flags in arguments.evaluate]
    protocols = [command_line.parse(flags, arguments.program)[1] for flags in words]
    workdir = arguments.workdir or Path("runs") / experiment_name(arguments)
    given = (arguments.coordinator, arguments.process_id, arguments.num_processes)
    if address := find_address(*given):
        from cnn_jax.cluster import supervisor

        supervisor.fork()
    end = Exit()
    with (
        preemption.listening(end) as stop,
        join(address, arguments.hang_minutes, end) as group,
    ):
        console.quiet = group.index > 0
        keep_compiled()
        watch = functools.partial(watched, arguments)
        train(config, workdir, console, stop, arguments.seeds, group, watch)
    runs = directories(workdir, config.seed, arguments.seeds)
    if protocols and group.index == 0:
        evaluate(runs, protocols, console)
    for line in what_next(workdir, runs, arguments):
        print_line(console, line)


def what_next(workdir: Path, runs: list[Path], arguments: argparse.Namespace) -> Iterator[str]:
    """Where the runs are, and commands that go on with the first."""
    first, last = runs[0], runs[-1]
    if first == last:
        yield f"the run is in {first}, its curves in {first}/curves.png; go on with"
    else:
        yield f"the runs are {first} to {last.name}, each with its curves.png; go on with"
    yield from (f"  {command}" for command in next_commands(arguments.program, first))
    yield f"  tensorboard --logdir={quoted(workdir.parent)}    (after pip install tensorboard)"
    if arguments.profile:
        yield f"the trace is in {workdir}/profile"


def steps_of(text: str) -> tuple[int | None, int]:
    """The first step, None where `text` does not say it, and how many."""
    found = re.fullmatch(r"(?:(\d+):)?(\d+)", text)
    first, end = (number and int(number) for number in found.groups()) if found else (None, 0)
    if end <= (first or 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of steps, and no FIRST:END")
    return first, end - (first or 0)


@contextlib.contextmanager
def watched(arguments: argparse.Namespace, setup: "Setup", folder: Path) -> Iterator[Callable]:
    """Gives what runs the steps, with a search or a profiler around it."""
    run_steps = setup.run_steps
    if arguments.debug_nans:
        from cnn_jax.bench import nan_search

        run_steps = nan_search.searching(setup)
    if not arguments.profile:
        yield run_steps
        return
    from cnn_jax.bench import profile

    with profile.traced(run_steps, *arguments.profile, folder / "profile") as run_steps:
        yield run_steps


def evaluate(runs: list[Path], protocols: list[argparse.Namespace], console: Console) -> None:
    """Evaluates trained runs by each protocol by which they are not evaluated yet."""
    from cnn_jax.commands.eval import run_once

    for run in runs:
        for protocol in protocols:
            run_once(run, protocol, console)


def directories(workdir: Path, first: int, seeds: int | None) -> list[Path]:
    """Those of the runs."""
    if seeds is None:
        return [workdir]
    return [workdir / f"seed-{seed}" for seed in range(first, first + seeds)]
