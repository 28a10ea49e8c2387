"""Maps on demand: one job at a time, watched by the reader who asked, ended when that reader goes away."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from typing import Any

from vgg_viz.errors import VggVizError
from vgg_viz.serve.lanes import Lane
from vgg_viz.serve.network import MapRequest, ServedNetwork
from vgg_viz.serve.store import StoredPicture

MOST_JOBS = 8  # that wait or run
MOST_SECONDS = 300.0  # of one job, once it runs
TICK = 0.2  # [s] between two words on how far it is


class Ended(VggVizError):
    """The job was ended before it was done: nobody waits any more, or it took too long."""


class Job:
    """One wish on its way. The worker writes how far it is, the event loop reads it: single numbers and words."""

    def __init__(
        self, network: ServedNetwork, picture: StoredPicture, wish: MapRequest, *, most_seconds: float = MOST_SECONDS
    ) -> None:
        self.network, self.picture, self.wish, self.most_seconds = network, picture, wish, most_seconds
        self.part, self.done, self.of, self.pictures = "", 0, 0, 0
        self.started: float | None = None
        self.seconds = 0.0
        self._end = threading.Event()

    def work(self) -> dict[str, Any]:
        """Run it, in the lane of maps: the viewer's payload. raises Ended, or what the methods refuse."""
        self.started = time.monotonic()
        try:
            self._check()
            return self.network.maps(self.picture, self.wish, self._tell, self._passed)
        finally:
            self.seconds = time.monotonic() - self.started

    def end(self) -> None:
        """Stop before the next pass of the network."""
        self._end.set()

    def state(self) -> dict[str, Any]:
        """How far it is, for the page."""
        if self.started is None:
            return {"state": "waiting"}
        return {"state": "running", "part": self.part, "done": self.done, "of": self.of, "pictures": self.pictures}

    def _tell(self, part: str, done: int, of: int) -> None:
        self.part, self.done, self.of, self.pictures = part, done, of, 0

    def _passed(self, pictures: int) -> None:
        self.pictures += pictures
        self._check()

    def _check(self) -> None:
        if self._end.is_set():
            raise Ended("nobody waits for this any more.")
        if self.started is not None and time.monotonic() - self.started > self.most_seconds:
            raise Ended(
                f"this took longer than {self.most_seconds:.0f} s and was ended; ask for fewer methods at once."
            )


class Jobs:
    """All jobs of the server, one after the other in the lane of maps."""

    def __init__(self, *, most: int = MOST_JOBS, most_seconds: float = MOST_SECONDS) -> None:
        self.lane = Lane("maps", most)
        self.most_seconds = most_seconds
        self.current: set[Job] = set()

    def start(
        self, network: ServedNetwork, picture: StoredPicture, wish: MapRequest
    ) -> tuple[Job, Future[dict[str, Any]]]:
        """Join the line; raises Full."""
        job = Job(network, picture, wish, most_seconds=self.most_seconds)
        future = self.lane.enter(job.work)
        self.current.add(job)
        future.add_done_callback(lambda _: self.current.discard(job))
        return job, future

    async def follow(self, job: Job, future: Future[dict[str, Any]]) -> AsyncGenerator[dict[str, Any], None]:
        """What the page is told, until the result or the reason why there is none. Closing this ends the job."""
        waiting = asyncio.wrap_future(future)
        try:
            while True:
                await asyncio.wait({waiting}, timeout=TICK)
                if waiting.done():
                    yield self._last(job, waiting)
                    return
                # Also where nothing is new: only by writing does a server learn that the reader has gone.
                yield job.state()
        finally:
            job.end()
            waiting.cancel()  # and so the future, if it still waits in the line

    def close(self) -> None:
        """End all jobs."""
        for job in list(self.current):
            job.end()
        self.lane.close()

    @staticmethod
    def _last(job: Job, waiting: asyncio.Future[dict[str, Any]]) -> dict[str, Any]:
        try:
            return {"state": "done", "seconds": round(job.seconds, 3), "viewer": waiting.result()}
        except VggVizError as error:
            reason = str(error)
        except asyncio.CancelledError:
            reason = "the server is closing; start it again and ask again."
        except Exception as error:  # a method's own fault costs this job alone, and is told to whoever runs the server
            logging.getLogger(__name__).exception("a job failed")
            reason = f"this failed ({type(error).__name__}); the terminal of the server says more."
        return {"state": "failed", "error": reason}
