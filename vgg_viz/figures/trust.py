"""Methods on trial: every check at a glance, pictures taken apart, and maps of networks that lose their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.canvas import MARGIN, WIDE, canvas, end_labels, fitted, head, panel, quiet, text_width, widest, write
from vgg_viz.figures.style import LIGHT, SMALL, Array, label, number, painted

_DASHES = ((0, (4, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)))


_MARKS = {"passes": "o", "weak": "D", "fails": "X", "": "o"}
_PER_LINE = 5  # colours in the series; further lines take other marks


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing that every method was asked.

    title        above the column; unit below it
    values       (M,) NaN where a method was not asked
    verdicts     (M,) "passes", "weak", "fails", or "" where it was not judged
    span         ends of the axis; what lies beyond stands at the end
    lows, highs  (M,) ends of the interval, or () where there is none
    limits       (passes up to, weak up to) where a small number is good, or None
    controls     {name: (M,)}: what maps score on the same pictures that know nothing of the network
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


@painted
def trials(methods: Sequence[str], verdicts: Sequence[str], asked: Sequence[Asked], *, title: str, subtitle: str = "") -> Figure:
    """A row a method, a column a check: a dot with its interval, the limit or the controls that it is measured against.

    methods, verdicts  (M,) in the order in which they stand

    Form and colour of a dot say how that check went; the ground is shaded where a small number passes. Ticks are controls:
    coloured the one of the method's own blur, grey those that know how pictures are taken, and luck.
    """
    if not methods or not asked or any(len(column.values) != len(methods) for column in asked) or len(verdicts) != len(methods):
        raise VggVizError(f"one value a method and check, and a verdict, are needed for {len(methods)} methods and {len(asked)} checks.")
    room, line, gap = widest(list(methods), size=SMALL, most=150), 25, 16
    said = MARGIN + room + 12
    left = said + 54
    width = (WIDE - MARGIN - left + gap) / len(asked) - gap
    headings = [_lines(column.title, width) for column in asked]
    top = head(title=title, subtitle=subtitle) + 14 + 14 * max(map(len, headings))
    height = line * len(methods)
    figure = canvas(WIDE, round(top + height + 78), title=title, subtitle=subtitle)
    tones = {"passes": LIGHT.good, "weak": LIGHT.warn, "fails": LIGHT.bad, "": LIGHT.muted}
    for row, (name, verdict) in enumerate(zip(methods, verdicts, strict=True)):
        y = top + line * (row + 0.5)
        write(figure, said - 12, y, fitted(name, room, SMALL), size=SMALL, ha="right")
        write(figure, said, y, fitted(verdict, 50, SMALL), size=SMALL, color=tones.get(verdict, LIGHT.ink))
    for n, column in enumerate(asked):
        x = left + n * (width + gap)
        axes = panel(figure, x, top, width, height)
        quiet(axes, grid="x")
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlim(*column.span)
        _column(axes, column, tones)
        axes.set_xticks([*column.span], [number(end, digits=2) for end in column.span], size=SMALL)
        axes.get_xticklabels()[0].set_horizontalalignment("left")
        axes.get_xticklabels()[-1].set_horizontalalignment("right")
        for at, text in enumerate(headings[n]):
            write(figure, x, top - 12 - 14 * (len(headings[n]) - 1 - at), text, size=SMALL)
        write(figure, x, top + height + 28, fitted(f"[{column.unit}]", width, SMALL), size=SMALL, color=LIGHT.muted)
    _key(figure, left, top + height + 56, tones)
    return figure


def _column(axes: Axes, column: Asked, tones: Mapping[str, str]) -> None:
    places = np.arange(len(column.values))
    low, high = column.span
    if column.limits is not None:
        axes.axvspan(low, column.limits[0], color=LIGHT.wash, zorder=0, linewidth=0)
        axes.axvline(column.limits[1], color=LIGHT.muted, linewidth=1, linestyle=_DASHES[0], zorder=1)
    elif low < 0 < high:
        axes.axvline(0, color=LIGHT.muted, linewidth=1, zorder=1)
    for name, values in column.controls.items():
        own = name == "blur-matched"
        axes.scatter(np.clip(np.asarray(values, float), low, high), places, marker="|", s=150 if own else 70, clip_on=False,
                     linewidths=2 if own else 1.2, color=LIGHT.series[1] if own else LIGHT.muted, zorder=2)  # fmt: skip
    for row, (value, verdict) in enumerate(zip(column.values, column.verdicts, strict=True)):
        if not np.isfinite(value):
            continue
        if column.lows:
            axes.hlines(row, max(low, column.lows[row]), min(high, column.highs[row]), color=tones[verdict], linewidth=2, zorder=3)
        axes.scatter([min(max(value, low), high)], [row], s=46, marker=_MARKS[verdict], color=tones[verdict], clip_on=False,
                     edgecolors=LIGHT.paper, linewidths=0.8, zorder=4)  # fmt: skip


def _lines(text: str, room: float) -> list[str]:
    """The words of a heading on as many lines as they need."""
    found: list[str] = []
    for word in label(text, 60).split():
        if found and text_width(f"{found[-1]} {word}", SMALL) <= room:
            found[-1] += f" {word}"
        else:
            found.append(word)
    return [fitted(one, room, SMALL) for one in found]


def _key(figure: Figure, left: float, y: float, tones: Mapping[str, str]) -> None:
    """What the forms mean, on one line."""
    parts = [(_MARKS[verdict], tones[verdict], verdict) for verdict in ("passes", "weak", "fails")]
    parts += [("|", LIGHT.series[1], "control of the method's own blur"), ("|", LIGHT.muted, "centre, edge and random controls")]
    x = left
    for mark, colour, text in parts:
        axes = panel(figure, x, y - 6, 12, 12, bare=True)
        axes.scatter([0.5], [0.5], s=90 if mark == "|" else 46, marker=mark, color=colour, linewidths=1.6 if mark == "|" else 0.8)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        write(figure, x + 17, y, text, size=SMALL)
        x += 17 + text_width(text, SMALL) + 18


@painted
def removal_curves(shares: Sequence[float], curves: Mapping[str, Mapping[str, Array]], *, controls: Sequence[str] = (),
                   title: str = "What the marked places are worth", subtitle: str = "") -> Figure:  # fmt: skip
    """Panels side by side: the network's probability while a picture is taken apart, or put together, in a map's order.

    shares    (S,) of the picture that is gone or back, [0, 1]
    curves    {"deletion": {method: (S,)}, "insertion": {...}}: mean probability, [0, 1]; the name's number is the area
    controls  those of the names that know nothing of the network: grey and dashed
    """
    names = list(next(iter(curves.values()), {}))
    if not names or any(list(lines) != names or any(len(line) != len(shares) for line in lines.values()) for lines in curves.values()):
        raise VggVizError(f"each panel needs the same lines, with one value for each of the {len(shares)} shares.")
    room = widest([f"{name} 0.00" for name in names], size=SMALL, most=190) + 12
    top = head(title=title, subtitle=subtitle) + 24
    tall = max(230, 15 * len(names) + 10)
    figure = canvas(WIDE, round(top + tall + 56), title=title, subtitle=subtitle)
    width = (WIDE - 2 * MARGIN - 40) / len(curves) - room - 30
    for n, (kind, lines) in enumerate(curves.items()):
        x = MARGIN + 40 + n * (width + room + 60)
        axes = panel(figure, x, top, width, tall)
        quiet(axes, grid="y")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        write(figure, x, top - 12, fitted(kind, width, SMALL, bold=True), size=SMALL, weight="bold")
        ends, shown = [], 0
        for name, line in lines.items():
            values, dull = np.asarray(line, float), name in controls
            colour = LIGHT.muted if dull else LIGHT.series[shown % _PER_LINE]
            axes.plot(shares, values, color=colour, linestyle=_DASHES[controls.index(name) % 3] if dull else "-", markersize=4,
                      marker="" if dull else "osD^v"[shown // _PER_LINE % 5], linewidth=1.3 if dull else 1.7, zorder=2 if dull else 3)  # fmt: skip
            shown += not dull
            mean = float(np.trapezoid(values, shares) / (shares[-1] - shares[0]))
            ends.append((mean, f"{label(name, 26)} {number(mean, digits=2)}", colour))
        end_labels(axes, ends)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
        axes.set_xlabel(f"of the picture {'back' if kind == 'insertion' else 'gone'}, strongest first [%]")
        if not n:
            axes.set_ylabel("probability of the class")
    return figure


@painted
def randomisation_decay(layers: Sequence[str], correlations: Mapping[str, Array], *, chance: float = 0.0,
                        title: str = "Do the maps depend on the weights?", subtitle: str = "") -> Figure:  # fmt: skip
    """How much a map still resembles the original when the network is randomised from the top, layer by layer.

    layers        randomised so far, from the top down; the first entry may be "none"
    correlations  {method: (L,) rank correlation with the map of the trained network, [-1, 1]}
    chance        what two unrelated maps reach

    A line that stays high belongs to a method that draws the picture, not the model.
    Source: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
    """
    if not layers or not correlations or any(len(values) != len(layers) for values in correlations.values()):
        raise VggVizError(f"one correlation for each of the {len(layers)} layers is needed from at least one method.")
    names_room = widest([f"{name} −0.00" for name in correlations], size=SMALL, most=240) + 10
    top = head(title=title, subtitle=subtitle) + 10
    slant = len(layers) > 8
    figure = canvas(WIDE, top + 300 + (84 if slant else 60), title=title, subtitle=subtitle)
    axes = panel(figure, MARGIN + 50, top, WIDE - 2 * MARGIN - 50 - names_room, 300)
    quiet(axes, grid="y")
    lowest = min(float(np.nanmin(np.asarray(values, float), initial=0.0)) for values in correlations.values())
    axes.set_ylim(min(-0.05, lowest - 0.05), 1.04)
    axes.axhline(chance, color=LIGHT.muted, linewidth=1.2, linestyle=_DASHES[0], zorder=1)
    ends = []
    for n, (name, values) in enumerate(correlations.items()):
        colour = LIGHT.series[n % len(LIGHT.series)]
        drawn = np.asarray(values, float)
        # Colour is never alone: every line has its name at its end, and lines of one colour differ in their marks.
        known = np.isfinite(drawn)  # a dear method met fewer levels: a straight line joins them
        axes.plot(np.flatnonzero(known), drawn[known], color=colour, marker="osD^v"[n // len(LIGHT.series) % 5], markersize=5, zorder=3)
        if known.any():
            last = float(drawn[known][-1])
            ends.append((last, f"{label(name, 32)} {number(last, digits=2)}", colour))
    end_labels(axes, ends)
    axes.set_xticks(range(len(layers)), [fitted(name, 64, SMALL) for name in layers], rotation=45 if slant else 0,
                    ha="right" if slant else "center", rotation_mode="anchor", size=SMALL)  # fmt: skip
    axes.set_xlim(-0.3, len(layers) - 0.7)
    axes.set_xlabel("randomised from the top down to and including")
    axes.set_ylabel("rank correlation with the original map")
    return figure
