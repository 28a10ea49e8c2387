"""One network, ready to be asked: what it says about a picture, and the maps that say why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from vgg_viz.attribution import Options, after_activation, attribute, choose_layer, gradient_bundle, methods
from vgg_viz.attribution.cam_reduction import CAMS
from vgg_viz.attribution.single_pass import SHARED
from vgg_viz.capture.hooks import on_forward
from vgg_viz.capture.predict import class_network, predict_logits
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.gallery.viewer import AttributedMaps, attribution_payload, payload_json, viewer_method
from vgg_viz.maths.fitting import fit
from vgg_viz.maths.images import decode
from vgg_viz.maths.outputs import meaning
from vgg_viz.models.geometry import fields_of, geometry
from vgg_viz.models.outputs import noun_of
from vgg_viz.records import Attribution, Batch, Checkpoint
from vgg_viz.serve.store import StoredPicture
from vgg_viz.studies.inputs import match_channels
from vgg_viz.studies.without_scores import require_scores

MOST_CLASSES = 5  # of one request
FINEST = (512, 512)  # sides up to which maps travel whole [values]: the way is short here

Tell = Callable[[str, int, int], None]  # what is being made, how many parts are done, of how many


@dataclass(frozen=True, slots=True)
class MapRequest:
    """What a reader wants to see of one picture.

    Attributes:
        methods: Names of `methods()`.
        layer: For layered methods; None: every convolution for those that one pass makes for all layers, the usual
            layer for the others.
        classes: Indices.
    """

    methods: tuple[str, ...]
    classes: tuple[int, ...]
    layer: str | None = None


class ServedNetwork:
    """A checkpoint built twice around the same weights: to say what it sees, and to draw maps.

    A network wears hooks while its maps are drawn, so no two threads may ask the same one. Two of them let predictions be
    answered while a map takes its time; the weights are in memory once.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "cpu", seed: int = 0) -> None:
        """Raises InputRefused for a checkpoint without a classifier, which says nothing of a picture."""
        require_scores(checkpoint.architecture, "ask about on the live page")
        weights = {name: values.to(device) for name, values in checkpoint.weights.items()}
        self.checkpoint = replace(checkpoint, weights=weights)
        self.device, self.seed, self.outputs = device, seed, checkpoint.architecture.outputs
        self.says, self.shows = (class_network(self.checkpoint).to(device) for _ in range(2))
        rows = geometry(self.says)
        self.side = checkpoint.architecture.image_side
        self.fields = fields_of(rows)
        self.layers = tuple(dict.fromkeys(after_activation(rows, row.name) for row in rows if row.kind == "conv"))
        self.usual_layer = after_activation(rows, choose_layer(rows, self.side).name)
        self.methods = methods()

    def prepared(self, data: bytes) -> Tensor:
        """The bytes of a picture file as the network takes them: (1, C, H, W) in [0, 1].

        Raises:
            ImageRefused: No picture, damaged, or more than 50 million pixels.
        """
        image = fit(decode(data, name="the picture"), self.checkpoint.fitting)
        return match_channels(Batch(image[None], None, ("",)), self.checkpoint).images

    def seen(self, image: Tensor) -> StoredPicture:
        """The picture (1, C, H, W) with what the network says about it; from one thread only."""
        return StoredPicture(image, meaning(predict_logits(self.says, image)[0], self.outputs))

    def wish(self, asked: object) -> MapRequest:
        """A wish as it comes from outside, if it can be granted; raises InputRefused and UnknownName."""
        if not isinstance(asked, dict) or not {"methods", "classes"} <= set(asked) <= {"methods", "classes", "layer"}:
            raise InputRefused(
                'the wish cannot be read; {"methods": [...], "classes": [...], "layer": null} is expected.'
            )
        names, classes, layer = asked["methods"], asked["classes"], asked.get("layer")
        if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
            raise InputRefused("no method was asked for; choose at least one.")
        for name in names:
            if name not in self.methods:
                raise UnknownName("method", name[:40], self.methods)
        if not (
            isinstance(classes, list)
            and all(type(index) is int for index in classes)
            and 1 <= len(classes) <= MOST_CLASSES
        ):
            raise InputRefused(f"1 to {MOST_CLASSES} classes can be asked about at once, as indices.")
        known = len(self.checkpoint.classes)
        if any(not 0 <= index < known for index in classes):
            raise InputRefused(
                f"a class was asked for that the network does not have; it knows classes 0 to {known - 1}."
            )
        if layer is not None and layer not in self.layers:
            raise UnknownName("layer", str(layer)[:40], self.layers)
        return MapRequest(tuple(dict.fromkeys(names)), tuple(dict.fromkeys(classes)), layer)

    def maps(
        self, picture: StoredPicture, wish: MapRequest, tell: Tell, passed: Callable[[int], None]
    ) -> dict[str, Any]:
        """The maps of a wish as a payload of the viewer; from one thread only.

        Args:
            picture: What was sent before.
            wish: Which maps of it, of which classes.
            tell: Called before every part.
            passed: Called before every forward pass with its number of pictures; what it raises ends the work.
        """
        attributions: list[tuple[str, Attribution]] = []
        parts = list(self._parts(wish))
        images = picture.image.to(self.device)
        with on_forward(self.shows, passed):
            for done, (title, index, names) in enumerate(parts):
                tell(title, done, len(parts))
                target = rank_classes(picture.probabilities, index)
                attributions += [(target, attribution) for attribution in self._drawn(images, index, names, wish.layer)]
        payload = replace(
            attribution_payload(
                Batch(picture.image, None, ("",)),
                self.checkpoint.classes,
                picture.probabilities[None],
                AttributedMaps(
                    attributions,
                    [viewer_method(method) for method in self.methods.values()],
                    self.fields,
                    finest=FINEST,
                ),
            ),
            outputs=self.outputs,
            noun=noun_of(self.checkpoint.architecture),
        )
        return payload_json(payload)

    def _parts(self, wish: MapRequest) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        """What is made in one go: (its title, the class, the methods)."""
        together = tuple(name for name in SHARED if name in wish.methods)
        for index in wish.classes:
            if together:
                yield ", ".join(self.methods[name].title for name in together), index, together
            for name in wish.methods:
                if name not in SHARED:
                    yield self.methods[name].title, index, (name,)

    def _drawn(self, images: Tensor, index: int, names: Sequence[str], layer: str | None) -> list[Attribution]:
        if names[0] in SHARED:
            cams = [name for name in names if name in CAMS]
            # Without a class activation map no layer is asked to be watched.
            wanted = () if not cams else self.layers if layer is None else (layer,)
            bundle = gradient_bundle(self.shows, images, index, layers=wanted, cams=cams)
            pixels = {"saliency": bundle.saliency, "input_x_gradient": bundle.input_x_gradient}
            by_layer = {"grad_cam": bundle.grad_cam, **bundle.cams}
            return [
                *(pixels[name] for name in names if name in pixels),
                *(attribution for name in cams for attribution in by_layer[name].values()),
            ]
        (name,) = names
        asked = (layer or self.usual_layer) if self.methods[name].layered else None
        options = self.methods[name].relevant(Options(seed=self.seed))
        return [attribute(self.shows, images, name, target=index, layer=asked, options=options)]


def rank_classes(probabilities: Tensor, index: int) -> str:
    """How a class stands among those of a picture, in words: "predicted", "runner-up", "3rd-ranked", ...

    Two classes of a picture never have the same word.
    """
    order: list[int] = probabilities.argsort(descending=True, stable=True).tolist()
    place = order.index(index) + 1
    if place <= 2:
        return ("predicted", "runner-up")[place - 1]
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}-ranked"
