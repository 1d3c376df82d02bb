"""Order, bounds and failures of reading ahead and writing behind."""

from __future__ import annotations

import threading

import pytest

from artoolkit.data.overlap import AHEAD, WriteBehind, read_ahead
from artoolkit.errors import DataError


def test_items_come_in_order_with_what_was_read() -> None:
    assert list(read_ahead(lambda n: n * n, range(20))) == [(n, n * n) for n in range(20)]
    assert list(read_ahead(str, [])) == []


def test_no_more_than_a_few_are_read_ahead() -> None:
    read: list[int] = []
    next(read_ahead(read.append, range(100)))
    assert len(read) <= AHEAD + 1


def test_a_failure_to_read_comes_in_its_turn() -> None:
    def read(item: int) -> int:
        if item == 2:
            raise DataError("item 2 is broken")
        return item

    pairs = read_ahead(read, range(5))
    assert [next(pairs), next(pairs)] == [(0, 0), (1, 1)]
    with pytest.raises(DataError, match="item 2"):
        next(pairs)


def test_results_of_writing_keep_their_order_and_none_is_lost() -> None:
    with WriteBehind[int](threads=3, ahead=2) as behind:
        done = [result for n in range(10) for result in behind.submit(int, n)]
        assert len(done) >= 8
        done += behind.rest()
    assert done == list(range(10))


def test_at_most_so_many_wait_to_be_written() -> None:
    gate, waiting = threading.Event(), list[bool]()
    with WriteBehind[bool](ahead=2) as behind:
        for _ in range(2):
            waiting += behind.submit(gate.wait, 10)
        assert waiting == []
        gate.set()
        waiting += behind.submit(gate.wait, 10)
        assert waiting == [True]


def test_a_failure_to_write_is_raised_at_the_end_at_the_latest() -> None:
    def fail() -> None:
        raise DataError("disk")

    with pytest.raises(DataError, match="disk"), WriteBehind[None]() as behind:
        list(behind.submit(fail))


def test_another_error_is_not_hidden_by_one_of_writing() -> None:
    def fail() -> None:
        raise DataError("disk")

    with pytest.raises(KeyboardInterrupt), WriteBehind[None]() as behind:
        list(behind.submit(fail))
        raise KeyboardInterrupt
