"""The subjects of a report and of an audit: one checkpoint, its pictures, and what several sections need of both, computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vgg_viz.capture.hooks import activations
from vgg_viz.capture.predict import predict_logits
from vgg_viz.figures.fonts import readable_names
from vgg_viz.maths.outputs import meaning
from vgg_viz.models.geometry import LayerGeometry, geometry
from vgg_viz.models.outputs import chooses_one, class_count, has_scores, noun_of
from vgg_viz.models.vgg import title
from vgg_viz.number_text import counted
from vgg_viz.records import Activations, Batch, Checkpoint
from vgg_viz.shortcuts.findings import Audit
from vgg_viz.studies.answers import Answers, choose_images, evenly_spaced, right_example, select_images, telling_mistake
from vgg_viz.studies.inputs import Inputs
from vgg_viz.studies.map_cache import MapCache
from vgg_viz.studies.preset import Preset
from vgg_viz.studies.witnesses import Examined

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Inspected:
    """The few pictures that the report looks into, and what every layer said about them: one forward pass."""

    batch: Batch
    activations: Activations
    outputs: str = "softmax"
    noun: str = "class"

    @property
    def logits(self) -> Tensor:
        """(N, K) of the pictures looked into."""
        return self.activations.logits

    @property
    def shown(self) -> Tensor:
        """(N, K) what a reader is shown of them: probabilities, or scores."""
        return meaning(self.logits, self.outputs)

    @property
    def predicted(self) -> Tensor:
        """The likeliest class."""
        return self.logits.argmax(1)


class Subject:
    """One checkpoint under study: what several sections need is computed once, when the first of them asks."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        model: nn.Module,
        inputs: Inputs,
        preset: Preset,
        seed: int,
        *,
        maps: MapCache | None = None,
        examined: Examined | None = None,
    ) -> None:
        """The subject of a report.

        maps      where the maps of the report come from; None: a cache that writes nothing
        examined  what the pictures say of how the network was read; None: nobody has asked them
        """
        self.examined = examined
        self.checkpoint, self.model, self.inputs, self.preset, self.seed = checkpoint, model, inputs, preset, seed
        self.maps = MapCache(model, checkpoint.classes, preset, seed) if maps is None else maps
        self.made: dict[str, Any] = {}

    def once(self, what: str, make: Callable[[], Found]) -> Found:
        """What `make` gives, made when it is asked for first and kept under `what`, for studies above this one."""
        if what not in self.made:
            self.made[what] = make()
        found: Found = self.made[what]
        return found

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes as pages and figures show them, in the order of the outputs."""
        return readable_names(self.checkpoint.classes)

    @property
    def outputs(self) -> str:
        """What the logits mean, of `maths.outputs.OUTPUTS`."""
        return self.checkpoint.architecture.outputs

    @property
    def noun(self) -> str:
        """What one output is called: class, label or score."""
        return noun_of(self.checkpoint.architecture)

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return next(self.model.parameters()).device

    @cached_property
    def geometry(self) -> tuple[LayerGeometry, ...]:
        """Every layer with its shape, receptive field and cost."""
        return geometry(self.model)

    @cached_property
    def conv_layers(self) -> tuple[LayerGeometry, ...]:
        """The convolutions of the geometry."""
        return tuple(row for row in self.geometry if row.kind == "conv")

    @cached_property
    def answers(self) -> Answers | None:
        """Logits of the labelled pictures; None when there are none, and where the network gives no picture one class."""
        batch = self.inputs.labelled
        if batch is None or batch.labels is None or not chooses_one(self.checkpoint.architecture):
            return None
        return Answers(batch, batch.labels, predict_logits(self.model, batch.images), self.outputs)

    @cached_property
    def target_logits(self) -> Tensor | None:
        """(N, K) of the labelled pictures, where these have several labels or values; None where they have not."""
        batch = self.inputs.labelled
        return None if batch is None or batch.targets is None else predict_logits(self.model, batch.images)

    @cached_property
    def inspected(self) -> Inspected | None:
        """The pictures to look into: those given, else mistakes and successes among the labelled ones."""
        batch = self.inputs.inspected or self._chosen()
        if batch is None:
            return None
        acts = activations(self.model, batch.images.to(self.device))
        maps = {name: value.cpu() for name, value in acts.maps.items()}
        return Inspected(batch, Activations(maps, acts.logits.cpu()), self.outputs, self.noun)

    def _chosen(self) -> Batch | None:
        answers, labelled = self.answers, self.inputs.labelled
        if answers is None:
            count = 0 if labelled is None else len(labelled)
            return select_images(labelled, evenly_spaced(count, self.preset.pictures)) if labelled else None
        return select_images(answers.batch, self.chosen(answers))

    def chosen(self, answers: Answers) -> list[int]:
        """Places of the labelled pictures that are looked into; those of the first screen are among them."""
        return choose_images(answers, self.preset.pictures, first=self.told)

    @cached_property
    def told(self) -> tuple[int, ...]:
        """Places of the most telling mistake and of a right answer to set beside it, as far as there are such."""
        if self.answers is None:
            return ()
        mistake = telling_mistake(self.answers, self.classes)
        return tuple(at for at in (mistake, right_example(self.answers, mistake)) if at is not None)


def subtitle(subject: Subject) -> str:
    """The network and its task in one line."""
    architecture = subject.checkpoint.architecture
    kind = "RGB" if architecture.in_channels == 3 else "grey"
    count, noun = class_count(architecture), noun_of(architecture)
    outputs = f"{counted(count, noun, 'classes' if noun == 'class' else '')}, " if has_scores(architecture) else ""
    return f"{title(architecture)}, {outputs}{architecture.image_side} px {kind} pictures"


@dataclass(frozen=True, slots=True)
class Case:
    """An audit that was made, with the network that it is about."""

    model: nn.Module
    seen: Audit
    classes: tuple[str, ...]
    seed: int

    @property
    def side(self) -> int:
        """Side of the pictures [px]."""
        return int(self.seen.batch.images.shape[-1])
