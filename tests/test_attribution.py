"""Attribution methods against networks whose right answer is known by arithmetic."""

import copy

import numpy as np
import pytest
import torch
from loose_options import attribute
from torch import Tensor, nn

from vgg_viz.attribution import methods
from vgg_viz.errors import InputRefused, UnknownName, VggVizError
from vgg_viz.maths.metrics import mass_inside, pointing_hits, rank_correlation
from vgg_viz.models.build import build

PIXEL_GRADIENTS = ("saliency", "input_x_gradient", "integrated_gradients", "smoothgrad", "guided_backprop")


def pictures(count: int = 2, side: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def linear(side: int = 16, classes: int = 4) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, classes))
    nn.init.normal_(model[1].weight, generator=torch.Generator().manual_seed(1))
    return model


class Bright(nn.Module):
    """Counts bright spots: class 0 likes them, class 1 does not, class 2 does not care; reads only `corner` if given."""

    def __init__(self, corner: int | None = None) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(inplace=True))
        self.features.requires_grad_(False)
        self.features[0].weight[:] = 1 / 27
        self.features[0].bias[:] = -0.4
        self.corner = corner

    def forward(self, images: Tensor) -> Tensor:
        seen = self.features(images)[:, :, : self.corner, : self.corner].mean((1, 2, 3))
        return torch.stack([10 * seen, -10 * seen, 0 * seen], dim=1)


# ---------------------------------------------------------------- a linear network: gradient = weight


def test_the_gradient_of_a_linear_network_is_its_weight():
    model, images = linear(), pictures()
    weights = model[1].weight.detach().view(4, 3, 16, 16)[[2, 0]]
    of = {name: attribute(model, images, method=name, target=[2, 0]).values for name in PIXEL_GRADIENTS}
    largest = weights.abs().amax(1)
    assert torch.allclose(of["saliency"], largest)
    assert torch.allclose(of["smoothgrad"], largest, atol=1e-6), "noise moves nothing in a linear network"
    assert torch.allclose(of["guided_backprop"], largest), "there is no ReLU to guide"
    assert torch.allclose(of["input_x_gradient"], (weights * images).sum(1), atol=1e-6)
    assert torch.allclose(of["integrated_gradients"], (weights * images).sum(1), atol=1e-5)


