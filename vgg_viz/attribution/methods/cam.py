"""Grad-CAM and guided Grad-CAM of one layer."""

from __future__ import annotations

from captum.attr import LayerGradCam
from torch import Tensor, nn

from vgg_viz.attribution.layers import default_layer, on_pixels, spatial
from vgg_viz.attribution.method import Map, method
from vgg_viz.attribution.methods.gradient import guided_gradient
from vgg_viz.attribution.options import MethodOptions


@method(
    "grad_cam",
    title="Grad-CAM",
    family="cam",
    signed=False,
    unit="logit",
    layered=True,
    reads=("layer", "relu"),
    passes=lambda options, side: 2,
    about="Where the feature maps that speak for the class are active: coarse, but it follows the class.",
    source="Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks, ICCV 2017",
)
def grad_cam(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """relu(sum over channels of mean gradient times activation), at the layer's own resolution.

    The paper's ReLU is Captum's relu_attributions=True; its default keeps the sign, as relu=False does here.
    """
    layer = spatial(model, options.layer or default_layer(model, images))
    values = LayerGradCam(model, layer.module).attribute(
        images, target=targets, attribute_to_layer_input=False, relu_attributions=options.relu, attr_dim_summation=True
    )
    return Map(values[:, 0].detach(), layer=layer.name, passes=2, signed=not options.relu)


@method(
    "guided_grad_cam",
    title="Guided Grad-CAM",
    family="cam",
    signed=False,
    unit="logit² / intensity, guided",
    layered=True,
    reads=("layer",),
    passes=lambda options, side: 4,
    about="Guided Backprop kept where Grad-CAM is warm: fine lines, placed by a map that follows the class.",
    source="Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks, ICCV 2017",
)
def guided_grad_cam(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """max over channels of |guided gradient|, times Grad-CAM brought to the picture; in pixels.

    Captum's own GuidedGradCam stretches the layer's map; here each unit lands where its receptive field is centred
    (the same for padded VGGs with bilinear stretching, up to 5.8 px of 64 apart for Tiny VGG).
    """
    cam = grad_cam(model, images.clone(), targets, options)
    warm = on_pixels(model, str(cam.layer), cam.values.clamp(min=0), images.shape[-2:])
    return Map(guided_gradient(model, images, targets).abs().amax(1) * warm, passes=cam.passes + 2)
