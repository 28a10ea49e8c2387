"""Arrays in, matplotlib Figure out: the only door of matplotlib and seaborn, and no model ever comes through it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # For annotations of other rooms, which do not import matplotlib themselves.
    from matplotlib.figure import Figure as Figure