def blurred_by_hand(picture: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur, pixel by pixel in float64, borders repeated."""
    reach, (_, height, width) = round(3 * sigma), picture.shape
    found = np.zeros_like(picture)
    for y, x in np.ndindex(height, width):
        total = 0.0
        for dy, dx in np.ndindex(2 * reach + 1, 2 * reach + 1):
            weight = np.exp(-((dy - reach) ** 2 + (dx - reach) ** 2) / (2 * sigma**2))
            here = min(max(y + dy - reach, 0), height - 1), min(max(x + dx - reach, 0), width - 1)
            found[:, y, x] += weight * picture[:, *here]
            total += weight
        found[:, y, x] /= total
    return found


@pytest.mark.parametrize(
    "baseline",
    ["black", "grey", "white", "mean", "blur", 0.25, torch.rand(3, 1, 1), torch.rand(2, 3, 16, 16)],
    ids=["black", "grey", "white", "mean", "blur", "number", "colour", "pictures"],
)
def test_integrated_gradients_of_a_linear_network_are_weight_times_step_from_the_baseline(baseline):
    model, images = linear(), pictures()
    nothing = {"black": 0.0, "grey": 0.5, "white": 1.0, "mean": images.mean((2, 3), keepdim=True)}
    if baseline == "blur":
        start = torch.stack([torch.from_numpy(blurred_by_hand(picture.numpy(), 1.0)) for picture in images])
    else:
        start = nothing[baseline] if isinstance(baseline, str) else baseline
    weights = model[1].weight.detach().view(4, 3, 16, 16)[3]
    found = attribute(model, images, method="integrated_gradients", target=3, baseline=baseline, batch=1)
    assert torch.allclose(found.values, (weights * (images - start)).sum(1), atol=1e-5)
    assert found.residual.abs().max() < 1e-4


@pytest.mark.parametrize(("window", "stride"), [(4, 2), (4, 4), (3, 1), (6, 5)])
def test_occlusion_of_a_linear_network_is_the_mean_sum_of_the_squares_over_a_pixel(window, stride):
    model, images = linear(), pictures(1)
    product = (model[1].weight.detach().view(4, 3, 16, 16)[1] * images[0]).sum(0)
    total, covered = torch.zeros(16, 16), torch.zeros(16, 16)
    for y in range(0, 16 - window + 1, stride):
        for x in range(0, 16 - window + 1, stride):
            here = slice(y, y + window), slice(x, x + window)
            total[here] += product[here].sum()
            covered[here] += 1
    found = attribute(model, images, method="occlusion", target=1, baseline="black", window=window, stride=stride)
    assert torch.allclose(found.values[0], total / covered, atol=1e-4)
    assert found.passes == ((16 - window) // stride + 1) ** 2 + 1


def test_occlusion_by_the_pictures_own_mean_colour_changes_nothing_on_a_plain_picture():
    plain = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    found = attribute(linear(), plain, method="occlusion", target=0)
    assert found.values.abs().max() < 1e-5


# ---------------------------------------------------------------- laws on a real network


def lively(**overrides: object) -> nn.Module:
    """A Tiny VGG whose logits differ: a random one's hardly do."""
    model = build("tiny_vgg", seed=1, image_side=32, **overrides)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
        model.classifier[1].weight.mul_(20)
        model.conv_block_1[0].bias.add_(0.05)
    return model


def test_integrated_gradients_add_up_to_the_change_of_the_score():
    model, images = lively(), pictures(3, 32)
    found = attribute(model, images, method="integrated_gradients", target="predicted", steps=64)
    with torch.no_grad():
        start, end = model(torch.zeros_like(images)), model(images)
    change = (end - start).gather(1, found.targets[:, None])[:, 0]
    gap = found.values.sum((1, 2)) - change
    assert torch.allclose(gap, found.residual, atol=1e-4)
    assert (gap.abs() < 0.02 * change.abs()).all()


def test_more_steps_make_the_residual_smaller():
    model, images = lively(), pictures(4, 32)
    rough, fine = (
        attribute(model, images, method="integrated_gradients", steps=steps).residual.abs().mean() for steps in (2, 50)
    )
    assert fine < rough / 5


def test_guided_backprop_equals_a_network_with_a_guided_relu():
    class Guided(torch.autograd.Function):
        @staticmethod
        def forward(context, values):
            context.save_for_backward(values)
            return values.clamp(min=0)

        @staticmethod
        def backward(context, slope):
            (values,) = context.saved_tensors
            return slope.clamp(min=0) * (values > 0)

    class GuidedReLU(nn.Module):
        def forward(self, values):
            return Guided.apply(values)

    model, images = lively(), pictures(2, 32)
    oracle = copy.deepcopy(model)
    for block in (oracle.conv_block_1, oracle.conv_block_2):
        block[1], block[3] = GuidedReLU(), GuidedReLU()
    x = images.clone().requires_grad_()
    oracle(x)[:, 3].sum().backward()
    for inplace in (True, False):
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = inplace
        found = attribute(model, images, method="guided_backprop", target=3)
        assert torch.allclose(found.values, x.grad.abs().amax(1), atol=1e-6), f"inplace={inplace}"


def test_smoothgrad_equals_a_loop_over_noisy_copies():
    model, images = lively(), pictures(2, 32)
    found = attribute(model, images, method="smoothgrad", target=1, samples=5, noise=0.2, seed=7)
    for picture, values in zip(images, found.values, strict=True):
        spread = 0.2 * (picture.max() - picture.min())
        noise = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(7))
        x = (picture + noise * spread).requires_grad_()
        model(x)[:, 1].sum().backward()
        assert torch.allclose(values, x.grad.mean(0).abs().amax(0), atol=1e-6)


