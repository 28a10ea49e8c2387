"""From the body of a request to bytes: counted while they come, never more than fit, never on disk."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request

MOST_BYTES = 20_000_000  # of one picture
MOST_AT_ONCE = 200_000_000  # [bytes] of all pictures that are on their way in or waiting to be unpacked
PATIENCE = 60.0  # [s] for one body


class Intake:
    """Reads bodies, with one bound on each and one on all of them together."""

    def __init__(self, most: int = MOST_BYTES, most_at_once: int = MOST_AT_ONCE, patience: float = PATIENCE) -> None:
        self.most, self.most_at_once, self.patience = most, most_at_once, patience
        self.held = 0  # [bytes] now in memory

    async def read(self, request: Request, held: Held, most: int | None = None) -> bytes:
        """The body of a request.

        Args:
            request: As it came.
            held: Counts the bytes that this request holds.
            most: [bytes]; default: that of a picture.

        Raises:
            HTTPException: 413 too large, by its Content-Length or by what has come; 408 too slow; 503 too much at
                once.
        """
        most = self.most if most is None else most
        declared = request.headers.get("content-length")
        if declared is not None and (not declared.isascii() or not declared.isdigit() or int(declared[:20]) > most):
            raise too_large(most)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.patience):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > most:
                        raise too_large(most)
                    if self.held + len(chunk) > self.most_at_once:
                        raise busy("Too many pictures are on their way at once; try again in a moment.")
                    held.take(len(chunk))
                    chunks.append(chunk)
        except TimeoutError:
            raise HTTPException(
                408, f"The picture did not arrive within {self.patience:.0f} s; send it again."
            ) from None
        return b"".join(chunks)

    def holding(self) -> Held:
        """A `with` block whose bytes count as held until it ends."""
        return Held(self)


@dataclass(slots=True)
class Held:
    """What one request holds of the common room."""

    intake: Intake
    size: int = 0

    def __enter__(self) -> Held:
        return self

    def take(self, size: int) -> None:
        """Count `size` bytes as held."""
        self.size += size
        self.intake.held += size

    def __exit__(self, *_: object) -> None:
        self.intake.held -= self.size
        self.size = 0


def too_large(most: int) -> HTTPException:
    """The refusal of a body above `most` [bytes]."""
    size = f"{most / 1e6:.0f} MB" if most >= 1_000_000 else f"{most // 1000} kB"
    return HTTPException(413, f"That is more than {size}; send a smaller file.")


def busy(sentence: str, seconds: int = 2) -> HTTPException:
    """The refusal of what would be too much at once; `seconds` after which to come back."""
    return HTTPException(503, sentence, {"Retry-After": str(seconds)})
