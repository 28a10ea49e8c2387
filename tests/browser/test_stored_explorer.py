"""A network too large to run, in a real browser: what was written down is what is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_page import HOSTILE
from pages import go, problems
from test_live_explorer import numbers, ready, text
from torch import nn

from vgg_viz.capture.hooks import activations
from vgg_viz.gallery.explorer import Explorer, render_explorer
from vgg_viz.models.build import build
from vgg_viz.records import Batch
from vgg_viz.studies.explorer_live import pictures
from vgg_viz.studies.explorer_stored import stored_network

pytestmark = pytest.mark.browser


class Written:
    """A network, what was written down of it, and the page that shows that."""

    def __init__(self, file: Path) -> None:
        self.file = file
        model = build("vgg11_bn", num_classes=len(HOSTILE), image_side=128, width=0.25, seed=2).eval()
        images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(4))
        batch = Batch(images, torch.tensor([0, 1]), ("one", "two"))
        self.network, answers = stored_network(model, batch, HOSTILE)
        self.truth = activations(model, images)
        shown = tuple({**picture, **answer} for picture, answer in zip(pictures(batch), answers, strict=True))
        self.cells = [answer["cells"] for answer in answers]
        file.write_text(
            render_explorer(Explorer("large", "a test", self.network, shown, stored="It is too large.")),
            encoding="utf-8",
        )


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(tmp_path_factory.mktemp("written") / "explorer.html")


def test_the_page_shows_what_the_network_said(written: Written, opened: Callable[..., Any]) -> None:
    page = ready(opened(written.file, "#picture=2"))
    found = numbers(page)
    for step in written.network["steps"][1:]:
        truth = written.truth.maps[step["name"]][1]
        if "units" in step:
            small = nn.functional.avg_pool2d(truth[step["units"]][None], step["factor"], ceil_mode=True)[0]
            error = np.abs(found[step["name"]].reshape(small.shape) - small.numpy()).reshape(len(small), -1).max(1)
            assert (error <= np.ptp(small.flatten(1).numpy(), axis=1) / 510 + 1e-6).all()
        else:
            assert np.array_equal(found[step["name"]], truth.numpy())
    assert np.allclose(found["softmax"], written.truth.logits[1].softmax(0).numpy(), atol=1e-6)


def test_a_unit_opens_at_its_strongest_cell_and_the_printed_sum_is_its_value(
    written: Written, opened: Callable[..., Any]
) -> None:
    page = ready(opened(written.file))
    names = [step["name"] for step in written.network["steps"]]
    for name in ("relu1_1", "relu4_2", "relu6", "fc8"):
        unit, cell = next(iter(written.cells[0][names.index(name) - 1].items()))
        go(page, f"layer={name}&unit={int(unit) + 1}")
        assert page.locator("[data-part=unit]").input_value() == str(int(unit) + 1)
        body = text(page, "sums").replace("−", "-")
        if name == "fc8":
            assert f"(bias) = {cell['value']:.4f}" in body
        else:
            assert page.locator("[data-part=sums] strong").inner_text() == f"{cell['value']:.4f}"
        if "side" in cell:
            step = written.network["steps"][names.index(name)]
            assert page.locator("[data-part=row]").input_value() == str(cell["row"] // step["factor"] + 1)
            assert f"row {cell['row'] + 1}, column {cell['column'] + 1}" in text(page, "sums-text")


def test_a_unit_without_a_written_sum_offers_those_that_have_one(written: Written, opened: Callable[..., Any]) -> None:
    names = [step["name"] for step in written.network["steps"]]
    known = written.cells[0][names.index("relu6") - 1]
    other = next(unit for unit in range(1024) if str(unit) not in known)
    page = ready(opened(written.file, f"#layer=relu6&unit={other + 1}"))
    assert page.locator("[data-part=sums] strong").count() == 0
    offered = page.locator("[data-part=sums] button")
    assert offered.count() == len(known)
    strongest = max(known, key=lambda unit: known[unit]["value"])
    assert offered.first.inner_text() == f"unit {int(strongest) + 1}"
    offered.first.click()
    assert page.locator("[data-part=sums] strong").inner_text() == f"{known[strongest]['value']:.4f}"


def test_a_stored_network_takes_no_picture_of_ones_own_and_says_where_it_does(
    written: Written, opened: Callable[..., Any]
) -> None:
    page = ready(opened(written.file))
    assert page.locator("[data-part=choose]").count() == 0
    assert "vgg_viz serve" in page.locator(".own").inner_text()
    assert "It is too large." in page.locator(".subtitle").inner_text()


def test_any_address_of_a_stored_network_is_a_view(written: Written, opened: Callable[..., Any]) -> None:
    page = ready(opened(written.file))
    for address in (
        "layer=relu1_1&unit=999999",
        "layer=conv9",
        "unit=-4&cell=99,99",
        "layer=softmax&unit=3",
        "picture=77",
        "layer=pool5",
        "layer=relu6&unit=0&input=5000",
        "cell=a,b&range=none",
        "layer=normalise",
    ):
        go(page, address)
        assert text(page, "value")
        assert text(page, "sums-text")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_no_accessibility_problem_with_a_stored_network(
    written: Written, opened: Callable[..., Any], theme: str, width: int
) -> None:
    page = ready(opened(written.file, width=width, color_scheme=theme))
    for address in ("", "layer=fc8", "layer=relu6&unit=1"):
        go(page, address)
        assert problems(page) == [], address
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
