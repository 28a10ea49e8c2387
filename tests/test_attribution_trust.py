"""The judge of attribution methods is judged: known good and known bad maps must get what they deserve."""

import math
from dataclasses import replace

import pytest
import torch
from loose_options import evidence
from test_capture import same, state_of
from torch import Tensor, nn
from torch.nn import functional as F

from vgg_viz.attribution import Map, Options, attribute, method
from vgg_viz.attribution.method import METHODS
from vgg_viz.capture.hooks import activations
from vgg_viz.faithfulness.baseline_maps import blur_matched
from vgg_viz.faithfulness.maps import Asker
from vgg_viz.faithfulness.pointing import controls_for, pointing_of
from vgg_viz.faithfulness.randomisation import cascading, levels_of
from vgg_viz.faithfulness.verdict import Check, Measure, beaten, checks_of, judge, measured
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.records import Attribution
from vgg_viz.studies.faithfulness import SPARING
from vgg_viz.studies.inputs import labelled_pictures, specimen_batch


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

    with METHODS.temporarily():

        @method(
            "edges", title="Edges", family="gradient", signed=False, unit="intensity", about="Edges.", source="2026"
        )
        def edges(model, images, targets, options):
            return Map(nn.functional.pad((images[..., 1:] - images[..., :-1]).abs().mean(1), (0, 1)))

        yield "edges"


def test_the_impostor_fails_and_the_reason_says_why(trained, impostor):
    images, labels, masks = squares(8, seed=3)
    (found,) = evidence(trained, images, names=[impostor], labels=labels, masks=masks)
    assert found.verdict == "fails"
    assert found.randomised_top == found.randomised_all == found.discrimination == pytest.approx(1)
    assert [value for _, value in found.cascade] == pytest.approx([1] * 5)
    assert "randomised" in found.reason
    assert "1.000; up to 0.5 passes" in found.reason


def test_methods_that_look_at_the_network_beat_what_knows_nothing(trained):
    images, labels, masks = squares(16, seed=4)
    names = ["saliency", "integrated_gradients", "guided_backprop", "grad_cam", "occlusion"]
    found = {
        e.method: e for e in evidence(trained, images, names=names, labels=labels, masks=masks, steps=8, samples=4)
    }
    assert list(found) == names
    for name in ("integrated_gradients", "grad_cam", "occlusion"):
        one = found[name]
        random, blurred = one.controls[2:]
        assert (random.name, blurred.name) == ("random", "blur-matched")
        assert one.pointing.mass_interval[0] > random.mass, name
        assert one.pointing.hit_rate > random.hit_rate, name
        assert one.pointing.iou > random.iou, name
    assert found["integrated_gradients"].completeness < 0.1
    assert found["saliency"].completeness is None
    assert found["grad_cam"].randomised_all < found["guided_backprop"].randomised_all, "as in Adebayo et al."
    assert found["grad_cam"].discrimination < found["guided_backprop"].discrimination
    for one in found.values():
        assert one.verdict in ("passes", "weak", "fails")
        assert one.reason.endswith(".")
        assert [measure.criterion for measure in one.measures] == ["insertion", "road", "object"]
        assert list(one.curves["deletion"]) == ["map", "centre", "edge", "random", "blur-matched"]
        assert 0 < one.sensitivity < 2


def test_guided_backprop_fails_on_the_bundled_network_as_published_and_grad_cam_does_not():
    checkpoint = load(None)
    batch, _ = labelled_pictures(checkpoint, None, limit=16)
    guided, cam = evidence(
        build(checkpoint), batch.images[:8], names=["guided_backprop", "grad_cam"], masks=batch.masks[:8]
    )
    verdicts = {check.criterion: check.verdict for check in guided.checks}
    assert guided.verdict == verdicts["upper"] == "fails"
    assert "the weights of the upper half of its layers randomised" in guided.reason
    assert {check.verdict for check in cam.checks if check.criterion in ("upper", "everything")} == {"passes"}
    upper = [dict(one.cascade)["conv2_2"] for one in (guided, cam)]
    assert upper[0] > 0.75
    assert upper[1] < 0.5


