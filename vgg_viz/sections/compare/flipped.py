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
from vgg_viz.maths.heatmaps import LAYER_INSIDE, STRENGTH, relative, shared_scale
from vgg_viz.maths.metrics import mass_inside, rank_correlation
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.studies.pair import Pair, Pictures
from vgg_viz.studies.pair_maps import layer_of, on_photo
from vgg_viz.studies.subject import picked

MOST = 6  # pictures in the figure


@dataclass(frozen=True, slots=True)
class Flip:
    """Pictures that one network got right and the other wrong.

    places  (F,) among the labelled pictures
    right   (F,) the true class, wrong (F,) what the network said that was wrong: places among the shared classes
    gained  (F,) bool: it was A that was wrong
    """

    places: list[int]
    right: Tensor
    wrong: Tensor
    gained: Tensor


def flips_of(pair: Pair, most: int = MOST) -> Flip | None:
    """The surest mistakes of either, in turn; None where no answer flipped."""
    a, b = pair.answered()
    fixed, broken = pair.changed
    turns = [i for couple in zip(fixed, broken, strict=False) for i in couple]
    rest = [i for i in (*fixed, *broken) if i not in turns]
    chosen = [*turns, *rest][:most]
    if not chosen:
        return None
    gained = torch.tensor([i in set(fixed) for i in chosen])
    return Flip(chosen, a.labels[chosen], torch.where(gained, a.predicted[chosen], b.predicted[chosen]), gained)


def contrast(pair: Pair, sample: Pictures, first: Tensor, second: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Signed Grad-CAM of the logit of one class minus that of another, at the layer of either's own report.

    first, second  (N,) places among the shared classes
    returns        (2, N, side, side) as multiples of each map's mean strength; (2, N) the strongest magnitude [logit]
    """
    placed, strongest = [], []
    for network, batch in ((pair.a, sample.a), (pair.b, sample.b)):
        layer, field = layer_of(network)
        device = next(network.model.parameters()).device
        asked = Against(network.columns[first].to(device), network.columns[second].to(device))
        found = grad_cam_all_layers(network.model, batch.images.to(device), asked, layers=[layer], relu=False)[layer]
        raw = found.values.detach().float().cpu()
        placed.append(on_photo(network, relative(raw), field, side))
        strongest.append(raw.abs().amax((1, 2)))
    return torch.stack(placed), torch.stack(strongest)


def flipped(pair: Pair) -> Exhibit | None:
    """The figure and its table; None where no answer flipped."""
    found = flips_of(pair)
    if found is None or pair.labelled is None:
        return None
    side = max(pair.a.side, pair.b.side)
    sample = Pictures(picked(pair.labelled.a, found.places), picked(pair.labelled.b, found.places))
    maps, strongest = contrast(pair, sample, found.right, found.wrong, side)
    view = sample.b if pair.b.side > pair.a.side else sample.a
    answers = pair.answered()
    said = [[pair.classes[int(part.predicted[i])] for part in answers] for i in found.places]
    strips = []
    for n, photo in enumerate(pixels(view.images)):
        a, b = maps[:, n]
        rows = torch.stack([a, b, b - a])
        right, wrong = pair.classes[int(found.right[n])], pair.classes[int(found.wrong[n])]
        gained = bool(found.gained[n])
        scale = shared_scale(rows, signed=True, unit=STRENGTH, over="both networks", quantile=LAYER_INSIDE)
        under = [(said[n][0], not gained), (said[n][1], gained), ("", None)]
        strips.append(
            ScaledRow(
                photo,
                rows.numpy(),
                scale,
                f"for {right} rather than {wrong}",
                under,
                None if view.masks is None else view.masks[n].numpy(),
            )
        )
    ranks = rank_correlation(maps[0], maps[1])
    inside = None if view.masks is None else [mass_inside(part, view.masks) for part in maps]
    fixed, broken = pair.changed
    like = _mean(ranks)
    told = (
        f"Of the pictures shown the two maps have a rank correlation of {like:.2f} on average.".replace("-", "−")
        if like is not None
        else ""
    )
    return Exhibit(
        "compare-flipped",
        "The pictures that flipped: what speaks for the right answer?",
        Caption(
            see=f"{counted(len(strips), 'picture').capitalize()} of {len(fixed) + len(broken):,} that one network gets right and the other wrong, those first that the wrong one was surest of. "
            "The same question to both: which places speak for the true class (red) and which for the wrong answer (blue)? Grad-CAM of one score minus the other; A, B, and B minus A share "
            "the scale of the row, in multiples of each map's own mean strength. Below, what each says.",
            read=f"{told} Where the network that is wrong is blue, it sees what misleads it; is the other one red there, or does it look elsewhere?",
            cannot="The difference of two scores has evidence for either class only: what speaks for a third one is not in it. How strong the maps are stands in the table.",
        ),
        alt=f"{counted(len(strips), 'picture').capitalize()} with signed maps of A, B and their difference, for the true class rather than the wrong answer. {told}".strip(),
        figure=maps_in_rows(
            strips,
            ("A", "B", "B minus A"),
            over="A, B and their difference",
            side=128,
            title="For the true class rather than the wrong answer",
        ),
        kind="picture",
        table=_table(pair, view.names, found, said, strongest, ranks, inside, where_word(view)),
        numbers={
            "pictures": view.names,
            "right": [pair.classes[int(k)] for k in found.right],
            "wrong": [pair.classes[int(k)] for k in found.wrong],
            "gained": found.gained,
            "strongest_logit": {"a": strongest[0], "b": strongest[1]},
            "rank_correlation": ranks,
            "inside_mask": None if inside is None else {"a": inside[0], "b": inside[1]},
            "flipped": len(fixed) + len(broken),
        },
    )


def _mean(values: Tensor) -> float | None:
    known = values[~values.isnan()]
    return float(known.mean()) if known.numel() else None


def _table(
    pair: Pair,
    names: tuple[str, ...],
    found: Flip,
    said: list[list[str]],
    strongest: Tensor,
    ranks: Tensor,
    inside: list[Tensor] | None,
    on: str,
) -> Table:
    columns = [
        Column("picture"),
        Column("true class"),
        Column("A says"),
        Column("B says"),
        Column("strongest in A", "logit", True),
        Column("strongest in B", "logit", True),
        Column("rank correlation", "", True),
    ]
    columns += (
        [] if inside is None else [Column(f"for it, {on}, in A", "", False), Column(f"for it, {on}, in B", "", False)]
    )
    rows: list[tuple[str | int | float | None, ...]] = []
    for n, name in enumerate(names):
        rank = float(ranks[n])
        shares = (
            [] if inside is None else [percent(float(part[n])) if not part[n].isnan() else "unknown" for part in inside]
        )
        rows.append(
            (
                name,
                pair.classes[int(found.right[n])],
                *said[n],
                *(float(f"{float(part[n]):.3g}") for part in strongest),
                round(rank, 3) if rank == rank else None,
                *shares,
            )
        )
    return Table(tuple(columns), tuple(rows))
