"""What a section of a gallery is, @section, and the subject that the sections of a report look at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vgg_viz.capture.hooks import capture
from vgg_viz.capture.predict import predict_logits
from vgg_viz.errors import UnknownName
from vgg_viz.models.geometry import LayerGeometry, geometry
from vgg_viz.records import Activations, Batch, Checkpoint, Exhibit, Finding
from vgg_viz.registry import Registry
from vgg_viz.report.map_cache import MapCache
from vgg_viz.report.material import Material
from vgg_viz.report.preset import Preset


@dataclass(frozen=True)
class Answers:
    """What the network said about labelled pictures.

    logits         (N, K); probabilities (N, K); predicted (N,); confidence (N,) probability of the predicted class
    correct        (N,) bool
    """

    batch: Batch
    labels: Tensor
    logits: Tensor

    @cached_property
    def probabilities(self) -> Tensor:
        return self.logits.softmax(1)

    @cached_property
    def predicted(self) -> Tensor:
        return self.logits.argmax(1)

    @cached_property
    def confidence(self) -> Tensor:
        return self.probabilities.amax(1)

    @cached_property
    def correct(self) -> Tensor:
        return self.predicted == self.labels


@dataclass(frozen=True, slots=True)
class Looked:
    """The few pictures that the report looks into, and what every layer said about them: one forward pass."""

    batch: Batch
    activations: Activations

    @property
    def logits(self) -> Tensor:
        return self.activations.logits

    @property
    def predicted(self) -> Tensor:
        return self.logits.argmax(1)


class Subject:
    """One checkpoint under study: what several sections need is computed once, when the first of them asks."""

    def __init__(
        self, checkpoint: Checkpoint, model: nn.Module, material: Material, preset: Preset, seed: int, *, maps: MapCache | None = None
    ) -> None:
        """maps  where the maps of the report come from; None: a cache that writes nothing"""
        self.checkpoint, self.model, self.material, self.preset, self.seed = checkpoint, model, material, preset, seed
        self.maps = MapCache(model, checkpoint.classes, preset, seed) if maps is None else maps

    @property
    def classes(self) -> tuple[str, ...]:
        return self.checkpoint.classes

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @cached_property
    def geometry(self) -> tuple[LayerGeometry, ...]:
        return geometry(self.model)

    @cached_property
    def conv_layers(self) -> tuple[LayerGeometry, ...]:
        return tuple(row for row in self.geometry if row.kind == "conv")

    @cached_property
    def answers(self) -> Answers | None:
        """Logits of the labelled pictures; None when there are none."""
        batch = self.material.labelled
        if batch is None or batch.labels is None:
            return None
        return Answers(batch, batch.labels, predict_logits(self.model, batch.images))

    @cached_property
    def looked(self) -> Looked | None:
        """The pictures to look into: those given, else mistakes and successes among the labelled ones."""
        batch = self.material.looked or self._chosen()
        if batch is None:
            return None
        acts = capture(self.model, batch.images.to(self.device))
        maps = {name: value.cpu() for name, value in acts.maps.items()}
        return Looked(batch, Activations(maps, acts.logits.cpu()))

    def _chosen(self) -> Batch | None:
        answers = self.answers
        if answers is None:
            return None
        return picked(answers.batch, choose(answers, self.preset.pictures))


def choose(answers: Answers, count: int, *, mistakes: int | None = None) -> list[int]:
    """Which labelled pictures to look into: right ones of each class in turn, then the most confident mistakes.

    mistakes  how many of them are wrong answers; None: half; more where too few are right

    Mistakes teach most, but only beside successes; no picture is chosen for the beauty of its map.
    """
    order = answers.confidence.argsort(descending=True, stable=True).tolist()
    most_wrong = max(count // 2 if mistakes is None else mistakes, count - int(answers.correct.sum()))
    wrong = [i for i in order if not answers.correct[i]][:most_wrong]
    # Right ones in the order of the file, each class in turn: "right" must not mean "the easiest".
    turn: Counter[int] = Counter()
    ranked = []
    for i, (label, good) in enumerate(zip(answers.labels.tolist(), answers.correct.tolist(), strict=True)):
        if good:
            ranked.append((turn[label], i))
            turn[label] += 1
    right = [i for _, i in sorted(ranked)][: count - len(wrong)]
    return sorted(right) + wrong


def picked(batch: Batch, indices: list[int]) -> Batch:
    """The pictures at `indices`, in that order."""
    return Batch(
        batch.images[indices],
        None if batch.labels is None else batch.labels[indices],
        tuple(batch.names[i] for i in indices),
        None if batch.masks is None else batch.masks[indices],
        boxed=None if batch.boxed is None else batch.boxed[indices],
        told=batch.told,
    )


def spread(count: int, most: int) -> list[int]:
    """Which `most` of `count` pictures, or of other things in an order: the first, the last, and evenly between; each once."""
    return sorted({round(i * (count - 1) / max(1, most - 1)) for i in range(most)})


TruthKind = Literal["", "outline", "box", "both"]


def truth_kind(batch: Batch | None) -> TruthKind:
    """What is known of the objects' places: outlines, boxes, of some pictures the one and of some the other, or nothing."""
    if batch is None or not bool(batch.known.any()):
        return ""
    boxed = batch.known & False if batch.boxed is None else batch.boxed[batch.known]
    return "outline" if not boxed.any() else "box" if boxed.all() else "both"


