"""Where A and B find their evidence: photographs with both maps and their difference, and the same in numbers."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from vgg_viz.data.annotations import object_area, true_line, truth_kind, where_word
from vgg_viz.figures.attention import Row, methods_side_by_side
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.gallery.viewer import payload_json
from vgg_viz.maths.change import map_entropy
from vgg_viz.maths.heatmaps import MAP_INSIDE, Scale, shared_scale
from vgg_viz.maths.metrics import bootstrap_interval, mass_inside, rank_correlation
from vgg_viz.maths.outputs import meaning
from vgg_viz.records import Batch, Column, Exhibit, Table
from vgg_viz.sections.compare.depth import by_layer, comparable
from vgg_viz.sections.compare.flipped import flipped
from vgg_viz.sections.compare.viewer import payload
from vgg_viz.studies.answers import evenly_spaced, select_images
from vgg_viz.studies.pair import TIMES, GradCamPair, Pair, Pictures, grad_cams

TEXTS = Texts(__name__)
SAMPLED = 64  # pictures over which maps are compared in numbers; a large network gets as many as are looked into


@section("attention", study="comparison", order=40, needs="scores")
def attention(pair: Pair) -> Iterator[Exhibit]:
    """The viewer, photographs with both maps and their difference, and the same in numbers over more pictures."""
    side = max(pair.a.side, pair.b.side)
    logits = [network.answers(part) for network, part in ((pair.a, pair.inspected.a), (pair.b, pair.inspected.b))]
    targets = _targets(pair.view, logits)
    maps = {name: grad_cams(pair, pair.inspected, classes, side) for name, classes in targets.items()}
    yield _viewer(pair, logits, targets, maps)
    first = next(iter(targets))
    yield _pictures(pair, logits, targets[first], maps[first])
    if pair.labelled is not None and pair.noun == "class":
        if (exhibit := flipped(pair)) is not None:
            yield exhibit
        sample, classes = _sample(pair)
        yield _agreement(pair, side, sample, classes)
        if comparable(pair):
            yield by_layer(pair, sample, classes)


def _targets(batch: Batch, logits: list[Tensor]) -> dict[str, Tensor]:
    """The classes that maps are made for: the true one where it is known, and what either network chose."""
    chosen = {f"{letter}-chosen": scores.argmax(1) for letter, scores in zip("AB", logits, strict=True)}
    return chosen if batch.labels is None else {"true": batch.labels, **chosen}


def _layers_text(pair: Pair) -> str:
    a, b = (network.report_layer()[0] for network in (pair.a, pair.b))
    return TEXTS.say("phrases.layers", same=a == b and pair.a.side == pair.b.side, layer_a=a, layer_b=b)


def _caution(pair: Pair) -> str:
    return TEXTS.say("phrases.caution", same_architecture=pair.same_architecture)


# ---------------------------------------------------------------- exhibits


def _pictures(pair: Pair, logits: list[Tensor], classes: Tensor, maps: GradCamPair) -> Exhibit:
    batch = pair.view
    ranks = rank_correlation(maps.placed[0], maps.placed[1])
    inside = None if batch.masks is None else [mass_inside(placed, batch.masks) for placed in maps.placed]
    known = ranks[~ranks.isnan()]
    class_asked = TEXTS.say("phrases.class_asked", labelled=batch.labels is not None)
    text = TEXTS.exhibit(
        "pictures",
        layers=_layers_text(pair),
        class_asked=class_asked,
        outline=true_line(batch),
        alike=TEXTS.say("pictures.alike", rank=float(known.mean()) if known.numel() else None),
        caution=_caution(pair),
        pictures=len(batch),
    )
    return Exhibit(
        "compare-attention",
        text.title,
        text.caption,
        text.alt,
        figure=methods_side_by_side(
            _rows(pair, logits, classes, maps), side=128, title=f"Grad-CAM for the {class_asked}, one scale in each row"
        ),
        kind="picture",
        table=_table(pair, classes, maps, ranks, inside),
        numbers={
            "pictures": batch.names,
            "classes": [pair.classes[int(index)] for index in classes],
            "layers": [network.report_layer()[0] for network in (pair.a, pair.b)],
            "highest_logit": {"a": maps.placed[0].amax((1, 2)), "b": maps.placed[1].amax((1, 2))},
            "rank_correlation": ranks,
            "inside_mask": None if inside is None else {"a": inside[0], "b": inside[1], "object": object_area(batch)},
        },
    )


def _rows(pair: Pair, logits: list[Tensor], classes: Tensor, maps: GradCamPair) -> list[Row]:
    """A picture with the maps of A, of B and their difference, on the scale of the row."""
    batch = pair.view
    rows = []
    for i, photo in enumerate(pixels(batch.images)):
        both = maps.where[:, i]
        # Of what there is: a map that keeps evidence for a class alone is zero at most places, and zeros would set the scale.
        there = both[both > 0]
        scale = shared_scale(
            there if there.numel() else both, signed=False, unit=TIMES, over="each row", quantile=MAP_INSIDE
        )
        signed = Scale(-scale.high, scale.high, True, TIMES, "each row", scale.clipped)
        under = TEXTS.say(
            "phrases.under_picture",
            name=pair.classes[int(classes[i])],
            labelled=batch.labels is not None,
            answers=[pair.classes[int(scores[i].argmax())] for scores in logits],
            confidences=[
                float(meaning(scores[i], net.outputs).max())
                for scores, net in zip(logits, (pair.a, pair.b), strict=True)
            ],
            outputs=pair.b.outputs,
            noun=pair.noun,
        )
        a, b = both
        panels = [("A", a.numpy(), scale), ("B", b.numpy(), scale), ("B minus A", (b - a).numpy(), signed)]
        rows.append(Row(photo, panels, under, None if batch.masks is None else batch.masks[i].numpy()))
    return rows


def _table(pair: Pair, classes: Tensor, maps: GradCamPair, ranks: Tensor, inside: list[Tensor] | None) -> Table:
    on = where_word(pair.view)
    columns = [
        Column("picture"),
        Column("class"),
        Column("strongest in A", "logit", True),
        Column("strongest in B", "logit", True),
        Column("rank correlation", "", True),
    ]
    if inside is not None:
        columns += [Column(f"of A {on}", "%", True), Column(f"of B {on}", "%", True)]
    rows: list[tuple[str | float | None, ...]] = []
    for i, name in enumerate(pair.view.names):
        shares = [] if inside is None else [_known(100 * float(part[i]), 1) for part in inside]
        strongest = [float(f"{float(placed[i].max()):.3g}") for placed in maps.placed]
        rows.append((name, pair.classes[int(classes[i])], *strongest, _known(float(ranks[i]), 3), *shares))
    return Table(tuple(columns), tuple(rows))


def _known(value: float, digits: int) -> float | None:
    return round(value, digits) if value == value else None


def _sample(pair: Pair) -> tuple[Pictures, Tensor]:
    """Pictures that were not chosen for what they show, spread over the labelled ones, and their classes."""
    whole = pair.labelled
    if whole is None or whole.a.labels is None:
        raise TypeError("labelled pictures were expected")
    count = min(len(whole.a), SAMPLED if pair.a.macs + pair.b.macs < 2e9 else pair.preset.pictures)
    # Evenly over the set: a folder begins with its first class.
    chosen = evenly_spaced(len(whole.a), count)
    return Pictures(select_images(whole.a, chosen), select_images(whole.b, chosen)), whole.a.labels[chosen]


def _agreement(pair: Pair, side: int, sample: Pictures, classes: Tensor) -> Exhibit:
    """The same numbers over the sample."""
    maps = grad_cams(pair, sample, classes, side)
    view = sample.b if pair.b.side > pair.a.side else sample.a
    thing, on = "box" if truth_kind(view) == "box" else "object", where_word(view)
    measured = _measures(view, maps, thing, on)
    rows = {key: _mean_row(name, values, pair.seed) for key, (name, values) in measured.items()}
    means = {key: _two_digits(row[2]) for key, row in rows.items()}
    masked = view.masks is not None
    empty = int((maps.placed.amax((2, 3)) <= 0).any(0).sum())
    text = TEXTS.exhibit(
        "agreement",
        pictures=len(view),
        means=TEXTS.say(
            "agreement.means",
            pictures=len(view),
            masked=masked,
            rank=means["rank"],
            share_a=means.get("share_a"),
            share_b=means.get("share_b"),
            area=means.get("area"),
            on=on,
            thing=thing,
        ),
        masked=masked,
        thing=thing,
        known=int(view.known.sum()),
        empty=empty,
        rows=len(rows),
    )
    return Exhibit(
        "compare-agreement",
        text.title,
        text.caption,
        text.alt,
        table=Table(
            (Column("what"), Column("pictures", "", True), Column("mean", "", True), Column("95 % interval")),
            tuple(rows.values()),
        ),
        numbers={
            "pictures": len(view),
            "rows": [{"what": row[0], "n": row[1], "mean": row[2], "interval": row[3]} for row in rows.values()],
            "empty": empty,
        },
    )


def _measures(view: Batch, maps: GradCamPair, thing: str, on: str) -> dict[str, tuple[str, Tensor]]:
    """What is averaged over the sample: {key: (what it is in words, its value for each picture)}."""
    ranks = rank_correlation(maps.placed[0], maps.placed[1])
    measures = {"rank": (TEXTS.say("measures.rank"), ranks)}
    area = object_area(view)
    if view.masks is not None and area is not None:
        a, b = (mass_inside(placed, view.masks) for placed in maps.placed)
        measures |= {
            "share_a": (TEXTS.say("measures.share_a", on=on), a),
            "share_b": (TEXTS.say("measures.share_b", on=on), b),
            "difference": (TEXTS.say("measures.difference"), b - a),
            "area": (TEXTS.say("measures.area", thing=thing), area),
        }
    for letter, raw in zip("AB", maps.raw, strict=True):
        measures[f"entropy {letter}"] = TEXTS.say("measures.entropy", letter=letter), map_entropy(raw)
    return measures


def _mean_row(name: str, values: Tensor, seed: int) -> tuple[str, int, float | None, str | None]:
    """(what, pictures of which it is known, mean, 95 % interval)."""
    known = values[~values.isnan()]
    if not len(known):
        return name, 0, None, None
    low, high = bootstrap_interval(values, seed=seed)
    return name, len(known), float(known.mean()), f"{low:.3f} to {high:.3f}".replace("-", "−")


def _two_digits(value: float | None) -> str:
    return TEXTS.say("agreement.unknown") if value is None else f"{value:.2f}".replace("-", "−")


def _viewer(pair: Pair, logits: list[Tensor], targets: dict[str, Tensor], maps: dict[str, GradCamPair]) -> Exhibit:
    text = TEXTS.exhibit("viewer", pictures=len(pair.view), layers=_layers_text(pair), caution=_caution(pair))
    return Exhibit(
        "compare-viewer",
        text.title,
        text.caption,
        text.alt,
        numbers={
            "pictures": pair.view.names,
            "layers": {
                network.letter: {"layer": network.report_layer()[0], "why": str(network.report_layer()[1])}
                for network in (pair.a, pair.b)
            },
        },
        viewer=payload_json(payload(pair, pair.view, logits, targets, maps)),
    )
