"""Progress of a report on stderr: one line that moves on a terminal, nothing where nobody watches."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class Steps:
    """Called with (what is being made, how many parts are done, of how many); a context manager around the work."""

    def __init__(self, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._watched = console.is_terminal and not quiet
        self._bar = Progress(
            TextColumn("{task.description:<20}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not self._watched,
        )
        self._task = self._bar.add_task("Opening", total=1)

    def __enter__(self) -> Steps:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watched:  # some versions of rich end with a line feed even where nothing was drawn
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show what is being made, and how many parts of how many are done."""
        self._bar.update(self._task, description=what, completed=done, total=total)