def where_word(batch: Batch) -> str:
    """Where a share of a map is measured: "on the object", "in the box" or, where both are known, "on the object or in its box"."""
    return {"box": "in the box", "both": "on the object or in its box"}.get(truth_kind(batch), "on the object")


def object_area(batch: Batch) -> Tensor | None:
    """(B,) share of each picture that its object or box covers, float64; NaN where nobody knows, None where nobody knows of any."""
    return None if batch.masks is None else batch.masks.double().mean((1, 2)).masked_fill(~batch.known, math.nan)


def true_line(batch: Batch, where: str = "") -> str:
    """What the line on a picture (`where`: such as " on the photo") is, as a sentence after a space; "" where none is drawn."""
    kind = truth_kind(batch)
    if not kind:
        return ""
    some = "" if bool(batch.known.all()) else ", where it is known"
    name, meaning = {"outline": ("outline", "mask"), "box": ("line", "box"), "both": ("line", "outline or box")}[kind]
    return f" The {name}{where} is the object's true {meaning}{some}."


def counted(count: int, noun: str, several: str = "") -> str:
    """A number with its noun: "1 picture", "2,000 pictures", "no pictures"; `several` where an s is not enough."""
    many = several or f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}" if count else f"no {many}"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: "a", "a and b", "a, b and c"."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def rows_of(count: int) -> str:
    """How a figure with a row a picture begins its caption: "2 pictures, one in each row", "1 picture"."""
    return f"{counted(count, 'picture')}{', one in each row' if count > 1 else ''}"


def pixels(images: Tensor) -> list[np.ndarray[Any, Any]]:
    """Pictures (N, C, H, W) in [0, 1] as what a figure paints: N arrays (H, W, 3), grey ones repeated."""
    colour = images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1)
    return list(colour.detach().cpu().movedim(1, -1).numpy())


# ---------------------------------------------------------------- registering


KINDS = ("report", "comparison", "timeline", "explanation", "audit")  # of galleries; what a section of each looks at stands below
ROOMS = tuple(f"vgg_viz.report.{room}" for room in ("sections", "comparison", "timeline", "explaining", "auditing"))


@dataclass(frozen=True, slots=True)
class Section:
    """One section of one kind of gallery: where it stands, what it is called, what it says first, and what makes its exhibits.

    make      (subject) -> exhibits, and findings for the verdict at the top
    when      whether there is anything to show; a section without is left out and not missed
    optional  that it cannot be made is an answer: the page says so, and nothing is missing
    """

    kind: str
    slug: str
    title: str
    lead: str
    order: int
    make: Callable[[Any], Iterable[Exhibit | Finding]]
    when: Callable[[Any], bool] = lambda _subject: True
    optional: bool = False


SECTIONS: Registry[Section] = Registry("section", fill=ROOMS)
Make = TypeVar("Make", bound=Callable[[Any], Iterable[Exhibit | Finding]])


def section(
    slug: str, *, study: str | Sequence[str], title: str, lead: str, order: int, when: Callable[[Any], bool] = lambda _subject: True,
    optional: bool = False,
) -> Callable[[Make], Make]:  # fmt: skip
    """Register a generator of exhibits, and of findings for the verdict, as a section of one kind of gallery or of several.

    study  of KINDS; the function is given what a study of that kind is about: a `Subject` for a report, a `Pair` for a comparison,
           a `Walk` for a timeline, an `Explanation`, a `Case` for an audit
    order  sections stand in this order
    others as in `Section`
    A section that cannot be made raises SectionMissing with the reason and the command that fills it.
    """
    kinds = (study,) if isinstance(study, str) else tuple(study)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise UnknownName("kind of gallery", unknown[0], KINDS)

    def register(make: Make) -> Make:
        for kind in kinds:
            SECTIONS.add(f"{kind}/{slug}", Section(kind, slug, title, lead, order, make, when, optional), by=make.__module__)
        return make

    return register


def sections_of(kind: str) -> list[Section]:
    """All sections of a kind of gallery, in the order of the page."""
    return sorted((one for _, one in SECTIONS.items() if one.kind == kind), key=lambda one: one.order)
