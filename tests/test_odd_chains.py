"""Sections about networks that are no VGG of the paper: what they say is what the chain has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from chains import lively
from torch import nn

from vgg_viz.attribution.layers import after_activation, choose_layer
from vgg_viz.data import shapes
from vgg_viz.models.build import build
from vgg_viz.models.geometry import geometry
from vgg_viz.records import Checkpoint, Exhibit, Finding
from vgg_viz.sections.report.activations import activations
from vgg_viz.sections.report.attention import attention
from vgg_viz.sections.report.fields import receptive_fields
from vgg_viz.sections.report.filters import filters
from vgg_viz.sections.report.forensics import forensics
from vgg_viz.sections.report.overview import overview
from vgg_viz.studies.inputs import Inputs
from vgg_viz.studies.preset import preset_for
from vgg_viz.studies.subject import Subject
from vgg_viz.units.forensics import examine_norms, examine_weights

SECTIONS: tuple[Callable[[Subject], Iterator[Exhibit | Finding]], ...] = (
    overview,
    filters,
    receptive_fields,
    forensics,
    activations,
    attention,
)
CHAINS = {
    "one block": "6 M | K",
    "strides": "6 6s2 8 8s2 | K",
    "leaky, average pools": "+leaky0.1 6 A2 8 A3s2p1 | K",
    "tanh": "+tanh 6 M 8 | 8 K",
    "batch norm in the head": "6 M 8 M | 8+bn+relu K",
    "batch norm after the activation": "6+relu+bn M 8+relu+bn | K",
    "5 x 5, 1 x 1": "6/5 M 8/1 | K",
    "no pool": "6/3p0 6/3p0 6/3p0 6/3p0 6/3p0 6/3p0 6/3p0 6/3p0 | K",
    "a dense head": "6 M 8 M | 8/8 K/1 G",
    "a map of one place": "6s2 6s2 6s2 6s2 6s2 6s2 | K",
    "no activation": "6+ M 8+ M | 6+relu K",
}


def subject_of(plan: str) -> Subject:
    model = lively(build(plan, num_classes=10, image_side=32), seed=4)
    checkpoint = Checkpoint(model.architecture, shapes.CLASSES, dict(model.state_dict()))
    batch = shapes.paint(4, seed=0, split="test", side=32)
    return Subject(checkpoint, model, Inputs(None, None, batch, batch, None, ()), preset_for("quick", 1), 0)


@pytest.fixture(scope="module", params=CHAINS)
def told(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The plan, and every word that the sections say of it."""
    plan = CHAINS[request.param]
    subject = subject_of(plan)
    words = []
    for section in SECTIONS:
        for made in section(subject):
            if isinstance(made, Exhibit):
                words += [made.title, made.caption.see, made.caption.read, made.caption.cannot, made.alt]
            else:
                words.append(made.text)
    return plan, "\n".join(words).replace("\n", " ")


def test_what_is_said_is_what_the_chain_has(told: tuple[str, str]) -> None:
    plan, words = told
    if "leaky" in plan:
        assert "leaky ReLU of all 2 convolutions" in words
        assert "as ReLU" not in words
        assert "below zero" in words
    if "tanh" in plan:
        assert "so none is called silent" in words
        assert "ReLU of" not in words
    if plan.startswith("6+ "):
        assert "Grad-CAM for the predicted class at all 2 convolutions" in words
    if any(strange in plan for strange in ("s2", "/5")):
        assert "VGG's idea" not in words
        assert "A kernel of k × k" in words
    if "M" not in plan and "A" not in plan:
        assert "each pool" not in words
        assert "a pool's" not in words
    if plan.endswith("G"):
        assert "relu3" not in words.partition("ReLU layer that has maps")[2].partition("picture")[0]
    assert "batch norm follows every convolution" not in words
    assert "the one convolution" in words if plan == "6 M | K" else "all 1 convolution" not in words


def test_grad_cam_is_read_after_the_activation_of_the_convolution_itself() -> None:
    rows = geometry(build("4+ M 6+ M relu | 6+relu K", num_classes=3, image_side=32))
    behind_the_pool = next(row.name for row in rows if row.kind == "relu")
    assert after_activation(rows, "conv1_1") == "conv1_1"
    assert after_activation(rows, "conv2_1") == behind_the_pool
    assert choose_layer(rows, 32).name == "conv2_1"
    assert "8 × 8 map" in str(choose_layer(rows, 32))


def test_a_start_for_a_leaky_relu_is_known() -> None:
    torch.manual_seed(0)
    model = build("+leaky0.3 64 128 | K", num_classes=3, image_side=16)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.3)
                module.bias.zero_()
    found = examine_weights(model)[1]
    assert found.fit.start.name == "He normal for slope 0.3, fan in"
    assert found.verdict == "untouched"


def test_batch_norm_of_the_head_is_examined() -> None:
    model = build("4+bn+relu M | 6+bn+relu K", num_classes=3, image_side=16)
    assert [norm.channels for norm in examine_norms(model)] == [4, 6]
    assert all(norm.never_updated for norm in examine_norms(model))
