"""What cannot be asked of convolutions without a classifier, and what can: said in one place."""

from __future__ import annotations

from collections.abc import Mapping

from vgg_viz.errors import InputRefused
from vgg_viz.gallery.texts import Texts
from vgg_viz.models.build import skeleton
from vgg_viz.models.names import layers
from vgg_viz.models.outputs import has_scores
from vgg_viz.records import Architecture, Checkpoint

TEXTS = Texts(__name__)
CHANNEL = 17  # of the example, where the layer has so many


def lacks_of(checkpoints: Mapping[str, Checkpoint]) -> dict[str, str]:
    """What a gallery lacks that sections may need (`gallery.build.Study.lacks`): {"scores": why, as a sentence}, or nothing.

    Args:
        checkpoints: Those that it is about, by letter; "" for the only one.
    """
    without = [letter for letter, checkpoint in checkpoints.items() if not has_scores(checkpoint.architecture)]
    return {"scores": TEXTS.say("lacks.scores", letters=[letter for letter in without if letter])} if without else {}


def require_scores(architecture: Architecture, purpose: str) -> None:
    """Refuse what needs class scores where there is no classifier, with what works instead.

    Args:
        architecture: Of the network that is asked.
        purpose: What they were to be there for, such as "predict a class".

    Raises:
        InputRefused: There is no classifier.
    """
    if has_scores(architecture):
        return
    raise InputRefused(
        f"the file has no classifier, so there are no class scores to {purpose}; report, inspect, export and compare work, "
        f"and so does a channel: explain CHECKPOINT IMAGE --target {unit_example(architecture)}."
    )


def unit_example(architecture: Architecture) -> str:
    """A channel of the last convolution, as `explain --target` takes it: "conv5_3:17"."""
    last = [layer for layer in layers(skeleton(architecture)) if layer.kind == "conv"][-1]
    return f"{last.name}:{min(CHANNEL, int(last.module.out_channels) - 1)}"  # type: ignore[arg-type]
