"""The maps of one method, asked again and again: for other classes, on noisy pictures, of networks with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from vgg_viz.attribution import attribute, methods
from vgg_viz.attribution.cam_reduction import CAMS
from vgg_viz.attribution.layers import on_pixels
from vgg_viz.attribution.options import Options
from vgg_viz.attribution.single_pass import SHARED, gradient_bundle
from vgg_viz.maths.outputs import meaning
from vgg_viz.models.outputs import class_logits, outputs_of
from vgg_viz.records import Attribution


@dataclass
class Asker:
    """Asks one network for maps with the same options every time, and keeps what a shared pass gave besides.

    options   of all methods; each is asked by those that it reads
    layer     of layered methods; None: the network has none to look at
    names     of all methods that are tested: those of one pass are made together
    """

    model: nn.Module
    layer: str | None
    options: Options
    names: Sequence[str] = ()
    kept: dict[tuple[str, str], Attribution] = field(default_factory=dict)

    def maps(self, method: str, images: Tensor, targets: Tensor, occasion: str = "") -> Attribution:
        """The raw maps of a method.

        occasion  what distinguishes this question, such as "base": methods of one family asked on the same occasion about the same
                  pictures come from one pass; "" for a question that is asked once
        """
        if method == "guided_grad_cam" and occasion and {"grad_cam", "guided_backprop"} <= set(self.names):
            return self._joined(images, targets, occasion)
        if method == "guided_backprop" and occasion and (occasion, method) in self.kept:
            return self.kept[occasion, method]
        if method not in SHARED:
            layer = self.layer if methods()[method].layered else None
            # Without Grad-CAM's ReLU: a noisy network's map is often negative throughout, and a flat map passes by silence.
            found = attribute(
                self.model,
                images,
                method,
                target=targets,
                layer=layer,
                options=methods()[method].relevant(self.options),
            )
            if method == "guided_backprop" and occasion:
                self.kept[occasion, method] = found
            return found
        if (occasion, method) not in self.kept or not occasion:
            layers = () if self.layer is None else (self.layer,)
            cams = [name for name in {*self.names, method} if name in CAMS and name != "grad_cam"]
            bundle = gradient_bundle(self.model, images, targets, layers=layers, cams=cams, relu=False)
            shared = {"saliency": bundle.saliency, "input_x_gradient": bundle.input_x_gradient}
            shared |= {
                name: maps
                for name, every in {"grad_cam": bundle.grad_cam, **bundle.cams}.items()
                for maps in every.values()
            }
            self.kept.update({(occasion, name): maps for name, maps in shared.items()})
        return self.kept[occasion, method]

    def _joined(self, images: Tensor, targets: Tensor, occasion: str) -> Attribution:
        """Guided Grad-CAM out of its two factors, which are tested themselves: no pass of its own."""
        lines = self.maps("guided_backprop", images, targets, occasion)
        cam = self.maps("grad_cam", images, targets, occasion)
        warm = on_pixels(self.model, cam.layer, cam.values.clamp(min=0), images.shape[-2:])
        about = methods()["guided_grad_cam"]
        return replace(
            lines, method=about.name, values=lines.values * warm, unit=about.unit, passes=lines.passes + cam.passes
        )

    def on_pixels(self, found: Attribution, size: tuple[int, int]) -> Tensor:
        """Its maps in the pixels of their pictures (B, H, W); those of a network that is not ours are stretched."""
        return on_pixels(self.model, found.layer, found.values, size, stretch=True)

    def cost(self, method: str, side: int) -> float:
        """Passes a picture that one map costs."""
        about = methods()[method]
        return about.cost(self.model, self.options, side) or 2.0


def scores(model: nn.Module, images: Tensor, targets: Tensor, batch: int) -> Tensor:
    """Probability of each picture's target: (N,), float64."""
    images = images.contiguous(memory_format=torch.channels_last)  # half the time for a Tiny VGG
    with torch.no_grad():
        logits = torch.cat([model(images[start : start + batch]) for start in range(0, len(images), batch)])
    shares = meaning(class_logits(model, logits.double()), outputs_of(model))
    return shares.gather(1, targets[:, None])[:, 0]
