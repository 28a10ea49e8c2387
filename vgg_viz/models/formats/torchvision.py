"""torchvision's keys, `features.{i}` and `classifier.{i}`: any variant, width and head, CIFAR heads included."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.formats import ReadCheckpoint, standardised, state_dict_format
from vgg_viz.models.from_shapes import deduced, strangers
from vgg_viz.models.layer_order import numbered_architecture, numbered_layers, stems
from vgg_viz.models.vgg import VARIANTS


@state_dict_format("torchvision")
def torchvision(weights: Mapping[str, Tensor]) -> ReadCheckpoint | None:
    """Keys `features.{i}`, `classifier.{i}` or a single `classifier`: pools are told by gaps in the numbers."""
    heads = stems(weights, r"(classifier(?:\.\d+)?)\.weight", (2, 4))
    chain = numbered_layers(weights, heads)
    if chain is None:
        return None
    if not heads and any(value.ndim == 2 for value in weights.values()):
        return None  # another name for the classifier
    base, evidence = numbered_architecture(weights, chain)
    if not heads:
        raise CheckpointRefused(
            f"the file holds the convolutions of {VARIANTS[base.variant].title} and no classifier; "
            "save the whole network's state_dict(), for without class scores there is nothing to explain."
        )
    network = deduced(weights, chain, base)
    strangers(network.ignored, ("features.", "classifier."))
    return standardised(
        "torchvision", network, ("The keys features.{i} and classifier.{i} are torchvision's.", *evidence)
    )
