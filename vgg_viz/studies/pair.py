"""Two networks before the same pictures: what every section of a comparison looks at, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgg_viz.attribution.layers import after_activation, choose_layer
from vgg_viz.attribution.single_pass import grad_cam_all_layers
from vgg_viz.capture.predict import predict_logits
from vgg_viz.errors import NotForThisNetwork, SectionMissing
from vgg_viz.figures.fonts import readable_names
from vgg_viz.gallery.source import Source
from vgg_viz.maths.heatmaps import place
from vgg_viz.maths.receptive_field import Field
from vgg_viz.models.geometry import LayerGeometry, geometry
from vgg_viz.models.outputs import noun_of
from vgg_viz.models.vgg import title
from vgg_viz.records import Batch, Checkpoint, Finding, LayerChoice, PictureOrigin
from vgg_viz.studies.answers import Answers, evenly_spaced, select_images
from vgg_viz.studies.inputs import describe_origin
from vgg_viz.studies.preset import Preset
from vgg_viz.studies.without_scores import lacks_of

FILL = "python -m vgg_viz compare A B --data DIR"


@dataclass(frozen=True, slots=True)
class Network:
    """One of the two.

    letter       "A" or "B"
    name         of its file; with the start of its checksum where both files are called alike
    source       its checkpoint, and the file that it came from
    columns      (S,) its own index of each shared class
    findings     what the pictures say of how it was read
    """

    letter: str
    name: str
    source: Source
    model: nn.Module
    columns: Tensor
    findings: tuple[Finding, ...] = ()

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that was opened."""
        return self.source.checkpoint

    @property
    def rows(self) -> tuple[LayerGeometry, ...]:
        """Every layer with its shape, field and costs."""
        return geometry(self.model)

    @property
    def side(self) -> int:
        """Side of the pictures [px]."""
        return self.checkpoint.architecture.image_side

    @property
    def outputs(self) -> str:
        """What its logits mean."""
        return self.checkpoint.architecture.outputs

    @property
    def title(self) -> str:
        """The variant's name for a heading."""
        return title(self.checkpoint.architecture)

    @property
    def parameters(self) -> int:
        """How many parameters the network has."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-adds of one picture."""
        return sum(row.macs for row in self.rows)

    def report_layer(self) -> tuple[str, LayerChoice]:
        """Where its own report takes Grad-CAM, and the convolution before it with the reason."""
        chosen = choose_layer(self.rows, self.side)
        return after_activation(self.rows, chosen.name), chosen

    def answers(self, batch: Batch) -> Tensor:
        """Logits of the shared classes only: (N, S), on the CPU."""
        return predict_logits(self.model, batch.images)[:, self.columns]


@dataclass(frozen=True, slots=True)
class Pictures:
    """The same pictures twice, as either network's evaluation view shows them.

    a, b     of the side and channels of A and of B, in one order; labels are places among the shared classes, or None
    origin   where they come from; None for a part of them
    """

    a: Batch
    b: Batch
    origin: PictureOrigin | None = None


