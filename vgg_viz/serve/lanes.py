"""Work off the event loop: lanes of one thread each, with a line that is not endless."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Full(Exception):
    """The line of a lane is as long as it may be; come back later."""


class Lane:
    """One thread and those who wait for it.

    What must not run twice at once (a network, which wears hooks while it is asked; the unpacking of a large picture)
    has a lane of its own: nothing needs a lock, and nobody waits for another lane.
    """

    def __init__(self, name: str, most: int) -> None:
        self.most = most
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"vgg_viz {name}")
        self._lock = threading.Lock()
        self._inside = 0

    def enter(self, work: Callable[[], T]) -> Future[T]:
        """Join the line; raises Full when it is too long. A future that is cancelled while it waits leaves the line."""
        with self._lock:
            if self._inside >= self.most:
                raise Full
            self._inside += 1
        try:
            future = self._pool.submit(work)
        except BaseException:
            self._left(None)
            raise
        future.add_done_callback(self._left)
        return future

    async def run(self, work: Callable[[], T]) -> T:
        """Join the line and wait for the result, without holding up anybody else."""
        return await asyncio.wrap_future(self.enter(work))

    @property
    def inside(self) -> int:
        """How many wait or are being served."""
        return self._inside

    def close(self) -> None:
        """Send those who wait away; what is running runs to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _left(self, _done: object) -> None:
        with self._lock:
            self._inside -= 1
