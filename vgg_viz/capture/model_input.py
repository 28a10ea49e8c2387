"""Pictures as a network takes them: whatever form they come in, converted or refused in a sentence before anything runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vgg_viz.errors import InputRefused
from vgg_viz.maths.image_forms import as_floats, as_pictures
from vgg_viz.models.build import skeleton
from vgg_viz.records import Architecture, Checkpoint


def images_for(model: object, images: object) -> Tensor:
    """Pictures as this network takes them, from any form in which a program holds them.

    Args:
        model: A network. One that vgg_viz built normalises in its first layer; of any other nobody knows what it takes.
        images: As `maths.image_forms.as_pictures` reads them; for another network as `as_floats` does.

    Returns:
        (B, C, H, W) on the device and in the precision of the network's weights.

    Raises:
        InputRefused: For what is no network, no picture, or of a size that the network cannot read.
    """
    network = require_module(model)
    about = getattr(network, "architecture", None)
    if isinstance(about, Architecture):
        pictures = as_pictures(images, channels=about.in_channels)
        if tuple(pictures.shape[2:]) != (about.image_side, about.image_side):
            _require_readable(about, pictures)
    else:
        pictures = as_floats(images)
    weight = next((one for one in network.parameters() if one.is_floating_point()), None)
    # In one order in memory: the last bits of a convolution depend on it.
    pictures = pictures.contiguous()
    return pictures if weight is None else pictures.to(weight.device, weight.dtype)


def require_module(model: object) -> nn.Module:
    """`model`, if it is a network; raises InputRefused for a checkpoint, a path and anything else."""
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, Checkpoint):
        raise InputRefused("a Checkpoint came where a network is expected; vgg_viz.build(checkpoint) makes one of it.")
    raise InputRefused(
        f"an object of type {type(model).__name__} came where a network (torch.nn.Module) is expected; "
        "vgg_viz.build(vgg_viz.load(path)) makes one of a file."
    )


def _require_readable(about: Architecture, pictures: Tensor) -> None:
    """Raises InputRefused where pictures of this size do not fit: asked of the same layers without numbers."""
    try:
        with torch.no_grad():
            skeleton(about).eval()(torch.empty(1, *pictures.shape[1:], device="meta"))
    except RuntimeError:
        height, width = pictures.shape[2:]
        raise InputRefused(
            f"pictures of {width} × {height} px came, and this network cannot read that size; "
            f"it reads {about.image_side} × {about.image_side}: resize them first."
        ) from None
