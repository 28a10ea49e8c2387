"""A network in memory as a checkpoint: a live module, or a state dict."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vgg_viz.arguments import require_arguments, shown
from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.maths.image_forms import Images, as_floats
from vgg_viz.models.check_finite import require_finite
from vgg_viz.models.checkpoint import load, read_stored, with_names
from vgg_viz.models.containers import Stored
from vgg_viz.models.live.by_code import Given, checkpoint_of
from vgg_viz.models.live.read_module import LiveWishes, read_module
from vgg_viz.models.live.trace import unwrapped
from vgg_viz.models.wishes import Wishes
from vgg_viz.records import Checkpoint

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
        found = checkpoint_of(reading, Given(type(unwrapped(model)).__name__), wishes)
        return with_names(found, classes, folder_classes)
    if isinstance(model, Mapping):
        found = read_stored(Stored("memory", _on_cpu(model)), STATE_DICT, {}, wishes)
        require_finite(found.weights, STATE_DICT)
        return with_names(found, classes, folder_classes)
    raise InputRefused(
        f"{shown(model)} came, where a network is expected: a torch.nn.Module, its state dict, or the path of a file."
    )


def _on_cpu(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict whose tensors stand on the CPU and ask for no gradient; what else it holds stays."""
    if not all(isinstance(key, str) for key in stored):
        raise CheckpointRefused("a mapping whose keys are no texts came, where a state dict is expected.")
    return {key: value.detach().cpu() if isinstance(value, Tensor) else value for key, value in stored.items()}
