"""What happens to pictures on their way to the network: the fixed view for evaluation, the random ones for training.

Batches, not single pictures: one call serves 64 pictures. Chance comes from a `torch.Generator` and from nowhere else.
Simonyan & Zisserman (arXiv 1409.1556, section 3.1) flip, crop, jitter the scale and shift colours along the principal
axes of RGB (Krizhevsky et al. 2012, section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vgg_viz.maths.images import centre_crop, resize


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far training pictures may be changed; zero or False leaves a step out.

    Attributes:
        flip: Mirrored left to right, one time in two.
        turn: Also mirrored upside down and transposed: the eight views of a square, for pictures without an up.
        crop: Moved by up to this share of the side, edges repeated [share].
        zoom: Enlarged by up to this share around a random point: the paper's scale jitter at a fixed input side
            [share].
        colour: Brightness, contrast and saturation changed by up to this share.
        pca: Standard deviation of the shift along the principal axes of RGB; .1 in the paper.
    """

    flip: bool = False
    turn: bool = False
    crop: float = 0.0
    zoom: float = 0.0
    colour: float = 0.0
    pca: float = 0.0


AUGMENTATIONS = {
    "none": Augmentation(),
    "flip": Augmentation(flip=True),
    "turn": Augmentation(flip=True, turn=True),
    "move": Augmentation(crop=0.125),
    "light": Augmentation(flip=True, crop=0.125),
    "paper": Augmentation(flip=True, crop=0.125, zoom=0.25, pca=0.1),
    "strong": Augmentation(flip=True, crop=0.125, zoom=0.4, colour=0.3, pca=0.1),
}


@dataclass(frozen=True, slots=True)
class ColourAxes:
    """Principal axes of a dataset's RGB values: variances (3,) in [0, 1]², directions (3, 3) as columns."""

    variances: Tensor
    directions: Tensor


@dataclass(frozen=True, slots=True)
class TransformStep:
    """One named step on the way to the network, before and after: (3, H, W) each, sides may differ."""

    name: str
    before: Tensor
    after: Tensor


def evaluation_view(image: Tensor, side: int) -> Tensor:
    """What a picture (C, H, W) looks like to the network when nothing is left to chance: (C, side, side)."""
    return resize(image, side, "cover")


