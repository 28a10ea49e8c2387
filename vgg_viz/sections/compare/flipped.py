"""The pictures whose answer flipped between A and B: what speaks for the right class rather than the wrong one, in both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vgg_viz.attribution.single_pass import grad_cam_all_layers
from vgg_viz.attribution.targets import Against
from vgg_viz.data.annotations import where_word
from vgg_viz.figures.attention import ScaledRow, maps_in_rows
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.heatmaps import MAP_INSIDE, STRENGTH, relative, shared_scale
from vgg_viz.maths.metrics import mass_inside, rank_correlation
from vgg_viz.number_text import percent
from vgg_viz.records import Batch, Column, Exhibit, Table
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.pair import Pair, Pictures, layer_of, on_photo

TEXTS = Texts(__name__)
MOST = 6  # pictures in the figure


@dataclass(frozen=True, slots=True)
class Flips:
    """F pictures that one network got right and the other wrong.

    Attributes:
        places: (F,) among the labelled pictures.
        right: (F,) the true class, a place among the shared classes.
        wrong: (F,) what the network said that was wrong.
        gained: (F,) bool: it was A that was wrong.
    """

    places: list[int]
    right: Tensor
    wrong: Tensor
    gained: Tensor


@dataclass(frozen=True, slots=True)
class FlipMaps:
    """What either network sees in F such pictures.

    Attributes:
        maps: (2, F, side, side) of A and of B, for the right class rather than the wrong one, as multiples of their mean strength.
        strongest: (2, F) magnitude [logit].
        ranks: (F,) rank correlation of the two maps.
        inside: Of A and of B, (F,) shares of the positive mass on the object, NaN where nobody knows; None without masks.
    """

    maps: Tensor
    strongest: Tensor
    ranks: Tensor
    inside: list[Tensor] | None


def flips_of(pair: Pair, most: int = MOST) -> Flips | None:
    """The surest mistakes of either, in turn; None where no answer flipped."""
    a, b = pair.answered()
    fixed, broken = pair.changed
    in_turn = [i for both in zip(fixed, broken, strict=False) for i in both]
    chosen = [*in_turn, *(i for i in (*fixed, *broken) if i not in in_turn)][:most]
    if not chosen:
        return None
    gained = torch.tensor([i in set(fixed) for i in chosen])
    return Flips(chosen, a.labels[chosen], torch.where(gained, a.predicted[chosen], b.predicted[chosen]), gained)


def contrast(pair: Pair, sample: Pictures, first: Tensor, second: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Signed Grad-CAM of the logit of one class minus that of another, at the layer of either's own report.

    Args:
        pair: A and B.
        sample: N pictures, in the view of either.
        first: (N,) places among the shared classes.
        second: (N,) those whose evidence is subtracted.
        side: Of the photo that the maps are laid on [px].

    Returns:
        (2, N, side, side) as multiples of each map's mean strength, and (2, N) the strongest magnitude [logit].
    """
    placed, strongest = [], []
    for network, batch in ((pair.a, sample.a), (pair.b, sample.b)):
        layer, field = layer_of(network)
        device = next(network.model.parameters()).device
        difference = Against(network.columns[first].to(device), network.columns[second].to(device))
        cams = grad_cam_all_layers(network.model, batch.images.to(device), difference, layers=[layer], relu=False)
        raw = cams[layer].values.detach().float().cpu()
        placed.append(on_photo(network, relative(raw), field, side))
        strongest.append(raw.abs().amax((1, 2)))
    return torch.stack(placed), torch.stack(strongest)


