"""A network in memory as a checkpoint: a live module, a state dict, or the user's own code around a file of weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vgg_viz.arguments import require_arguments, shown
from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.maths.image_forms import Images, as_floats
from vgg_viz.models.check_finite import require_finite
from vgg_viz.models.checkpoint import load, read_stored, with_names
from vgg_viz.models.containers import Stored, open_file
from vgg_viz.models.formats import ReadCheckpoint
from vgg_viz.models.live.read_module import LiveWishes, read_module
from vgg_viz.models.live.trace import unwrapped
from vgg_viz.models.live.user_code import code_name, network_from, take_weights
from vgg_viz.models.metadata import Beside, notes
from vgg_viz.models.notes_beside import notes_beside
from vgg_viz.models.outputs import settled_outputs
from vgg_viz.models.resize_rule import with_resize
from vgg_viz.models.wishes import Wishes
from vgg_viz.records import Checkpoint, Evidence, Provenance

STATE_DICT = Path("state dict")  # what one in memory is called where a file has its name


def open_network(  # noqa: PLR0913 - the front door: what only the owner of a network knows
    model: nn.Module | Mapping[str, Any] | str | os.PathLike[str],
    *,
    classes: Sequence[str] | Mapping[str, str] | None = None,
    image_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    outputs: str | None = None,
    resize: str | int | None = None,
    pictures: Images | None = None,
    folder_classes: Sequence[str] = (),
) -> Checkpoint:
    """A checkpoint of any network: report, explain, audit, compare, evaluate, predict and export take it.

    A module is run once, read as a chain of layers, built again as this package's own network, and both are compared on noise:
    their logits are equal to 1e-5 of the largest, or the first layer that differs is named. It is left as it was found, and its
    weights are copied.

    Args:
        model: A module, also in DataParallel or compiled; its state dict; or the path of a file, as `load` takes it.
        classes: Names of the classes.
        image_size: Side of the pictures [px]; None: the first usual one on which it runs.
        mean: Subtracted per channel from pictures in [0, 1] before they reach the network; None: it normalises by itself, or
            ImageNet's are assumed, and that is said.
        std: Then divided by.
        outputs: What the logits mean: "softmax", "sigmoid" or "scores".
        resize: How pictures are fitted: pixels of the shorter side, or "squash".
        pictures: (B, C, H, W) as the module takes them, normalised: it is compared on these as well.
        folder_classes: Names of the folders of labelled pictures, taken where nothing else names the classes.

    Raises:
        CheckpointRefused: No chain of layers; the layer that is none is named.
    """
    given: dict[str, Any] = {"classes": classes, "image_size": image_size, "mean": mean, "std": std}
    given |= {"outputs": outputs, "resize": resize}
    require_arguments({**given, "folder_classes": folder_classes}, optional=tuple(given))
    if isinstance(model, str | os.PathLike):
        return load(model, **given, folder_classes=folder_classes)
    wishes = Wishes(
        image_side=image_size,
        mean=None if mean is None else tuple(map(float, mean)),
        std=None if std is None else tuple(map(float, std)),
        outputs=outputs,
        resize=resize,
        names=not isinstance(classes, Sequence),
    )
    if isinstance(model, nn.Module):
        tried = () if pictures is None else (as_floats(pictures).detach().float().cpu(),)
        reading = read_module(model, LiveWishes(image_size, wishes.mean, wishes.std, tried))
        found = _checkpoint(reading, _Given(type(unwrapped(model)).__name__), wishes)
        return with_names(found, classes, folder_classes)
    if isinstance(model, Mapping):
        found = read_stored(Stored("memory", _on_cpu(model)), STATE_DICT, {}, wishes)
        require_finite(found.weights, STATE_DICT)
        return with_names(found, classes, folder_classes)
    raise InputRefused(
        f"{shown(model)} came, where a network is expected: a torch.nn.Module, its state dict, or the path of a file."
    )


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
    return _checkpoint(reading, _Given(path.name, stored.value, beside), wishes)


@dataclass(frozen=True, slots=True)
class _Given:
    """What came, and where words about it may stand: what its file is called and holds, and what lies beside it."""

    name: str
    stored: object = None
    beside: Beside = field(default_factory=dict)


def _checkpoint(reading: ReadCheckpoint, given: _Given, wishes: Wishes) -> Checkpoint:
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


def _on_cpu(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict whose tensors stand on the CPU and ask for no gradient; what else it holds stays."""
    if not all(isinstance(key, str) for key in stored):
        raise CheckpointRefused("a mapping whose keys are no texts came, where a state dict is expected.")
    return {key: value.detach().cpu() if isinstance(value, Tensor) else value for key, value in stored.items()}
