"""Scales of maps, and maps on their pictures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vgg_viz.attribution import on_pixels
from vgg_viz.errors import InputRefused
from vgg_viz.maths.heatmaps import attribution_scale, on_picture, place
from vgg_viz.maths.receptive_field import Field
from vgg_viz.models.build import build
from vgg_viz.models.geometry import fields_of, geometry
from vgg_viz.records import Attribution

FIELDS = {"conv": Field(size=14, jump=2, padding=0)}


@pytest.mark.parametrize(("layer", "inside"), [(None, 980), ("conv", 980)])
@pytest.mark.parametrize("signed", [False, True])
def test_the_scale_of_a_map_holds_as_much_of_it_as_its_kind_says(layer, inside, signed):
    values = torch.arange(1.0, 1001).reshape(1, 25, 40) * (
        torch.tensor([1.0, -1.0]).repeat(500).reshape(25, 40) if signed else 1
    )
    scale = attribution_scale(values, Attribution("m", values, "logit", signed, layer, torch.zeros(1)), over="this map")
    assert (scale.high, scale.low) == (inside, -inside if signed else 0)
    assert scale.clipped == pytest.approx(1 - inside / 1000)
    assert (scale.unit, scale.over, scale.signed) == ("logit", "this map", signed)


def test_a_difference_of_maps_without_signs_has_a_signed_scale():
    values = torch.tensor([[[-3.0, 1.0]]])
    scale = attribution_scale(
        values, Attribution("m", values.abs(), "logit", False, "conv", torch.zeros(1)), over="x", signed=True
    )
    assert (scale.low, scale.high) == (-3, 3)


def test_a_layers_map_lands_on_the_centres_of_its_fields_and_a_map_in_pixels_stays():
    maps = torch.rand(2, 26, 26, generator=torch.Generator().manual_seed(0))
    assert torch.equal(on_picture(maps, "conv", FIELDS, (64, 64)), place(maps, FIELDS["conv"], 64))
    pixels = torch.rand(2, 64, 48)
    assert on_picture(pixels, None, {}, (64, 48)) is pixels
    assert on_picture(pixels, "conv", {}, (64, 48)) is pixels  # a unit for every pixel, in a network of others


def test_where_nobody_knows_what_a_unit_sees_a_map_is_refused_or_stretched():
    maps = torch.rand(2, 3, 3)
    with pytest.raises(InputRefused, match="nobody knows what the units of fc see"):
        on_picture(maps, "fc", FIELDS, (64, 64))
    other = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(InputRefused, match="nobody knows"):
        on_pixels(other, "0", maps, (8, 8))
    stretched = on_pixels(other, "0", maps, (8, 8), stretch=True)
    assert stretched.shape == (2, 8, 8)
    assert torch.equal(
        stretched, nn.functional.interpolate(maps[None], (8, 8), mode="bilinear", align_corners=False)[0]
    )


def test_a_model_places_its_maps_by_its_own_fields():
    model = build("tiny_vgg", seed=1)
    rows = [row for row in geometry(model) if row.field is not None and len(row.shape) == 3]
    side = model.architecture.image_side
    for row in rows:
        maps = torch.rand(1, *row.shape[1:])
        assert torch.equal(
            on_pixels(model, row.name, maps, (side, side)), on_picture(maps, row.name, fields_of(rows), (side, side))
        )
