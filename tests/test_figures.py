"""Every figure: its numbers before its pixels, and that no text meets another or leaves the paper."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from unittest import mock

import numpy as np
import pytest
import torch
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from telling import tells

from vgg_viz.errors import VggVizError
from vgg_viz.figures import (
    attention,
    calibration,
    confusion,
    curves,
    faithfulness,
    fields,
    filters,
    layer_bars,
    pictures,
    style,
    write,
)
from vgg_viz.figures import feature_maps as walls
from vgg_viz.figures.fonts import can_draw
from vgg_viz.figures.style import DARK, LIGHT
from vgg_viz.maths.heatmaps import Scale, shared_scale
from vgg_viz.maths.receptive_field import Box, Field, Window
from vgg_viz.maths.receptive_field import fields as chain
from vgg_viz.records import Epoch

PLAIN = ["circle", "square", "triangle", "pentagon", "star", "cross", "ring", "crescent", "heart", "arrow"]
HOSTILE = [
    r"$\frac{1}{0}$ and \undefined",
    "<script>alert(1)</script>]]>",
    "x" * 300,
    "\u202egnp.exe\u202c",
    "nul\x00nul",
    "",
    "two\nlines",
    "猫 😀 " + "\U0001fae0",
    "__proto__",
    "{{ 7 * 7 }} ${x} ../../etc",
]


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def photo(height: int = 64, width: int = 64) -> np.ndarray:
    return rng().random((height, width, 3), np.float32)


VERDICTS = ("passes", "weak", "fails")


def asked(names: list[str], title: str) -> faithfulness.Check:
    ten = np.linspace(-0.2, 1.4, len(names))
    said = [VERDICTS[n % 3] for n in range(len(names))]
    controls = {"centre": ten / 2, "blur-matched": ten / 3}
    return faithfulness.Check(title, "share", ten, said, (0.0, 1.0), ten - 0.1, ten + 0.1, controls=controls)


def epochs(count: int, *, broken_from: int | None = None) -> list[Epoch]:
    return [
        Epoch(
            n,
            math.nan if broken_from and n >= broken_from else 2.3 / n,
            1 - 0.9 / n,
            2.5 / n,
            0.95 - 0.85 / n,
            0.1,
            2.0,
        )
        for n in range(1, count + 1)
    ]


def counts(classes: int) -> np.ndarray:
    return rng().integers(0, 3, (classes, classes)) + 90 * np.eye(classes, dtype=int)


def maps(channels: int, side: int) -> tuple[np.ndarray, Scale]:
    values = rng().random((channels, side, side), np.float32)
    return values, shared_scale(torch.from_numpy(values), signed=False, unit="activation", over="all channels")


def row(names: list[str], side: int = 64, label: str = "predicted class") -> attention.Row:
    values = rng().standard_normal((len(names), side, side)).astype(np.float32)
    scales = [
        shared_scale(
            torch.from_numpy(v), signed=n % 2 == 0, unit=("logit", "logit / intensity")[n % 2], over="this map"
        )
        for n, v in enumerate(values)
    ]
    mask = np.zeros((side, side), bool)
    mask[10:30, 20:50] = True
    return attention.Row(photo(side, side), list(zip(names, values, scales, strict=True)), label, mask)


def all_figures(names: list[str]) -> dict[str, Callable[[], Figure]]:
    """One of each figure, ten names wherever names go."""
    ten = np.linspace(0.02, 0.98, 10)
    kinds = ["conv", "conv", "pool"] * 3 + ["fc"]
    weights = rng().standard_normal((10, 3, 3, 3))
    return {
        "curves": lambda: curves.training_curves(
            epochs(20), chance_loss=2.3, chance_accuracy=0.1, best_epoch=20, title=names[0]
        ),
        "one epoch": lambda: curves.training_curves(epochs(1), chance_loss=2.3, chance_accuracy=0.1, best_epoch=1),
        "exploded": lambda: curves.training_curves(epochs(9, broken_from=3), chance_loss=2.3, chance_accuracy=0.1),
        "confusion": lambda: confusion.confusion_matrix(counts(10), names),
        "confusion of two": lambda: confusion.confusion_matrix(counts(2), names[:2]),
        "confusion of many": lambda: confusion.confusion_matrix(counts(40), names * 4),
        "reliability": lambda: calibration.reliability(rng().random(500), rng().random(500) < 0.7, title=names[1]),
        "grid": lambda: pictures.picture_grid(
            [photo()] * 10, [f"{n}\nsaid: {n}" for n in names], borders=["good", "bad"] * 5
        ),
        "steps": lambda: pictures.steps([[photo(90, 120), photo(), photo()]] * 2, names[:3], captions=names[3:5]),
        "kernels": lambda: filters.first_layer_kernels(weights, title=names[0]),
        "many kernels": lambda: filters.first_layer_kernels(np.tile(weights, (12, 1, 1, 1)), title=names[0]),
        "channels": lambda: filters.channel_kernels(weights),
        "slices": lambda: filters.deep_kernels(rng().standard_normal((128, 128, 3, 3)), [0, 5, 127]),
        "norms": lambda: filters.kernel_norms(names, [rng().random(n) + 0.1 for n in (10, 64) * 5]),
        "wall of 10": lambda: walls.feature_wall(*maps(10, 30), dead=[2], title=names[0]),
        "wall of 512": lambda: walls.feature_wall(*maps(512, 14), dead=[5, 511]),
        "wall of one unit": lambda: walls.feature_wall(*maps(1, 1)),
        "health": lambda: layer_bars.sparsity_and_dead(names, ten, [0] * 9 + [64], [64] * 10),
        "growth": lambda: fields.growth(
            [
                fields.LayerField(name, kind, size, 1, 80.0 if size == 228 else None)
                for name, kind, size in zip(names, kinds, range(3, 253, 25), strict=True)
            ],
            image_side=64,
        ),
        "boxes": lambda: fields.boxes_on_image(
            photo(), [(name, Box(-9 * n, -4, 30, 70)) for n, name in enumerate(names)]
        ),
        "methods": lambda: attention.methods_side_by_side([row(names[:8], label=name) for name in names[:2]]),
        "layers": lambda: attention.layers_side_by_side(row([*names, "conv5_1"], label=names[0])),
        "network": lambda: layer_bars.parameters_and_macs(names, [10**n for n in range(10)], [4**n for n in range(10)]),
        "trials": lambda: faithfulness.check_table(
            names, [*VERDICTS * 3, "x"], [asked(names, title) for title in names[:8]], title=names[0]
        ),
        "trust curves": lambda: faithfulness.curve_panels(
            [
                faithfulness.CurvePanel(name, name, ten, dict(zip(ten, names, strict=True)), dict.fromkeys(names, ten))
                for name in names[:3]
            ],
            baselines=names[8:],
            height=names[1],
            title=names[2],
        ),
    }


def texts(figure: Figure) -> list[Text]:
    """The texts that are truly drawn: ticks beyond the ends of an axis exist and are not."""
    drawn: list[Text] = []
    usual = Text.draw

    def draw(text: Text, renderer: object) -> None:
        if text.get_visible() and text.get_text().strip():
            drawn.append(text)
        usual(text, renderer)

    with style.matplotlib_style(), mock.patch.object(Text, "draw", draw):
        figure.canvas.draw()
    return drawn


@functools.cache
def made(name: str, kind: str) -> tuple[Figure, list[Text]]:
    figure = all_figures({"plain": PLAIN, "hostile": HOSTILE}[kind])[name]()
    return figure, texts(figure)


@pytest.mark.parametrize("kind", ["plain", "hostile"])
@pytest.mark.parametrize("name", list(all_figures(PLAIN)))
def test_no_text_is_small_or_meets_another_or_leaves_the_paper(name: str, kind: str) -> None:
    figure, drawn = made(name, kind)
    found = [(text, text.get_window_extent()) for text in drawn]
    width, height = figure.get_size_inches() * 100
    for text, box in found:
        assert text.get_size() / 0.72 >= 9, f"{text.get_text()!r} is set in {text.get_size() / 0.72:.1f} px"
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, f"{text.get_text()!r} leaves the paper: {box}"
    level = [(text, box.extents) for text, box in found if text.get_rotation() == 0]
    corners = np.array([extents for _, extents in level])
    shared = np.minimum(corners[:, None, 2:], corners[None, :, 2:]) - np.maximum(
        corners[:, None, :2], corners[None, :, :2]
    )
    meeting = np.triu((shared[..., 0] > 1) & (shared[..., 1] > 3), 1)
    assert not meeting.any(), [(level[a][0].get_text(), level[b][0].get_text()) for a, b in np.argwhere(meeting)]


@pytest.mark.parametrize("name", list(all_figures(PLAIN)))
def test_hostile_names_are_drawn_as_text_in_every_format(name: str) -> None:
    figure, drawn = made(name, "hostile")
    assert not set("".join(text.get_text() for text in drawn)) & {
        *"\x00\u202e\u202c",
        *("猫" if not can_draw("猫") else ""),
    }
    file = write.svg(figure, theme=DARK)
    assert "<script" not in file
    assert "]]>" not in file


# ---------------------------------------------------------------- numbers before pixels


def test_curves_hold_the_history_and_mark_the_epoch_that_was_kept() -> None:
    history = epochs(12)
    figure = curves.training_curves(history, chance_loss=math.log(10), chance_accuracy=0.1, best_epoch=7)
    loss, accuracy = figure.axes
    lines = {line.get_label(): line for line in accuracy.lines}
    np.testing.assert_allclose(lines["val"].get_ydata(), [100 * epoch.val_accuracy for epoch in history])
    np.testing.assert_allclose(lines["kept"].get_xdata(), 7)
    np.testing.assert_allclose({line.get_label(): line for line in loss.lines}["chance"].get_ydata(), math.log(10))


def test_a_loss_that_is_not_a_number_is_said_in_words() -> None:
    figure = curves.training_curves(epochs(9, broken_from=3), best_epoch=2)
    assert any(tells(text.get_text(), "7 of 9 epochs", "epoch 3") for text in texts(figure))


def test_an_exploded_loss_does_not_flatten_the_rest_and_is_named() -> None:
    history = [*epochs(8), Epoch(9, 4e6, 0.1, 2.4, 0.1, 0.1, 1.0)]
    figure = curves.training_curves(history, chance_loss=2.3)
    assert figure.axes[0].get_ylim()[1] < 10
    assert any(tells(text.get_text(), "4e6") for text in texts(figure))


def test_no_history_is_refused_in_one_sentence() -> None:
    with pytest.raises(VggVizError, match="the history is empty"):
        curves.training_curves([])


def test_confusion_colours_are_row_shares_and_empty_cells_stay_empty() -> None:
    matrix = np.array([[9, 1, 0], [0, 4, 0], [5, 0, 20]])
    figure = confusion.confusion_matrix(matrix, ["a", "b", "c"])
    mesh = figure.findobj(QuadMesh)[0]
    shares = np.ma.filled(mesh.get_array(), 0).reshape(3, 3) ** 2
    np.testing.assert_allclose(shares, matrix / matrix.sum(1, keepdims=True))
    assert (np.ma.getmaskarray(mesh.get_array()).reshape(3, 3) == (matrix == 0)).all()
    assert [text.get_text() for text in figure.axes[0].texts] == ["9", "1", "4", "5", "20"]


def test_a_thousand_classes_show_the_most_confused_and_say_so() -> None:
    matrix = 50 * np.eye(1000, dtype=int)
    matrix[700, 3] = 40
    figure = confusion.confusion_matrix(matrix, [f"class {n}" for n in range(1000)])
    shown = [text.get_text() for text in texts(figure)]
    assert any(tells(text, "20 most confused", "1000 classes") for text in shown)
    assert {"class 3", "class 700"} <= set(shown)


def test_a_class_without_pictures_has_no_share() -> None:
    figure = confusion.confusion_matrix(np.array([[3, 0], [0, 0]]), ["here", "absent"])
    assert any(text.get_text() == "– of 0" for text in texts(figure))


def test_reliability_prints_the_calibration_error_of_the_formula() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    correct = np.array([1, 1, 1, 0, 0, 0], bool)
    by_hand = (abs(3 - 4 * 0.95) + abs(0 - 2 * 0.55)) / 6
    figure = calibration.reliability(confidence, correct)
    assert any(f"(ECE) {100 * by_hand:.0f} %" in text.get_text() for text in texts(figure))
    heights = sorted(patch.get_height() for patch in figure.axes[0].containers[0])
    np.testing.assert_allclose(heights, [0, 0.75])
    assert sum(patch.get_height() for patch in figure.axes[1].patches) == 6


def test_every_map_lies_at_its_place_on_the_wall() -> None:
    values, scale = maps(300, 7)
    figure = walls.feature_wall(values, scale)
    grid = walls.plan(values.shape)
    image = np.asarray(figure.axes[0].images[0].get_array().filled(np.nan))
    factor = grid.width // 7
    for n in (0, 1, 31, 32, 299):
        x, y = grid.corner(n)
        np.testing.assert_array_equal(image[y : y + grid.height : factor, x : x + grid.width : factor], values[n])


def test_a_wall_is_one_image_and_not_an_axes_a_map() -> None:
    values, scale = maps(512, 14)
    assert len(walls.feature_wall(values, scale).axes) == 2  # the wall, its colour bar


@pytest.mark.parametrize("signed", [True, False])
def test_a_flat_wall_stays_flat_at_its_neutral_colour(signed: bool) -> None:
    figure = walls.feature_wall(np.zeros((4, 6, 6)), Scale(0, 0, signed, "activation", "all maps"))
    image = figure.axes[0].images[0]
    painted = image.cmap(image.norm(np.zeros(1)))
    assert to_hex(painted[0]) == to_hex(image.cmap(0.5 if signed else 0.0))
    assert any("all values are the same" in text.get_text() for text in texts(figure))


def test_zero_weights_are_mid_grey_and_the_largest_reaches_full_colour() -> None:
    weights = np.zeros((2, 3, 3, 3))
    weights[1, 0, 1, 1] = -0.4
    colours = filters.in_colour(weights, 0.4)
    assert (colours[0] == 0.5).all()
    np.testing.assert_allclose(colours[1, 1, 1], [0, 0.5, 0.5])
    image = filters.first_layer_kernels(weights).axes[0].images[0].get_array()
    assert (np.asarray(image)[20, 20, :3] == 128).all()


def test_deep_slices_are_those_of_the_heaviest_channels() -> None:
    weights = 0.01 * rng().standard_normal((6, 50, 3, 3))
    weights[4, 37] = 1.0
    figure = filters.deep_kernels(weights, [4], inputs=3)
    image = np.asarray(figure.axes[0].images[0].get_array().filled(np.nan))
    assert np.nanmax(image) == 1.0
    assert "37" in [text.get_text() for text in texts(figure)]


def test_bars_are_as_long_as_the_shares() -> None:
    figure = layer_bars.parameters_and_macs(["conv1_1", "fc6"], [100, 300], [900, 100])
    lengths = [[patch.get_width() for patch in axes.containers[-1]] for axes in figure.axes]
    np.testing.assert_allclose(lengths, [[25, 75], [90, 10]])
    figure = layer_bars.sparsity_and_dead(["relu1_1"], [0.4], [16], [64])
    assert [axes.containers[-1][0].get_width() for axes in figure.axes] == [pytest.approx(40), pytest.approx(25)]


def test_the_staircase_is_as_wide_as_the_fields_and_names_the_first_that_sees_all() -> None:
    found = chain([Window(3, 1, 1), Window(3, 1, 1), Window(2, 2), Window(3, 1, 1)])
    figure = fields.growth(
        [
            fields.LayerField(name, name[:4], field.size, field.jump)
            for name, field in zip(("conv1_1", "conv1_2", "pool1", "conv2_1"), found, strict=True)
        ],
        image_side=10,
    )
    widths = [bars[0].get_width() for bars in figure.axes[0].containers]
    assert widths == [3, 5, 6, 10]
    assert any(tells(text.get_text(), "conv2_1", "first") for text in texts(figure))


def test_a_box_beyond_the_picture_says_how_much_of_it_is_padding() -> None:
    box = Field(size=20, jump=4, padding=10).box(0, 0)  # covers -10 .. 9 both ways: a quarter is picture
    figure = fields.boxes_on_image(photo(40, 40), [("conv3_1", box)])
    assert any(tells(text.get_text(), "20 × 20 px", "75 %") for text in texts(figure))
    frames = [
        patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and patch.get_label() == "conv3_1"
    ]
    assert frames[0].get_bbox().bounds == (-10, -10, 20, 20)
    assert any(patch.get_hatch() for patch in figure.axes[0].patches)


def test_a_zero_map_leaves_the_photo_as_it_is() -> None:
    picture = photo()
    nothing = np.zeros((64, 64), np.float32)
    scale = Scale(-1, 1, True, "logit", "all maps")
    figure = attention.methods_side_by_side([attention.Row(picture, [("none", nothing, scale)])])
    image = np.asarray(figure.axes[0].images[0].get_array())
    side = (
        image.shape[1] - 20
    ) // 2  # two pictures and the gap between them; above them two figure pixels of room, below a colour bar
    assert side % 64 == 0
    np.testing.assert_array_equal(image[4 : 4 + side, :side], image[4 : 4 + side, -side:])


def test_rows_with_different_methods_are_refused() -> None:
    with pytest.raises(VggVizError, match="same methods in the same order"):
        attention.methods_side_by_side([row(["a", "b"]), row(["b", "a"])])


def test_a_grid_puts_each_picture_at_its_cell_enlarged_whole_times() -> None:
    shades = [np.full((32, 32, 3), n / 10, np.float32) for n in range(10)]
    figure = pictures.picture_grid(shades, [str(n) for n in range(10)])
    image = np.asarray(figure.axes[0].images[0].get_array())
    seen = sorted({int(value) for value in image[..., 0][image[..., 3] == 255]})
    assert seen == [round(255 * n / 10) for n in range(10)]


def test_a_verdict_is_a_sign_and_not_only_a_colour() -> None:
    shown = [
        text.get_text() for text in texts(pictures.picture_grid([photo()] * 2, ["a", "b"], borders=["good", "bad"]))
    ]
    assert {"✓ a", "✗ b"} <= set(shown)


def test_dots_of_trials_are_the_values_within_the_axis_and_ticks_are_the_controls() -> None:
    values, lows, highs = [0.2, 1.7, math.nan], [0.1, 1.5, math.nan], [0.3, 1.9, math.nan]
    controls = {"random": [0.4, 0.5, 0.6], "blur-matched": [0.05, 0.06, 0.07]}
    check = faithfulness.Check(
        "ROAD", "share", values, ["passes", "fails", ""], (0.0, 1.0), lows, highs, controls=controls
    )
    figure = faithfulness.check_table(["a", "b", "c"], ["passes", "fails", "fails"], [check], title="t")
    axes = figure.axes[0]
    width = axes.get_xlim()[1]
    dots = [found.get_offsets().tolist() for found in axes.collections]
    # A method that was not asked has none, and what lies beyond the axis stands at its end.
    assert sum(sorted(dot for group in dots for dot in group), []) == pytest.approx([0.2 * width, 0.0, width, 1.0])  # noqa: RUF017
    grey, own = (next(line for line in axes.lines if line.get_label() == kind) for kind in ("control", "own"))
    assert (grey.get_xdata()[::3] / width).tolist() == pytest.approx([0.4, 0.5, 0.6])
    assert (own.get_xdata()[::3] / width).tolist() == pytest.approx([0.05, 0.06, 0.07])
    interval = next(line for line in axes.lines if line.get_label() == "passes")
    assert (interval.get_xdata()[:2] / width).tolist() == pytest.approx([0.1, 0.3])
    assert to_hex(own.get_color()) != to_hex(grey.get_color())


def test_a_limit_shades_what_passes() -> None:
    check = faithfulness.Check("noise", "share", [0.2], ["passes"], (0.0, 2.0), limits=(0.5, 1.5))
    axes = faithfulness.check_table(["a"], ["passes"], [check], title="t").axes[0]
    width = axes.get_xlim()[1]
    assert axes.patches[0].get_extents().transformed(axes.transData.inverted()).x1 == pytest.approx(0.25 * width)
    assert next(line for line in axes.lines if line.get_label() == "limit").get_xdata()[0] == pytest.approx(
        0.75 * width
    )


def test_a_line_of_curves_has_one_look_in_all_panels_and_joins_over_what_was_not_measured() -> None:
    one = faithfulness.CurvePanel(
        "go", "share", [0, 0.5, 1], {0: "0"}, {"map": [1.0, 0.4, 0.1], "centre": [1.0, 0.5, 0.2]}
    )
    two = faithfulness.CurvePanel("forget", "layers", [0, 1, 2], {0: "none"}, {"map": [1.0, math.nan, 0.2]})
    figure = faithfulness.curve_panels([one, two], baselines=["centre"], title="t")
    first, second = figure.axes[:2]
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 2]
    assert second.lines[0].get_xdata().tolist() == [0, 2]
    assert first.lines[0].get_color() == second.lines[0].get_color() == figure.axes[2].lines[0].get_color()
    assert to_hex(first.lines[1].get_color()) == LIGHT.muted
    with pytest.raises(VggVizError):
        faithfulness.curve_panels([], title="t")


def test_empty_filters_are_counted_against_the_median_of_their_layer() -> None:
    norms = np.r_[np.full(30, 2.0), 0.0, 0.001]
    figure = filters.kernel_norms(["conv1_1"], [norms])
    assert any(text.get_text() == "2 of 32 empty" for text in texts(figure))


@pytest.mark.parametrize("name", list(all_figures(PLAIN)))
def test_texts_wear_only_tokens_so_that_none_stays_light_in_the_dark(name: str) -> None:
    allowed = {*LIGHT.tokens(), style.ON_DARK, style.ON_LIGHT}
    for text in made(name, "plain")[1]:
        assert to_hex(text.get_color()) in allowed, f"{text.get_text()!r} is {to_hex(text.get_color())}"
