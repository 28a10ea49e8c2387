"""Batch norm as a witness: what stands between the convolutions of a trained network is found again; of others nothing is said."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from telling import tells
from torch import Tensor, nn

from vgg_viz.cli import main
from vgg_viz.data import shapes
from vgg_viz.maths.batch_norm_misfit import misfit
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.plan import canonical_plan
from vgg_viz.records import Architecture, Batch, Checkpoint, Evidence, Provenance
from vgg_viz.studies.chain_check import check_chain
from vgg_viz.studies.chain_search import links_of, misfits_in_use, misfits_of, search
from vgg_viz.studies.found_plan import with_plan
from vgg_viz.studies.witnesses import examine

SIDE = 32
TRUE = {
    "max": "+bn+relu 8b0 16b0 M 16b0 24b0 M 24b0 M G | K",
    "average": "+bn+relu 8b0 16b0 A2 16b0 24b0 A2 24b0 M G | K",
    "leaky": "+bn+leaky0.2 8b0 M 16b0 16b0 M 24b0 24b0 M G | K",
    "blue": "+bn+relu 8b0 16b0 M 16b0 24b0 M 24b0 M G | K",
}
WRONG = {
    "max": "+bn+relu 8b0 M 16b0 16b0 M 24b0 24b0 M G | K",
    "average": "+bn+relu 8b0 16b0 M 16b0 24b0 M 24b0 M G | K",
    "leaky": "+bn+relu 8b0 M 16b0 16b0 M 24b0 24b0 M G | K",
    "blue": "+bn+relu 8b0 16b0 M 16b0 24b0 M 24b0 M G | K",
}


@pytest.fixture(scope="module")
def pictures() -> tuple[Batch, Batch]:
    """Painted pictures to train on, and others, with more red than blue in them."""

    def painted(count: int, split: str) -> Batch:
        batch = shapes.paint(count, seed=5, split=split, side=SIDE)
        return replace(batch, images=batch.images * torch.tensor([1.0, 0.8, 0.5]).view(1, 3, 1, 1))

    return painted(768, "train"), painted(160, "test")


def trained(plan: str, batch: Batch, *, blue: bool) -> Checkpoint:
    """A network of this plan after a few real epochs, as a foreign file would give it: its plan is assumed."""
    about = Architecture(plan, len(shapes.CLASSES), image_side=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3)
    model = build(about, seed=0).train().requires_grad_(True)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    images = batch.images.flip(1) if blue else batch.images
    generator = torch.Generator().manual_seed(0)
    for epoch in range(5):
        # As in every training the steps become small at the end, so that what batch norm remembers is of these very weights.
        optimiser.param_groups[0]["lr"] = 3e-3 if epoch < 3 else 1e-4
        for part in torch.randperm(len(images), generator=generator).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images[part]), batch.labels[part]).backward()
            optimiser.step()
    provenance = Provenance("x.pth", "", "torchvision", evidence=(Evidence("Pools are assumed.", ("--plan",)),))
    weights = {key: value.detach() for key, value in model.state_dict().items()}
    return Checkpoint(about, shapes.CLASSES, weights, provenance=provenance)


@pytest.fixture(scope="module")
def networks(pictures) -> dict[str, Checkpoint]:
    """One of each kind."""
    return {name: trained(plan, pictures[0], blue=name == "blue") for name, plan in TRUE.items()}


def misread(checkpoint: Checkpoint, name: str) -> Checkpoint:
    return with_plan(checkpoint, WRONG[name])


@pytest.mark.parametrize("name", TRUE)
def test_the_chain_of_a_trained_network_is_found_again_and_told_as_an_alarm(name, networks, pictures):
    wrong = misread(networks[name], name)
    seen = examine(wrong, build(wrong), pictures[1])
    assert seen.chain is not None
    assert seen.chain.contradicts
    (alarm,) = [one.text for one in seen.findings if one.level == "bad"]
    if name == "blue":
        assert tells(alarm, "--bgr")
        assert "--plan" not in alarm
    else:
        assert f"--plan '{canonical_plan(TRUE[name])}'" in alarm
        assert "--bgr" not in alarm
    assert not seen.used  # a chain is never changed without a word typed


@pytest.mark.parametrize("name", ["max", "average", "leaky"])
def test_the_right_chain_raises_no_alarm(name, networks, pictures):
    checkpoint = networks[name]
    found = check_chain(build(checkpoint), pictures[1].images)
    assert found is not None
    assert found.agrees
    assert not found.contradicts
    assert found.unexplained() == ""
    assert not any(one.level == "bad" for one in examine(checkpoint, build(checkpoint), pictures[1]).findings)


def test_what_is_measured_in_use_is_what_the_same_chain_has_in_the_search(networks, pictures):
    model, images = build(networks["max"]), pictures[1].images[:40]
    best = search(model, images, fewest=1, activations=("relu",), colours=False)[0]
    assert best.pools == ("", "M", "", "M")
    assert misfits_of(model, best, images) == pytest.approx(misfits_in_use(model, images), rel=1e-5)
    assert best.misfits == pytest.approx(misfits_in_use(model, images), rel=1e-3)


def test_random_statistics_and_too_few_pictures_tell_nothing(networks, pictures):
    checkpoint = networks["max"]
    generator = torch.Generator().manual_seed(1)
    weights = {
        key: value
        if not key.endswith(("running_mean", "running_var"))
        else torch.rand(value.shape, generator=generator) + 0.3
        for key, value in checkpoint.weights.items()
    }
    found = check_chain(build(replace(checkpoint, weights=weights)), pictures[1].images)
    assert found is not None
    assert not found.contradicts
    assert not found.agrees
    assert tells(found.unexplained(), "cannot tell", "--image-size", "fits no chain")
    assert check_chain(build(checkpoint), pictures[1].images[:7]) is None
    assert links_of(build(load())) == ()
    assert check_chain(build(load()), pictures[1].images) is None


def test_the_misfit_is_none_for_what_is_remembered_and_grows_with_either_moment():
    mean, variance = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 4.0])
    assert float(misfit(mean, variance, mean, variance)) == 0
    values = [
        float(misfit(mean + move, variance * times, mean, variance)) for move, times in ((0.5, 1), (1, 1), (1, 2))
    ]
    assert values == sorted(values)
    still = misfit(torch.tensor([0.0, 9.0]), variance, torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]))
    assert float(still) == 0  # a channel that never varied tells nothing


def test_evaluate_tells_the_plan_that_then_mends_it(networks, pictures, tmp_path, capsys):
    checkpoint = networks["max"]
    weights: dict[str, Tensor] = {
        f"layer{n:02}.{key}": value for n, (key, value) in enumerate(checkpoint.weights.items())
    }
    names = {
        key: f"part{n}" for n, key in enumerate(dict.fromkeys(key.rpartition(".")[0] for key in checkpoint.weights))
    }
    weights = {
        f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value for key, value in checkpoint.weights.items()
    }
    torch.save(
        {"state_dict": weights, "mean": [0.5] * 3, "std": [0.25] * 3, "classes": list(shapes.CLASSES)},
        tmp_path / "n.pth",
    )
    for number, (image, label) in enumerate(zip(pictures[1].images, pictures[1].labels, strict=True)):
        place = tmp_path / "data" / shapes.CLASSES[int(label)]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(encode_png(image))
    line = ["evaluate", str(tmp_path / "n.pth"), "--data", str(tmp_path / "data"), "--image-size", str(SIDE), "--json"]
    assert main([*line, "--plan", WRONG["max"]]) == 0
    first = json.loads(capsys.readouterr().out)
    (alarm,) = [one for one in first["alarms"] if "batch norm" in one]
    assert first["batch_norm"]["contradicts"]
    plan = alarm.partition("--plan '")[2].partition("'")[0]
    assert main([*line, "--plan", plan]) == 0
    then = json.loads(capsys.readouterr().out)
    assert not [one for one in then["alarms"] if "batch norm" in one]
    assert then["batch_norm"]["agrees"]
    assert then["top1"] > first["top1"]
