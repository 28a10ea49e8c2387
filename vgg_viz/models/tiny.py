"""Tiny VGG as CNN Explainer and the lab courses build it: two blocks of two convolutions, one linear layer.

Source: Wang et al., "CNN Explainer", IEEE TVCG 2020; 64 px, ten channels, padding 0 (some courses use 1).
"""

from __future__ import annotations

from torch import Tensor, nn

from vgg_viz.errors import InputRefused
from vgg_viz.models.vgg import Normalise, feature_map, layer_steps
from vgg_viz.records import Architecture


class TinyVGG(nn.Module):
    """State-dict keys are those of the lab courses: conv_block_1.0, conv_block_1.2, ..., classifier.1."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        if architecture.batch_norm or architecture.dense or architecture.head or architecture.pooled:
            raise InputRefused(
                "Tiny VGG has no batch norm, dense form, hidden layers or average pool; "
                "choose a VGG variant such as vgg11 for those."
            )
        self.architecture = architecture
        self.normalise = Normalise(architecture.mean, architecture.std)
        channels, side = feature_map(architecture)
        blocks = _blocks(architecture)
        self.conv_block_1, self.conv_block_2 = blocks
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(channels * side**2, architecture.num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> logits (B, K)."""
        maps = self.conv_block_2(self.conv_block_1(self.normalise(images)))
        logits: Tensor = self.classifier(maps)
        return logits


def _blocks(architecture: Architecture) -> list[nn.Sequential]:
    blocks: list[nn.Sequential] = []
    modules: list[nn.Module] = []
    channels = architecture.in_channels
    for step in layer_steps(architecture):
        if step.kind == "pool":
            blocks.append(nn.Sequential(*modules, nn.MaxPool2d(kernel_size=2, stride=2)))
            modules = []
        else:
            modules += [
                nn.Conv2d(
                    channels,
                    step.channels,
                    step.window.kernel,
                    padding=step.window.padding,
                    bias=architecture.conv_bias,
                ),
                nn.ReLU(inplace=True),
            ]
            channels = step.channels
    return blocks
