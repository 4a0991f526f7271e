"""Packed files: their checksums are compared, and a small one does not become a large one.

A gzip file or a tar is read to its last byte, behind which its checksum stands; tarfile alone stops
before. An environment variable raises the limit of what a file becomes: `CNN_JAX_MAX_UNPACKED`.
"""

import bz2
import gzip
import lzma
import math
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cnn_jax.errors import UserError, first_line

UNPACKED = 2**26  # bytes that any file may unpack to
RATIO = 100  # and any to so many times its size; real data becomes ten times larger at most
OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
BLOCK = 2**20
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Damaged(ValueError):
    """A file that cannot be unpacked; the message says why."""


def most_bytes(packed: int) -> int:
    """The bytes to which a file of `packed` bytes may unpack."""
    return limit("CNN_JAX_MAX_UNPACKED", max(UNPACKED, RATIO * packed))


def limit(variable: str, default: int) -> int:
    """The number in an environment variable, if there is one; `UserError` where it is none."""
    text = os.environ.get(variable)
    if not text:
        return default
    if not text.isdecimal():
        raise UserError(f"the environment variable {variable} is {text!r}: it is a number")
    return int(text)


class Unpacked:
    """The unpacked bytes of a file, read in order; more of them than allowed raise `Damaged`."""

    def __init__(self, file: BinaryIO, packed: int):
        self._file, self._left = file, most_bytes(packed)
        self._most = self._left

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise too_large(self._most)
        return data


def too_large(most: int) -> Damaged:
    """The error for a file that unpacks to more than `most` bytes."""
    return Damaged(f"it unpacks to more than {most:,} bytes; CNN_JAX_MAX_UNPACKED=BYTES allows it")


def open_packed(path: Path) -> BinaryIO:
    """Opens a file of gzip, bzip2 or xz, told by its first bytes; any other one as it is."""
    with path.open("rb") as file:
        head = file.read(6)
    found = (opener for magic, opener in OPENERS.items() if head.startswith(magic))
    return next(found, open)(path, "rb")


def read_bytes(path: Path) -> bytes:
    """All bytes of a file, packed or not."""
    with open_packed(path) as file:
        unpacked = Unpacked(file, path.stat().st_size)
        return b"".join(iter(lambda: unpacked.read(BLOCK), b""))


def read_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each file in a tar, packed or not, in its order."""
    with open_packed(path) as file:
        unpacked = Unpacked(file, path.stat().st_size)
        with tarfile.open(fileobj=unpacked, mode="r|", bufsize=BLOCK) as tar:
            for member in tar:
                # A sparse file may be of any size, and have no byte in the tar.
                if member.isfile() and not member.issparse():
                    yield member.name, tar.extractfile(member).read()
        while unpacked.read(BLOCK):
            pass


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file by name. Raises `Damaged`, or `FileNotFoundError`."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as members:
            file.seek(0)
            if file.read(2) != b"PK":  # zipfile takes anything before an archive
                raise Damaged("it does not begin as an archive does")
            sizes = {member.filename: member.file_size for member in members.infolist()}
            if sum(sizes.values()) > (most := most_bytes(path.stat().st_size)):
                raise too_large(most)
            return {
                name.removesuffix(".npy"): read_array(members, name, size)
                for name, size in sizes.items()
            }
    except (Damaged, FileNotFoundError):
        raise
    # zipfile and NumPy raise about anything at damaged files, NotImplementedError among them.
    except Exception as error:
        raise Damaged(first_line(error)) from None


def read_array(members: zipfile.ZipFile, name: str, size: int) -> np.ndarray:
    """Reads an array, of which the header must tell the size that it has, so that all is compared.

    NumPy would make an array as large as the header says, and stop before the checksum of more.
    """
    with members.open(name) as file:
        shape, _, dtype = HEADERS[np.lib.format.read_magic(file)](file)
        if dtype.hasobject or file.tell() + math.prod(shape) * dtype.itemsize != size:
            raise Damaged(f"its array {name} is not of the size that its header tells")
    with members.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
