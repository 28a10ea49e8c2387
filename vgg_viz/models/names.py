"""What the layers are called: conv5_3, relu5_3, pool5, fc6, as in the paper.

This is the only place that knows where a layer sits in a module tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from vgg_viz.errors import UnknownName

KINDS: dict[type[nn.Module], str] = {
    nn.Conv2d: "conv",
    nn.BatchNorm2d: "bn",
    nn.ReLU: "relu",
    nn.LocalResponseNorm: "lrn",
    nn.MaxPool2d: "pool",
    nn.AdaptiveAvgPool2d: "avgpool",
    nn.Flatten: "flatten",
    nn.Linear: "fc",
    nn.Dropout: "drop",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its name in the paper's terms, its kind, where it is, and the module itself.

    Attributes:
        kind: "normalise", "conv", "bn", "relu", "lrn", "pool", "avgpool", "flatten", "fc" (also as a convolution),
            "drop".
        path: Dotted path below the model, for state-dict keys.
    """

    name: str
    kind: str
    path: str
    module: nn.Module


def layers(model: nn.Module) -> tuple[Layer, ...]:
    """All layers of a VGG or Tiny VGG in the order in which a picture passes them."""
    return tuple(_walk(model))


def _walk(model: nn.Module) -> Iterator[Layer]:
    block, place, full = 1, 0, 0
    for path, module in model.named_modules():
        if any(module.children()) or isinstance(module, nn.Identity):
            continue
        kind = "normalise" if path == "normalise" else KINDS.get(type(module), "")
        if path.startswith("classifier."):
            if kind in ("fc", "conv"):
                kind, full = "fc", full or block - 1
                full += 1
            name = "flatten" if kind == "flatten" else f"{kind}{full}"
        elif kind == "pool":
            name, block, place = f"pool{block}", block + 1, 0
        elif kind == "lrn":
            name = f"lrn{block}"
        elif kind in ("conv", "bn", "relu"):
            place += kind == "conv"
            name = f"{kind}{block}_{place}"
        else:
            name = kind
        yield Layer(name, kind, path, module)


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
