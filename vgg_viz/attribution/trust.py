"""Should you believe a method on this very checkpoint? Evidence, and a verdict with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from vgg_viz.attribution import attribute, methods
from vgg_viz.attribution.cam import on_pixels
from vgg_viz.attribution.pointing import Pointing, controls_for, pointing_of
from vgg_viz.maths.metrics import rank_correlation
from vgg_viz.models.names import layers as layers_of
from vgg_viz.records import Attribution

Verdict = Literal["passes", "weak", "fails"]

# (passes up to, weak up to): conventions of this package, named in every reason; the literature fixes none of them.
COMPLETENESS = (0.05, 0.2)
RANDOMISED = (0.5, 0.8)
DISCRIMINATION = (0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for and against one method on this checkpoint and these pictures.

    completeness    median of |residual| / |f(x) - f(baseline)|; 0 is perfect; None when the method promises nothing
    discrimination  mean rank correlation of the maps for the predicted class and the runner-up, [-1, 1];
                    near 1: the map does not say which class it is about; None when there is one class only
    randomised_top  mean rank correlation of |map| before and after the last layer's weights were randomised
    randomised_all  the same for the weights of all layers; near 1: the map shows the picture, not what was learned;
                    None when every map is flat
    pointing        against the objects' masks; None without masks
    controls        the same for maps that know nothing of the network: centre, edge, random
    verdict         that of the worst check
    reason          one sentence with its number
    """

    method: str
    completeness: float | None
    discrimination: float | None
    randomised_top: float | None
    randomised_all: float | None
    pointing: Pointing | None
    controls: tuple[Pointing, ...]
    verdict: Verdict
    reason: str


def evidence(
    model: nn.Module,
    images: Tensor,
    *,
    names: Sequence[str] | None = None,
    labels: Tensor | None = None,
    masks: Tensor | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    steps: int = 32,
    samples: int = 16,
    window: int | None = None,
    stride: int | None = None,
    compared: int = 8,
) -> tuple[Evidence, ...]:
    """Put methods to the test on some pictures, for the predicted class unless said.

    images     (B, C, H, W) in [0, 1]; 16 are enough for a verdict
    names      of methods; None: all
    labels     with masks, only pictures that the network gets right are pointed at
    masks      (B, H, W) bool, True on the object
    tolerance  of the pointing game [px]; None: 15 px of 224, as in the literature, scaled to these pictures
    compared   how many of the pictures get three more maps: of the runner-up, and with weights randomised twice;
               the others are pointed at only
    others     as in `attribute`, and raises as it does
    """
    found = []
    for name in methods() if names is None else names:
        # Without Grad-CAM's ReLU: a noisy network's map is often negative throughout, and a flat map passes by silence.
        maps = partial(
            attribute, model, method=name, seed=seed, steps=steps, samples=samples, window=window, stride=stride, relu=False
        )
        base = maps(images, target="predicted")
        pointing: Pointing | None = None
        controls: tuple[Pointing, ...] = ()
        if masks is not None:
            right = torch.ones_like(base.targets, dtype=torch.bool) if labels is None else base.targets == labels
            placed = on_pixels(model, base.layer, base.values, images.shape[-2:])
            pointing = pointing_of(name, placed[right], masks[right], tolerance, seed)
            controls = controls_for(images[right], masks[right], tolerance, seed)
        found.append(_tried(model, maps, base, images[:compared], seed, pointing, controls))
    return tuple(found)


def _tried(
    model: nn.Module, maps: Callable[..., Attribution], base: Attribution, images: Tensor, seed: int,
    pointing: Pointing | None, controls: tuple[Pointing, ...],
) -> Evidence:  # fmt: skip
    """Three more maps of the first pictures, and the verdict on them all."""
    everything = [layer.module for layer in layers_of(model) if layer.kind in ("conv", "fc")]
    values, classes = base.values[: len(images)], base.targets[: len(images)]
    again = partial(maps, images, target=classes)
    several = _classes(model, images) > 1
    discrimination = _agreement(values, maps(images, target="runner-up").values) if several else None
    top, all_ = (_survival(again, values, modules, seed) for modules in (everything[-1:], everything))
    completeness = _completeness(base)
    verdict, reason = judge(completeness, discrimination, all_, pointing, controls)
    return Evidence(base.method, completeness, discrimination, top, all_, pointing, controls, verdict, reason)