class Pair:
    """A and B, the classes that both know, and the pictures that both answer."""

    def __init__(
        self,
        a: Network,
        b: Network,
        classes: tuple[str, ...],
        labelled: Pictures | None,
        given: Pictures | None,
        preset: Preset,
        seed: int,
    ) -> None:
        self.a, self.b, self.shared, self.labelled, self.given, self.preset, self.seed = (
            a,
            b,
            classes,
            labelled,
            given,
            preset,
            seed,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the shared classes as pages and figures show them; `shared` are those that the checkpoints know."""
        return readable_names(self.shared)

    @property
    def noun(self) -> str:
        """What one output of both is called: class, label or score."""
        return noun_of(self.b.checkpoint.architecture)

    @property
    def same_file(self) -> bool:
        """Whether A and B are one file."""
        return bool(self.a.source.sha256) and self.a.source.sha256 == self.b.source.sha256

    @property
    def same_architecture(self) -> bool:
        """Whether every tensor of one has its counterpart of the same shape in the other."""
        mine, yours = self.a.model.state_dict(), self.b.model.state_dict()
        return mine.keys() == yours.keys() and all(mine[key].shape == yours[key].shape for key in mine)

    @property
    def lacks(self) -> dict[str, str]:
        """What sections may need and there is not: class scores, where either has no classifier."""
        return lacks_of({net.letter: net.checkpoint for net in (self.a, self.b)})

    @cached_property
    def answers(self) -> tuple[Answers, Answers] | None:
        """What A and B said about the labelled pictures, among the shared classes; None when there are none."""
        if self.labelled is None or self.noun != "class":
            return None
        found = []
        for network, batch in ((self.a, self.labelled.a), (self.b, self.labelled.b)):
            labels = batch.labels if batch.labels is not None else torch.empty(0, dtype=torch.long)
            found.append(Answers(batch, labels, network.answers(batch), network.outputs))
        return found[0], found[1]

    def answered(self) -> tuple[Answers, Answers]:
        """The same, for a section that cannot be without; raises SectionMissing."""
        if self.noun != "class":
            kind = "Every label is a yes or no of its own" if self.noun == "label" else "The outputs are scores"
            raise NotForThisNetwork(f"{kind}, so no picture is of one class, and no answer is right or wrong.")
        if self.answers is None:
            raise SectionMissing("There are no labelled pictures, so nobody can say which answer is right.", FILL)
        return self.answers

    @cached_property
    def changed(self) -> tuple[list[int], list[int]]:
        """Places of the pictures that were wrong in A and are right in B, and the other way round; the surest mistake first."""
        a, b = self.answered()
        fixed = (~a.correct & b.correct).nonzero()[:, 0]
        broken = (a.correct & ~b.correct).nonzero()[:, 0]
        return (
            fixed[a.confidence[fixed].argsort(descending=True, stable=True)].tolist(),
            broken[b.confidence[broken].argsort(descending=True, stable=True)].tolist(),
        )

    @property
    def inspected_from(self) -> str:
        """Where the pictures come from that are looked into, in one phrase; "" where there are none."""
        if self.given is not None:
            return describe_origin(self.given.origin)
        return describe_origin(PictureOrigin("by change")) if self.labelled is not None else ""

    @cached_property
    def inspected(self) -> Pictures:
        """The few pictures that are looked into: those of --images, else some that changed and some that did not."""
        if self.given is not None:
            return self.given
        if self.labelled is None:
            raise SectionMissing("There are no pictures to look into.", "python -m vgg_viz compare A B --images DIR")
        if self.noun != "class":
            chosen = evenly_spaced(len(self.labelled.a), self.preset.pictures)
            a_part, b_part = (select_images(part, chosen) for part in (self.labelled.a, self.labelled.b))
            return Pictures(a_part, b_part, PictureOrigin("spread", len(chosen)))
        a, b = self.answered()
        fixed, broken = self.changed
        half = max(1, self.preset.pictures // 3)
        chosen = [*fixed[:half], *broken[:half]]
        steady = [
            *(a.correct & b.correct).nonzero()[:, 0].tolist(),
            *(~a.correct & ~b.correct).nonzero()[:, 0].tolist(),
        ]
        chosen += [i for i in (*steady[:1], *fixed[half:], *broken[half:], *steady[1:]) if i not in chosen]
        chosen = chosen[: self.preset.pictures]
        return Pictures(
            select_images(self.labelled.a, chosen), select_images(self.labelled.b, chosen), PictureOrigin("by change")
        )

    @property
    def view(self) -> Batch:
        """The looked-into pictures as the page shows them: in the finer of the two views."""
        return self.inspected.b if self.b.side > self.a.side else self.inspected.a

    def finest(self, indices: list[int]) -> Tensor:
        """Labelled pictures as the page shows them: (N, C, H, W) in the finer of the two views."""
        if self.labelled is None:
            raise SectionMissing("There are no labelled pictures.", FILL)
        return (self.labelled.b if self.b.side > self.a.side else self.labelled.a).images[indices]


LOGIT, TIMES = "logit", "× mean"


@dataclass(frozen=True, slots=True)
class GradCamPair:
    """Grad-CAM of both networks for one class a picture, at the layer of each one's own report.

    raw     (N, h, w) maps of the layers of A and B, as they come [logit]
    placed  (2, N, H, W) both on the photo of the page: A, B [logit]
    """

    raw: tuple[Tensor, Tensor]
    placed: Tensor

    @property
    def means(self) -> Tensor:
        """(2, N) mean of each map over its picture [logit]; 1 where a map is zero everywhere, which leaves it so."""
        found: Tensor = self.placed.mean((2, 3))
        return torch.where(found > 0, found, torch.ones_like(found))

    @property
    def where(self) -> Tensor:
        """(2, N, H, W) the maps as multiples of their means: 1 everywhere for evidence that is spread evenly."""
        return self.placed / self.means[:, :, None, None]


def grad_cams(pair: Pair, pictures: Pictures, classes: Tensor, side: int) -> GradCamPair:
    """Maps of both for `classes` (N,), places among the shared classes; `side` of the photo that they are laid on [px]."""
    raw, placed = [], []
    for network, batch in ((pair.a, pictures.a), (pair.b, pictures.b)):
        layer, field = layer_of(network)
        device = next(network.model.parameters()).device
        found = grad_cam_all_layers(
            network.model, batch.images.to(device), network.columns[classes].to(device), layers=[layer]
        )
        raw.append(found[layer].values.detach().float().cpu())
        placed.append(on_photo(network, raw[-1], field, side))
    return GradCamPair((raw[0], raw[1]), torch.stack(placed))


def on_photo(network: Network, maps: Tensor, field: Field, side: int) -> Tensor:
    """Maps of a layer (N, h, w) on the photo of the page: placed on what the network reads, and enlarged where the other reads more: (N, side, side)."""
    own = place(maps, field, network.side)
    return (
        own
        if network.side == side
        else functional.interpolate(own[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]
    )


def layer_of(network: Network) -> tuple[str, Field]:
    """The layer of the network's own report, and the field of its units."""
    name, _ = network.report_layer()
    return name, next(row.field for row in network.rows if row.name == name and row.field is not None)