def test_the_numbers_are_those_of_the_definition(trained):
    from vgg_viz.maths.metrics import rank_correlation

    images, *_ = squares(4, seed=5)
    (found,) = evidence(trained, images, names=["input_x_gradient"], seed=3)
    base = attribute(trained, images, method="input_x_gradient")
    other = attribute(trained, images, method="input_x_gradient", target="runner-up")
    assert found.discrimination == pytest.approx(rank_correlation(base.values, other.values).mean().item(), abs=1e-4)
    with cascading(trained, images, seed=3) as steps:
        for layer, value in found.cascade:
            assert next(steps) == layer
            after = attribute(trained, images, method="input_x_gradient", target=base.targets)
            assert value == pytest.approx(
                rank_correlation(base.values.abs(), after.values.abs()).mean().item(), abs=1e-4
            )
    assert found.randomised_top == found.cascade[0][1]
    assert found.randomised_all == found.cascade[-1][1]
    logits = trained(images).amax(1)
    assert found.explained == pytest.approx((base.values.sum((1, 2)) / logits).median().item(), rel=1e-4)


def test_only_the_pictures_to_compare_are_asked_again_and_all_are_pointed_at(trained):
    images, _, masks = squares(6, seed=5)
    (few,) = evidence(trained, images, names=["saliency"], masks=masks, compared=3)
    (all_,) = evidence(trained, images, names=["saliency"], masks=masks)
    assert few.discrimination != all_.discrimination
    assert few.pointing == all_.pointing
    assert (few.pictures, few.compared) == (6, 3)
    assert (all_.pictures, all_.compared) == (6, 6)


def test_a_dear_method_gets_fewer_pictures_and_three_levels_and_never_fewer_than_four_pictures(trained):
    images, _, masks = squares(12, seed=5)
    asked = []
    with METHODS.temporarily():

        @method(
            "dear",
            title="Dear",
            family="cam",
            signed=False,
            unit="1",
            about="-",
            source="-",
            passes=lambda options, side: 100,
        )
        def dear(model, images, targets, options):
            asked.append(len(images))
            return Map(torch.rand(len(images), 32, 32))

        (bounded,) = evidence(trained, images, names=["dear"], masks=masks, most_passes=800)
        bounded_asked = sum(asked)
        (free,) = evidence(trained, images, names=["dear"], masks=masks)
    assert (bounded.pictures, bounded.compared) == (8, 4)
    assert (free.pictures, free.compared) == (12, 8)
    assert [layer for layer, _ in bounded.cascade] == ["fc3", "conv2_2", "conv1_1"]
    assert bounded_asked == 8 + 4 * (3 + 1 + 2)


def test_a_method_too_dear_to_be_asked_again_is_weak_at_best_and_says_so_and_maps_that_exist_cost_nothing(trained):
    images, labels, masks = squares(12, seed=5)
    asked = []
    with torch.no_grad():
        targets = trained(images).argmax(1)
    there = Attribution("dear", masks.float(), "1", False, None, targets)
    with METHODS.temporarily():

        @method(
            "dear",
            title="Dear",
            family="cam",
            signed=False,
            unit="1",
            about="-",
            source="-",
            passes=lambda options, side: 100,
        )
        def dear(model, images, targets, options):
            asked.append(len(images))
            return Map(F.avg_pool2d(squares(len(images), seed=5)[2].float()[:, None], 3, 1, 1)[:, 0])

        (never,) = evidence(
            trained,
            images,
            names=["dear"],
            labels=labels,
            masks=masks,
            most_passes=1199,
            least=0,
            levels=1,
            draws=1,
            made=lambda name: there,
        )
        assert asked == []
        (once,) = evidence(
            trained,
            images,
            names=["dear"],
            masks=masks,
            most_passes=1200,
            least=0,
            levels=1,
            draws=1,
            made=lambda name: replace(there, targets=targets.roll(1)),
        )
    assert asked == [12, 4, 4, 4], "maps for other classes than the predicted ones are not taken"
    assert (never.pictures, never.compared, never.cascade, never.discrimination, never.sensitivity) == (
        12,
        0,
        (),
        None,
        None,
    )
    assert never.verdict == "weak"
    assert never.reason.startswith(
        "is weak: at 100 passes a map its maps for the runner-up, under small noise and of random networks"
    )
    assert {m.criterion for m in never.measures} == {"insertion", "road", "object"}
    assert once.compared == 4
    assert [layer for layer, _ in once.cascade] == ["conv1_1"]
    assert (once.randomised_top, once.randomised_upper) == (None, None)
    assert "pictures" not in {check.criterion for check in once.checks}


