"""Activations: what every layer makes of one picture, and how much of the network stays silent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from vgg_viz.errors import SectionMissing
from vgg_viz.figures.feature_maps import feature_wall
from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.layer_bars import sparsity_and_dead
from vgg_viz.figures.pictures import picture_grid
from vgg_viz.gallery.sections import section
from vgg_viz.maths.heatmaps import MANY_INSIDE, shared_scale
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Exhibit, Finding
from vgg_viz.studies.subject import Looked, Subject, spread
from vgg_viz.units.health import activation_health

WALLS = 5  # at most, spread over the depth
MANY = 0.05  # a share of dead channels worth a warning


def looked_at(subject: Subject) -> Looked:
    """The pictures to look into; SectionMissing where there are none."""
    if subject.looked is None:
        raise SectionMissing(
            "There are no pictures to look into: the checkpoint carries no specimens and none were given.",
            "python -m vgg_viz report CHECKPOINT --images DIR",
        )
    return subject.looked


def relu_maps(looked: Looked) -> dict[str, Tensor]:
    """What the ReLU layers with maps said: only they are exactly zero.

    A unit of the classifier says one number a picture: on a few pictures many of them are zero, and none need be dead.
    """
    return {name: maps for name, maps in looked.activations.maps.items() if name.startswith("relu") and maps.ndim == 4}


def findings(subject: Subject) -> Iterator[Finding]:
    """Layers with many dead channels."""
    found = activation_health(relu_maps(looked_at(subject)))
    dead = sum(len(layer.dead) for layer in found)
    channels = sum(layer.channels for layer in found)
    if channels and dead / channels > MANY:
        worst = max(found, key=lambda layer: len(layer.dead) / layer.channels)
        yield Finding(
            "warn",
            f"{dead:,} of {channels:,} channels stay at zero on {everywhere(len(looked_at(subject).batch))} looked into, the largest share of a layer in "
            f"{worst.layer} ({len(worst.dead)} of {worst.channels}).",
        )


def everywhere(pictures: int) -> str:
    """ "all 6 pictures", or "the one picture"."""
    return f"all {pictures} pictures" if pictures > 1 else "the one picture"


@section(
    "activations",
    study="report",
    title="Activations",
    order=60,
    lead="Follow one picture through the network: every square below is what one channel answered, place by place, brighter where it answered more.",
)
def activations(subject: Subject) -> Iterator[Exhibit | Finding]:
    """The picture, a wall of maps for layers of growing depth, and the silent units."""
    looked = looked_at(subject)
    subject_index = 0
    yield _picture(subject, looked, subject_index)
    for name in chosen_layers(subject):
        yield _wall(subject, looked, subject_index, name)
    yield _silence(looked)
    yield from findings(subject)


def answer_line(classes: Sequence[str], looked: Looked, index: int) -> str:
    """What the network says of a picture and how sure it is; whether it is right, or the picture's name where nobody knows."""
    said, sure = classes[int(looked.predicted[index])], percent(float(looked.logits[index].softmax(0).max()))
    if looked.batch.labels is None:
        return f"{looked.batch.names[index]}: says {said} ({sure})"
    true = classes[int(looked.batch.labels[index])]
    return f"says {said} ({sure}), and is right" if true == said else f"says {said} ({sure}), but it is {true}"


def chosen_layers(subject: Subject) -> list[str]:
    """ReLU layers with maps, at most WALLS of them: the first, the last, and evenly between."""
    names = [row.name for row in subject.geometry if row.kind == "relu" and len(row.shape) == 3 and row.shape[1] > 1]
    count = min(WALLS, len(names))
    return [names[i] for i in spread(len(names), count)]


def _picture(subject: Subject, looked: Looked, index: int) -> Exhibit:
    logits = looked.logits[index]
    probabilities = logits.softmax(0)
    top = probabilities.argsort(descending=True, stable=True)[:5].tolist()
    names = subject.classes
    label = None if looked.batch.labels is None else names[int(looked.batch.labels[index])]
    said = ", ".join(f"{names[i]} {percent(float(probabilities[i]))}" for i in top)
    truth = f" Its true class is {label}." if label else " Nobody told its true class."
    return Exhibit(
        "activations-picture",
        "The picture that is followed",
        Caption(
            see=f"The picture whose answers fill the walls below, at the {subject.checkpoint.architecture.image_side} px at which the network "
            f"reads it. The network says: {said}.{truth}",
            read="Pick something in it, an edge or a spot of colour, and look for it in the walls: sharp in the first layers, coarse and "
            "selective in the last.",
            cannot="One picture shows what channels do here, not what they are for.",
        ),
        alt=f"The picture {looked.batch.names[index]}; the network's first guess is {names[top[0]]} with {percent(float(probabilities[top[0]]))}.",
        figure=picture_grid(
            pixels(looked.batch.images[index : index + 1]), [label or looked.batch.names[index]], side=224
        ),
        kind="picture",
        numbers={
            "name": looked.batch.names[index],
            "true": label,
            "top": [{"class": names[i], "probability": float(probabilities[i])} for i in top],
        },
    )


