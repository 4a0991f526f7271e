"""The wire format of protocol buffers: what ONNX and Caffe write, without their libraries."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """A field of a message; of a repeated one, one of its values or all of them, packed."""

    number: int
    kind: int  # of the wire
    value: int | memoryview  # an int of a varint, otherwise bytes


def fields(data: memoryview) -> Iterator[Field]:
    """The fields of a message, in the order of the file; `ValueError` where they do not end."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = varint(data, at)
            yield Field(number, kind, value)
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind)
        if kind == BYTES:
            size, at = varint(data, at)
        if size is None or number == 0 or at + size > len(data):
            raise ValueError(f"field {number} of kind {kind} at byte {at} does not end")
        yield Field(number, kind, data[at : at + size])
        at += size


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at a byte, and where the next field does."""
    value = 0
    for i in range(10):
        if at + i >= len(data):
            break
        value |= (data[at + i] & 127) << 7 * i
        if data[at + i] < 128:
            return value, at + i + 1
    raise ValueError(f"the number at byte {at} does not end")


def messages(data: memoryview, number: int) -> Iterator[memoryview]:
    """The values of a repeated field of messages or texts."""
    return (f.value for f in fields(data) if f.number == number and f.kind == BYTES)


def text(data: memoryview, number: int) -> str:
    """A field of text, "" without it."""
    return next((bytes(value).decode() for value in messages(data, number)), "")


def integers(data: memoryview, *numbers: int) -> list[int]:
    """The values of fields of whole numbers, packed or not, in the order of the file."""
    found = []
    for field in fields(data):
        if field.number in numbers and field.kind == VARINT:
            found.append(field.value)
        elif field.number in numbers and field.kind == BYTES:
            at = 0
            while at < len(field.value):
                value, at = varint(field.value, at)
                found.append(value)
    return found


def numbers(data: memoryview, number: int, dtype: str) -> np.ndarray:
    """The values of a repeated field of floats, packed or not."""
    found = [bytes(f.value) for f in fields(data) if f.number == number and f.kind != VARINT]
    return np.frombuffer(b"".join(found), dtype)