def augment(
    images: Tensor, augmentation: Augmentation, generator: torch.Generator, axes: ColourAxes | None = None
) -> Tensor:
    """A random view of each picture.

    Args:
        images: (B, 3, H, W) in [0, 1].
        augmentation: How far pictures may be changed.
        generator: Where chance comes from.
        axes: Needed for the PCA shift; without them it is left out.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    for _, change in _changes(augmentation, axes):
        images = change(images, generator)
    return images


def transform_steps(
    image: Tensor, *, side: int, augmentation: Augmentation, axes: ColourAxes | None = None, seed: int = 0
) -> list[TransformStep]:
    """The way of one picture (3, H, W) to the network, step by step, for a figure.

    The first two steps are the evaluation view; a training picture then goes through the others.
    """
    generator = torch.Generator().manual_seed(seed)
    shorter = resize(image, side)
    square = centre_crop(shorter, side)
    way = [
        TransformStep(f"shorter side to {side} px", image, shorter),
        TransformStep(f"centre {side} × {side} px", shorter, square),
    ]
    for name, change in _changes(augmentation, axes):
        before = way[-1].after
        way.append(TransformStep(name, before, change(before[None], generator)[0]))
    return way


def colour_axes(images: Tensor) -> ColourAxes:
    """Principal axes of the RGB values of (N, 3, H, W) pictures, uint8 or [0, 1]; of 2,000 pictures at most."""
    some = images[:: max(1, len(images) // 2000)]
    values = some.float().movedim(1, 0).flatten(1) / (255 if images.dtype == torch.uint8 else 1)
    variances, directions = torch.linalg.eigh(torch.cov(values).double())
    return ColourAxes(variances.clamp(min=0).float(), directions.float())


# ---------------------------------------------------------------- the changes, each (B, 3, H, W) -> (B, 3, H, W)


Change = Callable[[Tensor, torch.Generator], Tensor]


def _changes(wanted: Augmentation, axes: ColourAxes | None) -> list[tuple[str, Change]]:
    changes: list[tuple[str, Change]] = []
    if wanted.flip:
        changes.append(("mirrored by chance", lambda x, g: _where(_coin(x, g), x.flip(-1), x)))
    if wanted.turn:
        changes.append(("turned by chance", _turned))
    if wanted.zoom:
        changes.append((f"enlarged by up to {wanted.zoom:.0%}", lambda x, g: _zoomed(x, g, wanted.zoom)))
    if wanted.crop:
        changes.append((f"moved by up to {wanted.crop:.1%}", lambda x, g: _moved(x, g, wanted.crop)))
    if wanted.colour:
        changes.append((f"colours changed by up to {wanted.colour:.0%}", lambda x, g: _recoloured(x, g, wanted.colour)))
    if wanted.pca and axes is not None:
        changes.append(("shifted along the colour axes", lambda x, g: _shifted(x, g, wanted.pca, axes)))
    return changes


def _uniform(images: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    # Drawn on the generator's device and then moved: the same seed gives the same views on every device.
    drawn = torch.rand(len(images), 1, 1, 1, generator=generator, device=generator.device)
    return (low + (high - low) * drawn).to(images.device)


def _coin(images: Tensor, generator: torch.Generator) -> Tensor:
    return _uniform(images, generator, 0, 1) < 0.5


def _where(chosen: Tensor, changed: Tensor, images: Tensor) -> Tensor:
    return torch.where(chosen, changed, images)


def _turned(images: Tensor, generator: torch.Generator) -> Tensor:
    images = _where(_coin(images, generator), images.flip(-2), images)
    return _where(_coin(images, generator), images.transpose(-1, -2), images)


def _moved(images: Tensor, generator: torch.Generator, share: float) -> Tensor:
    count, _, height, width = images.shape
    reach = max(1, round(share * max(height, width)))
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    starts = _uniform(images, generator, 0, 2 * reach + 1).long(), _uniform(images, generator, 0, 2 * reach + 1).long()
    rows = starts[0] + torch.arange(height, device=images.device)[:, None]  # (B, 1, H, 1)
    columns = starts[1] + torch.arange(width, device=images.device)  # (B, 1, 1, W)
    pictures = torch.arange(count, device=images.device)[:, None, None, None]
    channels = torch.arange(images.shape[1], device=images.device)[:, None, None]
    return padded[pictures, channels, rows, columns]


def _zoomed(images: Tensor, generator: torch.Generator, share: float) -> Tensor:
    # Only ever enlarged: bilinear sampling of a shrunk picture would alias.
    scale = 1 / _uniform(images, generator, 1, 1 + share)
    x, y = ((1 - scale) * _uniform(images, generator, -1, 1) for _ in range(2))
    nothing = torch.zeros_like(scale)
    rows = torch.cat([torch.cat([scale, nothing, x], 3), torch.cat([nothing, scale, y], 3)], 2)  # (B, 1, 2, 3)
    grid = functional.affine_grid(rows[:, 0], list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False).clamp(0, 1)


def _recoloured(images: Tensor, generator: torch.Generator, share: float) -> Tensor:
    brightness, contrast, saturation = (_uniform(images, generator, 1 - share, 1 + share) for _ in range(3))
    images = images * brightness
    grey = (images * images.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    images = grey.mean(dim=(2, 3), keepdim=True).lerp(images, contrast)
    grey = (images * images.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    return grey.lerp(images, saturation).clamp(0, 1)


def _shifted(images: Tensor, generator: torch.Generator, strength: float, axes: ColourAxes) -> Tensor:
    """Add p1 a1 s1 + p2 a2 s2 + p3 a3 s3 to every pixel of a picture, a ~ N(0, strength), s² the variances."""
    amounts = torch.randn(len(images), 3, generator=generator, device=generator.device).to(images.device) * strength
    shift = (amounts * axes.variances.to(images.device).sqrt()) @ axes.directions.to(images.device).T
    return (images + shift[:, :, None, None]).clamp(0, 1)
