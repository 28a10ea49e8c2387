"""What is written down of a network that does not run in a page: its sums are the network's own."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import torch
from chains import lively
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


# Chains that are no VGG: each a reason why the sums, windows or names might be another's.
ODD = {
    "strides, average pools, leaky ReLU": "+leaky0.1 8 8s2 A2 16/5 A3s2p1 8 A2s2p1x | 12 K",
    "batch norm behind the activation": "8+relu+bn M 8+bn+leaky0.2 G | 9+bn+relu K",
    "batch norm on a flattened list": "6 M 6 M | bn 9 K",
    "no pool, dilation": "8s2 8/3d2p2s2 8/1s2 | K",
    "overlapping, padded, rounded up": "8 M3s2p1 8 M3s2c GM3 | K",
    "uneven average": "8 M3 8 G3 | K",
    "a dense head": "8 M 8 M | 12/4 K/1 G",
    "one block": "8 M | K",
}


@pytest.fixture(scope="module", params=NETWORKS)
def written(request):
    name, options = NETWORKS[request.param]
    return write(name, 128, options)


@pytest.fixture(scope="module", params=[*NETWORKS, *ODD])
def every(request):
    if request.param in NETWORKS:
        return write(NETWORKS[request.param][0], 128, NETWORKS[request.param][1])
    return write(ODD[request.param], 32, {})


def write(name: str, side: int, options: dict):
    model = lively(build(name, num_classes=7, image_side=side, **options), seed=3)
    images = torch.rand(2, options.get("in_channels", 3), side, side, generator=torch.Generator().manual_seed(1))
    network, pictures = stored_network(model, Batch(images, None, ("a", "b")), [f"c{i}" for i in range(7)])
    return model, network, pictures, activations(model, images)


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def answer_of(written, name: str, i: int) -> tuple[dict, dict, Tensor]:
    _, network, pictures, truth = written
    place = [step["name"] for step in network["steps"]].index(name)
    return network["steps"][place], pictures[i]["answers"][place - 1], truth.maps[name][i]


def after_the_sum(rule: str, values: list[float], total: float) -> float:
    if rule == "bn":
        return total * values[0] + values[1]
    return {"relu": lambda: max(0.0, total), "leaky_relu": lambda: total if total > 0 else values[0] * total}[rule]()


def test_the_steps_are_every_convolution_pool_and_layer_of_the_classifier(written):
    model, network, _, _ = written
    names = [step["name"] for step in network["steps"]]
    convs = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    assert names[0] == "normalise"
    assert sum(name.startswith("relu") and "_" in name for name in names) == convs
    assert sum(name.startswith("pool") for name in names) == 5
    assert names[-3:] == ["relu6", "relu7", "fc8"]


def test_maps_are_the_networks_within_half_a_step_of_their_range(every):
    _, network, _, _ = every
    for step in network["steps"][1:]:
        if "units" not in step:
            continue
        assert len(step["units"]) == min(UNITS, step["full"][0])
        for i in range(2):
            _, answer, truth = answer_of(every, step["name"], i)
            assert max(step["shape"][1:]) <= FINEST
            for unit, low, high, data in zip(step["units"], answer["low"], answer["high"], answer["data"], strict=True):
                small = nn.functional.avg_pool2d(truth[unit][None], step["factor"], ceil_mode=True)[0].numpy()
                shown = low + (high - low) / 255 * np.frombuffer(base64.b64decode(data), np.uint8).reshape(small.shape)
                assert np.abs(shown - small).max() <= (high - low) / 510 + 1e-6


def test_layers_of_the_classifier_are_kept_to_the_last_bit(written):
    for name in ("relu6", "fc8"):
        _, answer, truth = answer_of(written, name, 1)
        assert np.array_equal(floats(answer["values"]), truth.numpy())


def test_every_sum_that_is_written_down_is_the_value_of_its_cell(every):
    model, network, pictures, truth = every
    checked = 0
    for i, picture in enumerate(pictures):
        for step, cells in zip(network["steps"][1:], picture["cells"], strict=True):
            values = truth.maps.get(step["name"], truth.logits)[i]
            assert len(cells) == min(UNITS, step["full"][0])
            for unit, cell in cells.items():
                there = values[int(unit)][cell["row"], cell["column"]] if values.ndim == 3 else values[int(unit)]
                assert cell["value"] == float(there)
                if values.ndim == 3:
                    assert float(there) == float(values[int(unit)].max())  # its strongest cell
                if step["kind"] == "flatten":
                    continue
                if "terms" not in cell:
                    found = max(cell["seen"]) if step["kind"] == "pool" else cell["sum"] / cell["count"]
                    assert found == pytest.approx(cell["value"], rel=1e-5, abs=1e-6)
                    assert len(cell["seen"]) in (cell["wide"] * cell["tall"], 0)
                    assert cell["sum"] == pytest.approx(sum(cell["seen"]), rel=1e-5) or not cell["seen"]
                    continue
                total = sum(amount for _, amount in cell["terms"]) + cell["rest"] + cell["bias"]
                for rule, *numbers in cell["after"]:
                    total = after_the_sum(rule, numbers, total)
                assert total == pytest.approx(cell["value"], abs=1e-4, rel=1e-4)
                assert len(cell["terms"]) <= MOST_TERMS
                for (_, amount), seen, kernel in zip(
                    cell["terms"], cell.get("seen", ()), cell.get("kernel", ()), strict=False
                ):
                    assert float(np.dot(seen, kernel)) == pytest.approx(amount, abs=1e-5, rel=1e-4)
                checked += 1
    assert checked >= min(150, 2 * 7 * sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()))


def test_a_pool_reads_the_layer_that_it_names(every):
    _, network, pictures, truth = every
    for step, cells in zip(network["steps"][1:], pictures[1]["cells"], strict=True):
        if step["kind"] in ("pool", "avgpool"):
            below = truth.maps[step["below"]][1]
            for unit, cell in [(unit, cell) for unit, cell in cells.items() if cell["seen"]]:
                apart = (torch.tensor(cell["seen"])[:, None] - below[int(unit)].flatten()).abs().amin(1)
                assert apart.max() < 1e-5


def test_the_last_step_is_the_score_of_each_class(every):
    _, network, pictures, truth = every
    assert network["steps"][-1]["shape"] == [7]
    for i, picture in enumerate(pictures):
        assert np.array_equal(floats(picture["answers"][-1]["values"]), truth.logits[i].numpy())


def test_what_was_already_captured_gives_the_same_as_a_pass_of_its_own(written):
    model, network, pictures, truth = written
    images = torch.rand(2, network["channels"], 128, 128, generator=torch.Generator().manual_seed(1))
    again = stored_network(model, Batch(images, None, ("a", "b")), network["classes"], truth.maps)
    assert again == (network, pictures)
