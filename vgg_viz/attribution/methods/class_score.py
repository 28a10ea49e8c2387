"""The class-score map: what each place of the last map adds to the score, as the classifier itself adds it up."""

from __future__ import annotations

from math import prod

import torch
from captum.attr import LayerGradientXActivation
from torch import Tensor, nn
from torch.nn import functional as F

from vgg_viz.attribution.method import Map, method
from vgg_viz.attribution.options import MethodOptions
from vgg_viz.capture.hooks import record_activations
from vgg_viz.errors import InputRefused
from vgg_viz.models.geometry import geometry
from vgg_viz.models.names import ACTIVATION_KINDS, Layer, layers
from vgg_viz.models.network import VGG, feature_map
from vgg_viz.models.vgg import describe

MAPS = ("conv", "bn", "lrn", "pool", *ACTIVATION_KINDS)


@method(
    "class_score_map",
    title="Class-score map",
    family="relevance",
    signed=True,
    unit="logit",
    complete=True,
    passes=lambda options, side: 3,
    about="What each place of the last map adds to the class score: the classifier's own sum, before it is added up.",
    source="Simonyan & Zisserman, Very Deep Convolutional Networks, ICLR 2015, section 3.2; Zhou et al., CVPR 2016, for linear heads",
)
def class_score_map(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """The score taken apart over places; in the geometry of the layer that the attribution names.

    One linear layer on the last map (Tiny VGG): sum over channels of weight times activation. Adds up to the score minus its bias.
    Hidden layers (VGG): fc6 slides over the last map as a convolution, and each place has a score; their mean is the score of the
    dense form, so each is divided by the number of places. A VGG at its own size has one; its dense form has more on a larger picture.
    raises  InputRefused for other networks with hidden layers, and for a target that is no class
    """
    parts = layers(model)
    connected = [layer for layer in parts if layer.kind == "fc"]
    if len(connected) <= 1:
        return _linear(model, images, targets, options, parts)
    if not isinstance(model, VGG):
        raise InputRefused(
            "only a VGG's hidden layers can slide over a larger map; this network is another: choose grad_cam."
        )
    layer = _geometry_of(model, images, connected[-1].name)
    scores, logits = score_places(model, images)
    if not _about_classes(options, logits):
        raise InputRefused(
            "a class-score map is about classes, and a single unit was asked about; choose grad_cam or saliency."
        )
    asked, whole = options.scores(scores), options.scores(logits)
    values = asked.gather(1, targets.view(-1, 1, 1, 1).expand(-1, 1, *asked.shape[2:]))[:, 0] / asked[0, 0].numel()
    residual = values.sum((1, 2)) - whole.gather(1, targets[:, None])[:, 0]
    return Map(values, layer=layer, residual=residual, passes=1)


def places(model: nn.Module) -> int:
    """How many values the map of one picture has, at the network's own picture size, by arithmetic; 0: the network refuses it."""
    rows = geometry(model)
    maps = [row for row in rows if row.kind in MAPS and not row.path.startswith("classifier.")]
    connected = [row for row in rows if row.kind == "fc"]
    if len(connected) <= 1:
        return prod(maps[-1].shape[1:]) if maps else 0
    if not isinstance(model, VGG):
        return 0
    about, side = describe(model.architecture), maps[-1].shape[-1]
    if about.dense:
        return prod(connected[-1].shape[1:])
    if about.pooled == 1:
        return side * side
    return int(side == (about.pooled or side))


def _geometry_of(model: VGG, images: Tensor, last: str) -> str:
    """The layer whose map has the places of the scores; raises InputRefused where no layer of the plain form has."""
    about = describe(model.architecture)
    side = feature_map(model.architecture, min(images.shape[-2:]))[1]
    if about.dense or side == (about.pooled or side):
        return last
    if about.pooled == 1:
        return [
            layer.name for layer in layers(model) if not layer.path.startswith("classifier.") and layer.kind in MAPS
        ][-1]
    raise InputRefused(
        f"a picture of {min(images.shape[-2:])} px came for a network of {model.architecture.image_side} px that reads an "
        "averaged map; build it with dense=True, whose map of class scores has a place for every window."
    )


def _linear(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions, parts: tuple[Layer, ...]) -> Map:
    """Gradient times activation at the last map: exact, because all that follows is linear; the residual leaves out the bias."""
    maps = [layer for layer in parts if layer.kind in MAPS and not layer.path.startswith("classifier.")]
    if not maps:
        raise InputRefused(
            "the network has no map of places, so its score cannot be taken apart over them; choose a gradient method."
        )
    last = maps[-1]
    with torch.no_grad(), record_activations(model, last.name) as said:
        scores = model(images)
    if said[last.name].ndim != 4 or not _about_classes(options, scores):
        raise InputRefused(
            "a class-score map takes the score of a class apart, and a single unit was asked about; choose grad_cam."
        )
    found = LayerGradientXActivation(model, last.module).attribute(images, target=targets)
    values = found.detach().sum(1)
    constant: Tensor | float = 0.0
    for bias in (getattr(layer.module, "bias", None) for layer in parts if layer.kind == "fc"):
        if isinstance(bias, Tensor):
            constant = options.scores(bias.detach()[None]).expand(len(images), -1).gather(1, targets[:, None])[:, 0]
    return Map(
        values,
        layer=last.name,
        residual=values.sum((1, 2)) - (scores.gather(1, targets[:, None])[:, 0] - constant),
        passes=3,
    )


def _about_classes(options: MethodOptions, scores: Tensor) -> bool:
    """Whether the scores asked about come from logits at all, and not from a unit below."""
    classes = torch.arange(1.0, 1e4, device=scores.device)[None]
    return not torch.equal(options.scores(classes), options.scores(2 * classes))


def score_places(model: VGG, images: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of every class at every place, and the network's own logits, from one pass: (B, K, h, w), (B, K).

    The pass is the network's own; of a plain form only the classifier runs once more, as the convolutions that its dense form has.
    """
    parts = layers(model)
    connected = [layer for layer in parts if layer.kind == "fc"]
    if describe(model.architecture).dense:
        with torch.no_grad(), record_activations(model, connected[-1].name) as said:
            model(images)
        scores = said[connected[-1].name]
        return scores, scores.mean((2, 3))
    last = [layer for layer in parts if not layer.path.startswith("classifier.") and layer.kind in MAPS][-1].name
    with torch.no_grad(), record_activations(model, last, connected[-1].name) as said:
        model(images)
        values, side = said[last], int(describe(model.architecture).pooled or said[last].shape[-1])
        for layer in parts[[part.name for part in parts].index(connected[0].name) :]:
            values, side = _slid(layer.module, values, side)
    return values, said[connected[-1].name]


def _slid(module: nn.Module, values: Tensor, side: int) -> tuple[Tensor, int]:
    """What a layer of the classifier makes of every place of a map: (N, C, h, w) -> (N, D, h', w'), and the next kernel's side."""
    if isinstance(module, nn.Linear):
        return F.conv2d(values, module.weight.view(len(module.weight), -1, side, side), module.bias), 1
    if isinstance(module, nn.BatchNorm1d):
        statistics = module.running_mean, module.running_var, module.weight, module.bias
        return F.batch_norm(values, *statistics, eps=module.eps), side
    answers: Tensor = module(values)
    return answers, side
