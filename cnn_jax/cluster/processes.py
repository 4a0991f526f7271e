"""Several processes as one run: they meet, agree, share arrays, and end together.

Process 0 alone reads and writes the run directory and speaks; the others need not see it. All of
them read the data, and each puts the part of its devices there. With one process nothing of this
happens, and arrays go the plain way.
"""

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from cnn_jax.cluster import heartbeat
from cnn_jax.errors import UserError, first_line

MEET_SECONDS = 60  # for all processes to start
SAY_SECONDS = 600  # for what process 0 does before the others can go on: open, restore

Tree = Any


@dataclass(frozen=True)
class Address:
    """Who meets where; None is what the cluster tells."""

    coordinator: str | None = None
    process_id: int | None = None
    num_processes: int | None = None


class Group:
    """The processes of this run, from one's point of view."""

    def __init__(self, address: Address, hang_minutes: float):
        # JAX's own notice of preemption takes SIGTERM away from us.
        jax.config.update("jax_enable_preemption_service", False)
        try:
            jax.distributed.initialize(
                address.coordinator,
                address.num_processes,
                address.process_id,
                initialization_timeout=MEET_SECONDS,
                heartbeat_timeout_seconds=4 * int(heartbeat.LOST_SECONDS),  # ours tells it better
                shutdown_timeout_seconds=MEET_SECONDS,
            )
        except (RuntimeError, ValueError) as error:
            where = address.coordinator or "the address that the cluster names"
            raise UserError(
                f"the processes did not meet at {where} within {MEET_SECONDS} s "
                f"({first_line(error)}); start all of them, with the same --num_processes"
            ) from error
        from jax._src import distributed  # there is no public way to the key-value store

        state = distributed.global_state
        self.client, self.index, self.count = state.client, state.process_id, state.num_processes
        if self.index:  # C++ libraries write there too
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        self.watch = heartbeat.Watch(self.client, self.index, self.count, hang_minutes * 60, end)

    def broadcast_json(self, what: str, value: Any = None) -> Any:
        """What process 0 says of `what`, a JSON value; the others wait for it."""
        if self.index == 0:
            self.client.key_value_set(f"cnn_jax/{what}", json.dumps(value))
            return value
        try:
            text = self.client.blocking_key_value_get(f"cnn_jax/{what}", SAY_SECONDS * 1000)
        except Exception:
            raise self.watch.verdict() or UserError(
                f"process 0 is missing: it did not come to {what!r} within {SAY_SECONDS} s"
            ) from None
        return json.loads(text)

    def meet(self, where: str, seconds: float) -> None:
        """Waits until all processes are there; a `UserError` says who is missing."""
        self.client.key_value_set(f"cnn_jax/{where}/{self.index}", "")
        try:
            self.client.wait_at_barrier(f"cnn_jax/{where}", int(seconds * 1000))
        except Exception:
            there = self.client.key_value_dir_get(f"cnn_jax/{where}/")
            missing = set(range(self.count)) - {int(key.rsplit("/", 1)[1]) for key, _ in there}
            who = ", ".join(map(str, sorted(missing)))
            raise UserError(f"process {who} did not come to {where!r} in {seconds:g} s") from None


_group: Group | None = None
_ending = threading.Lock()


def address(
    coordinator: str | None, process_id: int | None, num_processes: int | None
) -> Address | None:
    """Where the processes of this run meet; None where it is the only one.

    Raises:
      UserError: arguments that do not go together.
    """
    given = (coordinator, process_id, num_processes)
    if given == (None, None, None):
        return Address() if announced(os.environ) else None
    if None in given:
        raise UserError("--coordinator, --process_id and --num_processes go together", 2)
    if not coordinator.rpartition(":")[2].isdecimal() or not 0 <= process_id < num_processes:
        raise UserError(
            f"--coordinator={coordinator} --process_id={process_id} "
            f"--num_processes={num_processes}: write HOST:PORT, and ids from 0 to one below",
            2,
        )
    return Address(*given)


def announced(environment: dict[str, str]) -> bool:
    """Whether the cluster says that this is one of several: a task of `srun`, a host of a TPU pod.

    A batch script of SLURM that starts no tasks is one process, whatever the job's size.
    """
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
    hosts = environment.get("TPU_WORKER_HOSTNAMES", "").split(",")
    return tasks > 1 or len(hosts) > 1


@contextlib.contextmanager
def joined(where: Address | None, hang_minutes: float) -> Iterator[None]:
    """A run of the processes that meet at `where`; this one leaves by `end` where it fails."""
    global _group
    if where is None:
        yield
        return
    try:
        _group = Group(where, hang_minutes)
        yield
        _group.meet("the end", SAY_SECONDS)
        _group.watch.stop()
        jax.distributed.shutdown()
    except BaseException as error:
        error = explained(error)
        if not isinstance(error, UserError | OSError):
            traceback.print_exc()
        end(error)


