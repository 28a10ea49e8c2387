"""ONNX graphs: run once and read as a chain, whoever wrote them; what is no chain is refused by the name of its operation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.class_names import in_order
from vgg_viz.models.formats import ReadCheckpoint, checkpoint_format
from vgg_viz.models.live.read_module import LiveWishes, read_module
from vgg_viz.models.onnx_graph import OnnxGraph
from vgg_viz.models.onnx_network import OnnxNetwork

CLASSES = ("vgg_viz.classes", "classes", "names", "class_names", "labels")  # of a file's notes


@checkpoint_format("onnx")
def onnx(stored: object) -> ReadCheckpoint | None:
    """A graph that is a chain of layers; raises CheckpointRefused for other networks."""
    if not isinstance(stored, OnnxGraph):
        return None
    network = OnnxNetwork(stored)
    reading = read_module(network, LiveWishes(image_side=network.side, origin="the graph"))
    return replace(reading, format="onnx", classes=_classes(stored.notes, reading.architecture.num_classes))


def _classes(notes: Mapping[str, str], count: int) -> tuple[str, ...]:
    """Class names among the notes, where they are as many as the outputs."""
    for key in CLASSES:
        try:
            names = in_order(json.loads(notes[key]), of=key) if key in notes else ()
        except (ValueError, CheckpointRefused, RecursionError):
            continue
        if len(names) == count:
            return names
    return ()
