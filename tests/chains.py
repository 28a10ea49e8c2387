"""Random networks for property tests: plans that hypothesis draws, and weights that make them answer."""

from __future__ import annotations

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import nn

from vgg_viz.errors import InputRefused
from vgg_viz.models.build import architecture, build
from vgg_viz.records import Architecture

SIDES = (16, 24, 32)


@st.composite
def convolutions(draw: st.DrawFn) -> str:
    kernel = draw(st.sampled_from(["", "/1", "/5", "/3d2", "/3p0"]))
    stride = draw(st.sampled_from(["", "", "", "s2"])) if kernel != "/3d2" else ""
    after = draw(st.sampled_from(["", "", "", "+bn+relu", "+leaky0.1", "+bn", "+"]))
    return f"{draw(st.integers(2, 5))}{kernel}{stride}{draw(st.sampled_from(['', 'b0']))}{after}"


POOLS = st.sampled_from(["M", "M", "A2", "M3s2p1", "M2s1", "M3s2c"])


@st.composite
def plans(draw: st.DrawFn) -> str:
    """A chain of one to three blocks, an average of the map or none, and a head of one to three layers."""
    words = [draw(st.sampled_from(["+relu", "+relu", "+bn+relu", "+leaky0.2", "+elu"]))]
    for _ in range(draw(st.integers(1, 3))):
        words += draw(st.lists(convolutions(), min_size=1, max_size=2))
        words += [draw(POOLS)] if draw(st.booleans()) else []
    words += draw(st.sampled_from([[], [], ["G"], ["G2"], ["drop0.3"]]))
    hidden = draw(st.lists(st.sampled_from(["6", "5 drop0.3", "4+bn+relu", "7+tanh", "3b0"]), max_size=2).map(" ".join))
    return " ".join([*words, "|", hidden, "K"])


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    try:
        wanted = architecture(
            draw(plans()), num_classes=draw(st.integers(2, 4)), image_side=draw(st.sampled_from(SIDES))
        )
        build(wanted)
    except InputRefused:  # a map shrinks to nothing
        assume(False)
    return wanted


def lively(model: nn.Module, seed: int) -> nn.Module:
    """Weights under which pictures get different scores, and statistics of batch norm other than 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0, 0.2, generator=generator)
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.uniform_(0.7, 1.4, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
    return model.eval()
