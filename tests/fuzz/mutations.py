"""Ways to damage the bytes of a file, each with random numbers of its own."""

import gzip
import io
import json
import pickle
import re
import tarfile
from collections.abc import Callable

import numpy as np
from PIL import Image

Random = np.random.Generator
HEAD = 400  # bytes: what most formats say of sizes stands within so many
EXTREMES = (0, 1, 2**7, 2**15 - 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
TEXTS = (
    b"-1",
    b"99999999999999999999",
    b"1e999",
    b"NaN",
    b"null",
    b"{}",
    b"[]",
    b'""',
    b"true",
    b"[" * 2000,
)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def flip(content: bytes, random: Random) -> bytes:
    """One bit is another."""
    changed = bytearray(content)
    changed[anywhere(content, random)] ^= 1 << int(random.integers(8))
    return bytes(changed)


def scramble(content: bytes, random: Random) -> bytes:
    """Some bytes are others."""
    changed = bytearray(content)
    for _ in range(random.integers(2, 30)):
        changed[anywhere(content, random)] = random.integers(256)
    return bytes(changed)


def cut(content: bytes, random: Random) -> bytes:
    """The end is missing."""
    return content[: random.integers(len(content))]


def empty(content: bytes, random: Random) -> bytes:
    """Nothing is left, or zeros of the same size, as after a power failure."""
    return b"" if random.random() < 0.5 else bytes(len(content))


def insert(content: bytes, random: Random) -> bytes:
    """Bytes too many, at the end or anywhere."""
    at = len(content) if random.random() < 0.5 else int(random.integers(len(content) + 1))
    return content[:at] + random.bytes(int(random.integers(1, 17))) + content[at:]


def drop(content: bytes, random: Random) -> bytes:
    """A part is missing."""
    start, end = between(content, random)
    return content[:start] + content[end:]


def repeat(content: bytes, random: Random) -> bytes:
    """A part stands there twice."""
    start, end = between(content, random)
    return content[:end] + content[start:]


def exchange(content: bytes, random: Random) -> bytes:
    """Two parts are in each other's place."""
    size = int(random.integers(1, 65))
    one, other = sorted(int(random.integers(len(content))) for _ in range(2))
    parts = content[one : one + size], content[other : other + size]
    changed = bytearray(content)
    changed[other : other + len(parts[1])] = parts[0][: len(parts[1])]
    changed[one : one + len(parts[0])] = parts[1][: len(parts[0])]
    return bytes(changed)


def magic(content: bytes, random: Random) -> bytes:
    """It begins as another format does, or as none."""
    starts = [one[:8] for one in FORMATS.values()] + [random.bytes(4), b"<html>", b"version "]
    start = starts[random.integers(len(starts))]
    return start + content[len(start) :]


def huge(content: bytes, random: Random) -> bytes:
    """A size or a count, most often in the header, is enormous, zero or negative."""
    head = content[:HEAD] if random.random() < 0.7 else content
    width = int(random.choice([1, 2, 4, 8]))
    value = EXTREMES[random.integers(len(EXTREMES))] % 2 ** (8 * width)
    at = anywhere(head, random)
    order = ("little", "big")[random.integers(2)]
    return content[:at] + value.to_bytes(width, order) + content[at + width :]


def number(content: bytes, random: Random) -> bytes:
    """A number that is written as text is another one, or no number at all."""
    found = list(NUMBER.finditer(content))
    if not found:
        return huge(content, random)
    one = found[random.integers(len(found))]
    text = TEXTS[random.integers(len(TEXTS))]
    if random.random() < 0.3:
        text = str(EXTREMES[random.integers(len(EXTREMES))]).encode()
    return content[: one.start()] + text + content[one.end() :]


def anywhere(content: bytes, random: Random) -> int:
    """A random place; half of the time not where there is a zero, as much of some files is."""
    if random.random() < 0.5 and len(found := np.flatnonzero(np.frombuffer(content, np.uint8))):
        return int(random.choice(found))
    return int(random.integers(len(content)))


def between(content: bytes, random: Random) -> tuple[int, int]:
    """Where a random part begins and ends: a few bytes of it, or anything."""
    start = int(random.integers(len(content)))
    most = len(content) - start if random.random() < 0.5 else min(32, len(content) - start)
    return start, start + int(random.integers(1, most + 1))


def swap(content: bytes, random: Random) -> bytes:
    """A whole valid file of another format."""
    del content
    return list(FORMATS.values())[random.integers(len(FORMATS))]


DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(flip, flip, flip, scramble, cut, empty, insert, drop, repeat, exchange),
    *(magic, huge, huge, number),
)


def formats() -> dict[str, bytes]:
    """A small valid file of each kind that people have."""
    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    found = {"text": b"some words\n", "json": json.dumps({"a": [1, 2.5, None]}).encode()}
    found["pickle"] = pickle.dumps({b"data": [1, 2, 3]}, protocol=2)
    found["gzip"] = gzip.compress(b"some words\n", mtime=0)
    for name, save in {
        "png": lambda file: image.save(file, "PNG"),
        "jpeg": lambda file: image.save(file, "JPEG"),
        "npy": lambda file: np.save(file, np.arange(3)),
        "zip": lambda file: np.savez(file, a=np.arange(3)),
        "tar": lambda file: tarfile.open(fileobj=file, mode="w").close(),
    }.items():
        file = io.BytesIO()
        save(file)
        found[name] = file.getvalue()
    return found


FORMATS = formats()
