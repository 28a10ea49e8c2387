"""The judge of attribution methods is judged: known good and known bad maps must get what they deserve."""

import math

import pytest
import torch
from test_capture import same, state_of
from torch import Tensor, nn

from vgg_viz.attribution import Map, attribute, method, methods
from vgg_viz.attribution.method import METHODS
from vgg_viz.attribution.pointing import Pointing, controls_for, pointing_of
from vgg_viz.attribution.trust import evidence, judge, randomised
from vgg_viz.models.build import build
from vgg_viz.models.names import find


def squares(count: int, seed: int, side: int = 32) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy grey pictures with one red, green or blue square: pictures, labels, masks."""
    dice = torch.Generator().manual_seed(seed)
    images = 0.3 + 0.3 * torch.rand(count, 1, side, side, generator=dice).expand(-1, 3, -1, -1).clone()
    labels = torch.randint(3, (count,), generator=dice)
    masks = torch.zeros(count, side, side, dtype=torch.bool)
    for i, (y, x) in enumerate(torch.randint(0, side - 10, (count, 2), generator=dice).tolist()):
        masks[i, y : y + 10, x : x + 10] = True
        images[i, :, y : y + 10, x : x + 10] = 0.1
        images[i, labels[i], y : y + 10, x : x + 10] = 0.9
    return images, labels, masks


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A Tiny VGG that knows red, green and blue squares: learned here, in a second or two."""
    model = build("tiny_vgg", num_classes=3, image_side=32, seed=0)
    images, labels, _ = squares(256, seed=1)
    rule = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(90):
        here = torch.arange(32) + 32 * (step % 8)
        rule.zero_grad()
        nn.functional.cross_entropy(model(images[here]), labels[here]).backward()
        rule.step()
    images, labels, _ = squares(64, seed=2)
    assert (model(images).argmax(1) == labels).float().mean() > 0.9
    model.zero_grad()
    return model


@pytest.fixture
def impostor():
    """A method that paints the edges of the picture and never asks the network: crisp, plausible, worthless."""

    @method("edges", title="Edges", family="gradient", signed=False, unit="intensity", about="Edges.", source="2026")
    def edges(model, images, targets, options):
        return Map(nn.functional.pad((images[..., 1:] - images[..., :-1]).abs().mean(1), (0, 1)))

    yield "edges"
    METHODS._items.pop("edges")


def test_the_impostor_fails_and_the_reason_says_why(trained, impostor):
    images, labels, masks = squares(8, seed=3)
    (found,) = evidence(trained, images, names=[impostor], labels=labels, masks=masks)
    assert found.verdict == "fails"
    assert found.randomised_top == found.randomised_all == found.discrimination == pytest.approx(1)
    assert "randomised" in found.reason
    assert "1.00" in found.reason


def test_methods_that_look_at_the_network_beat_what_knows_nothing(trained):
    images, labels, masks = squares(16, seed=4)
    found = {e.method: e for e in evidence(trained, images, labels=labels, masks=masks, steps=8, samples=4)}
    assert list(found) == list(methods())
    for name in ("integrated_gradients", "grad_cam", "occlusion"):
        one = found[name]
        random = next(control for control in one.controls if control.name == "random")
        assert one.pointing.mass_interval[0] > random.mass, name
        assert one.pointing.hit_rate > random.hit_rate, name
    assert found["integrated_gradients"].completeness < 0.1
    assert found["saliency"].completeness is None
    assert found["grad_cam"].randomised_all < found["guided_backprop"].randomised_all, "as in Adebayo et al."
    assert found["grad_cam"].discrimination < found["guided_backprop"].discrimination
    for one in found.values():
        assert one.verdict in ("passes", "weak", "fails")
        assert one.reason.endswith(".")


def test_the_numbers_are_those_of_the_definition(trained):
    from vgg_viz.maths.metrics import rank_correlation

    images, *_ = squares(4, seed=5)
    (found,) = evidence(trained, images, names=["input_x_gradient"], seed=3)
    base = attribute(trained, images, method="input_x_gradient")
    other = attribute(trained, images, method="input_x_gradient", target="runner-up")
    assert found.discrimination == pytest.approx(rank_correlation(base.values, other.values).mean().item())
    with randomised([find(trained, "fc3").module], seed=3):
        after = attribute(trained, images, method="input_x_gradient", target=base.targets)
    expected = rank_correlation(base.values.abs(), after.values.abs()).mean().item()
    assert found.randomised_top == pytest.approx(expected)


def test_only_the_pictures_to_compare_are_asked_again_and_all_are_pointed_at(trained):
    images, _, masks = squares(6, seed=5)
    (few,) = evidence(trained, images, names=["saliency"], masks=masks, compared=3)
    (alone,) = evidence(trained, images[:3], names=["saliency"], masks=masks[:3])
    (all_,) = evidence(trained, images, names=["saliency"], masks=masks)
    assert few.randomised_all == pytest.approx(alone.randomised_all, abs=1e-4)
    assert few.discrimination == pytest.approx(alone.discrimination, abs=1e-4)
    assert few.pointing == all_.pointing
    assert few.pointing.pictures == 6