@contextmanager
def randomised(modules: Sequence[nn.Module], *, seed: int = 0) -> Iterator[None]:
    """Exchange the weights and biases of some layers for noise of the same mean and spread; take it back afterwards.

    Each tensor draws its own noise. Layers of equal shape with identical weights, or a smaller spread, would let the
    signal die on the way up, and then every method passes (seen in another library).
    The tensors themselves are not written to: they may be those of a memory-mapped file.
    Source: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
    """
    dice = torch.Generator().manual_seed(seed)
    parameters = [parameter for module in modules for parameter in module.parameters()]
    originals = [parameter.data for parameter in parameters]
    try:
        for parameter, original in zip(parameters, originals, strict=True):
            noise = torch.randn(original.shape, generator=dice).to(original)
            spread = original.std() if original.numel() > 1 else original.new_zeros(())
            parameter.data = noise * spread + original.mean()
        yield
    finally:
        for parameter, original in zip(parameters, originals, strict=True):
            parameter.data = original


def judge(
    completeness: float | None,
    discrimination: float | None,
    randomised_all: float | None,
    pointing: Pointing | None = None,
    controls: Sequence[Pointing] = (),
) -> tuple[Verdict, str]:
    """The worst of the checks, in words; of equally bad ones the first.

    returns  "passes", "weak" or "fails", and one sentence that names the number and what would have passed
    """
    if randomised_all is None:
        return "fails", "fails: its maps are flat, so there is nothing to believe or doubt."
    text = f"with all weights randomised its maps still rank the pixels alike ({randomised_all:.3f}; up to {RANDOMISED[0]:g} passes)"
    checks: list[tuple[Verdict, str]] = [(_grade(randomised_all, RANDOMISED), text)]
    if completeness is not None:
        text = f"its maps miss the change of the score by {100 * completeness:.1f} % (up to {100 * COMPLETENESS[0]:.0f} % passes)"
        checks.append((_grade(completeness, COMPLETENESS), text))
    if discrimination is not None:
        text = (
            f"its maps for the predicted class and the runner-up rank the pixels alike "
            f"({discrimination:.3f}; up to {DISCRIMINATION[0]:g} passes)"
        )
        checks.append((_grade(discrimination, DISCRIMINATION), text))
    if pointing is not None and pointing.pictures > 0 and controls:
        checks.append(_against_controls(pointing, controls))
    order: tuple[Verdict, ...] = ("fails", "weak", "passes")
    verdict, text = min(checks, key=lambda check: order.index(check[0]))
    if verdict == "passes":
        numbers = [f"{randomised_all:.2f} rank correlation with all weights randomised"]
        numbers += [] if discrimination is None else [f"{discrimination:.2f} between predicted class and runner-up"]
        numbers += [] if completeness is None else [f"{100 * completeness:.1f} % missing to completeness"]
        return verdict, f"passes every check: {', '.join(numbers)}."
    return verdict, f"{verdict}: {text}." if verdict == "fails" else f"is weak: {text}."


def _against_controls(pointing: Pointing, controls: Sequence[Pointing]) -> tuple[Verdict, str]:
    """A map must put more of its mass on the object than maps that know nothing of the network do."""
    best = max(controls, key=lambda control: control.mass)
    low, high = pointing.mass_interval
    text = (
        f"{100 * pointing.mass:.0f} % of its mass lies on the object (95 % interval {100 * low:.0f} to {100 * high:.0f}), "
        f"and the {best.name} control has {100 * best.mass:.0f} %"
    )
    if low > best.mass:
        return "passes", text
    random = next((control.mass for control in controls if control.name == "random"), best.mass)
    return ("weak" if high > random else "fails"), text


def _grade(value: float, limits: tuple[float, float]) -> Verdict:
    return "passes" if value <= limits[0] else "weak" if value <= limits[1] else "fails"


def _survival(again: Callable[[], Attribution], before: Tensor, modules: Sequence[nn.Module], seed: int) -> float | None:
    """How alike |map| stays when `modules` are randomised; None when the maps were flat from the start.

    A network of noise is sometimes silent, and so are its maps: then other dice are thrown, and after eight times
    nothing of the map has survived, which is 0.
    """
    if _agreement(before.abs(), before.abs()) is None:
        return None
    for draw in range(8):
        with randomised(modules, seed=seed + draw):
            after = again().values
        agreement = _agreement(before.abs(), after.abs())
        if agreement is not None:
            return agreement
    return 0.0


def _agreement(a: Tensor, b: Tensor) -> float | None:
    """Mean rank correlation over the pictures where both maps have an order; None when there is none."""
    known = rank_correlation(a, b)
    known = known[~known.isnan()]
    return float(known.mean()) if len(known) else None


def _completeness(found: Attribution) -> float | None:
    if found.residual is None:
        return None
    change = found.values.sum((1, 2)) - found.residual
    return float((found.residual.abs() / change.abs().clamp(min=1e-12)).median())


@torch.no_grad()
def _classes(model: nn.Module, images: Tensor) -> int:
    architecture = getattr(model, "architecture", None)
    return int(architecture.num_classes) if architecture else int(model(images[:1]).shape[1])
