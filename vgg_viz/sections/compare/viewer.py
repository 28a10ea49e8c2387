"""What the viewer for two networks shows: A, B and their difference take the place of methods."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from vgg_viz.gallery.viewer import (
    FINEST,
    FINEST_LAYER,
    ViewerMap,
    ViewerMethod,
    ViewerPayload,
    ViewerStart,
    downsample,
    outline_name,
    viewer_pictures,
)
from vgg_viz.maths.receptive_field import Field, Window
from vgg_viz.records import Batch
from vgg_viz.studies.pair import Pair
from vgg_viz.studies.pair_maps import LOGIT, TIMES, GradCamPair, layer_of

KINDS = (("where", TIMES), ("how much", LOGIT))


def payload(
    pair: Pair, batch: Batch, said: list[Tensor], asked: dict[str, Tensor], maps: dict[str, GradCamPair]
) -> ViewerPayload:
    """Both networks' maps of the same pictures.

    batch  the pictures as the page shows them
    said   logits of A and of B, (B, S) each
    asked  the classes that maps are about, (B,) places among the shared classes; a class that comes twice is stored once
    maps   under the names of `asked`

    Maps of one picture span one range, that of both networks: switching between them changes no colour's meaning.
    """
    found: list[ViewerMap] = []
    layers: dict[str, Field] = {}
    names = list(asked)
    for number, target in enumerate(names):
        for i in range(len(batch)):
            index = int(asked[target][i])
            if not any(int(asked[earlier][i]) == index for earlier in names[:number]):
                found += _maps(pair, maps[target], i, target, index, layers)
    a, b = (logits.softmax(1) for logits in said)  # the strip names what B says, A answers to its own maps
    return ViewerPayload(
        viewer_pictures(batch, b, {_id("A", kind): a for kind, _ in KINDS}),
        pair.classes,
        list(_methods()),
        layers,
        found,
        over="both networks on this photo",
        outline=outline_name(batch),
        start=ViewerStart(0, _id("B", "where"), None, names[0]),
    )


def _methods() -> Iterator[ViewerMethod]:
    for kind, unit in KINDS:
        about = (
            "Grad-CAM at the layer that each network's own report uses, as a multiple of the map's mean over the picture: 1 everywhere would be "
            "evidence without a place."
            if kind == "where"
            else "Grad-CAM at the layer that each network's own report uses, in logits: a network with larger logits has stronger maps."
        )
        for letter in "AB":
            yield ViewerMethod(_id(letter, kind), f"{kind.capitalize()}: {letter}", False, unit, about, speaker=letter)
        yield ViewerMethod(
            _id("difference", kind),
            f"{kind.capitalize()}: B minus A",
            True,
            unit,
            about,
            speaker="B",
            poles="red more in B, blue more in A",
        )


def _id(what: str, kind: str) -> str:
    return f"{what.lower()}-{kind.replace(' ', '-')}"


def _maps(
    pair: Pair, found: GradCamPair, i: int, target: str, index: int, layers: dict[str, Field]
) -> Iterator[ViewerMap]:
    """The maps of one picture for one class: where A, B and their difference, then how much; `layers` learns theirs.

    A layer's own map is stored where its network reads the photo as the page shows it, else the map on the photo.
    """
    own = [network.side == max(pair.a.side, pair.b.side) for network in (pair.a, pair.b)]
    for kind, _ in KINDS:
        placed = (found.where if kind == "where" else found.placed)[:, i]
        raw = [found.raw[n][i] / (found.means[n, i] if kind == "where" else 1) for n in range(2)]
        # A unit's centre may lie between two pixels: the layer's own values can be a little above the placed ones.
        high = max(float(placed.max()), *(float(values.max()) for values, known in zip(raw, own, strict=True) if known))
        for n, network in enumerate((pair.a, pair.b)):
            if own[n]:
                values, factor = downsample(raw[n][None], FINEST_LAYER)
                name, field = layer_of(network)
                layer = f"{name} of {network.letter}"
                layers[layer] = field.then(Window(factor, factor))
            else:
                (values, _), layer = downsample(placed[n][None], FINEST), None
            yield ViewerMap(i, _id(network.letter, kind), layer, target, index, values[0], (0.0, high))
        values, _ = downsample((placed[1] - placed[0])[None], FINEST)
        yield ViewerMap(i, _id("difference", kind), None, target, index, values[0], (-high, high))
