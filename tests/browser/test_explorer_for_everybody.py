"""The explorer for everybody: every panel in every state, in light and dark, wide and narrow, without a fault that axe knows."""

from __future__ import annotations

import pytest
from pages import go, problems
from test_explorer_brush import stroke
from test_live_explorer import Net, deep_net, ready, sample_net

pytestmark = pytest.mark.browser
SMALL = """() => [...document.querySelectorAll('main :is(a, button, select, input:not([hidden]), [role=option], [role=application])')]
  .map((element) => [element.outerHTML.slice(0, 90), (element.closest('label') || element).getBoundingClientRect()])
  .filter(([, box]) => box.width > 0 && Math.min(box.width, box.height) < 24).map(([html]) => html)"""
WIDE = """() => [...document.querySelectorAll('.cam *, .brush *, .sandbox *')]
  .filter((element) => !element.closest('.scroll, .visually-hidden') && element.getBoundingClientRect().right > innerWidth + 1)
  .map((element) => element.outerHTML.slice(0, 120))"""
# The panels do not know of each other, so one address shows a state of each: what is looked at; Grad-CAM with both signs and
# another class; a painted picture; the sandbox with padding, or with a window that fits nowhere; the focus on a unit, or the brush.
LOOKED_AT = "picture=2&layer=conv2_2&sign=both&class=runner-up&sandbox=11.3.2.1.2&sandbox-cell=1,1"
PAINTED = f"picture=2&layer=softmax&brush={stroke('b', 20, (32, 30), (40, 40))}&sandbox=3.5.0.1.1"
WINDOWS = [(theme, width) for theme in ("light", "dark") for width in (1280, 320)]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return sample_net(tmp_path_factory.mktemp("everybody"))


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return deep_net(tmp_path_factory.mktemp("everybody"))


def faults(page, width: int) -> list[str]:
    """What axe finds, what is wider than the window, and whether the page scrolls sideways."""
    wide, scrolls = page.evaluate(WIDE), page.evaluate("document.documentElement.scrollWidth") > width
    return problems(page) + [f"too wide: {one}" for one in wide] + ["the page scrolls sideways"] * scrolls


@pytest.mark.parametrize(("theme", "width"), WINDOWS)
def test_axe_finds_nothing_with_a_unit_looked_at_nor_on_a_painted_picture(opened, sample, theme, width):
    page = ready(opened(sample.file, f"#{LOOKED_AT}", color_scheme=theme, width=width))
    page.locator("button.cam-row").nth(1).focus()
    assert faults(page, width) == []
    go(page, PAINTED)
    page.locator("[data-part=brush-stage]").focus()
    assert page.locator(".changed-note").is_visible()
    assert page.locator("table.softmax").is_visible()
    assert faults(page, width) == []


@pytest.mark.parametrize(
    ("name", "address", "theme", "width"),
    [
        ("sample", "sandbox=224.11.2.4.1", "dark", 320),
        ("sample", "sandbox=8.2.0.2.1&sandbox-rule=max", "light", 1280),
        ("sample", "sandbox=12.5.2.1.1", "light", 320),
        ("deep", "layer=fc6", "dark", 1280),
    ],
)
def test_axe_finds_nothing_at_a_large_input_a_pool_a_large_kernel_and_a_hidden_layer(
    opened, sample, deep, name, address, theme, width
):
    page = ready(opened({"sample": sample, "deep": deep}[name].file, f"#{address}", color_scheme=theme, width=width))
    assert faults(page, width) == []


@pytest.mark.parametrize("address", ["layer=conv2_2", "sandbox=12.5.2.1.1&brush=m050505"])
def test_targets_are_at_least_24_px(opened, sample, address):
    page = ready(opened(sample.file, f"#{address}", width=320))
    assert page.evaluate(SMALL) == []
    assert page.locator(".kernel-fields input").count() == (25 if "sandbox" in address else 9)
