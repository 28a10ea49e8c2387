"""Pictures in whatever form a program holds them, as one batch: tensors, arrays, PIL images, lists of these.

The same picture gives the same numbers in every form, and those of its file; what can be read in two ways, or in none, is refused.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vgg_viz.errors import InputRefused
from vgg_viz.maths.images import from_pil, on_white
from vgg_viz.records import Batch

RED, GREEN, BLUE = 0.299, 0.587, 0.114  # luma, ITU-R BT.601

# Rounding of an undone normalisation stays far below this; an intensity of 8 bits is four times as large.
ROUNDING = 1e-3
CHANNELS = (1, 3, 4)  # grey, RGB, RGB with transparency
NARROWEST = (
    4  # [px] no network here reads a narrower picture: an axis of 4 or less is one of channels, if that is in doubt
)
EXPECTED = "a batch (B, C, H, W) or one picture (C, H, W) or (H, W, C) is expected"


# Any form of pictures, for signatures: what is behind it is decided when it comes.
Images = Tensor | np.ndarray[Any, Any] | Image.Image | Batch | Sequence[Any]


def as_pictures(value: object, *, channels: int = 3) -> Tensor:
    """Pictures in any form as one batch of intensities.

    uint8 is divided by 255; grey is repeated for a network that reads RGB, RGB becomes luma for one that reads grey,
    transparency is laid on white, as when a file is read.

    Args:
        value: A tensor or array, (B, C, H, W), (C, H, W), or the same with channels last, or (H, W) for grey: uint8, or floats in
            [0, 1]; a PIL image; a `Batch`; or a list of these, all of one size.
        channels: That the network reads, 1 or 3.

    Returns:
        (B, `channels`, H, W) float32 in [0, 1], on the device where they were.

    Raises:
        InputRefused: For floats outside [0, 1] or not finite, an order of axes that is none or ambiguous, no picture at all.
    """
    return _joined([_intensities(part, channels) for part in _parts(value)])


def as_floats(value: object) -> Tensor:
    """Pictures for a network of which nobody knows what it takes: floats of any range, as they are.

    Args:
        value: A float tensor or array, (B, C, H, W) or (C, H, W); a `Batch`; or a list of these, all of one size.

    Returns:
        (B, C, H, W) of the precision that it has.

    Raises:
        InputRefused: For uint8 and PIL images, whose mean and standard deviation only the network's owner knows; for what is no
            batch, and what is not finite.
    """
    found = []
    for part in _parts(value):
        tensor = None if isinstance(part, Image.Image) else _tensor(part)
        if tensor is None or not tensor.is_floating_point():
            what = "a PIL image" if tensor is None else _described(tensor)
            raise InputRefused(
                f"{what} came, and this network is none that vgg_viz built, so nothing says how it wants its pictures scaled; "
                "give the floats that you would give the network itself."
            )
        if tensor.ndim not in (3, 4) or tensor.numel() == 0:
            raise InputRefused(f"{_described(tensor)} came; {_none(tensor)}(B, C, H, W) or (C, H, W) is expected.")
        _require_finite(tensor)
        found.append(tensor if tensor.ndim == 4 else tensor[None])
    return _joined(found)


def luma(images: Tensor) -> Tensor:
    """RGB (B, 3, H, W) as grey (B, 1, H, W), as bright as the eye finds it."""
    weights = torch.tensor([RED, GREEN, BLUE], dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    grey: Tensor = (images * weights).sum(1, keepdim=True)
    return grey


# ---------------------------------------------------------------- forms


def _parts(value: object) -> Sequence[object]:
    """What came as a list of pictures or batches, at least one."""
    if isinstance(value, Batch):
        return [value.images]
    if not isinstance(value, list | tuple):
        return [value]
    if not value:
        raise InputRefused("an empty list came; at least one picture is expected.")
    return value


def _tensor(value: object) -> Tensor:
    """A tensor or array as a plain tensor, whatever its strides and byte order are; refuses what is neither."""
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_quantized or value.is_meta or value.is_complex():
            raise InputRefused(f"{_described(value)} came; a plain tensor with values of its own is expected.")
        return value.detach()
    if isinstance(value, str | os.PathLike):
        raise InputRefused(
            f"the path {os.fspath(value)!r} came, pictures are expected; read it with vgg_viz.read_images(path, image_side=...)."
        )
    if not (hasattr(value, "__array__") or hasattr(value, "__array_interface__")):
        raise InputRefused(
            f"{_an(type(value).__name__)} came where pictures are expected; {EXPECTED}, as tensor or array."
        )
    array = np.asarray(value)
    if array.dtype.kind not in "fbui":
        raise InputRefused(
            f"an array of type {array.dtype} came where pictures are expected; give uint8, or floats in [0, 1]."
        )
    # A copy: torch takes neither negative strides (BGR turned round) nor a foreign byte order, and writes through what it shares.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def _intensities(part: object, channels: int) -> Tensor:
    """(B, channels, H, W) float32 in [0, 1] of one entry."""
    if isinstance(part, Image.Image):
        images = from_pil(part)[None]
    else:
        tensor = _tensor(part)
        images = _channels_first(tensor, channels)
        if tensor.dtype in (torch.uint8, torch.bool):
            images = images.float() / (255 if tensor.dtype == torch.uint8 else 1)
        elif tensor.is_floating_point():
            _require_unit(images)
            images = images.float()
        else:
            raise InputRefused(
                f"{_described(tensor)} came, and nothing says which value is white; give uint8, or floats in [0, 1]."
            )
    if images.shape[1] == 4:
        laid = on_white(images.permute(0, 2, 3, 1).cpu().numpy())
        images = torch.from_numpy(laid).permute(0, 3, 1, 2).contiguous().to(images.device)
    if images.shape[1] == channels:
        return images
    return images.expand(-1, channels, -1, -1) if channels > 1 else luma(images)


def _channels_first(tensor: Tensor, channels: int) -> Tensor:
    """(B, C, H, W), whichever of the usual orders the axes stand in; refuses the others, and what fits two."""
    shape = tuple(tensor.shape)
    if tensor.ndim not in (2, 3, 4) or tensor.numel() == 0:
        raise InputRefused(f"{_described(tensor)} came; {_none(tensor)}{EXPECTED}.")
    if tensor.ndim == 2:
        return tensor[None, None]
    batch = tensor if tensor.ndim == 4 else tensor[None]
    ways = {
        name: (count, min(sides))
        for name, count, sides in (
            ("first", batch.shape[1], batch.shape[2:]),
            ("last", batch.shape[3], batch.shape[1:3]),
        )
        if count in CHANNELS
    }
    if len(ways) == 2:
        large = {name: way for name, way in ways.items() if way[1] > NARROWEST}
        ways = large or {name: way for name, way in ways.items() if way[0] == channels} or ways
    if len(ways) == 2:
        raise InputRefused(
            f"{_described(tensor)} came, whose first and last axes could both be channels; {EXPECTED}, "
            f"more than {NARROWEST} px wide and high."
        )
    if tensor.ndim == 3 and channels == 1 and ways.get("first", (1, 0))[0] > 1:
        raise InputRefused(
            f"{_described(tensor)} came, which can be one picture in colour or {shape[0]} grey ones, and this network reads grey; "
            "give images[None] for the one, images[:, None] for the others."
        )
    if not ways:
        raise InputRefused(f"{_described(tensor)} came, where no axis holds 1 (grey) or 3 (RGB) channels; {EXPECTED}.")
    return batch if "first" in ways else batch.permute(0, 3, 1, 2)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """The parts as one batch on the device of the first; refuses parts of several sizes."""
    if len(parts) == 1:  # a batch of thousands is not copied
        return parts[0]
    sizes = list(dict.fromkeys(tuple(part.shape[1:]) for part in parts))
    if len(sizes) > 1:
        first, second = (" × ".join(map(str, size)) for size in sizes[:2])
        raise InputRefused(
            f"pictures of several sizes came, {first} and {second}; bring them to one size first, "
            "or give files or a folder to vgg_viz.read_images."
        )
    return torch.cat([part.to(parts[0]) for part in parts])


# ---------------------------------------------------------------- values


def _require_finite(images: Tensor) -> tuple[float, float]:
    """The least and the greatest value."""
    low, high = (float(value) for value in images.aminmax())
    if not (np.isfinite(low) and np.isfinite(high)):  # NaN is passed on by aminmax
        wrong = ~torch.isfinite(images)
        where = ""
        if images.ndim == 4 and len(images) > 1:
            where = f" in picture {int(wrong.flatten(1).any(1).nonzero()[0])}"
        raise InputRefused(
            f"{int(wrong.sum()):,} of {images.numel():,} values{where} are not finite (NaN or infinite); "
            "every intensity must be a number: look where they come from."
        )
    return low, high


def _require_unit(images: Tensor) -> None:
    low, high = _require_finite(images)
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return
    if low >= -0.5 and high <= 1.5:
        advice = "they look resized beyond their range: images.clamp(0, 1) brings them back"
    elif low >= 0 and high <= 255:
        advice = "divide them by 255, or give them as uint8"
    else:
        advice = "they look normalised already: give them as they were before that"
    raise InputRefused(
        f"floats from {low:.4g} to {high:.4g} came, intensities in [0, 1] are expected, since the network's first layer "
        f"normalises them itself; {advice}."
    )


# ---------------------------------------------------------------- words


def _described(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    held = "sparse " if tensor.layout != torch.strided else "meta " if tensor.is_meta else ""
    return f"{_an(f'{held}{kind} tensor')} of shape {tuple(tensor.shape)}"


def _none(tensor: Tensor) -> str:
    return "that holds no picture; " if tensor.numel() == 0 else ""


def _an(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"
