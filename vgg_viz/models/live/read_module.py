"""A live network, any nn.Module, read as a chain by running it once, and proved to say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.formats import ReadCheckpoint
from vgg_viz.models.live.chain import read_chain
from vgg_viz.models.live.rebuild import Rebuilt, prove, rebuilt
from vgg_viz.models.live.trace import run_once, the_logits, undisturbed, unwrapped
from vgg_viz.records import Architecture, Evidence

# In the order in which they are tried where nobody says a side [px].
SIDES = (224, 32, 64, 28, 96, 128, 48, 160, 192, 112, 256, 299, 384, 448, 512, 80, 100, 150, 200, 16)
FAULTS = (
    RuntimeError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    KeyError,
    AssertionError,
    NotImplementedError,
)
BYTES = 20  # a network that divides its pictures by more than this reads 0 to 255


@dataclass(frozen=True, slots=True)
class LiveWishes:
    """What a user says of a live network; None: nothing.

    Attributes:
        image_side: Of its pictures [px].
        mean: Subtracted per channel from pictures in [0, 1] before they reach it.
        std: Then divided by.
        pictures: Batches (B, C, H, W) as it takes them, on which it is compared as well.
        origin: How it came, for the evidence: "your module", "models.py:Net".
        noted: Mean and std that a file of its weights names: those of a network that does not normalise by itself.
    """

    image_side: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    pictures: Sequence[Tensor] = ()
    origin: str = "your module"
    noted: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def read_module(model: nn.Module, wishes: LiveWishes) -> ReadCheckpoint:
    """What running a network once tells of it.

    Its mode, weights, hooks, gradients and device, and all randomness, are afterwards as they were.

    Raises:
        CheckpointRefused: It is no chain of layers, named by the first that is not; or what was made of it says something else.
    """
    network = unwrapped(model)
    _require_weights(network)
    with undisturbed(network) as run:
        found, settled = _first_that_runs(network, run, wishes)
        about = found.architecture
        noise = list(_noise(about.in_channels, about.image_side))
        worst = prove(network, run, found, [*noise, *wishes.pictures])
    compared = f"{sum(map(len, noise))} pictures of noise"
    compared += f" and {sum(map(len, wishes.pictures))} given ones" if wishes.pictures else ""
    evidence = [
        Evidence(
            f"The layers were read from {wishes.origin} by running it once; on {compared} what was built of them says the same, "
            + (f"to {worst:.1g} of the largest logit." if worst else "bit for bit.")
        )
    ]
    if not settled:
        evidence.append(
            Evidence(f"The pictures are taken to be {about.image_side} px, which it can read.", ("--image-size",))
        )
    architecture, sentences = _normalised(about, wishes)
    kinds = {str(value.dtype).removeprefix("torch.") for value in network.parameters()}
    if kinds - {"float32"}:
        evidence.append(Evidence(f"Its weights are {', '.join(sorted(kinds))} and were converted to float32."))
    if found.ending:
        evidence.append(
            Evidence(f"It ends in a {found.ending}, which is taken off: what stands before it are the logits.")
        )
    return ReadCheckpoint("live", architecture, found.weights, evidence=(*evidence, *sentences))


def _require_weights(network: nn.Module) -> None:
    tensors = list(network.parameters()) + list(network.buffers())
    if any(is_lazy(value) for value in tensors):
        raise CheckpointRefused(
            "the network has lazy layers without sizes yet; run it on a picture once, then give it."
        )
    if not tensors:
        raise CheckpointRefused("the network has no weights; give a trained module.")
    if any(value.is_meta for value in tensors):
        raise CheckpointRefused("the network stands on the meta device, without values; load its weights first.")


def _first_that_runs(network: nn.Module, run: Callable[[Tensor], Any], wishes: LiveWishes) -> tuple[Rebuilt, bool]:
    """The chain as the first fitting size of pictures shows it, and whether that size is known rather than assumed."""
    own = getattr(network, "architecture", None)
    said = wishes.image_side or (own.image_side if isinstance(own, Architecture) else None)
    sizes = [tuple(batch.shape[1:]) for batch in wishes.pictures]
    channels = (
        sizes[0][0]
        if sizes
        else next((module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d)), 3)
    )
    sides = (said,) if said else (sizes[0][-1],) if sizes else SIDES
    fault: BaseException | None = None
    for count in dict.fromkeys((channels, 3, 1)):
        for side in sides:
            dice = torch.Generator().manual_seed(0)
            images = torch.rand(2, count, side, side, generator=dice)
            try:
                trace = run_once(network, run, images)
            except FAULTS as error:
                fault = fault or error
                continue
            answer = the_logits(trace.result, trace)
            if len(answer) != len(images) and answer.ndim > 0 and len(sides) > 1:
                fault = fault or ValueError(f"two pictures came and {len(answer)} answers")
                continue
            chain = read_chain(trace, answer, images.shape)
            return rebuilt(chain, channels=count, side=side), len(sides) == 1
    if isinstance(fault, NotImplementedError):
        raise CheckpointRefused(
            "the network has no forward pass of its own, so nothing says the order of its layers; write its forward method."
        ) from fault
    where = f"{sides[0]} px" if len(sides) == 1 else "any usual size"
    line = (str(fault).splitlines() or [type(fault).__name__])[0][:200].rstrip(".")
    raise CheckpointRefused(
        f"the network runs on no pictures of {where} ({line}); give their side as image_size."
    ) from fault


def _noise(channels: int, side: int) -> Iterator[Tensor]:
    """Pictures of noise of several sizes of values, also one alone and one of a single colour."""
    dice = torch.Generator().manual_seed(1)
    yield torch.rand(3, channels, side, side, generator=dice)
    yield 4 * torch.randn(1, channels, side, side, generator=dice)
    yield torch.full((1, channels, side, side), -1.5)


def _normalised(about: Architecture, wishes: LiveWishes) -> tuple[Architecture, list[Evidence]]:
    """The architecture for pictures in [0, 1], and what is known of their normalisation.

    The user's network sees u = (x - mean) / std of a picture x in [0, 1], then does v = (u - m) / s by itself: together
    v = (x - (mean + m std)) / (std s).
    """
    itself = any(about.mean) or any(std != 1 for std in about.std)
    mean, std, evidence = wishes.mean, wishes.std, []
    if itself and mean is None and std is None:
        if max(about.std) > BYTES:
            mean, std = (0.0,) * len(about.mean), (1 / 255,) * len(about.std)
            text = "It divides its pictures by far more than 1 itself, so it is taken to read them from 0 to 255."
            evidence.append(Evidence(text, ("--mean", "--std")))
        else:
            evidence.append(Evidence("It normalises its pictures itself, from [0, 1]."))
    elif mean is None and std is None and wishes.noted is not None:
        mean, std = wishes.noted
    elif mean is None and std is None:
        usual = Architecture("")
        mean, std = (
            (usual.mean, usual.std)
            if len(about.mean) == 3
            else ((sum(usual.mean) / 3,) * len(about.mean), (sum(usual.std) / 3,) * len(about.mean))
        )
        text = "Nothing says how its pictures are normalised: ImageNet's mean and std are assumed."
        evidence.append(Evidence(text, ("--mean", "--std")))
    else:
        evidence.append(Evidence("You gave the mean and std of its pictures."))
    mean = mean if mean is not None else (0.0,) * len(about.mean)
    std = std if std is not None else (1.0,) * len(about.std)
    if not len(mean) == len(std) == about.in_channels:
        raise CheckpointRefused(
            f"{len(mean)} means and {len(std)} standard deviations came for {about.in_channels} channels; give one each."
        )
    joined = replace(
        about,
        mean=tuple(m + own * s for m, s, own in zip(mean, std, about.mean, strict=True)),
        std=tuple(s * own for s, own in zip(std, about.std, strict=True)),
    )
    return joined, evidence
