"""What must not happen inside the loop, told in one line when it does."""

import contextlib
import warnings
from collections.abc import Iterator

import jax

from cnn_jax.errors import UserError, first_line

COMPILED = "/jax/core/compile/backend_compile_duration"


class Guards:
    """A context around the loop; `dispatch` stands around the start of each program."""

    def __init__(self):
        self._compilations = 0
        self._sizes: set[int] = set()

    def __enter__(self) -> "Guards":
        jax.monitoring.register_event_duration_secs_listener(self._count)
        return self

    def __exit__(self, *_) -> None:
        jax.monitoring.unregister_event_duration_listener(self._count)

    def _count(self, event: str, _seconds: float, **_) -> None:
        self._compilations += event == COMPILED

    @contextlib.contextmanager
    def dispatch(self, first_step: int, count: int) -> Iterator[None]:
        """Programs of one size are compiled once, and what goes to the device is put there.

        Raises:
          UserError: an array is moved between host and device, or between devices, unasked.
        """
        before = self._compilations
        try:
            with jax.transfer_guard("disallow"):
                yield
        except Exception as error:
            if "Disallowed" not in str(error):
                raise
            raise UserError(
                f"an implicit transfer at step {first_step:,}: {first_line(error)}; "
                "the step must take arrays that jax.device_put put on the devices"
            ) from error
        if count in self._sizes and self._compilations > before:
            warnings.warn(
                f"compiled again at step {first_step:,}: the program of {count} steps was there "
                "already, so something about its arguments has changed",
                stacklevel=3,
            )
        self._sizes.add(count)
