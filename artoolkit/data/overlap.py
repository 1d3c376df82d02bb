"""Reading ahead and writing behind on threads, in order, with bounded queues.

Decoding and encoding pictures release Python's lock, so they run beside inference: what a picture
costs is then the slowest of the three, not their sum.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
# Waiting items: enough to smooth out slow ones, few enough to hold in memory at any size.
AHEAD = 4


def read_ahead(
    read: Callable[[T], R], items: Iterable[T], *, ahead: int = AHEAD, threads: int = 1
) -> Iterator[tuple[T, R]]:
    """Each item with `read(item)`, in order; the next `ahead` are read by other `threads`.

    What `read` raises is raised when its item's turn comes.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(read, item)))
            if len(waiting) > ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()


class WriteBehind(Generic[R]):
    """Calls on other threads, at most `ahead` unfinished; results come back in order.

    What a call raises is raised at the next `submit`, or on leaving, which waits for all.
    """

    def __init__(self, *, threads: int = 1, ahead: int = AHEAD) -> None:
        self._pool, self._ahead = ThreadPoolExecutor(threads), ahead
        self._waiting: deque[Future[R]] = deque()

    def submit(self, call: Callable[..., R], *arguments: Any) -> Iterator[R]:
        """Start `call(*arguments)`; yields the results that had to be waited for."""
        self._waiting.append(self._pool.submit(call, *arguments))
        while len(self._waiting) > self._ahead:
            yield self._waiting.popleft().result()

    def rest(self) -> Iterator[R]:
        """The results of everything still unfinished, in order."""
        while self._waiting:
            yield self._waiting.popleft().result()

    def __enter__(self) -> WriteBehind[R]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True)
        for future in self._waiting:
            if kind is None:
                future.result()
