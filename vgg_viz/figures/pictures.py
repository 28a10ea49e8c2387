"""Photographs with a few words each: specimens, mistakes, and what a transform does to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vgg_viz.errors import VggVizError
from vgg_viz.figures.image_grid import Grid, cell_side, compose_grid, fit
from vgg_viz.figures.layout import MARGIN, WIDE, add_image, add_text, content_top, fit_text, new_figure
from vgg_viz.figures.style import LIGHT, SMALL, VERDICTS, Array, styled

DENSITY = 2  # sheet pixels to a figure pixel: photographs stay sharp on fine screens
LINE = 15  # [px] of one line of a caption

Verdict = Literal["good", "bad"] | None


@styled
def picture_grid(
    images: Sequence[Array],
    captions: Sequence[str] = (),
    *,
    borders: Sequence[Verdict] = (),
    side: int = 128,
    title: str = "",
) -> Figure:
    r"""Pictures row by row, each above its caption; a frame and a sign tell right from wrong.

    Args:
        images: Each (H, W, 3) float in [0, 1], of any size.
        captions: One a picture, "\n" begins a new line; shortened to the width of a picture.
        borders: One a picture: "good" a green frame and ✓, "bad" a red one and ✗, None nothing.
        side: Wanted side of a picture [px]; small pictures are enlarged a whole number of times.
        title: Heading of the figure.
    """
    _check(images, captions, borders)
    # By the smallest picture: it is enlarged whole times to fill its cell, and the larger ones are averaged down to it.
    smallest = min(max(image.shape[:2]) for image in images)
    cell = cell_side(smallest, side, density=DENSITY)
    columns = min(max(1, (WIDE - 2 * MARGIN + 14) // (cell + 14)), len(images))
    lines = [caption.split("\n") for caption in captions]
    below = LINE * max((len(parts) for parts in lines), default=0) + (6 if lines else 0)
    cells = [fit(np.asarray(image, np.float32), DENSITY * cell, DENSITY * cell) for image in images]
    tall = max(part.shape[0] for part in cells) // DENSITY  # a row of landscapes needs no square cells
    grid = Grid(len(images), columns, cell, tall, gap=14, above=3, below=below + 3)
    top = content_top(title=title)
    width = max(grid.size[0] + 2 * MARGIN, 360 if title else 0)
    figure = new_figure(width, top + grid.size[1] + MARGIN, title=title)
    axes = add_image(
        figure, MARGIN, top, compose_grid(grid, cells, density=DENSITY), density=DENSITY, interpolation="auto"
    )
    for n, part in enumerate(cells):
        x, y = grid.corner(n)
        verdict = borders[n] if borders else None
        if verdict:
            wide, high = part.shape[1] / DENSITY, part.shape[0] / DENSITY
            axes.add_patch(
                Rectangle(
                    (x + (cell - wide) / 2 - 2, y + (tall - high) / 2 - 2),
                    wide + 4,
                    high + 4,
                    fill=False,
                    edgecolor=VERDICTS[verdict == "good"][1],
                    linewidth=2.2,
                    clip_on=False,
                )
            )
        for row, line in enumerate(lines[n] if lines else ()):
            sign, colour = VERDICTS[None if verdict is None or row else verdict == "good"]
            if line:
                text = fit_text(sign + line, cell + 6, SMALL)
                place = MARGIN + x, top + y + tall + 13 + LINE * row
                add_text(figure, *place, text, size=SMALL, color=colour if sign else LIGHT.ink)
    return figure


def _check(images: Sequence[Array], captions: Sequence[str], borders: Sequence[Verdict]) -> None:
    if not images:
        raise VggVizError("a grid of pictures needs at least one picture; none came.")
    for name, given in (("captions", captions), ("borders", borders)):
        if given and len(given) != len(images):
            raise VggVizError(f"{len(images)} pictures came with {len(given)} {name}; give one for each, or none.")


@styled
def steps(
    rows: Sequence[Sequence[Array]],
    names: Sequence[str],
    *,
    captions: Sequence[str] = (),
    side: int = 128,
    title: str = "",
) -> Figure:
    """What happens to a picture, from left to right: one row a picture, one column a step, arrows between.

    Args:
        rows: Each as many pictures (H, W, 3) in [0, 1] as there are `names`.
        names: Of the steps: "file", "resized", "cropped", ...
        captions: One a row, written above it.
        side: Wanted side of a picture [px].
        title: Heading of the figure.
    """
    if not rows or any(len(row) != len(names) for row in rows):
        raise VggVizError(f"every row needs one picture for each of the {len(names)} steps, and there must be a row.")
    arrow, words = 26, 20 if captions else 0
    room = (WIDE - 2 * MARGIN - arrow * (len(names) - 1)) // len(names)
    smallest = min(max(image.shape[:2]) for row in rows for image in row)
    cell = cell_side(smallest, side, most=room, density=DENSITY)
    cells = [fit(np.asarray(image, np.float32), DENSITY * cell, DENSITY * cell) for row in rows for image in row]
    tall = max(part.shape[0] for part in cells) // DENSITY
    grid = Grid(len(cells), len(names), cell, tall, gap=arrow, above=words)
    top = content_top(title=title) + 20
    width = max(grid.size[0] + 2 * MARGIN, 360 if title else 0)
    figure = new_figure(width, top + grid.size[1] + MARGIN, title=title)
    add_image(figure, MARGIN, top, compose_grid(grid, cells, density=DENSITY), density=DENSITY, interpolation="auto")
    for column, name in enumerate(names):
        x = MARGIN + grid.corner(column)[0] + cell / 2
        add_text(
            figure,
            x,
            top - 10,
            fit_text(name, cell + arrow - 6, SMALL, bold=True),
            size=SMALL,
            ha="center",
            weight="bold",
        )
    for row in range(len(rows)):
        x, y = grid.corner(row * len(names))
        if captions:
            add_text(
                figure,
                MARGIN,
                top + y - 11,
                fit_text(captions[row], grid.size[0], SMALL),
                size=SMALL,
                color=LIGHT.muted,
            )
        for column in range(1, len(names)):
            x = MARGIN + grid.corner(column)[0] - arrow / 2
            add_text(figure, x, top + y + tall / 2, "→", ha="center", color=LIGHT.muted)
    return figure


CaptionedPicture = tuple[
    Array, Sequence[tuple[str, bool | None]]
]  # (H, W, 3) in [0, 1]; lines: right, wrong or neither


@styled
def picture_rows(rows: Sequence[tuple[str, Sequence[CaptionedPicture]]], *, side: int = 128, title: str = "") -> Figure:
    """Photographs in rows with a heading each, and under every photograph what was said about it.

    Args:
        rows: (heading, pictures of the row); a row without pictures keeps its heading.
        side: Wanted side of a picture [px].
        title: Heading of the figure.
    """
    across = max((len(pictures) for _, pictures in rows), default=0)
    if not across:
        raise VggVizError("rows of pictures need at least one picture; none came.")
    images = [np.asarray(image, np.float32) for _, pictures in rows for image, _ in pictures]
    cell = cell_side(
        min(max(image.shape[:2]) for image in images),
        side,
        most=(WIDE - 2 * MARGIN + 14) // across - 14,
        density=DENSITY,
    )
    lines = max(len(captions) for _, pictures in rows for _, captions in pictures)
    top, down = content_top(title=title), cell + LINE * lines + 52
    height = sum(down if pictures else 34 for _, pictures in rows)
    width = max(across * (cell + 14) - 14 + 2 * MARGIN, 560)
    figure = new_figure(width, top + height + 6, title=title)
    y = top
    for heading, pictures in rows:
        add_text(figure, MARGIN, y + 12, fit_text(heading, width - 2 * MARGIN, bold=True), weight="bold")
        if not pictures:
            y += 34
            continue
        grid = Grid(len(pictures), len(pictures), cell, cell, gap=14)
        cells = [fit(np.asarray(image, np.float32), DENSITY * cell, DENSITY * cell) for image, _ in pictures]
        add_image(
            figure, MARGIN, y + 28, compose_grid(grid, cells, density=DENSITY), density=DENSITY, interpolation="auto"
        )
        for n, (_, captions) in enumerate(pictures):
            for line, (text, right) in enumerate(captions):
                sign, colour = VERDICTS[right]
                add_text(
                    figure,
                    MARGIN + grid.corner(n)[0],
                    y + cell + 40 + LINE * line,
                    fit_text(sign + text, cell + 10, SMALL),
                    size=SMALL,
                    color=colour,
                )
        y += down
    return figure