def test_smoothgrad_follows_its_seed():
    model, images = lively(), pictures(1, 32)
    one, again, other = (attribute(model, images, method="smoothgrad", samples=4, seed=s).values for s in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("name", methods())
def test_a_map_does_not_depend_on_the_neighbours_in_the_batch(name):
    # In float64: in float32 a ReLU within rounding of zero may open in one batch and not in another.
    model, images = lively().double(), pictures(3, 32).double()
    options = {"method": name, "target": [1, 2, 3], "steps": 4, "samples": 4, "window": 8, "masks": 64}
    together = attribute(model, images, **options)
    in_pairs = attribute(model, images, **options, batch=2)
    alone = attribute(model, images[1:2], **(options | {"target": 2}))
    largest = together.values.abs().max()
    assert largest > 0
    assert (together.values - in_pairs.values).abs().max() < 1e-5 * largest
    assert (together.values[1] - alone.values[0]).abs().max() < 1e-5 * largest


# ---------------------------------------------------------------- planted evidence


@pytest.mark.parametrize("name", [*PIXEL_GRADIENTS, "occlusion"])
def test_a_network_that_reads_only_a_corner_is_caught(name):
    images = 0.5 + 0.5 * pictures(2, 32)
    found = attribute(Bright(corner=8), images, method=name, target=0, window=4, baseline="black")
    corner = torch.zeros(2, 32, 32, dtype=torch.bool)
    corner[:, :12, :12] = True  # 8 units, one more pixel by the convolution, up to three by the occluding square
    assert found.values.abs().max() > 0
    assert mass_inside(found.values.abs(), corner).min() > 0.999


@pytest.mark.parametrize("name", [n for n in methods() if n not in ("guided_grad_cam", "deconvolution")])
def test_a_bright_object_on_a_dark_ground_is_pointed_at(name):
    # How far a map reaches beyond what it is about: a cell of RISE; a noisy pixel whose neighbour decides, for VarGrad.
    reach = {"rise": 5, "vargrad": 2}.get(name, 1)
    images = torch.zeros(2, 3, 32, 32)
    mask = torch.zeros(2, 32, 32, dtype=torch.bool)
    for i, (y, x) in enumerate([(4, 6), (18, 20)]):
        images[i, :, y : y + 8, x : x + 8] = 1.0
        mask[i, max(0, y - reach) : y + 8 + reach, max(0, x - reach) : x + 8 + reach] = True
    found = attribute(Bright(), images, method=name, target=0, window=4, windows=(2, 4), baseline="black")
    assert pointing_hits(found.values, mask, tolerance=2).tolist() == [1, 1]
    assert mass_inside(found.values, mask).min() > 0.85


def test_deconvolution_alone_does_not_say_where_anything_is():
    # Its ReLUs look only at what comes back, which is the same at every place here; only pools would tie it to the picture.
    images = torch.zeros(1, 3, 32, 32)
    images[:, :, 4:12, 6:14] = 1.0
    inner = attribute(Bright(), images, method="deconvolution", target=0).values[:, 1:-1, 1:-1]
    assert float(inner.min()) == pytest.approx(float(inner.max()))
    assert float(inner.min()) > 0


def test_evidence_against_a_class_is_negative_where_signs_are_kept():
    images = torch.zeros(1, 3, 32, 32)
    images[:, :, 10:18, 10:18] = 1.0
    for name in ("input_x_gradient", "integrated_gradients", "occlusion"):
        values = attribute(Bright(), images, method=name, target=1, window=4, baseline="black").values
        assert values.sum() < 0
        assert methods()[name].signed


# ---------------------------------------------------------------- targets


def test_targets_are_the_classes_they_name():
    model, images = lively(), pictures(4, 32)
    with torch.no_grad():
        ranked = model(images).argsort(1, descending=True)
    labels = torch.tensor([3, 1, 4, 1])
    for target, expected in [
        ("predicted", ranked[:, 0]),
        ("runner-up", ranked[:, 1]),
        ("true", labels),
        (5, torch.full((4,), 5)),
        (labels, labels),
        ([0, 1, 2, 3], torch.arange(4)),
        (torch.tensor(2), torch.full((4,), 2)),
    ]:
        found = attribute(model, images, method="saliency", target=target, labels=labels)
        assert torch.equal(found.targets, expected), target
    by_name = attribute(model, images, method="saliency", target="runner-up").values
    by_index = attribute(model, images, method="saliency", target=ranked[:, 1]).values
    assert torch.equal(by_name, by_index)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"target": "truth"}, "no target 'truth'; did you mean 'true'"),
        ({"target": "true"}, "needs the labels"),
        ({"target": 10}, "class 10 was asked for; the network knows classes 0 to 9"),
        ({"target": -1}, "class -1"),
        ({"target": [0, 1, 2]}, "3 targets came for 2 pictures"),
        ({"target": 0.5}, "whole numbers"),
        ({"method": "gradcam"}, "did you mean 'grad_cam'"),
        ({"layer": "conv9_9"}, "no layer 'conv9_9'"),
        ({"layer": "fc3"}, "fc3 has no map"),
        ({"method": "saliency", "layer": "conv2_2"}, "reads no layer"),
        ({"method": "occlusion", "window": 40}, "must fit into the picture"),
        ({"method": "occlusion", "window": 4, "stride": 5}, "no more than its own side"),
        ({"method": "integrated_gradients", "baseline": "blak"}, "no baseline 'blak'"),
        ({"method": "integrated_gradients", "baseline": torch.zeros(5)}, "broadcasts"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(asked, sentence):
    with pytest.raises(InputRefused, match=sentence):
        attribute(lively(), pictures(2, 32), **asked)


def test_a_picture_without_a_batch_axis_is_a_batch_of_one():
    one = pictures(1, 32)
    assert torch.equal(attribute(lively(), one[0]).values, attribute(lively(), one).values)


def test_what_has_too_many_axes_or_no_picture_is_refused():
    for wrong in (pictures(1, 32)[None], pictures(1, 32)[:0]):
        with pytest.raises(InputRefused, match="B, C, H, W"):
            attribute(lively(), wrong)


def test_a_network_of_one_class_has_no_runner_up():
    with pytest.raises(InputRefused, match="no runner-up"):
        attribute(lively(num_classes=1), pictures(1, 32), target="runner-up")


# ---------------------------------------------------------------- registry


def test_every_method_teaches_and_cites():
    for name, method in methods().items():
        assert method.about.endswith("."), name
        assert any(year in method.source for year in map(str, range(2013, 2030))), name
        assert method.unit
        assert attribute(lively(), pictures(1, 32), method=name, steps=2, samples=2, window=16).unit == method.unit


def test_a_new_method_is_one_decorated_function():
    from vgg_viz.attribution import Map, method
    from vgg_viz.attribution.method import METHODS

    with METHODS.temporarily():

        @method(
            "grey",
            title="Grey",
            family="gradient",
            signed=False,
            unit="intensity",
            about="Says what it sees.",
            source="2026",
        )
        def grey(model, images, targets, options):
            return Map(images.mean(1))

        found = attribute(lively(), pictures(2, 32), method="grey")
        assert torch.allclose(found.values, pictures(2, 32).mean(1))
        with pytest.raises(VggVizError, match="registered twice"):
            method("grey", title="", family="cam", signed=False, unit="", about="", source="")(grey)
    with pytest.raises(UnknownName):
        attribute(lively(), pictures(2, 32), method="grey")


# ---------------------------------------------------------------- layouts and types


@pytest.mark.parametrize("name", methods())
def test_channels_last_and_no_grad_and_inference_mode_change_nothing(name):
    model, images = lively(), pictures(2, 32)
    options = {"method": name, "target": 2, "steps": 4, "samples": 4, "window": 8, "masks": 64}
    plain = attribute(model, images, **options).values
    with torch.no_grad():
        quiet = attribute(model, images, **options).values
    with torch.inference_mode():
        inferred = attribute(model, images.clone(), **options).values
    last = attribute(
        model.to(memory_format=torch.channels_last), images.contiguous(memory_format=torch.channels_last), **options
    ).values
    assert torch.equal(plain, quiet)
    assert torch.equal(plain, inferred)
    assert (plain - last).abs().max() < 1e-4 * plain.abs().max()


@pytest.mark.parametrize("name", methods())
def test_half_precision_tells_the_same_story(name):
    model, images = lively(), pictures(1, 32)
    options = {"method": name, "target": 2, "steps": 4, "samples": 2, "window": 8, "masks": 64}
    full = attribute(model, images, **options)
    half = attribute(model.to(torch.bfloat16), images.bfloat16(), **options)
    assert half.values.dtype == torch.float32
    assert rank_correlation(full.values, half.values).item() > 0.8


@pytest.mark.parametrize("name", [name for name, about in methods().items() if about.layered])
def test_the_settings_of_a_map_name_the_layer_that_was_used(name):
    model = build("tiny_vgg", num_classes=3, image_side=32, seed=1)
    found = attribute(model, pictures(2, 32), method=name, target=1, masks=4)
    assert found.settings["layer"] == "relu2_2"
    asked = attribute(model, pictures(2, 32), method=name, target=1, masks=4, layer="relu1_2")
    assert asked.settings["layer"] == "relu1_2"
    assert torch.equal(
        attribute(model, pictures(2, 32), method=name, target=1, masks=4, layer="relu2_2").values, found.values
    )


def test_a_baseline_for_each_picture_is_told_whole_however_the_batch_is_cut():
    baseline = torch.stack([torch.full((3, 16, 16), value) for value in (0.0, 0.5, 1.0)])
    about = {"method": "integrated_gradients", "target": 0, "baseline": baseline}
    found = [attribute(linear(), pictures(3), batch=batch, **about) for batch in (1, 2, 3)]
    assert {one.settings["baseline"] for one in found} == {"tensor (3, 3, 16, 16), mean 0.5"}
    for one in found[1:]:
        torch.testing.assert_close(one.values, found[0].values)
