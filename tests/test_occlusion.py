"""Occlusion from windows is Captum's Occlusion, bit for bit, on every kind of network that begins with local layers."""

import pytest
import torch
from captum.attr import Occlusion
from loose_options import attribute
from torch import Tensor, nn

from vgg_viz.attribution import Against, MethodOptions, Neuron, methods
from vgg_viz.attribution.incremental_forward import AFTER, AT_MOST, plan
from vgg_viz.attribution.methods.occlusion import squares
from vgg_viz.attribution.options import baseline_for
from vgg_viz.capture.hooks import bypass_modules, eval_mode, on_forward
from vgg_viz.errors import InputRefused
from vgg_viz.maths.receptive_field import Window
from vgg_viz.models.build import build
from vgg_viz.models.names import find


def network(name: str, **overrides: object) -> nn.Module:
    """A network whose logits differ, with batch-norm statistics that are not 0 and 1."""
    model = build(name, seed=3, num_classes=6, **overrides)
    dice = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.mul_(20)
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(0.2 * torch.randn(module.running_mean.shape, generator=dice))
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=dice))
    return model


def pictures(count: int, height: int, width: int, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))


def by_captum(model: nn.Module, images: Tensor, target: int, window: int, stride: int, at_once: int) -> Tensor:
    """Captum about each picture alone, as `attribute` would ask it."""
    channels = images.shape[1]
    with eval_mode(model), torch.no_grad():
        maps = [
            Occlusion(model).attribute(
                picture,
                sliding_window_shapes=(channels, window, window),
                strides=(channels, stride, stride),
                baselines=baseline_for(picture, "mean"),
                target=target,
                perturbations_per_eval=at_once,
            )
            for picture in images.clone(memory_format=torch.channels_last).split(1)
        ]
    return torch.cat(maps)[:, 0]


def windows_used(model: nn.Module, height: int, width: int, window: int, stride: int) -> bool:
    options = MethodOptions(window=window, stride=stride)
    cost = methods()["occlusion"].cost(model, options, height)
    return height != width or (cost is not None and cost < squares(options, height, width))


@pytest.mark.parametrize(
    ("name", "overrides", "size", "window", "stride", "batch"),
    [
        ("tiny_vgg", {"image_side": 64}, (64, 64), 8, 4, 64),
        ("tiny_vgg", {"image_side": 64}, (64, 64), 8, 4, None),
        ("tiny_vgg", {"image_side": 64}, (64, 64), 7, 5, 33),  # the last square stands out of the picture
        ("tiny_vgg", {"image_side": 64}, (64, 64), 8, 4, 4),  # 225 places: the last goes alone
        ("tiny_vgg", {"image_side": 48, "padding": 1}, (48, 48), 5, 5, 16),
        ("tiny_vgg", {"image_side": 61}, (61, 61), 9, 6, 16),  # the pools drop a line
        ("tiny_vgg", {"image_side": 48, "in_channels": 1, "mean": (0.5,), "std": (0.2,)}, (48, 48), 6, 3, 16),
        ("vgg11", {"image_side": 64, "width": 0.1}, (80, 112), 9, 7, 16),
        ("vgg11_bn", {"image_side": 96, "width": 0.1}, (96, 96), 8, 8, 16),
        ("a_lrn", {"image_side": 96, "width": 0.1}, (96, 96), 8, 8, 16),
        ("c", {"image_side": 64, "width": 0.2}, (64, 64), 8, 8, 32),
        ("vgg16", {"image_side": 64, "width": 0.1, "pooled": None}, (64, 64), 5, 5, 16),
        ("vgg13", {"image_side": 64, "width": 0.1, "pooled": 2, "dense": True}, (96, 80), 9, 9, 16),
    ],
)
def test_the_map_is_captums_bit_for_bit(name, overrides, size, window, stride, batch):
    model = network(name, **overrides)
    images = pictures(2, *size, channels=model.architecture.in_channels)
    assert windows_used(model, *size, window, stride)
    found = attribute(model, images, method="occlusion", target=2, window=window, stride=stride, batch=batch)
    at_once = AT_MOST if name == "c" else max(batch or 64, AFTER)
    expected = by_captum(model, images, 2, window, stride, at_once)
    assert expected.abs().max() > 1e-3
    assert torch.equal(found.values, expected)


