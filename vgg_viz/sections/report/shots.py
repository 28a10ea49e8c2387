"""Small pictures of the first screen as data: URIs: a photo, and a map over it as figures paint them."""

from __future__ import annotations

import base64

import numpy as np
from torch import Tensor
from torch.nn import functional

from vgg_viz.figures.image_grid import outlined, overlay, pixels
from vgg_viz.gallery.opening import Shot
from vgg_viz.maths.heatmaps import Scale
from vgg_viz.maths.images import Array, encode_webp, resize

SIDE, QUALITY = 224, 82  # of a picture on the page [px]; of its WebP


def picture_shot(image: Tensor, under: str, name: str) -> Shot:
    """A photo (C, H, W) in [0, 1]."""
    return Shot(_uri(_enlarged(image)), name, under)


def map_shot(image: Tensor, placed: Tensor, scale: Scale, mask: Tensor | None, words: tuple[str, str]) -> Shot:
    """A map (H, W) over its photo (C, H, W), with the outline of the object (H, W) where its place is known.

    `words` are the line under it, and what it shows for those who hear it.
    """
    photo = _enlarged(image)
    size = photo.shape[:2]
    values = functional.interpolate(placed[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    painted = overlay(photo, values.numpy(), scale)
    if mask is not None:
        inside = functional.interpolate(mask[None, None].float(), size=size, mode="nearest")[0, 0] > 0.5
        painted = outlined(painted, inside.numpy(), thickness=1)
    under, alt = words
    return Shot(_uri(painted), alt, under)


def _enlarged(image: Tensor) -> Array:
    """(H, W, 3): small pictures with every pixel as a square, large ones averaged down."""
    side = max(image.shape[-2:])
    if side > SIDE:
        image = resize(image, SIDE)
    photo = pixels(image[None])[0]
    times = max(1, SIDE // side)
    return np.asarray(photo.repeat(times, 0).repeat(times, 1), np.float32)


def _uri(picture: Array) -> str:
    content = encode_webp((np.clip(picture, 0, 1) * 255).round().astype(np.uint8), quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(content).decode("ascii")
