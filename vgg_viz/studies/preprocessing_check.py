"""Which preprocessing a network was trained with: candidates held against what it remembers of its pictures, or against its answers.

With batch norm, the first one's running mean and variance are those of training; pictures under the right normalisation reproduce them.
Without, labelled pictures tell by their loss, others by how much the answers tell about the pictures. Nothing is ever changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import takewhile
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from vgg_viz.capture.predict import predict_logits
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.batch_norm_misfit import misfit
from vgg_viz.models.names import layers
from vgg_viz.models.outputs import class_logits, has_scores
from vgg_viz.records import Architecture

TEXTS = Texts(__name__)
OWN = "the pictures' own mean and std"
MOST_PICTURES = 64
FEWEST = {"batch norm": 4, "loss": 8, "confidence": 16}  # pictures below which nothing is said
TEMPERATURES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 1e6)
RESAMPLES, DOUBT, SLIP = (
    300,
    0.02,
    0.05,
)  # of the pictures; share of them in which another candidate may still win, and in which a rival may be as good as what is used
# Measured in benchmarks/detective.py: a candidate is out when its misfit is this many times the best one's, and more by that much.
TIMES, MORE = 1.6, 0.02
WORST_FIT = 0.45  # of the best, log(1 + divergence): above, no candidate explains the statistics (noise, another kind of picture)
LEAST_LOSS_GAP, LEAST_TOLD_GAP = (
    0.05,
    0.25,
)  # [nat]; share of the most that answers can tell: larger inputs always tell a little more


@dataclass(frozen=True, slots=True)
class Candidate:
    """A usual normalisation: pictures in [0, 1], RGB, become (x - mean) / std; bgr: then blue comes first."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool = False

    @property
    def flags(self) -> str:
        """What to add to a command."""
        numbers = [",".join(f"{value:.6g}" for value in values) for values in (self.mean, self.std)]
        # The mean of Caffe's VGGs is taken for a sign of blue first, where nobody says otherwise.
        colours = " --bgr" if self.bgr else " --no-bgr" if self.std == (1 / 255,) * 3 and any(self.mean) else ""
        return f"--mean {numbers[0]} --std {numbers[1]}{colours}"

    def near(self, other: Candidate) -> bool:
        """Whether pictures come out on nearly the same scale: the same order of colours, the spread within a quarter."""
        return self.bgr == other.bgr and all(0.8 < s / t < 1.25 for s, t in zip(self.std, other.std, strict=True))


