"""Messages of protobuf are walked as its own library wrote them; broken ones end with an error."""

from __future__ import annotations

import pytest

from artoolkit.wire import fields, messages, varint


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**32, 2**63 - 1])
def test_numbers_of_any_length(number: int) -> None:
    data, rest = bytearray(), number
    while rest >= 0x80:
        data.append(rest & 0x7F | 0x80)
        rest >>= 7
    data.append(rest)
    assert varint(memoryview(bytes(data) + b"\x01"), 0) == (number, len(data))


def test_a_message_written_by_the_library() -> None:
    onnx = pytest.importorskip("onnx")
    tensor = onnx.helper.make_tensor("weight", onnx.TensorProto.FLOAT, [2], [1.5, -2.0])
    found = dict(fields(memoryview(tensor.SerializeToString())))
    assert found[2] == onnx.TensorProto.FLOAT
    name = onnx.TensorProto.DESCRIPTOR.fields_by_name["name"].number
    assert [bytes(part) for part in messages(memoryview(tensor.SerializeToString()), name)] == [
        b"weight"
    ]


def test_fixed_sizes_are_stepped_over() -> None:
    data = bytes([1 << 3 | 1]) + bytes(8) + bytes([2 << 3 | 5]) + bytes(4) + bytes([3 << 3, 7])
    assert [(number, value) for number, value in fields(memoryview(data)) if number == 3] == [
        (3, 7)
    ]


@pytest.mark.parametrize(
    "data",
    [b"\x0a\x05ab", b"\x0b", b"\x08", b"\x08" + b"\xff" * 11],
    ids=["cut", "unknown kind", "no value", "endless number"],
)
def test_what_is_no_message_ends_with_an_error(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        list(fields(memoryview(data)))
