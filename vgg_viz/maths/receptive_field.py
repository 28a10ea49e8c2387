"""What a unit of a convolutional chain can see of the image, exactly.

Going up through a chain of windows (kernel k, stride s, padding p, dilation d):

    size    += (k - 1) d jump        how many pixels a unit sees
    padding += p jump                how far unit 0 reaches beyond the image
    jump    *= s                     how many pixels apart two neighbouring units look

Unit u covers pixels [u jump - padding, u jump - padding + size - 1]; its centre is u jump + centre with
centre = (size - 1) / 2 - padding, in pixel indices that start at 0.

Source: Araujo, Norris & Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Window:
    """The sliding window of one layer [px of its own input]; `ceil`: a last window may hang over the end, as pools allow."""

    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    ceil: bool = False

    def out(self, side: int) -> int:
        """Side of the output for an input of `side`; 0 or less when the window does not fit."""
        rest = side + 2 * self.padding - self.dilation * (self.kernel - 1) - 1
        if not self.ceil:
            return rest // self.stride + 1
        whole = -(-rest // self.stride) + 1
        # torch drops a window that would begin behind the picture and its padding at the near end.
        return whole - ((whole - 1) * self.stride >= side + self.padding)

    def reached(self, first: int, last: int, side: int) -> tuple[int, int]:
        """First and last of `side` outputs that read any of the inputs first..last; the nearest one where none does."""
        low = -((self.dilation * (self.kernel - 1) - first - self.padding) // self.stride)
        high = (last + self.padding) // self.stride
        low = min(max(low, 0), side - 1)
        return low, min(max(high, low), side - 1)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels on the image: x0 and y0 are inside, x1 and y1 just outside [px]."""

    x0: int
    y0: int
    x1: int
    y1: int

    def clipped(self, height: int, width: int) -> Box:
        """The part that lies on the image; what is cut off saw only padding."""
        return Box(
            min(max(self.x0, 0), width),
            min(max(self.y0, 0), height),
            min(max(self.x1, 0), width),
            min(max(self.y1, 0), height),
        )


@dataclass(frozen=True, slots=True)
class Field:
    """The receptive field of one layer's units [px of the image]; the default is that of a pixel."""

    size: int = 1
    jump: int = 1
    padding: int = 0

    @property
    def centre(self) -> float:
        """Where unit 0 looks: pixel index of the middle of its field; half a pixel when the size is even."""
        return (self.size - 1) / 2 - self.padding

    def then(self, window: Window) -> Field:
        """The field one layer further up."""
        return Field(
            size=self.size + window.dilation * (window.kernel - 1) * self.jump,
            jump=self.jump * window.stride,
            padding=self.padding + window.padding * self.jump,
        )

    def span(self, unit: int) -> tuple[int, int]:
        """First and last pixel that `unit` sees along one axis, padding included: may lie outside the image."""
        first = unit * self.jump - self.padding
        return first, first + self.size - 1

    def box(self, row: int, column: int) -> Box:
        """The rectangle that unit (row, column) sees, padding included."""
        (y0, y1), (x0, x1) = self.span(row), self.span(column)
        return Box(x0, y0, x1 + 1, y1 + 1)


def fields(windows: Iterable[Window]) -> list[Field]:
    """The field after each of `windows`, from the bottom up; as many as there are windows."""
    return list(accumulate(windows, Field.then, initial=Field()))[1:]