def _wall(subject: Subject, looked: Looked, index: int, name: str) -> Exhibit:
    maps = looked.activations.maps[name][index]
    every = looked.activations.maps[name]
    dead = [int(c) for c in (every.amax((0, 2, 3)) <= 0).nonzero().flatten()]
    scale = shared_scale(
        maps, signed=False, unit="activation", over=f"all {len(maps)} channels of {name}", quantile=MANY_INSIDE
    )
    row = next(row for row in subject.geometry if row.name == name)
    loudest = int(maps.amax((1, 2)).argmax())
    zero = float((maps == 0).float().mean())
    quiet = int((maps.amax((1, 2)) <= 0).sum()) - len(dead)
    everyone = (
        f"Every channel answered on at least one of the {len(every)} pictures looked into"
        if len(every) > 1
        else "Every channel answered"
    )
    silent = [
        everyone
        if not dead
        else f"{counted(len(dead), 'channel')} answered nothing on {everywhere(len(every))} looked into and "
        f"{'is' if len(dead) == 1 else 'are'} crossed out"
    ]
    silent += (
        [f"{counted(quiet, 'channel')} {'is' if quiet == 1 else 'are'} silent on this picture, but not on every one"]
        if quiet
        else []
    )
    beyond = f" (beyond it: {percent(scale.clipped)} of the values, painted like its end)" if scale.clipped > 0 else ""
    field = (
        f"one value sees {row.field.size} × {row.field.size} input pixels"
        if row.field
        else "one value sees the whole picture"
    )
    return Exhibit(
        f"activations-{name.replace('_', '-')}",
        f"What {name} answers",
        Caption(
            see=f"All {len(maps)} channels of {name}, each a map of {maps.shape[1]} × {maps.shape[2]} values in which {field}. All share one "
            f"colour scale from 0 to {scale.high:.3g}{beyond}; {zero * 100:.0f} % of the values are zero, as ReLU leaves them.",
            read=f"Bright means the pattern a channel looks for is there. Channel {loudest} answers loudest (up to {float(maps[loudest].max()):.3g}). "
            + f"{'; '.join(silent)}.",
            cannot="A bright map says that a channel is active, not that the class depends on it: for that, see the attention section. "
            "Weak but decisive channels look dark beside loud ones.",
        ),
        alt=f"Wall of {len(maps)} feature maps of {name} on one scale from 0 to {scale.high:.3g}; channel {loudest} is the brightest, "
        f"{zero * 100:.0f} % of the values are zero.",
        figure=feature_wall(
            maps.numpy(),
            scale,
            title=f"{name}: {counted(len(maps), 'channel')} of {maps.shape[1]} × {maps.shape[2]} values",
            dead=dead,
        ),
        kind="picture",
        numbers={
            "layer": name,
            "channels": len(maps),
            "map": list(maps.shape[1:]),
            "scale": [scale.low, scale.high],
            "zero_share": zero,
            "maximum": maps.amax((1, 2)),
            "mean": maps.mean((1, 2)),
            "dead": dead,
        },
    )


def _silence(looked: Looked) -> Exhibit:
    found = activation_health(relu_maps(looked))
    dead = sum(len(layer.dead) for layer in found)
    channels = sum(layer.channels for layer in found)
    sparsest = max(found, key=lambda layer: layer.sparsity)
    pictures = len(looked.batch)
    deeper = sparsest is found[-1] and len(found) > 1
    return Exhibit(
        "activations-silence",
        "How much stays silent",
        Caption(
            see=f"For every ReLU layer that has maps, over {counted(pictures, 'picture')}: left, the share of values that are exactly zero; right, the channels that "
            f"were zero everywhere on {everywhere(pictures)}.",
            read=f"Zeros are no fault: ReLU makes them, and they make a layer selective. Most are in {sparsest.layer}, {sparsest.sparsity * 100:.0f} %"
            + (": trained networks often grow sparser with depth. " if deeper else ". ")
            + (
                f"{dead:,} of {channels:,} channels never answered: capacity that {'these pictures do' if pictures > 1 else 'this picture does'} not use. Where many stay silent on a whole data set, "
                "a learning rate that was too high is a common cause."
                if dead
                else f"Each of the {channels:,} channels answered somewhere."
            ),
            cannot=f"{counted(pictures, 'picture')} {'is' if pictures == 1 else 'are'} few: a channel silent here may speak elsewhere. Only a channel "
            "that is silent on a whole data set may be called dead.",
        ),
        alt=f"Bars of sparsity per layer, the highest {sparsest.sparsity * 100:.0f} % in {sparsest.layer}; {dead:,} of {channels:,} channels are silent "
        f"on {everywhere(pictures)}.",
        figure=sparsity_and_dead(
            [layer.layer for layer in found],
            [layer.sparsity for layer in found],
            [len(layer.dead) for layer in found],
            [layer.channels for layer in found],
            title=f"ReLU by ReLU, over {counted(pictures, 'picture')}",
        ),
        numbers={
            layer.layer: {"sparsity": layer.sparsity, "dead": layer.dead, "channels": layer.channels} for layer in found
        },
    )
