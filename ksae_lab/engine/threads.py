"""Compiled loops on several threads, each a range of rows or of units.

Compiled code lets go of Python's lock, so that threads of Python do; the ranges are disjoint, and
what is summed over them is summed part by part: the bits do not depend on how many threads there
are.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Threads:
    """So many threads, which share out ranges; one thread is the caller's own.

    Chapter 17.
    """

    def __init__(self, count: int):
        self.count = count
        self._pool = ThreadPoolExecutor(count) if count > 1 else None

    def __call__(
        self, work: Callable[..., Any], length: int, *arguments: Any, step: int = 1
    ) -> list[Any]:
        """Call work(first, end, *arguments) for ranges that make up 0 to length, and wait.

        Ranges begin at multiples of `step`.
        """
        if self._pool is None:
            return [work(0, length, *arguments)]
        each = -(-length // (self.count * step)) * step
        ranges = [(first, min(first + each, length)) for first in range(0, length, each)]
        waiting = [self._pool.submit(work, *range_, *arguments) for range_ in ranges]
        return [future.result() for future in waiting]
