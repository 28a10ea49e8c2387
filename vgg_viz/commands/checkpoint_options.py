"""What the options of a command say about its checkpoint, and about the request that is made of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from vgg_viz.progress import Progress
    from vgg_viz.records import Checkpoint


def open_model(options: argparse.Namespace, *, dense: bool = False) -> tuple[Checkpoint, nn.Module]:
    """The checkpoint of `options.checkpoint`, and the network built from it on the device that was asked for."""
    from vgg_viz.models.build import build
    from vgg_viz.models.checkpoint import load
    from vgg_viz.studies.inputs import folder_classes
    from vgg_viz.studies.request import resolve_device

    folder = folder_classes(getattr(options, "data", None))
    checkpoint = load(options.checkpoint, seed=options.seed, folder_classes=folder, **overrides(options))
    return checkpoint, build(checkpoint, dense=dense).to(resolve_device(options.device))


def overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Keywords of `load`: what the user says over what the file says."""
    return {
        "arch": options.arch,
        "plan": options.plan,
        "model": options.model,
        "classes": _class_names(options.classes),
        "image_size": options.image_size,
        "resize": options.resize,
        "padding": options.padding,
        "mean": options.mean,
        "std": options.std,
        "bgr": options.bgr,
        "head": options.head,
        "key": options.key,
        "weights": options.weights,
        "outputs": options.outputs,
    }


def request_keywords(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """The keywords that every `Request` takes, from the options that the commands share."""
    from vgg_viz.commands.output import command_line
    from vgg_viz.studies.next_steps import command_words
    from vgg_viz.studies.request import resolve_device

    given = {
        name: getattr(options, name) for name in ("images", "data", "out", "preset", "seed") if hasattr(options, name)
    }
    device = resolve_device(options.device)
    said = overrides(options)
    source = getattr(options, "checkpoint", None)
    return {
        **given,
        "device": device,
        "overrides": said,
        "words": command_words(source, given.get("data"), {**said, "classes": options.classes}),
        "command": command_line(options),
        "progress": progress,
    }


def _class_names(file: str | None) -> Sequence[str] | Mapping[str, str] | None:
    if file is None:
        return None
    if Path(file).is_dir():
        from vgg_viz.studies.inputs import folder_classes

        return folder_classes(file)
    from vgg_viz.models.class_names import read_file

    return read_file(Path(file))
