"""What is tried out on the page of two networks: the viewer of their maps, and the explorer that runs both.

In the viewer A, B and their difference take the place of methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from vgg_viz.errors import SectionMissing
from vgg_viz.gallery.explorer import Explorer
from vgg_viz.gallery.small_maps import downsample
from vgg_viz.gallery.texts import Texts
from vgg_viz.gallery.viewer import (
    FINEST,
    FINEST_LAYER,
    ViewerMap,
    ViewerMethod,
    ViewerPayload,
    ViewerStart,
    outline_name,
    viewer_pictures,
)
from vgg_viz.maths.outputs import meaning
from vgg_viz.maths.receptive_field import Field, Window
from vgg_viz.records import Batch
from vgg_viz.studies.explorer_live import explore_pair
from vgg_viz.studies.inputs import Inputs
from vgg_viz.studies.pair import LOGIT, TIMES, GradCamPair, Network, Pair, layer_of
from vgg_viz.studies.subject import Subject

TEXTS = Texts(__name__)
WHERE, HOW_MUCH = "where", "how-much"  # as multiples of the map's mean, and in logits


def payload(
    pair: Pair, batch: Batch, logits: list[Tensor], targets: dict[str, Tensor], maps: dict[str, GradCamPair]
) -> ViewerPayload:
    """Both networks' maps of the same pictures, with the colours of a picture on one range.

    Args:
        pair: A and B.
        batch: The pictures as the page shows them.
        logits: Of A and of B, (B, S) each.
        targets: The classes that maps are about, (B,) places among the shared classes; a class that comes twice is stored once.
        maps: Of the same names as `targets`.
    """
    viewer_maps: list[ViewerMap] = []
    names = list(targets)
    for number, target in enumerate(names):
        for i in range(len(batch)):
            index = int(targets[target][i])
            if not any(int(targets[earlier][i]) == index for earlier in names[:number]):
                viewer_maps += _maps(pair, maps[target], i, target, index)
    a, b = (
        meaning(scores, net.outputs) for scores, net in zip(logits, (pair.a, pair.b), strict=True)
    )  # the strip names what B says, A answers to its own maps
    return ViewerPayload(
        viewer_pictures(batch, b, {_id("A", kind): a for kind in (WHERE, HOW_MUCH)}),
        pair.classes,
        list(_methods()),
        _layers(pair, maps[names[0]]),
        viewer_maps,
        over=TEXTS.say("scale.over"),
        outline=outline_name(batch),
        start=ViewerStart(0, _id("B", WHERE), None, names[0]),
        outputs=pair.b.outputs,
        noun=pair.noun,
    )


def _methods() -> Iterator[ViewerMethod]:
    kinds = (
        (WHERE, TEXTS.say("methods.where"), TIMES, TEXTS.say("methods.about_where")),
        (HOW_MUCH, TEXTS.say("methods.how_much"), LOGIT, TEXTS.say("methods.about_how_much")),
    )
    for kind, name, unit, about in kinds:
        for letter in "AB":
            title = TEXTS.say("methods.single", kind=name, letter=letter)
            yield ViewerMethod(_id(letter, kind), title, False, unit, about, speaker=letter)
        title = TEXTS.say("methods.difference", kind=name)
        poles = TEXTS.say("methods.poles")
        yield ViewerMethod(_id("difference", kind), title, True, unit, about, speaker="B", poles=poles)


def _id(what: str, kind: str) -> str:
    return f"{what.lower()}-{kind}"


def _reads_as_shown(pair: Pair, network: Network) -> bool:
    """Whether a network reads the photos at the side of the page: then its layer's own map is stored, else the map on the photo."""
    return network.side == max(pair.a.side, pair.b.side)


def _layer_name(network: Network) -> str:
    return f"{layer_of(network)[0]} of {network.letter}"


def _layers(pair: Pair, maps: GradCamPair) -> dict[str, Field]:
    """What a value of each stored layer's map sees."""
    fields = {}
    for network, raw in zip((pair.a, pair.b), maps.raw, strict=True):
        if _reads_as_shown(pair, network):
            _, factor = downsample(raw[:1], FINEST_LAYER)
            fields[_layer_name(network)] = layer_of(network)[1].then(Window(factor, factor))
    return fields


def _maps(pair: Pair, maps: GradCamPair, i: int, target: str, index: int) -> Iterator[ViewerMap]:
    """The maps of one picture for one class: where A, B and their difference, then how much, on the range of both networks."""
    networks = (pair.a, pair.b)
    for kind in (WHERE, HOW_MUCH):
        placed = (maps.where if kind == WHERE else maps.placed)[:, i]
        raw = [maps.raw[n][i] / (maps.means[n, i] if kind == WHERE else 1) for n in range(2)]
        # A unit's centre may lie between two pixels: the layer's own values can be a little above the placed ones.
        own = [float(values.max()) for values, net in zip(raw, networks, strict=True) if _reads_as_shown(pair, net)]
        high = max(float(placed.max()), *own)
        for n, network in enumerate(networks):
            if _reads_as_shown(pair, network):
                (values, _), layer = downsample(raw[n][None], FINEST_LAYER), _layer_name(network)
            else:
                (values, _), layer = downsample(placed[n][None], FINEST), None
            yield ViewerMap(i, _id(network.letter, kind), layer, target, index, values[0], (0.0, high))
        values, _ = downsample((placed[1] - placed[0])[None], FINEST)
        yield ViewerMap(i, _id("difference", kind), None, target, index, values[0], (-high, high))


# ---------------------------------------------------------------- live


def live(pair: Pair) -> Explorer:
    """Both networks in one page that runs them on the pictures that the comparison looks into.

    Raises:
        InputRefused: Either does not run in a page.
    """
    return explore_pair(_subject(pair, pair.a, _view_of_a(pair)), _subject(pair, pair.b, None))


def _subject(pair: Pair, network: Network, given: Batch | None) -> Subject:
    named = replace(network.checkpoint, provenance=replace(network.checkpoint.provenance, file=network.name))
    return Subject(named, network.model, Inputs(None, None, given, None, None, ()), pair.preset, pair.seed)


def _view_of_a(pair: Pair) -> Batch | None:
    """Those pictures in A's view, with A's own numbers for the classes; None where there are none."""
    try:
        batch = pair.inspected.a
    except SectionMissing:
        return None
    return batch if batch.labels is None else replace(batch, labels=pair.a.columns[batch.labels])
