"""`attribute` for tests that ask many methods with one set of options: each method gets those that it reads."""

from typing import Any

from torch import Tensor, nn

import vgg_viz.attribution
from vgg_viz.attribution import Options, methods
from vgg_viz.records import Attribution

CALL = ("target", "labels", "layer")


def attribute(model: nn.Module, images: Tensor, method: str = "grad_cam", **words: Any) -> Attribution:
    """The maps of a method, with options as keywords."""
    call = {name: words.pop(name) for name in CALL if name in words}
    options = Options(**words)
    if method in methods():
        options = methods()[method].relevant(options)
    return vgg_viz.attribution.attribute(model, images, method, **call, options=options)
