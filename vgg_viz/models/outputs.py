"""What a checkpoint's outputs mean: as the user says, as the file says, or as their number suggests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.maths.outputs import OUTPUTS, both_sides
from vgg_viz.models import class_names
from vgg_viz.models.build import assemble
from vgg_viz.models.formats import ReadCheckpoint
from vgg_viz.models.metadata import Beside, noted_outputs
from vgg_viz.models.names import layers
from vgg_viz.records import Architecture, Evidence

OPTION = "--outputs"
WRITTEN = ("vgg_viz", "vgg_viz_safetensors")  # formats that say what the outputs mean
SAID = {
    "softmax": "One class of several: the probabilities are a softmax's",
    "sigmoid": "Every output is a yes or no of its own: the probabilities are a sigmoid's",
    "scores": "The outputs are scores, no probabilities",
}


def has_scores(architecture: Architecture) -> bool:
    """Whether there is a classifier; convolutions alone have no class scores, and logits of shape (B, 0)."""
    return architecture.num_classes > 0


def is_binary(architecture: object) -> bool:
    """Whether one logit decides between two classes: its sigmoid is the probability of the second."""
    return (
        isinstance(architecture, Architecture) and architecture.outputs == "sigmoid" and architecture.num_classes == 1
    )


def is_multilabel(architecture: Architecture) -> bool:
    """Whether each of several outputs is a yes or no of its own."""
    return architecture.outputs == "sigmoid" and architecture.num_classes > 1


def chooses_one(architecture: Architecture) -> bool:
    """Whether the network gives each picture one class: by a softmax, or by one logit for two classes."""
    return architecture.outputs == "softmax" or is_binary(architecture)


def class_count(architecture: Architecture) -> int:
    """How many names the outputs have: two where one logit decides."""
    return 2 if is_binary(architecture) else architecture.num_classes


def outputs_of(model: nn.Module) -> str:
    """What the outputs of a network mean; of one that does not say, a softmax."""
    about = getattr(model, "architecture", None)
    return about.outputs if isinstance(about, Architecture) else "softmax"


def require_alike(first: Architecture, second: Architecture) -> None:
    """Raise InputRefused for two networks whose outputs mean different things."""
    nouns = [noun_of(one) for one in (first, second)]
    if nouns[0] != nouns[1]:
        raise InputRefused(
            f"the outputs of A are {_several(nouns[0])} and those of B {_several(nouns[1])}, which cannot be compared; "
            f"if a file says it wrongly, give {OPTION}."
        )


def _several(noun: str) -> str:
    return "classes" if noun == "class" else f"{noun}s"


def require_choice(architecture: Architecture, command: str) -> None:
    """Raise InputRefused for a network that gives no picture one class, of which a command asks when it changes."""
    if not chooses_one(architecture):
        kind = "a yes or no for each label" if architecture.outputs == "sigmoid" else "scores"
        raise InputRefused(
            f"{command} asks when a picture's one class changes, and this network gives {kind}; use report or explain, or give "
            f"{OPTION} softmax if it does choose one class."
        )


def noun_of(architecture: Architecture) -> Literal["class", "label", "score"]:
    """What one output is called: a class where one is chosen, a label where each is a yes or no, a score."""
    return "class" if chooses_one(architecture) else "label" if architecture.outputs == "sigmoid" else "score"


def class_logits(model: nn.Module, logits: Tensor) -> Tensor:
    """Scores of all classes (B, K, ...) from what the network says: of one logit z with two names, (-z, z)."""
    return both_sides(logits) if is_binary(getattr(model, "architecture", None)) else logits


def two_outputs(model: nn.Module) -> nn.Module:
    """A network with an output for each class where one logit decides: its last layer twice, turned round for the first.

    What shows every layer with its sums needs the second score too; any other network is given back as it is.
    """
    about = getattr(model, "architecture", None)
    if not isinstance(about, Architecture) or not is_binary(about):
        return model
    last = [layer.path for layer in layers(model) if layer.kind == "fc"][-1]
    weights = dict(model.state_dict())
    for name in (f"{last}.weight", f"{last}.bias"):
        if name in weights:
            weights[name] = torch.cat([-weights[name], weights[name]])
    return assemble(replace(about, num_classes=2), weights)


def settled_outputs(reading: ReadCheckpoint, stored: object, beside: Beside, wanted: str | None) -> ReadCheckpoint:
    """The reading with what its outputs mean: the user's word, else the file's, else one output is a sigmoid's.

    Args:
        reading: What a format read.
        stored: All that the file held.
        beside: What lies beside the file, as `notes_beside` gives it.
        wanted: One of `OUTPUTS`, or None.

    Raises:
        CheckpointRefused: For an unknown kind, and for a softmax over one output.
    """
    about = reading.architecture
    evidence: tuple[Evidence, ...] = ()
    outputs = about.outputs
    if wanted is not None:
        outputs, evidence = wanted, (Evidence(f"You set the outputs to {wanted}. {SAID.get(wanted, '')}."),)
    elif reading.format in WRITTEN or outputs != "softmax":
        pass  # the product wrote the file, or its format has read what they mean
    elif noted := noted_outputs(stored, beside):
        outputs, where = noted
        evidence = (Evidence(f"{SAID[outputs]}, since the file's {where}."),)
        if outputs == "softmax" and about.num_classes == 1:
            outputs = "sigmoid"
    elif about.num_classes == 1 and len(reading.classes) == 2:
        outputs = "sigmoid"
        evidence = (Evidence("One output and two class names: its sigmoid is the probability of the second."),)
    elif about.num_classes == 1:
        outputs = "sigmoid"
        text = "One output is taken for a yes or no: its sigmoid is the probability of the second of two classes."
        evidence = (Evidence(text, (OPTION,)),)
    if outputs not in OUTPUTS:
        raise CheckpointRefused(
            f"outputs of the kind {outputs[:40]!r} came; one of {', '.join(OUTPUTS)} was expected ({OPTION})."
        )
    if wanted == "softmax" and about.num_classes == 1:
        raise CheckpointRefused(
            f"{OPTION} softmax came for a network of one output, whose softmax is always 100 %; "
            f"give {OPTION} sigmoid for a yes or no, or {OPTION} scores."
        )
    classes = reading.classes
    if outputs == "scores" and len(classes) > about.num_classes:
        classes, evidence = (
            (),
            (*evidence, Evidence("The file's two class names were not used: one score has one name.")),
        )
    kept = tuple(fact for fact in reading.evidence if wanted is None or fact.open({OPTION}))
    changed = replace(about, outputs=outputs)
    fits = tuple(replace(fit, outputs=outputs) for fit in reading.fits)
    return replace(reading, architecture=changed, fits=fits, classes=classes, evidence=(*kept, *evidence))


def names_for(architecture: Architecture, names: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes; where one logit decides and only the positive class is named, "not X" and "X"."""
    if is_binary(architecture) and len(names) == 1:
        return f"not {names[0]}", names[0]
    return tuple(names)


def numbered_names(architecture: Architecture) -> tuple[str, ...]:
    """What outputs are called that nobody has named."""
    if architecture.outputs == "scores":
        return tuple(f"output {index}" for index in range(architecture.num_classes))
    return class_names.numbered(class_count(architecture))
