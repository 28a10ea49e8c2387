"""`attribute` and `evaluate_methods` with options as keywords, for tests that ask many methods alike: each gets those that it reads."""

from dataclasses import fields
from typing import Any

from torch import Tensor, nn

import vgg_viz.attribution
from vgg_viz.attribution import Options, methods
from vgg_viz.faithfulness.evaluate import evaluate_methods
from vgg_viz.faithfulness.records import FaithfulnessRequest, FaithfulnessResult
from vgg_viz.records import Attribution

CALL = ("target", "labels", "layer")


def attribute(model: nn.Module, images: Tensor, method: str = "grad_cam", **words: Any) -> Attribution:
    """The maps of a method, with options as keywords."""
    call = {name: words.pop(name) for name in CALL if name in words}
    options = Options(**words)
    if method in methods():
        options = methods()[method].relevant(options)
    return vgg_viz.attribution.attribute(model, images, method, **call, options=options)


def evidence(model: nn.Module, images: Tensor, **words: Any) -> tuple[FaithfulnessResult, ...]:
    """The results of the tests, with the fields of the request and of its options as keywords; `masks` are those of objects."""
    words |= {"methods": words.pop("names", None)}
    numbers = {about.name for about in fields(Options)} - {"masks"}
    options = Options(**{name: words.pop(name) for name in numbers & set(words)}, masks=words.pop("random_masks", 1000))
    return evaluate_methods(model, images, FaithfulnessRequest(**words, options=options))