def test_evidence_leaves_the_model_as_it_was(trained):
    before = state_of(trained)
    evidence(trained, squares(2, seed=6)[0], names=["saliency", "smoothgrad"], samples=2)
    assert same(before, state_of(trained))


# ---------------------------------------------------------------- randomisation


def test_randomised_weights_keep_their_spread_differ_by_layer_and_come_back(trained):
    names = ["conv1_2", "conv2_1", "conv2_2", "fc3"]
    modules = [find(trained, name).module for name in names]
    originals = [module.weight.detach().clone() for module in modules]
    storages = [module.weight.data_ptr() for module in modules]
    with randomised(modules, seed=0):
        noise = [module.weight.detach().clone() for module in modules]
    for before, during, module, storage in zip(originals, noise, modules, storages, strict=True):
        assert during.std().item() == pytest.approx(before.std().item(), rel=0.15)
        assert (during - before).abs().mean() > 0.3 * before.std()
        assert torch.equal(module.weight, before)
        assert module.weight.data_ptr() == storage, "not even copied back: a memory-mapped file stays mapped"
    assert noise[0].shape == noise[1].shape == noise[2].shape
    assert not torch.allclose(noise[0] / noise[0].std(), noise[1] / noise[1].std())
    assert not torch.allclose(noise[1] / noise[1].std(), noise[2] / noise[2].std())


def test_the_signal_survives_randomisation(trained):
    images, *_ = squares(16, seed=7)
    modules = [find(trained, name).module for name in ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "fc3")]
    with torch.no_grad(), randomised(modules, seed=0):
        maps = trained.conv_block_2(trained.conv_block_1(images))
        assert (maps > 0).float().mean() > 0.05
        assert trained(images).std() > 1e-3


def test_randomised_takes_itself_back_when_the_block_raises(trained):
    before = state_of(trained)
    with pytest.raises(KeyError), randomised([find(trained, "fc3").module]):
        raise KeyError
    assert same(before, state_of(trained))


# ---------------------------------------------------------------- verdicts


def pointing(name: str, mass: float, interval: tuple[float, float]) -> Pointing:
    return Pointing(name, 16, mass, interval, 0.5, (0.3, 0.7), 2.0)


CONTROLS = (pointing("centre", 0.4, (0.3, 0.5)), pointing("edge", 0.3, (0.2, 0.4)), pointing("random", 0.1, (0.05, 0.15)))


@pytest.mark.parametrize(
    ("numbers", "verdict", "words"),
    [
        ((0.01, 0.2, 0.1), "passes", "passes every check"),
        ((None, None, 0.5), "passes", "0.50 rank correlation"),
        ((None, None, 0.6), "weak", "is weak: with all weights randomised"),
        ((0.5, 0.99, 0.9), "fails", "randomised"),
        ((None, None, None), "fails", "flat"),
        ((0.1, 0.2, 0.1), "weak", "miss the change of the score by 10.0 %"),
        ((0.3, 0.2, 0.6), "fails", "30.0 %"),
        ((None, 0.8, 0.1), "weak", "runner-up rank the pixels alike (0.80"),
        ((None, 0.96, 0.1), "fails", "0.96"),
        ((None, 0.1, 0.1, pointing("m", 0.7, (0.6, 0.8)), CONTROLS), "passes", "every check"),
        ((None, 0.1, 0.1, pointing("m", 0.35, (0.3, 0.45)), CONTROLS), "weak", "35 % of its mass"),
        ((None, 0.1, 0.1, pointing("m", 0.05, (0.02, 0.09)), CONTROLS), "fails", "the centre control has 40 %"),
    ],
)
def test_the_verdict_is_that_of_the_worst_check(numbers, verdict, words):
    found, reason = judge(*numbers)
    assert found == verdict
    assert words in reason


# ---------------------------------------------------------------- controls


def test_controls_know_the_picture_but_not_the_network():
    images, _, masks = squares(40, seed=8)
    centre, edge, random = controls_for(images, masks)
    assert [c.name for c in (centre, edge, random)] == ["centre", "edge", "random"]
    area = masks.float().mean().item()
    assert random.mass_interval[0] - 0.02 < area < random.mass_interval[1] + 0.02, "luck gets the object's share"
    middle = torch.zeros(1, 32, 32, dtype=torch.bool)
    middle[:, 11:21, 11:21] = True
    centred = controls_for(images[:1], middle)[0]
    assert centred.mass > 2 * middle.float().mean()
    assert centred.hit_rate == 1


def test_pointing_at_the_object_is_a_hit_and_pointing_at_nothing_is_not_a_number():
    _, _, masks = squares(10, seed=9)
    perfect = pointing_of("perfect", masks.float(), masks)
    assert perfect.mass == perfect.hit_rate == 1
    assert perfect.hit_interval[0] > 0.7
    assert perfect.tolerance == pytest.approx(15 * 32 / 224)
    nothing = pointing_of("nothing", torch.zeros(0, 8, 8), torch.zeros(0, 8, 8, dtype=torch.bool))
    assert nothing.pictures == 0
    assert math.isnan(nothing.mass)
