"""Receptive fields: arithmetic against the gradient's support, layer by layer, variant by variant."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vgg_viz.maths.receptive_field import Box, Field, Window, fields
from vgg_viz.models.build import architecture, build
from vgg_viz.models.geometry import geometry
from vgg_viz.models.names import layers
from vgg_viz.models.vgg import VARIANTS

PAPER = {
    "vgg11": [
        ("pool1", 4, 2, 1),
        ("pool2", 10, 4, 3),
        ("pool3", 30, 8, 11),
        ("pool4", 70, 16, 27),
        ("pool5", 150, 32, 59),
    ],
    "vgg13": [
        ("pool1", 6, 2, 2),
        ("pool2", 16, 4, 6),
        ("pool3", 36, 8, 14),
        ("pool4", 76, 16, 30),
        ("pool5", 156, 32, 62),
    ],
    "vgg16": [
        ("pool1", 6, 2, 2),
        ("pool2", 16, 4, 6),
        ("pool3", 44, 8, 18),
        ("pool4", 100, 16, 42),
        ("pool5", 212, 32, 90),
    ],
    "vgg19": [
        ("pool1", 6, 2, 2),
        ("pool2", 16, 4, 6),
        ("pool3", 52, 8, 22),
        ("pool4", 124, 16, 54),
        ("pool5", 268, 32, 118),
    ],
}
TINY = [
    ("conv1_1", 3, 1, 1),
    ("conv1_2", 5, 1, 2),
    ("pool1", 6, 2, 2.5),
    ("conv2_1", 10, 2, 4.5),
    ("conv2_2", 14, 2, 6.5),
]


@pytest.mark.parametrize("variant", PAPER)
def test_fields_are_those_published_for_the_variant(variant: str) -> None:
    rows = {row.name: row.field for row in geometry(build(variant, width=1 / 64, num_classes=2))}
    for name, size, jump, padding in PAPER[variant]:
        assert rows[name] == Field(size, jump, padding)


@pytest.mark.parametrize(
    ("variant", "fc6"), [("vgg11", 342), ("vgg13", 348), ("c", 348), ("vgg16", 404), ("vgg19", 460)]
)
def test_fc6_sees_what_a_seven_by_seven_kernel_sees(variant: str, fc6: int) -> None:
    for dense in (False, True):
        rows = {row.name: row.field for row in geometry(build(variant, width=1 / 64, num_classes=2, dense=dense))}
        field = rows["fc6"]
        assert field is not None
        assert field.size == fc6


def test_tiny_vgg_with_valid_padding_starts_its_centres_inside_the_image(tiny: nn.Module) -> None:
    rows = {row.name: row.field for row in geometry(tiny)}
    for name, size, jump, centre in TINY:
        field = rows[name]
        assert field is not None
        assert (field.size, field.jump, field.centre) == (size, jump, centre)


def _positive(model: nn.Module) -> nn.Module:
    """The same geometry with nothing that could hide a connection: positive weights, averages for maxima."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    return model.double()


@pytest.mark.parametrize("name", [*VARIANTS, "vgg16_bn", "tiny_vgg padded"])
def test_a_unit_depends_on_exactly_the_pixels_of_its_box(name: str) -> None:
    """The gradient of a unit is non-zero on its box and nowhere else: at the corner, off centre, at the far corner."""
    plain = name.split()[0]
    side = 70 if plain == "tiny_vgg" else 230
    options = {"padding": 1} if "padded" in name else {}
    wanted = architecture(
        plain, num_classes=2, image_side=side, width=1 / 64 if plain != "tiny_vgg" else 0.1, **options
    )
    model = _positive(build(wanted, mean=(0.0,) * 3, std=(1.0,) * 3))
    image = torch.full((1, 3, side, side), 0.5, dtype=torch.float64, requires_grad=True)
    rows = {row.name: row for row in geometry(model)}
    value = image
    checked = 0
    for layer in layers(model):
        value = nn.functional.avg_pool2d(value, 2) if layer.kind == "pool" else layer.module(value)
        row = rows[layer.name]
        assert tuple(value.shape[1:]) == row.shape
        if layer.kind not in ("conv", "pool", "lrn") or row.field is None:
            continue
        last = row.shape[1] - 1
        for unit in {(0, 0), (last // 3, last // 2), (last, last)}:
            (gradient,) = torch.autograd.grad(value[0, 0, unit[0], unit[1]], image, retain_graph=True)
            seen = (gradient[0] != 0).any(0)
            box = row.field.box(*unit).clipped(side, side)
            expected = torch.zeros(side, side, dtype=torch.bool)
            expected[box.y0 : box.y1, box.x0 : box.x1] = True
            assert torch.equal(seen, expected), f"{layer.name} unit {unit}: {box}"
            checked += 1
    assert checked >= 3 * 4


def test_boxes_count_padding_and_clip_to_the_image() -> None:
    field = Field(size=6, jump=2, padding=2)
    assert field.box(0, 1) == Box(0, -2, 6, 4)
    assert field.box(0, 1).clipped(64, 64) == Box(0, 0, 6, 4)
    assert field.span(31) == (60, 65)


def test_dilation_widens_the_field_as_the_formula_says() -> None:
    assert fields([Window(3, 1, 2, 2)])[0] == Field(5, 1, 2)
    assert Window(3, 1, 2, 2).out(10) == 10


def test_three_small_kernels_see_what_one_of_seven_sees() -> None:
    assert fields([Window(3, 1, 1)] * 3)[-1] == fields([Window(7, 1, 3)])[-1]
