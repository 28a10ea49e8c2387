"""A Keras topology as its layers in order, nested models opened; what is no chain is refused by a layer's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.keras_model import KerasModel
from vgg_viz.models.keras_network import KerasLayer

NESTED = ("Sequential", "Functional", "Model")


def keras_chain(stored: KerasModel) -> tuple[list[KerasLayer], int | None]:
    """The layers that a model's topology says, with their weights, and the side of its pictures [px], where it says one.

    Raises:
        CheckpointRefused: The topology is no chain, or reads no square pictures.
    """
    layers: list[KerasLayer] = []
    side: int | None = None
    for layer in _flat(stored.topology or {}):
        config = layer["config"]
        name = str(config.get("name", layer["class_name"]))
        side = side or _side(config)
        layers.append(KerasLayer(name, str(layer["class_name"]), config, stored.weights.get(name, {})))
    return layers, side


def _flat(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The layers of a model, nested models opened; refuses graphs that are no chain."""
    config = node["config"]
    layers = config["layers"] if isinstance(config, Mapping) else config
    if not isinstance(layers, list):
        raise TypeError("its layers are no list")
    if node["class_name"] not in NESTED:
        raise CheckpointRefused(
            f"the model is of the class {str(node['class_name'])[:60]!r}, Sequential or Functional was expected."
        )
    for before, layer in zip([None, *layers], layers, strict=False):
        if node["class_name"] != "Sequential":
            calls = layer.get("inbound_nodes") or []
            sources = set(_sources(calls))
            wanted = {_name(before)} if before is not None else set()
            if len(calls) > 1 or sources != wanted:
                raise CheckpointRefused(
                    f"the layer {_name(layer)[:60]!r} reads {', '.join(map(repr, sorted(sources))) or 'nothing'}, the one before it "
                    "was expected; only networks that are one chain can be read."
                )
        if layer["class_name"] in NESTED:
            yield from _flat(layer)
        else:
            yield layer


def _name(layer: Mapping[str, Any]) -> str:
    return str(layer.get("name") or layer["config"]["name"])


def _sources(node: object) -> Iterator[str]:
    """The layers that an inbound node names: ["conv", 0, 0, {}] of Keras 2, {"keras_history": ["conv", 0, 0]} of Keras 3."""
    if isinstance(node, list) and len(node) >= 3 and isinstance(node[0], str):
        yield node[0]
    elif isinstance(node, Mapping) and isinstance(node.get("keras_history"), list):
        yield str(node["keras_history"][0])
    elif isinstance(node, Mapping | list):
        for below in node.values() if isinstance(node, Mapping) else node:
            yield from _sources(below)


def _side(config: Mapping[str, Any]) -> int | None:
    shape = config.get("batch_input_shape") or config.get("batch_shape")
    if not isinstance(shape, list) or len(shape) != 4 or None in shape[1:3]:
        return None
    height, width = int(shape[1]), int(shape[2])
    if height != width:
        raise CheckpointRefused(
            f"the model reads pictures of {width} × {height} px; only networks for square pictures can be read."
        )
    return height
