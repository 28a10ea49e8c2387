"""Laws that hold for every chain, whatever its layers: of plans, shapes, fields, relevance, class activation maps, occlusion."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from captum.attr import LayerGradCam
from chains import architectures, lively, plans
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from vgg_viz.attribution import attribute
from vgg_viz.attribution.lrp.conservation import ledger
from vgg_viz.attribution.single_pass import grad_cam_all_layers
from vgg_viz.errors import InputRefused
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.geometry import geometry
from vgg_viz.models.names import ACTIVATION_KINDS, layers
from vgg_viz.models.plan import canonical_plan, parse_plan, write_plan
from vgg_viz.records import Architecture

# What leaves no trace in a state dict: kinds of activations and pools, strides, dilation, padding.
TRACELESS = re.compile(r"leaky|elu|tanh|\bA2|s[12]|d2|p[01]|\+(?: |$)")
LAWS = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@settings(LAWS, max_examples=200)
@given(plans())
def test_a_plan_that_is_written_is_read_as_the_same_steps(plan: str) -> None:
    steps = parse_plan(plan)
    assert parse_plan(write_plan(steps)) == steps
    assert canonical_plan(write_plan(steps)) == write_plan(steps)


@LAWS
@given(architectures(), st.integers(0, 99))
def test_arithmetic_knows_the_shape_of_every_map_and_every_name_is_one_layers(wanted: Architecture, seed: int) -> None:
    model = lively(build(wanted), seed)
    values = torch.rand(2, wanted.in_channels, wanted.image_side, wanted.image_side)
    rows = geometry(model)
    for layer, row in zip(layers(model), rows, strict=True):
        values = layer.module(values)
        assert tuple(values.shape[1:]) == row.shape, (wanted.plan, row)
    assert tuple(values.shape) == (2, wanted.num_classes)
    assert len({row.name for row in rows}) == len(rows), wanted.plan
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model.parameters())


def _linear(model: nn.Module) -> nn.Module:
    """Every unit then depends on every pixel that its field holds: positive weights, nothing that cuts off."""
    for layer in layers(model):
        module = layer.module
        if isinstance(module, nn.Conv2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.running_var)
    return model.double()


@LAWS
@given(architectures())
def test_a_unit_depends_on_the_pixels_of_its_field_and_on_no_other(wanted: Architecture) -> None:
    model = _linear(build(wanted))
    image = torch.rand(1, 3, wanted.image_side, wanted.image_side, dtype=torch.float64, requires_grad=True)
    value = image
    gaps = 1  # a stride above the kernel, or dilation over one, leaves pixels out that lie inside the box
    for layer, row in zip(layers(model), geometry(model), strict=True):
        if len(row.shape) < 3 or row.field is None or layer.kind == "avgpool":
            break
        module = layer.module
        if isinstance(module, nn.MaxPool2d):
            shape = module.kernel_size, module.stride, module.padding, module.ceil_mode
            value = nn.functional.avg_pool2d(value, *shape)
        elif layer.kind not in ACTIVATION_KINDS:
            value = module(value)
        if isinstance(module, nn.Conv2d):
            gaps = max(gaps, module.dilation[0], module.stride[0] - module.kernel_size[0] + 1)
        assert tuple(value.shape[1:]) == row.shape
        if layer.kind not in ("conv", "pool"):
            continue
        last = row.shape[1] - 1
        for unit in {(0, 0), (last // 2, last // 3), (last, last)}:
            (gradient,) = torch.autograd.grad(value[0, 0, unit[0], unit[1]], image, retain_graph=True)
            seen = (gradient[0] != 0).any(0)
            whole = row.field.box(*unit)
            box = whole.clipped(wanted.image_side, wanted.image_side)
            inside = torch.zeros_like(seen)
            inside[box.y0 : box.y1, box.x0 : box.x1] = True
            assert not (seen & ~inside).any(), (wanted.plan, row.name, unit)
            # At the border a stride may leave the last pixels unread, and the next window then lies on padding.
            if gaps == 1 and whole == box:
                assert torch.equal(seen, inside), (wanted.plan, row.name, unit)


@LAWS
@given(architectures(), st.integers(0, 99))
def test_all_class_activation_maps_of_one_pass_are_those_of_captum(wanted: Architecture, seed: int) -> None:
    model = lively(build(wanted), seed)
    images = torch.rand(2, 3, wanted.image_side, wanted.image_side, generator=torch.Generator().manual_seed(seed))
    targets = torch.tensor([0, 1])
    for name, found in grad_cam_all_layers(model, images, targets, relu=False).items():
        module = next(layer.module for layer in layers(model) if layer.name == name)
        clean = lively(build(wanted), seed)
        twin = clean.get_submodule(next(path for path, other in model.named_modules() if other is module))
        theirs = LayerGradCam(clean, twin).attribute(images.clone(), target=targets)[:, 0]
        assert torch.allclose(found.values, theirs, rtol=1e-4, atol=1e-6), (wanted.plan, name)


@LAWS
@given(architectures(), st.integers(0, 99))
def test_the_ledger_of_relevance_balances_or_the_network_is_refused_by_the_name_of_a_layer(
    wanted: Architecture, seed: int
) -> None:
    model = lively(build(wanted), seed)
    images = torch.rand(1, 3, wanted.image_side, wanted.image_side, generator=torch.Generator().manual_seed(seed))
    try:
        books = ledger(model, images, torch.tensor([1]), preset="epsilon_plus_flat")
    except InputRefused as refused:
        if "batch norm" not in str(refused):
            raise
        return
    with torch.no_grad():
        assert torch.allclose(books.score.float(), model(images)[:, 1], rtol=1e-4, atol=1e-4)
    size = books.entering.abs().amax(1) + books.bias.abs().sum(1) + books.epsilon.abs().sum(1)
    assert (books.gap.abs().amax(1) < 1e-5 * size).all(), wanted.plan
    assert (books.between.abs().amax(1) < 1e-6 * size).all(), wanted.plan
    assert torch.allclose(books.pixels.double().sum((1, 2)), books.leaving[:, -1], atol=1e-4)


@LAWS
@given(architectures(), st.integers(0, 99))
def test_occlusion_that_recomputes_only_what_a_patch_reaches_equals_the_whole_network(
    wanted: Architecture, seed: int
) -> None:
    model = lively(build(wanted), seed)
    images = torch.rand(1, 3, wanted.image_side, wanted.image_side, generator=torch.Generator().manual_seed(seed))
    found = attribute(model, images, method="occlusion", target=torch.tensor([1]))
    wrapped = nn.Sequential(model)  # of which nothing is known: every patch costs a whole pass
    assert torch.allclose(
        found.values, attribute(wrapped, images, method="occlusion", target=torch.tensor([1])).values, atol=1e-4
    )


@pytest.mark.parametrize(
    ("plan", "wrong"),
    [
        ("64 64 Q | K", "'Q' in the plan is no layer"),
        ("M | K", "no convolution"),
        ("64 | 10 | K", "more than one"),
        ("64 |", "the head"),
        ("0 | K", "0 channels"),
        ("64s0 | K", "of 0"),
        ("K M | 10", "K, one output for each class"),
        ("64 | 10s2 K", "linear layer"),
        ("64 | 10 64/3 K", "after a linear layer"),
        ("64 M2p2 | K", "more than half"),
        ("64 " * 1200 + "| K", "steps"),
        ("9999999999 | K", "channels"),
        ("64 leaky0.1/2 | K", "no layer"),
        ("64 G0 | K", "map of 0"),
    ],
)
def test_a_plan_that_is_none_is_refused_by_its_word(plan: str, wrong: str) -> None:
    with pytest.raises(InputRefused, match=wrong):
        architecture(plan)


def renamed(model: nn.Module) -> dict[str, torch.Tensor]:
    """Its state dict as of a module whose layers are called conv1, bn1, fc1, with no numbers between that tell of pools."""
    kinds = {nn.Conv2d: "conv", nn.Linear: "fc", nn.BatchNorm2d: "bn", nn.BatchNorm1d: "bn"}
    found: dict[str, torch.Tensor] = {}
    count: dict[str, int] = {}
    for path, module in model.named_modules():
        if kind := kinds.get(type(module)):
            count[kind] = count.get(kind, 0) + 1
            found |= {
                f"{kind}{count[kind]}.{leaf}": model.state_dict()[f"{path}.{leaf}"] for leaf in module.state_dict()
            }
    return found


@settings(LAWS, max_examples=60)
@given(wanted=architectures(), seed=st.integers(0, 99), numbered=st.booleans())
def test_a_bare_state_dict_is_read_as_its_network_or_refused_or_says_what_it_assumes(
    wanted: Architecture, seed: int, numbered: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = lively(build(wanted), seed)
    file = Path(tmp_path_factory.getbasetemp()) / "bare.pth"
    torch.save(model.state_dict() if numbered else renamed(model), file)
    try:
        read = load(file, image_size=wanted.image_side, mean=wanted.mean, std=wanted.std)
    except InputRefused:
        return
    images = torch.rand(2, 3, wanted.image_side, wanted.image_side, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        theirs, ours = model(images), build(read)(images)
    known = read.provenance.evidence
    if theirs.shape == ours.shape and torch.allclose(theirs, ours, atol=1e-5 * float(theirs.abs().max())):
        return
    assert any(fact.alarm for fact in known) or TRACELESS.search(wanted.plan), wanted.plan
    assert any("--plan" in fact.settled_by for fact in (*known, *read.provenance.alternatives))
