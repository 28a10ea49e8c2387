"""Class activation maps from a layer's activations A and the gradient G of the score: one formula a method.

All keep their unit: no map is divided by its own maximum, so pictures, layers and classes stay comparable. With relu=False
they also say what speaks against the class. `channel_weights`: the formula says how much each channel counts; else it is the map.
"""

from __future__ import annotations

from torch import Tensor

from vgg_viz.attribution.cam_reduction import CAMS, Block, Cam, cam


def grad_cam(block: Block) -> Tensor:
    """w = mean over places of G; the map is relu(sum over channels of w A).

    The method of this name asks Captum (`attribution.cam`); this is for all layers at once.
    Source: Selvaraju et al., ICCV 2017.
    """
    return block.gradient.sum(1) / block.places


CAMS.add("grad_cam", Cam(grad_cam, channel_weights=True, signed=True), by=__name__)


@cam(
    "grad_cam_plus_plus",
    title="Grad-CAM++",
    channel_weights=True,
    about="Grad-CAM that lets a few places count for a whole channel: better where several objects of the class are in the picture.",
    source="Chattopadhay et al., Grad-CAM++: Generalized Gradient-Based Visual Explanations for Deep Convolutional Networks, WACV 2018",
)
def grad_cam_plus_plus(block: Block) -> Tensor:
    """w = sum over places of alpha relu(G), alpha = G² / (2 G² + sum over places of A, times G³) = 1 / (2 + sum(A) G).

    The paper's equation 19 for a score exp(S), S the logit, whose factor exp(S) is common to all channels and left out. The
    fraction is reduced before it is computed: squares and cubes of small gradients would vanish beside the constant that other
    libraries add below the line. Meant for maps that are not negative: before a ReLU sum(A) may be, and 2 + sum(A) G near zero.
    """
    return (block.positive / (block.positive * block.total[:, None]).add_(2)).sum(1)


@cam(
    "xgrad_cam",
    title="XGrad-CAM",
    channel_weights=True,
    about="Grad-CAM whose map adds up to what the channels contribute to the score: gradients count where the channel is active.",
    source="Fu et al., Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs, BMVC 2020",
)
def xgrad_cam(block: Block) -> Tensor:
    """w = sum over places of G A / sum over places of A; a silent channel has no weight.

    The map then adds up to the sum of G A over the layer. Meant for maps that are not negative, as Grad-CAM++ is.
    """
    total = block.total
    return block.product.sum(1) / total.where(total != 0, 1)


@cam(
    "hires_cam",
    title="HiRes-CAM",
    channel_weights=False,
    about="Gradient times activation place by place: it shows only places that the score reads, where Grad-CAM may point elsewhere.",
    source="Draelos & Carin, Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks, 2020",
)
def hires_cam(block: Block) -> Tensor:
    """Sum over channels of G A. Where one linear layer follows, the map adds up to the score without its bias."""
    return block.product.sum(2)


@cam(
    "layer_cam",
    title="LayerCAM",
    channel_weights=False,
    about="Activation where a little more of it would raise the score: sharp also in lower layers.",
    source="Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, IEEE TIP 2021",
)
def layer_cam(block: Block) -> Tensor:
    """Sum over channels of relu(G) A; before a ReLU a negative A makes it speak against the class."""
    return (block.positive * block.maps).sum(2)


@cam(
    "elementwise_grad_cam",
    title="Element-wise Grad-CAM",
    channel_weights=False,
    signed=False,
    about="The share of HiRes-CAM that speaks for the class, channel by channel, before channels can cancel.",
    source="Gildenblat and contributors, PyTorch library for CAM methods (GradCAMElementWise), 2021",
)
def elementwise_grad_cam(block: Block) -> Tensor:
    """Sum over channels of relu(G A); never negative. After a ReLU A is not negative and the map is that of LayerCAM."""
    return block.product.clamp(min=0).sum(2)
