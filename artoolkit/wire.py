"""Protobuf's wire format, just enough to walk through a message without its schema.

protobuf.dev/programming-guides/encoding. Fields that a reader does not know are skipped, as
protobuf asks.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

Value = int | memoryview


def varint(data: memoryview, position: int) -> tuple[int, int]:
    """A base-128 number, and the position behind it; `IndexError` or `ValueError` if broken."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number longer than 64 bits")


def fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """Field numbers and values of one message; `IndexError` or `ValueError` where it is broken."""
    position = 0
    while position < len(data):
        tag, position = varint(data, position)
        kind = tag & 7
        if kind == VARINT:
            value, position = varint(data, position)
            yield tag >> 3, value
            continue
        if kind == LENGTH:
            size, position = varint(data, position)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if position + size > len(data):
            raise IndexError("past the end")
        yield tag >> 3, data[position : position + size]
        position += size


def messages(data: memoryview, number: int) -> Iterator[memoryview]:
    """The contents of every field `number` that has a length; errors as `fields`."""
    return (
        value for field, value in fields(data) if field == number and isinstance(value, memoryview)
    )
