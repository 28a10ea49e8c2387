"""A figure as the bytes of a file: PNG or SVG, in the light or the dark theme, the same bytes every time."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation, Text
from PIL import Image

from vgg_viz.figures.fonts import FONT
from vgg_viz.figures.layout import text_width
from vgg_viz.figures.style import DARK, DPI, LIGHT, Theme, matplotlib_style
from vgg_viz.figures.svg_minify import minify, strip_invisible

# A chart or a wall of maps has 600 to 1700 colours, mostly the soft edges of letters: a palette of 256 changes no
# channel by more than 5 of 255 and halves the file. Photographs have more, and there this palette would take seconds.
_COLOURS = 4096
_VISIBLE = 6
_COMMON = 0.005  # of the pixels: a colour that fills so much, such as the paper or the zero of a map, stays exact
_PATTERN = ((-1.5, 0.5), (1.5, -0.5))  # added to a colour before its nearest is chosen, by row and column [of 255]


def png(figure: Figure, *, theme: Theme = LIGHT, scale: float = 1.0, palette: bool = False) -> bytes:
    """The figure as PNG; with a palette where 256 colours suffice.

    Args:
        figure: The figure.
        theme: Light or dark.
        scale: File pixels to a figure pixel; 2 for slides and papers.
        palette: Photographs too get 256 colours: a third of the bytes.
    """
    return compress_png(render(figure, theme=theme, scale=scale), scale=scale, palette=palette)


def compress_png(picture: Image.Image, *, scale: float = 1.0, palette: bool = False) -> bytes:
    """What `render` made as a file; apart from `png`, because only painting needs matplotlib's thread."""
    reduced = None
    if picture.getcolors(_COLOURS) is not None:
        few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        change = np.abs(np.asarray(few.convert("RGB"), np.int16) - np.asarray(picture, np.int16)).max()
        reduced = few if change <= _VISIBLE else None
    if reduced is None and palette:
        reduced = _in_256_colours(picture)
    picture = reduced or picture
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=9, dpi=(DPI * scale, DPI * scale))
    return file.getvalue()


def svg(figure: Figure, *, theme: Theme = LIGHT) -> str:
    """The figure as SVG text; its words stay words, stretched to the room they had, so that any font fits.

    Only styles and no script: to be shown by <img>, which runs nothing that might be in it.
    """
    swaps = _swaps(theme)
    # The token colours are nobody's data, so exchanging them in the text is the whole of the dark theme.
    return re.sub(r"#[0-9a-f]{6}\b", lambda match: swaps.get(match[0], match[0]), light_svg(figure))


def pdf(figure: Figure) -> bytes:
    """The figure as PDF for papers, its words as text; the same bytes every time."""
    file = io.BytesIO()
    with matplotlib_style(), rc_context({"pdf.fonttype": 42}):
        figure.savefig(
            file, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None}, dpi=2 * DPI
        )
    return file.getvalue()


def adaptive_svg(svg_text: str, *, quality: int = 80) -> str:
    """One SVG that is light or dark as its surroundings are, instead of one for each theme: half the bytes.

    A browser shows an SVG picture in the `color-scheme` of the element that holds it, so the page's switch reaches it.

    Args:
        svg_text: What `light_svg` made.
        quality: Of photographs and maps, as WebP.
    """
    names = {token: f"--t{number}" for number, token in enumerate(LIGHT.tokens())}
    text = re.sub(
        r"#[0-9a-f]{6}\b", lambda match: f"var({names[match[0]]})" if match[0] in names else match[0], svg_text
    )
    light, dark = (
        ":root{" + "".join(f"{names[token]}:{colour};" for token, colour in _swaps(theme).items()) + "}"
        for theme in (LIGHT, DARK)
    )
    text = text.replace("</style>", f"{light}@media(prefers-color-scheme:dark){{{dark}}}</style>", 1)
    return re.sub(r"data:image/png;base64,([^\"]+)", lambda match: _as_webp(match[1], quality), text)


def light_svg(figure: Figure, *, density: float = 1.0) -> str:
    """The figure as SVG text in the light theme, drawn once for `svg` and `adaptive_svg`.

    Args:
        figure: The figure.
        density: Pixels of photographs and maps to a figure pixel.
    """
    file = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib_style(), rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata=nothing, dpi=DPI * density)
    fitted = _TEXT.sub(_fitted_text, strip_invisible(file.getvalue()))
    return minify(fitted).replace("</style>", f"text{{font-family:{_FONTS}}}</style>", 1)


def _in_256_colours(picture: Image.Image) -> Image.Image:
    """A photograph with a palette of 256, its smooth places broken up by a fixed pattern of two by two pixels.

    On six figures of the sample: 212 kB, a mean change of 1.0 of 255 a channel and 41 at most. Error diffusion on the palette of an
    octree took 352 kB for 1.8 and 71, and left grain; no pattern at all 186 kB, and left bands where a ground changes slowly.
    """
    pixels = np.asarray(picture)
    sample = Image.fromarray(
        np.ascontiguousarray(pixels[::2, ::2])
    )  # a quarter of the pixels knows the colours: 0.1 s, not 1
    chosen = (
        sample.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE, kmeans=1).getpalette() or []
    )
    palette = np.array(chosen, np.float32).reshape(-1, 3)
    packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    distinct, place, count = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([distinct >> 16 & 255, distinct >> 8 & 255, distinct & 255], -1).astype(np.float32)
    for colour in colours[count > _COMMON * packed.size]:
        palette[_nearest(colour[None], palette)] = colour
    own = _nearest(colours, palette)
    exact = (palette[own] == colours).all(1)
    place = place.reshape(packed.shape)
    index = np.empty(packed.shape, np.uint8)
    for row, column in np.ndindex(2, 2):
        moved = np.where(exact, own, _nearest(colours + _PATTERN[row][column], palette))
        index[row::2, column::2] = moved[place[row::2, column::2]]
    reduced = Image.fromarray(index, "P")
    reduced.putpalette(palette.astype(np.uint8).tobytes())
    return reduced


