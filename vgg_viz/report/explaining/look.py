"""The picture looked into: what the network says, and all maps of the question, from as few passes as they allow."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vgg_viz.attribution import after_relu, attribute, choose_layer, gradient_bundle, on_pixels
from vgg_viz.attribution.method import METHODS
from vgg_viz.capture.hooks import evaluating, frozen, shifting
from vgg_viz.errors import InputRefused
from vgg_viz.models.geometry import LayerGeometry
from vgg_viz.records import Attribution
from vgg_viz.report.explaining.question import Question

SHARED = ("grad_cam", "saliency", "input_x_gradient")  # come from one pass


@dataclass(frozen=True, slots=True)
class Look:
    """What was found; every map is raw and signed where its method can be.

    logits      (K,)
    predicted   class index; expected: what the reader expected, else what the picture would most easily have been instead
    told        whether the reader said what was expected
    pair        the difference is the map of the first less that of the second
    maps        {(method, class index): map of the one picture}
    layer       where the layered methods looked, and why
    by_layer    {layer: Grad-CAM for the predicted class}, every convolution in its order
    activation  (C, h, w) what that layer said
    channels    (C,) how much of the sum of the leading Grad-CAM comes from each channel [logit]
    passes      forward and backward passes, each counted as one
    """

    logits: Tensor
    predicted: int
    expected: int
    told: bool
    pair: tuple[int, int]
    maps: dict[tuple[str, int], Attribution]
    layer: str
    reason: str
    by_layer: dict[str, Attribution]
    activation: Tensor
    channels: Tensor
    passes: float

    @property
    def probabilities(self) -> Tensor:
        return self.logits.softmax(0)

    @property
    def classes(self) -> tuple[int, ...]:
        """Those that there are maps for: the predicted one, the expected one, and what else the difference is about."""
        return tuple(dict.fromkeys((self.predicted, self.expected, *self.pair)))

    def difference(self, method: str) -> Tensor:
        """(h, w) the map of the first of the pair less that of the second."""
        first, second = self.pair
        return self.maps[method, first].values[0] - self.maps[method, second].values[0]


def look(model: nn.Module, image: Tensor, question: Question, rows: tuple[LayerGeometry, ...], *, seed: int = 0) -> Look:
    """Ask the network the question about one picture (1, C, H, W); `rows` is its geometry."""
    convolution, reason = choose_layer(rows, int(image.shape[-1]))
    layer = question.layer or after_relu(rows, convolution)
    reason = "as was asked for" if question.layer else reason.removeprefix(f"{convolution}: ").removesuffix(".")
    every = list(dict.fromkeys([*(after_relu(rows, row.name) for row in rows if row.kind == "conv"), layer]))
    first = gradient_bundle(model, image, "predicted", layers=every, keep=[layer], relu=False)
    logits = first.activations.logits[0].float().cpu()
    predicted = int(first.targets[0])
    expected, pair = classes_of(question, logits, predicted)
    if pair[0] == pair[1]:
        raise InputRefused(
            "the difference would be that of one class and itself, which is zero everywhere: the network's answer is the class of --against "
            "already; name another one there, or the class that you expect with --target."
            if len(logits) > 1 else "a network of one class gives every picture the same answer, and there is nothing to set it against."
        )  # fmt: skip
    maps: dict[tuple[str, int], Attribution] = {}
    passes = 2.0
    for index in dict.fromkeys((predicted, expected, *pair)):
        bundle = first if index == predicted else gradient_bundle(model, image, index, layers=[layer], relu=False)
        passes += 0.0 if index == predicted else 2.0
        ready = {"saliency": bundle.saliency, "input_x_gradient": bundle.input_x_gradient, "grad_cam": bundle.grad_cam[layer]}
        for name in question.methods:
            if name in ready:
                maps[name, index] = ready[name]
                continue
            maps[name, index] = found = attribute(
                model, image, method=name, target=index, layer=layer if METHODS[name].layered else None, seed=seed, relu=False
            )
            passes += found.passes
    by_layer = {name: found for name, found in first.grad_cam.items() if name != layer or question.layer is None}
    activation = first.activations.maps[layer][0].float()
    channels = _weights(model, image, layer, predicted, activation.shape) * activation.sum((1, 2))
    return Look(
        logits, predicted, expected, question.target is not None, pair, maps, layer, reason,
        {name: replace(found, values=found.values.cpu()) for name, found in by_layer.items()}, activation.cpu(), channels.cpu(), passes + 2.0,
    )  # fmt: skip


def classes_of(question: Question, logits: Tensor, predicted: int) -> tuple[int, tuple[int, int]]:
    """What was expected instead of the answer, and the two classes of the difference.

    Expected is the target; where the network agrees with it, or nothing was said, the class it is set against, else the
    runner-up. The difference is answer less expected, unless the reader said against what.
    """
    order = [index for index in logits.argsort(descending=True, stable=True).tolist() if index != predicted]
    named = [index for index in (question.target, question.against) if index is not None and index != predicted]
    expected: int = (named or order or [predicted])[0]
    if question.against is None:
        return expected, (predicted, expected)
    return expected, (predicted if question.target is None else question.target, question.against)


def _weights(model: nn.Module, image: Tensor, layer: str, index: int, shape: torch.Size) -> Tensor:
    """Grad-CAM's weight of each channel (C,): the mean of the gradient over its map, that of a constant added to it."""
    offset = torch.zeros(1, shape[0], 1, 1, device=image.device, requires_grad=True)
    with evaluating(model), frozen(model), torch.enable_grad(), shifting(model, {layer: offset}):
        (slope,) = torch.autograd.grad(model(image.detach())[0, index], offset)
    return slope[0, :, 0, 0] / (shape[1] * shape[2])


def placed(model: nn.Module, found: Attribution, values: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (h, w) of an attribution in the pixels of its picture: (H, W)."""
    return on_pixels(model, found.layer, values[None].float().cpu(), size)[0]
