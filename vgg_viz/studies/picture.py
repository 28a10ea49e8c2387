"""Everything that is known of one picture: the network, the question, the maps, and what had to go until the answer changed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

from torch import Tensor, nn

from vgg_viz.capture.predict import class_network, predict_logits
from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.figures.fonts import readable_names
from vgg_viz.gallery.source import Source
from vgg_viz.maths.fitting import fit, fitting_text
from vgg_viz.maths.heatmaps import on_picture, painted
from vgg_viz.maths.image_forms import Images, as_pictures
from vgg_viz.maths.images import decode
from vgg_viz.models.geometry import LayerGeometry, fields_of, geometry
from vgg_viz.models.outputs import chooses_one, noun_of, outputs_of
from vgg_viz.records import Attribution, Batch, Checkpoint
from vgg_viz.studies.inputs import match_channels, open_checkpoint
from vgg_viz.studies.perturbation_path import COARSE, FINE, Removal, blur, hide_stepwise
from vgg_viz.studies.picture_maps import Maps, compute
from vgg_viz.studies.picture_request import Question, parse_question
from vgg_viz.studies.preset import LARGE_GIGAMACS, PRESETS
from vgg_viz.studies.request import FilePath, PictureRequest
from vgg_viz.studies.witnesses import Examined, examine


@dataclass(frozen=True, slots=True)
class Explanation:
    """One picture, asked and answered.

    rows         of the network's geometry
    source       the checkpoint, and the file that it came from
    batch        the one picture as the network sees it
    original     height and width of the file [px]
    removal      in the order of the leading method; None where the preset leaves it out, and for a unit
    others       in those of the other methods, without random orders; none for a network whose passes take a while
    seconds      {part: wall clock [s]}
    examined     what the picture says of how the network was read
    """

    source: Source
    model: nn.Module
    rows: tuple[LayerGeometry, ...]
    batch: Batch
    original: tuple[int, int]
    question: Question
    computed: Maps
    removal: Removal | None
    others: Mapping[str, Removal]
    preset: str
    seed: int
    warnings: tuple[str, ...]
    seconds: Mapping[str, float]
    examined: Examined

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that was opened."""
        return self.source.checkpoint

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes as pages and figures show them, in the order of the outputs."""
        return readable_names(self.checkpoint.classes)

    @property
    def noun(self) -> str:
        """What one output is called: class, label or score."""
        return noun_of(self.checkpoint.architecture)

    @property
    def name(self) -> str:
        """The picture's file name."""
        return self.batch.names[0]

    @property
    def leading(self) -> str:
        """The method whose maps stand large."""
        return self.question.methods[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture [px]."""
        return int(self.batch.images.shape[-2]), int(self.batch.images.shape[-1])

    def map(self, method: str, index: int) -> Tensor:
        """(H, W) the map of a method for a class, or for the unit, on the picture."""
        return self.placed(self.computed.maps[method, index])

    def placed(self, one: Attribution, values: Tensor | None = None) -> Tensor:
        """(H, W) a map, or other values (h, w) of its layer, as they are painted on the picture."""
        given = (one.values[:1] if values is None else values[None]).float().cpu()
        return painted(given, one.layer, fields_of(self.rows), self.size)[0]


def explain_picture(request: PictureRequest) -> Explanation:
    """Open, ask and measure; nothing is painted or written yet.

    Raises:
        InputRefused: And its kin: for the checkpoint, the picture, or what is asked of it.
    """
    preset, seed, device = request.preset, request.seed, request.device
    if preset not in PRESETS:
        raise UnknownName("preset", preset, PRESETS)
    clock = [time.perf_counter()]
    own = open_checkpoint(request.source, seed=seed, overrides=request.overrides)
    checkpoint = own.checkpoint
    model = class_network(checkpoint).to(device)
    rows = geometry(model)
    clock.append(time.perf_counter())
    batch, original, warnings = prepared(request.image, checkpoint)
    examined = examine(checkpoint, model, batch, seed=seed)
    checkpoint, model, own = examined.checkpoint, examined.model, replace(own, checkpoint=examined.checkpoint)
    question = parse_question(model, checkpoint.classes, request)
    clock.append(time.perf_counter())
    found = compute(model, batch.images.to(device), question, rows, seed=seed, channels=preset != "quick")
    clock.append(time.perf_counter())
    asked = preset != "quick" and found.classes is not None and chooses_one(checkpoint.architecture)
    hide = partial(_removed, model, batch.images[0].to(device), found, rows, preset, seed)
    removed = hide(question.methods[0]) if asked else None
    others = {
        name: hide(name, orders=0) for name in question.methods[1:] if asked and (preset == "full" or not _large(rows))
    }
    clock.append(time.perf_counter())
    parts = dict(
        zip(
            ("loading", "reading", "network", "removal"),
            (after - before for before, after in pairwise(clock)),
            strict=True,
        )
    )
    return Explanation(
        own, model, rows, batch, original, question, found, removed, others, preset, seed, warnings, parts, examined
    )


def prepared(image: FilePath | Images, checkpoint: Checkpoint) -> tuple[Batch, tuple[int, int], tuple[str, ...]]:
    """The picture as the network takes it, the height and width of the file [px], and what was done to it, in sentences.

    Raises:
        ImageRefused: It cannot be read.
        InputRefused: It is no picture, or several.
    """
    if isinstance(image, str | os.PathLike):
        name = os.fsencode(Path(image).name).decode("utf-8", "backslashreplace")
        picture = decode(Path(image), name=name)
    else:
        name, pictures = "picture", as_pictures(image)
        if len(pictures) > 1:
            raise InputRefused(f"{len(pictures)} pictures came, one is explained; choose it, such as images[0].")
        picture = pictures[0].cpu()
    height, width = picture.shape[-2:]
    rule = checkpoint.fitting
    length = rule.shorter or rule.side
    said = []
    if height != width or length != rule.side:
        seen = "its centre square" if (length, rule.squash) == (rule.side, False) else fitting_text(rule)
        said.append(f"The picture has {width} × {height} px; the network sees {seen}.")
    if min(height, width) < length:
        said.append(
            f"The picture's shorter side has {min(height, width)} px and was enlarged to the {length} px that the network reads: it is blurred there."
        )
    batch = match_channels(Batch(fit(picture, rule)[None].contiguous(), None, (name,)), checkpoint)
    return batch, (height, width), tuple(said)


def _large(rows: Sequence[LayerGeometry]) -> bool:
    return sum(row.macs for row in rows) / 1e9 >= LARGE_GIGAMACS


def _removed(
    model: nn.Module,
    image: Tensor,
    found: Maps,
    rows: tuple[LayerGeometry, ...],
    preset: str,
    seed: int,
    method: str,
    *,
    orders: int | None = None,
) -> Removal:
    if found.classes is None:
        raise TypeError("classes were expected")
    first, second = (found.maps[method, index] for index in (found.classes.predicted, found.classes.expected))
    size = (int(image.shape[-2]), int(image.shape[-1]))
    evidence = (first.values[:1] - second.values[:1] if first.signed else first.values[:1]).float().cpu()
    evidence = on_picture(evidence, first.layer, fields_of(rows), size)[0]
    if first.layer is None:
        evidence = blur(evidence[None], min(size) / 28)[
            0
        ]  # the grain of a pixel map is finer than anything that can be hidden
    large = _large(rows)
    shares = COARSE if large and preset != "full" else FINE
    usual, refinements = (2 if large else 8, 2 if large else 5) if preset != "full" else (4 if large else 32, 5)
    return hide_stepwise(
        lambda pictures: predict_logits(model, pictures),
        image,
        evidence,
        said=found.classes.predicted,
        expected=found.classes.expected,
        shares=shares,
        orders=usual if orders is None else orders,
        refinements=refinements,
        seed=seed,
        outputs=outputs_of(model),
    )
