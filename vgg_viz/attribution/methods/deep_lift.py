"""DeepLift: the change of the score from a picture of nothing to this one, passed down by finite differences."""

from __future__ import annotations

import warnings

from captum.attr import DeepLift
from torch import Tensor, nn

from vgg_viz.attribution.layer_modules import ACTIVATIONS, MAX_POOLS, require_layers_as_modules
from vgg_viz.attribution.method import Map, method
from vgg_viz.attribution.options import MethodOptions, baseline_for
from vgg_viz.capture.out_of_place import without_inplace
from vgg_viz.errors import InputRefused


@method(
    "deep_lift",
    title="DeepLift",
    family="relevance",
    signed=True,
    unit="logit",
    complete=True,
    reads=("baseline",),
    passes=lambda options, side: 6,
    about="What each pixel adds to the change of the score from a blank picture to this one, by differences instead of slopes.",
    source="Shrikumar, Greenside & Kundaje, Learning Important Features Through Propagating Activation Differences, ICML 2017",
)
def deep_lift(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """(x - baseline) times multipliers, summed over channels; that of a ReLU is its change of output over its change of input.

    The rescale rule, with a black baseline as in integrated gradients. Max-pools whose winner in the picture is not their winner
    in the baseline can lose a little: the residual says how much.
    raises  InputRefused when one module works at several places of a pass: its differences would be mixed up

    Captum keeps inputs and outputs as attributes of the layers, and leaves them there when a pass fails; here of stand-ins, which also
    part a module that is registered under two names.
    """
    require_layers_as_modules(model, images, "DeepLIFT", ACTIVATIONS | MAX_POOLS)
    baselines = baseline_for(images, "black" if options.baseline is None else options.baseline)
    with without_inplace(model), warnings.catch_warnings():
        # Captum announces at every call that it will take its hooks off again.
        warnings.filterwarnings("ignore", "Setting forward, backward hooks", UserWarning)
        try:
            values, residual = DeepLift(model).attribute(
                images.requires_grad_(), baselines, target=targets, return_convergence_delta=True
            )
        except RuntimeError as error:
            if "more than once" not in str(error):  # Captum has no type of its own for it
                raise
            raise InputRefused(
                "a module of this network works at several places of one pass, and DeepLift cannot tell its differences apart; "
                "give each place a module of its own, or choose integrated_gradients."
            ) from error
    return Map(values.sum(1), residual=residual.detach(), passes=6)
