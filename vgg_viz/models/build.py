"""From a name, an architecture or a checkpoint to a network that runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.models.network import VGG, Normalise, dense_plan, dense_weights
from vgg_viz.models.plan import canonical_plan, parse_plan
from vgg_viz.models.vgg import VariantOptions, canonical, describe, title, variant_plan
from vgg_viz.records import Architecture, Checkpoint

# Below this side the paper's 7x7 average pool would have to invent pixels: pool5 is smaller than 4x4.
COMPACT_BELOW = 112
LARGEST = 1_000_000  # classes, or units of a hidden layer


def architecture(name: str, **overrides: Any) -> Architecture:
    """The usual architecture of a variant, with fields replaced; or that of a plan.

    Args:
        name: "vgg16", "vgg16_bn", "D", "a_lrn", "tiny_vgg", ..., or a plan such as "32 32 M 64 64 M | 128 K".
        overrides: Fields of `Architecture`, and of a variant those of `VariantOptions`; below 112 px a VGG gets the compact
            head unless `head` or `pooled` is given: pool5 averaged to 1x1, one hidden layer of 512.

    Raises:
        UnknownName: A name is unknown; the nearest known one is named.
        InputRefused: The numbers make no network.
    """
    chosen = {field.name: overrides.pop(field.name) for field in fields(VariantOptions) if field.name in overrides}
    side = overrides.get("image_side", 224)
    if " " in name.strip() or "|" in name:
        if set(chosen) - {"dense"}:
            raise InputRefused(f"a plan says what its layers are; leave {', '.join(chosen)} out and change the plan.")
        base = Architecture(canonical_plan(name))
        if "|" not in name:
            base = replace(base, num_classes=0)
    else:
        variant, batch_norm = canonical(name)
        usual: dict[str, Any] = {"batch_norm": batch_norm}
        if variant == "tiny_vgg":
            usual |= {"head": (), "pooled": None, "padding": 0}
        elif side < COMPACT_BELOW and not {"head", "pooled"} & set(chosen):
            usual |= {"head": (512,), "pooled": 1}
        base = Architecture(variant_plan(variant, VariantOptions(**(usual | chosen))))
        if variant == "tiny_vgg":
            base = replace(base, num_classes=10, image_side=64, mean=(0.0,) * 3, std=(1.0,) * 3)
    channels = overrides.get("in_channels", base.in_channels)
    if channels != base.in_channels:
        base = replace(base, mean=(sum(base.mean) / 3,) * channels, std=(sum(base.std) / 3,) * channels)
    wanted = require_buildable(replace(base, **overrides))
    return dense_plan(wanted) if chosen.get("dense") else wanted


def require_buildable(wanted: Architecture) -> Architecture:
    """`wanted`, if its numbers make a network; raises InputRefused with the first that does not."""
    has_head = any(step.head and step.weighted for step in parse_plan(wanted.plan))
    faults = [
        (
            not bool(has_head) <= wanted.num_classes <= (LARGEST if has_head else 0),
            f"{wanted.num_classes} classes were asked for; 1 to {LARGEST:,} are possible"
            if has_head
            else f"{wanted.num_classes} classes were asked for of a chain without a classifier; 0 are possible",
        ),
        (
            wanted.in_channels not in (1, 3),
            f"{wanted.in_channels} input channels were asked for; 1 (grey) or 3 (RGB) are possible",
        ),
        (
            not 4 <= wanted.image_side <= 4096,
            f"an image side of {wanted.image_side} px was asked for; 4 to 4096 are possible",
        ),
        (
            not len(wanted.mean) == len(wanted.std) == wanted.in_channels,
            f"{len(wanted.mean)} means and {len(wanted.std)} standard deviations came for {wanted.in_channels} channels; give one each",
        ),
        (
            not all(map(isfinite, (*wanted.mean, *wanted.std))),
            "a mean or standard deviation is no finite number; give one for each channel",
        ),
        (any(not s > 0 for s in wanted.std), "a standard deviation is not above 0; give the spread of each channel"),
    ]
    for wrong, sentence in faults:
        if wrong:
            raise InputRefused(f"{sentence}.")
    return wanted


def build(source: Architecture | Checkpoint | str, *, seed: int = 0, **overrides: Any) -> nn.Module:
    """A network in eval mode, on the CPU.

    Args:
        source: An architecture, a variant's name or a plan: seeded random weights (Kaiming, as torchvision draws them); a
            checkpoint: its weights, shared with it, not copied.
        seed: Of random weights.
        overrides: Fields of `Architecture` (not for a checkpoint, except dense=True: the same weights in the dense
            form).

    Returns:
        Module with `.architecture`; (B, C, H, W) in [0, 1] -> logits (B, K).
    """
    dense = isinstance(source, Checkpoint | Architecture) and overrides.pop("dense", False)
    if isinstance(source, Checkpoint):
        wanted, weights = source.architecture, dict(source.weights)
        if dense and not describe(wanted).dense:
            wanted, weights = dense_weights(wanted, weights)
        if overrides:
            raise InputRefused(f"a checkpoint fixes its {', '.join(overrides)}; give these to load() instead.")
        return assemble(wanted, weights)
    if isinstance(source, str):
        wanted = architecture(source, **overrides)
    else:
        wanted = require_buildable(replace(source, **overrides))
        wanted = dense_plan(wanted) if dense and not describe(wanted).dense else wanted
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VGG(wanted)
        _initialise(model)
    return model.eval()


def assemble(wanted: Architecture, weights: Mapping[str, Tensor]) -> nn.Module:
    """A network around tensors that already exist: built without storage, then given `weights` as they are.

    A memory-mapped VGG16 is ready in milliseconds this way; building, filling and copying takes seconds.

    Raises:
        CheckpointRefused: Names or shapes do not fit.
    """
    model = skeleton(wanted)
    try:
        model.load_state_dict(dict(weights), assign=True)
    except RuntimeError as error:
        lines = [line.strip().rstrip(".") for line in str(error).splitlines()[1:3]]
        raise CheckpointRefused(
            f"the weights do not fit {title(wanted)} with {wanted.num_classes} classes at {wanted.image_side} px "
            f"({'; '.join(lines)}); name the right --plan, --arch, --classes or --image-size."
        ) from None
    model.normalise = Normalise(wanted.mean, wanted.std)  # its buffers were never part of the file
    return model.eval()


def skeleton(wanted: Architecture) -> nn.Module:
    """The network without storage, on the meta device: names and shapes only."""
    with torch.device("meta"):
        return VGG(wanted)


def _initialise(model: nn.Module) -> None:
    # The paper's N(0, 0.01) does not train beyond A without A's weights as a start; Kaiming does (paper, section 3.1).
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
