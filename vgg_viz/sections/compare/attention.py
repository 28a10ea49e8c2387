"""Where A and B find their evidence: photographs with both maps and their difference, and the same in numbers."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from vgg_viz.data.annotations import object_area, true_line, truth_kind, where_word
from vgg_viz.figures.attention import Row, methods_side_by_side
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.viewer import payload_json
from vgg_viz.maths.change import map_entropy
from vgg_viz.maths.heatmaps import PIXELS_INSIDE, Scale, shared_scale
from vgg_viz.maths.metrics import bootstrap_interval, mass_inside, rank_correlation
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Batch, Caption, Column, Exhibit, Table
from vgg_viz.sections.compare.depth import by_layer, comparable
from vgg_viz.sections.compare.flipped import flipped
from vgg_viz.sections.compare.viewer import payload
from vgg_viz.studies.pair import Pair, Pictures
from vgg_viz.studies.pair_maps import TIMES, GradCamPair, grad_cams
from vgg_viz.studies.subject import picked, spread

SAMPLED = 64  # pictures over which maps are compared in numbers; a large network gets as many as are looked into


@section(
    "attention",
    study="comparison",
    title="Attention",
    order=40,
    lead="The same picture, the same class, two networks: where does each find its evidence?",
)
def attention(pair: Pair) -> Iterator[Exhibit]:
    """The viewer, photographs with both maps and their difference, and the same in numbers over more pictures."""
    batch, side = pair.view, max(pair.a.side, pair.b.side)
    said = [network.answers(part) for network, part in ((pair.a, pair.looked.a), (pair.b, pair.looked.b))]
    asked = _asked(batch, said)
    maps = {name: grad_cams(pair, pair.looked, classes, side) for name, classes in asked.items()}
    yield _viewer(pair, batch, said, asked, maps)
    name = next(iter(asked))
    yield _rows(pair, batch, said, asked[name], maps[name], "true class" if name == "true" else "class that A chose")
    if pair.labelled is not None:
        if (turned := flipped(pair)) is not None:
            yield turned
        sample, classes = _sample(pair)
        yield _agreement(pair, side, sample, classes)
        if comparable(pair):
            yield by_layer(pair, sample, classes)


def _asked(batch: Batch, said: list[Tensor]) -> dict[str, Tensor]:
    """The classes that maps are made for: the true one where it is known, and what either network chose."""
    chosen = {f"{letter}-chosen": logits.argmax(1) for letter, logits in zip("AB", said, strict=True)}
    return chosen if batch.labels is None else {"true": batch.labels, **chosen}


def _layers_said(pair: Pair) -> str:
    a, b = (network.report_layer() for network in (pair.a, pair.b))
    if a[0] == b[0] and pair.a.side == pair.b.side:
        return f"at {a[0]} in both"
    return f"at {a[0]} in A and at {b[0]} in B"


def _caveat(pair: Pair) -> str:
    if pair.same_architecture:
        return "Larger logits make stronger maps: that one network has more evidence in logits does not make it the better one."
    return (
        "The two are different networks: their units see squares of different sizes, and a coarse grid cannot be as sharp as a fine one. In logits, a finer grid also "
        "spreads the same evidence over more cells."
    )


# ---------------------------------------------------------------- exhibits


def _rows(pair: Pair, batch: Batch, said: list[Tensor], classes: Tensor, found: GradCamPair, asked: str) -> Exhibit:
    photos = pixels(batch.images)
    rows = []
    for i, photo in enumerate(photos):
        a, b = found.where[:, i]
        # Of what there is: a map that keeps evidence for a class alone is zero at most places, and zeros would set the scale.
        there = found.where[:, i][found.where[:, i] > 0]
        own = shared_scale(
            there if there.numel() else found.where[:, i],
            signed=False,
            unit=TIMES,
            over="each row",
            quantile=PIXELS_INSIDE,
        )
        signed = Scale(-own.high, own.high, True, TIMES, "each row", own.clipped)
        answers = "; ".join(_answer(pair, letter, logits[i]) for letter, logits in zip("AB", said, strict=True))
        start = f"maps for {pair.classes[int(classes[i])]}" + (", the true class" if batch.labels is not None else "")
        mask = None if batch.masks is None else batch.masks[i].numpy()
        rows.append(
            Row(
                photo,
                [("A", a.numpy(), own), ("B", b.numpy(), own), ("B minus A", (b - a).numpy(), signed)],
                f"{start}; {answers}",
                mask,
            )
        )
    ranks = rank_correlation(found.placed[0], found.placed[1])
    inside = None if batch.masks is None else [mass_inside(maps, batch.masks) for maps in found.placed]
    known = ranks[~ranks.isnan()]
    like = (
        f"The rank correlation of the two maps is {float(known.mean()):.2f} on average."
        if known.numel()
        else "No picture has two maps with an order."
    )
    return Exhibit(
        "compare-attention",
        "The same pictures, the same class, both networks",
        Caption(
            see=f"Each row is a picture with Grad-CAM of A, of B, and B minus A, {_layers_said(pair)}, asked about the {asked}. A value is a multiple of the map's own mean over the "
            "picture, and the three maps of a row share one scale, printed below them; every value is painted at the centre of what its unit sees. In the difference red is "
            "where B has the larger part of its evidence, blue where A has, and where neither has more the photograph is left as it is."
            + true_line(batch),
            read=f"{like} Did the evidence move onto the object where an answer became right, and off it where it became wrong? The table has how strong the maps are [logit], "
            "which the pictures leave out.",
            cannot=f"{_caveat(pair)} Grad-CAM keeps only evidence for the class.",
        ),
        alt=f"{counted(len(photos), 'picture')} with Grad-CAM of A, of B and their signed difference for the {asked}. {like}",
        figure=methods_side_by_side(rows, side=128, title=f"Grad-CAM for the {asked}, one scale in each row"),
        kind="picture",
        table=_table(pair, batch, classes, found, ranks, inside),
        numbers={
            "pictures": batch.names,
            "classes": [pair.classes[int(index)] for index in classes],
            "layers": [network.report_layer()[0] for network in (pair.a, pair.b)],
            "highest_logit": {"a": found.placed[0].amax((1, 2)), "b": found.placed[1].amax((1, 2))},
            "rank_correlation": ranks,
            "inside_mask": None if inside is None else {"a": inside[0], "b": inside[1], "object": object_area(batch)},
        },
    )


def _table(
    pair: Pair, batch: Batch, classes: Tensor, found: GradCamPair, ranks: Tensor, inside: list[Tensor] | None
) -> Table:
    columns = [
        Column("picture"),
        Column("class"),
        Column("strongest in A", "logit", True),
        Column("strongest in B", "logit", True),
        Column("rank correlation", "", True),
    ]
    if inside is not None:
        columns += [Column(f"of A {where_word(batch)}", "%", True), Column(f"of B {where_word(batch)}", "%", True)]
    rows: list[tuple[str | float | None, ...]] = []
    for i, name in enumerate(batch.names):
        shares = [] if inside is None else [_known(100 * float(part[i]), 1) for part in inside]
        strongest = [float(f"{float(maps[i].max()):.3g}") for maps in found.placed]
        rows.append((name, pair.classes[int(classes[i])], *strongest, _known(float(ranks[i]), 3), *shares))
    return Table(tuple(columns), tuple(rows))


def _known(value: float, digits: int) -> float | None:
    return round(value, digits) if value == value else None


def _answer(pair: Pair, letter: str, logits: Tensor) -> str:
    return f"{letter} says {pair.classes[int(logits.argmax())]} ({percent(float(logits.softmax(0).max()))})"


def _sample(pair: Pair) -> tuple[Pictures, Tensor]:
    """Pictures that were not chosen for what they show, spread over the labelled ones, and their classes."""
    whole = pair.labelled
    if whole is None or whole.a.labels is None:
        raise TypeError("labelled pictures were expected")
    count = min(len(whole.a), SAMPLED if pair.a.macs + pair.b.macs < 2e9 else pair.preset.pictures)
    # Evenly over the set: a folder begins with its first class.
    chosen = spread(len(whole.a), count)
    return Pictures(picked(whole.a, chosen), picked(whole.b, chosen)), whole.a.labels[chosen]


def _agreement(pair: Pair, side: int, sample: Pictures, classes: Tensor) -> Exhibit:
    """The same numbers over the sample."""
    found, count = grad_cams(pair, sample, classes, side), len(sample.a)
    ranks = rank_correlation(found.placed[0], found.placed[1])
    measured: list[tuple[str, Tensor]] = [("rank correlation of the two maps", ranks)]
    view = sample.b if pair.b.side > pair.a.side else sample.a
    masks, area, on = view.masks, object_area(view), where_word(view)
    thing = "box" if truth_kind(view) == "box" else "object"
    if masks is not None and area is not None:
        inside = [mass_inside(maps, masks) for maps in found.placed]
        measured += [
            (f"share of A's map {on}", inside[0]),
            (f"share of B's map {on}", inside[1]),
            ("B minus A, picture by picture", inside[1] - inside[0]),
            (f"share of the picture that the {thing} covers", area),
        ]
    measured += [
        (f"entropy of {letter}'s map, 1 is flat", map_entropy(maps))
        for letter, maps in zip("AB", found.raw, strict=True)
    ]
    rows = []
    for name, values in measured:
        known = values[~values.isnan()]
        low, high = bootstrap_interval(values, seed=pair.seed)
        rows.append(
            (
                name,
                len(known),
                float(known.mean()) if len(known) else None,
                f"{low:.3f} to {high:.3f}".replace("-", "−") if len(known) else None,
            )
        )
    empty = int((found.placed.amax((2, 3)) <= 0).any(0).sum())
    lines = dict(zip(("rank", "a", "b", "difference", "object"), rows, strict=False))
    said = (
        f"Over {counted(count, 'picture')} the rank correlation of the two maps is {_two(lines['rank'][2])} on average"
    )
    if masks is not None:
        said += f"; {_two(lines['a'][2])} of A's map lies {on}, {_two(lines['b'][2])} of B's, and the {thing} covers {_two(lines['object'][2])} of the picture"
    return Exhibit(
        "compare-agreement",
        "Do they look at the same places?",
        Caption(
            see=f"The same maps for the true class over {counted(count, 'picture')}, spread evenly over the labelled ones instead of chosen, with 95 % intervals by bootstrap.",
            read=f"{said}. A correlation of 1 means that both order the places of a picture alike, 0 that one tells nothing of the other."
            + (
                f" A map that knows nothing has the {thing}'s share of the picture on it: compare with that."
                if masks is not None
                else ""
            )
            + (
                f" Where the objects are is known for {int(view.known.sum()):,} of them."
                if masks is not None and not bool(view.known.all())
                else ""
            ),
            cannot="That evidence lies on the object does not make it the right evidence."
            + (
                f" {counted(empty, 'picture').capitalize()} with an empty map in either network {'is' if empty == 1 else 'are'} left out where a share needs one."
                if empty
                else ""
            ),
        ),
        alt=f"Table of {len(rows)} numbers. {said}.",
        table=Table(
            (Column("what"), Column("pictures", "", True), Column("mean", "", True), Column("95 % interval")),
            tuple(rows),
        ),
        numbers={
            "pictures": count,
            "rows": [{"what": row[0], "n": row[1], "mean": row[2], "interval": row[3]} for row in rows],
            "empty": empty,
        },
    )


def _two(value: object) -> str:
    return f"{value:.2f}".replace("-", "−") if isinstance(value, float) else "unknown"


def _viewer(
    pair: Pair, batch: Batch, said: list[Tensor], asked: dict[str, Tensor], maps: dict[str, GradCamPair]
) -> Exhibit:
    return Exhibit(
        "compare-viewer",
        "Try it: A, B, or B minus A",
        Caption(
            see=f"{counted(len(batch), 'picture').capitalize()} with Grad-CAM of A, of B, or the difference, {_layers_said(pair)}: as multiples of each map's mean (where), or in "
            "logits (how much). Colours span the range of both networks on the picture, so that you can switch between them. The strip names what B says.",
            read="Switch from A to B and back: what moves? Ask about the class that A chose and the one that B chose: is the evidence for the wrong answer in "
            "another place? Point at a cell to see the pixels that it can depend on.",
            cannot=_caveat(pair),
        ),
        alt=f"Interactive viewer of {counted(len(batch), 'picture')} with the maps of both networks and their difference; the figure below shows the same.",
        numbers={
            "pictures": batch.names,
            "layers": {
                n.letter: {"layer": n.report_layer()[0], "why": str(n.report_layer()[1])} for n in (pair.a, pair.b)
            },
        },
        viewer=payload_json(payload(pair, batch, said, asked, maps)),
    )
