"""State dicts of other networks than one VGG (a detector, a GAN, a ResNet, a quantised one), said as what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.containers import shown
from vgg_viz.models.pickle_advice import saving_command
from vgg_viz.models.unwrap_state_dict import AVERAGED, INFIXES, NO_WEIGHTS, bags

START = r"(?:^|\.)"
# Networks whose answers are maps or pictures.
MAKES_MAPS: tuple[tuple[str, str], ...] = (
    ("a segmenter (DeepLab)", rf"{START}(?:aspp|ASPP|aux_classifier|classifier\.0\.convs)\."),
    ("a segmenter (FCN)", rf"{START}(?:upscore\w*|score_pool\d|score_fr|deconv\d)\."),
    ("a segmenter (U-Net)", rf"{START}(?:up\d|ups|up_?convs?|up_?conv\d+|dec(?:oder)?_?\d|upsample\d?)\."),
    ("an encoder with a decoder (a segmenter or an autoencoder)", rf"{START}decoder\d?\."),
    ("a GAN", rf"{START}(?:net_?[GD]|[GD]_[AB]|generator|discriminator)(?:_state_dict)?\."),
)
# What a network is, and what a key of it looks like; the more special first: a detector may stand on a ResNet.
KINDS: tuple[tuple[str, str], ...] = (
    ("an SSD detector", rf"{START}head\.classification_head\.|{START}(?:module_list\.)?conf\.\d+\.weight$"),
    ("a detector (Faster R-CNN's kind)", rf"{START}(?:rpn|roi_heads?|RCNN_rpn)\."),
    ("a YOLO detector", rf"{START}model\.\d+\.(?:cv\d\.|m\.\d+\.|anchors?|dfl\.)"),
    *MAKES_MAPS,
    ("a network with a recurrent part (captions, text or video)", rf"{START}weight_[ih]h_l\d"),
    ("CLIP, pictures with texts", r"^logit_scale$|\.logit_scale$"),
    ("LPIPS, a measure of how alike pictures look", rf"{START}lin0\.model\.1\.weight$"),
    ("a Swin transformer", r"relative_position_bias_table$"),
    (
        "a transformer",
        rf"{START}(?:cls_token|class_token|pos_embed(?:ding)?|attn\.qkv\.|self_attention\.in_proj|embed_tokens\.)",
    ),
    ("a DenseNet", rf"{START}denseblock\d"),
    ("an Inception network", rf"{START}(?:Mixed_\d[a-z]|inception\d[a-e])\."),
    ("a SqueezeNet", rf"{START}squeeze\.weight$"),
    ("an EfficientNet", rf"{START}(?:_?blocks|_conv_stem)\.?.*(?:_depthwise_conv|conv_dw|_se_reduce)\."),
    ("a ResNet", rf"{START}(?:layer|stage|res)\d\.\d+\.(?:downsample|shortcut|skip)\."),
)
WITH_MAPS = tuple(kind for kind, _ in MAKES_MAPS)
BUILT_ON = re.compile(rf"{START}(?:vgg\d*(?:_bn)?|backbone\.(?:vgg|features)|base|slice1)\.")
PACKED = "._packed_params._packed_params"


def require_one_vgg(stored: object, path: Path, key: str | None) -> None:
    """Refuse what is another network, two of them, or a quantised one, with its kind and the key that shows it.

    Args:
        stored: All that the file held.
        path: The file, for the sentence.
        key: Where the user says that the weights lie; only this part is looked at.

    Raises:
        CheckpointRefused: The file holds no network of the kind that is read.
    """
    sets = list(_weights(stored, key))
    for place, entries in sets:
        _require_floats(place, entries, path)
    if key is None and (parts := _two(sets)):
        one, other = (part[:60] for part in parts)
        raise CheckpointRefused(
            f"{shown(path)} holds two networks, under {one!r} and {other!r}; choose one by --key {one}, or by --key {other}."
        )
    for place, entries in sets:
        if kind := _other(place, entries):
            raise CheckpointRefused(f"{shown(path)} holds {kind}; give the checkpoint of a VGG classifier.")


def _weights(stored: object, key: str | None) -> Iterator[tuple[str, dict[str, object]]]:
    """(keys to it, entries) of every mapping with tensors in it; keys without what wrappers of training put into them."""
    for path, bag in bags(stored):
        place = ".".join(path)
        if any(NO_WEIGHTS.search(part.lower()) for part in path):
            continue
        if not any(isinstance(value, Tensor) for value in bag.values()):
            continue
        entries = {name: value for name, value in bag.items() if isinstance(name, str)}
        if key is not None and not f"{place}.".startswith(f"{key}."):
            entries = {
                name: value for name, value in entries.items() if f"{place}.{name}".lstrip(".").startswith(f"{key}.")
            }
        if entries:
            yield place, {".".join(p for p in name.split(".") if p not in INFIXES): v for name, v in entries.items()}


def _other(place: str, entries: Mapping[str, object]) -> str:
    """The kind of a network that is no VGG, with what shows it; "" for all others."""
    tensors = {f"{place}.{name}".lstrip("."): value for name, value in entries.items() if isinstance(value, Tensor)}
    volume = next((name for name, value in tensors.items() if value.ndim == 5 and name.endswith("weight")), None)
    if volume is not None:
        return f"a network of 3-D convolutions ({volume[:60]!r}), for videos or volumes"
    base = next((name for name in tensors if BUILT_ON.search(name)), None)
    vgg = f", built on a VGG ({base[:60]!r})" if base and _vgg(tensors, base) else ""
    for kind, pattern in KINDS:
        shows = [name for name in tensors if re.search(pattern, name)]
        if kind in WITH_MAPS:  # a linear layer called "decoder" is a classifier
            shows = [name for name in shows if tensors[name].ndim == 4]
        if shows:
            return f"{kind} ({shows[0][:60]!r}){vgg}"
    return ""


def _vgg(tensors: Mapping[str, Tensor], base: str) -> bool:
    """Whether the convolutions under the same prefix are as many, and as small, as a VGG's."""
    prefix = re.split(r"\d", base, maxsplit=1)[0]
    kernels = [value for name, value in tensors.items() if name.startswith(prefix) and value.ndim == 4]
    return len(kernels) >= 8 and sum(tuple(kernel.shape[2:]) == (3, 3) for kernel in kernels) >= 8


