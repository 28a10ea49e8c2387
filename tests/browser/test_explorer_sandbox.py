"""The sandbox: its formula is PyTorch's over all settings, its sums are real, and what cannot be is said in a sentence."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
import torch
from pages import go, stop_the_clock
from test_live_explorer import Net, number, ready, sample_net, text
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d

from vgg_viz.maths.receptive_field import Field, Window
from vgg_viz.models.names import layers

pytestmark = pytest.mark.browser
SIDES = """(settings) => {
  let found;
  const detail = { settings, then: (sides) => { found = sides; } };
  document.getElementById("ui-explorer").dispatchEvent(new CustomEvent("explorer:sandbox", { detail }));
  return found;
}"""
KNOBS = ("size", "kernel", "padding", "stride", "dilation")
FACTS = """() => [...document.querySelectorAll("[data-part=sandbox-facts] > div")]
  .map((row) => [...row.children].map((cell) => cell.textContent))"""
CORNERS = """(canvas) => {
  const cell = canvas.width / 10, { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [0, 1].map((place) => {
    const pixel = Math.floor((place + 0.15) * cell), from = 4 * (pixel * width + pixel);
    return [...data.slice(from, from + 3)];
  });
}"""
TICK = 420  # of the player [ms]
PRESETS = {"vgg": 8, "tiny": 6, "pool": 4, "alexnet": 55, "dilated": 11}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return sample_net(tmp_path_factory.mktemp("sandbox"))


def side_by_torch(size: int, kernel: int, padding: int, stride: int, dilation: int) -> int:
    picture, weight = torch.zeros(1, 1, size, size), torch.zeros(1, 1, kernel, kernel)
    if dilation * (kernel - 1) + 1 > size + 2 * padding:
        with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
            conv2d(picture, weight, None, stride, padding, dilation)
        return 0
    return int(conv2d(picture, weight, None, stride, padding, dilation).shape[-1])


def result(page: Any) -> float:
    return number(page.locator("[data-part=sandbox-sum] strong").inner_text())


def at_cell(page: Any, row: int, column: int) -> None:
    """Wait until the window is there."""
    there = "(start) => document.querySelector('[data-part=sandbox-cell]').textContent.startsWith(start)"
    page.wait_for_function(there, arg=f"Output row {row}, column {column} is ")


def counted(size: int) -> Tensor:
    return torch.arange(1, size * size + 1, dtype=torch.float32).view(1, 1, size, size)


def edge(kernel: int) -> Tensor:
    columns = torch.sign(torch.arange(kernel) - (kernel - 1) / 2) if kernel > 1 else torch.ones(1)
    return columns.expand(kernel, kernel)[None, None].contiguous()


# ---------------------------------------------------------------- the formula


def test_the_formula_is_pytorchs_over_all_settings(opened, sample):
    page = ready(opened(sample.file))
    settings = [list(one) for one in itertools.product(range(1, 13), range(1, 6), range(4), range(1, 5), range(1, 4))]
    found = page.evaluate(SIDES, settings)
    truth = [side_by_torch(*setting) for setting in settings]
    assert truth.count(0) > 100
    assert len(set(truth)) > 10
    assert found == truth


@pytest.mark.parametrize(("name", "side"), PRESETS.items())
def test_a_preset_shows_its_size_with_the_numbers_filled_in(opened, sample, name, side):
    page = ready(opened(sample.file, "#sandbox=5.1.0.1.1"))
    page.locator(f"[data-part=sandbox-presets] button[value={name}]").click()
    knobs = [int(page.locator(f"[data-part=sandbox-{knob}]").input_value()) for knob in KNOBS]
    assert side_by_torch(*knobs) == side
    assert page.locator("[data-part=sandbox-result] strong").inner_text() == str(side)
    size, kernel, padding, stride, dilation = knobs
    assert (
        text(page, "sandbox-filled") == f"⌊({size} + 2 · {padding} − {dilation} · ({kernel} − 1) − 1) ÷ {stride}⌋ + 1"
    )
    assert page.locator("[data-part=sandbox-presets] [aria-pressed=true]").get_attribute("value") == name
    assert f"{side} × {side} = {side * side:,} cells" in text(page, "sandbox-facts")


def test_the_fields_change_the_result(opened, sample):
    page = ready(opened(sample.file))
    for knob, value in (("size", 20), ("kernel", 4), ("padding", 3), ("stride", 3), ("dilation", 2)):
        page.locator(f"[data-part=sandbox-{knob}]").fill(str(value))
        page.locator(f"[data-part=sandbox-{knob}]").press("Tab")
    assert page.locator("[data-part=sandbox-result] strong").inner_text() == str(side_by_torch(20, 4, 3, 3, 2))
    page.locator("[data-part=sandbox-size]").fill("99999")
    page.locator("[data-part=sandbox-size]").press("Tab")
    assert page.locator("[data-part=sandbox-size]").input_value() == "256"


@pytest.mark.parametrize("setting", [(3, 5, 0, 1, 1), (4, 3, 0, 2, 2), (1, 15, 0, 16, 8)])
def test_a_window_that_fits_nowhere_is_explained(opened, sample, setting):
    page = ready(opened(sample.file, "#sandbox=" + ".".join(map(str, setting))))
    assert side_by_torch(*setting) == 0
    span = setting[4] * (setting[1] - 1) + 1
    assert [int(one) for one in re.findall(r"\d+", text(page, "sandbox-result"))][-2:] == [
        span,
        setting[0] + 2 * setting[2],
    ]
    for part in ("sandbox-out", "sandbox-sums", "sandbox-costs"):
        assert not page.locator(f"[data-part={part}]").is_visible()
    page.locator("[data-part=sandbox-presets] button[value=pool]").click()
    assert page.locator("[data-part=sandbox-out]").is_visible()


@pytest.mark.parametrize("setting", [(8, 3, 1, 1, 1), (11, 3, 2, 1, 2), (20, 5, 2, 3, 1), (224, 11, 2, 4, 1)])
def test_field_and_cost_are_those_of_such_a_layer(opened, sample, setting):
    size, kernel, padding, stride, dilation = setting
    page = ready(opened(sample.file, "#sandbox=" + ".".join(map(str, setting))))
    facts = dict(page.evaluate(FACTS))
    one, many = nn.Conv2d(1, 1, kernel), nn.Conv2d(64, 64, kernel)
    cells = side_by_torch(*setting) ** 2
    assert facts["Parameters"].endswith(f"= {sum(p.numel() for p in one.parameters())}")
    assert facts["Multiply-adds"].endswith(f"= {one.weight.numel() * cells:,}")
    parameters, multiplied = sum(p.numel() for p in many.parameters()), many.weight.numel() * cells
    assert facts["With 64 inputs, 64 units"] == f"{parameters:,} parameters, {multiplied:,} multiply-adds"
    field = Field().then(Window(kernel, stride, padding, dilation))
    assert facts["A cell sees"].startswith(f"{field.size} × {field.size}")
    assert facts["A cell sees"].endswith(f", {field.jump} apart")
    assert number(facts["First centre"].split(" ")[0]) == field.centre + 1
    reached = (side_by_torch(*setting) - 1) * stride + field.size
    left = size + 2 * padding - reached
    assert [int(one) for one in re.findall(r"\d+", facts["Never reached"])] == (
        [] if left == 0 else [left, size + 2 * padding]
    )


# ---------------------------------------------------------------- the sums


SUMS = [(8, 3, 1, 1, 1), (9, 3, 2, 2, 2), (7, 2, 0, 2, 1), (12, 5, 3, 4, 1), (30, 11, 2, 4, 1), (6, 1, 1, 1, 1)]


@pytest.mark.parametrize("setting", SUMS)
def test_the_sum_of_a_cell_is_the_convolution_there(opened, sample, setting):
    size, kernel, padding, stride, dilation = setting
    page = ready(opened(sample.file))
    wanted = {"edge": edge(kernel), "mean": torch.full((1, 1, kernel, kernel), 1 / kernel**2)}
    for rule, weight in wanted.items():
        out = conv2d(counted(size).double(), weight.double(), None, stride, padding, dilation)[0, 0]
        for row, column in {(0, 0), (out.shape[0] - 1, out.shape[0] - 1), (out.shape[0] // 2, 0)}:
            go(page, f"sandbox={'.'.join(map(str, setting))}&sandbox-rule={rule}&sandbox-cell={row + 1},{column + 1}")
            assert result(page) == pytest.approx(
                float(out[row, column]), abs=1e-4 * max(1, abs(float(out[row, column])))
            )
            assert text(page, "sandbox-cell").startswith(f"Output row {row + 1}, column {column + 1} is ")
            first, inside = row * stride - padding + 1, text(page, "sandbox-cell").replace("−", "-")
            assert f"rows {first} to {first + dilation * (kernel - 1)} and" in inside
            if kernel <= 3:
                tables = page.locator("[data-part=sandbox-sum-row] table:not(.kernel-fields)").all()
                grids = [
                    [number(cell.replace("padding", "")) for cell in table.locator("td").all_inner_texts()]
                    for table in tables
                ]
                assert sum(grids[1]) == pytest.approx(result(page), abs=1e-3)
                seen = [a * b for a, b in zip(grids[0], weight.flatten().tolist(), strict=True)]
                assert grids[1] == pytest.approx(seen, abs=6e-5 + 1e-6 * max(map(abs, grids[0])))


def test_padding_cells_are_counted_and_named(opened, sample):
    page = ready(opened(sample.file, "#sandbox=8.3.1.1.1&sandbox-cell=1,1"))
    assert re.search(r"\b5 of its 9\b", text(page, "sandbox-cell"))
    assert page.locator("[data-part=sandbox-sum-row] table").first.inner_text().count("padding") == 5


@pytest.mark.parametrize("setting", [(8, 2, 0, 2, 1), (9, 3, 1, 2, 1), (9, 2, 0, 1, 3)])
def test_the_largest_of_a_window_is_the_pool(opened, sample, setting):
    size, kernel, padding, stride, dilation = setting
    page = ready(opened(sample.file))
    out = max_pool2d(counted(size), kernel, stride, padding, dilation)[0, 0]
    for row, column in {(0, 0), (out.shape[0] - 1, 1)}:
        go(page, f"sandbox={'.'.join(map(str, setting))}&sandbox-rule=max&sandbox-cell={row + 1},{column + 1}")
        assert result(page) == float(out[row, column])
    assert not re.search(r"\d", dict(page.evaluate(FACTS))["Parameters"])


def test_the_values_and_the_kernel_can_be_the_networks_own(opened, sample):
    """The chosen map, cut around the chosen cell, under the kernel that the next convolution lays on it."""
    page = ready(
        opened(
            sample.file,
            "#picture=2&layer=conv1_2&unit=4&input=6&cell=30,20"
            "&sandbox=9.3.0.1.1&sandbox-rule=unit&sandbox-input=map&sandbox-cell=2,3",
        )
    )
    here = sample.truth(1)["conv1_2"][3]
    rows, columns = (29 - 4, 29 + 5), (19 - 4, 19 + 5)
    weight = next(one.module for one in layers(sample.model) if one.name == "conv1_2").weight[3, 5].detach()
    out = conv2d(torch.from_numpy(here[slice(*rows), slice(*columns)].copy())[None, None], weight[None, None])[0, 0]
    assert result(page) == pytest.approx(float(out[1, 2]), abs=2e-4)
    assert page.locator("[data-part=sandbox-rule] option:checked").inner_text() == "conv1_2, unit 4, input 6"
    page.locator("[data-part=layer]").select_option(label="pool1")  # no kernel of its own: the simple one instead
    assert page.locator("[data-part=sandbox-rule] option:checked").inner_text() == "right minus left"
    page.locator("[data-part=layer]").select_option(label="softmax")
    assert page.locator("[data-part=sandbox-input] option:checked").inner_text() == "numbered cells"


def test_a_map_smaller_than_the_input_is_stretched_and_says_so(opened, sample):
    page = ready(
        opened(
            sample.file,
            "#picture=2&layer=pool2&unit=2&sandbox=26.1.0.1.1&sandbox-rule=copy&sandbox-input=map&sandbox-cell=9,20",
        )
    )
    assert "26 × 26" in text(page, "sandbox-about")
    assert result(page) == pytest.approx(sample.truth(1)["pool2"][1, 4, 9], abs=1e-4)


def test_a_changed_kernel_is_the_kernel(opened, sample):
    page = ready(opened(sample.file, "#sandbox-cell=4,5"))
    for i, value in enumerate([0, 2, -1, 0.5, 0, 0, 3, 0, 0]):
        field = page.locator(".kernel-fields input").nth(i)
        field.fill(str(value))
        field.press("Tab")
    weight = torch.tensor([0, 2, -1, 0.5, 0, 0, 3, 0, 0]).view(1, 1, 3, 3)
    assert result(page) == pytest.approx(float(conv2d(counted(8), weight, padding=1)[0, 0, 3, 4]), abs=1e-4)
    assert page.locator("[data-part=sandbox-rule] option:checked").inner_text() == "your own numbers"
    page.wait_for_function("() => location.hash.includes('sandbox-kernel=0%2C2%2C-1%2C0.5%2C0%2C0%2C3%2C0%2C0')")
    value = result(page)
    page.reload()
    assert result(ready(page)) == value


# ---------------------------------------------------------------- moving


def test_pointing_at_the_output_moves_the_window_and_a_click_keeps_it(opened, sample):
    page = ready(opened(sample.file, "#sandbox=8.3.1.1.1"))
    picture = page.locator("[data-part=sandbox-map]").evaluate("(canvas) => canvas.toDataURL()")
    canvas = page.locator("[data-part=sandbox-output]")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    at = {"x": box["width"] * 5.5 / 8, "y": box["height"] * 2.5 / 8}
    canvas.hover(position=at)
    at_cell(page, 3, 6)
    assert page.locator("[data-part=sandbox-map]").evaluate("(canvas) => canvas.toDataURL()") != picture
    page.mouse.move(2, 2)
    at_cell(page, 1, 1)
    canvas.click(position=at)
    page.mouse.move(2, 2)
    assert text(page, "sandbox-cell").startswith("Output row 3, column 6 is ")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    assert text(page, "sandbox-cell").startswith("Output row 4, column 5 is ")
    page.wait_for_function(
        "() => document.querySelector('[data-part=live]').textContent.startsWith('Output row 4, column 5')"
    )
    page.wait_for_function("() => location.hash.includes('sandbox-cell=4%2C5')")


def test_playing_walks_through_the_output_until_it_is_halted(opened, sample):
    page = ready(opened(sample.file, "#sandbox-cell=1,7", own=True))
    stop_the_clock(page)
    page.emulate_media(reduced_motion="no-preference")
    button = page.locator("[data-part=sandbox-play]")
    page.wait_for_function("() => document.querySelector('[data-part=sandbox-play]').textContent === 'Play'")
    button.click()
    page.clock.run_for(2 * TICK)
    at_cell(page, 2, 1)
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    said = text(page, "sandbox-cell")
    assert button.get_attribute("aria-pressed") == "false"
    page.clock.run_for(60_000)
    assert text(page, "sandbox-cell") == said


def test_whoever_wants_no_motion_gets_one_cell_a_click(opened, sample):
    page = ready(opened(sample.file, "#sandbox-cell=1,7", own=True))
    stop_the_clock(page)
    button = page.locator("[data-part=sandbox-play]")
    assert button.inner_text() == "Next cell"
    button.click()
    button.click()
    assert text(page, "sandbox-cell").startswith("Output row 2, column 1 is ")
    page.clock.run_for(60_000)
    assert text(page, "sandbox-cell").startswith("Output row 2, column 1 is ")


# ---------------------------------------------------------------- the address


def test_a_setting_stands_in_the_address(opened, sample):
    page = ready(opened(sample.file))
    page.locator("[data-part=sandbox-presets] button[value=dilated]").click()
    page.locator("[data-part=sandbox-input]").select_option("map")
    page.locator("[data-part=sandbox-rule]").select_option("mean")
    page.locator("[data-part=sandbox-stage]").focus()
    page.keyboard.press("ArrowRight")
    said = text(page, "sandbox-cell")
    page.wait_for_function("() => location.hash.includes('sandbox-cell=')")
    page.reload()
    assert text(ready(page), "sandbox-cell") == said
    assert page.locator("[data-part=sandbox-result] strong").inner_text() == "11"


def test_a_bad_address_is_clamped(opened, sample):
    page = ready(opened(sample.file, "#sandbox=a.b.c&sandbox-rule=__proto__&sandbox-input=constructor&sandbox-cell=x"))
    for address in (
        "sandbox=-5.99.99.99.99&sandbox-rule=unit",
        "sandbox=1e9.0.-1.0.0&sandbox-cell=9,9999",
        "sandbox=....&sandbox-rule=own&sandbox-kernel=NaN,Infinity,,1e99",
        "sandbox=%00&sandbox-cell=,",
        "sandbox=8.3.1.1.1&sandbox-rule=own&sandbox-kernel=" + "9," * 5000,
        "sandbox=256.15.15.1.8&sandbox-cell=-3,-3",
    ):
        assert re.search(r"\d|no place", text(page, "sandbox-result"))
        assert text(page, "sandbox-filled").startswith("⌊(")
        go(page, address)
    assert text(page, "sandbox-cell").startswith("Output row 1, column 1 is ")


# ---------------------------------------------------------------- what is drawn


def test_canvases_show_what_the_numbers_say(opened, sample):
    """The rim is not the map, and the copied middle of a map is the map."""
    page = ready(opened(sample.file, "#sandbox=8.3.1.1.1&sandbox-rule=copy&sandbox-cell=8,8"))
    corner, inner = page.locator("[data-part=sandbox-map]").evaluate(CORNERS)
    assert corner != inner
    found = []
    for row, column in ((1, 1), (4, 6), (8, 2)):
        go(page, f"sandbox=8.3.1.1.1&sandbox-rule=copy&sandbox-cell={row},{column}")
        found.append(result(page))
    assert found == [1, 30, 58]
    assert np.isfinite(found).all()
