"""Several processes as one run: they meet, agree, exchange arrays, and end together.

Process 0 alone reads and writes the run directory and prints; the others need not see it. All of
them read the data, and each puts the part of its devices there.
"""

import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from cnn_jax.cluster import heartbeat
from cnn_jax.errors import UserError, first_line

if TYPE_CHECKING:
    from cnn_jax.cluster.join import Address

MEET_SECONDS = 60  # for all processes to start
WAIT_SECONDS = 600  # for what process 0 does before the others can go on: open, restore

Tree = Any


class Group:
    """The processes of this run, from one's point of view; see `join.ProcessGroup`."""

    def __init__(
        self, address: "Address", hang_minutes: float, end: Callable[[BaseException], None]
    ):
        """Meets the others; `end(error)` ends this process where one of them is lost or hangs."""
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
        self.index, self.count = state.process_id, state.num_processes
        self._client = state.client
        if self.index:  # C++ libraries write there too
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        self._heartbeat = heartbeat.Heartbeat(
            self._client, self.index, self.count, hang_minutes * 60, end
        )
        # On CPUs the processes have 30 s to come to their first collective. Now all are here; to
        # their first step, which they compile before, they may come later than that.
        multihost_utils.sync_global_devices("the start")

    def finish(self) -> None:
        """Waits for the others, and parts from them."""
        self._meet("the end", WAIT_SECONDS)
        self._heartbeat.stop()
        jax.distributed.shutdown()

    def broadcast_json(self, what: str, value: Any = None) -> Any:
        """The value that process 0 gives for `what`; the others wait for it."""
        if self.index == 0:
            self._client.key_value_set(f"cnn_jax/{what}", json.dumps(value))
            return value
        try:
            text = self._client.blocking_key_value_get(f"cnn_jax/{what}", WAIT_SECONDS * 1000)
        except Exception:
            raise self._heartbeat.verdict() or UserError(
                f"process 0 is missing: it did not come to {what!r} within {WAIT_SECONDS} s"
            ) from None
        return json.loads(text)

    def put_global(self, tree: Tree, shardings: Tree) -> Tree:
        """Host arrays, equal in all processes, onto devices."""

        def put(array, sharding):
            array = np.asarray(array)
            slices = sharding.addressable_devices_indices_map(array.shape).items()
            pieces = [jax.device_put(array[index], device) for device, index in slices]
            return jax.make_array_from_single_device_arrays(array.shape, sharding, pieces)

        if isinstance(shardings, jax.sharding.Sharding):
            return jax.tree.map(lambda array: put(array, shardings), tree)
        return jax.tree.map(put, tree, shardings)

    def put_local(self, tree: Tree, sharding: NamedSharding) -> Tree:
        """Host arrays, of which each process has its own part, onto devices as one."""
        return jax.tree.map(
            lambda array: jax.make_array_from_process_local_data(sharding, np.asarray(array)), tree
        )

    def gather(self, tree: Tree) -> Tree:
        """Full NumPy arrays of arrays that are spread over devices and processes."""

        def full(array):
            if array.is_fully_addressable or array.is_fully_replicated:
                return np.array(array)
            return multihost_utils.process_allgather(array, tiled=True)

        return jax.tree.map(full, tree)

    def broadcast(self, tree: Tree | None, template: Tree) -> Tree:
        """The arrays of process 0, bit for bit; the others give None, `template` tells shapes."""
        leaves, structure = jax.tree.flatten(template)
        sizes = [int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves]
        content = np.zeros(sum(sizes), np.uint8)
        if tree is not None:
            flat = [np.ascontiguousarray(leaf).reshape(-1) for leaf in jax.tree.leaves(tree)]
            content = np.concatenate([array.view(np.uint8) for array in flat])
        content = np.asarray(multihost_utils.broadcast_one_to_all(content))
        pieces = np.split(content, np.cumsum(sizes)[:-1])
        arrays = [p.view(a.dtype).reshape(a.shape) for p, a in zip(pieces, leaves, strict=True)]
        return jax.tree.unflatten(structure, arrays)

    def synced_stop(self) -> Callable[[int], int]:
        """The largest number of a signal that any process got, so that all stop at the same step.

        The answer is that of the question before, so that nobody waits for a program that was just
        started.
        """
        mesh = jax.sharding.Mesh(jax.devices(), ("all",))
        each = NamedSharding(mesh, PartitionSpec("all"))
        whole = NamedSharding(mesh, PartitionSpec())
        largest = jax.jit(lambda numbers: numbers.max(), out_shardings=whole)
        answer = None

        def stop(signal_number: int) -> int:
            nonlocal answer
            before, mine = answer, np.int32([signal_number])
            numbers = jax.make_array_from_callback((jax.device_count(),), each, lambda _: mine)
            answer = largest(numbers)
            return 0 if before is None else int(before)

        return stop

    def note_step(self, step: int) -> None:
        """Tells the others that this process does not hang."""
        self._heartbeat.progress(step)

    def explained(self, error: BaseException) -> BaseException:
        """The reason behind an error: a collective fails because another process has ended."""
        if isinstance(error, UserError | OSError | KeyboardInterrupt):
            return error
        return self._heartbeat.verdict() or error

    def leave(self, reason: str, exit_code: int) -> None:
        """Tells the others why this process ends."""
        self._heartbeat.leave(reason, exit_code)
        if self.index == 0:  # with it goes the service by which the others hear of this
            time.sleep(heartbeat.NEWS_SECONDS)

    def _meet(self, where: str, seconds: float) -> None:
        """Waits until all processes are there; a `UserError` says who is missing."""
        self._client.key_value_set(f"cnn_jax/{where}/{self.index}", "")
        try:
            self._client.wait_at_barrier(f"cnn_jax/{where}", int(seconds * 1000))
        except Exception:
            there = self._client.key_value_dir_get(f"cnn_jax/{where}/")
            missing = set(range(self.count)) - {int(key.rsplit("/", 1)[1]) for key, _ in there}
            who = ", ".join(map(str, sorted(missing)))
            raise UserError(f"process {who} did not come to {where!r} in {seconds:g} s") from None
