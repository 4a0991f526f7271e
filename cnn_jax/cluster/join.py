"""Which processes train as one: this one alone, or the group of those that meet at an address."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

from cnn_jax import errors
from cnn_jax.errors import UserError

Tree = Any


@dataclass(frozen=True)
class Address:
    """Where processes meet; None is what the cluster tells."""

    coordinator: str | None = None
    process_id: int | None = None
    num_processes: int | None = None


def find_address(
    coordinator: str | None, process_id: int | None, num_processes: int | None
) -> Address | None:
    """Where the processes of this run meet; None where it is the only one.

    Raises:
      UserError: arguments that do not go together.
    """
    given = (coordinator, process_id, num_processes)
    if given == (None, None, None):
        return Address() if is_announced(os.environ) else None
    if None in given:
        raise UserError("--coordinator, --process_id and --num_processes go together", 2)
    if not coordinator.rpartition(":")[2].isdecimal() or not 0 <= process_id < num_processes:
        raise UserError(
            f"--coordinator={coordinator} --process_id={process_id} "
            f"--num_processes={num_processes}: write HOST:PORT, and ids from 0 to one below",
            2,
        )
    return Address(*given)


def is_announced(environment: Mapping[str, str]) -> bool:
    """Whether the cluster says that this is one of several: a task of `srun`, a host of a TPU pod.

    A batch script of SLURM that starts no tasks is one process, whatever the job's size.
    """
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
    hosts = environment.get("TPU_WORKER_HOSTNAMES", "").split(",")
    return tasks > 1 or len(hosts) > 1


class ProcessGroup(Protocol):
    """The processes that train a run, from the point of view of one of them."""

    index: int  # of this process; process 0 alone reads and writes the run directory
    count: int

    def broadcast_json(self, what: str, value: Any = None) -> Any:
        """The value that process 0 gives for `what`; each `what` is asked for once."""

    def put_global(self, tree: Tree, shardings: Tree) -> Tree:
        """Host arrays, equal in all processes, onto devices; one sharding, or a tree of them."""

    def put_local(self, tree: Tree, sharding: jax.sharding.Sharding) -> Tree:
        """Host arrays, of which each process has its own part, onto devices as one."""

    def gather(self, tree: Tree) -> Tree:
        """Full NumPy arrays of arrays that may be spread over devices and processes."""

    def broadcast(self, tree: Tree | None, template: Tree) -> Tree:
        """The arrays of process 0, bit for bit; the others give None."""

    def synced_stop(self) -> Callable[[int], int]:
        """Tells the number of a signal that any process got, 0 for none, from this one's."""

    def note_step(self, step: int) -> None:
        """Called as often as a step, an evaluation or a checkpoint is done."""

    def explained(self, error: BaseException) -> BaseException:
        """The reason behind an error: a collective fails because another process has ended."""

    def leave(self, reason: str, exit_code: int) -> None:
        """Tells the other processes why this one ends."""


class Alone:
    """The group of a run of one process; `processes.Group` is that of several."""

    index, count = 0, 1

    def broadcast_json(self, what: str, value: Any = None) -> Any:
        del what
        return value

    def put_global(self, tree: Tree, shardings: Tree) -> Tree:
        return jax.device_put(tree, shardings)

    def put_local(self, tree: Tree, sharding: jax.sharding.Sharding) -> Tree:
        return jax.device_put(tree, sharding)

    def gather(self, tree: Tree) -> Tree:
        return jax.tree.map(np.array, tree)

    def broadcast(self, tree: Tree | None, template: Tree) -> Tree:
        del template
        return tree

    def synced_stop(self) -> Callable[[int], int]:
        return lambda signal_number: signal_number

    def note_step(self, step: int) -> None:
        pass

    def explained(self, error: BaseException) -> BaseException:
        return error

    def leave(self, reason: str, exit_code: int) -> None:
        pass


class Exit:
    """Ends this process at once, past JAX's wait for the others, which hear why."""

    def __init__(self):
        self.group: ProcessGroup = Alone()
        self._once = threading.Lock()

    def __call__(self, error: BaseException) -> None:
        self._once.acquire()  # and never released: one thread ends it, with one reason
        code = getattr(error, "exit_code", 1)
        if sys.stdout.isatty():
            print("\x1b[?25h", end="")  # the cursor, which a progress bar hides
        errors.show(error)
        sys.stdout.flush()
        sys.stderr.flush()
        self.group.leave(errors.described(error), code)
        os._exit(code)


@contextlib.contextmanager
def join(address: Address | None, hang_minutes: float, end: Exit) -> Iterator[ProcessGroup]:
    """The group that trains the run; of several processes one that fails leaves by `end`.

    Args:
      hang_minutes: without progress for so long, a process of several gives up.
    """
    if address is None:
        yield Alone()
        return
    from cnn_jax.cluster.processes import Group

    try:
        end.group = Group(address, hang_minutes, end)
        yield end.group
        end.group.finish()
    except BaseException as error:
        end(end.group.explained(error))