# ---------------------------------------------------------------- two networks


@dataclass(frozen=True, slots=True)
class _Network:
    """Where a whole network lies, and the shapes of its weights."""

    place: str
    shapes: tuple[tuple[int, ...], ...]


def _two(sets: list[tuple[str, dict[str, object]]]) -> tuple[str, str] | None:
    """Where two different networks lie: of the same shapes they would be two states of one."""
    whole = [network for place, entries in sets for network in _whole(place, entries)]
    first = next((one for one in whole if not AVERAGED.search(one.place.lower())), None)
    for other in whole:
        if first is None:
            break
        apart = not f"{other.place}.".startswith(f"{first.place}.")
        if apart and first.place and other.shapes != first.shapes and not AVERAGED.search(other.place.lower()):
            return first.place, other.place
    return None


def _whole(place: str, entries: Mapping[str, object]) -> Iterator[_Network]:
    """The networks in one mapping: several, where the first part of the keys tells them apart, and each has a classifier."""
    groups: dict[str, list[Tensor]] = {}
    for name, value in entries.items():
        if isinstance(value, Tensor) and value.ndim in (2, 4):
            groups.setdefault(name.partition(".")[0], []).append(value)
    whole = {name: tensors for name, tensors in groups.items() if _complete(tensors)}
    if len(whole) > 1:  # and not blocks of one network, with linear layers in each
        for name, tensors in whole.items():
            yield _Network(f"{place}.{name}".lstrip("."), _shapes(tensors))
    elif _complete(tensors := [tensor for group in groups.values() for tensor in group]):
        yield _Network(place, _shapes(tensors))


def _complete(tensors: list[Tensor]) -> bool:
    """Several convolutions, the first of which reads pictures, and a linear layer."""
    kernels = [tensor for tensor in tensors if tensor.ndim == 4]
    return len(kernels) >= 2 and kernels[0].shape[1] in (1, 3) and len(kernels) < len(tensors)


def _shapes(tensors: list[Tensor]) -> tuple[tuple[int, ...], ...]:
    return tuple(sorted(tuple(tensor.shape) for tensor in tensors))


# ---------------------------------------------------------------- whole numbers instead of floats


def _require_floats(place: str, entries: Mapping[str, object], path: Path) -> None:
    packed = next((name for name, value in entries.items() if name.endswith(PACKED) and isinstance(value, tuple)), None)
    if packed is not None:
        layer = packed.removesuffix(PACKED)
        inside = "".join(f'["{part}"]' for part in place.split(".") if part)
        opened = f'f = torch.load({{file}}, map_location="cpu"){inside}'
        pairs = f'((k[:-{len(PACKED)}] + ".weight", v[0].dequantize()), (k[:-{len(PACKED)}] + ".bias", v[1]))'
        kept = 'if isinstance(t, torch.Tensor) and not n.endswith(("scale", "zero_point"))'
        whole = f"{{n: t for k, v in f.items() for n, t in ({pairs} if isinstance(v, tuple) else [(k, v)]) {kept}}}"
        command = saving_command(path, f"import torch; {opened}; torch.save({whole}, {{beside}})")
        run = "run" if path.parent == Path() else "go to its folder and run"
        raise CheckpointRefused(
            f"{shown(path)} holds a network whose layer {layer[:60]!r} was quantised to 8-bit whole numbers; give it as it was before, "
            f"or, for nearly the same answers, {run} {command} and give that file."
        )
    whole_numbers = next(
        (name for name, value in entries.items() if isinstance(value, Tensor) and value.is_quantized), None
    )
    scales = next((name for name in entries if re.search(r"\.(?:SCB|absmax|qweight|qzeros|zero_point)$", name)), None)
    if odd := whole_numbers or scales:
        raise CheckpointRefused(
            f"{shown(path)} holds a quantised network ({odd[:60]!r}); give it as it was before it was quantised."
        )