def test_a_method_seen_on_a_picture_or_two_is_weak_at_best(trained):
    images, _, masks = squares(2, seed=5)
    (found,) = evidence(trained, images, names=["input_x_gradient"], masks=masks)
    assert found.compared == 2
    (doubt,) = (check for check in found.checks if check.criterion == "pictures")
    assert doubt.verdict == "weak"
    assert doubt.text.endswith("made of 2 pictures only, too few to say (4 could pass)")
    assert found.verdict != "passes"


def test_fewer_shares_and_no_road_ask_less_and_measure_the_same_thing(trained):
    images, _, masks = squares(6, seed=5)
    full, less = (
        evidence(trained, images, names=["input_x_gradient"], masks=masks, **asked)[0] for asked in ({}, SPARING)
    )
    assert less.shares == (0.0, 0.25, 1.0)
    assert [m.criterion for m in less.measures] == ["insertion", "object"]
    assert [len(line) for line in less.curves["deletion"].values()] == [3] * 5
    assert less.curves["insertion"]["map"][::2] == full.curves["insertion"]["map"][::7]
    gap = less.measures[0].value
    areas = {}
    for kind in ("insertion", "deletion"):
        first, middle, last = less.curves[kind]["map"]
        areas[kind] = 0.25 * (first + middle) / 2 + 0.75 * (middle + last) / 2
    assert gap == pytest.approx(areas["insertion"] - areas["deletion"], abs=1e-6)


def test_guided_grad_cam_on_trial_is_the_product_of_its_factors_and_costs_no_pass_of_its_own():
    checkpoint = load()
    model, images = build(checkpoint), specimen_batch(checkpoint.specimens, 64).images[:3]
    names = ("grad_cam", "guided_backprop", "guided_grad_cam")
    asker = Asker(model, "relu2_2", Options(relu=False), names)
    targets = torch.tensor([0, 1, 2])
    forward = []
    hook = model.register_forward_pre_hook(lambda *_: forward.append(1))
    asker.maps("grad_cam", images, targets, "once")
    asker.maps("guided_backprop", images, targets, "once")
    spent = len(forward)
    joined = asker.maps("guided_grad_cam", images, targets, "once")
    assert len(forward) == spent
    hook.remove()
    direct = attribute(model, images, method="guided_grad_cam", target=targets, layer="relu2_2")
    assert (joined.method, joined.unit, joined.layer) == (direct.method, direct.unit, direct.layer)
    assert torch.allclose(joined.values, direct.values, rtol=1e-4, atol=1e-6 * float(direct.values.max()))


def test_evidence_leaves_the_model_as_it_was(trained):
    before = state_of(trained)
    evidence(trained, squares(2, seed=6)[0], names=["saliency", "smoothgrad"], samples=2)
    assert same(before, state_of(trained))


@pytest.mark.parametrize("at", [1, 9, 14, 21])
def test_evidence_leaves_the_model_as_it_was_when_it_raises_anywhere(trained, at):
    images, *_ = squares(4, seed=6)
    before = state_of(trained)
    pointers = [parameter.data_ptr() for parameter in trained.parameters()]
    calls = 0

    def boom(*_):
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyError

    hook = trained.classifier.register_forward_pre_hook(boom)
    try:
        with pytest.raises(KeyError):
            evidence(trained, images, names=["saliency", "guided_backprop"])
    finally:
        hook.remove()
    assert same(before, state_of(trained))
    assert pointers == [parameter.data_ptr() for parameter in trained.parameters()]


