"""Figures for a notebook: what a capture or an attribution holds, drawn in one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vgg_viz.arguments import require_arguments, shown
from vgg_viz.attribution import methods, on_pixels
from vgg_viz.capture.model_input import images_for
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.figures.attention import Row, methods_side_by_side
from vgg_viz.figures.feature_maps import feature_wall
from vgg_viz.figures.fonts import readable_names
from vgg_viz.figures.image_grid import pixels
from vgg_viz.maths.heatmaps import MANY_INSIDE, attribution_scale, shared_scale
from vgg_viz.maths.image_forms import Images
from vgg_viz.records import Activations, Attribution, Batch, Checkpoint
from vgg_viz.studies.inputs import match_channels, specimen_batch

if TYPE_CHECKING:
    from vgg_viz.figures import Figure

SIDE = 192  # of a picture beside its maps [px]; less where many maps must fit


def specimens(checkpoint: Checkpoint) -> Batch:
    """The held-out labelled pictures that travel inside a checkpoint, ready for its network.

    raises  InputRefused when it carries none
    """
    if not isinstance(checkpoint, Checkpoint):
        raise InputRefused(f"{shown(checkpoint)} came, where a checkpoint is expected; vgg_viz.load(path) opens one.")
    if not checkpoint.specimens:
        raise InputRefused("this checkpoint carries no specimens; read pictures of your own with read_images(folder).")
    return match_channels(specimen_batch(checkpoint.specimens, checkpoint.architecture.image_side), checkpoint)


def plot_activations(activations: Activations, layer: str, *, picture: int = 0) -> Figure:
    """All maps of one layer for one picture, on one scale.

    layer    a layer that was captured and has maps: "relu1_2", not "fc3"
    picture  its place in the batch
    raises   UnknownName; InputRefused for a layer without maps, or a picture that is not there
    """
    if not isinstance(activations, Activations):
        raise InputRefused(f"{shown(activations)} came; give what vgg_viz.activations(model, images) returns.")
    require_arguments({"layer": layer})
    if layer not in activations.maps:
        raise UnknownName("captured layer", layer, activations.maps)
    maps = activations.maps[layer]
    if maps.ndim != 4:
        raise InputRefused(f"{layer} says one number a channel, a wall needs maps; choose a convolution, ReLU or pool.")
    one = maps[_place(picture, len(maps))].detach().float().cpu()
    scale = shared_scale(
        one,
        signed=bool((one < 0).any()),
        unit="activation",
        over=f"all {len(one)} channels of {layer}",
        quantile=MANY_INSIDE,
    )
    return feature_wall(one.numpy(), scale, title=f"{layer}: {len(one)} channels of {one.shape[1]} × {one.shape[2]}")


def plot_attribution(
    model: nn.Module,
    images: Images,
    attributions: Attribution | Iterable[Attribution],
    *,
    classes: Sequence[str] = (),
    picture: int = 0,
    mask: Tensor | None = None,
) -> Figure:
    """One picture beside its maps, each map where its units look.

    images        the pictures that were attributed, in any form that `attribute` takes them
    attributions  one, or several of the same pictures; maps of one method and layer share a scale, so they can be compared
    classes       names of all classes: then every map says which class it is about
    picture       its place in the batch
    mask          (H, W) bool, the object, outlined on every map
    raises        InputRefused when nothing came, or the picture is not there
    """
    found = [attributions] if isinstance(attributions, Attribution) else list(attributions)
    if not found:
        raise InputRefused("no attribution came, at least one is expected; make one with attribute(model, images).")
    if not all(isinstance(one, Attribution) for one in found):
        raise InputRefused("something else than attributions came; give what attribute(model, images) returns.")
    pictures = images_for(model, images).float().cpu()
    at = _place(picture, min(len(pictures), *(len(one.values) for one in found)))
    titles = [methods()[one.method].title + _about(one, at, classes) for one in found]
    size = pictures.shape[-2:]
    placed = [on_pixels(model, one.layer, one.values[at : at + 1].detach().float().cpu(), size)[0] for one in found]
    panels = []
    for one, title, values in zip(found, titles, placed, strict=True):
        alike = [
            v for other, v in zip(found, placed, strict=True) if (other.method, other.layer) == (one.method, one.layer)
        ]
        over = "this map" if len(alike) == 1 else "maps of one method"
        scale = attribution_scale(
            torch.stack(alike), one, over=over, signed=any(o.signed for o in found if o.method == one.method)
        )
        panels.append((title, values.numpy(), scale))
    outline = None if mask is None else torch.as_tensor(mask).cpu().bool().numpy()
    if outline is not None and outline.shape != tuple(size):
        raise InputRefused(f"a mask of shape {outline.shape} came for a picture of {tuple(size)}; give one (H, W).")
    shown = pictures[at : at + 1]
    if shown.min() < 0 or shown.max() > 1:  # of a network that vgg_viz did not build: normalised already
        shown = (shown - shown.min()) / (shown.max() - shown.min())
    return methods_side_by_side([Row(pixels(shown)[0], panels, mask=outline)], side=SIDE, title="")


def _about(one: Attribution, at: int, classes: Sequence[str]) -> str:
    """What a map is about, for its title: the unit, or the class where names are known."""
    if one.unit_of is not None:
        return f": {one.unit_of}"
    index = int(one.targets[at])
    if classes and index >= len(classes):
        raise InputRefused(f"{len(classes)} class names came, and a map is about class {index}; give the names of all.")
    return f": {readable_names(tuple(classes))[index]}" if classes else ""


def _place(picture: int, count: int) -> int:
    if type(picture) is not int or not 0 <= picture < count:
        raise InputRefused(f"picture {picture} was asked for; the batch holds pictures 0 to {count - 1}.")
    return picture
