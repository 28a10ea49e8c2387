"""Keys of nobody's convention (`conv1_1`, `layer3.conv`, `0.2`): the layers in the file's own order, where their shapes are a VGG's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.formats import ReadCheckpoint, standardised, state_dict_format
from vgg_viz.models.formats.tiny_vgg import tiny_chain
from vgg_viz.models.from_shapes import HARMLESS, LayerStems, deduced, require_chain, variant_of
from vgg_viz.models.layer_order import not_a_vgg, numbered_architecture
from vgg_viz.records import Evidence

ORDER = "The keys are of no known convention; the layers were taken in the file's order, and their shapes follow each other."
DEFINED = Evidence(
    "A state dict lists layers as they were defined; layers that the forward pass calls in another order would be mixed up."
)
LRN = Evidence("VGG A-LRN has the same shapes: normalisation has no weights (--arch a_lrn).")
POOLS = "Pools are assumed at the paper's places; the keys do not show them."
MOST_LAYERS = 64


@state_dict_format("unfamiliar keys", last=True)
def unfamiliar(weights: Mapping[str, Tensor]) -> ReadCheckpoint | None:
    """A chain of convolutions, each perhaps with batch norm, and of linear layers; anything else among them is refused."""
    if list(weights) == sorted(weights):  # by the alphabet, which puts conv10 before conv2: safetensors writes so
        weights = {key: weights[key] for key in sorted(weights, key=_natural)}
    stems = [
        key.removesuffix(".weight")
        for key, value in weights.items()
        if key.endswith(".weight") and value.ndim in (2, 4)
    ]
    if not 2 <= len(stems) <= MOST_LAYERS:
        return None
    kernels = [stem for stem in stems if weights[f"{stem}.weight"].ndim == 4]
    linear = [stem for stem in stems if weights[f"{stem}.weight"].ndim == 2]
    if stems != kernels + linear or len(kernels) < 2:
        return None
    if not linear:  # a dense head: it begins with the first large kernel
        cut = next((i for i, stem in enumerate(kernels) if weights[f"{stem}.weight"].shape[2] > 3), len(kernels))
        kernels, linear = kernels[:cut], kernels[cut:]
    norms = [key.removesuffix(".running_mean") for key in weights if key.endswith(".running_mean")]
    if not kernels or not linear or (norms and len(norms) != len(kernels)):
        return None
    chain = LayerStems(tuple(kernels), tuple(norms), tuple(linear))
    shapes = [weights[f"{stem}.weight"] for stem in kernels]
    if len(kernels) == 4 and len(linear) == 1 and not norms and len({int(kernel.shape[0]) for kernel in shapes}) == 1:
        made = tiny_chain("unfamiliar keys", weights, chain, ORDER)
    else:
        require_chain(weights, chain)
        parts = [stem.rpartition(".") for stem in kernels]
        numbered = all(last.isdigit() for _, _, last in parts) and len({first for first, _, _ in parts}) == 1
        base, where = (
            numbered_architecture(weights, chain)
            if numbered
            else (variant_of(shapes, batch_norm=bool(norms)), (POOLS,))
        )
        if base is None:
            raise not_a_vgg(shapes)
        made = standardised("unfamiliar keys", deduced(weights, chain, base), (ORDER, *where))
        if base.variant == "vgg11" and not numbered:
            made = replace(made, alternatives=(LRN, *made.alternatives))
    odd = [key for key in made.ignored_keys if weights[key].ndim == 1 and key.endswith((".weight", ".bias"))]
    odd = [key for key in odd if key.rpartition(".")[2] not in HARMLESS and not key.startswith(("criterion.", "loss"))]
    if odd:
        raise CheckpointRefused(
            f"the file holds {odd[0][:80]!r}, a layer that no VGG has; only networks of convolutions, batch norm, ReLU, pools and "
            "linear layers can be read."
        )
    return replace(made, alternatives=(DEFINED, *made.alternatives))


def _natural(key: str) -> list[tuple[bool, int, str]]:
    """Numbers in a key sort as numbers."""
    return [(not part.isdigit(), int(part[:9]) if part.isdigit() else 0, part) for part in re.split(r"([0-9]+)", key)]
