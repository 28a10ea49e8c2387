"""timm's keys: torchvision's `features.{i}`, and a classifier of convolutions, `pre_logits.fc1`, `pre_logits.fc2`, `head.fc`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.formats import ReadCheckpoint, standardised, state_dict_format
from vgg_viz.models.from_shapes import deduced, strangers
from vgg_viz.models.layer_order import numbered_architecture, numbered_layers

HIDDEN, SCORES = ("pre_logits.fc1", "pre_logits.fc2"), "head.fc"


@state_dict_format("timm")
def timm(weights: Mapping[str, Tensor]) -> ReadCheckpoint | None:
    """Kernels become rows of the same numbers: at 224 px and below timm's dense classifier is the plain one.

    Above, it slides; `ReadCheckpoint.slides` says so, and the dense form is built there.
    """
    if any(f"{stem}.weight" not in weights or weights[f"{stem}.weight"].ndim != 4 for stem in HIDDEN):
        return None
    if f"{SCORES}.weight" not in weights:
        raise CheckpointRefused(
            "the file is a timm VGG without a classifier (num_classes=0); save the network with its head.fc."
        )
    flat = dict(weights)
    for stem in (*HIDDEN, SCORES):
        flat[f"{stem}.weight"] = weights[f"{stem}.weight"].flatten(1)
    chain = numbered_layers(flat, (*HIDDEN, SCORES))
    if chain is None:
        return None
    base, evidence = numbered_architecture(flat, chain)
    network = deduced(flat, chain, base)
    strangers(network.ignored, ("features.", "pre_logits.", "head."))
    sentence = "The keys pre_logits.fc1, pre_logits.fc2 and head.fc are timm's: a classifier of convolutions, read as linear layers."
    return replace(standardised("timm", network, (sentence, *evidence)), slides=True)
