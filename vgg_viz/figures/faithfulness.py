"""Tests of attribution methods: every check at a glance, and curves of deletion and of randomisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.layout import (
    MARGIN,
    WIDE,
    add_panel,
    add_text,
    content_top,
    declutter,
    fit_text,
    new_figure,
    text_width,
    widest_text,
)
from vgg_viz.figures.style import LIGHT, SMALL, Array, label, number, styled

_DASHES = ((0, (4, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)))


Side = Literal["left", "right"]
_MARKS = {"passes": "o", "weak": "D", "fails": "X", "": "o"}


@dataclass(frozen=True, slots=True)
class Check:
    """One check of every method.

    Attributes:
        title: Above the column.
        unit: Below the column.
        values: (M,) NaN where a method was not checked.
        verdicts: (M,) "passes", "weak", "fails", or "" where it was not judged.
        span: Ends of the axis; what lies beyond stands at the end.
        lows: (M,) ends of the interval, or () where there is none.
        highs: (M,) ends of the interval, or () where there is none.
        limits: (passes up to, weak up to) where a small number is good, or None.
        controls: {name: (M,)}: scores on the same pictures of maps made without the network.
    """

    title: str
    unit: str
    values: Sequence[float]
    verdicts: Sequence[str]
    span: tuple[float, float]
    lows: Sequence[float] = ()
    highs: Sequence[float] = ()
    limits: tuple[float, float] | None = None
    controls: Mapping[str, Sequence[float]] = field(default_factory=dict)


@styled
def check_table(methods: Sequence[str], verdicts: Sequence[str], checks: Sequence[Check], *, title: str) -> Figure:
    """A row a method, a column a check: a dot with its interval, the limit or the controls that it is measured against.

    Form and colour of a dot say how that check went; the band is shaded where a small number passes. Ticks are controls:
    coloured the one of the method's own blur, grey those that know how pictures are taken, and luck.

    Args:
        methods: (M,) in the order in which they stand.
        verdicts: (M,) in the order in which they stand.
        checks: One a check, from the left.
        title: Heading of the figure.
    """
    if not methods or not checks or {len(verdicts), *(len(check.values) for check in checks)} != {len(methods)}:
        raise VggVizError(
            f"a verdict and one value a check are needed for each of {len(methods)} methods; {len(checks)} checks came."
        )
    room, line, gap = widest_text(list(methods), size=SMALL, most=150), 25, 16
    verdicts_left = MARGIN + room + 12
    left = verdicts_left + 54
    width = (WIDE - MARGIN - left + gap) / len(checks) - gap
    headings = [_lines(check.title, width) for check in checks]
    top = content_top(title=title) + 14 + 14 * max(map(len, headings))
    height = line * len(methods)
    figure = new_figure(WIDE, round(top + height + 78), title=title)
    tones = {"passes": LIGHT.good, "weak": LIGHT.warn, "fails": LIGHT.bad, "": LIGHT.muted}
    for row, (name, verdict) in enumerate(zip(methods, verdicts, strict=True)):
        y = top + line * (row + 0.5)
        add_text(figure, verdicts_left - 12, y, fit_text(name, room, SMALL), size=SMALL, ha="right")
        add_text(
            figure, verdicts_left, y, fit_text(verdict, 50, SMALL), size=SMALL, color=tones.get(verdict, LIGHT.ink)
        )
    # One panel for all columns, measured in pixels, and marks of one kind as one object: the page holds this drawing as text.
    axes = add_panel(figure, left, top, WIDE - MARGIN - left, height, bare=True)
    axes.set_xlim(0, WIDE - MARGIN - left)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    marks = _Marks()
    for n, check in enumerate(checks):
        x = n * (width + gap)
        marks.add(check, x, width, len(methods))
        for at, text in enumerate(headings[n]):
            add_text(figure, left + x, top - 12 - 14 * (len(headings[n]) - 1 - at), text, size=SMALL)
        ends: tuple[tuple[float, float, Side], ...] = ((check.span[0], 0.0, "left"), (check.span[1], width, "right"))
        for end, place, side in ends:
            add_text(figure, left + x + place, top + height + 12, number(end, digits=2), size=SMALL, ha=side)
        add_text(
            figure,
            left + x,
            top + height + 28,
            fit_text(f"[{check.unit}]", width, SMALL),
            size=SMALL,
            color=LIGHT.muted,
        )
    marks.draw(axes, tones)
    _key(figure, left, top + height + 56, tones)
    return figure


class _Marks:
    """What all columns hold, kind by kind: (x0, x1, y0, y1) of straight pieces, (x, y) of dots."""

    def __init__(self) -> None:
        self.shaded: list[Array] = []
        self.pieces: dict[str, list[Array]] = {}
        self.dots: dict[str, list[Array]] = {}

    def add(self, check: Check, left: float, width: float, count: int) -> None:
        """Take in one check, which begins at `left` and is `width` wide [px]."""
        low, high = check.span
        places = np.arange(count, dtype=float)

        def across(values: Sequence[float]) -> Array:
            share: Array = (np.clip(np.asarray(values, float), low, high) - low) / (high - low)
            return np.asarray(left + width * share)

        def upright(kind: str, values: Sequence[float], y0: Array, y1: Array) -> None:
            x = across(values)
            self.pieces.setdefault(kind, []).append(np.stack([x, x, y0, y1], 1)[np.isfinite(x)])

        whole = np.full(2, -0.5), np.full(2, count - 0.5)
        upright("frame", [low, high], *whole)
        if check.limits is not None:
            self.shaded.append(across([low, check.limits[0]]))
            upright("limit", [check.limits[1]], whole[0][:1], whole[1][:1])
        elif low < 0 < high:
            upright("frame", [0.0], whole[0][:1], whole[1][:1])
        for name, values in check.controls.items():
            kind, reach = ("own", 0.36) if name == "blur-matched" else ("control", 0.22)
            upright(kind, values, places - reach, places + reach)
        for verdict in _MARKS:
            chosen = np.array([one == verdict for one in check.verdicts])
            here = np.flatnonzero(np.isfinite(np.asarray(check.values, float)) & chosen)
            if len(check.lows):
                starts, stops = across(check.lows)[here], across(check.highs)[here]
                self.pieces.setdefault(verdict, []).append(np.stack([starts, stops, places[here], places[here]], 1))
            self.dots.setdefault(verdict, []).append(np.stack([across(check.values)[here], places[here]], 1))

    def draw(self, axes: Axes, tones: Mapping[str, str]) -> None:
        """Paint it all, what is behind first."""
        for start, stop in self.shaded:
            axes.axvspan(start, stop, color=LIGHT.wash, zorder=0, linewidth=0)
        looks: dict[str, tuple[str, float, Any, float]] = {
            "frame": (LIGHT.grid, 1.0, "-", 1.0),
            "limit": (LIGHT.muted, 1.0, _DASHES[0], 1.0),
            "control": (LIGHT.muted, 1.2, "-", 2.0),
            "own": (LIGHT.series[1], 2.0, "-", 2.1),
            **{verdict: (tone, 2.0, "-", 3.0) for verdict, tone in tones.items()},
        }
        for kind, (colour, thick, dash, above) in looks.items():
            pieces = np.concatenate(self.pieces.get(kind, [np.empty((0, 4))]))
            if len(pieces):
                axes.plot(
                    *_pieces(*pieces.T),
                    color=colour,
                    linewidth=thick,
                    linestyle=dash,
                    zorder=above,
                    solid_capstyle="butt",
                    clip_on=False,
                    label=kind,
                )
        for verdict, mark in _MARKS.items():
            dots = np.concatenate(self.dots.get(verdict, [np.empty((0, 2))]))
            if len(dots):
                axes.scatter(
                    dots[:, 0],
                    dots[:, 1],
                    s=46,
                    marker=mark,
                    color=tones[verdict],
                    edgecolors=LIGHT.paper,
                    linewidths=0.8,
                    zorder=4,
                    clip_on=False,
                    label=verdict,
                )


def _pieces(x0: Array, x1: Array, y0: Array, y1: Array) -> tuple[Array, Array]:
    """Many straight pieces as one line with gaps."""
    gap = np.full(len(x0), np.nan)
    return np.stack([x0, x1, gap], 1).ravel(), np.stack([y0, y1, gap], 1).ravel()


def _lines(text: str, room: float) -> list[str]:
    """The words of a heading on as many lines as they need."""
    lines: list[str] = []
    for word in label(text, 60).split():
        if lines and text_width(f"{lines[-1]} {word}", SMALL) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return [fit_text(one, room, SMALL) for one in lines]


def _key(figure: Figure, left: float, y: float, tones: Mapping[str, str]) -> None:
    """What the forms mean, on one line."""
    parts = [(_MARKS[verdict], tones[verdict], verdict) for verdict in ("passes", "weak", "fails")]
    parts += [
        ("|", LIGHT.series[1], "control of the method's own blur"),
        ("|", LIGHT.muted, "centre, edge and random controls"),
    ]
    x = left
    for mark, colour, text in parts:
        axes = add_panel(figure, x, y - 6, 12, 12, bare=True)
        axes.scatter(
            [0.5], [0.5], s=90 if mark == "|" else 46, marker=mark, color=colour, linewidths=1.6 if mark == "|" else 0.8
        )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        add_text(figure, x + 17, y, text, size=SMALL)
        x += 17 + text_width(text, SMALL) + 18


_Look = tuple[str, Any, str, float]  # colour, dashes, mark, width of a line


@dataclass(frozen=True, slots=True)
class CurvePanel:
    """One panel of lines.

    Attributes:
        title: Above the panel.
        axis: Below it, with its unit.
        places: (S,) where the values stand.
        ticks: What is written below the axis: {place: text}.
        lines: {name: (S,)}; NaN where nothing was measured, and a straight line joins its neighbours.
    """

    title: str
    axis: str
    places: Sequence[float]
    ticks: Mapping[float, str]
    lines: Mapping[str, Sequence[float]]


@styled
def curve_panels(
    panels: Sequence[CurvePanel], *, baselines: Sequence[str] = (), height: str = "", title: str
) -> Figure:
    """Panels side by side with the same lines, from 0 to 1, and one list of their names at the right.

    A panel leaves out the lines that it does not have; a line has one colour in all panels.

    Args:
        panels: From the left.
        baselines: Names of lines made without the network: grey and dashed.
        height: What all vertical axes measure.
        title: Heading of the figure.
    """
    names = list(dict.fromkeys(name for panel_ in panels for name in panel_.lines))
    if not names or any(len(line) != len(one.places) for one in panels for line in one.lines.values()):
        raise VggVizError(
            f"each of the {len(panels)} panels needs at least one line, with one value for each of its places."
        )
    room = widest_text(names, size=SMALL, most=170) + 46
    top, tall, gap = content_top(title=title) + 26, max(200, 18 * len(names)), 34
    figure = new_figure(WIDE, round(top + tall + 74), title=title)
    first = MARGIN + 42
    width = (WIDE - MARGIN - room - first + gap) / len(panels) - gap
    bright = [name for name in names if name not in baselines]
    marks = ("", "s", "D", "^", "v")  # where there are more lines than colours
    looks: dict[str, _Look] = {
        name: (LIGHT.series[n % 5], "-", marks[n // 5 % 5], 1.8) for n, name in enumerate(bright)
    }
    looks |= {
        name: (LIGHT.muted, _DASHES[n % 3], "", 1.3)
        for n, name in enumerate(name for name in names if name in baselines)
    }
    for n, one in enumerate(panels):
        x = first + n * (width + gap)
        axes = add_panel(figure, x, top, width, tall)
        declutter(axes, grid="y")
        axes.set_xlim(min(one.places), max(one.places))
        low = min((float(v) for line in one.lines.values() for v in line if np.isfinite(v)), default=0.0)
        axes.set_ylim(min(0.0, low - 0.03), 1.03)
        for name, line in one.lines.items():
            values = np.asarray(line, float)
            known = np.isfinite(values)
            colour, dash, mark, thick = looks[name]
            axes.plot(
                np.asarray(one.places, float)[known],
                values[known],
                color=colour,
                linestyle=dash,
                marker=mark,
                markersize=4,
                linewidth=thick,
                zorder=2 if name in baselines else 3,
            )
        add_text(figure, x, top - 13, fit_text(one.title, width + gap, SMALL, bold=True), size=SMALL, weight="bold")
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"] if not n else ["", "", ""], size=SMALL)
        # Names of layers slant; numbers do not need to.
        slant = 35 if any(len(text) > 4 for text in one.ticks.values()) else 0
        axes.set_xticks(
            list(one.ticks),
            [fit_text(text, 60, SMALL) for text in one.ticks.values()],
            rotation=slant,
            ha="right" if slant else "center",
            rotation_mode="anchor",
            size=SMALL,
        )
        add_text(figure, x, top + tall + 60, fit_text(one.axis, width + gap - 4, SMALL), size=SMALL, color=LIGHT.muted)
    add_text(
        figure,
        MARGIN + 8,
        top + tall / 2,
        fit_text(height, tall, SMALL),
        size=SMALL,
        color=LIGHT.muted,
        rotation=90,
        ha="center",
    )
    _names(figure, looks, WIDE - MARGIN - room + 14, top)
    return figure


def _names(figure: Figure, looks: Mapping[str, _Look], left: float, top: float) -> None:
    """The lines by name, each beside a piece of itself."""
    axes = add_panel(figure, left, top, 20, 18 * len(looks), bare=True)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(looks) - 0.5, -0.5)
    for row, (name, (colour, dash, mark, thick)) in enumerate(looks.items()):
        axes.plot([0, 1], [row, row], color=colour, linestyle=dash, marker=mark, markersize=4, linewidth=thick)
        add_text(
            figure,
            left + 26,
            top + 18 * (row + 0.5),
            fit_text(name, WIDE - MARGIN - left - 26, SMALL),
            size=SMALL,
            color=colour,
        )
