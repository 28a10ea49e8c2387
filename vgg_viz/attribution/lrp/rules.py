"""How one layer shares out the relevance that comes to it: the rules of layer-wise relevance propagation, for Captum's LRP.

Every rule says which products of inputs and weights count, and shares in proportion to them:

    z_k = bias_k + sum_j part_jk        R_j = sum_k part_jk / z_k R_k

What goes to the bias, and to the epsilon that keeps z from zero, reaches no input; a `Share` says how much that is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from captum.attr._utils.lrp_rules import PropagationRule
from torch import Tensor, nn
from torch.nn import functional as F

from vgg_viz.errors import InputRefused

TINY = 1e-9  # keeps 0 / 0 from being asked where a rule wants no epsilon

Linear = Callable[[Tensor, Tensor | None], Tensor]  # inputs, weight -> output without bias
Term = tuple[float, Tensor, Tensor | None]  # how often it counts, inputs, weight


@dataclass(frozen=True, slots=True)
class Share:
    """What became of the relevance that came to a layer, in the unit of the score.

    inputs    (B, ...) relevance of every input of the layer
    bias      (B,) what the biases kept, float64
    epsilon   (B,) what the stabiliser swallowed, float64; also what came to a unit that no input had a part in
    """

    inputs: Tensor
    bias: Tensor
    epsilon: Tensor


@dataclass(frozen=True, slots=True)
class Entry:
    """One layer's line in the books: per picture (B,), float64, in the unit of the score. entering = leaving + bias + epsilon."""

    entering: Tensor
    leaving: Tensor
    bias: Tensor
    epsilon: Tensor


