"""The loop: trains one network and leaves every number in its run directory."""

import contextlib
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
from ml_collections import ConfigDict
from rich.console import Console

from cnn_jax import config as configs
from cnn_jax.errors import UserError, first_line
from cnn_jax.runs import curves, load_run
from cnn_jax.runs.checkpoints import Checkpoints
from cnn_jax.runs.directory import RunDirectory
from cnn_jax.runs.metrics import Metrics
from cnn_jax.training import compiler, processes
from cnn_jax.training.guards import Guards
from cnn_jax.training.interruption import STOPPED, Interruption
from cnn_jax.training.program import Program, build
from cnn_jax.training.progress import TrainingProgress, summary_table
from cnn_jax.training.recorder import DIVERGED, Recorder
from cnn_jax.training.state import TrainState


def train(
    config: ConfigDict,
    workdir: Path,
    console: Console,
    interruption: Interruption | None = None,
) -> None:
    """Trains what `config` says in `workdir`, from the start or from where a run there stopped.

    `interruption` is one that was entered already, where signals are to be heard from earlier on.

    Raises:
      UserError: something wrong with config, data or directory (exit code 1); a loss that is not
        finite (3); stopped by SIGINT or SIGTERM, after saving (75).
    """
    listening = contextlib.nullcontext(interruption) if interruption else Interruption()
    with listening as interruption, own_directory(workdir) as path:
        directory = RunDirectory(path, config)
        try:
            if processes.say("the status of the run", directory.status) == "done":
                console.print(f"{workdir} is a finished run, and is not run again", highlight=False)
            else:
                check_config(config)
                program = build(config)
                options = compiler.supported(jax.default_backend(), False)
                directory.begin(program.dataset_facts, program.preprocessing, options)
                run(program, directory, console, interruption)
                if processes.is_first():
                    curves.draw(load_run(path).history, path / "curves.png", str(workdir))
                directory.set_status("done")
        finally:
            directory.close()
        if processes.is_first():
            console.print(summary_table(load_run(path).summary))


@contextlib.contextmanager
def own_directory(workdir: Path) -> Iterator[Path]:
    """`workdir` for process 0; what the others write is the same, and thrown away."""
    if processes.is_first():
        yield workdir
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def check_config(config: ConfigDict) -> None:
    """Raises `UserError` where process 0 trains something else."""
    there = processes.say("the config", config.to_dict())
    if lines := configs.difference(ConfigDict(there), config):
        raise UserError(f"process 0 has another config: {'; '.join(lines)}")


def run(
    program: Program, directory: RunDirectory, console: Console, interruption: Interruption
) -> None:
    """Restores or makes the state, and takes the remaining steps."""
    plan = program.plan
    checkpoints = None
    if processes.is_first():
        keep_best = "validation" in plan.splits
        checkpoints = Checkpoints(directory.path / "checkpoints", keep_best)
    state, step, seconds = begin(program, checkpoints)
    metrics = Metrics(directory.path, step, seconds)
    progress = TrainingProgress(step, plan.total_steps, plan.batch_size, console)
    if step:
        progress.line(f"going on at step {step:,} of {plan.total_steps:,}")
    directory.set_status("running")
    try:
        with progress, Guards() as guards:
            recorder = Recorder(program, metrics, progress)
            vote = processes.Vote()
            processes.progress(step)
            for first, count in plan.dispatches(step):
                with guards.dispatch(first, count):
                    state, values = program.run_steps(state, first, count)
                recorder.training(first, values)
                step = first + count
                interruption.has_progress = True
                stop = vote(interruption.requested or 0)
                evaluates = plan.is_due(plan.evaluate_every, step)
                saves = evaluates or plan.is_due(plan.checkpoint_every, step)
                if saves or stop:
                    recorder.flush(state)
                    validation_error = recorder.evaluation(state, step) if evaluates else None
                    metrics.sync()
                    whole = processes.gather(state)
                    if checkpoints:
                        checkpoints.save(step, whole, metrics.seconds, validation_error)
                    progress.skip_time()
                processes.progress(step)
                if stop and step < plan.total_steps:
                    if checkpoints:
                        checkpoints.wait()
                    raise stopped(signal.Signals(stop).name, step, plan.total_steps)
        if checkpoints:
            checkpoints.wait()
    except BaseException as error:
        error = processes.explained(error)
        names = {DIVERGED: "diverged", STOPPED: "preempted"}
        status = names.get(getattr(error, "exit_code", None), "failed")
        with contextlib.suppress(OSError):  # a full disk is what the error says
            directory.set_status(status, message=first_line(error))
        raise error
    finally:
        metrics.close()
        if checkpoints:
            checkpoints.close()


def begin(program: Program, checkpoints: Checkpoints | None) -> tuple[TrainState, int, float]:
    """The state to go on from, its step, and the seconds that the run had taken by then."""
    template = program.state_template
    restored = checkpoints.restore_latest(template) if checkpoints else None
    about = processes.say("the checkpoint", restored and restored[1])
    if about is None:
        return program.create_state(), 0, 0.0
    state = processes.broadcast(restored and restored[0], template)
    step = int(state.step)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, template)
    return processes.place(state, shardings), step, about["seconds"]


def stopped(signal_name: str, step: int, total_steps: int) -> UserError:
    """What a run says that was asked to stop."""
    return UserError(
        f"{signal_name}: saved at step {step:,} of {total_steps:,} and stopped; "
        "the same command goes on from there",
        STOPPED,
    )
