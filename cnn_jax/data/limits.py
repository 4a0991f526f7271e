"""How large a file may become when it is unpacked or decoded: a small one must not fill the memory.

An environment variable raises each limit: `CNN_JAX_MAX_UNPACKED` in bytes, `CNN_JAX_MAX_PIXELS`.
"""

import os

from cnn_jax.errors import UserError

UNPACKED = 2**26  # bytes that any file may unpack to
RATIO = 100  # and any to so many times its size; real data becomes ten times larger at most
PIXELS = 2**26  # of an image; ImageNet's largest has 61 million


def most_bytes(packed: int) -> int:
    """The bytes to which a file of `packed` bytes may unpack."""
    return setting("CNN_JAX_MAX_UNPACKED", max(UNPACKED, RATIO * packed))


def most_pixels() -> int:
    """The pixels that an image may have."""
    return setting("CNN_JAX_MAX_PIXELS", PIXELS)


def setting(variable: str, default: int) -> int:
    """The number in an environment variable; raises `UserError` where it is none."""
    text = os.environ.get(variable)
    if not text:
        return default
    if not text.isdecimal():
        raise UserError(f"the environment variable {variable} is {text!r}: it is a number")
    return int(text)
