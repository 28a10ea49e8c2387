"""How alive each layer is: the share of zeros it says, and the channels that never say anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.bars import two_panels
from vgg_viz.figures.style import LIGHT, painted
from vgg_viz.number_text import percent


@painted
def sparsity_and_dead(
    names: Sequence[str],
    sparsity: Sequence[float],
    dead: Sequence[int],
    channels: Sequence[int],
    *,
    title: str = "Silent units",
    subtitle: str = "",
) -> Figure:
    """Left: the share of a layer's outputs that are zero; right: the share of its channels that are zero everywhere.

    names     of the layers, from the bottom up
    sparsity  (L,) share of outputs that are exactly zero, [0, 1]
    dead      (L,) channels that were zero at every place of every picture looked at
    channels  (L,) channels of the layer

    Half of the outputs at zero is what a ReLU does; a dead channel is one that training has lost.
    """
    if len({len(names), len(sparsity), len(dead), len(channels)}) != 1 or not names:
        raise VggVizError(
            f"one sparsity, one dead count and one channel count a layer are needed; "
            f"{len(sparsity)}, {len(dead)} and {len(channels)} came for {len(names)} layers."
        )
    share = np.asarray(dead, float) / np.maximum(np.asarray(channels, float), 1)
    return two_panels(
        list(names),
        (
            "Outputs that are zero [%]",
            np.asarray(sparsity, float),
            [percent(value) for value in sparsity],
            LIGHT.series[0],
        ),
        (
            "Channels that are always zero [%]",
            share,
            [f"{a} of {b}" for a, b in zip(dead, channels, strict=True)],
            LIGHT.series[1],
        ),
        title=title,
        subtitle=subtitle,
    )
