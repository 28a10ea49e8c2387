"""Colours and surfaces for painted pictures, drawn from a generator that knows nothing of classes.

Colours are drawn in OKLab, where equal steps look equal: a contrast that is asked for is one that is seen.
Source: Ottosson, "A perceptual color space for image processing", 2020.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from vgg_viz.maths.images import enlarge

Array = np.ndarray[Any, Any]

_LMS = np.array([[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]])
_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def rgb(lab: Array) -> Array:
    """OKLab colours (..., 3) as sRGB in [0, 1]; what no screen can show is clipped."""
    linear = np.clip(((lab @ _LMS.T) ** 3) @ _RGB.T, 0, 1)
    encoded: Array = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return encoded


def tones(generator: np.random.Generator, lightness: Array, spread: Array) -> Array:
    """Pairs of related colours, each pair around its own lightness.

    Args:
        generator: Where chance comes from.
        lightness: (n,) of the middle of each pair, OKLab L, 0 to 1.
        spread: (n,) how far the two lie apart in lightness, either way round.

    Returns:
        (n, 2, 3) sRGB in [0, 1], float32.
    """
    count = len(lightness)
    hues = generator.uniform(0, 2 * np.pi, (count, 1)) + generator.normal(0, 0.2, (count, 2))
    chroma = generator.uniform(0.02, 0.17, (count, 1))
    light = lightness[:, None] + spread[:, None] * np.array([-0.5, 0.5])
    return rgb(np.stack([light, chroma * np.cos(hues), chroma * np.sin(hues)], axis=2)).astype(np.float32)


def surface(generator: np.random.Generator, side: int, pair: Array) -> Array:
    """A textured, unevenly lit surface between two tones.

    Args:
        generator: Where chance comes from.
        side: Of the pictures [px].
        pair: (2, 3) sRGB.

    Returns:
        (3, side, side) float32, about [0, 1].
    """
    kind = _KINDS[int(generator.integers(len(_KINDS)))]
    light, mixture = _light(generator, side), kind(generator, side)
    first, second = pair[0][:, None, None], pair[1][:, None, None]
    painted: Array = (first + mixture * (second - first)) * light
    return painted


@cache
def _along(side: int) -> Array:
    """Pixel centres from 0 to 64 whatever the side, so that textures scale with the picture."""
    return ((np.arange(side) + 0.5) * (64 / side)).astype(np.float32)


def _light(generator: np.random.Generator, side: int) -> Array:
    """A soft ramp of light over the surface, ±12 % at its ends at most."""
    angle, strength = generator.uniform(0, 2 * np.pi), generator.uniform(0, 0.12)
    ramp = (_along(side) - 32) / 32
    light: Array = (1 + ramp * np.float32(strength * np.cos(angle))) + (ramp * np.float32(strength * np.sin(angle)))[
        :, None
    ]
    return light


def _waves(generator: np.random.Generator, side: int, angle: float, period: float) -> Array:
    """Sin of a plane wave, (side, side) in [-1, 1]."""
    step = 2 * np.pi / period
    phase = _along(side) * np.float32(step * np.cos(angle)) + np.float32(generator.uniform(0, 2 * np.pi))
    wave: Array = np.sin(phase + (_along(side) * np.float32(step * np.sin(angle)))[:, None])
    return wave


def _plain(generator: np.random.Generator, side: int) -> Array:
    return np.broadcast_to(np.float32(generator.uniform(0, 1)), (side, side))


def _stripes(generator: np.random.Generator, side: int) -> Array:
    wave = _waves(generator, side, generator.uniform(0, np.pi), generator.uniform(4, 12))
    mixture: Array = np.clip(0.5 + np.float32(generator.uniform(0.5, 2)) * wave, 0, 1)
    return mixture


def _checks(generator: np.random.Generator, side: int) -> Array:
    angle, period = generator.uniform(0, np.pi), generator.uniform(6, 14)
    product = _waves(generator, side, angle, period) * _waves(generator, side, angle + np.pi / 2, period)
    mixture: Array = np.clip(0.5 + 2 * product, 0, 1)
    return mixture


def _dots(generator: np.random.Generator, side: int) -> Array:
    angle, period = generator.uniform(0, np.pi), generator.uniform(5, 10)
    total = _waves(generator, side, angle, period) + _waves(generator, side, angle + np.pi / 2, period)
    mixture: Array = np.clip(2 * total - 1, 0, 1)
    return mixture


def _clouds(generator: np.random.Generator, side: int) -> Array:
    coarse = enlarge(generator.random((4, 4), np.float32), side)
    fine = enlarge(generator.random((12, 12), np.float32), side)
    mixture: Array = 0.65 * coarse + 0.35 * fine
    return mixture


def _grain(generator: np.random.Generator, side: int) -> Array:
    return enlarge(generator.random((28, 28), np.float32), side)


_KINDS = (_plain, _stripes, _checks, _dots, _clouds, _grain)
