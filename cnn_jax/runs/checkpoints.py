"""Checkpoints by Orbax: the latest two and the best one, written while training goes on.

They hold NumPy arrays, and one process writes them, however many devices and processes train. What
is spread over several is gathered before, so that any other number of them can continue the run.
"""

import contextlib
import errno
import logging
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as preserve

from cnn_jax.errors import UserError, first_line

BEST = "validation_top1_error"


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """Drops what Orbax logs meanwhile; the log levels and all other messages stay as they are.

    Orbax logs through absl's one logger what it also raises, and its threads log it once more.
    """

    def is_of_another(record: logging.LogRecord) -> bool:
        return f"{os.sep}orbax{os.sep}" not in record.pathname

    logger = logging.getLogger("absl")
    logger.addFilter(is_of_another)
    try:
        yield
    finally:
        logger.removeFilter(is_of_another)


class Checkpoints:
    """Saves and restores a tree of NumPy arrays under its step."""

    def __init__(self, directory: Path, keep_best: bool):
        """`keep_best`: also keeps the one of the lowest validation error."""
        self.directory = directory.absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._keep_best = keep_best
        with contextlib.ExitStack() as stack:
            stack.enter_context(quiet_orbax())
            self._manager = self._open()
            self._until_closed = stack.pop_all()  # Orbax's threads log between our calls, too

    def _open(self) -> ocp.CheckpointManager:
        policies = [preserve.LatestN(2)]
        best = {}
        if self._keep_best:
            # Both are needed: without best_fn Orbax writes no metrics, and after a restart it would
            # delete the best; without the policy it would keep the best and delete the latest.
            policies.append(preserve.BestN(get_metric_fn=best_value, reverse=True, n=1))
            best = {"best_fn": best_value, "best_mode": "min"}
        options = ocp.CheckpointManagerOptions(
            preservation_policy=preserve.AnyPreservationPolicy(policies),
            step_format_fixed_length=8,
            cleanup_tmp_directories=True,
            create=False,
            multiprocessing_options=ocp.options.MultiprocessingOptions(active_processes={0}),
            **best,
        )
        return ocp.CheckpointManager(self.directory, options=options)

    def save(self, step: int, state: Any, seconds: float, validation_error: float | None) -> None:
        """Starts to write a copy of `state`; an error of the save before is raised here.

        Raises:
          UserError: it cannot be written, as on a full disk; those from before are whole.
        """
        if step in self._manager.all_steps():
            return
        about = {"seconds": seconds, "checksum": checksum(state), BEST: validation_error}
        metrics = {BEST: float("inf") if validation_error is None else validation_error}
        with self._errors_in_one_line():
            self._manager.save(
                step,
                metrics=metrics if self._keep_best else None,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about)
                ),
            )

    def wait(self) -> None:
        """Returns once all is on disk; raises like `save`."""
        with self._errors_in_one_line():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _errors_in_one_line(self) -> Iterator[None]:
        """Raises whatever Orbax and its threads raise as a `UserError`."""
        try:
            self._manager.check_for_errors()
            yield
            self._manager.check_for_errors()
        except Exception as error:
            have = saved_steps(self.directory)
            kept = f"the one of step {have[-1]:,} is whole" if have else "there is none before it"
            raise UserError(
                f"cannot write a checkpoint in {self.directory} ({os_reason(error)}); {kept}; "
                "the same command goes on from there"
            ) from error

    def restore_latest(self, template: Any, limit: int | None = None) -> tuple[Any, dict] | None:
        """The newest undamaged state, and what was saved about it; None without a checkpoint.

        A damaged checkpoint is moved to `damaged/` with a warning, and the one before it is taken.

        Args:
          template: a tree of anything with shape and dtype.
          limit: checkpoints of later steps are ignored.

        Raises:
          UserError: all of them are damaged; then none is moved.
        """
        template = jax.tree.map(lambda a: np.empty(a.shape, a.dtype), template)
        damaged: dict[int, Exception] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            if limit is not None and step > limit:
                continue
            arguments = ocp.args.Composite(
                state=ocp.args.StandardRestore(template), about=ocp.args.JsonRestore()
            )
            try:
                restored = self._manager.restore(step, args=arguments)
                if checksum(restored.state) != restored.about["checksum"]:
                    raise ValueError("its checksum is wrong")
            except MemoryError:
                raise
            except Exception as error:  # tensorstore and Orbax raise all kinds
                damaged[step] = error
                continue
            if damaged:
                self._set_aside(damaged)
            return restored.state, restored.about
        if damaged:
            reason = first_line(next(iter(damaged.values())))
            raise UserError(f"no checkpoint in {self.directory} can be read ({reason})")
        return None

    def _set_aside(self, damaged: dict[int, Exception]) -> None:
        self._manager.close()
        for step, error in damaged.items():
            warnings.warn(
                f"checkpoint {step} is damaged ({first_line(error)}); going on from the one before",
                stacklevel=4,
            )
            target = self.directory.parent / "damaged" / f"{step:08d}"
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            shutil.move(self.directory / f"{step:08d}", target)
        self._manager = self._open()

    def close(self) -> None:
        """Waits until all is on disk; raises like `save`."""
        with self._until_closed, self._errors_in_one_line():
            self._manager.close()


def best_value(metrics: dict) -> float:
    """The validation error; the best checkpoint has the lowest."""
    return metrics[BEST]


def os_reason(error: BaseException) -> str:
    """The system's reason within a long message, such as "No space left on device"."""
    text = " ".join(str(error).split())
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
    known = (os.strerror(code) for code in codes)
    return next((reason for reason in known if reason in text), first_line(error))


def checksum(tree: Any) -> int:
    """CRC-32 of the bytes of all leaves, in the order of the tree."""
    value = 0
    for leaf in jax.tree.leaves(tree):
        value = zlib.crc32(np.ascontiguousarray(leaf), value)
    return value


def saved_steps(directory: Path) -> list[int]:
    """The steps of the finished checkpoints in a directory, ascending."""
    if not directory.is_dir():
        return []
    return sorted(int(d.name) for d in directory.iterdir() if d.name.isdigit())


def best_step(directory: Path) -> int | None:
    """The step of the lowest validation error; None where no checkpoint has one."""
    scored = {}
    for step in saved_steps(directory):
        try:
            about = read_item(directory / f"{step:08d}", "about", ocp.JsonCheckpointHandler())
        except Exception:  # a damaged one is not the best one
            continue
        if about[BEST] is not None:
            scored[step] = about[BEST]
    return min(scored, key=lambda step: (scored[step], step)) if scored else None


def read_item(step_directory: Path, item: str, handler: ocp.CheckpointHandler) -> Any:
    """One small item of a checkpoint."""
    with quiet_orbax(), ocp.Checkpointer(handler) as checkpointer:
        return checkpointer.restore((step_directory / item).absolute())


def load_arrays(directory: Path, step: int, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Arrays of a saved state by `keys`, or all: on any machine, without the network's code.

    Raises:
      UserError: the checkpoint cannot be read.
    """
    path = (directory / f"{step:08d}" / "state").absolute()
    try:
        with quiet_orbax(), ocp.PyTreeCheckpointer() as checkpointer:
            saved = checkpointer.metadata(path).item_metadata.tree
            part = {key: saved[key] for key in keys or saved if key in saved}
            arguments = ocp.args.PyTreeRestore(
                item=jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype), part),
                restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), part),
                partial_restore=True,
            )
            return checkpointer.restore(path, args=arguments)
    except Exception as error:
        reason = first_line(error)
        raise UserError(f"cannot read the checkpoint {path.parent} ({reason})") from None
