"""Networks in the Keras convention, without Keras: numpy computes them slower and simpler, and writes every layout of their files."""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray
ORDER = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
}


def _around(x: Array, kernel: int, step: int, padding: str) -> list[tuple[int, int]]:
    """TensorFlow's SAME: as many places as steps begin; an odd pixel goes below and to the right."""
    sides = [(0, 0), (0, 0)]
    if padding == "same":
        missing = [max(0, (-(-side // step) - 1) * step + kernel - side) for side in x.shape[1:3]]
        sides = [(total // 2, total - total // 2) for total in missing]
    return [(0, 0), *sides, (0, 0)]


@dataclass
class KerasNet:
    """Layers in order: Keras's class name, its config, its weights."""

    side: int
    channels: int
    layers: list[tuple[str, dict[str, Any], dict[str, Array]]] = field(default_factory=list)

    def add(self, kind: str, name: str, config: dict[str, Any] | None = None, **weights: Array) -> None:
        self.layers.append((kind, {"name": name, **(config or {})}, weights))

    @property
    def weighted(self) -> list[tuple[str, dict[str, Array]]]:
        return [(config["name"], weights) for _, config, weights in self.layers if weights]

    def logits(self, images: Array) -> Array:
        """(B, H, W, C) as the network was trained on -> (B, K), before the softmax, in float64."""
        x = images.astype(np.float64)
        for kind, config, weights in self.layers:
            if kind == "Conv2D":
                k, step = config["kernel_size"][0], config.get("strides", [1, 1])[0]
                x = np.pad(x, _around(x, k, step, config["padding"]))
                windows = sliding_window_view(x, (k, k), (1, 2))[:, ::step, ::step]
                x = np.tensordot(windows, weights["kernel"], ([4, 5, 3], [0, 1, 2])) + weights.get("bias", 0)
            elif kind == "BatchNormalization":
                x = (x - weights["moving_mean"]) / np.sqrt(weights["moving_variance"] + config["epsilon"])
                x = x * weights.get("gamma", 1) + weights.get("beta", 0)
            elif kind in ("MaxPooling2D", "AveragePooling2D"):
                k, step = config["pool_size"][0], (config.get("strides") or config["pool_size"])[0]
                x = np.pad(x, _around(x, k, step, config["padding"]), constant_values=np.nan)
                windows = sliding_window_view(x, (k, k), (1, 2))[:, ::step, ::step]
                x = (np.nanmax if kind == "MaxPooling2D" else np.nanmean)(windows, (4, 5))
            elif kind == "Flatten":
                x = x.reshape(len(x), -1)
            elif kind == "ZeroPadding2D":
                x = np.pad(x, [(0, 0), *config["padding"], (0, 0)])
            elif kind in ("GlobalAveragePooling2D", "GlobalMaxPooling2D"):
                x = x.mean((1, 2)) if "Average" in kind else x.max((1, 2))
            elif kind == "Dense":
                x = x @ weights["kernel"] + weights.get("bias", 0)
            elif kind == "Rescaling":
                x = x * config["scale"] + config["offset"]
            elif kind == "LeakyReLU":
                x = np.where(x > 0, x, config["negative_slope"] * x)
            elif kind == "ReLU" and "max_value" in config:
                x = np.minimum(x, config["max_value"])
            word = config.get("activation") or kind.lower()
            x = ACTIVATIONS.get(word if isinstance(word, str) else "", lambda values: values)(x)
        return x

    # ------------------------------------------------------------ topologies

    def sequential(self, version: int = 2) -> dict[str, Any]:
        layers = [{"class_name": kind, "config": dict(config)} for kind, config, _ in self.layers]
        shape = [None, self.side, self.side, self.channels]
        if version == 2:
            layers[0]["config"]["batch_input_shape"] = shape
        else:
            layers.insert(0, {"class_name": "InputLayer", "config": {"batch_shape": shape, "name": "input_layer"}})
        return {"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}}

    def functional(self, version: int = 2) -> dict[str, Any]:
        key = "batch_input_shape" if version == 2 else "batch_shape"
        first = {
            "class_name": "InputLayer",
            "name": "input_1",
            "inbound_nodes": [],
            "config": {key: [None, self.side, self.side, self.channels], "name": "input_1"},
        }
        layers, before = [first], "input_1"
        for kind, config, _ in self.layers:
            tensor = {"class_name": "__keras_tensor__", "config": {"shape": [None], "keras_history": [before, 0, 0]}}
            nodes = [[[before, 0, 0, {}]]] if version == 2 else [{"args": [tensor], "kwargs": {}}]
            layers.append({"class_name": kind, "name": config["name"], "config": config, "inbound_nodes": nodes})
            before = config["name"]
        return {"class_name": "Functional", "config": {"name": "vgg", "layers": layers}}

    # ------------------------------------------------------------ files

    def tfjs(self, folder: Path, *, shard: int = 10**9, store: str = "float32", groups: int = 1) -> Path:
        """model.json with shards of `shard` bytes at most, cut wherever that falls; weights quantised to `store`."""
        folder.mkdir(parents=True, exist_ok=True)
        entries = [(f"{name}/{part}", values) for name, weights in self.weighted for part, values in weights.items()]
        manifest = []
        for group in range(groups):
            some, described, raw = entries[group::groups], [], b""
            for name, values in some:
                described.append({"name": name, "shape": list(values.shape), "dtype": "float32"})
                if store == "float32":
                    raw += values.astype("<f4").tobytes()
                elif store == "float16":
                    described[-1]["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
                    raw += values.astype("<f2").tobytes()
                else:
                    low, high = float(values.min()), float(values.max())
                    scale = (high - low) / np.iinfo(store).max or 1.0
                    described[-1]["quantization"] = {"dtype": store, "min": low, "scale": scale}
                    raw += np.round((values - low) / scale).astype(f"<{np.dtype(store).str[1:]}").tobytes()
            paths = []
            for number, start in enumerate(range(0, len(raw), shard), 1):
                paths.append(f"group{group + 1}-shard{number}.bin")
                (folder / paths[-1]).write_bytes(raw[start : start + shard])
            manifest.append({"paths": paths, "weights": described})
        topology = {"keras_version": "2.2.4-tf", "model_config": self.sequential()}
        model = {"format": "layers-model", "modelTopology": topology, "weightsManifest": manifest}
        (folder / "model.json").write_text(json.dumps(model))
        return folder

    def h5(self, path: Path, *, topology: dict[str, Any] | None, names: str = "{layer}/{part}:0") -> Path:
        """The older HDF5 layout: layers by name, weights named in attributes; the topology as an attribute of the file."""
        import h5py

        with h5py.File(path, "w") as file:
            group = file.create_group("model_weights") if topology is not None else file
            if topology is not None:
                file.attrs["model_config"] = json.dumps(topology)
                file.create_group("optimizer_weights").create_dataset("iter", data=np.int64(3))
            group.attrs["layer_names"] = [config["name"].encode() for _, config, _ in self.layers]
            for _, config, weights in self.layers:
                layer = group.create_group(config["name"])
                short = {"kernel": "W", "bias": "b"}
                said = [names.format(layer=config["name"], part=part, short=short.get(part, part)) for part in weights]
                layer.attrs["weight_names"] = [name.encode() for name in said]
                for name, values in zip(said, weights.values(), strict=True):
                    layer.create_dataset(name, data=values.astype("f4"))
        return path

    def native(self, target: Path | io.BytesIO, *, noted: bool = False) -> Any:
        """The layout of Keras 3: layers by class and count, weights by number; `noted`: with the layers' names as attributes."""
        import h5py

        used: dict[str, int] = {"input_layer": 0}
        with h5py.File(target, "w") as file:
            file.create_group("optimizer/vars").create_dataset("0", data=np.int64(7))
            for kind, config, weights in self.layers:
                snake = re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
                used[snake] = used.get(snake, -1) + 1
                group = file.create_group(f"layers/{snake}_{used[snake]}" if used[snake] else f"layers/{snake}")
                if noted:
                    group.attrs["name"] = config["name"]
                variables = group.create_group("vars")
                for number, part in enumerate(part for part in ORDER if part in weights):
                    variables.create_dataset(str(number), data=weights[part].astype("f4"))
                if kind == "Dropout":
                    group.create_group("seed_generator/vars").create_dataset("0", data=np.zeros(2, np.uint32))
        return target

    def keras(self, path: Path, *, packed: bool = False) -> Path:
        """The .keras archive: config.json and model.weights.h5."""
        weights = self.native(io.BytesIO())
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": "3.5.0"}))
            archive.writestr("config.json", json.dumps(self.functional(3)))
            archive.writestr("model.weights.h5", weights.getvalue())
        return path


def tiny_net(*, side: int = 64, hidden: int = 10, classes: int = 10, seed: int = 0, merged: bool = False) -> KerasNet:
    """CNN Explainer's network with random weights; `merged`: ReLU inside the convolutions."""
    dice = np.random.default_rng(seed)
    net, channels = KerasNet(side, 3), 3
    for block in (1, 2):
        for number in (1, 2):
            plain = {
                "kernel_size": [3, 3],
                "strides": [1, 1],
                "padding": "valid",
                "activation": "relu" if merged else "linear",
            }
            net.add(
                "Conv2D",
                f"conv_{block}_{number}",
                plain,
                kernel=_kernel(dice, 3, channels, hidden),
                bias=_small(dice, hidden),
            )
            if not merged:
                net.add("Activation", f"relu_{block}_{number}", {"activation": "relu"})
            channels = hidden
        net.add("MaxPooling2D", f"max_pool_{block}", {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"})
    rest = ((side - 4) // 2 - 4) // 2
    net.add("Flatten", "flatten")
    kernel = dice.normal(0, (1 / (rest * rest * hidden)) ** 0.5, (rest * rest * hidden, classes))
    net.add("Dense", "output", {"units": classes, "activation": "softmax"}, kernel=kernel, bias=_small(dice, classes))
    return net


VGG11 = "64 M 128 M 256 256 M 512 512 M 512 512 M"
VGG16 = "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M"


def vgg_net(
    plan: str,
    *,
    side: int,
    width: float,
    head: tuple[int, ...] = (32, 32),
    classes: int = 7,
    norm: bool = False,
    average: bool = False,
    rescaled: bool = False,
    applications: bool = True,
    seed: int = 0,
) -> KerasNet:
    """A VGG as keras.applications names it, or as people build their own: batch norm before ReLU, an average pool, Rescaling."""
    dice = np.random.default_rng(seed)
    net, channels = KerasNet(side, 3), 3
    if rescaled:
        net.add("Rescaling", "rescaling", {"scale": 1 / 127.5, "offset": -1.0})
    for block, words in enumerate(plan.split(" M"), 1):
        for number, word in enumerate(words.split(), 1):
            outputs = round(int(word) * width)
            plain = {
                "kernel_size": [3, 3],
                "strides": [1, 1],
                "padding": "same",
                "activation": "linear" if norm else "relu",
                "use_bias": not norm,
            }
            name = f"block{block}_conv{number}" if applications else f"c{block}_{number}"
            bias = {} if norm else {"bias": _small(dice, outputs)}
            net.add("Conv2D", name, plain, kernel=_kernel(dice, 3, channels, outputs), **bias)
            if norm:
                net.add(
                    "BatchNormalization",
                    f"{name}_bn",
                    {"axis": [3], "epsilon": 1e-3, "scale": True, "center": True},
                    gamma=dice.uniform(0.5, 1.5, outputs),
                    beta=_small(dice, outputs),
                    moving_mean=_small(dice, outputs),
                    moving_variance=dice.uniform(0.01, 2, outputs),
                )
                net.add("ReLU", f"{name}_relu")
            channels = outputs
        if words.strip():
            net.add("MaxPooling2D", f"block{block}_pool", {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"})
    rest = 1 if average else side // 32
    net.add("GlobalAveragePooling2D" if average else "Flatten", "average" if average else "flatten")
    inputs = rest * rest * channels
    for number, units in enumerate([*head, classes], 1):
        last = number > len(head)
        net.add(
            "Dense",
            "predictions" if last else f"fc{number}",
            {"units": units, "activation": "softmax" if last else "relu"},
            kernel=dice.normal(0, (2 / inputs) ** 0.5, (inputs, units)),
            bias=_small(dice, units),
        )
        if not last:
            net.add("Dropout", f"drop{number}", {"rate": 0.5})
        inputs = units
    return net


def _kernel(dice: np.random.Generator, side: int, inputs: int, outputs: int) -> Array:
    return dice.normal(0, (2 / (side * side * inputs)) ** 0.5, (side, side, inputs, outputs))


def _small(dice: np.random.Generator, count: int) -> Array:
    return dice.normal(0, 0.2, count)
