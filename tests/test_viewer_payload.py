"""What the viewer is told: one shape whoever fills it, bytes that hold the maps, and layers that stand for what was averaged."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest
import torch
from viewer_data import unpacked

from vgg_viz.gallery.small_maps import downsample
from vgg_viz.gallery.viewer import (
    AttributedMaps,
    ViewerMap,
    ViewerMethod,
    ViewerPayload,
    ViewerStart,
    attribution_payload,
    outline_name,
    payload_json,
    viewer_pictures,
)
from vgg_viz.maths.receptive_field import Field
from vgg_viz.records import Attribution, Batch

METHODS = (ViewerMethod("up", "Up", False, "logit", "about"), ViewerMethod("both", "Both", True, "logit", "about"))
FIELDS = {"low": Field(3, 1, 1), "high": Field(10, 2, 0)}


def batch(count: int = 2, side: int = 64) -> Batch:
    dice = torch.Generator().manual_seed(0)
    masks = torch.zeros(count, side, side, dtype=torch.bool)
    masks[0, 3:9, 4:8] = True  # nobody knows where the object of the others is
    return Batch(
        torch.rand(count, 1, side, side, generator=dice),
        torch.tensor([1, 0][:count]),
        ("a.png", "b.png")[:count],
        masks,
    )


def payload(*maps: ViewerMap, axis: str = "layer") -> ViewerPayload:
    seen = batch()
    return ViewerPayload(
        viewer_pictures(seen, torch.tensor([[0.2, 0.8], [0.3, 0.7]])), ("x", "y"), METHODS, FIELDS, maps, axis=axis
    )


def values_of(entry: dict) -> np.ndarray:
    levels = np.frombuffer(base64.b64decode(entry["data"]), np.uint8).astype(float).reshape(entry["h"], entry["w"])
    return entry["low"] + levels * (entry["high"] - entry["low"]) / 255


def test_bytes_hold_a_map_to_half_a_step_of_what_they_span():
    raw = torch.randn(9, 7, generator=torch.Generator().manual_seed(1))
    own, shared = unpacked(
        payload_json(
            payload(
                ViewerMap(0, "both", "low", "predicted", 1, raw),
                ViewerMap(1, "both", "low", "predicted", 1, raw, (-8.0, 8.0)),
            )
        )
    )["maps"]
    assert (own["low"], own["high"]) == (float(raw.min()), float(raw.max()))
    assert (shared["low"], shared["high"]) == (-8, 8)
    for entry in (own, shared):
        assert (entry["h"], entry["w"]) == (9, 7)
        assert np.abs(values_of(entry) - raw.numpy()).max() <= (entry["high"] - entry["low"]) * (0.5 / 255 + 1e-6)


def test_the_strongest_colour_is_the_farther_end_and_over_all_pictures_the_farthest():
    told = unpacked(
        payload_json(
            payload(
                ViewerMap(0, "both", "low", "predicted", 1, torch.tensor([[-3.0, 1.0]])),
                ViewerMap(1, "both", "low", "predicted", 1, torch.tensor([[2.0, 1.0]])),
                ViewerMap(0, "up", None, "true", 0, torch.tensor([[-5.0, -1.0]])),
                ViewerMap(0, "both", "high", "predicted", 1, torch.tensor([[4.0, 9.0]]), limit=6.0),
            )
        )
    )
    assert [entry["limit"] for entry in told["maps"]] == [3, 2, 0, 6]
    assert told["limits"] == {"both|low|predicted": 3, "up||true": 0, "both|high|predicted": 6}


def test_epochs_share_one_range_whatever_they_are_asked_about():
    first = ViewerMap(0, "both", "low", "true", 0, torch.tensor([[0.0, 2.0]]))
    second = ViewerMap(0, "both", "high", "answered", 0, torch.tensor([[0.0, 7.0]]))
    assert payload_json(payload(first, second, axis="epoch"))["limits"] == {"both|low|true": 7, "both|high|answered": 7}


def test_a_stored_value_of_a_large_map_stands_for_the_field_of_all_that_it_is_the_mean_of():
    raw = torch.rand(1, 100, 100, generator=torch.Generator().manual_seed(2))
    small, factor = downsample(raw, 56)
    assert (factor, small.shape) == (2, (1, 50, 50))
    assert torch.allclose(small[0, 3, 4], raw[0, 6:8, 8:10].mean())
    found = Attribution("up", raw.expand(2, -1, -1), "logit", False, "high", torch.tensor([0, 1]))
    told = unpacked(
        payload_json(
            attribution_payload(
                batch(), ("x", "y"), torch.rand(2, 2), AttributedMaps([("predicted", found)], METHODS, FIELDS)
            )
        )
    )
    first, second = (FIELDS["high"].span(unit) for unit in (0, 1))
    (layer,) = told["layers"]
    assert layer["size"] == second[1] - first[0] + 1
    assert layer["centre"] == (first[0] + second[1]) / 2
    assert layer["jump"] == 2 * FIELDS["high"].jump


def test_a_map_made_of_equal_squares_keeps_one_value_a_square():
    squares = (
        torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(3)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    )
    found = Attribution("both", squares, "logit", True, None, torch.tensor([0, 1]))
    told = unpacked(
        payload_json(
            attribution_payload(
                batch(), ("x", "y"), torch.rand(2, 2), AttributedMaps([("second", found)], METHODS, FIELDS)
            )
        )
    )
    assert [(entry["h"], entry["target"]) for entry in told["maps"]] == [(8, "runner-up"), (8, "runner-up")]
    truth = replace(found, targets=torch.tensor([1, 0]))
    told = unpacked(
        payload_json(
            attribution_payload(
                batch(), ("x", "y"), torch.rand(2, 2), AttributedMaps([("second", truth)], METHODS, FIELDS)
            )
        )
    )
    assert [entry["target"] for entry in told["maps"]] == ["true", "true"]


def test_a_picture_says_its_class_its_likeliest_answers_and_its_mask_only_where_it_has_one():
    pictures = viewer_pictures(batch(), torch.tensor([[0.2, 0.8], [0.7, 0.3]]), {"a": torch.tensor([[0.9, 0.1]] * 2)})
    told = unpacked(payload_json(replace(payload(), pictures=pictures)))
    first, second = told["photos"]
    assert (first["true"], second["true"]) == (1, 0)
    assert first["top"] == [[1, 0.8], [0, 0.2]]
    assert first["by"] == {"a": [[0, 0.9], [1, 0.1]]}
    assert first["mask"] is not None
    assert second["mask"] is None


@pytest.mark.parametrize(("start", "layer"), [(None, "high"), (ViewerStart(0, "up", None, "true"), None)])
def test_it_opens_where_it_was_asked_to_else_with_the_deepest_layer(start, layer):
    maps = [ViewerMap(0, "up", where, "true", 0, torch.rand(2, 2)) for where in ("low", "high", None)]
    told = payload_json(replace(payload(*maps), start=start))
    assert told["start"]["layer"] == layer


def test_masks_of_boxes_are_called_boxes_whoever_shows_them():
    """The timeline's viewer called them outlines."""
    assert payload_json(payload())["outline"] == outline_name(batch()) == "Outline of the object"
    assert outline_name(replace(batch(), boxed=torch.tensor([True, False]))) == "Box around the object"