def end(error: BaseException) -> None:
    """Ends this process at once, past JAX's wait for the others, and tells them why."""
    _ending.acquire()  # and never released: one thread ends it, and one reason is told
    code = getattr(error, "exit_code", 1)
    if sys.stdout.isatty():
        print("\x1b[?25h", end="")  # the cursor, which a progress bar hides
    print(f"error: {first_line(error, 1000)}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    if _group:
        _group.watch.leave(first_line(error), code)
        if _group.index == 0:  # with it goes the service by which the others hear of this
            time.sleep(heartbeat.NEWS_SECONDS)
    os._exit(code)


def explained(error: BaseException) -> BaseException:
    """The reason behind an error: a collective fails because another process has ended."""
    if _group is None or isinstance(error, UserError | OSError | KeyboardInterrupt):
        return error
    return _group.watch.verdict() or error


def is_first() -> bool:
    """Whether this process writes and speaks."""
    return _group is None or _group.index == 0


def process_index_and_count() -> tuple[int, int]:
    """Which process this is, and how many there are."""
    return (0, 1) if _group is None else (_group.index, _group.count)


def broadcast_json(what: str, value: Any = None) -> Any:
    """The value that process 0 gives; each `what` can be said once."""
    return value if _group is None else _group.broadcast_json(what, value)


def progress(step: int) -> None:
    """Tells the watch that this process does not hang."""
    if _group:
        _group.watch.progress(step)


def put_global(tree: Tree, shardings: Tree) -> Tree:
    """Host arrays, equal in all processes, onto devices; `shardings` is one or a tree of them."""
    if _group is None:
        return jax.device_put(tree, shardings)

    def put(array, sharding):
        array = np.asarray(array)
        places = sharding.addressable_devices_indices_map(array.shape).items()
        parts = [jax.device_put(array[index], device) for device, index in places]
        return jax.make_array_from_single_device_arrays(array.shape, sharding, parts)

    if isinstance(shardings, jax.sharding.Sharding):
        return jax.tree.map(lambda array: put(array, shardings), tree)
    return jax.tree.map(put, tree, shardings)


def put_local(tree: Tree, sharding: NamedSharding) -> Tree:
    """Host arrays, of which each process has its own share, onto devices as one."""
    if _group is None:
        return jax.device_put(tree, sharding)
    return jax.tree.map(
        lambda array: jax.make_array_from_process_local_data(sharding, np.asarray(array)), tree
    )


def gather(tree: Tree) -> Tree:
    """Whole NumPy arrays of arrays that may be spread over devices and processes."""

    def whole(array):
        if array.is_fully_addressable or array.is_fully_replicated:
            return np.array(array)
        return multihost_utils.process_allgather(array, tiled=True)

    return jax.tree.map(whole, tree)


def broadcast(tree: Tree | None, template: Tree) -> Tree:
    """The arrays of process 0, bit for bit; the others give None, and `template` tells shapes."""
    if _group is None:
        return tree
    leaves, structure = jax.tree.flatten(template)
    sizes = [int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves]
    content = np.zeros(sum(sizes), np.uint8)
    if tree is not None:
        parts = [np.ascontiguousarray(leaf).reshape(-1) for leaf in jax.tree.leaves(tree)]
        content = np.concatenate([part.view(np.uint8) for part in parts])
    content = np.asarray(multihost_utils.broadcast_one_to_all(content))
    parts = np.split(content, np.cumsum(sizes)[:-1])
    arrays = [p.view(a.dtype).reshape(a.shape) for p, a in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, arrays)


class Vote:
    """Whether any process was asked to stop: so that all stop at the same step.

    With several processes the answer is that of the question before, so that nobody waits for a
    program that was just started.
    """

    def __init__(self):
        self._answer = None
        if _group:
            mesh = jax.sharding.Mesh(jax.devices(), ("all",))
            self._each = NamedSharding(mesh, PartitionSpec("all"))
            self._count = jax.device_count()
            self._largest = jax.jit(
                lambda votes: votes.max(), out_shardings=NamedSharding(mesh, PartitionSpec())
            )

    def __call__(self, signal_number: int) -> int:
        """The largest number that any process gave, 0 for none."""
        if _group is None:
            return signal_number
        before, mine = self._answer, np.int32([signal_number])
        votes = jax.make_array_from_callback((self._count,), self._each, lambda _: mine)
        self._answer = self._largest(votes)
        return 0 if before is None else int(before)