@dataclass(frozen=True, slots=True)
class Detection:
    """What the pictures say.

    by        "nothing" (there is neither batch norm nor a classifier), "batch norm" (score: misfit, log(1 + divergence)), "loss" (score: cross-entropy at the best temperature [nat]) or "confidence" (score: what the
              answers leave untold, as a share)
    scores    candidates with their scores, the best (lowest) first
    possible  candidates that the pictures do not exclude; one: clear; several: cannot tell which; none: none explains what is there
    margin    score of the best one outside of `possible`, over that of the best; None where there is none
    given     the candidate that is in use now
    surest    whether what fits beats all that bring pictures to another scale in nearly every draw of them
    """

    by: str
    pictures: int
    scores: tuple[tuple[Candidate, float], ...]
    possible: tuple[Candidate, ...]
    margin: float | None
    given: Candidate
    surest: bool = False

    @property
    def clear(self) -> bool:
        """Whether the evidence names one candidate."""
        return len(self.possible) == 1

    @property
    def contradicts(self) -> bool:
        """Whether there is clear evidence against what is in use."""
        return bool(self.possible) and self.given not in self.possible

    @property
    def fits(self) -> Candidate:
        """What would be used; see `likeliest`."""
        return likeliest(self.possible, self.given)

    @property
    def usable(self) -> bool:
        """Whether it may stand in for what nobody recorded: nothing that brings pictures to another scale comes near it.

        How much answers tell about the pictures is no proof: a network may be surest of pictures that it misreads.
        """
        return self.contradicts and self.by != "confidence" and self.surest

    def sentence(self) -> str:
        """What is in use, what fits, and how sure that is."""
        if self.by == "nothing":
            return TEXTS.say("no_witness", use=self.given.name)
        witness = self._witness()
        if not self.scores:
            return TEXTS.say("too_few", pictures=self.pictures, fewest=FEWEST[self.by], witness=witness)
        best, score = self.scores[0]
        if not self.possible:
            return TEXTS.say("none_fits", pictures=self.pictures, witness=witness, best=best.name, score=score)
        shown = [one for one in self.possible if not self.usable or one.bgr == self.fits.bgr]
        names = [one.name for one in sorted(shown, key=lambda one: one != self.fits)]
        if self.contradicts:
            return TEXTS.say(
                "contradicts",
                relation=self._relation(),
                use=self.given.name,
                names=names,
                witness=witness,
                pictures=self.pictures,
                score=score,
                given=next((value for other, value in self.scores if other == self.given), float("nan")),
            )
        if self.clear:
            margin = self.margin if self.by == "batch norm" else None
            return TEXTS.say(
                "agrees", use=self.given.name, witness=witness, pictures=self.pictures, score=score, margin=margin
            )
        return TEXTS.say("open", names=names, witness=witness, pictures=self.pictures, use=self.given.name)

    def advice(self, *, used: bool = False, recorded: bool = False) -> str:
        """The sentence with the next step.

        Args:
            used: What fits is in use now.
            recorded: The file says what is in use.
        """
        if not self.contradicts:
            return self.sentence()
        if recorded:
            return TEXTS.say("recorded", found=self.sentence())
        if used:
            return TEXTS.say("used", found=self.sentence(), flags=self.fits.flags)
        return TEXTS.say("advised", found=self.sentence(), flags=self.fits.flags)

    def _witness(self) -> str:
        if self.by == "batch norm":
            return TEXTS.say("witness.norm")
        return TEXTS.say("witness.loss") if self.by == "loss" else TEXTS.say("witness.confidence")

    def _relation(self) -> str:
        """What is wrong with what is in use, where that has a name."""
        fits = self.fits
        times = self.given.std[0] / fits.std[0]
        if fits.bgr != self.given.bgr:
            return "blue first"
        return "too small" if times > 50 else "too large" if times < 1 / 50 else "other"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "by": self.by,
            "pictures": self.pictures,
            "given": self.given.name,
            "possible": [c.name for c in self.possible],
            "clear": self.clear,
            "contradicts": self.contradicts,
            "margin": self.margin,
            "usable": self.usable,
            "sentence": self.sentence(),
            "candidates": [
                {"name": c.name, "score": score, "mean": c.mean, "std": c.std, "bgr": c.bgr, "flags": c.flags}
                for c, score in self.scores
            ],
        }


def answers(model: nn.Module) -> bool:
    """Whether a network has a classifier, whose answers tell of its pictures."""
    about = model.architecture
    return not isinstance(about, Architecture) or has_scores(about)


def candidates(architecture: Architecture, images: Tensor) -> tuple[Candidate, ...]:
    """The usual normalisations, the one in use first, and that by the pictures' own mean and spread."""
    channels = architecture.in_channels
    own = (tuple(images.mean((0, 2, 3)).tolist()), tuple(images.std((0, 2, 3)).clamp(min=1e-3).tolist()))
    imagenet, cifar = (
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    )
    caffe = (tuple(value / 255 for value in (123.68, 116.779, 103.939)), (1 / 255,) * 3)
    unit, bytes_, signed = ((0.0,) * 3, (1.0,) * 3), ((0.0,) * 3, (1 / 255,) * 3), ((0.5,) * 3, (0.5,) * 3)
    found = [
        Candidate("[0, 1]", *unit),
        Candidate("ImageNet mean and std", *imagenet),
        Candidate("[-1, 1]", *signed),
        Candidate("0 to 255", *bytes_),
        Candidate("CIFAR mean and std", *cifar),
        Candidate("mean subtraction in 0 to 255", *caffe),
        Candidate("caffe: BGR, mean subtraction in 0 to 255", *caffe, bgr=True),
        Candidate("BGR, ImageNet mean and std", *imagenet, bgr=True),
        Candidate("BGR, [0, 1]", *unit, bgr=True),
        Candidate("BGR, 0 to 255", *bytes_, bgr=True),
    ]
    if channels == 1:
        found = [Candidate(c.name, (sum(c.mean) / 3,), (sum(c.std) / 3,)) for c in found if not c.bgr]
        found.append(Candidate("MNIST mean and std", (0.1307,), (0.3081,)))
    found.append(Candidate(OWN, *own))
    given = Candidate("the mean and std given", architecture.mean, architecture.std)
    named = next((c for c in found if not c.bgr and _same(c, given)), given)
    return (named, *(c for c in found if c != named))


