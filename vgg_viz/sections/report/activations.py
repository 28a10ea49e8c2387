"""Activations: the feature maps of every layer for one picture, and how many channels are zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from vgg_viz.attribution.layers import after_activation
from vgg_viz.errors import SectionMissing
from vgg_viz.figures.feature_maps import feature_wall
from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.layer_bars import sparsity_and_dead
from vgg_viz.figures.pictures import picture_grid
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.heatmaps import MANY_INSIDE, shared_scale
from vgg_viz.models.layer_words import NEVER_NEGATIVE, ONE_SIDED, STOPPING, activation_word
from vgg_viz.number_text import counted
from vgg_viz.records import Exhibit, Finding
from vgg_viz.studies.answers import evenly_spaced
from vgg_viz.studies.subject import Inspected, Subject
from vgg_viz.units.health import ActivationHealth, activation_health

TEXTS = Texts(__name__)
WALLS = 5  # at most, spread over the depth
MANY = 0.05  # a share of dead channels worth a warning


@section("activations", study="report", order=60, chapter="network")
def activations(subject: Subject) -> Iterator[Exhibit | Finding]:
    """The picture, its feature maps in layers of growing depth, and the channels that are zero."""
    inspected = require_inspected(subject)
    maps = answers_above_zero(subject, inspected)
    health = activation_health(maps)
    yield _picture(subject, inspected, index=0)
    for name in chosen_layers(subject):
        yield _wall(subject, inspected, index=0, name=name)
    if health:
        kinds = [row.kind for row in subject.geometry if row.name in maps]
        yield _silence(health, kinds, pictures=len(inspected.batch))
        yield from _findings(health, pictures=len(inspected.batch))
    else:
        yield Finding("note", TEXTS.say("findings.never_silent"))


def require_inspected(subject: Subject) -> Inspected:
    """The pictures to look into.

    Raises:
        SectionMissing: There are none.
    """
    if subject.inspected is None:
        raise SectionMissing(TEXTS.say("missing.pictures"), "python -m vgg_viz report CHECKPOINT --images DIR")
    return subject.inspected


def answers_above_zero(subject: Subject, inspected: Inspected) -> dict[str, Tensor]:
    """What the channels behind a ReLU or its kin say above zero: maps (B, C, H, W) in which all else is exactly zero.

    Below zero a ReLU says nothing, and a leaky ReLU, an ELU or a GELU little. After a tanh zero is nothing special, and a sigmoid is
    never there. A unit of the classifier, or of a map of one place, has one value a picture: on a few pictures many of them are zero, and none need be dead.
    """
    kinds = {row.name: row.kind for row in subject.geometry if not row.path.startswith("classifier.")}
    maps = inspected.activations.maps.items()
    return {
        name: values.clamp(min=0)
        for name, values in maps
        if kinds.get(name) in ONE_SIDED and values.ndim == 4 and values[0, 0].numel() > 1
    }


def answer_line(classes: Sequence[str], inspected: Inspected, index: int) -> str:
    """The predicted class of a picture and its probability; whether it is right, or the picture's name where it has no label.

    Of labels that stand beside each other the strongest, of scores the largest.
    """
    predicted = classes[int(inspected.predicted[index])]
    probability = float(inspected.shown[index].max())
    if inspected.batch.labels is None:
        return TEXTS.say(
            "answer.unlabelled",
            name=inspected.batch.names[index],
            predicted=predicted,
            probability=probability,
            outputs=inspected.outputs,
            noun=inspected.noun,
        )
    label = classes[int(inspected.batch.labels[index])]
    return TEXTS.say("answer.labelled", predicted=predicted, probability=probability, label=label)


def chosen_layers(subject: Subject) -> list[str]:
    """Convolutions after their activation, those with more than one place, at most WALLS: the first, the last, and evenly between."""
    read = (after_activation(subject.geometry, row.name) for row in subject.conv_layers)
    sides = {row.name: row.shape[1] for row in subject.geometry if len(row.shape) == 3}
    names = [name for name in read if sides[name] > 1]
    count = min(WALLS, len(names))
    return [names[i] for i in evenly_spaced(len(names), count)]


def _findings(health: Sequence[ActivationHealth], *, pictures: int) -> Iterator[Finding]:
    """A warning where many channels are zero on all pictures."""
    dead, channels = sum(len(layer.dead) for layer in health), sum(layer.channels for layer in health)
    if channels and dead / channels > MANY:
        worst = max(health, key=lambda layer: len(layer.dead) / layer.channels)
        yield Finding("warn", TEXTS.say("findings.dead", dead=dead, channels=channels, pictures=pictures, worst=worst))


def _picture(subject: Subject, inspected: Inspected, index: int) -> Exhibit:
    shown = inspected.shown[index]
    order = shown.argsort(descending=True, stable=True)[:5].tolist()
    classes = subject.classes
    top = [{"class": classes[i], "probability": float(shown[i])} for i in order]
    label = None if inspected.batch.labels is None else classes[int(inspected.batch.labels[index])]
    name = inspected.batch.names[index]
    text = TEXTS.exhibit(
        "picture",
        name=name,
        label=label,
        top=top,
        side=subject.checkpoint.architecture.image_side,
        outputs=subject.outputs,
        noun=subject.noun,
    )
    return Exhibit(
        "activations-picture",
        text.title,
        text.caption,
        text.alt,
        figure=picture_grid(pixels(inspected.batch.images[index : index + 1]), [label or name], side=224),
        kind="picture",
        numbers={"name": name, "true": label, "top": top},
    )


def _wall(subject: Subject, inspected: Inspected, index: int, name: str) -> Exhibit:
    row = next(row for row in subject.geometry if row.name == name)
    signed = row.kind not in NEVER_NEGATIVE
    all_maps = inspected.activations.maps[name]
    maps = all_maps[index]
    channels, height, width = maps.shape
    maxima = maps.amax((1, 2))
    dead = (
        [int(channel) for channel in (all_maps.amax((0, 2, 3)) <= 0).nonzero().flatten()]
        if row.kind in ONE_SIDED
        else []
    )
    scale = shared_scale(
        maps, signed=signed, unit="activation", over=f"all {channels} channels of {name}", quantile=MANY_INSIDE
    )
    zero_share = float(((maps < 0) if signed else (maps == 0)).float().mean())
    text = TEXTS.exhibit(
        "wall",
        layer=name,
        channels=channels,
        height=height,
        width=width,
        field=row.field.size if row.field else None,
        signed=signed,
        activation=activation_word([row.kind]),
        stopped=row.kind in STOPPING,
        scale=scale,
        zero_share=zero_share,
        loudest=int(maxima.argmax()),
        maximum=float(maxima.max()),
        dead=len(dead),
        quiet=int((maxima <= 0).sum()) - len(dead) if row.kind in ONE_SIDED else 0,
        pictures=len(all_maps),
        classes=len(subject.classes),
    )
    return Exhibit(
        f"activations-{name.replace('_', '-')}",
        text.title,
        text.caption,
        text.alt,
        figure=feature_wall(
            maps.numpy(), scale, title=f"{name}: {counted(channels, 'channel')} of {height} × {width} values", dead=dead
        ),
        kind="picture",
        numbers={
            "layer": name,
            "channels": channels,
            "map": [height, width],
            "scale": [scale.low, scale.high],
            "below_zero_share" if signed else "zero_share": zero_share,
            "maximum": maxima,
            "mean": maps.mean((1, 2)),
            "dead": dead,
        },
    )


def _silence(health: Sequence[ActivationHealth], kinds: Sequence[str], *, pictures: int) -> Exhibit:
    sparsest, word = max(health, key=lambda layer: layer.sparsity), activation_word(kinds)
    stopped = all(kind in STOPPING for kind in kinds)
    text = TEXTS.exhibit(
        "silence",
        activation=word,
        stopped=stopped,
        pictures=pictures,
        sparsest=sparsest,
        deepest=sparsest is health[-1] and len(health) > 1,
        dead=sum(len(layer.dead) for layer in health),
        channels=sum(layer.channels for layer in health),
    )
    return Exhibit(
        "activations-silence",
        text.title,
        text.caption,
        text.alt,
        figure=sparsity_and_dead(
            [layer.layer for layer in health],
            [layer.sparsity for layer in health],
            [len(layer.dead) for layer in health],
            [layer.channels for layer in health],
            words=(
                f"{word[0].upper()}{word[1:]} by {word}, over {counted(pictures, 'picture')}",
                "Outputs that are zero [%]" if stopped else "Outputs not above zero [%]",
                "Channels that are always zero [%]" if stopped else "Channels never above zero [%]",
            ),
        ),
        numbers={
            layer.layer: {"sparsity": layer.sparsity, "dead": layer.dead, "channels": layer.channels}
            for layer in health
        },
    )
