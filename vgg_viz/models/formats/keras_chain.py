"""A Keras topology read as a chain of layers: convolutions, pools, then dense layers; anything else is refused by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.keras_model import KerasModel

NESTED = ("Sequential", "Functional", "Model")
IDENTITY = (  # what these do ends with the training
    "Dropout",
    "SpatialDropout2D",
    "GaussianNoise",
    "RandomFlip",
    "RandomRotation",
    "RandomZoom",
    "RandomContrast",
    "RandomTranslation",
    "RandomBrightness",
)


@dataclass(slots=True)
class KerasChain:
    """The layers of a VGG in order.

    Attributes:
        convs: Names of the convolutions.
        norms: Names of the batch norms.
        denses: Names of the dense layers.
        kinds: "conv" and "pool" in order; empty where only weights are known.
        padding: Of the 3x3 convolutions [px], None where only weights are known.
        side: Of the pictures [px], where the model says it.
        average: The last map is averaged to one place, not flattened.
        ceils: A pool would round an odd map up.
        epsilons: Of the batch norms.
        absent: (layer, "gamma" or "beta") that a batch norm does without.
        rescaled: (scale, offset) of values from 0 to 255, where the model has a layer Rescaling.
    """

    evidence: str
    convs: list[str] = field(default_factory=list)
    norms: list[str] = field(default_factory=list)
    denses: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    padding: int | None = None
    side: int | None = None
    average: bool = False
    ceils: bool = False
    epsilons: list[float] = field(default_factory=list)
    absent: set[tuple[str, str]] = field(default_factory=set)
    biasless: set[str] = field(default_factory=set)
    rescaled: tuple[float, float] | None = None


def keras_chain(stored: KerasModel) -> KerasChain:
    """The chain that a model is, from its topology or else from the shapes of its weights; raises CheckpointRefused."""
    chain = _bare(stored) if stored.topology is None else _walked(stored.topology)
    if not chain.convs:
        raise CheckpointRefused(f"this {stored.maker} model has no convolutions; only VGG networks can be read.")
    if not chain.denses:
        raise CheckpointRefused(
            f"this {stored.maker} model ends in its last map, without a classifier; "
            "give one saved with include_top=True."
        )
    if chain.norms and len(chain.norms) != len(chain.convs):
        raise CheckpointRefused(
            f"{len(chain.norms)} of {len(chain.convs)} convolutions have batch norm, all or none were expected; "
            "only VGG networks can be read."
        )
    return chain


def _bare(stored: KerasModel) -> KerasChain:
    """Weights alone: layers are told by the shapes of their kernels, in the file's order."""
    chain = KerasChain(
        f"The file holds the weights of a {stored.maker} model without its topology; pools are those of the variant."
    )
    for name, parts in stored.weights.items():
        kernel = parts.get("kernel", parts.get("0"))
        rank = kernel.ndim if kernel is not None else 1
        if rank == 4:
            chain.convs.append(name)
        elif rank == 2:
            chain.denses.append(name)
        elif "moving_variance" in parts or "3" in parts:
            chain.norms.append(name)
            chain.epsilons.append(1e-3)
        if rank in (2, 4) and not {"bias", "1"} & set(parts):
            chain.biasless.add(name)
    return chain


# ---------------------------------------------------------------- with a topology


def _walked(topology: Mapping[str, Any]) -> KerasChain:
    chain = KerasChain("")
    state = "features"  # then "head", then "done"
    owed = ""  # the layer that still needs its ReLU
    for layer in _flat(topology):
        kind, config = str(layer["class_name"]), layer["config"]
        name = str(config.get("name", kind))
        _note_side(chain, config)
        if kind in IDENTITY or kind == "InputLayer":
            continue
        activation = _activation(kind, config, name)
        if kind in ("Activation", "ReLU", "Softmax"):
            if activation == "softmax" and state == "head" and chain.denses:
                state, owed = "done", ""
            elif activation == "relu":
                owed = ""
            elif activation != "linear":
                _refuse(name, f"{kind} ({activation})", "ReLU was expected there")
            continue
        if owed and not (kind == "BatchNormalization" and owed in chain.convs):
            _refuse(owed, "layer without ReLU", "every layer of a VGG but the last has one")
        if state == "features" and kind == "Rescaling" and not chain.convs:
            chain.rescaled = _number(config["scale"], name), _number(config.get("offset", 0), name)
            if not chain.rescaled[0] > 0:
                _refuse(name, f"Rescaling by {chain.rescaled[0]:g}", "a scale above 0 was expected")
        elif state == "features" and kind == "Conv2D":
            _conv(chain, config, name)
            owed = "" if activation == "relu" else name
        elif state == "features" and kind == "BatchNormalization" and owed and len(chain.norms) < len(chain.convs):
            _norm(chain, config, name)
        elif state == "features" and kind == "MaxPooling2D" and chain.convs:
            if _pair(config["pool_size"]) != 2 or _pair(config.get("strides") or 2) != 2:
                _refuse(name, f"pool of {config['pool_size']}", "2 × 2 with stride 2 was expected")
            chain.ceils = chain.ceils or config.get("padding") == "same"
            chain.kinds.append("pool")
        elif state == "features" and kind in ("Flatten", "GlobalAveragePooling2D") and chain.convs:
            state, chain.average = "head", kind != "Flatten"
        elif state == "head" and kind == "Dense":
            chain.denses.append(name)
            if not config.get("use_bias", True):
                chain.biasless.add(name)
            owed = "" if activation == "relu" else name
            if activation == "softmax":
                state, owed = "done", ""
        else:
            _refuse(name, kind, "a VGG is a chain of 2-D convolutions, ReLU, 2 × 2 max-pools, then dense layers")
    dense = f"{len(chain.denses)} dense layer{'' if len(chain.denses) == 1 else 's'}"
    pools = chain.kinds.count("pool")
    chain.evidence = (
        f"The topology of the model is a chain of {len(chain.convs)} convolutions, {pools} pools and {dense}."
    )
    return chain


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