def _nearest(colours: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """For each of (N, 3) colours the index of the nearest of the palette."""
    parts = np.array_split(colours, len(colours) // 16384 + 1)  # the table of all distances may not fit
    return np.concatenate([((palette**2).sum(1) - 2 * part @ palette.T).argmin(1) for part in parts])


_TEXT = re.compile(r'<text style="([^"]*)"([^>]*)>([^<]*)</text>')
_FONTS = f"'{FONT}','Bitstream Vera Sans',Verdana,sans-serif"


def _fitted_text(match: re.Match[str]) -> str:
    """A <text> element with the width that it must have: letters as outlines would be four fifths of a chart's file."""
    style, where, content = match.groups()
    given = dict(part.strip().split(": ", 1) for part in style.split(";") if ": " in part)
    given.pop("font-family", None)
    if given.get("text-anchor") == "start":
        del given["text-anchor"]
    where = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", where)  # matplotlib turns every word, most by nothing
    size = float(given.get("font-size", "10px").removesuffix("px"))
    wide = text_width(html.unescape(content), size, bold=given.get("font-weight", "400") >= "600") * 72 / DPI
    room = f' textLength="{wide:.1f}"' if content.strip() else ""
    return f'<text style="{";".join(f"{key}:{value}" for key, value in given.items())}"{where}{room}>{content}</text>'


def _as_webp(encoded: str, quality: int) -> str:
    """A PNG in base64 as a data: URI of WebP: without loss where there are few colours, as in bars, kernels and walls."""
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        few = picture.convert("RGBA").getcolors(_COLOURS) is not None
        file = io.BytesIO()
        picture.save(file, "WEBP", lossless=few, quality=0 if few else quality, method=3)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def render(figure: Figure, *, theme: Theme = LIGHT, scale: float = 1.0) -> Image.Image:
    """The figure's pixels, RGB."""
    canvas: Any = FigureCanvasAgg(figure)
    with matplotlib_style(), themed(figure, theme):
        before = figure.dpi
        figure.set_dpi(DPI * scale)
        try:
            canvas.draw()
            return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        finally:
            figure.set_dpi(before)


@contextmanager
def themed(figure: Figure, theme: Theme) -> Iterator[None]:
    """Give every artist that wears a colour of the light theme its counterpart, and take it back at the end.

    What is coloured by data (images, meshes, collections with an array) is left alone.
    """
    swaps = _swaps(theme)
    undo: list[Callable[[], Any]] = []
    try:
        if theme != LIGHT:
            for artist in figure.findobj():
                _recolour(artist, swaps, undo)
        yield
    finally:
        for step in reversed(undo):
            step()


def _swaps(theme: Theme) -> dict[str, str]:
    return dict(zip(LIGHT.tokens(), theme.tokens(), strict=True))


def _recolour(artist: Artist, swaps: dict[str, str], undo: list[Callable[[], Any]]) -> None:
    if isinstance(artist, Text):
        _swap(artist, ("color",), swaps, undo)
        if (box := artist.get_bbox_patch()) is not None:
            _recolour(box, swaps, undo)
        if isinstance(artist, Annotation) and artist.arrow_patch is not None:
            _recolour(artist.arrow_patch, swaps, undo)
    elif isinstance(artist, Line2D):
        _swap(artist, ("color", "markerfacecolor", "markeredgecolor"), swaps, undo)
    elif isinstance(artist, Patch) or (isinstance(artist, Collection) and artist.get_array() is None):
        _swap(artist, ("facecolor", "edgecolor"), swaps, undo)


def _swap(artist: Any, names: tuple[str, ...], swaps: dict[str, str], undo: list[Callable[[], Any]]) -> None:
    for name in names:
        before, put = getattr(artist, f"get_{name}")(), getattr(artist, f"set_{name}")
        after = _swapped(before, swaps)
        if after is not None:
            put(after)
            undo.append(lambda put=put, before=before: put(before))  # type: ignore[misc]


def _swapped(colour: Any, swaps: dict[str, str]) -> Any | None:
    """The counterpart of a colour, or of each row of an (N, 4) array; None when nothing changes."""
    if isinstance(colour, np.ndarray) and colour.ndim == 2:
        rows = [_swapped(tuple(row), swaps) for row in colour]
        if not any(rows):
            return None
        return np.array([new or tuple(old) for new, old in zip(rows, colour, strict=True)])
    if isinstance(colour, str) and colour in ("none", "auto"):
        return None
    new = swaps.get(to_hex(colour))
    return None if new is None else to_rgba(new, to_rgba(colour)[3])
