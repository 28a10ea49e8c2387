"""The two themes can be read by everyone, and a name from outside is only ever a name."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from vgg_viz.figures.style import (
    DARK,
    LIGHT,
    ON_DARK,
    ON_LIGHT,
    SEQUENTIAL,
    SIGNED,
    Theme,
    colours,
    count,
    label,
    limits,
    matplotlib_style,
    number,
)
from vgg_viz.maths.heatmaps import Scale


def luminance(colour: str) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: str, other: str) -> float:
    """Source: WCAG 2.2, relative luminance."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_every_text_colour_stands_out_from_the_paper(theme: Theme) -> None:
    for colour in (theme.ink, theme.muted, theme.good, theme.warn, theme.bad, *theme.series):
        assert contrast(colour, theme.paper) >= 4.5, colour
    for colour in (theme.ink, theme.muted):
        assert contrast(colour, theme.wash) >= 4.5, colour


# Source: Viénot, Brettel & Mollon 1999, for linear RGB: what a protanope and a deuteranope see.
BLIND = {
    "protan": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deutan": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_the_two_colours_of_a_pair_of_curves_differ_for_the_colour_blind(theme: Theme, kind: str) -> None:
    seen = [BLIND[kind] @ np.array(to_rgb(colour)) ** 2.2 for colour in theme.series[:3]]
    for one, other in itertools.combinations(seen, 2):
        assert np.abs(np.clip(one, 0, 1) ** (1 / 2.2) - np.clip(other, 0, 1) ** (1 / 2.2)).max() > 0.15


def test_tokens_are_all_different_and_no_data_colour_is_one_of_them() -> None:
    tokens = set(LIGHT.tokens())
    assert len(tokens) == len(LIGHT.tokens()) == len(DARK.tokens())
    data = {to_hex(matplotlib.colormaps[name](n)) for name in (SEQUENTIAL, SIGNED) for n in range(256)}
    assert not tokens & (data | {ON_DARK, ON_LIGHT, "#000000"})


@given(st.text(max_size=300), st.integers(9, 60))
def test_a_label_is_one_short_line_of_letters_that_the_font_has(text: str, limit: int) -> None:
    line = label(text, limit)
    assert 1 <= len(line) <= limit
    assert "\n" not in line
    assert "\x00" not in line
    assert label(line, limit) == line


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("red panda", "red panda"),
        ("Kühe & Ñandú", "Kühe & Ñandú"),
        (r"$\frac{1}{2}$", r"$\frac{1}{2}$"),
        ("</script><b>", "</script><b>"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a\x00b", "a\ufffdb"),
        ("a\n\tb", "a b"),
        ("\ufdd0", "□"),  # no font has it
        ("\ud800", "\ufffd"),
        ("", "(no name)"),
        ("  ", "(no name)"),
        ("x" * 300, "x" * 39 + "…"),
    ],
)
def test_a_label_shows_what_came_and_nothing_else(name: str, shown: str) -> None:
    assert label(name) == shown


def test_a_name_of_a_million_letters_is_cut_at_once() -> None:
    assert label("é" * 1_000_000, 10) == "é" * 9 + "…"


@pytest.mark.parametrize("text", ["$\\frac{1}{", "a_b^c", "\\alpha", "💥🫠", "]]>"])
def test_text_is_never_taken_for_mathematics(text: str) -> None:
    with matplotlib_style():
        figure = Figure()
        artist = figure.text(0.5, 0.5, label(text))
        FigureCanvasAgg(figure).draw()
    assert artist.get_text() == label(text)


def test_the_readers_own_settings_come_back_and_do_not_reach_our_figures() -> None:
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "pink", "text.usetex": False}):
        with matplotlib_style():
            assert Figure().add_subplot().get_facecolor() == matplotlib.colors.to_rgba(LIGHT.paper)
        assert matplotlib.rcParams["font.size"] == 30


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.12345, "0.123"),
        (-1.5, "−1.5"),
        (1234.5, "1,234"),
        (0.0000123, "1.23e−5"),
        (4e6, "4e6"),
        (float("nan"), "–"),
        (float("inf"), "∞"),
        (100.0, "100"),
        (99.14, "99.1"),
    ],
)
def test_numbers_are_written_for_readers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(512, "512"), (14_714_688, "14.7 M"), (138_357_544, "138 M"), (999_900, "1 M"), (15_470_264_320, "15.5 G")],
)
def test_counts_are_written_in_three_digits(value: int, text: str) -> None:
    assert count(value) == text


@pytest.mark.parametrize("value", [-3.0, 0.0, 7.5])
@pytest.mark.parametrize("signed", [True, False])
def test_a_flat_scale_keeps_its_one_value_at_the_neutral_colour(value: float, signed: bool) -> None:
    scale = Scale(value, value, signed, "logit", "this map")
    low, high = limits(scale)
    assert (value - low) / (high - low) == (0.5 if signed else 0.0)
    assert to_hex(colours(scale)(0.5)) == to_hex(matplotlib.colormaps["RdBu_r" if signed else "viridis"](0.5))
