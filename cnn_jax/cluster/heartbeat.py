"""Each process of a run tells the others that it lives, and notices who does not."""

import contextlib
import json
import threading
import time
from typing import Any

from cnn_jax.errors import UserError

BEAT_SECONDS = 1.0
LOST_SECONDS = 15.0  # without a beat
GRACE_SECONDS = 2.0  # from the verdict until the main thread has to have noticed it
NEWS_SECONDS = BEAT_SECONDS + GRACE_SECONDS + 1  # until the others know that a process left
FOLDER = "cnn_jax/process/"


class Heartbeat:
    """A thread that ends this process when another one is lost, has ended, or hangs.

    JAX alone lets the others wait: a collective for ever, the end of the program for minutes.
    """

    def __init__(self, client: Any, index: int, count: int, hang_seconds: float, end):
        """`client` is that of JAX's coordination service; `end(error)` ends this process."""
        self._client, self._index, self._count = client, index, count
        self._hang_seconds, self._end = hang_seconds, end
        self._step, self._moved = -1, float("inf")  # nobody hangs before the first step
        self._left: dict[str, Any] | None = None
        self._verdict: UserError | None = None
        self._judged, self._noticed, self._stopped = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def progress(self, step: int) -> None:
        """Called as often as a step, an evaluation or a checkpoint is done."""
        self._step, self._moved = step, time.monotonic()

    def verdict(self) -> UserError | None:
        """Why the run cannot go on; waits for as long as a loss takes to be noticed."""
        self._judged.wait(LOST_SECONDS + 3 * BEAT_SECONDS)
        self._noticed.set()
        return self._verdict

    def leave(self, message: str, exit_code: int) -> None:
        """Tells the others why this process ends, unless it is for another one."""
        if self._verdict:
            return
        self._left = {"message": message, "exit_code": exit_code}
        with contextlib.suppress(Exception):  # the coordinator may be gone
            self._beat(0)

    def stop(self) -> None:
        """The run is over: nobody is missed from here on."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        seen = {index: (None, started) for index in range(self._count)}
        number = 0
        while not self._stopped.wait(BEAT_SECONDS):
            number += 1
            try:
                self._beat(number)
                beats = self._read()
            except Exception:
                beats = {}  # as if nobody had been heard of
            now = time.monotonic()
            for index, beat in beats.items():
                if beat["number"] != seen[index][0]:
                    seen[index] = (beat["number"], now)
            silent = [index for index, (_, at) in seen.items() if now - at > LOST_SECONDS]
            self._verdict = self._judge(beats, silent, now - self._moved)
            if self._verdict:
                self._judged.set()
                if not self._noticed.wait(GRACE_SECONDS):
                    self._end(self._verdict)
                return

    def _beat(self, number: int) -> None:
        beat = {"number": number, "step": self._step, "left": self._left}
        self._client.key_value_set(f"{FOLDER}{self._index}", json.dumps(beat), allow_overwrite=True)

    def _read(self) -> dict[int, dict]:
        values = self._client.key_value_dir_get(FOLDER)
        return {int(key.rsplit("/", 1)[1]): json.loads(value) for key, value in values}

    def _judge(self, beats: dict[int, dict], silent: list[int], still: float) -> UserError | None:
        for index, beat in beats.items():
            if beat["left"] and index != self._index:
                reason = beat["left"]["message"]
                return UserError(f"process {index} ended: {reason}", beat["left"]["exit_code"])
        if silent:
            return lost(", ".join(map(str, silent)), self._count)
        if still > self._hang_seconds:
            steps = ", ".join(f"{index}: {beat['step']:,}" for index, beat in sorted(beats.items()))
            return UserError(
                f"no progress for {still / 60:.3g} minutes (--hang_minutes); last steps by process "
                f"are {steps}; the last checkpoint is whole, the same command goes on from there"
            )
        return None


def lost(who: str, count: int) -> UserError:
    """The error of a group that has lost processes."""
    return UserError(
        f"process {who} of {count} is lost; the last checkpoint is whole, "
        "start all processes again to go on from there"
    )
