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
from vgg_viz.maths.receptive_field import Window
from vgg_viz.models.build import require_buildable, skeleton
from vgg_viz.models.formats import ReadCheckpoint, checkpoint_format
from vgg_viz.models.formats.keras_chain import KerasChain, keras_chain
from vgg_viz.models.keras_model import KerasModel
from vgg_viz.models.network import feature_map, map_sizes, padded
from vgg_viz.models.plan import Step, parse_plan, write_plan
from vgg_viz.models.vgg import VARIANTS, common_width, describe, describe_plan, title
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
    features = _features(chain, kernels)
    architecture, evidence, alternatives = _head(stored, chain, features, int(kernels[-1].shape[3]))
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


def _features(chain: KerasChain, kernels: Sequence[Tensor]) -> list[Step]:
    """Convolutions and pools in their order; where only weights are known, those of a variant. Refuses what is no chain."""
    for name, kernel in zip(chain.convs, kernels, strict=True):
        if kernel.ndim != 4 or kernel.shape[0] != kernel.shape[1]:
            raise CheckpointRefused(
                f"the kernel of {name[:60]!r} has the shape {tuple(kernel.shape)}; a square one was expected."
            )
    for (name, before), (_, after) in pairwise(zip(chain.convs, kernels, strict=True)):
        if before.shape[3] != after.shape[2]:
            raise CheckpointRefused(
                f"{name[:60]!r} has {before.shape[3]} channels and the next convolution reads {after.shape[2]}; "
                "only chains can be read."
            )
    shapes = iter([(int(k.shape[3]), int(k.shape[0])) for k in kernels])
    steps: list[Step] = []
    for kind in chain.kinds or _usual_kinds(kernels):
        if kind == "pool":
            steps.append(Step("max_pool", window=Window(2, 2)))
            continue
        channels, size = next(shapes)
        padding = (chain.padding or 0) if size == 3 else 0
        steps.append(Step("conv", channels, Window(size, padding=padding)))
        steps += [Step("bn")] if chain.norms else []
        steps.append(Step("relu"))
    return steps


def _usual_kinds(kernels: Sequence[Tensor]) -> list[str]:
    """Where a variant with these shapes has its pools."""
    shapes = [(int(k.shape[3]), int(k.shape[0])) for k in kernels]
    for variant in VARIANTS.values():
        steps = [step for step in parse_plan(variant.plan) if step.kind in ("conv", "max_pool")]
        convs = [step for step in steps if step.kind == "conv"]
        if [step.window.kernel for step in convs] == [kernel for _, kernel in shapes] and common_width(
            [step.channels for step in convs], [channels for channels, _ in shapes]
        ):
            return ["conv" if step.kind == "conv" else "pool" for step in steps]
    raise CheckpointRefused(
        f"the model has {len(shapes)} convolutions of {[c for c, _ in shapes][:16]} channels, which is none of "
        f"{', '.join(VARIANTS)} at any width, and nothing says where its pools are; give the model with its topology."
    )


def _head(
    stored: KerasModel, chain: KerasChain, features: Sequence[Step], channels: int
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
    in_channels = int(_part(stored, chain.convs[0], "kernel").shape[2])
    tiny = describe_plan(write_plan(features)).variant == "tiny_vgg"
    head = [
        step
        for unit in units[:-1]
        for step in (Step("fc", unit, head=True), Step("relu", head=True), Step("drop", values=(0.5,), head=True))
    ]
    averaged = [] if tiny and not chain.average else [Step("adaptive_avg", side=side)]
    wanted = Architecture(
        write_plan([*features, *averaged, Step("flat", head=True), *head, Step("fc", head=True)]),
        units[-1],
        in_channels,
        image_side=chain.side or (64 if tiny else 224),
        mean=(0.0,) * in_channels,
        std=(1.0,) * in_channels,
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
    steps, sides = parse_plan(architecture.plan), [side for _, side in map_sizes(architecture)]
    before = [architecture.image_side, *sides]
    return any(step.kind == "max_pool" and side % 2 == 1 for step, side in zip(steps, before, strict=False))


def _guessed_side(
    wanted: Architecture, chain: KerasChain, side: int, evidence: list[Evidence]
) -> tuple[Architecture, list[Evidence], tuple[Evidence, ...]]:
    """The usual side and padding that leave such a last map, and the others as alternatives."""
    if chain.average:
        guess = Evidence(
            f"Image side: {wanted.image_side} px is assumed, the model averages a map of any size.", ("--image-size",)
        )
        return wanted, [*evidence, guess], (Evidence("any other image side"),)
    tiny = describe(wanted).variant == "tiny_vgg"
    paddings = (chain.padding,) if chain.padding is not None else (0, 1) if tiny else (1, 0)
    fits = []
    for padding, image_side in product(paddings, dict.fromkeys((*USUAL_SIDES, 32 * side))):
        candidate = replace(padded(wanted, padding), image_side=image_side)
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
        f"Weights alone say no image side: padding {describe(best).padding} at {best.image_side} px leaves the {side} x {side} map.",
        ("--image-size",) if len(paddings) == 1 else ("--padding", "--image-size"),
    )
    return (
        best,
        [*evidence, guess],
        tuple(Evidence(f"padding {describe(a).padding} at {a.image_side} px leaves the same map") for a in others),
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
    side = describe(architecture).pooled or side
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