def test_many_groups_of_places_say_what_one_says(monkeypatch):
    import vgg_viz.attribution.incremental_forward as windows

    model, images = network("vgg11", image_side=64, width=0.1), pictures(1, 96, 96)
    asked = {"method": "occlusion", "target": 1, "window": 9, "stride": 4}
    spans = [(4 * i, min(4 * i + 8, 95)) for i in range(23)]
    one = plan(model, (96, 96), spans, spans, 8)
    few = attribute(model, images, **asked)
    monkeypatch.setattr(windows, "CUT_COST", 0)
    monkeypatch.setattr(windows, "WEIGHT_COST", 0)
    monkeypatch.setattr(windows, "WINDOWS", 3)
    monkeypatch.setattr(windows, "KEPT", 1)
    every = plan(model, (96, 96), spans, spans, 8)
    assert len(every.rows.classes) > len(one.rows.classes)
    assert every.share() < one.share()
    many = attribute(model, images, **asked)
    assert torch.equal(few.values, many.values)
    assert many.passes < few.passes


def test_the_work_that_is_announced_is_the_work_that_is_done(monkeypatch):
    """Multiply-adds counted at the convolutions themselves, while they run."""
    model, images = network("tiny_vgg", image_side=64), pictures(1, 64, 64)
    work = 0
    true = nn.functional.conv2d

    def counted(maps: Tensor, weight: Tensor, *rest: object) -> Tensor:
        nonlocal work
        found = true(maps, weight, *rest)
        work += weight[0].numel() * found.numel()
        return found

    monkeypatch.setattr(nn.functional, "conv2d", counted)
    options = MethodOptions(window=8, stride=4)
    announced = methods()["occlusion"].cost(model, options, 64)
    found = attribute(model, images, method="occlusion", target=2, window=8, stride=4)
    assert found.passes == announced
    whole = 62 * 62 * 270 + 60 * 60 * 900 + 28 * 28 * 900 + 26 * 26 * 900
    # The classifier is not a convolution; one bare picture and two for its maps are whole.
    expected = (announced - 3) * (whole + 1690 * 6) - 225 * 1690 * 6 + 3 * whole
    assert work == pytest.approx(expected, rel=1e-9)


def test_a_neighbouring_map_is_not_touched_and_listeners_at_the_root_hear_every_place():
    model, images = network("tiny_vgg", image_side=64), pictures(1, 64, 64)
    heard = []
    with on_forward(model, heard.append):
        attribute(model, images, method="occlusion", target=2, window=8, stride=8)
    assert sum(heard) == 64 + 1


def test_one_class_against_another_is_the_difference_of_their_maps():
    model, images = network("tiny_vgg", image_side=64), pictures(2, 64, 64)
    asked = {"method": "occlusion", "window": 8, "stride": 8}
    first, second = (attribute(model, images, target=target, **asked).values for target in (3, 1))
    both = attribute(model, images, target=Against(3, 1), **asked)
    assert both.passes < 64
    assert torch.allclose(both.values, first - second, atol=1e-5 * float(first.abs().max()))