def flipped(pair: Pair) -> Exhibit | None:
    """The figure and its table; None where no answer flipped."""
    flips = flips_of(pair)
    if flips is None or pair.labelled is None:
        return None
    sample = Pictures(select_images(pair.labelled.a, flips.places), select_images(pair.labelled.b, flips.places))
    view = sample.b if pair.b.side > pair.a.side else sample.a
    seen = _seen(pair, sample, view, flips)
    total = sum(map(len, pair.changed))
    alike = TEXTS.say("flipped.alike", rank=_mean(seen.ranks))
    text = TEXTS.exhibit("flipped", shown=len(view), flipped=total, alike=alike)
    return Exhibit(
        "compare-flipped",
        text.title,
        text.caption,
        text.alt,
        figure=maps_in_rows(
            _rows(pair, view, flips, seen.maps),
            ("A", "B", "B minus A"),
            over="A, B and their difference",
            side=128,
            title=TEXTS.say("flipped.figure"),
        ),
        kind="picture",
        table=_table(pair, view, flips, seen),
        numbers={
            "pictures": view.names,
            "right": [pair.classes[int(index)] for index in flips.right],
            "wrong": [pair.classes[int(index)] for index in flips.wrong],
            "gained": flips.gained,
            "strongest_logit": {"a": seen.strongest[0], "b": seen.strongest[1]},
            "rank_correlation": seen.ranks,
            "inside_mask": None if seen.inside is None else {"a": seen.inside[0], "b": seen.inside[1]},
            "flipped": total,
        },
    )


def _seen(pair: Pair, sample: Pictures, view: Batch, flips: Flips) -> FlipMaps:
    maps, strongest = contrast(pair, sample, flips.right, flips.wrong, max(pair.a.side, pair.b.side))
    inside = None if view.masks is None else [mass_inside(of_network, view.masks) for of_network in maps]
    return FlipMaps(maps, strongest, rank_correlation(maps[0], maps[1]), inside)


def _answers(pair: Pair, place: int) -> list[str]:
    """What A and B say about a labelled picture."""
    return [pair.classes[int(answers.predicted[place])] for answers in pair.answered()]


def _rows(pair: Pair, view: Batch, flips: Flips, maps: Tensor) -> list[ScaledRow]:
    """A picture with the maps of A, of B and their difference, on the scale of the row."""
    rows = []
    for n, photo in enumerate(pixels(view.images)):
        a, b = maps[:, n]
        panels = torch.stack([a, b, b - a])
        scale = shared_scale(panels, signed=True, unit=STRENGTH, over="both networks", quantile=MAP_INSIDE)
        right, wrong = pair.classes[int(flips.right[n])], pair.classes[int(flips.wrong[n])]
        above = TEXTS.say("flipped.above", right=right, wrong=wrong)
        gained, (of_a, of_b) = bool(flips.gained[n]), _answers(pair, flips.places[n])
        under = [(of_a, not gained), (of_b, gained), ("", None)]
        mask = None if view.masks is None else view.masks[n].numpy()
        rows.append(ScaledRow(photo, panels.numpy(), scale, above, under, mask))
    return rows


def _mean(values: Tensor) -> float | None:
    known = values[~values.isnan()]
    return float(known.mean()) if known.numel() else None


def _table(pair: Pair, view: Batch, flips: Flips, seen: FlipMaps) -> Table:
    columns = [
        Column("picture"),
        Column("true class"),
        Column("A says"),
        Column("B says"),
        Column("strongest in A", "logit", True),
        Column("strongest in B", "logit", True),
        Column("rank correlation", "", True),
    ]
    if seen.inside is not None:
        columns += [Column(f"for it, {where_word(view)}, in {letter}", "", False) for letter in "AB"]
    rows: list[tuple[str | int | float | None, ...]] = []
    for n, name in enumerate(view.names):
        rank = float(seen.ranks[n])
        rows.append(
            (
                name,
                pair.classes[int(flips.right[n])],
                *_answers(pair, flips.places[n]),
                *(float(f"{float(of_network[n]):.3g}") for of_network in seen.strongest),
                round(rank, 3) if rank == rank else None,
                *("unknown" if share[n].isnan() else percent(float(share[n])) for share in seen.inside or ()),
            )
        )
    return Table(tuple(columns), tuple(rows))
