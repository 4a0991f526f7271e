"""The loop: trains one network and leaves every number in its run directory."""

from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from cnn_jax.errors import UserError, first_line
from cnn_jax.runs import curves, load_run
from cnn_jax.runs.checkpoints import Checkpoints
from cnn_jax.runs.directory import RunDirectory
from cnn_jax.runs.metrics import Metrics
from cnn_jax.training.interruption import Interruption
from cnn_jax.training.plateau import observe
from cnn_jax.training.program import Program, build
from cnn_jax.training.progress import TrainingProgress, summary_table
from cnn_jax.training.recorder import DIVERGED, Recorder

PREEMPTED = 75  # exit code of launch.py


def train(config: ConfigDict, workdir: Path, console: Console) -> None:
    """Trains what `config` says in `workdir`, from the start or from where a run there stopped.

    Raises:
      UserError: something wrong with config, data or directory (exit code 1); a loss that is not
        finite (3); stopped by SIGINT or SIGTERM, after saving (75).
    """
    directory = RunDirectory(workdir, config)
    try:
        if directory.status == "done":
            console.print(f"{workdir} is a finished run, and is not run again", highlight=False)
        else:
            program = build(config)
            directory.begin(program.dataset_facts, program.preprocessing)
            run(program, directory, console)
            curves.draw(load_run(workdir).history, workdir / "curves.png", str(workdir))
            directory.set_status("done")
    finally:
        directory.close()
    console.print(summary_table(load_run(workdir).summary))


def run(program: Program, directory: RunDirectory, console: Console) -> None:
    """Restores or makes the state, and takes the remaining steps."""
    plan = program.plan
    checkpoints = Checkpoints(directory.path / "checkpoints", keep_best="validation" in plan.splits)
    restored = checkpoints.restore_latest(program.state_template)
    state, about = restored or (program.create_state(), {"seconds": 0.0})
    step = int(state.step)
    metrics = Metrics(directory.path, step, about["seconds"])
    progress = TrainingProgress(step, plan.total_steps, plan.batch_size, console)
    if step:
        progress.line(f"going on at step {step:,} of {plan.total_steps:,}")
    directory.set_status("running")
    try:
        with Interruption() as interruption, progress:
            recorder = Recorder(program, metrics, progress)
            for first, count in plan.dispatches(step):
                state, values = program.run_steps(state, first, count)
                recorder.training(first, values)
                step = first + count
                evaluates = plan.is_due(plan.evaluate_every, step)
                saves = evaluates or plan.is_due(plan.checkpoint_every, step)
                if not saves and not interruption.requested:
                    continue
                recorder.flush(state)
                validation_error = recorder.evaluation(state, step) if evaluates else None
                if validation_error is not None:
                    state = state.replace(opt_state=observe(state.opt_state, validation_error))
                checkpoints.save(step, state, metrics.seconds, validation_error)
                progress.skip_time()
                if interruption.requested and step < plan.total_steps:
                    raise stopped(interruption.requested, step, plan.total_steps)
    except BaseException as error:
        names = {DIVERGED: "diverged", PREEMPTED: "preempted"}
        status = names.get(getattr(error, "exit_code", None), "failed")
        directory.set_status(status, message=first_line(error))
        raise
    finally:
        metrics.close()
        checkpoints.close()


def stopped(signal_name: str, step: int, total_steps: int) -> UserError:
    """What a run says that was asked to stop."""
    return UserError(
        f"{signal_name}: saved at step {step:,} of {total_steps:,} and stopped; "
        "the same command goes on from there",
        PREEMPTED,
    )
