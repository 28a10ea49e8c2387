"""Class activation maps without a gradient: each channel weighs what the score says when it alone is taken away, or kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vgg_viz.attribution.layers import default_layer, on_pixels, spatial
from vgg_viz.attribution.method import Map, method
from vgg_viz.attribution.options import MethodOptions
from vgg_viz.capture.hooks import record_activations
from vgg_viz.capture.partial_forward import batch_size_for, forward_after, run_in_batches, work_after
from vgg_viz.models.names import find
from vgg_viz.models.names import layers as layers_of

WIDEST = 512  # channels of a VGG's widest layer: what a plan reckons with before it has seen a network


@method(
    "ablation_cam",
    title="Ablation-CAM",
    family="cam",
    signed=False,
    unit="logit × activation",
    layered=True,
    reads=("layer", "relu"),
    passes=lambda options, side: 1 + WIDEST,
    passes_on=lambda model, options, side: _resumes(model, options, side),
    about="Each feature map counts by how far the score falls when it is switched off: the network is asked, its gradient is not.",
    source="Desai & Ramaswamy, Ablation-CAM: Visual Explanations for Deep CNNs via Gradient-free Localization, WACV 2020",
)
def ablation_cam(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """relu(sum over channels of w A), w = score minus score with that channel set to zero.

    The paper divides w by the score, a factor common to all channels that turns the map's sign where the score is below zero and
    says nothing for a difference of classes: left out, hence the unit. Only what follows the layer is run for each channel, all
    channels of a picture in a few batches; it counts in `passes` by its share of a forward pass's multiply-adds.
    """
    layer = _layer(model, images, options)
    with torch.no_grad(), record_activations(model, layer) as said:
        whole = model(images).gather(1, targets[:, None])
    run = forward_after(model, layer, images, options.scores)
    found = []
    for maps, target, score in zip(said[layer], targets, whole, strict=True):

        def without(these: slice, maps: Tensor = maps) -> Tensor:
            copies = maps[None].repeat(these.stop - these.start, 1, 1, 1)
            copies[range(len(copies)), range(these.start, these.stop)] = 0
            return copies

        fall = score - run_in_batches(run, without, len(maps), batch_size_for(maps.numel()))[:, target]
        found.append(torch.einsum("c,chw->hw", fall.float(), maps.float()))
    values = torch.stack(found)
    passes = _resumes(model, options, min(images.shape[-2:]))
    return Map(values.relu() if options.relu else values, layer=layer, passes=passes, signed=not options.relu)


@method(
    "score_cam",
    title="Score-CAM",
    family="cam",
    signed=False,
    unit="activation",
    layered=True,
    reads=("layer", "masks"),
    passes=lambda options, side: 1 + min(WIDEST, options.masks),
    passes_on=lambda model, options, side: 1 + min(_channels(model, options, side), options.masks),
    about="Each feature map counts by the score of the picture that it lets through: what lies in the dark of the map is black.",
    source="Wang et al., Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks, CVPR workshop 2020",
)
def score_cam(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """relu(sum over channels of w A), w = softmax over channels of the score of the picture times the channel's mask.

    A mask is the channel's map on the picture, stretched to 0 and 1; a flat channel has none and no weight. The paper subtracts the
    score of a baseline from each, which a softmax does not notice. A mask darkens the picture itself, so every channel costs a whole
    pass: of more than `masks` channels those that vary most are asked. See `layer_score_cam` for masks where tails suffice.
    """
    layer = _layer(model, images, options)
    with torch.no_grad(), record_activations(model, layer) as said:
        model(images)
    found = []
    for picture, maps, target in zip(images, said[layer], targets, strict=True):
        masks, kept = _masks(maps, options.masks)
        placed = on_pixels(model, layer, masks, picture.shape[-2:], stretch=True)

        def seen(these: slice, placed: Tensor = placed, picture: Tensor = picture) -> Tensor:
            return (placed[these, None] * picture).contiguous(memory_format=torch.channels_last)

        found.append(_weighed(run_in_batches(model, seen, len(masks), options.batch_size), target, maps, kept))
    passes = 1 + min(said[layer].shape[1], options.masks)
    return Map(torch.stack(found), layer=layer, passes=passes, signed=False)


@method(
    "layer_score_cam",
    title="Score-CAM at the layer",
    family="cam",
    signed=False,
    unit="activation",
    layered=True,
    reads=("layer",),
    passes=lambda options, side: 1 + WIDEST,
    passes_on=lambda model, options, side: _resumes(model, options, side),
    about="Score-CAM whose masks darken the layer's own maps instead of the picture, so that only what follows must be run.",
    source="After Wang et al., Score-CAM, CVPR workshop 2020; masks on the layer instead of the picture: this package, 2026",
)
def layer_score_cam(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """As `score_cam`, with every channel of the layer multiplied by the mask of one: the same question, asked one floor up.

    Not the paper's map: what the lower layers make of a mask's edges is not in it.
    """
    layer = _layer(model, images, options)
    with torch.no_grad(), record_activations(model, layer) as said:
        model(images)
    run = forward_after(model, layer, images, options.scores)
    found = []
    for maps, target in zip(said[layer], targets, strict=True):
        masks, kept = _masks(maps, maps.shape[0])

        def through(these: slice, masks: Tensor = masks, maps: Tensor = maps) -> Tensor:
            return masks[these, None] * maps

        found.append(
            _weighed(run_in_batches(run, through, len(masks), batch_size_for(maps.numel())), target, maps, kept)
        )
    return Map(torch.stack(found), layer=layer, passes=_resumes(model, options, min(images.shape[-2:])), signed=False)


def _masks(maps: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Maps of channels (C, h, w) stretched to 0 and 1, without flat ones, and which they are: (n, h, w), (n,)."""
    rows = maps.flatten(1).float()
    low, high = rows.amin(1), rows.amax(1)
    spread = (rows - rows.mean(1, keepdim=True)).square().sum(1).where(high > low, -1)
    kept = spread.sort(descending=True, stable=True).indices[: min(most, int((high > low).sum()))].sort().values
    stretched = (rows - low[:, None]) / (high - low).where(high > low, 1)[:, None]
    return stretched[kept].view(-1, *maps.shape[1:]).to(maps.dtype), kept


def _weighed(scores: Tensor, target: Tensor, maps: Tensor, kept: Tensor) -> Tensor:
    if not len(kept):
        return maps.new_zeros(maps.shape[1:], dtype=torch.float32)
    weights = scores[:, target].float().softmax(0)
    return torch.einsum("c,chw->hw", weights, maps[kept].float()).relu()


def _layer(model: nn.Module, images: Tensor, options: MethodOptions) -> str:
    return spatial(model, options.layer or default_layer(model, images)).name


def _planned(model: nn.Module, options: MethodOptions, side: int) -> str:
    return options.layer or default_layer(model, torch.empty(1, 3, side, side, device="meta"))


def _channels(model: nn.Module, options: MethodOptions, side: int) -> int:
    """Channels of the layer: those of the last convolution up to it."""
    top, width = find(model, _planned(model, options, side)).name, 0
    for layer in layers_of(model):
        width = int(getattr(layer.module, "out_channels", width))
        if layer.name == top:
            break
    return width


def _resumes(model: nn.Module, options: MethodOptions, side: int) -> float:
    """A forward pass, and for each channel what follows the layer."""
    return 1 + _channels(model, options, side) * work_after(model, _planned(model, options, side), side)
