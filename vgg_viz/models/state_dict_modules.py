"""The layers of a bare state dict: tensors that share a stem are one layer, and every tensor is a layer's, or nobody's and named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.metadata import MEAN_KEYS, STD_KEYS

# What profilers and counters leave among the weights: it changes no answer.
COUNTER = "num_batches_tracked"
HARMLESS = (COUNTER, "total_ops", "total_params", "n_averaged")
# Parts of a training program that are saved with a network and stand beside it.
_TRAINING = re.compile(
    r"(?:\w+_)?(?:criteri(?:on|a|ons)|loss(?:es)?(?:_?f(?:n|unc|unction|ct))?|lossf(?:n|unc)|metrics?|acc|accuracy|auroc|auc|f1|f1_?score"
    r"|precision|recall|confmat|confusion_?matrix|optim|optimi[sz]ers?|scheduler|scaler|pos_weight|class_weights?|loss_weights?)(?:_?\d+)?",
    re.ASCII | re.IGNORECASE,
)
_PARAMETERS = ("weight", "bias", "running_mean", "running_var")
_QUANTISED = ("scale", "zero_point", "_packed_params", "dtype")
MOST_LAYERS = 400


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """One layer with tensors.

    Attributes:
        stem: What its keys begin with ("features.0").
        kind: "conv", "fc", "bn", or "leaky": a PReLU with one slope.
        keys: {"weight": key, "bias": key, "running_mean": key, ...}.
        inputs: Channels or values that it reads; of batch norm the channels; 0 of a PReLU.
        outputs: Channels or values that it puts out, likewise.
        kernel: Side of a convolution's kernel [px].
        slope: Of a PReLU.
    """

    stem: str
    kind: str
    keys: Mapping[str, str] = field(default_factory=dict)
    inputs: int = 0
    outputs: int = 0
    kernel: int = 1
    slope: float = 0.0

    @property
    def weighted(self) -> bool:
        """Whether it is a convolution or a linear layer."""
        return self.kind in ("conv", "fc")

    @property
    def path(self) -> tuple[str, ...]:
        """The stem in its parts."""
        return tuple(self.stem.split("."))


def stored_layers(weights: Mapping[str, Tensor]) -> tuple[tuple[StoredLayer, ...], tuple[str, ...]]:
    """The layers in the file's order, and the keys that belong to none and change no answer.

    A file sorted by the alphabet, which puts conv10 before conv2, is read in the order of its numbers.

    Raises:
        CheckpointRefused: With the first tensor that is part of no layer of a chain.
    """
    left_out = {key for key, value in weights.items() if harmless(key, value)}
    stems: dict[str, dict[str, str]] = {}
    for key in _in_order(key for key in weights if key not in left_out):
        stem, _, parameter = key.rpartition(".")
        stems.setdefault(stem, {})[parameter] = key
    layers = tuple(_layer(stem, keys, weights) for stem, keys in stems.items())
    if len(layers) > MOST_LAYERS:
        raise CheckpointRefused(
            f"the file holds {len(layers):,} layers; networks of at most {MOST_LAYERS} can be read."
        )
    counters = {f"{layer.stem}.{COUNTER}" for layer in layers if layer.kind == "bn"}
    return layers, tuple(key for key in weights if key in left_out - counters)


def harmless(key: str, value: Tensor) -> bool:
    """Whether a tensor changes no answer: a counter, a part of the loss or of a metric, mean and std of a preprocessor."""
    parts = key.split(".")
    if parts[-1] in HARMLESS or any(_TRAINING.fullmatch(part) for part in parts[:200]):
        return True
    if parts[-1] in (*MEAN_KEYS, *STD_KEYS) and value.numel() in (1, 3):
        return True  # `metadata.notes` reads them
    counts = not value.is_floating_point() and not value.is_complex()
    return counts and value.ndim <= 1 and parts[-1] not in _PARAMETERS


def natural(text: str) -> list[tuple[bool, int, str]]:
    """A key to sort by, in which numbers count as numbers."""
    parts = re.split(r"([0-9]+)", text)
    return [(not part.isdigit(), int(part[:9]) if part.isdigit() else 0, part) for part in parts]


def _in_order(keys: Iterable[str]) -> list[str]:
    listed = list(keys)
    return sorted(listed, key=natural) if listed == sorted(listed) else listed


def _layer(stem: str, keys: Mapping[str, str], weights: Mapping[str, Tensor]) -> StoredLayer:
    if set(keys) & set(_QUANTISED):
        raise CheckpointRefused(
            f"the layer {_short(stem)} is quantised (int8); save the network as it was before it was quantised."
        )
    foreign = next((key for parameter, key in keys.items() if parameter not in _PARAMETERS), None)
    if foreign is not None:
        raise _not_of_a_chain(foreign)
    if "running_mean" in keys or "running_var" in keys:
        return _batch_norm(stem, keys, weights)
    if "weight" not in keys:
        raise _not_of_a_chain(keys["bias"])
    weight = weights[keys["weight"]]
    outputs = int(weight.shape[0]) if weight.ndim else 1
    if weight.numel() == 0:
        raise CheckpointRefused(f"{_short(keys['weight'])} holds no numbers; save the network's state_dict() again.")
    if weight.ndim == 4:
        return StoredLayer(stem, "conv", keys, int(weight.shape[1]), outputs, _kernel(keys["weight"], weight))
    if weight.ndim == 2:
        return StoredLayer(stem, "fc", keys, int(weight.shape[1]), outputs)
    if weight.ndim in (3, 5):
        raise CheckpointRefused(
            f"{_short(keys['weight'])} is a kernel of {weight.ndim - 2} dimensions; only those of pictures, of 2, can be read."
        )
    if "bias" in keys and weight.ndim == 1:
        raise CheckpointRefused(
            f"{_short(stem)} is a normalisation without running statistics, so its answers depend on the batch or on each picture "
            "(batch norm, group, layer or instance norm); train with batch norm and track_running_stats=True."
        )
    if weight.numel() == 1:
        return StoredLayer(stem, "leaky", keys, slope=float(weight) if weight.device.type != "meta" else 0.0)
    raise _not_of_a_chain(keys["weight"], "a PReLU with a slope for each channel, or a scale")


def _kernel(key: str, weight: Tensor) -> int:
    height, width = int(weight.shape[2]), int(weight.shape[3])
    if height != width or height > 255:
        raise CheckpointRefused(
            f"{_short(key)} is a kernel of {height} × {width}; only square kernels of up to 255 px can be read."
        )
    return height


def _batch_norm(stem: str, keys: Mapping[str, str], weights: Mapping[str, Tensor]) -> StoredLayer:
    absent = next((name for name in ("running_mean", "running_var") if name not in keys), None)
    if absent is not None:
        there = next(key for name, key in keys.items() if name.startswith("running"))
        raise CheckpointRefused(
            f"the file holds {_short(there)} inside the network, but not {_short(f'{stem}.{absent}')}: a batch norm without all of "
            "its running statistics; save the whole state_dict()."
        )
    shapes = {tuple(weights[key].shape) for key in keys.values()}
    channels = int(weights[keys["running_mean"]].numel())
    if shapes != {(channels,)} or not channels:
        raise CheckpointRefused(
            f"the tensors of the batch norm {_short(stem)} differ in their shapes; save the network again."
        )
    return StoredLayer(stem, "bn", keys, channels, channels)


def _not_of_a_chain(key: str, what: str = "a layer or parameter of another kind") -> CheckpointRefused:
    return CheckpointRefused(
        f"the file holds {_short(key)} inside the network, {what}; only a chain of convolutions, batch norm, activations, pools and "
        "linear layers can be read."
    )


def _short(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:77]}...")
