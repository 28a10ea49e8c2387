"""Where the weights of a network are, and where its work is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vgg_viz.errors import VggVizError
from vgg_viz.figures.bars import two_panels
from vgg_viz.figures.style import LIGHT, count, painted
from vgg_viz.number_text import percent


@painted
def parameters_and_macs(
    names: Sequence[str],
    parameters: Sequence[int],
    macs: Sequence[int],
    *,
    title: str = "Where the weights are, and where the work is",
) -> Figure:
    """Left: each layer's share of the parameters; right: its share of the multiply-accumulates, rows aligned.

    names       of the layers with weights, from the bottom up
    parameters  (L,) of each layer, biases included
    macs        (L,) multiply-accumulates of one picture
    """
    if not names or len({len(names), len(parameters), len(macs)}) != 1:
        raise VggVizError(
            f"one parameter and one MAC count a layer are needed; {len(parameters)} and {len(macs)} came "
            f"for {len(names)} layers."
        )
    panels = []
    for name, values, colour in (("parameters", parameters, LIGHT.series[0]), ("MACs", macs, LIGHT.series[1])):
        share = np.asarray(values, float) / max(float(np.sum(values)), 1)
        texts = [f"{percent(part)}  {count(value)}" for part, value in zip(share, values, strict=True)]
        panels.append((f"{name[0].upper()}{name[1:]} [% of {count(float(np.sum(values)))}]", share, texts, colour))
    return two_panels(list(names), panels[0], panels[1], title=title, full=False)