def _refuse(name: str, what: str, expected: str) -> None:
    kind = " ".join(what.split())[:80]
    raise CheckpointRefused(f"the layer {name[:60]!r} is a {kind}; {expected}, and only VGG networks can be read.")


def _note_side(chain: KerasChain, config: Mapping[str, Any]) -> None:
    shape = config.get("batch_input_shape") or config.get("batch_shape")
    if chain.side is None and isinstance(shape, list) and len(shape) == 4 and None not in shape[1:3]:
        height, width = int(shape[1]), int(shape[2])
        if height != width:
            raise CheckpointRefused(
                f"the model reads pictures of {width} × {height} px; only VGG networks for square pictures can be read."
            )
        chain.side = height


def _activation(kind: str, config: Mapping[str, Any], name: str) -> str:
    if kind == "ReLU":
        plain = not any((config.get("negative_slope"), config.get("threshold"), config.get("max_value") is not None))
        return "relu" if plain else "leaky or clipped ReLU"
    activation = "softmax" if kind == "Softmax" else config.get("activation") or "linear"
    if kind in ("Conv2D", "Dense") and activation not in ("relu", "linear", *(["softmax"] if kind == "Dense" else [])):
        _refuse(name, f"{kind} with the activation {str(activation)[:40]}", "ReLU was expected there")
    return str(activation)


def _conv(chain: KerasChain, config: Mapping[str, Any], name: str) -> None:
    kernel = _pair(config["kernel_size"])
    steps = (_pair(config.get("strides", 1)), _pair(config.get("dilation_rate", 1)), int(config.get("groups", 1)))
    padding = config.get("padding", "valid")
    if (
        kernel not in (1, 3)
        or steps != (1, 1, 1)
        or padding not in ("valid", "same")
        or config.get("data_format") == "channels_first"
    ):
        _refuse(
            name,
            f"convolution of {config['kernel_size']}, stride, dilation and groups {steps}, padding {str(padding)[:20]}",
            "3 × 3 or 1 × 1 with stride 1, channels last, was expected",
        )
    if kernel == 3:
        pixels = int(padding == "same")
        if chain.padding not in (None, pixels):
            _refuse(name, f"convolution with padding {padding}", "the same padding everywhere was expected")
        chain.padding = pixels
    chain.convs.append(name)
    chain.kinds.append("conv")
    if not config.get("use_bias", True):
        chain.biasless.add(name)


def _norm(chain: KerasChain, config: Mapping[str, Any], name: str) -> None:
    axis = config.get("axis", -1)
    if (axis[0] if isinstance(axis, list) else axis) not in (3, -1):
        _refuse(name, f"batch norm over axis {axis}", "the channels were expected")
    chain.norms.append(name)
    chain.epsilons.append(_number(config.get("epsilon", 1e-3), name))
    chain.absent |= {
        (name, part) for part, flag in (("gamma", "scale"), ("beta", "center")) if not config.get(flag, True)
    }


def _pair(value: Any) -> int:
    """The side of a square window, written as 2 or [2, 2]; 0 for one that is not square."""
    values = value if isinstance(value, list) else [value]
    return int(values[0]) if all(v == values[0] for v in values) else 0


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
        _refuse(name, f"layer with the number {str(value)[:40]}", "one number for all channels was expected")
    return float(value)  # type: ignore[arg-type]
