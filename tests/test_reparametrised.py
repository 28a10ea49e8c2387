"""Weights kept in pieces: networks pruned and normalised by torch.nn.utils answer bit for bit alike when opened."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from networks import PlainVGG, settled
from test_formats import evidence, opened, same_logits
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils import spectral_norm as old_spectral_norm

from vgg_viz.errors import CheckpointRefused


def old_weight_norm(module: nn.Module, dim: int | None = 0) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.nn.utils.weight_norm(module, dim=dim)


def spectral(module: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old_spectral_norm(module)


WAYS: dict[str, tuple[Callable[[nn.Module], object], str]] = {
    "pruned one by one": (lambda m: prune.l1_unstructured(m, "weight", amount=0.3), "weight_orig and weight_mask"),
    "pruned by channel": (
        lambda m: prune.ln_structured(m, "weight", amount=0.25, n=2, dim=0),
        "weight_orig and weight_mask",
    ),
    "pruned biases": (lambda m: prune.random_unstructured(m, "bias", amount=0.5), "weight_orig and weight_mask"),
    "weight norm": (lambda m: parametrizations.weight_norm(m), "a length and a direction"),
    "weight norm over another axis": (lambda m: parametrizations.weight_norm(m, dim=1), "a length and a direction"),
    "weight norm of old": (old_weight_norm, "a length and a direction"),
    "weight norm of old over everything": (lambda m: old_weight_norm(m, None), "a length and a direction"),
    "spectral norm": (lambda m: parametrizations.spectral_norm(m), "singular vectors"),
    "spectral norm of old": (spectral, "singular vectors"),
}


@pytest.mark.parametrize("name", WAYS)
def test_pieces_are_put_together_and_the_logits_stay(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    way, said = WAYS[name]
    network = settled(PlainVGG("vgg11", batch_norm=True, classifier=nn.Linear(64, 5)))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            way(module)
    before = network.train()
    with torch.no_grad():
        before(torch.rand(2, 3, 32, 32))  # spectral norm and batch norm take their steps
    network.eval()
    weights = network.state_dict()
    assert (
        not any(key == "features.0.weight" for key in weights) or "bias" in name
    )  # else nothing would be put together
    back = opened({"state_dict": weights}, tmp_path)
    assert same_logits(back, network, 32)
    assert said in evidence(back)
    if name == "pruned one by one":
        zeros, total = 0, 0
        for module in network.modules():
            if hasattr(module, "weight_mask"):
                zeros, total = zeros + int((module.weight == 0).sum()), total + module.weight.numel()
        assert f"set {zeros / total * 100:.1f} % of the masked weights to zero" in evidence(back)


class Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


def test_a_parametrisation_of_ones_own_is_refused(tmp_path: Path) -> None:
    network = settled(PlainVGG("vgg11", classifier=nn.Linear(64, 5)))
    parametrize.register_parametrization(network.features[0], "weight", Doubled())
    with pytest.raises(CheckpointRefused, match=r"pieces of 'features\.0\.weight' .* remove the reparametrisation"):
        opened(network.state_dict(), tmp_path)
