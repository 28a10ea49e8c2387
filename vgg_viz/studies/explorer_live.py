"""What the explorer page holds of a network: a small one whole, to run in the page; of a large one what it said of a few pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vgg_viz.attribution.layers import after_activation, choose_layer
from vgg_viz.data import shapes
from vgg_viz.errors import InputRefused
from vgg_viz.gallery.explorer import Explorer, Rival
from vgg_viz.maths.images import encode_jpeg, encode_webp
from vgg_viz.models.geometry import LayerGeometry, geometry
from vgg_viz.models.names import ACTIVATION_KINDS, Layer, layers
from vgg_viz.models.network import Normalise
from vgg_viz.models.outputs import noun_of, two_outputs
from vgg_viz.records import Architecture, Batch, Resize
from vgg_viz.studies.answers import choose_images, select_images
from vgg_viz.studies.explorer_steps import own_numbers, page_kind, page_window
from vgg_viz.studies.explorer_stored import stored_network
from vgg_viz.studies.inputs import match_channels
from vgg_viz.studies.subject import Subject, subtitle

# A browser takes about 1 ns a multiply-add and keeps its page in memory: above these it would no longer feel live.
MOST_MACS, MOST_PARAMETERS = 60_000_000, 2_500_000
MOST_PICTURES, MOST_MISTAKES = 12, 2
PAINTED = 6  # pictures of the painted set where the report has none of its own
RUNS = ("normalise", "conv", "bn", "lrn", "pool", "avgpool", "flatten", "fc", "drop", *ACTIVATION_KINDS)
MOST_STORED = 4  # pictures of a network that does not run in the page


def refusal(model: nn.Module) -> str:
    """Why this network does not run in a page, as a sentence; "" when it does."""
    rows = geometry(model)
    macs, parameters = sum(row.macs for row in rows), sum(row.parameters for row in rows)
    if macs > MOST_MACS or parameters > MOST_PARAMETERS:
        return (
            f"With {macs / 1e6:,.0f} M multiply-adds a picture and {parameters / 1e6:,.1f} M parameters this network is too large "
            f"to run in a page (at most {MOST_MACS / 1e6:.0f} M and {MOST_PARAMETERS / 1e6:.1f} M)."
        )
    if strange := next((layer for layer in layers(model) if not _runs(layer)), None):
        return f"Layer {strange.name}, {type(strange.module).__name__}, does not run in a page."
    return ""


def without_answers(model: nn.Module) -> str:
    """Why nothing can be followed to an answer, as a sentence; "" when the network ends in one number for each output."""
    if not model.architecture.num_classes:  # type: ignore[union-attr]
        return "The network has no classifier, so there is no answer that the explorer could follow."
    if geometry(model)[-1].shape != (model.architecture.num_classes,):  # type: ignore[union-attr]
        return "The network gives a map of answers and no single one, which the explorer does not show."
    return ""


def _runs(layer: Layer) -> bool:
    """Whether the page's engine has this layer; a module that says the same in another way, such as GELU by a tanh, is not taken for it."""
    module = layer.module
    if isinstance(module, nn.GELU):
        return module.approximate == "none"
    if isinstance(module, nn.Softplus):
        return (module.beta, module.threshold) == (1, 20)
    if isinstance(module, nn.AvgPool2d):
        return module.divisor_override is None
    if isinstance(module, nn.MaxPool2d):
        return module.dilation in (1, (1, 1))
    return layer.kind in RUNS


def explore(subject: Subject) -> Explorer:
    """The explorer of a report's checkpoint, with the pictures that the report looks into first among its own.

    raises  InputRefused where there is no single answer: without a classifier, or with a map of answers
    """
    if reason := without_answers(subject.model):
        raise InputRefused(reason)
    title, about, too_large = subject.checkpoint.provenance.file or "network", subtitle(subject), refusal(subject.model)
    if not too_large:
        own = _pictures(subject)
        return Explorer(
            title,
            about,
            network(subject.model, subject.classes, subject.checkpoint.resize),
            pictures(own or _drawn(subject)),
            own is None,
        )
    inspected = subject.inspected
    batch = _drawn(subject) if inspected is None else inspected.batch
    batch = select_images(batch, list(range(min(len(batch), MOST_STORED))))
    said = (
        None
        if inspected is None
        else {name: values[: len(batch)] for name, values in inspected.activations.maps.items()}
    )
    model = two_outputs(subject.model)
    stored, answers = stored_network(model, batch, subject.classes, said if model is subject.model else None)
    stored["noun"] = subject.noun
    return Explorer(title, about, stored, _with(batch, answers), inspected is None, too_large)


def _drawn(subject: Subject) -> Batch:
    """Pictures for a checkpoint that came without any: of the painted set, and not as if their classes were the network's."""
    drawn = shapes.paint(PAINTED, seed=0, split="test", side=subject.checkpoint.architecture.image_side)
    return match_channels(Batch(drawn.images, None, drawn.names), subject.checkpoint)