# ---------------------------------------------------------------- randomisation


@pytest.mark.parametrize("variant", ["tiny_vgg", "vgg11_bn"])
def test_a_randomised_network_speaks_as_loud_as_before_and_equal_shapes_get_other_weights(variant):
    model = build(variant, image_side=32, num_classes=5, seed=2, **({} if variant == "tiny_vgg" else {"width": 0.1}))
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    before, weights = activations(model, images).maps, state_of(model)
    pointers = [parameter.data_ptr() for parameter in model.parameters()]
    met = []
    with cascading(model, images, seed=0) as steps:
        for name in steps:
            met.append(name)
            during = activations(model, images).maps
            for layer, values in before.items():
                ratio = (during[layer].std() / values.std()).item()
                exact = layer.startswith(("conv", "fc", "bn"))
                assert ratio == pytest.approx(1, abs=1e-3) if exact else 0.25 < ratio < 4, (name, layer, ratio)
                if exact:
                    assert during[layer].mean().item() == pytest.approx(
                        values.mean().item(), abs=1e-3 * max(1, values.std().item())
                    )
        noise = [module.weight.detach().clone() for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert met == [name for name in reversed(before) if name.startswith(("conv", "fc"))], (
        "from the top down, one at a time"
    )
    pairs = [(a, b) for i, a in enumerate(noise) for b in noise[i + 1 :] if a.shape == b.shape]
    assert pairs
    for a, b in pairs:
        assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()) < 0.2
    assert same(weights, state_of(model))
    assert pointers == [parameter.data_ptr() for parameter in model.parameters()], "a memory-mapped file stays mapped"


def test_layers_below_the_cascade_keep_what_they_learned(trained):
    images, *_ = squares(4, seed=7)
    originals = {name: parameter.detach().clone() for name, parameter in trained.named_parameters()}
    with cascading(trained, images) as steps:
        assert next(steps) == "fc3"
        changed = {
            name for name, parameter in trained.named_parameters() if not torch.equal(parameter, originals[name])
        }
        assert changed == {"classifier.1.weight", "classifier.1.bias"}
        assert next(steps) == "conv2_2"
        first = trained.classifier[1].weight.detach().clone()
        assert next(steps) == "conv2_1"
        ratio = trained.classifier[1].weight / first
        assert ratio.std() < 1e-5, "noise that was drawn stays, only its loudness follows"


@pytest.mark.parametrize("variant", ["tiny_vgg", "vgg11_bn"])
def test_a_network_made_loud_at_one_step_alone_is_the_one_of_all_steps(variant):
    model = build(variant, image_side=32, num_classes=5, seed=2, **({} if variant == "tiny_vgg" else {"width": 0.1}))
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    last, said = len(levels_of(model)), []
    for stops in (None, {last}):
        passes = []
        hook = model.register_forward_pre_hook(lambda *_, passes=passes: passes.append(1))
        with cascading(model, images, seed=0, stops=stops) as steps:
            names = list(steps)
            assert len(passes) == 1 + (last if stops is None else 1)
            hook.remove()
            with torch.no_grad():
                said.append((names, model(images)))
    assert said[0][0] == said[1][0]
    assert torch.allclose(said[0][1], said[1][1], rtol=1e-3, atol=1e-3 * float(said[0][1].std()))


def test_the_cascade_takes_itself_back_when_the_block_raises(trained):
    before = state_of(trained)
    with pytest.raises(KeyError), cascading(trained, squares(2, seed=0)[0]) as steps:
        {}[next(steps)]
    assert same(before, state_of(trained))


# ---------------------------------------------------------------- verdicts