class Rule(PropagationRule):  # type: ignore[misc]
    """A rule of ours in the shape that Captum's LRP wants: it changes no weight, and keeps books.

    Captum's own rules overwrite weights, run the network twice, leave biases out of gamma and inside alpha-beta, and know neither
    box, flat nor alpha 2 beta 1. Here the forward pass is the network's own, and the backward pass calls `share`.
    """

    name = ""

    def __init__(self) -> None:
        self.starts = (
            False  # the last layer: what comes to it is a gradient, and its relevance is gradient times output
        )
        self.entry: Entry | None = None

    def forward_hook(self, module: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
        """The layer's own output, whose gradient will be relevance."""
        passed: Tensor = _Passing.apply(inputs[0], outputs.detach(), module, self)
        return passed

    def _manipulate_weights(self, module: nn.Module, inputs: object, outputs: object) -> None:
        """Nothing: see the class."""

    @abstractmethod
    def share(self, module: nn.Module, inputs: Tensor, relevance: Tensor) -> Share:
        """Relevance (B, K, ...) of a layer's outputs, shared out to its inputs (B, C, ...)."""

    def booked(self, module: nn.Module, inputs: Tensor, relevance: Tensor) -> Tensor:
        """`share`, with an entry in the books."""
        found = self.share(module, inputs, relevance)
        self.entry = Entry(_total(relevance), _total(found.inputs), found.bias, found.epsilon)
        return found.inputs


class _Passing(torch.autograd.Function):
    """Forward: what the layer said. Backward: its rule instead of its gradient."""

    @staticmethod
    def forward(context, inputs, outputs, module, rule):  # type: ignore[no-untyped-def]
        context.inputs, context.outputs, context.module, context.rule = inputs.detach(), outputs, module, rule
        return outputs.view_as(outputs)

    @staticmethod
    def backward(context, arriving):  # type: ignore[no-untyped-def]
        relevance = arriving * context.outputs if context.rule.starts else arriving
        return context.rule.booked(context.module, context.inputs, relevance), None, None, None


# ---------------------------------------------------------------- the rules


class Epsilon(Rule):
    """part = a w; epsilon has the sign of z. With epsilon 0 (LRP-0) and no biases, the map of a ReLU network is input times gradient.

    epsilon   in the unit of z
    relative  epsilon as a share of the root mean square of z over the layer, one for each picture

    Source: Bach et al., "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation",
    PLOS ONE 2015.
    """

    def __init__(self, epsilon: float = 0.0, *, relative: float = 0.0) -> None:
        super().__init__()
        self.epsilon, self.relative = epsilon, relative
        self.name = f"ε {relative:g} rms" if relative else f"ε {epsilon:g}".replace("e-0", "e-") if epsilon else "LRP-0"

    def share(self, module: nn.Module, inputs: Tensor, relevance: Tensor) -> Share:
        """What this rule passes on to each input, and what it keeps."""
        weight, bias = _weights(module)
        return Sums(_linear(module), [(1.0, inputs, weight)], bias).share(
            relevance, epsilon=self.epsilon, relative=self.relative
        )


class Gamma(Rule):
    """part = a w + gamma max(a w, 0), and the same for the bias: what speaks for a unit counts more than what speaks against it.

    Source: Montavon et al., "Layer-Wise Relevance Propagation: An Overview", in Explainable AI, Springer 2019.
    """

    def __init__(self, gamma: float = 0.25) -> None:
        super().__init__()
        self.gamma, self.name = gamma, f"γ {gamma:g}"

    def share(self, module: nn.Module, inputs: Tensor, relevance: Tensor) -> Share:
        """What this rule passes on to each input, and what it keeps."""
        weight, bias = _needed(module)
        more = bias + self.gamma * bias.clamp(min=0)
        if bool((inputs < 0).any()):
            terms = [(1.0, inputs, weight), *((self.gamma, *part) for part in _of_sign(inputs, weight, for_it=True))]
        else:
            terms = [(1.0, inputs, weight + self.gamma * weight.clamp(min=0))]
        return Sums(_linear(module), terms, more).share(relevance)


class AlphaBeta(Rule):
    """alpha times the shares among the positive products, less beta times the shares among the negative ones; alpha - beta = 1.

    alpha 1, beta 0 is also called z-plus: nothing that speaks against a unit counts. Where nothing does (kernels of 1x1 may have no
    negative weight), beta is not charged: relevance would come from nowhere.

    Source: Bach et al. 2015 (see `Epsilon`).
    """

    def __init__(self, alpha: float = 1.0, beta: float = 0.0) -> None:
        super().__init__()
        self.alpha, self.beta, self.name = alpha, beta, f"α {alpha:g}, β {beta:g}"

    def share(self, module: nn.Module, inputs: Tensor, relevance: Tensor) -> Share:
        """What this rule passes on to each input, and what it keeps."""
        weight, bias = _needed(module)
        speaks_for = Sums(
            _linear(module), [(1.0, *part) for part in _of_sign(inputs, weight, for_it=True)], bias.clamp(min=0)
        )
        if not self.beta:
            return speaks_for.share(self.alpha * relevance)
        against = Sums(
            _linear(module), [(1.0, *part) for part in _of_sign(inputs, weight, for_it=False)], bias.clamp(max=0)
        )
        charged = torch.where(against.z < 0, self.beta * relevance, 0.0)
        paid, due = speaks_for.share(relevance * (self.alpha - self.beta) + charged), against.share(-charged)
        return Share(paid.inputs + due.inputs, paid.bias + due.bias, paid.epsilon + due.epsilon)


class Flat(Rule):
    """part = 1: every input in a unit's field gets the same, whatever its value; padding gets nothing. For the lowest layer.

    Source: Lapuschkin et al., "Understanding and Comparing Deep Neural Networks for Age and Gender Classification", ICCV workshop 2017.
    """

    name = "flat"

    def share(self, module: nn.Module, inputs: Tensor, relevance: Tensor) -> Share:
        """What this rule passes on to each input, and what it keeps."""
        weight, bias = _needed(module)
        return Sums(
            _linear(module), [(1.0, torch.ones_like(inputs), torch.ones_like(weight))], torch.zeros_like(bias)
        ).share(relevance)


class Box(Rule):
    """part = x w - low max(w, 0) - high min(w, 0): how far a pixel is from the value in the box that says least. For pixels.

    low, high  (1, C, H, W), in the unit of the layer's inputs: black and white after the normalising layer

    Source: Montavon et al., "Explaining Nonlinear Classification Decisions with Deep Taylor Decomposition", Pattern Recognition 2017.
    """

    name = "box"

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.low, self.high = low, high

    def share(self, module: nn.Module, inputs: Tensor, relevance: Tensor) -> Share:
        """What this rule passes on to each input, and what it keeps."""
        weight, bias = _needed(module)
        low, high = (side.to(inputs).reshape(1, *inputs.shape[1:]).expand_as(inputs) for side in (self.low, self.high))
        terms = [(1.0, inputs, weight), (-1.0, low, weight.clamp(min=0)), (-1.0, high, weight.clamp(max=0))]
        return Sums(_linear(module), terms, torch.zeros_like(bias)).share(relevance)


class Pass(Rule):
    """Relevance stays where it is: for layers that only rescale each unit (normalising, local response normalisation)."""

    name = "pass"

    def share(self, module: nn.Module, inputs: Tensor, relevance: Tensor) -> Share:
        """What this rule passes on to each input, and what it keeps."""
        nothing = torch.zeros(len(relevance), dtype=torch.float64, device=relevance.device)
        return Share(relevance.clone(), nothing, nothing)


# ---------------------------------------------------------------- the arithmetic that all share


class Sums:
    """The sums z that a layer's relevance is shared out by, and the way back through them.

    op     the layer without its bias
    terms  z = bias + sum of often * op(inputs, weight)
    bias   (K,) or None
    """

    def __init__(self, op: Linear, terms: Sequence[Term], bias: Tensor | None) -> None:
        self.terms = terms
        held = [_held(op, inputs, weight) for _, inputs, weight in terms]
        sums = [often * said for (often, _, _), (said, _) in zip(terms, held, strict=True)]
        self.back = [back for _, back in held]
        self.bias = sums[0].new_zeros(()) if bias is None else bias.view(-1, *(1,) * (sums[0].ndim - 2))
        self.z = sum(sums[1:], sums[0]) + self.bias

    def share(self, relevance: Tensor, *, epsilon: float = 0.0, relative: float = 0.0) -> Share:
        """Relevance (B, K, ...) shared out in proportion to the parts of z."""
        z = self.z
        least = torch.full_like(z, epsilon + TINY)
        if relative:
            least += relative * z.square().flatten(1).mean(1).sqrt().view(-1, *(1,) * (z.ndim - 1))
        stabiliser = torch.where(z < 0, -least, least)
        per_unit = relevance / (z + stabiliser)
        shares = [often * given * back(per_unit) for (often, given, _), back in zip(self.terms, self.back, strict=True)]
        return Share(sum(shares[1:], shares[0]), _total(self.bias * per_unit), _total(stabiliser * per_unit))


def _held(op: Linear, inputs: Tensor, weight: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """op(inputs, weight), and the way back through it."""
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_()
        said = op(leaf, weight)

    def back(values: Tensor) -> Tensor:
        # The gradient of a sum: where a gradient is handed in, PyTorch first imports an algebra system, half a second to a second.
        with torch.enable_grad():
            return torch.autograd.grad((said * values).sum(), leaf)[0]

    return said.detach(), back


def _of_sign(inputs: Tensor, weight: Tensor, *, for_it: bool) -> list[tuple[Tensor, Tensor]]:
    """Inputs and weights whose products are all positive (for_it) or all negative: one pair, or two where inputs are negative too."""
    up, down = weight.clamp(min=0), weight.clamp(max=0)
    if not bool((inputs < 0).any()):
        return [(inputs, up if for_it else down)]
    above, below = inputs.clamp(min=0), inputs.clamp(max=0)
    return [(above, up), (below, down)] if for_it else [(above, down), (below, up)]


def _linear(module: nn.Module) -> Linear:
    """The layer as a function of inputs and weight, without its bias; raises InputRefused for a layer that is not linear."""
    if isinstance(module, nn.Conv2d):
        return lambda inputs, weight: module._conv_forward(inputs, weight, None)  # type: ignore[arg-type]
    if isinstance(module, nn.Linear):
        return lambda inputs, weight: F.linear(inputs, weight)  # type: ignore[arg-type]
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return lambda inputs, _: F.adaptive_avg_pool2d(inputs, module.output_size)
    if isinstance(module, nn.AvgPool2d | nn.MaxPool2d):
        kernel, stride, padding = module.kernel_size, module.stride, module.padding
        return lambda inputs, _: F.avg_pool2d(inputs, kernel, stride, padding, module.ceil_mode)
    raise InputRefused(
        f"a {type(module).__name__} came; relevance is shared out by convolutions, linear layers and pools."
    )


def _weights(module: nn.Module) -> tuple[Tensor | None, Tensor | None]:
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return None, None
    return module.weight.detach(), None if module.bias is None else module.bias.detach()


def _needed(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias; zeros where there is no bias."""
    weight, bias = _weights(module)
    if weight is None:
        raise InputRefused(
            f"a layer of type {type(module).__name__} has no weights; this rule needs a convolution or a linear layer."
        )
    return weight, weight.new_zeros(len(weight)) if bias is None else bias


def _total(values: Tensor) -> Tensor:
    """(B, ...) -> (B,), summed in float64: sums of a million float32 values lose the digits that a balance needs."""
    return values.detach().double().flatten(1).sum(1)
