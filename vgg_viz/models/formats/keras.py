"""Keras models, also those of TensorFlow.js: run once in torch, and read as the chain that they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from vgg_viz.errors import CheckpointRefused, VggVizError
from vgg_viz.models.formats import ReadCheckpoint, checkpoint_format
from vgg_viz.models.formats.keras_chain import keras_chain
from vgg_viz.models.formats.keras_weights import guessed_model
from vgg_viz.models.keras_model import KerasModel
from vgg_viz.models.keras_network import KerasLayer, KerasNetwork
from vgg_viz.models.live.read_module import LiveWishes, read_module
from vgg_viz.models.network import rekeyed
from vgg_viz.models.plan import parse_plan
from vgg_viz.records import Evidence

CAFFE = (
    123.68,
    116.779,
    103.939,
)  # what keras.applications subtracts of red, green, blue in 0 to 255; the network reads blue first
# SHA-256 of the bytes of its group1-shard1of1.bin; https://github.com/poloclub/cnn-explainer, public/assets/data
EXPLAINER = "306666f2a1cc2a0a8f7b3422617daac5ecdca20c707ab44b721522be1fe3f630"
EXPLAINER_CLASSES = (
    "lifeboat",
    "ladybug",
    "pizza",
    "bell pepper",
    "school bus",
    "koala",
    "espresso",
    "red panda",
    "orange",
    "sport car",
)
UNIT = Evidence(
    "Preprocessing: pictures in [0, 1] without mean and std are assumed; a Keras model does not say.",
    ("--mean", "--std"),
)

ITSELF = "It normalises its pictures itself"
TURNED = Evidence(
    "Kernels were turned from height, width, in, out to out, in, height, width; a dense layer behind a map from row, column, channel "
    "to channel, row, column."
)
CAFFE_EVIDENCE = (
    Evidence(
        "Preprocessing: that of keras.applications' VGG is assumed from the name block1_conv1: blue first, 0 to 255, less "
        "103.939, 116.779, 123.68. Here it is mean = (123.68, 116.779, 103.939) / 255 and std = 1 / 255 of red, green, blue.",
        ("--mean", "--std"),
    ),
    Evidence("The first kernels' input channels were turned round, from blue first to red first."),
)
ANEW = Evidence("a network trained anew on other preprocessing, which the layers' names would hide")


@checkpoint_format("keras")
def keras(stored: object) -> ReadCheckpoint | None:
    """A chain of Keras layers that is some VGG or Tiny VGG; raises CheckpointRefused for other networks."""
    if not isinstance(stored, KerasModel):
        return None
    try:
        return _read(stored)
    except VggVizError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        RuntimeError,
        OverflowError,
        ZeroDivisionError,
    ) as error:
        raise CheckpointRefused(
            f"this {stored.maker} model is not whole ({type(error).__name__}: {' '.join(str(error).split())[:100]}); "
            "take another copy of its files."
        ) from None


def _read(stored: KerasModel) -> ReadCheckpoint:
    guessed = guessed_model(stored) if stored.topology is None else None
    layers, side = (guessed.layers, guessed.architecture.image_side) if guessed else keras_chain(stored)
    convs = [layer for layer in layers if layer.kind == "Conv2D"]
    if not convs:
        raise CheckpointRefused(
            f"this {stored.maker} model has no convolutions; only networks of convolutions can be read."
        )
    channels = int(convs[0].part("kernel", ("kernel", "bias")).shape[2])
    own = _own_scale(layers)
    caffe = convs[0].name == "block1_conv1" and not own and channels == 3
    noted = (tuple(m / 255 for m in CAFFE), (1 / 255,) * 3) if caffe else ((0.0,) * channels, (1.0,) * channels)
    origin = "the model's weights" if guessed else "the model's topology"
    network = KerasNetwork(layers, side, blue_first=caffe, bytes_first=bool(own))
    reading = read_module(network, LiveWishes(side, origin=origin, noted=noted))
    evidence, alternatives = [one for one in reading.evidence if not one.text.startswith(ITSELF)], reading.alternatives
    if guessed:
        about = replace(guessed.architecture, mean=reading.architecture.mean, std=reading.architecture.std)
        weights = rekeyed(reading.weights, parse_plan(reading.architecture.plan), parse_plan(about.plan))
        reading = replace(reading, architecture=about, weights=weights)
        evidence, alternatives = [*guessed.evidence, *evidence], guessed.alternatives
    elif side is not None:
        evidence.append(Evidence(f"Image side: {side} px stands in the model."))
    evidence.append(TURNED)
    classes: tuple[str, ...] = ()
    if caffe:
        evidence += CAFFE_EVIDENCE
        alternatives = (*alternatives, ANEW)
    elif _is_explainer(stored):
        classes = EXPLAINER_CLASSES
        sentence = "The weights are CNN Explainer's, byte for byte: its class names, and its pictures in [0, 1] without mean and std."
        evidence.append(Evidence(sentence))
    else:
        evidence += own or [UNIT]
    used = {layer.name for layer in layers}
    unused = (name for name, parts in stored.weights.items() if parts and name not in used)
    return replace(
        reading,
        format="tfjs" if stored.maker == "TensorFlow.js" else "keras",
        classes=classes,
        evidence=tuple(evidence),
        alternatives=alternatives,
        ignored_keys=(*unused, *stored.other),
    )


def _own_scale(layers: Sequence[KerasLayer]) -> list[Evidence]:
    """What the model does to values from 0 to 255 before its first convolution, in sentences; none: nothing."""
    said = []
    for layer in layers:
        if layer.kind == "Conv2D":
            break
        if layer.kind == "Rescaling":
            scale, offset = (str(layer.config.get(name, usual))[:40] for name, usual in (("scale", 1), ("offset", 0)))
            said.append(
                Evidence(
                    f"Preprocessing: the layer Rescaling of the model multiplies values from 0 to 255 by {scale} and adds {offset}."
                )
            )
        elif layer.kind == "Normalization":
            said.append(
                Evidence(
                    f"Preprocessing: the layer {layer.name[:40]} of the model takes a mean off and divides by a spread; "
                    "values from 0 to 255 are assumed.",
                    ("--mean", "--std"),
                )
            )
    return said


def _is_explainer(stored: KerasModel) -> bool:
    """Whether these are the very weights that the CNN Explainer site runs: only then are its class names known."""
    tensors = [tensor for parts in stored.weights.values() for tensor in parts.values()]
    if sum(tensor.numel() for tensor in tensors) != 19_920:
        return False
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest() == EXPLAINER