def measure(blind, centre=(0.0, -0.1, 0.1), pictures=16):
    ahead = {"centre": centre, "edge": (0.1, 0.05, 0.2), "random": (0.3, 0.2, 0.4), "blur-matched": blind}
    return Measure("road", "share", pictures, 0.4, (0.3, 0.5), dict.fromkeys(ahead, 0.2), ahead)


@pytest.mark.parametrize(
    ("numbers", "verdict", "words"),
    [
        ({"completeness": 0.01, "discrimination": 0.2, "everything": 0.1}, "passes", "passes every check"),
        ({"everything": 0.5}, "passes", "0.50 rank correlation"),
        ({"everything": 0.6}, "weak", "is weak: with all weights randomised"),
        (
            {"everything": 0.2, "upper": 0.82},
            "fails",
            "upper half of its layers randomised its maps still rank the pixels alike (0.82",
        ),
        ({"completeness": 0.5, "discrimination": 0.99, "everything": 0.9}, "fails", "all weights randomised"),
        ({"completeness": 0.1, "everything": 0.1}, "weak", "miss the change of the score by 10.0 %"),
        ({"completeness": 0.3, "everything": 0.6}, "fails", "30.0 %"),
        ({"discrimination": 0.8, "everything": 0.1}, "weak", "runner-up rank the pixels alike (0.800"),
        ({"discrimination": 0.96, "everything": 0.1}, "fails", "0.96"),
        ({"sensitivity": 0.7, "everything": 0.1}, "weak", "changes its maps by 70 %"),
        (
            {"measures": [measure((0.2, 0.1, 0.3))], "everything": 0.1},
            "passes",
            "ROAD +0.20 above the blur-matched control",
        ),
        (
            {"measures": [measure((0.1, -0.1, 0.3))], "everything": 0.1},
            "weak",
            "difference +0.10, 95 % interval −0.10 to +0.30",
        ),
        ({"measures": [measure((-0.1, -0.2, -0.01))], "everything": 0.1}, "fails", "the blur-matched control 0.20"),
        ({"measures": [measure((0.2, 0.1, 0.3), (-0.2, -0.3, -0.1))], "everything": 0.1}, "weak", "the centre control"),
        ({"measures": [measure((-0.1, -0.2, -0.01), pictures=3)], "everything": 0.1}, "passes", "every check"),
    ],
)
def test_the_verdict_is_that_of_the_worst_check(numbers, verdict, words):
    found, reason = judge(checks_of(**numbers))
    assert found == verdict
    assert words in reason
    assert reason.count(".") - len([c for c in reason if c.isdigit()]) < 2, "one sentence"


def test_flat_maps_are_nothing_to_believe():
    verdict, reason = judge([Check("road", "passes", "", "")], flat=True)
    assert verdict == "fails"
    assert reason == "fails: its maps are flat, so there is nothing to believe or doubt."


def test_a_map_no_better_than_luck_of_its_own_grain_does_not_pass(trained):
    """Its maps are as blurred as SmoothGrad's and spread like them, in places that mean nothing."""
    images, labels, masks = squares(16, seed=11)
    with METHODS.temporarily():

        @method("luck", title="Luck", family="gradient", signed=False, unit="1", about="-", source="-")
        def luck(model, images, targets, options):
            true = attribute(model, images, method="saliency", target=targets).values
            return Map(blur_matched(true, seed=int(1e6 * float(images.sum() + targets.sum())) % 1000))

        found, true = evidence(trained, images, names=["luck", "occlusion"], labels=labels, masks=masks)
    for measure in found.measures:
        assert measure.ahead["blur-matched"][1] < 0 < measure.ahead["blur-matched"][2], measure.name
        assert beaten(measure).verdict != "passes"
    assert [beaten(measure).verdict for measure in true.measures] == ["passes"] * 3, "and a method that looks does"
    assert found.verdict != "passes"


