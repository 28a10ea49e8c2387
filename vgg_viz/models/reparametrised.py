"""Weights that are kept in pieces: pruning, weight norm and spectral norm folded into the one weight that the layer uses.

Each is folded with the very operations of torch.nn.utils, so that the folded network answers bit for bit as the original in eval mode.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.number_text import percent


def folded(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights with every piecewise one put together, in place of its first piece; a sentence for each kind met.

    Args:
        weights: A state dict: `weight_orig` with `weight_mask` or with `weight_u` and `weight_v`; `weight_g` with
            `weight_v`; `parametrizations.weight.original0/1`; `parametrizations.weight.original` with `0._u` and
            `0._v`.

    Raises:
        CheckpointRefused: Where pieces are missing, do not fit, or are of another kind.
    """
    tensors: dict[str, Tensor] = {}
    used: set[str] = set()
    met: dict[str, int] = {}
    zeros = total = 0
    for key, value in weights.items():
        if key in used:
            continue
        fold = _pieces(key, weights)
        if fold is None:
            tensors[key] = value
            continue
        kind, whole, pieces = fold
        try:
            tensors[whole] = _together(kind, [weights[piece] for piece in pieces])
        except (KeyError, RuntimeError, IndexError, ValueError):
            raise CheckpointRefused(
                f"the pieces of {whole[:80]!r} ({kind}) are not complete or do not fit each other; save the network again, "
                "or remove the reparametrisation before saving."
            ) from None
        used.update(pieces)
        met[kind] = met.get(kind, 0) + 1
        if kind == "pruned":
            zeros += int((weights[pieces[1]] == 0).sum())
            total += weights[pieces[1]].numel()
    sentences = [
        f"{count} tensors were kept as {_PIECES[kind]} ({kind}) and were put together." for kind, count in met.items()
    ]
    if total:
        sentences.append(f"Pruning has set {percent(zeros / total, decimals=1)} of the masked weights to zero.")
    return tensors, tuple(sentences)


_PIECES = {
    "pruned": "weight_orig and weight_mask",
    "weight norm": "a length and a direction",
    "spectral norm": "a weight and its singular vectors",
}


def _pieces(key: str, weights: Mapping[str, Tensor]) -> tuple[str, str, tuple[str, ...]] | None:
    """(kind, key of the whole, keys of its pieces) when `key` is a piece."""
    stem, _, last = key.rpartition(".")
    start = f"{stem}." if stem else ""
    inside, _, name = stem.rpartition(".parametrizations.") if ".parametrizations." in stem else ("", "", "")
    if inside and last == "original":  # with 0._u and 0._v below the same name
        return "spectral norm", f"{inside}.{name}", (key, f"{stem}.0._u", f"{stem}.0._v")
    if inside and last in ("original0", "original1"):
        return "weight norm", f"{inside}.{name}", (f"{stem}.original0", f"{stem}.original1")
    whole, _, piece = last.rpartition("_")
    if not whole:
        return None
    full = f"{start}{whole}"
    if piece in ("orig", "mask") and f"{full}_orig" in weights:
        if f"{full}_mask" in weights:
            return "pruned", full, (f"{full}_orig", f"{full}_mask")
        return "spectral norm", full, (f"{full}_orig", f"{full}_u", f"{full}_v")
    if piece in ("g", "v") and f"{full}_g" in weights:
        return "weight norm", full, (f"{full}_g", f"{full}_v")
    if piece in ("u", "v") and f"{full}_orig" in weights:
        return "spectral norm", full, (f"{full}_orig", f"{full}_u", f"{full}_v")
    return None


def _together(kind: str, pieces: list[Tensor]) -> Tensor:
    with torch.no_grad():
        if kind == "pruned":
            weight, mask = pieces
            if weight.shape != mask.shape:
                raise ValueError("shapes differ")
            return mask.to(dtype=weight.dtype) * weight
        if kind == "weight norm":
            length, direction = pieces
            wide = [axis for axis, size in enumerate(length.shape) if size > 1]
            if length.ndim not in (0, direction.ndim) or any(
                length.shape[axis] != direction.shape[axis] for axis in wide
            ):
                raise ValueError("shapes differ")
            # A length without axes is one for the whole tensor; -1 is torch's word for it.
            return torch._weight_norm(direction, length, -1 if length.ndim == 0 else wide[0] if wide else 0)
        weight, u, v = pieces
        matrix = weight.flatten(1)
        return weight / torch.dot(u, torch.mv(matrix, v))
