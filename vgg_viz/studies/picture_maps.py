"""What the network says about the picture, and all maps of the question, from as few passes as they allow."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vgg_viz.attribution import Options, after_activation, attribute, choose_layer, gradient_bundle
from vgg_viz.attribution.cam_reduction import CAMS
from vgg_viz.attribution.layers import layer_for, layers_below
from vgg_viz.attribution.method import METHODS
from vgg_viz.attribution.targets import Target
from vgg_viz.capture.hooks import activations_and_gradients, eval_mode, frozen, unit_output
from vgg_viz.errors import InputRefused
from vgg_viz.maths.outputs import meaning
from vgg_viz.models.geometry import LayerGeometry
from vgg_viz.models.outputs import class_logits, outputs_of
from vgg_viz.records import Attribution, LayerChoice, Neuron
from vgg_viz.studies.picture_request import Classes, Question, resolve_classes

UNIT = -1  # in place of a class index where the maps are about a unit


@dataclass(frozen=True, slots=True)
class Maps:
    """What was found; every map is raw, and signed where its method can be.

    logits      (K,); of a network without a classifier (0,)
    classes     that the question came to; None: the maps are about a unit
    unit_value  what that unit says, or None
    maps        {(method, class index or UNIT): map of the one picture}
    layer       where the layered methods looked, and why
    by_layer    {layer: map for the predicted class or the unit}, every convolution in its order: by the first method asked for of those that
                one pass makes for all layers, else Grad-CAM
    activation  (C, h, w) what that layer said
    channels    (C,) how much of the sum of its Grad-CAM comes from each channel, or None: nobody asked
    passes      forward and backward passes, each counted as one
    outputs     what the logits mean
    """

    logits: Tensor
    classes: Classes | None
    unit_value: float | None
    maps: dict[tuple[str, int], Attribution]
    layer: str
    reason: str
    by_layer: dict[str, Attribution]
    activation: Tensor
    channels: Tensor | None
    passes: float
    outputs: str = "softmax"

    @property
    def deep(self) -> str:
        """The method that stands at every convolution."""
        return next(iter(self.by_layer.values())).method

    @property
    def predicted(self) -> int | None:
        """The likeliest class; None without a classifier."""
        return int(self.logits.argsort(descending=True, stable=True)[0]) if len(self.logits) else None

    @property
    def shown(self) -> Tensor:
        """(K,) what a reader is shown: probabilities, or scores."""
        return meaning(self.logits, self.outputs)

    @property
    def about(self) -> tuple[int, ...]:
        """What there are maps about: class indices, or UNIT."""
        return (UNIT,) if self.classes is None else self.classes.targets

    def difference(self, method: str) -> Attribution | None:
        """The map of the first of the pair less that of the second; None for a unit, and where there is one output alone."""
        if self.classes is None or self.classes.alone:
            return None
        first, second = (self.maps[method, index] for index in self.classes.pair)
        return Attribution(
            method,
            first.values - second.values,
            first.unit,
            True,
            first.layer,
            first.targets,
            passes=first.passes + second.passes,
            seconds=first.seconds + second.seconds,
            settings=first.settings,
            against=second.targets,
        )


def compute(
    model: nn.Module,
    image: Tensor,
    question: Question,
    rows: tuple[LayerGeometry, ...],
    *,
    seed: int = 0,
    channels: bool = True,
) -> Maps:
    """Ask the network the question about one picture (1, C, H, W).

    rows      its geometry
    channels  whether to ask for the part of each channel too: one pass more
    """
    at = _layer(model, image, question, rows)
    layer = at.name
    every = list(dict.fromkeys([*_depths(model, question.unit, rows), layer]))
    cams = [name for name in question.methods if name in CAMS]
    first = gradient_bundle(
        model, image, question.unit or "predicted", layers=every, keep=[layer], cams=cams, relu=False
    )
    logits = first.activations.logits[0].float().cpu()
    classes = None if question.unit else resolve_classes(question, logits, outputs_of(model))
    leading = UNIT if classes is None else classes.predicted
    maps: dict[tuple[str, int], Attribution] = {}
    passes = 2.0
    for index in (UNIT,) if classes is None else classes.targets:
        target: Target = question.unit or index
        bundle = (
            first if index == leading else gradient_bundle(model, image, target, layers=[layer], cams=cams, relu=False)
        )
        passes += 0.0 if index == leading else 2.0
        ready = {
            "saliency": bundle.saliency,
            "input_x_gradient": bundle.input_x_gradient,
            "grad_cam": bundle.grad_cam[layer],
        }
        ready |= {name: found[layer] for name, found in bundle.cams.items()}
        for name in question.methods:
            if name not in ready:
                ready[name] = attribute(
                    model,
                    image,
                    name,
                    target=target,
                    layer=layer if METHODS[name].layered else None,
                    options=METHODS[name].relevant(Options(seed=seed, relu=False)),
                )
                passes += ready[name].passes
            maps[name, index] = ready[name]
    activation = first.activations.maps[layer][0].float()
    said, parts = None, None
    if channels or question.unit is not None:
        weights, said = _weights(model, image, layer, question.unit or leading)
        parts = (weights * activation.sum((1, 2))).cpu()
        passes += 2.0
    deep = {"grad_cam": first.grad_cam, **first.cams}[(cams or ["grad_cam"])[0]]
    return Maps(
        logits,
        classes,
        said if question.unit else None,
        maps,
        layer,
        at.reason,
        {name: deep[name] for name in every},
        activation.cpu(),
        parts,
        passes,
        outputs_of(model),
    )


def _layer(model: nn.Module, image: Tensor, question: Question, rows: tuple[LayerGeometry, ...]) -> LayerChoice:
    """Where the layered methods look, and why."""
    if question.layer:
        return LayerChoice(question.layer, "as was asked for")
    chosen = choose_layer(rows, int(image.shape[-1]))
    usual = after_activation(rows, chosen.name)
    if question.unit is not None and (below := layer_for(model, image, None, question.unit)) != usual:
        return LayerChoice(below, f"the highest that lies below {question.unit.layer}")
    return LayerChoice(usual, chosen.reason)


def _depths(model: nn.Module, unit: Neuron | None, rows: tuple[LayerGeometry, ...]) -> list[str]:
    """Every convolution, read after its ReLU; of a unit those that it can hear."""
    below = None if unit is None else layers_below(model, unit)
    found = [after_activation(rows, row.name) for row in rows if row.kind == "conv"]
    kept = [name for name in found if below is None or name in below]
    if not kept:
        raise InputRefused(f"no layer with a map lies below unit {unit}; ask about a unit of a later layer.")
    return kept


def _weights(model: nn.Module, image: Tensor, layer: str, about: int | Neuron) -> tuple[Tensor, float]:
    """Grad-CAM's weight of each channel (C,), the mean of the gradient over its map; and the score."""
    means: list[Tensor] = []
    with ExitStack() as worn:
        for wear in (eval_mode(model), frozen(model), torch.enable_grad()):
            worn.enter_context(wear)
        lowest = worn.enter_context(
            activations_and_gradients(
                model, [layer], lambda _name, _maps, gradient: means.append(gradient[0].mean((1, 2)))
            )
        )
        heard = worn.enter_context(unit_output(model, about)) if isinstance(about, Neuron) else []
        logits = model(image.detach())
        score = heard[-1][0] if isinstance(about, Neuron) else class_logits(model, logits)[0, about]
        torch.autograd.grad(score, lowest)
    return means[0], float(score.detach())
