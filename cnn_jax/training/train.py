"""The loop: trains a network, or several seeds of it, and leaves every number on disk."""

import contextlib
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
from ml_collections import ConfigDict
from rich.console import Console

from cnn_jax import config as configs
from cnn_jax.cluster import processes
from cnn_jax.cluster.preemption import STOPPED, Interruption
from cnn_jax.errors import UserError
from cnn_jax.runs import curves, load_run
from cnn_jax.runs.directory import RunDirectory
from cnn_jax.training import compiler
from cnn_jax.training.build import Program, build
from cnn_jax.training.guards import Guards
from cnn_jax.training.member import Member
from cnn_jax.training.progress import TrainingProgress, summary_table
from cnn_jax.training.recorder import DIVERGED
from cnn_jax.training.state import TrainState


def train(
    config: ConfigDict,
    workdir: Path,
    console: Console,
    interruption: Interruption | None = None,
    seeds: int | None = None,
) -> None:
    """Trains what `config` says in `workdir`, from the start or from where a run there stopped.

    Args:
      interruption: one that was entered already, where signals are to be heard from earlier on.
      seeds: trains so many networks as one program, with the seeds from `config.seed` on, each in
        a directory of its own, `workdir/seed-0` and so on.

    Raises:
      UserError: something wrong with config, data or directory (exit code 1); a loss that is not
        finite (3); stopped by SIGINT or SIGTERM, after saving (75).
    """
    listening = contextlib.nullcontext(interruption) if interruption else Interruption()
    with (
        listening as interruption,
        own_directory(workdir) as path,
        contextlib.ExitStack() as opened,
    ):
        directories = []
        for place, own_config in places(config, path, seeds).items():
            directories.append(RunDirectory(place, own_config))
            opened.callback(directories[-1].close)
        statuses = processes.broadcast_json(
            "the status of the runs", [d.status for d in directories]
        )
        # Of several seeds one that has diverged does not hold up the others.
        over = ("done",) if seeds is None else ("done", "diverged")
        todo = [d for d, status in zip(directories, statuses, strict=True) if status not in over]
        if todo:
            check_config(config)
            program = build(config, seeds=None if seeds is None else [d.seed for d in todo])
            options = compiler.supported(jax.default_backend(), False)
            opened.callback(program.inputs.close)
            for directory in todo:
                directory.begin(program.inputs.facts, program.inputs.preprocessing, options)
            run(program, todo, console, interruption)
        else:
            console.print(f"{workdir} is finished, and is not run again", highlight=False)
        if processes.is_first():
            for directory in directories:
                console.print(summary_table(load_run(directory.path).summary, directory.name))
    if lost := [d.name for d in directories if d.status == "diverged"]:
        raise UserError(f"{', '.join(lost)} diverged; the others are done", DIVERGED)


def places(config: ConfigDict, path: Path, seeds: int | None) -> dict[Path, ConfigDict]:
    """The directory and the config of each run."""
    if seeds is None:
        return {path: config}
    if (path / "config.json").exists():
        raise UserError(f"{path} is a single run; choose another --workdir for several seeds")
    runs = {}
    for seed in range(config.seed, config.seed + seeds):
        own = config.copy_and_resolve_references()
        own.seed = seed
        runs[path / f"seed-{seed}"] = own.lock()
    return runs


@contextlib.contextmanager
def own_directory(workdir: Path) -> Iterator[Path]:
    """`workdir` for process 0; what the others write is the same, and thrown away."""
    if processes.is_first():
        yield workdir
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / workdir.name


def check_config(config: ConfigDict) -> None:
    """Raises `UserError` where process 0 trains something else."""
    there = processes.broadcast_json("the config", config.to_dict())
    if lines := configs.difference(ConfigDict(there), config):
        raise UserError(f"process 0 has another config: {'; '.join(lines)}")


def run(
    program: Program,
    directories: list[RunDirectory],
    console: Console,
    interruption: Interruption,
) -> None:
    """Restores or makes the state, and takes the remaining steps."""
    members = [Member(program, directory) for directory in directories]
    try:
        take_steps(program, members, console, interruption)
        for member in members:
            member.wait()
    except BaseException as error:
        error = processes.explained(error)
        status = "preempted" if getattr(error, "exit_code", None) == STOPPED else "failed"
        for member in members:
            if not member.failure:
                member.fail(status, error)
        raise error
    finally:
        for member in members:
            member.close()
    for member in members:
        if not member.failure:
            path = member.directory.path
            if processes.is_first():
                curves.draw(load_run(path).history, path / "curves.png", member.directory.name)
            member.directory.set_status("done")


def take_steps(
    program: Program, members: list[Member], console: Console, interruption: Interruption
) -> None:
    """The loop itself: programs of several steps, and between them evaluations and checkpoints."""
    plan = program.plan
    state, step, seconds = restore(program, members)
    progress = TrainingProgress(step, plan.total_steps, plan.batch_size, console)
    for member in members:
        label = f"{member.directory.name}  " if len(members) > 1 else ""
        member.begin(step, seconds, progress, label)
    if step:
        progress.line(f"going on at step {step:,} of {plan.total_steps:,}")
    with progress, Guards() as guards:
        vote = processes.Vote()
        processes.progress(step)
        for first, count in plan.dispatches(step):
            with guards.dispatch(first, count):
                state, values = program.run_steps(state, first, count)
            for member, own in zip(members, program.split(values), strict=True):
                member.training(first, own)
            step = first + count
            interruption.has_progress = True
            stop = vote(interruption.requested or 0)
            evaluates = plan.is_due(plan.evaluate_every, step)
            if evaluates or stop or plan.is_due(plan.checkpoint_every, step):
                state = save(program, members, state, step, evaluates)
                progress.skip_time()
            for line in program.inputs.warnings():
                progress.line(line)
            processes.progress(step)
            if all(member.failure for member in members):
                raise members[0].failure
            if stop and step < plan.total_steps:
                for member in members:
                    member.wait()
                raise stopped(signal.Signals(stop).name, step, plan.total_steps)


def restore(program: Program, members: list[Member]) -> tuple[TrainState, int, float]:
    """The state to go on from, its step, and the seconds that the run had taken by then."""
    limit = None
    while True:
        states, steps, seconds = zip(*(m.restore(limit) for m in members), strict=True)
        if not max(steps):
            return program.create_state(), 0, 0.0
        if min(steps) == max(steps):
            break
        limit = min(steps)  # a kill came when some had saved and others had not
    shardings = jax.tree.map(lambda leaf: leaf.sharding, program.state_template)
    state = program.join([processes.put_global(state, shardings) for state in states])
    return state, steps[0], max(seconds)


def save(
    program: Program, members: list[Member], state: TrainState, step: int, evaluates: bool
) -> TrainState:
    """Evaluates and saves each; gives the state to go on with, which a plateau may have changed."""
    states = [
        member.save(own, step, evaluates)
        for member, own in zip(members, program.split(state), strict=True)
    ]
    return program.join(states) if program.learning_rate.plateau else state


def stopped(signal_name: str, step: int, total_steps: int) -> UserError:
    """What a run says that was asked to stop."""
    return UserError(
        f"{signal_name}: saved at step {step:,} of {total_steps:,} and stopped; "
        "the same command goes on from there",
        STOPPED,
    )
