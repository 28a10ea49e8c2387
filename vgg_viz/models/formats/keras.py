"""Keras models, also those of TensorFlow.js: the network is matched with a variant, and every weight turned to torch's order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product
from math import isqrt

import torch
from torch import Tensor, nn

from vgg_viz.errors import CheckpointRefused, InputRefused, VggVizError
from vgg_viz.models.build import require_buildable, skeleton
from vgg_viz.models.formats import ReadCheckpoint, checkpoint_format
from vgg_viz.models.formats.keras_chain import KerasChain, keras_chain
from vgg_viz.models.keras_model import KerasModel
from vgg_viz.models.vgg import VARIANTS, feature_map, layer_steps, title
from vgg_viz.records import Architecture, Evidence

USUAL_SIDES = (224, 64, 32, 28, 96, 128)  # tried where a file holds weights alone
TORCH_EPSILON = 1e-5  # of batch norm; Keras adds 1e-3 unless told otherwise
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
    chain = keras_chain(stored)
    kernels = [_part(stored, name, "kernel") for name in chain.convs]
    architecture = _match(chain, kernels)
    architecture, evidence, alternatives = _head(stored, chain, architecture, int(kernels[-1].shape[3]))
    evidence.insert(0, Evidence(f"{chain.evidence} Shapes and order are those of {title(architecture)}."))
    weights = _translated(stored, chain, architecture)
    classes: tuple[str, ...] = ()
    caffe = chain.convs[0] == "block1_conv1" and chain.rescaled is None and architecture.in_channels == 3
    if chain.rescaled is not None:
        scale, offset = chain.rescaled
        channels = architecture.in_channels
        architecture = replace(
            architecture, mean=(-offset / (255 * scale),) * channels, std=(1 / (255 * scale),) * channels
        )
        sentence = f"Preprocessing: the layer Rescaling of the model multiplies values from 0 to 255 by {scale:g} and adds {offset:g}."
        evidence.append(Evidence(sentence))
    elif caffe:
        architecture = replace(architecture, mean=tuple(m / 255 for m in CAFFE), std=(1 / 255,) * 3)
        first = next(iter(weights))
        weights[first] = weights[first].flip(1)
        evidence.append(
            Evidence(
                "Preprocessing: that of keras.applications' VGG is assumed from the name block1_conv1: blue first, 0 to 255, less "
                "103.939, 116.779, 123.68. Here it is mean = (123.68, 116.779, 103.939) / 255 and std = 1 / 255 of red, green, blue.",
                ("--mean", "--std"),
            )
        )
        evidence.append(Evidence("The first kernels' input channels were turned round, from blue first to red first."))
        alternatives = (
            *alternatives,
            Evidence("a network trained anew on other preprocessing, which the layers' names would hide"),
        )
    elif _is_explainer(stored):
        classes = EXPLAINER_CLASSES
        sentence = "The weights are CNN Explainer's, byte for byte: its class names, and its pictures in [0, 1] without mean and std."
        evidence.append(Evidence(sentence))
    else:
        evidence.append(UNIT)
    used = {*chain.convs, *chain.norms, *chain.denses}
    unused = (name for name, parts in stored.weights.items() if parts and name not in used)
    return ReadCheckpoint(
        "tfjs" if stored.maker == "TensorFlow.js" else "keras",
        require_buildable(architecture),
        weights,
        classes,
        evidence=tuple(evidence),
        alternatives=alternatives,
        ignored_keys=(*unused, *stored.other),
    )


# ---------------------------------------------------------------- which network


def _match(chain: KerasChain, kernels: Sequence[Tensor]) -> Architecture:
    """The variant with these kernels and pools in this order; refuses what is no VGG."""
    for name, kernel in zip(chain.convs, kernels, strict=True):
        if kernel.ndim != 4 or kernel.shape[0] != kernel.shape[1]:
            raise CheckpointRefused(
                f"the kernel of {name[:60]!r} has the shape {tuple(kernel.shape)}; a square one was expected."
            )
    shapes = [(int(k.shape[3]), int(k.shape[0])) for k in kernels]
    for (name, before), (_, after) in pairwise(zip(chain.convs, kernels, strict=True)):
        if before.shape[3] != after.shape[2]:
            raise CheckpointRefused(
                f"{name[:60]!r} has {before.shape[3]} channels and the next convolution reads {after.shape[2]}; "
                "only chains can be read."
            )
    for variant in VARIANTS:
        plain = Architecture(
            variant, in_channels=int(kernels[0].shape[2]), batch_norm=bool(chain.norms), padding=chain.padding or 0
        )
        candidate = replace(plain, width=shapes[0][0] / layer_steps(plain)[0].channels)
        plan = layer_steps(candidate)
        kinds = [step.kind for step in plan]
        if [(s.channels, s.window.kernel) for s in plan if s.kind == "conv"] == shapes and chain.kinds in ([], kinds):
            return _tiny(candidate) if variant == "tiny_vgg" else candidate
    pools = "" if not chain.kinds else f" and {chain.kinds.count('pool')} pools"
    raise CheckpointRefused(
        f"the model has {len(shapes)} convolutions of {[c for c, _ in shapes][:16]} channels{pools}, which is none of "
        f"{', '.join(VARIANTS)} at any width; only VGG networks can be read."
    )


def _tiny(candidate: Architecture) -> Architecture:
    channels = candidate.in_channels
    return replace(candidate, head=(), pooled=None, mean=(0.0,) * channels, std=(1.0,) * channels)


def _head(
    stored: KerasModel, chain: KerasChain, architecture: Architecture, channels: int
) -> tuple[Architecture, list[Evidence], tuple[Evidence, ...]]:
    """The classifier, and the side of the pictures; refuses models without one, and those that end in no square map."""
    units = [int(_part(stored, name, "kernel").shape[1]) for name in chain.denses]
    inputs = int(_part(stored, chain.denses[0], "kernel").shape[0])
    side = 1 if chain.average else isqrt(inputs // channels)
    if side * side * channels != inputs or side < 1:
        raise CheckpointRefused(
            f"the first dense layer reads {inputs} values, which is no square map of {channels} channels; "
            "this is no VGG for square pictures."
        )
    tiny = architecture.variant == "tiny_vgg"
    head = tuple(round(unit / architecture.width) for unit in units[:-1])
    if tiny and (head or chain.average or chain.norms):
        raise CheckpointRefused(
            "this Tiny VGG has hidden layers, an average pool or batch norm; "
            "only one dense layer after flatten can be read."
        )
    if [max(1, round(h * architecture.width)) for h in head] != units[:-1]:
        raise CheckpointRefused(
            f"hidden layers of {units[:-1]} do not go with width {architecture.width:g}; only VGG networks can be read."
        )
    zeros, ones = (0.0,) * architecture.in_channels, (1.0,) * architecture.in_channels
    wanted = replace(
        architecture,
        num_classes=units[-1],
        head=head,
        pooled=None if tiny else side,
        mean=zeros,
        std=ones,
        image_side=chain.side or architecture.image_side,
    )
    evidence = [
        Evidence(
            f"The classifier reads {'the average of the last map' if chain.average else f'a {side} × {side} map'} through "
            f"{f'hidden layers {tuple(units[:-1])}' if head else 'no hidden layer'} into {units[-1]} classes."
        ),
        Evidence(
            "Kernels were turned from height, width, in, out to out, in, height, width"
            + ("." if chain.average else "; the first dense layer from row, column, channel to channel, row, column.")
        ),
    ]
    if chain.side is None:
        return _guessed_side(wanted, chain, side, evidence)
    rest = feature_map(require_buildable(wanted))[1]
    if not chain.average and rest != side:
        raise CheckpointRefused(
            f"pictures of {chain.side} px leave a {rest} × {rest} map, and the first dense layer reads {side} × {side}; "
            "take another copy."
        )
    if chain.ceils and _has_odd_maps(wanted):
        raise CheckpointRefused(
            f"its pools round odd maps up (padding same) at {chain.side} px, which a VGG's do not; only VGG networks can be read."
        )
    return wanted, [*evidence, Evidence(f"Image side: {chain.side} px stands in the model.")], ()


def _has_odd_maps(architecture: Architecture) -> bool:
    side, odd = architecture.image_side, False
    for step in layer_steps(architecture):
        odd = odd or (step.kind == "pool" and side % 2 == 1)
        side = step.window.out(side)
    return odd


def _guessed_side(
    wanted: Architecture, chain: KerasChain, side: int, evidence: list[Evidence]
) -> tuple[Architecture, list[Evidence], tuple[Evidence, ...]]:
    """The usual side and padding that leave such a last map, and the others as alternatives."""
    if chain.average:
        guess = Evidence(
            f"Image side: {wanted.image_side} px is assumed, the model averages a map of any size.", ("--image-size",)
        )
        return wanted, [*evidence, guess], (Evidence("any other image side"),)
    paddings = (chain.padding,) if chain.padding is not None else (0, 1) if wanted.variant == "tiny_vgg" else (1, 0)
    fits = []
    for padding, image_side in product(paddings, dict.fromkeys((*USUAL_SIDES, 32 * side))):
        candidate = replace(wanted, padding=padding, image_side=image_side)
        try:
            if 4 <= image_side <= 4096 and feature_map(candidate)[1] == side:
                fits.append(candidate)
        except InputRefused:  # too small a picture for these layers
            continue
    if not fits:
        raise CheckpointRefused(
            f"no usual picture leaves a {side} × {side} map with padding 0 or 1; give the full model with its topology."
        )
    best, *others = fits
    guess = Evidence(
        f"Weights alone say no image side: padding {best.padding} at {best.image_side} px leaves the {side} x {side} map.",
        ("--image-size",) if len(paddings) == 1 else ("--padding", "--image-size"),
    )
    return (
        best,
        [*evidence, guess],
        tuple(Evidence(f"padding {a.padding} at {a.image_side} px leaves the same map") for a in others),
    )


# ---------------------------------------------------------------- its weights


def _part(stored: KerasModel, layer: str, part: str) -> Tensor:
    parts = stored.weights.get(layer, {})
    tensor = parts.get(part, parts.get("01"[part == "bias"]) if part in ("kernel", "bias") else None)
    if tensor is None:
        raise CheckpointRefused(
            f"the file holds no {part} of the layer {layer[:60]!r}; give the model with all its weights."
        )
    return tensor


def _translated(stored: KerasModel, chain: KerasChain, architecture: Architecture) -> dict[str, Tensor]:
    """The state dict of `architecture`: layers in order, kernels (H, W, I, O) -> (O, I, H, W), dense (I, O) -> (O, I)."""
    places: dict[type[nn.Module], list[str]] = {nn.Conv2d: [], nn.BatchNorm2d: [], nn.Linear: []}
    for name, module in skeleton(architecture).named_modules():
        places.get(type(module), []).append(name)
    translated: dict[str, Tensor] = {}
    for layer, place in zip(chain.convs, places[nn.Conv2d], strict=True):
        kernel = _part(stored, layer, "kernel").permute(3, 2, 0, 1).contiguous()
        translated[f"{place}.weight"], translated[f"{place}.bias"] = kernel, _bias(stored, chain, layer, kernel)
    for layer, place, epsilon in zip(chain.norms, places[nn.BatchNorm2d], chain.epsilons, strict=True):
        translated |= {f"{place}.{name}": value for name, value in _norm(stored, chain, layer, epsilon).items()}
    channels, side = feature_map(architecture)
    side = architecture.pooled or side
    for number, (layer, place) in enumerate(zip(chain.denses, places[nn.Linear], strict=True)):
        kernel = _part(stored, layer, "kernel")
        if number == 0:
            kernel = kernel.reshape(side, side, channels, -1).permute(3, 2, 0, 1).reshape(kernel.shape[1], -1)
        else:
            kernel = kernel.t().contiguous()
        translated[f"{place}.weight"], translated[f"{place}.bias"] = kernel, _bias(stored, chain, layer, kernel)
    return translated


def _bias(stored: KerasModel, chain: KerasChain, layer: str, kernel: Tensor) -> Tensor:
    return torch.zeros(kernel.shape[0], dtype=kernel.dtype) if layer in chain.biasless else _part(stored, layer, "bias")


def _norm(stored: KerasModel, chain: KerasChain, layer: str, epsilon: float) -> dict[str, Tensor]:
    """Batch norm for torch, which adds another epsilon: the difference goes into the variance."""
    parts = dict(stored.weights.get(layer, {}))
    order = [p for p in ("gamma", "beta") if (layer, p) not in chain.absent] + ["moving_mean", "moving_variance"]
    parts = {order[int(key)] if key.isdigit() and int(key) < len(order) else key: value for key, value in parts.items()}
    missing = [part for part in order if part not in parts]
    if missing:
        raise CheckpointRefused(
            f"the file holds no {missing[0]} of the layer {layer[:60]!r}; give the model with all its weights."
        )
    variance = parts["moving_variance"]
    return {
        "weight": parts.get("gamma", torch.ones_like(variance)),
        "bias": parts.get("beta", torch.zeros_like(variance)),
        "running_mean": parts["moving_mean"],
        "running_var": (variance.double() + (epsilon - TORCH_EPSILON)).to(variance.dtype),
        "num_batches_tracked": torch.tensor(0),
    }


def _is_explainer(stored: KerasModel) -> bool:
    """Whether these are the very weights that the CNN Explainer site runs: only then are its class names known."""
    tensors = [tensor for parts in stored.weights.values() for tensor in parts.values()]
    if sum(tensor.numel() for tensor in tensors) != 19_920:
        return False
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest() == EXPLAINER
