"""The arrays of a checkpoint of TensorFlow 1, without TensorFlow: of both of its formats.

Both keep a sorted table of keys and values in blocks (the format of LevelDB, not compressed). In
the older one, a single file, the values have the numbers; in the newer, `NAME.index`, they say
where the numbers are in `NAME.data-00000-of-00001`. Its checksums, CRC-32C, are not verified.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cnn_jax.errors import UserError
from cnn_jax.interop.readers import protobuf

MAGIC, FOOTER, TRAILER = 0xDB4775248B80FB57, 48, 5
END = struct.pack("<Q", MAGIC)  # how such a file ends
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}
FLOATS = {1: (5, "<f4"), 2: (6, "<f8")}  # fields of TensorProto
CONTENT = 4
# What training keeps beside the variables.
OTHERS = re.compile(
    r"(.*/)?(global_step|RMSProp(_\d)?|Momentum|Adam(_\d)?|ExponentialMovingAverage)"
)


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays by the names of their variables; `path` is the file, or the one of the index."""
    data = memoryview(path.read_bytes())
    (first, header), *others = entries(data)
    if first:
        raise ValueError("its table has no header")
    is_index = path.suffix == ".index"
    found = of_index(path, header, others) if is_index else of_slices(header, others)
    return {name: array for name, array in found if not OTHERS.fullmatch(name)}


def entries(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The keys and values of a table, in order."""
    if bytes(data[-8:]) != END:
        raise ValueError("it does not end as a checkpoint")
    numbers, at = [], len(data) - FOOTER
    for _ in range(4):  # where two blocks are: an unused one, and the index of the others
        number, at = protobuf.varint(data, at)
        numbers.append(number)
    offset, size = numbers[2:]
    for _, place in block(data, offset, size):
        start, end = protobuf.varint(place, 0)
        yield from block(data, start, protobuf.varint(place, end)[0])


def block(data: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
    """The entries of a block; a key leaves out what it shares with the one before."""
    if offset + size + TRAILER > len(data):
        raise ValueError("a block does not end in it")
    if data[offset + size]:
        raise UserError("its blocks are compressed: save it again without")
    content = data[offset : offset + size]
    restarts = int.from_bytes(content[-4:], "little")
    end, at, key = size - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = protobuf.varint(content, at)
        own, at = protobuf.varint(content, at)
        length, at = protobuf.varint(content, at)
        key = key[:shared] + bytes(content[at : at + own])
        yield key, content[at + own : at + own + length]
        at += own + length


def shape_of(message: memoryview) -> list[int]:
    """Of a TensorShapeProto."""
    return [(protobuf.integers(dim, 1) or [0])[0] for dim in protobuf.messages(message, 2)]


def of_index(
    path: Path, header: memoryview, others: list[tuple[bytes, memoryview]]
) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays whose places an index tells."""
    count = (protobuf.integers(header, 1) or [1])[0]
    stem = path.with_suffix("")
    shards: dict[int, bytes] = {}
    for key, entry in others:
        values = {number: (protobuf.integers(entry, number) or [0])[0] for number in (1, 3, 4, 5)}
        dtype, shard, offset, size = values.values()
        if dtype not in DTYPES:
            continue  # texts, such as the graph of the objects
        if any(protobuf.messages(entry, 7)):
            raise UserError(f"its variable {key.decode()} is in several parts: save it as one")
        if shard not in shards:
            file = stem.with_name(f"{stem.name}.data-{shard:05}-of-{count:05}")
            if not file.is_file():
                raise UserError(f"its numbers are in {file.name}, which is not beside it")
            shards[shard] = file.read_bytes()
        (shape,) = protobuf.messages(entry, 2)
        flat = np.frombuffer(shards[shard][offset : offset + size], DTYPES[dtype])
        yield key.decode(), flat.reshape(shape_of(shape))


def of_slices(
    header: memoryview, others: list[tuple[bytes, memoryview]]
) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of the older format, where each value has its numbers."""
    (meta,) = protobuf.messages(header, 1)
    shapes = {}
    for about in protobuf.messages(meta, 1):
        (shape,) = protobuf.messages(about, 2)
        shapes[protobuf.text(about, 1)] = shape_of(shape)
    seen = set()
    for _, value in others:
        (piece,) = protobuf.messages(value, 2)
        (tensor,) = protobuf.messages(piece, 3)
        name, kind = protobuf.text(piece, 1), (protobuf.integers(tensor, 1) or [0])[0]
        if kind not in FLOATS:
            continue  # counters and texts
        if name in seen:
            raise UserError(f"its variable {name} is in several parts: save it as one")
        seen.add(name)
        number, dtype = FLOATS[kind]
        raw = next(protobuf.messages(tensor, CONTENT), None)
        flat = np.frombuffer(raw, dtype) if raw else protobuf.numbers(tensor, number, dtype)
        yield name, flat.reshape(shapes[name])
