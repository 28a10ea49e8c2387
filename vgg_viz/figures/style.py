"""How every figure looks: the colours of two themes, the type sizes, and what a text may contain."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Final, ParamSpec

import matplotlib
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vgg_viz.figures.fonts import can_draw, families
from vgg_viz.maths.heatmaps import Scale

Array = NDArray[Any]
Painter = ParamSpec("Painter")

DPI: Final = 100  # one figure pixel is one CSS pixel at scale 1


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours that are not data, as #rrggbb; every text colour has a contrast of 4.5 or more on the paper.

    Attributes:
        name: "light" or "dark".
        paper: The background.
        wash: A quiet area: bands, unused parts of bars.
        grid: Grid lines.
        muted: Text of second rank, and lines.
        ink: Text.
        good: What is right or passes.
        warn: What is weak.
        bad: What is wrong or fails.
        series: Colours of lines and bars that mean a kind, safe for the three common colour blindnesses.
    """

    name: str
    paper: str
    wash: str
    grid: str
    muted: str
    ink: str
    good: str
    warn: str
    bad: str
    series: tuple[str, ...]

    @property
    def accent(self) -> str:
        """The first of the series: where there is only one thing to show."""
        return self.series[0]

    def tokens(self) -> tuple[str, ...]:
        """Every colour of the theme, in an order that is the same for all themes."""
        plain = [getattr(self, field.name) for field in fields(self) if field.name not in ("name", "series")]
        return (*plain, *self.series)


LIGHT: Final = Theme(
    "light",
    paper="#ffffff",
    wash="#eef1f5",
    grid="#dde2e8",
    muted="#59626e",
    ink="#1a1d21",
    good="#1b7a48",
    warn="#946000",
    bad="#c1352b",
    series=("#0b62a8", "#b54800", "#00735c", "#8d4884", "#7a5c00"),
)
DARK: Final = Theme(
    "dark",
    paper="#14171b",
    wash="#23282f",
    grid="#333a43",
    muted="#a3abb6",
    ink="#e9ebee",
    good="#4dc48b",
    warn="#e4aa3d",
    bad="#ff8072",
    series=("#6db5f6", "#f18c4d", "#37c9a1", "#d89dd0", "#d8b54b"),
)

# Two networks in one figure: the name, colour and marker of each.
FIRST, SECOND = LIGHT.series[0], LIGHT.series[1]
PAIR: Final = (("A", FIRST, "o"), ("B", SECOND, "s"))

# Before a line that is right, wrong or neither: a sign, because a colour alone does not reach every reader.
VERDICTS: Final = {True: ("✓ ", LIGHT.good), False: ("✗ ", LIGHT.bad), None: ("", LIGHT.muted)}

# Text that lies on data keeps its colour in both themes, so neither of these may be a token.
ON_DARK: Final = "#fefefe"
ON_LIGHT: Final = "#0a0a0b"

BOX: Final = "\u25a1"  # in the place of a letter that no font has
_SIGN: Final = "\ue000"  # in the place of a sign that no font has, until it is known whether a letter stands beside it

SEQUENTIAL: Final = "viridis"
SIGNED: Final = "RdBu_r"


def points(pixels: float) -> float:
    """Type size [pt] for a size in figure pixels."""
    return pixels * 72 / DPI


# Small text is 11 px: the floor below which nothing in a figure may fall is 9.
TITLE, BODY, SMALL = points(15), points(12), points(11)

_HOUSE: Final[dict[str, Any]] = {
    "font.size": BODY,
    "text.parse_math": False,
    "text.color": LIGHT.ink,
    "axes.titlesize": points(13),
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.labelsize": points(11.5),
    "axes.labelcolor": LIGHT.muted,
    "axes.edgecolor": LIGHT.muted,
    "axes.facecolor": LIGHT.paper,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LIGHT.grid,
    "grid.linewidth": 0.8,
    "xtick.color": LIGHT.muted,
    "xtick.labelcolor": LIGHT.ink,
    "xtick.labelsize": points(11),
    "xtick.major.size": 3.0,
    "ytick.color": LIGHT.muted,
    "ytick.labelcolor": LIGHT.ink,
    "ytick.labelsize": points(11),
    "ytick.major.size": 3.0,
    "figure.facecolor": LIGHT.paper,
    "figure.dpi": DPI,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "hatch.linewidth": 0.8,
    "image.interpolation": "nearest",
    "svg.fonttype": "path",
    "svg.hashsalt": "vgg_viz",
}


@contextmanager
def matplotlib_style() -> Iterator[None]:
    """The settings of matplotlib that our figures are drawn under; the reader's own come back afterwards.

    They start from matplotlib's defaults, so that a matplotlibrc file or seaborn.set_theme() in a notebook changes nothing.
    """
    settings: Any = {key: value for key, value in matplotlib.rcParamsDefault.items() if "backend" not in key}
    settings.update(_HOUSE, **{"font.family": list(families())})
    with matplotlib.rc_context(settings):
        yield


def styled(paint: Callable[Painter, Figure]) -> Callable[Painter, Figure]:
    """Draw a figure function inside `matplotlib_style()`."""

    @functools.wraps(paint)
    def inside(*args: Painter.args, **options: Painter.kwargs) -> Figure:
        with matplotlib_style():
            return paint(*args, **options)

    return inside


def colours(scale: Scale) -> Colormap:
    """viridis, or for signed scales red and blue around a neutral zero."""
    return matplotlib.colormaps[SIGNED if scale.signed else SEQUENTIAL]


def limits(scale: Scale) -> tuple[float, float]:
    """The values at both ends of the colour map; a flat scale is widened so that its one value keeps its neutral colour."""
    if scale.high > scale.low:
        return scale.low, scale.high
    return (scale.low - 1, scale.low + 1) if scale.signed else (scale.low, scale.low + 1)


def label(text: str, limit: int = 40) -> str:
    """A name from outside as one line that can be drawn: what steers text is dropped, as are signs that no font has.

    A letter without a font becomes a box, and a sign where nothing else would be left.

    Args:
        text: Anything: markup, mathematics, newlines, NUL and right-to-left overrides included.
        limit: Longest result [characters]; what is longer ends in an ellipsis.
    """
    kept = []
    # Names of 300 characters exist; names of a million are cut before they cost a second.
    for character in text[: 8 * limit + 64]:
        category = unicodedata.category(character)
        if character.isspace():
            kept.append(" ")
        elif category == "Cf" or "\ufe00" <= character <= "\ufe0f":
            continue
        elif category in ("Cc", "Cs"):
            kept.append("\ufffd")
        elif can_draw(character):
            kept.append(character)
        else:
            kept.append(BOX if category[0] in "LMN" else _SIGN)
    readable = any(character.isalnum() for character in kept)
    line = " ".join("".join(kept).replace(_SIGN, "" if readable else BOX).split())
    if not line:
        return "(no name)"
    return line if len(line) <= limit else line[: max(limit - 1, 1)].rstrip() + "…"


def number(value: float, *, digits: int = 3) -> str:
    """A number as a reader writes it: `digits` significant digits, a true minus, no 1e+05."""
    if value != value:
        return "–"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size >= 10**digits or size >= 1000:
        text = f"{value:,.0f}" if size < 1e6 else f"{value:.{digits - 1}e}"
    else:
        text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"
    return text.replace("-", "−")


def count(value: float) -> str:
    """A large count in three digits: 133 M, 14.7 k, 512."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            return f"{float(f'{value / size:.3g}'):g} {letter}"
    return f"{value:g}"
