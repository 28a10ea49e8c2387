"""Logits of many pictures, a few at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vgg_viz.capture.hooks import eval_mode, on_device_of, say_both_classes
from vgg_viz.models.build import build
from vgg_viz.models.outputs import class_count
from vgg_viz.progress import tell
from vgg_viz.records import Architecture, Checkpoint


def class_network(checkpoint: Checkpoint) -> nn.Module:
    """The network of a checkpoint with a score for every named class: of one logit z with two names it says (-z, z)."""
    return say_both_classes(build(checkpoint))


def predict_logits(model: nn.Module, images: Tensor, *, batch_size: int | None = None) -> Tensor:
    """The class scores of every picture, in eval mode, without gradients.

    images      (N, C, H, W) in [0, 1]; moved to the model's device a batch at a time
    batch_size  None: as many as have the pixels of 4 pictures of 224 px; larger batches fall out of the cache
    returns     (N, K) on the CPU
    """
    side = int(images.shape[-1])
    size = batch_size or max(1, min(128, 4 * 224 * 224 // (side * side)))
    found = []
    with eval_mode(model), torch.no_grad():
        for start in range(0, len(images), size):
            found.append(model(on_device_of(model, images[start : start + size])).cpu())
            tell("asking the network", min(start + size, len(images)), len(images))
    if found:
        return torch.cat(found)
    architecture = model.architecture
    classes = class_count(architecture) if isinstance(architecture, Architecture) else 0
    return torch.zeros(0, classes)