def _with(batch: Batch, answers: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple({**picture, **said} for picture, said in zip(pictures(batch, exact=False), answers, strict=True))


def explore_pair(first: Subject, second: Subject) -> Explorer:
    """Two checkpoints on the pictures of the first, for one page that shows them side by side.

    raises  InputRefused when either does not run in a page, and says which
    """
    for subject in (first, second):
        if reason := without_answers(subject.model) or refusal(subject.model):
            raise InputRefused(f"{subject.checkpoint.provenance.file or 'the network'}: {reason}")
    rival = Rival(
        second.checkpoint.provenance.file or "network",
        subtitle(second),
        network(second.model, second.classes, second.checkpoint.resize),
    )
    return replace(explore(first), rival=rival)


def _pictures(subject: Subject) -> Batch | None:
    given, answers = subject.inputs.given, subject.answers
    if given is None and answers is None and subject.inspected is not None:
        given = subject.inspected.batch
    if given is not None:
        return select_images(given, list(range(min(len(given), MOST_PICTURES))))
    return (
        select_images(answers.batch, choose_images(answers, MOST_PICTURES, mistakes=MOST_MISTAKES))
        if answers is not None
        else None
    )


def pictures(batch: Batch, *, exact: bool = True) -> tuple[dict[str, Any], ...]:
    """Each picture with its name and, where known, its class.

    exact  as WebP without loss, for a network that is to give the same numbers; else as JPEG
    """
    return tuple(
        {
            "name": batch.names[i],
            "src": _source(_colour(batch.images[i]), exact),
            "true": None if batch.labels is None else int(batch.labels[i]),
        }
        for i in range(len(batch))
    )


def _source(image: Tensor, exact: bool) -> str:
    kind, content = ("webp", encode_webp(image, quality=None)) if exact else ("jpeg", encode_jpeg(image, quality=90))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _colour(image: Tensor) -> Tensor:
    return image if image.shape[0] == 3 else image.expand(3, -1, -1)


def network(model: nn.Module, classes: Iterable[str], resize: Resize | None = None) -> dict[str, Any]:
    """Architecture and weights for the page: a chain of steps that share one block of numbers.

    steps    {name, kind, shape, field, window, pads, values, head, weight, bias}; weight and bias are [first, count] in the block:
             conv (out, in, row, column); fc (out, in); bn one factor and one addend a channel; normalise std and mean;
             kind is "pool" for every max-pool and "avgpool" for every mean, without a window where it adapts to its input
    cam      {layer, why}: where the report takes Grad-CAM, and the numbers that decided
    weights  float32, little-endian, base64
    fit      {length, squash}, where a picture of the reader's own is fitted by another rule than the usual
    raises   InputRefused for a network that does not run in a page
    """
    if reason := without_answers(model) or refusal(model):
        raise InputRefused(reason)
    asked, model = model, two_outputs(model)
    architecture = model.architecture
    if not isinstance(architecture, Architecture):
        raise TypeError("a model from vgg_viz.build was expected")
    noun = "class" if model is not asked else noun_of(architecture)
    steps: list[dict[str, Any]] = []
    block: list[Tensor] = []
    filled = 0
    rows = geometry(model)
    usual = choose_layer(rows, architecture.image_side)
    for layer, row in zip(layers(model), rows, strict=True):
        if layer.kind == "drop":
            continue  # does nothing after training
        step = _step(layer, row)
        for name, values in _weights(layer).items():
            step[name] = [filled, values.numel()]
            block.append(values)
            filled += values.numel()
        steps.append(step)
    numbers = torch.cat(block).numpy().astype(np.dtype("<f4"))
    return {
        "side": architecture.image_side,
        "channels": architecture.in_channels,
        "outputs": architecture.outputs,
        "noun": noun,
        "classes": list(classes),
        "cam": {"layer": after_activation(rows, usual.name), "why": str(usual)},
        "steps": steps,
        "weights": base64.b64encode(numbers.tobytes()).decode("ascii"),
        **({"fit": {"length": resize.shorter or architecture.image_side, "squash": resize.squash}} if resize else {}),
    }


def _step(layer: Layer, row: LayerGeometry) -> dict[str, Any]:
    spatial = len(row.shape) == 3 and row.field is not None
    return {
        "name": layer.name,
        "kind": page_kind(layer),
        "shape": list(row.shape),
        "window": page_window(layer.module),
        "field": {"size": row.field.size, "jump": row.field.jump, "centre": row.field.centre}
        if spatial and row.field
        else None,
        **({"pads": True} if isinstance(layer.module, nn.AvgPool2d) and layer.module.count_include_pad else {}),
        **({"values": values} if (values := own_numbers(layer.module)) else {}),
        **({"head": True} if layer.path.startswith("classifier.") else {}),
    }


def _weights(layer: Layer) -> dict[str, Tensor]:
    """The numbers of a layer as flat float32 rows, by what they do."""
    module = layer.module
    found: dict[str, Tensor] = {}
    if isinstance(module, Normalise):
        found = {"weight": module.std, "bias": module.mean}
    elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
        if module.running_mean is None or module.running_var is None:
            raise InputRefused(
                "batch norm without running statistics has no fixed answer; load a checkpoint that kept them."
            )
        factor = module.weight.double() / (module.running_var.double() + module.eps).sqrt()
        found = {"weight": factor, "bias": module.bias.double() - module.running_mean.double() * factor}
    elif isinstance(module, nn.Conv2d | nn.Linear):
        found = {
            "weight": module.weight,
            "bias": torch.zeros(module.weight.shape[0]) if module.bias is None else module.bias,
        }
    return {name: values.detach().float().cpu().flatten() for name, values in found.items()}