def test_methods_that_nobody_can_afford_are_left_out_and_the_others_fare_as_they_did(trained):
    images, _, masks = squares(4, seed=11)
    names = ["occlusion", "saliency", "input_x_gradient", "guided_backprop"]
    asked = []

    def affords(together):
        asked.append(list(together))
        return "occlusion" not in together

    whole = evidence(trained, images, names=names, masks=masks)
    some = evidence(trained, images, names=names, masks=masks, affords=affords)
    assert asked == [["saliency", "input_x_gradient"], ["guided_backprop"], ["occlusion"]], (
        "one pass together, cheap ones first"
    )
    assert [one.method for one in some] == names[1:]
    assert [repr(one) for one in some] == [repr(one) for one in whole[1:]]


def test_intervals_of_paired_differences_cover_the_truth():
    dice = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(300):
        shared = torch.randn(16, generator=dice)
        own, theirs = shared + 0.3 + 0.2 * torch.randn(16, generator=dice), shared
        found = measured("m", "1", own, {"random": theirs})
        low, high = found.ahead["random"][1:]
        covered += low < 0.3 < high
        assert high - low < 0.5, "paired: what pictures have in common cancels"
    assert 0.88 < covered / 300 < 0.98


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
    assert perfect.iou == 1


def test_the_blur_matched_control_has_the_same_values_and_the_same_grain_elsewhere():
    dice = torch.Generator().manual_seed(3)
    fine = torch.randn(6, 48, 48, generator=dice)
    coarse = nn.functional.avg_pool2d(torch.randn(6, 1, 58, 58, generator=dice), 11, stride=1)[:, 0]
    for maps in (fine, coarse):
        other = blur_matched(maps, seed=1)
        assert torch.equal(other.flatten(1).sort(1).values, maps.flatten(1).sort(1).values)
        grain, likewise = (correlation_at(m, 4) for m in (maps, other))
        assert likewise == pytest.approx(grain, abs=0.1)
        both = torch.stack([maps.flatten(), other.flatten()])
        assert abs(torch.corrcoef(both)[0, 1].item()) < 0.25
    assert correlation_at(blur_matched(coarse), 4) > 0.4 > 0.1 > correlation_at(blur_matched(fine), 4)
    flat = torch.full((1, 8, 8), 2.0)
    assert torch.equal(blur_matched(flat), flat)


def correlation_at(maps: Tensor, lag: int) -> float:
    """How alike pixels are that lie `lag` apart."""
    return torch.corrcoef(torch.stack([maps[..., lag:].flatten(), maps[..., :-lag].flatten()]))[0, 1].item()


# ---------------------------------------------------------------- grids


class Colours(nn.Module):
    """A linear network of four classes: a class is the mean of its channel."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(4, 4, 1, bias=False)
        self.features.weight.data = torch.eye(4)[:, :, None, None]

    def forward(self, images):
        return self.features(images).mean((2, 3))


def test_on_a_planted_linear_network_every_class_finds_its_quarter_and_controls_find_a_quarter():
    classes = torch.tensor([0, 1, 2, 3, 2, 1, 0, 3])
    images = 0.5 * nn.functional.one_hot(classes, 4).float()[:, :, None, None] * torch.rand(8, 4, 32, 32)
    (found,) = evidence(Colours(), images, names=["input_x_gradient"])
    quarter = found.measures[-1]
    assert quarter.name == "mass in its quarter"
    assert quarter.value == pytest.approx(1)
    assert quarter.pictures >= 8
    assert quarter.controls["centre"] == pytest.approx(0.25, abs=1e-6)
    assert quarter.controls["random"] == pytest.approx(0.25, abs=0.06)
    assert quarter.controls["blur-matched"] == pytest.approx(0.25, abs=0.12)
    assert beaten(quarter).verdict == "passes"
    assert found.pointing is None


def test_no_grid_is_made_of_fewer_than_four_classes_and_the_check_is_left_out(trained):
    images, *_ = squares(8, seed=12)
    (found,) = evidence(trained, images, names=["saliency"])
    assert [measure.criterion for measure in found.measures] == ["insertion", "road"]
