"""Where the evidence for each picture's class lies: heat maps in pixels, and what the maps of one class hold beyond all others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgg_viz.attribution import Options, attribute, on_pixels
from vgg_viz.maths.metrics import rank_correlation
from vgg_viz.shortcuts.region import Region, patch_overlap

PATCHES = (1 / 8, 3 / 16, 1 / 4)  # sides of a suspected patch, in shares of the picture's
FRAME = 1 / 8  # what counts as the edge of a picture, in shares of its side
DENSE = 2.0  # times the density of a flat map, from which a picture's evidence is said to lie in a place
COVERED = 0.08  # a patch where the object, or what stands for it, is found more often than this is the object's place


@dataclass(frozen=True, slots=True)
class EvidenceMaps:
    """Heat maps of labelled pictures, for the class that each shows.

    Attributes:
        signed: (N, S, S) integrated gradients against each picture's own mean colour [logit].
        share: (N, S, S) their positive part, smoothed, as shares that sum to 1; a map without any is flat.
        agreement: (N,) rank correlation of `share` with Grad-CAM, [-1, 1]; NaN where a map is flat.
    """

    signed: Tensor
    share: Tensor
    agreement: Tensor

    def part(self, chosen: Tensor) -> EvidenceMaps:
        """That of some of the pictures, by index."""
        return EvidenceMaps(self.signed[chosen], self.share[chosen], self.agreement[chosen])

    def inside(self, mask: Tensor) -> Tensor:
        """Share of each map on the pixels of `mask` (S, S) or (N, S, S) bool: (N,) in [0, 1]."""
        return (self.share * mask).sum((1, 2))


def evidence_maps(model: nn.Module, images: Tensor, labels: Tensor, *, steps: int) -> EvidenceMaps:
    """Two methods on every picture: integrated gradients of `steps` points, and Grad-CAM for a second opinion.

    Args:
        model: The network, which is left as it was.
        images: (N, C, S, S), asked about on the model's device; what comes back lies on the CPU.
        labels: (N,) the class that each shows.
        steps: Points on the path of integrated gradients.
    """
    device = next(model.parameters()).device
    images, labels = images.to(device), labels.to(device)
    gradients = attribute(
        model,
        images,
        method="integrated_gradients",
        target="true",
        labels=labels,
        options=Options(steps=steps, baseline="mean"),
    )
    cam = attribute(model, images, method="grad_cam", target="true", labels=labels)
    placed = on_pixels(model, cam.layer, cam.values, images.shape[-2:])
    signed = gradients.values.cpu()
    positive = F.avg_pool2d(signed.clamp(min=0)[:, None], 3, stride=1, padding=1)[:, 0]
    total = positive.sum((1, 2), keepdim=True)
    share = torch.where(
        total > 0, positive / total.clamp(min=1e-30), torch.full_like(positive, 1 / positive[0].numel())
    )
    coarse = (F.avg_pool2d(maps[:, None], max(1, images.shape[-1] // 16)) for maps in (share, placed.cpu()))
    return EvidenceMaps(signed, share, rank_correlation(*coarse).float())


def suspected_patches(
    evidence: EvidenceMaps, labels: Tensor, wanted: int, masks: Tensor | None, *, most: int = 3
) -> list[tuple[Region, float]]:
    """Patches where the evidence for a class lies more often than that for the others does, away from where objects are.

    Args:
        evidence: Heat maps of the pictures.
        labels: (N,) the class that each shows.
        wanted: The class that it is about, by index.
        masks: (N, S, S) bool, or None: the objects' place is then where the other classes' evidence lies.
        most: Patches at most.

    Returns:
        Regions with how far they stand out [standard errors], the most conspicuous first, none overlapping another
            much.
    """
    side = evidence.signed.shape[-1]
    own = labels == wanted
    if int(own.sum()) < 2 or int((~own).sum()) < 2:
        return []
    net = evidence.signed / evidence.signed.abs().sum((1, 2), keepdim=True).clamp(min=1e-30)
    patches: list[tuple[float, Region]] = []
    for size in sorted({max(2, round(share * side)) for share in PATCHES}):
        stride = max(1, side // 32)
        # Net evidence: what a patch gives and takes is one number, so textures that cancel do not count.
        sums = F.avg_pool2d(net[:, None], size, stride=stride)[:, 0] * size**2
        taken = object_frequency(evidence, own, masks, size, stride)
        mean, rest = sums[own].mean(0), sums[~own].mean(0)
        error = (sums[own].var(0) / own.sum() + sums[~own].var(0) / (~own).sum()).sqrt()
        # A floor on the error: where nobody looks, nothing varies, and a trifle would stand out.
        score = (mean - rest) / (error + 0.1 * size / side)
        score = torch.where(taken <= COVERED, score, torch.full_like(score, -1.0))
        for place in score.flatten().topk(min(8, score.numel())).indices.tolist():
            row, column = divmod(place, score.shape[1])
            y0, x0 = row * stride, column * stride
            patches.append((float(score[row, column]), Region("patch", (x0, y0, x0 + size, y0 + size))))
    chosen: list[tuple[Region, float]] = []
    for value, region in sorted(patches, key=lambda pair: -pair[0]):
        if value > 0 and all(
            patch_overlap(region.box, other.box) < 0.2 for other, _ in chosen if region.box and other.box
        ):
            chosen.append((region, value))
        if len(chosen) == most:
            break
    return chosen


def object_frequency(evidence: EvidenceMaps, own: Tensor, masks: Tensor | None, size: int, stride: int) -> Tensor:
    """How often objects lie in each square of `size` [px], `stride` apart: (h, w) in [0, 1].

    Args:
        evidence: Of all pictures.
        own: (N,) bool: the class; its own masks count, or without masks dense evidence of the other classes.
        masks: (N, S, S) bool, or None.
        size: Of the squares [px].
        stride: From square to square [px].
    """
    side = evidence.share.shape[-1]
    if masks is not None:
        return F.avg_pool2d(masks[own].float()[:, None], size, stride=stride)[:, 0].mean(0)
    cell = max(2, side // 16)
    dense = F.avg_pool2d(evidence.share[~own][:, None], cell, stride=1) * side**2 > DENSE
    return F.max_pool2d(dense.float(), size - cell + 1, stride=stride)[:, 0].mean(0)
