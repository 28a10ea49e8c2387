"""The pictures that readers have sent, in memory only: few, for a while, under names that nobody can guess."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

MOST_PICTURES = 64
MOST_STORED = 128_000_000  # [bytes]; VGG16 takes 0.6 MB a picture
LIFETIME = 900.0  # [s] since a picture was last asked about


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """What the network sees of a picture, and what it says.

    Attributes:
        image: (1, C, H, W) in [0, 1], as large as the network takes it.
        probabilities: (K,).
    """

    image: Tensor
    probabilities: Tensor

    @property
    def size(self) -> int:
        """Size in memory [bytes]."""
        return self.image.nbytes + self.probabilities.nbytes


class Store:
    """Pictures by token; the one that nobody asked about for longest goes first. Used from the event loop alone."""

    def __init__(
        self,
        *,
        most: int = MOST_PICTURES,
        most_bytes: int = MOST_STORED,
        lifetime: float = LIFETIME,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most, self.most_bytes, self.lifetime, self.clock = most, most_bytes, lifetime, clock
        self._kept: OrderedDict[str, tuple[float, StoredPicture]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Size of all pictures [bytes]."""
        return sum(picture.size for _, picture in self._kept.values())

    def put(self, picture: StoredPicture) -> str:
        """Keep a picture; returns its token, 128 bits of chance. Others go to make room for it."""
        token = secrets.token_urlsafe(16)
        self._kept[token] = (self.clock(), picture)
        self.sweep()
        return token

    def get(self, token: str) -> StoredPicture | None:
        """The picture, which now counts as new; None when it has gone."""
        self.sweep()
        entry = self._kept.pop(token, None)
        if entry is None:
            return None
        self._kept[token] = (self.clock(), entry[1])
        return entry[1]

    def sweep(self) -> None:
        """Drop what is too old, and the oldest of what is too much; the newest picture stays, however large."""
        oldest = self.clock() - self.lifetime
        while self._kept:
            since, _ = next(iter(self._kept.values()))
            crowded = len(self._kept) > self.most or (self.size > self.most_bytes and len(self._kept) > 1)
            if since > oldest and not crowded:
                return
            self._kept.popitem(last=False)