@pytest.mark.parametrize("neuron", [Neuron("conv2_1", 3, 4, 5), Neuron("conv2_2", 1), Neuron("fc3", 2)])
def test_a_unit_below_is_asked_about_whole_pictures(neuron):
    """Windows do not come to the layer that is listened to, so they must not be used; above the chain they may."""
    model, images = network("tiny_vgg", image_side=64), pictures(1, 64, 64)
    found = attribute(model, images, method="occlusion", target=neuron, window=16, stride=16)
    said = []

    def listen(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        unit = output[:, neuron.channel]
        said.append(unit if unit.ndim == 1 else unit[:, 4, 5].clone() if neuron.row else unit.mean((1, 2)))

    hook = find(model, neuron.layer).module.register_forward_hook(listen)
    nothing = images.mean((2, 3), keepdim=True)
    with torch.no_grad():
        model(images)
        for y in range(0, 64, 16):
            for x in range(0, 64, 16):
                patched = images.clone()
                patched[:, :, y : y + 16, x : x + 16] = nothing
                model(patched)
    hook.remove()
    bare, *rest = said
    expected = (bare - torch.cat(rest)).view(1, 4, 4).repeat_interleave(16, 1).repeat_interleave(16, 2)
    assert torch.allclose(found.values, expected, atol=1e-6)


def test_a_network_that_somebody_listens_to_or_that_is_not_ours_is_asked_about_whole_pictures():
    model = network("tiny_vgg", image_side=64)
    spans = [(8 * i, 8 * i + 7) for i in range(8)]
    assert plan(model, (64, 64), spans, spans, 8) is not None
    hook = model.conv_block_1[2].register_forward_hook(lambda *_: None)
    assert plan(model, (64, 64), spans, spans, 8) is None
    hook.remove()
    with bypass_modules(model, "conv_block_1"):
        assert plan(model, (64, 64), spans, spans, 8) is None

    class Shortcut(type(model)):
        pass

    assert plan(Shortcut(model.architecture), (64, 64), spans, spans, 8) is None
    assert plan(model, (64, 64), [(0, 63)], [(0, 63)], 8) is None, "everything changes: nothing is saved"


def test_passing_over_brings_every_module_back_also_when_the_block_raises():
    model, images = network("tiny_vgg", image_side=64), pictures(2, 64, 64)
    with torch.no_grad():
        before = model(images)
        maps = model.conv_block_2(model.conv_block_1(model.normalise(images)))
        with bypass_modules(model, "normalise", "conv_block_1", "conv_block_2"):
            assert torch.equal(model(maps), before)
        with pytest.raises(KeyError), bypass_modules(model, "conv_block_1"):
            raise KeyError
        with pytest.raises(AttributeError), bypass_modules(model, "conv_block_1", "conv_block_9"):
            pass
        assert not any("forward" in vars(module) for module in model.modules())
        assert torch.equal(model(images), before)


@pytest.mark.parametrize(
    "window", [Window(3, 1, 1), Window(2, 2), Window(3, 2, 1), Window(1), Window(3, 1, 2, 2), Window(5, 3, 0)]
)
def test_outputs_that_read_an_input_are_found_by_arithmetic(window):
    side = 13
    outputs = window.out(side)
    for first in range(side):
        for last in range(first, side):
            readers = [
                unit
                for unit in range(outputs)
                if any(
                    first <= unit * window.stride - window.padding + tap * window.dilation <= last
                    for tap in range(window.kernel)
                )
            ]
            low, high = window.reached(first, last, outputs)
            assert 0 <= low <= high < outputs
            if readers:
                assert low <= readers[0]
                assert readers[-1] <= high
                assert high - low == readers[-1] - readers[0] or window.dilation > 1


# ---------------------------------------------------------------- several sizes


class Linear(nn.Module):
    """Adds up evidence: the score is the pictures' product with its weights."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(2)))

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", images, self.weight)


@pytest.mark.parametrize(("height", "width", "windows"), [(16, 16, (4, 8)), (18, 25, (5, 3, 18)), (16, 16, (1,))])
def test_several_sizes_of_a_linear_network_are_local_means_of_its_evidence(height, width, windows):
    model, images = Linear(height, width), pictures(2, height, width)
    found = attribute(model, images, method="occlusion_multiscale", target=1, windows=windows, baseline="black")
    assert found.settings["windows"] == windows
    for picture, values in zip(images, found.values, strict=True):
        evidence = (model.weight[1].detach() * picture).sum(0).double()
        maps = []
        for side in windows:
            step = max(1, side // 2)
            total, covered = torch.zeros(2, height, width, dtype=torch.float64)
            for y in range(0, height - side + step, step):
                for x in range(0, width - side + step, step):
                    here = slice(y, y + side), slice(x, x + side)  # beyond the border there is nothing to hide
                    total[here] += evidence[here].mean()
                    covered[here] += 1
            maps.append(total / covered)
        assert torch.allclose(values.double(), torch.stack(maps).mean(0), atol=1e-5)
        if windows == (1,):
            assert torch.allclose(values.double(), evidence, atol=1e-5)


def test_several_sizes_are_the_mean_of_plain_occlusions_by_area_also_from_windows():
    model, images = network("tiny_vgg", image_side=64), pictures(2, 64, 64)
    found = attribute(model, images, method="occlusion_multiscale", target=2, windows=(8, 16, 32))
    alone = [
        attribute(model, images, method="occlusion", target=2, window=side, stride=side // 2).values / side**2
        for side in (8, 16, 32)
    ]
    expected = torch.stack(alone).mean(0)
    assert torch.allclose(found.values, expected, atol=1e-4 * float(expected.abs().max()))
    assert torch.equal(found.values, attribute(model, images, method="occlusion_multiscale", target=2).values), (
        "an eighth to a half"
    )
    assert found.passes < 225 + 49 + 9 + 1
    assert found.passes == methods()["occlusion_multiscale"].cost(model, MethodOptions(), 64)


def test_a_size_that_does_not_fit_and_no_size_are_refused():
    model, images = network("tiny_vgg", image_side=48), pictures(1, 48, 48)
    with pytest.raises(InputRefused, match="a square of 64 px that moves by 32 px"):
        attribute(model, images, method="occlusion_multiscale", windows=(8, 64))
    with pytest.raises(InputRefused, match="no size of a square came"):
        attribute(model, images, method="occlusion_multiscale", windows=())
