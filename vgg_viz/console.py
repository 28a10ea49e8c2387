"""How far long work is, on stderr: one line that moves on a terminal; elsewhere, such as in a log, a line every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from vgg_viz.progress import heard_by
from vgg_viz.safe_text import one_line, say

EVERY = 5.0  # [s] between two lines, and before the first
SHARE = 0.05  # of the time since the start between two lines: an hour's log is no longer than a minute's by much


class Steps:
    """Called with (what is being made, how many parts are done, of how many); a context manager around the work.

    What `progress.tell` says inside comes here, too.
    """

    def __init__(self, command: str, *, quiet: bool = False) -> None:
        # The stream of now: while a library is at work, sys.stderr may be somebody else's.
        self._stream = sys.stderr
        self.console = Console(file=self._stream, highlight=False)
        self._command, self._quiet = command, quiet
        self._watched = self.console.is_terminal and not quiet
        # Standard output stays what it is: rich would send it to stderr, past a file or a pipe.
        self._bar = Progress(
            TextColumn("{task.description:<20}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self._watched,
            redirect_stdout=False,
        )
        self._task = self._bar.add_task("Opening", total=1)
        self._state = ("Opening", 0, 1)
        self._began = self._said = time.monotonic()
        self._ended = threading.Event()
        self._writer: threading.Thread | None = None
        self._open = ExitStack()

    def __enter__(self) -> Steps:
        self._began = self._said = time.monotonic()
        self._open.enter_context(heard_by(self))
        self._bar.start()
        if not self._watched and not self._quiet:
            self._writer = threading.Thread(target=self._lines, daemon=True)
            self._writer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._writer:
            self._writer.join(timeout=1.0)  # nothing is said of what has ended
        self._open.close()
        if self._watched:  # some versions of rich end with a line feed even where nothing was drawn
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show what is being made, and how many parts of how many are done."""
        self._state = (what, done, total)
        self._bar.update(self._task, description=one_line(what), completed=done, total=total)

    def print(self, line: str) -> None:
        """A line of its own above the bar; in a log the next line of progress then waits its time."""
        self.console.print(one_line(line), markup=False, soft_wrap=True)
        self._said = time.monotonic()

    def _lines(self) -> None:
        """Until the work ends: where it stands, whenever nothing was said for long enough."""
        while not self._ended.wait(max(0.01, self._next() - time.monotonic())):
            now = time.monotonic()
            if now < self._next():
                continue
            what, done, total = self._state
            count = f", {done:,} of {total:,} done" if done and total > 1 else ""
            try:
                say(f"vgg_viz {self._command}: {what}{count}, {now - self._began:.0f} s", file=self._stream, flush=True)
            except (OSError, ValueError):  # nobody reads any more
                return
            self._said = now

    def _next(self) -> float:
        return self._said + max(EVERY, SHARE * (self._said - self._began))
