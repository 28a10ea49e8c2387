"""A figure drawn once, written in two themes and three formats, the same bytes every time."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as xml

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from vgg_viz.figures import faithfulness, layer_bars, layout, pictures, style, write
from vgg_viz.figures import feature_maps as walls
from vgg_viz.figures.style import DARK, LIGHT, matplotlib_style
from vgg_viz.maths.heatmaps import Scale


def chart() -> Figure:
    return layer_bars.parameters_and_macs(["conv1_1", "a & b <c>", "fc6"], [10, 20, 70], [50, 40, 10])


def wall() -> Figure:
    values = np.linspace(0, 1, 8 * 36, dtype=np.float32).reshape(8, 6, 6)
    return walls.feature_wall(values, Scale(0, 1, False, "activation", "all channels"), dead=[3])


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"), np.int16)


def shade(colour: str) -> np.ndarray:
    return np.round(255 * np.array(to_rgb(colour)))


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("make", [chart, wall])
def test_the_same_numbers_give_the_same_bytes(make, theme) -> None:
    first, second = make(), make()
    assert write.png(first, theme=theme) == write.png(second, theme=theme)
    assert write.adaptive_svg(write.light_svg(first)) == write.adaptive_svg(write.light_svg(second))
    assert write.svg(first, theme=theme) == write.svg(second, theme=theme)


def test_writing_one_theme_leaves_no_trace_in_the_other() -> None:
    figure = wall()
    before = write.png(figure), write.svg(figure)
    dark = write.png(figure, theme=DARK), write.svg(figure, theme=DARK)
    assert (write.png(figure), write.svg(figure)) == before
    assert (write.png(figure, theme=DARK), write.svg(figure, theme=DARK)) == dark
    assert before[0] != dark[0]


def test_the_light_theme_comes_back_when_the_block_raises() -> None:
    figure = chart()
    with pytest.raises(ZeroDivisionError), write.themed(figure, DARK):
        1 / (to_hex(figure.get_facecolor()) != DARK.paper)
    assert to_hex(figure.get_facecolor()) == LIGHT.paper


@pytest.mark.parametrize("make", [chart, wall])
def test_in_the_dark_paper_and_ink_change_and_no_light_colour_is_left(make) -> None:
    figure = make()
    with write.themed(figure, DARK):
        worn = {to_hex(text.get_color()) for text in figure.findobj(matplotlib.text.Text)}
    assert not worn & set(LIGHT.tokens())
    assert (pixels(write.png(figure, theme=DARK))[0, 0] == shade(DARK.paper)).all()
    drawn = set(re.findall(r"#[0-9a-f]{6}\b", write.svg(figure, theme=DARK)))
    assert not drawn & set(LIGHT.tokens())
    assert {DARK.paper, DARK.ink} <= drawn


def test_the_dark_theme_leaves_data_as_it_is() -> None:
    figure = wall()
    light, dark = pixels(write.png(figure)), pixels(write.png(figure, theme=DARK))
    grid = walls.plan((8, 6, 6))
    across, down = figure.axes[0].get_position().x0, 1 - figure.axes[0].get_position().y1
    for n in (0, 7):
        x, y = (
            round(start * side) + place
            for start, side, place in zip((across, down), (light.shape[1], light.shape[0]), grid.corner(n), strict=True)
        )
        one, other = (picture[y + 2 : y + 20, x + 2 : x + 20] for picture in (light, dark))
        assert np.abs(one - other).max() <= 12  # each through a palette of its own


def test_a_palette_changes_no_pixel_visibly_and_a_photograph_gets_none() -> None:
    figure = chart()
    with matplotlib_style():
        figure.canvas.draw()
        exact = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(np.int16)
    file = write.png(figure)
    assert Image.open(io.BytesIO(file)).mode == "P"
    assert np.abs(pixels(file) - exact).max() <= 6
    noise = np.random.default_rng(0).random((64, 64, 3), np.float32)
    assert Image.open(io.BytesIO(write.png(pictures.picture_grid([noise])))).mode == "RGB"


def test_a_photograph_with_a_palette_stays_near_without_bands_and_its_paper_exact() -> None:
    x, y = np.meshgrid(np.linspace(0, 1, 240, dtype=np.float32), np.linspace(0, 1, 240, dtype=np.float32))
    figure = pictures.picture_grid([np.stack([0.5 + 0.2 * x, 0.4 + 0.3 * y, 0.3 + 0.2 * (x + y) / 2], -1)])
    file, exact = write.png(figure, palette=True), pixels(write.png(figure))
    assert Image.open(io.BytesIO(file)).mode == "P"
    few = pixels(file)
    assert (few[0, 0] == shade(LIGHT.paper)).all()
    change = (few - exact).astype(float)
    assert 0.2 < np.abs(change).mean() < 2
    # Over a few pixels the pattern gives the colour between two of the palette; without it the share is .59: bands.
    height, width = (side // 4 for side in change.shape[:2])
    blocks = change[: 4 * height, : 4 * width].reshape(height, 4, width, 4, 3).mean((1, 3))
    assert np.abs(blocks).mean() < 0.4 * np.abs(change).mean()


def test_scale_two_has_twice_the_pixels_and_the_figure_keeps_its_size() -> None:
    figure = chart()
    single, double = pixels(write.png(figure)), pixels(write.png(figure, scale=2))
    assert double.shape[:2] == (2 * single.shape[0], 2 * single.shape[1])
    assert figure.dpi == 100


def test_svg_is_well_formed_and_asks_nothing_of_the_network() -> None:
    text = write.svg(chart(), theme=DARK)
    tree = xml.fromstring(text)
    assert tree.tag.endswith("svg")
    links = [value for element in tree.iter() for name, value in element.attrib.items() if name.endswith("href")]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "DOCTYPE" not in text
    assert "<!--" not in text
    assert "@font-face" not in text


def test_words_in_an_svg_stay_words_and_keep_the_room_they_had() -> None:
    figure = layout.new_figure(400, 80)
    layout.add_text(figure, 20, 40, "a <b> & c", size=style.points(20))
    found = re.search(r'<text[^>]*textLength="([\d.]+)"[^>]*>([^<]*)</text>', write.svg(figure))
    assert found is not None
    assert found[2] == "a &lt;b&gt; &amp; c"
    assert float(found[1]) == pytest.approx(layout.text_width("a <b> & c", style.points(20)) * 0.72, abs=0.06)


def test_an_adaptive_svg_holds_both_themes_and_its_pictures_once() -> None:
    figure = layout.new_figure(200, 120, title="Both")
    photo = np.random.default_rng(0).random((40, 40, 3), dtype=np.float32)
    layout.add_image(figure, 20, 60, photo, interpolation="auto")
    text = write.adaptive_svg(write.light_svg(figure, density=2))
    assert text.count("data:image/webp") == 1
    assert "data:image/png" not in text
    assert f"--t0:{LIGHT.paper}" in text
    assert f"--t0:{DARK.paper}" in text
    drawn = text.split("</style>", 1)[1]
    assert LIGHT.ink not in drawn
    assert "var(--t4)" in drawn


def test_every_reference_in_an_svg_is_defined() -> None:
    figure = faithfulness.check_table(
        ["a"], ["weak"], [faithfulness.Check("ROAD", "share", [0.5], ["weak"], (0.0, 1.0))], title="Évidence"
    )
    text = write.svg(figure)
    wanted = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert wanted
    assert wanted <= set(re.findall(r' id="([^"]+)"', text))


def test_the_readers_settings_do_not_change_the_bytes() -> None:
    usual = write.png(chart()), write.svg(chart())
    with matplotlib.rc_context({"font.size": 25, "axes.grid": True, "svg.fonttype": "none", "lines.linewidth": 9}):
        assert (write.png(chart()), write.svg(chart())) == usual
