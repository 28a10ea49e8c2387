"""What is asked of one picture: which classes or which unit, by which methods, at which layer; what cannot be asked is refused here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from torch import Tensor, nn

from vgg_viz.attribution import methods
from vgg_viz.attribution.layers import layers_below, spatial
from vgg_viz.attribution.method import METHODS
from vgg_viz.attribution.target_parsing import is_unit, parse_class, parse_target
from vgg_viz.attribution.targets import WORDS
from vgg_viz.data.class_matching import match_classes
from vgg_viz.errors import DataRefused, InputRefused, UnknownName
from vgg_viz.models.names import find
from vgg_viz.records import Architecture, Neuron
from vgg_viz.studies.request import PictureRequest
from vgg_viz.studies.without_scores import require_scores

USUAL = ("grad_cam", "saliency")
OF_A_UNIT = (
    "input_x_gradient",
    "grad_cam",
)  # a unit sees a part of the picture only, and Grad-CAM weighs whole channels


@dataclass(frozen=True, slots=True)
class Question:
    """A question that can be asked.

    methods          names of `attribution.methods()`, each once; the first leads: its maps stand large
    target, against  a class index, or "predicted" or "runner-up"; None: nobody said
    layer            where layered methods look, or None: chosen by map size and receptive field
    unit             what the maps are about in place of classes, or None
    """

    methods: tuple[str, ...]
    target: str | int | None = None
    against: str | int | None = None
    layer: str | None = None
    unit: Neuron | None = None


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes that a question comes to, once the network has answered.

    predicted  what the network says; expected: what the reader expected, else what it is set against
    expected_given  whether the reader said what was expected
    pair       the difference is the map of the first less that of the second
    """

    predicted: int
    expected: int
    expected_given: bool
    pair: tuple[int, int]

    @property
    def alone(self) -> bool:
        """Whether there is one output, and so nothing that it could be set against."""
        return self.pair[0] == self.pair[1]

    @property
    def targets(self) -> tuple[int, ...]:
        """All of them, each once: the predicted one, the expected one, and what else the difference is about."""
        return tuple(dict.fromkeys((self.predicted, self.expected, *self.pair)))


def parse_question(model: nn.Module, names: Sequence[str], request: PictureRequest) -> Question:
    """The words of a reader as a question.

    Args:
        model: The network that is asked.
        names: Of its classes, in the order of the outputs.
        request: What is asked: its methods, target, against, layer and unit.

    Raises:
        UnknownName: For a class, method or layer.
        InputRefused: For an empty name of a method, a layer without a map or above the unit, one class against itself, and for a unit
            together with a class.
    """
    target, against, layer, unit = request.target, request.against, request.layer, request.unit
    if unit is None and isinstance(target, str) and is_unit(target, names):
        target, unit = None, target
    if unit is None and isinstance(model.architecture, Architecture):
        require_scores(model.architecture, "explain")
    methods()
    asked_by = tuple(dict.fromkeys(name for word in request.methods for name in re.split(r"[,\s]+", word) if name))
    if request.methods and not asked_by:
        raise InputRefused(
            "--method came without a name; give one, such as grad_cam, or leave it out for the usual two."
        )
    chosen = asked_by or (OF_A_UNIT if unit else USUAL)
    layered = [name for name in chosen if METHODS[name].layered]
    if layer is not None and not layered:
        raise InputRefused(f"{' and '.join(chosen)} read no layer; leave --layer out, or add --method grad_cam.")
    place = None if layer is None else spatial(model, find(model, layer).name).name
    if unit is not None:
        words = [None if word is None else str(word) for word in (target, against)]
        neuron = parse_target(names, target=words[0], against=words[1], unit=unit)
        if not isinstance(neuron, Neuron):
            raise TypeError("a unit was expected")
        neuron = Neuron(find(model, neuron.layer).name, neuron.channel, neuron.row, neuron.column)
        if place is not None and place not in layers_below(model, neuron):
            raise InputRefused(
                f"layer {place} does not lie below {neuron.layer}, so unit {neuron} hears nothing of it; choose a layer below."
            )
        return Question(chosen, layer=place, unit=neuron)
    first, second = (None if word is None else class_of(names, word) for word in (target, against))
    if first is not None and first == second:
        said = names[first] if isinstance(first, int) else first
        raise InputRefused(
            f"--target and --against are one class, {said[:60]!r}, and its evidence less itself is zero; give two classes."
        )
    return Question(chosen, first, second, place)


def class_of(names: Sequence[str], word: str | int) -> str | int:
    """The class that a reader means: by its name, however it is written, by its index, or as the predicted one or the runner-up.

    raises  UnknownName with the nearest name; InputRefused for a name that several classes bear, and for "true"
    """
    try:
        found = parse_class(str(word), names)
    except UnknownName:
        with suppress(DataRefused):
            return match_classes((str(word),), names)[0]
        raise
    if found == "true":
        raise InputRefused(
            "nobody has told the true class of a single picture; give it by its name, or one of "
            + ", ".join(known for known in WORDS if known != "true")
            + "."
        )
    return found


def resolve_classes(question: Question, logits: Tensor, outputs: str = "softmax") -> Classes:
    """The classes, now that the logits (K,) are there.

    Expected is the target; where the network agrees with it, or nothing was said, the class it is set against, else the
    runner-up. The difference is answer less expected, unless the reader said against what.
    raises  InputRefused where the difference would be that of a class and itself
    """
    order: list[int] = logits.argsort(descending=True, stable=True).tolist()
    if len(order) < 2:
        if outputs != "scores":
            raise InputRefused(
                "a network of one class gives every picture the same answer, and there is nothing to set it against."
            )
        return Classes(0, 0, question.target is not None, (0, 0))
    predicted, runner_up = order[:2]
    meant = {"predicted": predicted, "runner-up": runner_up}
    target, against = (
        meant.get(word, word) if isinstance(word, str) else word for word in (question.target, question.against)
    )
    named = [int(index) for index in (target, against) if index is not None and index != predicted]
    expected = (named or [runner_up])[0]
    first = predicted if target is None or against is None else int(target)
    second = expected if against is None else int(against)
    if first == second:
        raise InputRefused(
            "the class of --against is what the network answers already, and the difference of one class and itself is zero everywhere; "
            "name another class, or say with --target what you expect."
        )
    return Classes(predicted, expected, target is not None, (first, second))
