"""What is written down of a network that is too large to run in a page: its sums are the network's own."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vgg_viz.capture.hooks import activations
from vgg_viz.models.build import build
from vgg_viz.records import Batch
from vgg_viz.studies.explorer_stored import FINEST, MOST_TERMS, UNITS, stored_network

NETWORKS = {
    "plain": ("vgg11", {"width": 0.25}),
    "batch norm": ("vgg11_bn", {"width": 0.25}),
    "1x1 kernels": ("c", {"width": 0.125}),
    "local response norm": ("a_lrn", {"width": 0.25}),
    "grey": ("vgg11", {"width": 0.25, "in_channels": 1}),
}


@pytest.fixture(scope="module", params=NETWORKS)
def written(request):
    name, options = NETWORKS[request.param]
    model = build(name, num_classes=7, image_side=128, seed=3, **options).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as training leaves it: not one and zero
            with torch.no_grad():
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.3, 0.3)
    images = torch.rand(2, options.get("in_channels", 3), 128, 128, generator=torch.Generator().manual_seed(1))
    batch = Batch(images, None, ("a", "b"))
    network, pictures = stored_network(model, batch, [f"c{i}" for i in range(7)])
    return model, network, pictures, activations(model, images)


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def answer_of(written, name: str, i: int) -> tuple[dict, dict, Tensor]:
    _, network, pictures, truth = written
    place = [step["name"] for step in network["steps"]].index(name)
    return network["steps"][place], pictures[i]["answers"][place - 1], truth.maps[name][i]


def test_the_steps_are_every_convolution_pool_and_layer_of_the_classifier(written):
    model, network, _, _ = written
    names = [step["name"] for step in network["steps"]]
    convs = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    assert names[0] == "normalise"
    assert sum(name.startswith("relu") and "_" in name for name in names) == convs
    assert sum(name.startswith("pool") for name in names) == 5
    assert names[-3:] == ["relu6", "relu7", "fc8"]


def test_maps_are_the_networks_within_half_a_step_of_their_range(written):
    _, network, _, _ = written
    for step in network["steps"][1:]:
        if "units" not in step:
            continue
        assert len(step["units"]) == min(UNITS, step["full"][0])
        for i in range(2):
            _, answer, truth = answer_of(written, step["name"], i)
            assert max(step["shape"][1:]) <= FINEST
            for unit, low, high, data in zip(step["units"], answer["low"], answer["high"], answer["data"], strict=True):
                small = nn.functional.avg_pool2d(truth[unit][None], step["factor"], ceil_mode=True)[0].numpy()
                shown = low + (high - low) / 255 * np.frombuffer(base64.b64decode(data), np.uint8).reshape(small.shape)
                assert np.abs(shown - small).max() <= (high - low) / 510 + 1e-6


def test_layers_of_the_classifier_are_kept_to_the_last_bit(written):
    for name in ("relu6", "fc8"):
        _, answer, truth = answer_of(written, name, 1)
        assert np.array_equal(floats(answer["values"]), truth.numpy())


def test_every_sum_that_is_written_down_is_the_value_of_its_cell(written):
    _, network, pictures, truth = written
    checked = 0
    for i, picture in enumerate(pictures):
        for step, cells in zip(network["steps"][1:], picture["cells"], strict=True):
            values = truth.maps[step["name"]][i]
            assert len(cells) == min(UNITS, step["full"][0])
            for unit, cell in cells.items():
                there = values[int(unit)][cell["row"], cell["column"]] if values.ndim == 3 else values[int(unit)]
                assert cell["value"] == float(there)
                if values.ndim == 3:
                    assert float(there) == float(values[int(unit)].max())  # its strongest cell
                if "terms" not in cell:
                    assert max(cell["seen"]) == pytest.approx(cell["value"], rel=1e-6)
                    continue
                total = sum(amount for _, amount in cell["terms"]) + cell["rest"] + cell["bias"]
                if cell["scaled"]:
                    total = total * cell["scaled"][0] + cell["scaled"][1]
                assert (max(0.0, total) if step["kind"] == "relu" else total) == pytest.approx(
                    cell["value"], abs=1e-4, rel=1e-4
                )
                assert len(cell["terms"]) <= MOST_TERMS
                for (_, amount), seen, kernel in zip(
                    cell["terms"], cell.get("seen", ()), cell.get("kernel", ()), strict=False
                ):
                    assert float(np.dot(seen, kernel)) == pytest.approx(amount, abs=1e-5, rel=1e-4)
                checked += 1
    assert checked > 150


def test_what_was_already_captured_gives_the_same_as_a_pass_of_its_own(written):
    model, network, pictures, truth = written
    images = torch.rand(2, network["channels"], 128, 128, generator=torch.Generator().manual_seed(1))
    again = stored_network(model, Batch(images, None, ("a", "b")), network["classes"], truth.maps)
    assert again == (network, pictures)
