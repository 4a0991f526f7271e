"""The loop: trains a network, or several seeds of it, and leaves every number on disk."""

import contextlib
import functools
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
from ml_collections import ConfigDict
from rich.console import Console

from cnn_jax import config as configs
from cnn_jax.cluster import preemption
from cnn_jax.cluster.join import Alone, ProcessGroup
from cnn_jax.cluster.preemption import Preemption
from cnn_jax.errors import DIVERGED, STOPPED, UserError
from cnn_jax.files import write_json
from cnn_jax.progress import TrainingProgress, print_line, summary_table
from cnn_jax.runs import metrics
from cnn_jax.runs.checkpoints import Checkpoints, saved_steps
from cnn_jax.runs.directory import RunDirectory
from cnn_jax.training.build import Setup, build
from cnn_jax.training.compiler import Guards
from cnn_jax.training.run_writer import Fetch, RunWriter, note_failure
from cnn_jax.training.sharding import Seeds
from cnn_jax.training.steps import TrainState

STATUS = {STOPPED: "preempted", DIVERGED: "diverged"}  # by exit code
# (setup, directory of the run) -> a context with what is called in place of `setup.run_steps`
Watch = Callable[[Setup, Path], contextlib.AbstractContextManager[Callable]]


def train(
    config: ConfigDict,
    workdir: Path,
    console: Console,
    stop: Preemption | None = None,
    seeds: int | None = None,
    group: ProcessGroup | None = None,
    watch: Watch = lambda setup, path: contextlib.nullcontext(setup.run_steps),
) -> None:
    """Trains what `config` says in `workdir`, from the start or from where a run there stopped.

    Args:
      stop: what hears signals already, by default from here on.
      seeds: trains so many networks as one program, with the seeds from `config.seed` on, each in
        a directory of its own, `workdir/seed-0` and so on.
      group: the processes that train together, by default this one alone.
      watch: what stands around each program, such as a profiler.

    Raises `UserError` for something wrong with config, data or directory (exit code 1), a loss that
    is not finite (3), and where a signal (`preemption.SIGNALS`) stopped it, after saving (75).
    """
    group = group or Alone()
    with contextlib.ExitStack() as opened:
        stop = stop or opened.enter_context(preemption.listening())
        path = opened.enter_context(own_directory(workdir, group))
        directories = []
        for place, own_config in runs_of(config, path, seeds).items():
            directories.append(RunDirectory(place, own_config))
            opened.callback(directories[-1].close)
        todo = unfinished(directories, seeds is not None, group)
        if todo:
            check_config(config, group)
            numbers = None if seeds is None else [directory.seed for directory in todo]
            setup = build(config, seeds=numbers, group=group)
            opened.callback(setup.inputs.close)
            start = (setup.parts.facts(), setup.parts.preprocessing, setup.compiler_options)
            for directory in todo:
                directory.write_start(*start)
            run(setup, opened.enter_context(watch(setup, path)), todo, console, stop, group)
        else:
            print_line(console, f"{workdir} is finished, and is not run again")
        if group.index == 0:
            for directory in directories:
                console.print(summary_table(metrics.summary(directory.path), directory.name))
    raise_diverged(directories)


def raise_diverged(directories: list[RunDirectory]) -> None:
    """Raises `UserError` where one of several seeds has diverged."""
    if lost := [d.name for d in directories if d.status == "diverged"]:
        rest = "; the others are done" if len(lost) < len(directories) else ""
        raise UserError(f"{', '.join(lost)} diverged{rest}", DIVERGED)


def run(
    setup: Setup,
    run_steps: Callable,
    directories: list[RunDirectory],
    console: Console,
    stop: Preemption,
    group: ProcessGroup,
) -> None:
    """Restores or makes the state, takes the remaining steps, and notes how it ended."""
    writers: list[RunWriter] = []
    with contextlib.ExitStack() as opened:
        try:
            checkpoints = [open_checkpoints(setup, d, group, opened) for d in directories]
            if group.index == 0:
                stop.saved = functools.partial(left_on_disk, [d.path for d in directories])
            state, step, seconds = restore(setup, directories, checkpoints, group)
            plan = setup.plan
            progress = TrainingProgress(step, plan.total_steps, plan.batch_size, console)
            for directory, saved in zip(directories, checkpoints, strict=True):
                label = f"{directory.name}  " if len(directories) > 1 else ""
                things = (setup, directory, saved, progress, group)
                writers.append(RunWriter(*things, seconds=seconds, label=label))
                opened.callback(writers[-1].close)
            take_steps(setup, run_steps, state, step, writers, progress, stop, group)
            for writer in writers:
                writer.wait()
        except BaseException as error:
            error = group.explained(error)
            status = STATUS.get(getattr(error, "exit_code", None), "failed")
            diverged = [writer.directory for writer in writers if writer.failure]
            for directory in directories:
                if directory not in diverged:
                    note_failure(directory, status, error)
            raise error
    for writer in writers:
        if not writer.failure:
            writer.directory.set_status("done")