def _same(one: Candidate, other: Candidate) -> bool:
    pairs = zip((*one.mean, *one.std), (*other.mean, *other.std), strict=True)
    return all(abs(a - b) < 1e-3 * max(abs(b), 1e-2) for a, b in pairs)


def infer_preprocessing(model: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0) -> Detection:
    """Hold every candidate against the network.

    images  (N, C, H, W) in [0, 1]; of more than MOST_PICTURES, evenly chosen ones are used, four times as many where these do not decide
    labels  (N,) or None
    The model is not changed: pictures are turned so that its own first layer makes of them what the candidate would.
    """
    architecture = model.architecture
    if not isinstance(architecture, Architecture):
        raise TypeError("a model from vgg_viz.build was expected")
    tried = candidates(architecture, images)
    first = _held(model, *_some(images, labels, MOST_PICTURES), tried, seed)
    if first.surest or first.clear or not first.contradicts or len(images) <= MOST_PICTURES:
        return first
    # What is left is asked about more pictures.
    rest = (tried[0], *(one for one in first.possible if one != tried[0]))
    return _held(model, *_some(images, labels, 4 * MOST_PICTURES), rest, seed)


def _some(images: Tensor, labels: Tensor | None, most: int) -> tuple[Tensor, Tensor | None]:
    """At most so many of the pictures, evenly chosen."""
    chosen = torch.linspace(0, len(images) - 1, min(len(images), most)).round().long()
    return images[chosen], None if labels is None else labels[chosen]


def _held(
    model: nn.Module, images: Tensor, labels: Tensor | None, tried: tuple[Candidate, ...], seed: int
) -> Detection:
    """The candidates against these pictures; the first is in use."""
    architecture = model.architecture
    if not isinstance(architecture, Architecture):
        raise TypeError("a model from vgg_viz.build was expected")
    norm = next((layer.module for layer in layers(model) if isinstance(layer.module, nn.BatchNorm2d)), None)
    by = "batch norm" if norm is not None else "loss" if labels is not None else "confidence"
    if norm is None and not answers(model):
        return Detection("nothing", len(images), (), (), None, tried[0])
    if len(images) < FEWEST[by]:
        return Detection(by, len(images), (), (), None, tried[0])
    dice = torch.Generator().manual_seed(seed)
    # The first row is the pictures as they are; the others are drawn with replacement.
    draws = torch.cat(
        [torch.arange(len(images))[None], torch.randint(len(images), (RESAMPLES, len(images)), generator=dice)]
    )
    out: Callable[[Tensor, Tensor], Tensor]
    if isinstance(norm, nn.BatchNorm2d):
        scores = [_misfit(model, norm, _turned(images, candidate, architecture), draws) for candidate in tried]
        out, fits = (lambda other, best: other > TIMES * best + MORE), WORST_FIT
    else:
        logits = [predict_logits(model, _turned(images, candidate, architecture)) for candidate in tried]
        if labels is not None:
            losses = [tempered_loss(class_logits(model, one), labels) for one in logits]
            scores = [loss[draws].mean(1) for loss in losses]
            out = lambda other, best: other > 1.1 * best + LEAST_LOSS_GAP  # noqa: E731
            fits = 0.8 * log(max(2, architecture.num_classes))
        else:
            scores = [_untold(one, draws) for one in logits]
            out, fits = (lambda other, best: other > best + LEAST_TOLD_GAP), 0.6
    return _decided(by, len(images), tried, scores, out, fits)


