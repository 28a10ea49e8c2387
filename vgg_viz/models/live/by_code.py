"""A network that was read live as a checkpoint; and the weights of a file in the network that the user's own code builds."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from vgg_viz.errors import InputRefused
from vgg_viz.models.check_finite import require_finite
from vgg_viz.models.containers import open_file
from vgg_viz.models.formats import ReadCheckpoint
from vgg_viz.models.live.read_module import LiveWishes, read_module
from vgg_viz.models.live.user_code import code_name, network_from, take_weights
from vgg_viz.models.metadata import Beside, notes
from vgg_viz.models.notes_beside import notes_beside
from vgg_viz.models.outputs import settled_outputs
from vgg_viz.models.resize_rule import with_resize
from vgg_viz.models.wishes import Wishes
from vgg_viz.records import Checkpoint, Evidence, Provenance


def load_by_code(source: str | os.PathLike[str] | None, code: str, wishes: Wishes) -> Checkpoint:
    """The weights of a file in the network that the user's own code builds, read as a live one.

    Args:
        source: The file.
        code: "FILE.py:NAME", run because the user has typed it.
        wishes: What the user says of the file; its chain is what the code says.

    Raises:
        InputRefused: The code does not run, or gives no network.
        CheckpointRefused: The weights are not those of this network, or it is no chain.
    """
    said = next(
        (f"--{name}" for name in ("arch", "plan", "padding", "head", "bgr") if getattr(wishes, name) is not None), None
    )
    if said is not None:
        raise InputRefused(
            f"{said} came together with --model, and your code says what the layers are; leave {said} out."
        )
    if source is None:
        raise InputRefused("--model came without a file of weights for it; give both.")
    path = Path(source)
    stored, beside = open_file(path), notes_beside(path)
    network = network_from(code)
    evidence = take_weights(network, stored.value, wishes, code_name(code), path.name)
    channels = next((module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d)), 3)
    found = notes(stored.value, beside, num_classes=0, channels=channels, names=False)
    live = LiveWishes(
        wishes.image_side or found.image_side,
        wishes.mean,
        wishes.std,
        origin=code_name(code),
        noted=(found.mean, found.std) if found.mean and found.std else None,
    )
    reading = read_module(network, live)
    about = reading.architecture
    found = notes(stored.value, beside, num_classes=about.num_classes, channels=about.in_channels, names=wishes.names)
    reading = replace(
        reading,
        classes=found.classes,
        accuracy=found.accuracy,
        evidence=(*map(Evidence, (*stored.evidence, *evidence)), *reading.evidence, *found.evidence),
    )
    return checkpoint_of(reading, Given(path.name, stored.value, beside), wishes)


@dataclass(frozen=True, slots=True)
class Given:
    """What came, and where words about it may stand: what its file is called and holds, and what lies beside it."""

    name: str
    stored: object = None
    beside: Beside = field(default_factory=dict)


def checkpoint_of(reading: ReadCheckpoint, given: Given, wishes: Wishes) -> Checkpoint:
    """The checkpoint of a network that was read live; its classes are not named yet."""
    reading = settled_outputs(reading, given.stored, given.beside, wishes.outputs)
    require_finite(reading.weights, Path(given.name))
    provenance = Provenance(
        given.name, "", reading.format, reading.evidence, reading.alternatives, accuracy=reading.accuracy
    )
    found = Checkpoint(
        reading.architecture, reading.classes, reading.weights, provenance=provenance, named=reading.named
    )
    return with_resize(found, given.stored, given.beside, wishes.resize)