def take_steps(
    setup: Setup,
    run_steps: Callable,
    state: TrainState,
    step: int,
    writers: list[RunWriter],
    progress: TrainingProgress,
    stop: Preemption,
    group: ProcessGroup,
) -> None:
    """The loop itself: programs of several steps, and between them evaluations and checkpoints."""
    plan, synced_stop = setup.plan, group.synced_stop()
    if step:
        progress.line(f"going on at step {step:,} of {plan.total_steps:,}")
    elif lines := setup.parts.start_notes():  # on what was taken of trained weights
        for writer in writers:
            write_json(writer.directory.path / "init.json", lines)
        for line in lines:
            progress.line(line)
    with progress, Guards() as guards:
        group.note_step(step)
        for first, count in plan.dispatches(step):
            with guards.dispatch(first, count, phase=first < plan.unfreeze):
                state, values = run_steps(state, first, count)
            report = setup.inputs.report()
            for writer, fetch in zip(writers, fetches(setup.seeds, values), strict=True):
                writer.log_steps(first, fetch, report.data_wait_seconds)
            step = first + count
            stop.can_save = True
            stopped_by = synced_stop(stop.requested or 0)
            evaluates = plan.is_due(plan.evaluate_every, step)
            if evaluates or stopped_by or plan.is_due(plan.checkpoint_every, step):
                state = save(setup, writers, state, step, evaluates)
                progress.skip_time()
            for line in [*report.warnings, *setup.inputs.report().warnings]:  # of evaluations, too
                progress.line(line)
            group.note_step(step)
            if all(writer.failure for writer in writers):
                raise writers[0].failure
            if stopped_by and step < plan.total_steps:
                for writer in writers:
                    writer.wait()
                raise stopped(signal.Signals(stopped_by).name, step, plan.total_steps)


def fetches(seeds: Seeds, values: dict[str, jax.Array]) -> list[Fetch]:
    """What fetches the metrics of each seed: all at once, where the first is asked for."""
    fetch = functools.cache(lambda: seeds.split(jax.device_get(values)))
    return [lambda i=i: fetch()[i] for i in range(len(seeds.numbers))]


def save(
    setup: Setup, writers: list[RunWriter], state: TrainState, step: int, evaluates: bool
) -> TrainState:
    """Evaluates and saves each; gives the state to go on with, which a plateau may have changed."""
    states = [
        writer.evaluate_and_save(own, step, evaluates)
        for writer, own in zip(writers, setup.seeds.split(state), strict=True)
    ]
    return setup.seeds.join(states) if setup.parts.learning_rate.plateau else state


def restore(
    setup: Setup,
    directories: list[RunDirectory],
    checkpoints: list[Checkpoints | None],
    group: ProcessGroup,
) -> tuple[TrainState, int, float]:
    """The state to go on from, its step, and the seconds that the run had taken by then."""
    template, limit = setup.seeds.template, None
    while True:
        found = []
        for directory, own in zip(directories, checkpoints, strict=True):
            restored = own.restore_latest(template, limit) if own else None
            what = f"the latest checkpoint of {directory.name}" + (
                f" up to step {limit}" if limit else ""
            )
            about = group.broadcast_json(what, restored and restored[1])
            if about is None:
                return setup.initial_state(), 0, 0.0
            state = group.broadcast(restored and restored[0], template)
            found.append((state, int(state.step), about["seconds"]))
        states, steps, seconds = zip(*found, strict=True)
        limit = min(steps)
        if limit == max(steps):
            break  # otherwise a kill came when some had saved: they go back
    shardings = jax.tree.map(lambda leaf: leaf.sharding, template)
    state = setup.seeds.join([group.put_global(state, shardings) for state in states])
    return state, limit, max(seconds)


def left_on_disk(paths: list[Path]) -> str:
    """What is left of runs that are ended at once, for a person."""
    steps = [saved_steps(path / "checkpoints")[-1:] for path in paths]
    if not all(steps):
        return "there is no checkpoint yet, and the same command begins again"
    return f"the same command goes on from the checkpoint of step {min(steps)[0]:,}"


def open_checkpoints(
    setup: Setup, directory: RunDirectory, group: ProcessGroup, opened: contextlib.ExitStack
) -> Checkpoints | None:
    """Those of a run, for process 0, which alone writes and reads them."""
    if group.index:
        return None
    checkpoints = Checkpoints(directory.path / "checkpoints")
    opened.callback(checkpoints.close)
    return checkpoints


def runs_of(config: ConfigDict, path: Path, seeds: int | None) -> dict[Path, ConfigDict]:
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


def unfinished(
    directories: list[RunDirectory], are_seeds: bool, group: ProcessGroup
) -> list[RunDirectory]:
    """Those that are to be trained."""
    statuses = group.broadcast_json("the status of the runs", [d.status for d in directories])
    # Of several seeds one that has diverged does not hold up the others.
    over = ("done", "diverged") if are_seeds else ("done",)
    return [d for d, status in zip(directories, statuses, strict=True) if status not in over]


@contextlib.contextmanager
def own_directory(workdir: Path, group: ProcessGroup) -> Iterator[Path]:
    """`workdir` for process 0; what the others write is the same, and thrown away."""
    if group.index == 0:
        yield workdir
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / workdir.name


def check_config(config: ConfigDict, group: ProcessGroup) -> None:
    """Raises `UserError` where process 0 trains something else."""
    there = group.broadcast_json("the config", config.to_dict())
    if lines := configs.difference(ConfigDict(there), config):
        raise UserError(f"process 0 has another config: {'; '.join(lines)}")


def stopped(signal_name: str, step: int, total_steps: int) -> UserError:
    """The error of a run that was asked to stop."""
    return UserError(
        f"{signal_name}: saved at step {step:,} of {total_steps:,} and stopped; "
        "the same command goes on from there",
        STOPPED,
    )
