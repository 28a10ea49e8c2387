"""Forensics: fresh networks are called untouched, the bundled one trained, and every planted fault is found where it was planted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from telling import tells
from torch import nn

from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.models.names import find, layers
from vgg_viz.records import Checkpoint, Exhibit, Finding
from vgg_viz.sections.report.forensics import forensics
from vgg_viz.studies.inputs import Inputs
from vgg_viz.studies.preset import PRESETS
from vgg_viz.studies.subject import Subject
from vgg_viz.units.forensics import exact_copies, examine_norms, examine_weights

SMALL = {"width": 0.125, "num_classes": 10, "image_side": 32}


def torch_default(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.reset_parameters()


def torchvision_way(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)


def weights_with(fill):
    def way(model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fill(module.weight)
                nn.init.zeros_(module.bias)

    return way


WAYS = {
    "torch": torch_default,
    "torchvision": torchvision_way,
    "xavier": weights_with(nn.init.xavier_uniform_),
    "he": weights_with(nn.init.kaiming_uniform_),
    "xavier_normal": weights_with(nn.init.xavier_normal_),
}


def fresh(way: str, variant: str, seed: int) -> nn.Module:
    model = build(variant) if variant == "tiny_vgg" else build(variant, **SMALL)
    torch.manual_seed(seed)
    WAYS[way](model)
    return model


def verdicts(model: nn.Module) -> dict[str, str]:
    return {layer.name: layer.verdict for layer in examine_weights(model)}


def trained() -> nn.Module:
    return build(load())


def step(model: nn.Module, *, rate: float = 0.01, steps: int = 1) -> nn.Module:
    """Plain SGD on random pictures with random labels."""
    torch.manual_seed(0)
    side = model.architecture.image_side
    optimiser = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(torch.rand(16, 3, side, side)), torch.randint(0, 10, (16,))).backward()
        optimiser.step()
    return model.eval()


@pytest.mark.parametrize("way", WAYS)
def test_a_fresh_network_is_untouched_in_every_layer(way):
    networks = [fresh(way, variant, seed) for variant in ("tiny_vgg", "vgg11_bn") for seed in range(3)]
    found = [verdict for model in networks for verdict in verdicts(model).values()]
    wrong = sum(verdict != "untouched" for verdict in found)
    print(f"{way}: {wrong} of {len(found)} fresh layers were not called untouched")
    assert len(found) == 3 * (5 + 10)
    assert wrong == 0


def test_the_bundled_checkpoint_is_trained_in_every_layer():
    assert set(verdicts(trained()).values()) == {"trained"}


@pytest.mark.parametrize("way", ["torch", "torchvision"])
@pytest.mark.parametrize("variant", ["tiny_vgg", "vgg11", "vgg11_bn"])
def test_one_step_of_sgd_is_barely_moved_in_every_layer(way, variant):
    model = fresh(way, variant, 1)
    before = set(verdicts(model).values())
    after = verdicts(step(model))
    assert before == {"untouched"}
    assert set(after.values()) == {"barely moved"}, after


@pytest.mark.parametrize("way", ["torch", "torchvision"])
def test_layers_that_were_drawn_again_are_caught_and_no_others(way):
    model = trained()
    drawn_again = {"conv1_2", "conv2_1", "fc3"}
    torch.manual_seed(5)
    for name in drawn_again:
        WAYS[way](nn.Sequential(find(model, name).module))
    assert {name for name, verdict in verdicts(model).items() if verdict == "untouched"} == drawn_again
    assert {name for name, verdict in verdicts(model).items() if verdict == "trained"} == {"conv1_1", "conv2_2"}


def test_planted_silent_copied_and_cut_filters_are_found_where_they_are():
    model = trained()
    with torch.no_grad():
        find(model, "conv1_2").module.weight[3] = 0
        find(model, "conv2_1").module.weight[7] = find(model, "conv2_1").module.weight[2]
        find(model, "conv2_2").module.weight[1] = 2.5 * find(model, "conv2_2").module.weight[9]
        fc = find(model, "fc3").module.weight
        fc[torch.rand(fc.shape, generator=torch.Generator().manual_seed(0)) < 0.8] = 0
    found = {layer.name: layer for layer in examine_weights(model)}
    assert {name: layer.silent for name, layer in found.items() if layer.silent} == {"conv1_2": (3,)}
    assert {name: layer.copies for name, layer in found.items() if layer.copies} == {
        "conv2_1": ((2, 7),),
        "conv2_2": ((1, 9),),
    }
    assert found["fc3"].zeros == pytest.approx(0.8, abs=0.01)
    assert found["conv1_2"].zeros == pytest.approx(0.1)
    assert found["conv1_1"].zeros == 0
    assert not any(layer.quantised for layer in found.values())


def test_copies_are_found_without_comparing_every_pair():
    torch.manual_seed(0)
    weight = torch.randn(300, 40)
    weight[250], weight[17], weight[3], weight[4] = weight[8], weight[8], 0, 0
    assert set(exact_copies(weight)) == {(8, 17), (17, 250)}


def test_weights_rounded_to_bytes_and_to_half_precision_are_told():
    model = trained()
    weight = find(model, "fc3").module.weight
    with torch.no_grad():
        scale = weight.abs().max() / 127
        weight.copy_((weight / scale).round() * scale)
        find(model, "conv1_2").module.weight.copy_(find(model, "conv1_2").module.weight.half().float())
    found = {layer.name: layer for layer in examine_weights(model)}
    assert [name for name, layer in found.items() if layer.quantised] == ["fc3"]
    assert found["fc3"].distinct <= 255
    assert [name for name, layer in found.items() if layer.half] == ["conv1_2"]


def test_batch_norms_that_were_never_used_shut_or_stuck_are_told():
    model = build("vgg11_bn", **SMALL)
    assert all(norm.never_updated and norm.untouched for norm in examine_norms(model))
    step(model)
    assert not any(norm.never_updated or norm.untouched for norm in examine_norms(model))
    with torch.no_grad():
        find(model, "bn2_1").module.weight[5] = 1e-9
        find(model, "bn3_2").module.running_var[2] = 0
        find(model, "bn4_1").module.running_var[1] = -0.5
    found = {norm.name: norm for norm in examine_norms(model)}
    assert {name: norm.shut for name, norm in found.items() if norm.shut} == {"bn2_1": (5,)}
    assert {name: norm.collapsed for name, norm in found.items() if norm.collapsed} == {"bn3_2": (2,)}
    assert {name: norm.negative for name, norm in found.items() if norm.negative} == {"bn4_1": (1,)}


def made_section(model: nn.Module, checkpoint: Checkpoint | None = None) -> tuple[list[Exhibit], list[Finding]]:
    """What the section shows and finds."""
    checkpoint = checkpoint or replace(load(), architecture=model.architecture)
    subject = Subject(checkpoint, model, Inputs(None, None, None, None, None, ()), PRESETS["quick"], 0)
    shown = list(forensics(subject))
    return [e for e in shown if isinstance(e, Exhibit)], [f for f in shown if isinstance(f, Finding)]


def test_a_sound_file_adds_nothing_to_the_verdict_and_shows_what_it_says_in_numbers():
    exhibits, findings = made_section(trained())
    assert findings == []
    weights, spectra, table = exhibits
    found = {layer.name: layer for layer in examine_weights(trained())}
    assert {name: weights.numbers[name]["moved"] for name in found} == {
        name: layer.fit.moved for name, layer in found.items()
    }
    for name, layer in found.items():
        assert sum(weights.numbers[name]["histogram"]) == round(layer.looked * (1 - layer.beyond))
    assert all(
        spectra.numbers[name]["top"] == spectra.numbers[name]["shown"][0]
        or spectra.numbers[name]["top"] == pytest.approx(spectra.numbers[name]["shown"][0], abs=1e-4)
        for name in found
    )
    assert [row[0] for row in table.table.rows] == list(found)
    assert "Nothing here looks broken" in table.caption.read


def test_what_is_wrong_is_one_line_at_the_top_that_names_the_layers():
    model = trained()
    torch.manual_seed(0)
    torch_default(nn.Sequential(find(model, "conv2_1").module))
    with torch.no_grad():
        find(model, "conv1_2").module.weight[3] = 0
    _, (finding,) = made_section(model)
    assert finding.level == "warn"
    assert tells(finding.text, "conv2_1", "drawn at random")
    assert "1 silent filters in conv1_2" not in finding.text
    assert "1 silent filter in conv1_2" in finding.text


def test_a_file_that_was_never_trained_is_named_so_but_a_variants_name_is_not():
    model = build("vgg11_bn", **SMALL)
    _, (finding,) = made_section(model)
    assert tells(finding.text, "not trained")
    assert "never updated" not in finding.text  # that goes without saying
    _, findings = made_section(model, load("vgg11_bn"))
    assert findings == []


def test_running_statistics_that_were_lost_beside_trained_weights_are_a_fault():
    model = step(build("vgg11_bn", **SMALL), rate=0.5, steps=12)
    assert "trained" in verdicts(model).values()
    for layer in layers(model):
        if isinstance(layer.module, nn.BatchNorm2d):
            layer.module.reset_running_stats()
    _, (finding,) = made_section(model)
    assert tells(finding.text, "never updated", "mean 0, variance 1")


def test_every_layer_that_holds_nan_is_named(tmp_path):
    checkpoint = load()
    weights = {key: value.clone() for key, value in checkpoint.weights.items()}
    for key in weights:
        weights[key].view(-1)[0] = float("nan")
    save(tmp_path / "nan.pt", replace(checkpoint, weights=weights))
    with pytest.raises(Exception, match="NaN or infinite") as refused:
        load(tmp_path / "nan.pt")
    assert all(key in str(refused.value) for key in weights)
    assert "\n" not in str(refused.value)
