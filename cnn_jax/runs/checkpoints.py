"""Checkpoints by Orbax: the latest two and the best one, written while training goes on.

They hold NumPy arrays, and one process writes them, however many devices and processes train. What
is spread over several is gathered before, so that any other number of them can continue the run.
Beside the arrays, in `about`, stands a checksum of each: whoever reads some of them compares those.
"""

import contextlib
import errno
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from cnn_jax.errors import UserError, first_line
from cnn_jax.files import checksum, checksum_of, checksums, read_json, set_aside, verify

BEST = "validation_top1_error"
# Orbax moves old checkpoints here, each at one blow, and `Checkpoints` empties it: a kill in the
# middle of that leaves no part of a checkpoint under the name of a step.
DELETED = ".deleted"


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

    def __init__(self, directory: Path):
        """Opens the directory; removes what a killed process left of what it wrote or deleted."""
        self.directory = directory.absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            stack.enter_context(quiet_orbax())
            self._manager = self._open()
            self._until_closed = stack.pop_all()  # Orbax's threads log between our calls, too

    def _open(self) -> ocp.CheckpointManager:
        self._empty_deleted()
        for metrics in self.directory.glob("*/metrics"):  # of a run before December 2026
            shutil.rmtree(metrics)  # Orbax reads it, and dies of a damaged one
        self._errors, _ = validation_errors(self.directory)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self,
            step_format_fixed_length=8,
            cleanup_tmp_directories=True,
            create=False,
            todelete_subdir=DELETED,
            lightweight_initialize=True,  # no times of steps: a damaged one would end all
            multiprocessing_options=ocp.options.MultiprocessingOptions(active_processes={0}),
        )
        return ocp.CheckpointManager(self.directory, options=options)

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """What Orbax asks of its `preservation_policy`: which of its checkpoints it keeps."""
        del context
        kept = self._kept([info.step for info in checkpoints])
        return [info.step in kept for info in checkpoints]

    def _prune(self) -> None:
        """Deletes what a kill before a deletion has left."""
        steps = sorted(self._manager.all_steps())
        for step in set(steps) - self._kept(steps):
            self._manager.delete(step)
        self._empty_deleted()

    def _kept(self, steps: Sequence[int]) -> set[int]:
        """Of ascending steps the latest two, and the one of the lowest error."""
        best = best_of({step: self._errors[step] for step in steps if step in self._errors})
        return {*steps[-2:], best}

    def _empty_deleted(self) -> None:
        shutil.rmtree(self.directory / DELETED, ignore_errors=True)

    def save(self, step: int, state: Any, seconds: float, validation_error: float | None) -> None:
        """Starts to write a copy of `state`; an error of the save before is raised here.

        Raises:
          UserError: it cannot be written, as on a full disk; those from before are whole.
        """
        if step in self._manager.all_steps():
            return
        about = {"seconds": seconds, BEST: validation_error, "checksums": checksums(state)}
        about["checksum_of_this"] = checksum_of(about)
        if validation_error is not None:
            self._errors[step] = validation_error
        with self._errors_in_one_line():
            self._manager.wait_until_finished()
            self._empty_deleted()
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about)
                ),
            )

    def wait(self) -> None:
        """Returns once all is on disk; raises like `save`."""
        with self._errors_in_one_line():
            self._manager.wait_until_finished()
            self._empty_deleted()

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
            then = "goes on from there" if have else "begins anew"
            raise UserError(
                f"cannot write a checkpoint in {self.directory} ({os_reason(error)}); {kept}; "
                f"the same command {then}"
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
        self.wait()
        restored, damaged = None, {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            if limit is not None and step > limit:
                continue
            try:
                if restored is None:
                    restored = self._restore(step, template)
                else:  # of older ones only this is needed, to find the best
                    read_about(self.directory, step)
            except MemoryError:
                raise
            except Exception as error:  # tensorstore and Orbax raise all kinds
                damaged[step] = error
        if restored is not None:
            self._set_aside(damaged)
            self._prune()
        elif damaged:
            reason = first_line(next(iter(damaged.values())))
            raise UserError(
                f"no checkpoint in {self.directory} can be read ({reason}); give it back a copy, "
                "or choose another --workdir"
            )
        return restored

    def _restore(self, step: int, template: Any) -> tuple[Any, dict]:
        about = read_about(self.directory, step)
        arguments = ocp.args.Composite(state=ocp.args.StandardRestore(template))
        state = self._manager.restore(step, args=arguments).state
        if "checksums" in about:
            verify(state, about["checksums"])
        elif checksum(state) != about["checksum"]:  # of a run before December 2026
            raise ValueError("its checksum is wrong")
        return state, about

    def _set_aside(self, damaged: dict[int, Exception]) -> None:
        if not damaged:
            return
        self._manager.close()
        for step, error in damaged.items():
            reason = f"checkpoint {step} is damaged ({first_line(error)})"
            set_aside(self.directory.parent, f"{self.directory.name}/{step:08d}", reason)
        self._manager = self._open()

    def close(self) -> None:
        """Waits until all is on disk; raises like `save`."""
        with self._until_closed, self._errors_in_one_line():
            self._manager.close()
            self._empty_deleted()


def os_reason(error: BaseException) -> str:
    """The system's reason within a long message, such as "No space left on device"."""
    text = " ".join(str(error).split())
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
    known = (os.strerror(code) for code in codes)
    return next((reason for reason in known if reason in text), first_line(error))


def saved_steps(directory: Path) -> list[int]:
    """The steps of the finished checkpoints in a directory, ascending."""
    if not directory.is_dir():
        return []
    return sorted(int(d.name) for d in directory.iterdir() if d.name.isdecimal())


def best_step(directory: Path) -> int | None:
    """The step of the lowest validation error; None where no checkpoint has one.

    Warns of damaged checkpoints, which are left out.
    """
    errors, damaged = validation_errors(directory)
    for reason in damaged:
        warnings.warn(f"{reason}: it is not asked whether it is the best", stacklevel=2)
    return best_of(errors)


def best_of(errors: dict[int, float]) -> int | None:
    """The step of the lowest error, of several the first."""
    return min(errors, key=lambda step: (errors[step], step)) if errors else None


def validation_errors(directory: Path) -> tuple[dict[int, float], list[str]]:
    """By step, of the checkpoints that have one; and what is wrong with those that are damaged."""
    errors, damaged = {}, []
    for step in saved_steps(directory):
        try:
            error = read_about(directory, step)[BEST]
        except UserError as reason:
            damaged.append(str(reason))
            continue
        if error is not None:
            errors[step] = error
    return errors, damaged


def read_about(directory: Path, step: int) -> dict[str, Any]:
    """What was saved about a checkpoint: `seconds`, the validation error, and checksums.

    Raises:
      UserError: it is damaged.
    """
    path = directory / f"{step:08d}" / "about" / "metadata"
    try:
        about = read_json(path, "seconds", BEST)
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    own = about.pop("checksum_of_this", None)
    is_old = own is None and "checksum" in about
    if not is_old and own != checksum_of(about):
        raise UserError(f"{path} is damaged: its checksum is wrong")
    return about


def load_arrays(directory: Path, step: int, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Arrays of a saved state by `keys`, or all: on any machine, without the network's code.

    They are compared with their checksums; runs before December 2026 have none for each array.

    Raises:
      UserError: the checkpoint cannot be read, or is damaged.
    """
    path = (directory / f"{step:08d}" / "state").absolute()
    try:
        about = read_about(directory, step)
        with quiet_orbax(), ocp.PyTreeCheckpointer() as checkpointer:
            saved = checkpointer.metadata(path).item_metadata.tree
            part = {key: saved[key] for key in keys or saved if key in saved}
            arguments = ocp.args.PyTreeRestore(
                item=jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype), part),
                restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), part),
                partial_restore=True,
            )
            arrays = checkpointer.restore(path, args=arguments)
        if "checksums" in about:
            verify(arrays, about["checksums"], keys)
        return arrays
    except MemoryError:
        raise
    except Exception as error:  # tensorstore and Orbax raise all kinds
        others = [str(one) for one in saved_steps(directory) if one != step]
        hint = f"; choose another by its step: {', '.join(others)}" if others else ""
        raise UserError(
            f"cannot read the checkpoint {path.parent} ({first_line(error)}){hint}"
        ) from None
