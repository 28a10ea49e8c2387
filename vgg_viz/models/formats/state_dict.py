"""Bare state dicts, whatever their layers are called: one chain, under the keys of this package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vgg_viz.models.formats import ReadCheckpoint
from vgg_viz.models.network import layer_paths
from vgg_viz.models.plan import write_plan
from vgg_viz.models.state_dict_chain import ReadChain, read_chain
from vgg_viz.models.state_dict_modules import COUNTER, StoredLayer
from vgg_viz.models.state_dict_plan import read_as_plan
from vgg_viz.models.vgg import canonical
from vgg_viz.models.wishes import Wishes
from vgg_viz.records import Architecture, Evidence

COMPACT_BELOW = 112  # px; above, ImageNet's statistics are what almost everybody used
IMAGENET = Evidence(
    "Preprocessing: ImageNet's mean and std are assumed; a state dict does not say.", ("--mean", "--std")
)
SMALL = Evidence(
    "Other preprocessing: CIFAR-10's (--mean 0.4914,0.4822,0.4465 --std 0.247,0.2435,0.2616), one half (--mean 0.5,0.5,0.5 "
    "--std 0.5,0.5,0.5) or none (--mean 0,0,0 --std 1,1,1) is as usual for small pictures.",
    ("--mean", "--std"),
)
UNIT = Evidence(
    "Preprocessing: pictures in [0, 1] without mean and std, as in the courses, are assumed; the file does not say.",
    ("--mean", "--std"),
)
GREY = Evidence(
    "Preprocessing: a convolution in front makes three channels of grey pictures; these are assumed in [0, 1] without mean and std.",
    ("--mean", "--std"),
)
KEYS = {
    "torchvision": "The keys features.{i} and classifier.{i} are torchvision's.",
    "timm": "The keys pre_logits.fc1, pre_logits.fc2 and head.fc are timm's: a classifier of convolutions, read as "
    "linear layers.",
    "tiny_vgg": "The keys of its blocks and classifier.1 are those of the courses' TinyVGG.",
    "unfamiliar keys": "The keys are of no known convention; the layers were taken in an order in which their shapes follow "
    "each other.",
}
NOTHING = Wishes()


def read_state_dict(
    weights: Mapping[str, Tensor], wishes: Wishes = NOTHING, notes: Sequence[Sequence[object]] = ()
) -> ReadCheckpoint | None:
    """The network whose tensors these are; None where no tensor is a convolution's kernel.

    Args:
        weights: A bare state dict: wrappers, prefixes and reparametrisations are taken off.
        wishes: What the user says: `plan`, `head`; with `arch`, pools that nothing shows are at the paper's places.
        notes: Lists in the file that may say where pools are ([64, "M", 128, ...]).

    Raises:
        PlanUnclear: Where several networks fit and nothing tells them apart.
        CheckpointRefused: Where the tensors are no chain; the one that does not belong to it is named.
    """
    if wishes.plan is not None:
        chain = read_as_plan(weights, wishes.plan, head=wishes.head)
    else:
        paper = wishes.arch is not None and canonical(wishes.arch)[0] != "tiny_vgg"
        chain = read_chain(weights, notes=notes, head=wishes.head, paper=paper)
    if chain is None:
        return None
    stored, layers = chain.stored, [layer for unit in chain.stored.layers.units for layer in unit.layers]
    prefix = _prefix(layers)
    kind = _convention(layers, len(prefix))
    architecture, preprocessing, others = _pictures(chain)
    return ReadCheckpoint(
        kind,
        architecture,
        _renamed(chain, weights),
        evidence=(*(Evidence(text) for text in _about_keys(chain, prefix, kind)), *chain.evidence, preprocessing),
        alternatives=(*chain.alternatives, *others),
        ignored_keys=(*stored.ignored, *stored.empty, *stored.other_heads),
        fits=tuple(replace(architecture, plan=write_plan(steps), image_side=side) for steps, side in chain.others),
        slides=stored.slides and wishes.plan is None,
    )


def _pictures(chain: ReadChain) -> tuple[Architecture, Evidence, list[Evidence]]:
    stored, channels = chain.stored, chain.stored.in_channels
    base = Architecture(write_plan(chain.steps), stored.num_classes, channels, chain.image_side)
    if chain.kind == "course":
        return replace(base, mean=(0.0,) * channels, std=(1.0,) * channels), UNIT, []
    if channels == 1 and stored.layers.adapters:
        return replace(base, mean=(0.0,), std=(1.0,)), GREY, []
    if channels == 1:  # the same scale, without colours
        base = replace(base, mean=(sum(base.mean) / len(base.mean),), std=(sum(base.std) / len(base.std),))
    small = chain.image_side < COMPACT_BELOW and channels == 3
    return base, IMAGENET, [SMALL] if small else []


# ---------------------------------------------------------------- keys


def _prefix(layers: Sequence[StoredLayer]) -> tuple[str, ...]:
    """What the stems of all layers begin with."""
    paths = [layer.path for layer in layers]
    depth = 0
    while all(len(path) > depth + 1 for path in paths) and len({path[depth] for path in paths}) == 1:
        depth += 1
    found = paths[0][:depth]
    return found[:-1] if found and found[-1] in ("features", "conv_block_1", "block_1") else found


def _convention(layers: Sequence[StoredLayer], depth: int) -> str:
    stems = [layer.path[depth:] for layer in layers if layer.weighted]
    convs = [layer.path[depth:] for layer in layers if layer.kind == "conv"]
    if any(path[:1] == ("pre_logits",) for path in stems):
        return "timm"
    if all(path[0] in ("features", "classifier") for path in stems) and all(
        path[0] == "features" for path in convs[:1]
    ):
        return "torchvision"
    if convs and all(path[0].startswith(("conv_block_", "block_")) and len(path) == 2 for path in convs):
        return "tiny_vgg"
    return "unfamiliar keys"


def _about_keys(chain: ReadChain, prefix: tuple[str, ...], kind: str) -> Iterator[str]:
    if prefix:
        yield f"The prefix {_short('.'.join(prefix) + '.')} was taken off the keys."
    yield KEYS[kind]
    if chain.stored.empty:
        yield "The classifier of the file holds no numbers (NaN): the features alone are read, as if it were absent."
    if chain.stored.num_classes == 0 and not chain.stored.empty:
        yield "The file holds no classifier: the features alone are read."
    if chain.stored.other_heads:
        count = len(chain.stored.other_heads)
        yield f"{count} tensors of other heads, such as {_short(chain.stored.other_heads[0])}, are not part of what is read (--head)."


def _renamed(chain: ReadChain, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the chain under the keys of this package's network; nothing is copied."""
    named: dict[str, Tensor] = {}
    for path, step, keys in zip(layer_paths(chain.steps), chain.steps, chain.keys, strict=True):
        for kind, key in keys.items():
            weight = weights[key]
            if kind == "weight" and step.kind == "fc" and weight.ndim > 2:
                weight = weight.flatten(1)
            elif kind == "weight" and step.kind == "conv" and weight.ndim == 2:
                weight = weight.view(weight.shape[0], -1, step.window.kernel, step.window.kernel)
            named[f"{path}.{kind}"] = weight
        if step.kind == "bn":
            counter = f"{keys['running_mean'].rpartition('.')[0]}.{COUNTER}"
            if counter in weights:
                named[f"{path}.{COUNTER}"] = weights[counter]
            if "weight" not in keys:
                named[f"{path}.weight"] = torch.ones_like(weights[keys["running_var"]])
            if "bias" not in keys:
                named[f"{path}.bias"] = torch.zeros_like(weights[keys["running_mean"]])
    return named


def part_only(reading: ReadCheckpoint, place: str, others: Sequence[str]) -> ReadCheckpoint:
    """The reading of a part that the user asked for, with the sentence that says what lies outside of it."""
    text = (
        f"Only the part of the file under {_short(place)} is read, as you asked (--key); {len(others):,} "
        f"tensor{'s' if len(others) != 1 else ''} outside of it, such as {_short(others[0])}, "
        f"{'are' if len(others) != 1 else 'is'} left out, so that these may not be the answers of the whole network."
    )
    return replace(reading, evidence=(Evidence(text, alarm=True), *reading.evidence))


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:57]}...")