def _decided(
    by: str,
    pictures: int,
    tried: Sequence[Candidate],
    scores: Sequence[Tensor],
    out: Callable[[Tensor, Tensor], Tensor],
    fits: float,
) -> Detection:
    order = sorted(range(len(tried)), key=lambda n: float(scores[n][0]))
    best = scores[order[0]]
    ranked = tuple((tried[n], float(scores[n][0])) for n in order)
    if float(best[0]) > fits:
        return Detection(by, pictures, ranked, (), None, tried[0])
    # A candidate stays possible while it is not clearly worse in nearly every draw of the pictures.
    possible = [n for n in order if n == order[0] or float((~out(scores[n], best)).float().mean()) > DOUBT]
    rest = [float(scores[n][0]) for n in order if n not in possible]
    margin = rest[0] / max(float(best[0]), 1e-6) if rest else None
    fit = next(n for n in possible if tried[n] == likeliest([tried[n] for n in possible], tried[0]))
    # Red first is what nearly everybody has: blue first only counts against it where it is the surer one.
    rivals = [n for n in order if not tried[n].near(tried[fit]) and (tried[fit].bgr or not tried[n].bgr)]
    surest = all(float((scores[n] <= scores[fit]).float().mean()) <= SLIP for n in rivals)
    return Detection(by, pictures, ranked, tuple(tried[n] for n in possible), margin, tried[0], surest)


def likeliest(possible: Sequence[Candidate], given: Candidate) -> Candidate:
    """The likeliest of what is possible: with the colours in use, where that is possible, and a usual one before the pictures' own."""
    usual = [one for one in possible if one.name != OWN] or list(possible)
    return next((one for one in usual if one.bgr == given.bgr), usual[0])


def _turned(images: Tensor, candidate: Candidate, architecture: Architecture) -> Tensor:
    """Pictures of which the network's own normalisation makes what the candidate makes of the originals."""
    shape = (1, -1, 1, 1)
    mean, std = (torch.tensor(values).view(shape) for values in (candidate.mean, candidate.std))
    own_mean, own_std = (torch.tensor(values).view(shape) for values in (architecture.mean, architecture.std))
    wanted = (images - mean) / std
    return (wanted.flip(1) if candidate.bgr else wanted) * own_std + own_mean


def _misfit(model: nn.Module, norm: nn.BatchNorm2d, images: Tensor, draws: Tensor) -> Tensor:
    """How far what the first batch norm reads lies from what it remembers: (draws,)."""
    before = list(takewhile(lambda layer: layer.module is not norm, layers(model)))
    device = next(model.parameters()).device
    if norm.running_mean is None or norm.running_var is None:
        return torch.full((len(draws),), float("inf"))
    with torch.no_grad():
        said = [
            reduce(lambda values, layer: layer.module(values), before, part.to(device)).double().cpu()
            for part in torch.split(images, 8)
        ]
        means = torch.cat([maps.mean((2, 3)) for maps in said])
        squares = torch.cat([maps.square().mean((2, 3)) for maps in said])
    mean = means[draws].mean(1)
    return misfit(mean, squares[draws].mean(1) - mean**2, norm.running_mean.cpu(), norm.running_var.cpu())


def tempered_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of each picture at the temperature that suits its network best, (N,) [nat]: too sure a network is no misread one.

    No temperature makes a network lose more than one that guesses.
    """
    scores = logits.double()
    losses = [nn.functional.cross_entropy(scores / one, labels, reduction="none") for one in TEMPERATURES]
    return min(losses, key=lambda loss: float(loss.mean()))


def _untold(logits: Tensor, draws: Tensor) -> Tensor:
    """What the answers leave untold about which picture they are for: 1 - mutual information over its most, (draws,) in [0, 1].

    Sure answers alone prove nothing: too large inputs make any network sure, of one class. Answers that are sure and differ do.
    """
    probabilities = logits.double().softmax(1)
    entropies = -(probabilities * probabilities.clamp(min=1e-30).log()).sum(1)
    average = probabilities[draws].mean(1)
    told = -(average * average.clamp(min=1e-30).log()).sum(1) - entropies[draws].mean(1)
    return 1 - told / log(max(2, min(logits.shape[1], len(logits))))
