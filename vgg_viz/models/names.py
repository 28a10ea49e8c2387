"""What the layers are called: conv5_3, relu5_3, pool5, fc6, as in the paper: a block ends where the map shrinks.

This is the only place that knows where a layer sits in a module tree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from vgg_viz.errors import UnknownName

ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.ELU: "elu",
    nn.ReLU6: "relu6",
    nn.SELU: "selu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Mish: "mish",
    nn.Softplus: "softplus",
    nn.Hardswish: "hardswish",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
}
KINDS: dict[type[nn.Module], str] = {
    nn.Conv2d: "conv",
    nn.BatchNorm2d: "bn",
    nn.BatchNorm1d: "bn",
    **ACTIVATIONS,
    nn.LocalResponseNorm: "lrn",
    nn.MaxPool2d: "pool",
    nn.AvgPool2d: "pool",
    nn.AdaptiveAvgPool2d: "avgpool",
    nn.AdaptiveMaxPool2d: "pool",
    nn.Flatten: "flatten",
    nn.Linear: "fc",
    nn.Dropout: "drop",
    nn.Dropout2d: "drop",
}
ACTIVATION_KINDS = frozenset(ACTIVATIONS.values())


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its name in the paper's terms, its kind, where it is, and the module itself.

    Attributes:
        kind: "normalise", "conv", "bn", an activation ("relu", "leaky_relu", ...), "lrn", "pool", "avgpool", "flatten",
            "fc" (also as a convolution), "drop".
        path: Dotted path below the model, for state-dict keys.
    """

    name: str
    kind: str
    path: str
    module: nn.Module


def layers(model: nn.Module) -> tuple[Layer, ...]:
    """All layers of a VGG or Tiny VGG in the order in which a picture passes them."""
    return tuple(_walk(model))


@dataclass(slots=True)
class _Place:
    """Where in the network the walk is: the block, the convolution in it, the layer of the classifier."""

    block: int = 1
    conv: int = 0
    ended: bool = False  # the block ends with the convolution that was last: it strides
    full: int = 0

    def name(self, kind: str, module: nn.Module, *, head: bool) -> str:
        if head and kind in ("fc", "conv"):
            self.full = (self.full or self.block - (self.conv == 0)) + 1
            return f"fc{self.full}"
        if head and kind not in ("flatten", "avgpool", "pool"):
            return f"{kind}{self.full or self.block}"
        if kind == "conv":
            if self.ended:
                self.block, self.conv = self.block + 1, 0
            self.conv, self.ended = self.conv + 1, max(_both(module.stride)) > 1  # type: ignore[arg-type]
            return f"conv{self.block}_{self.conv}"
        if kind == "pool":
            name = f"pool{self.block}"
            if max(_both(getattr(module, "stride", 1))) > 1:
                self.block, self.conv, self.ended = self.block + 1, 0, False
            return name
        if kind == "lrn":
            return f"lrn{self.block}"
        if kind in ("bn", "drop") or kind in ACTIVATION_KINDS:
            return f"{kind}{self.block}_{self.conv}"
        return kind


def _walk(model: nn.Module) -> Iterator[Layer]:
    place, used, below = _Place(), Counter[str](), False
    for path, module in model.named_modules():
        if any(module.children()) or isinstance(module, nn.Identity):
            continue
        kind = "normalise" if path == "normalise" else KINDS.get(type(module), "")
        head = path.startswith("classifier.") or below or kind == "fc"
        below = below or kind == "fc"
        name = place.name(kind, module, head=head)
        used[name] += 1
        if used[name] > 1:  # two of a kind behind one layer: relu1_1, relu1_1b
            name += chr(ord("a") + min(used[name], 26) - 1)
        yield Layer(name, "fc" if head and kind == "conv" else kind, path, module)


def _both(sides: int | tuple[int, ...]) -> tuple[int, ...]:
    return (sides, sides) if isinstance(sides, int) else sides


# CNN Explainer writes conv_1_1, relu_1_1, max_pool_1 and output.
def _plain(name: str) -> str:
    text = name.lower().replace("max_pool_", "pool")
    for kind in ("conv", "relu", "bn"):
        text = text.replace(f"{kind}_", kind)
    return text


def find(model: nn.Module, name: str) -> Layer:
    """The layer called `name`, also in CNN Explainer's spelling (conv_1_1, max_pool_1, output).

    Raises:
        UnknownName: With the nearest layer.
    """
    known = {layer.name: layer for layer in layers(model)}
    if name in known:
        return known[name]
    if name.lower() == "output":
        return layers(model)[-1]
    if _plain(name) in known:
        return known[_plain(name)]
    raise UnknownName("layer", name, known)
