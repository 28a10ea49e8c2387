"""Relevance: the score shared out layer by layer, down to the pixels, and the books of who kept what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vgg_viz.attribution import methods
from vgg_viz.attribution.lrp.conservation import Ledger, ledger
from vgg_viz.attribution.methods.lrp import PRESETS
from vgg_viz.errors import InputRefused, SectionMissing
from vgg_viz.figures.attention import Row, methods_side_by_side
from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.ledger import Books, relevance_ledger
from vgg_viz.figures.style import number
from vgg_viz.gallery.sections import section
from vgg_viz.maths.heatmaps import attribution_scale, on_picture
from vgg_viz.models.geometry import fields_of
from vgg_viz.number_text import counted, percent, rows_of
from vgg_viz.records import Attribution, Caption, Column, Exhibit, Table
from vgg_viz.sections.report.activations import answer_line, looked_at
from vgg_viz.studies.preset import LARGE_GIGAMACS
from vgg_viz.studies.subject import Looked, Subject, picked, spread

EVERY = (*(f"lrp_{name}" for name in PRESETS), "deep_lift", "class_score_map")
FEW = ("lrp_epsilon_gamma_box", "lrp_epsilon_plus_flat")  # of a large network, unless everything was asked for
PASSING = (
    "normalise",
    "pool",
    "avgpool",
    "lrn",
)  # layers that hand all of it on, or nearly: in the numbers, not in the figure


@section(
    "relevance",
    study="report",
    title="Relevance, layer by layer",
    order=85,
    lead="A gradient asks what would change. Relevance asks who gets the credit: the score is handed down from layer to layer like money, and "
    "the books say who kept some.",
)
def relevance(subject: Subject) -> Iterator[Exhibit]:
    """Maps of relevance side by side, and the ledger of one picture."""
    looked = looked_at(subject)
    large = sum(row.macs for row in subject.geometry) > LARGE_GIGAMACS * 1e9 and subject.preset.name != "full"
    names = FEW if large else EVERY
    try:
        shown = spread(len(looked.batch), max(1, subject.preset.rows // 2))
        found = {name: _maps_of(subject, looked, name, shown) for name in names}
        image, said = looked.batch.images[:1].to(subject.device), looked.predicted[:1].to(subject.device)
        # A VGG at its own size has one place, and its map of class scores is one number.
        found = {name: maps for name, maps in found.items() if maps.values[0].numel() > 1}
        books = [
            ledger(subject.model, image, said, preset=name.removeprefix("lrp_"))
            for name in names
            if name.startswith("lrp_")
        ]
    except InputRefused as refused:
        raise SectionMissing(f"Relevance cannot be shared out in this network: {refused}") from refused
    yield _maps(subject, looked, found, shown)
    yield _ledger(subject, looked, books)


def _maps_of(subject: Subject, looked: Looked, name: str, shown: list[int]) -> Attribution:
    """The maps of the pictures that are shown, from those of all pictures where the attention section has them already."""
    if name not in subject.preset.methods:
        return subject.maps.attribute(picked(looked.batch, shown), name, looked.predicted[shown], target="predicted")
    every = subject.maps.attribute(looked.batch, name, looked.predicted, target="predicted")
    return replace(every, values=every.values[shown], targets=every.targets[shown])


def _maps(subject: Subject, looked: Looked, found: dict[str, Attribution], chosen: list[int]) -> Exhibit:
    photos, titles = pixels(looked.batch.images), methods()
    rows = []
    for row, i in enumerate(chosen):
        panels = []
        for name, maps in found.items():
            values = on_picture(
                maps.values[row : row + 1].float().cpu(), maps.layer, fields_of(subject.geometry), photos[i].shape[:2]
            )
            panels.append((titles[name].title, values[0].numpy(), attribution_scale(values, maps, over="this map")))
        mask = None if looked.batch.masks is None else looked.batch.masks[i].numpy()
        rows.append(Row(photos[i], panels, answer_line(subject.classes, looked, i), mask))
    sums = {name: [float(values.double().sum()) for values in maps.values] for name, maps in found.items()}
    scores = [float(looked.logits[i].max()) for i in chosen]
    least, most = (
        end((sums[name][0] / scores[0], titles[name].title) for name in sums if name.startswith("lrp_"))
        for end in (min, max)
    )
    share = f"{'On the first picture' if len(chosen) > 1 else 'Here'} the maps of LRP add up to {percent(least[0])} ({least[1]}) to {percent(most[0])} ({most[1]}) of the score."
    places = "class_score_map" in found
    deep = "deep_lift" in found
    apart = " DeepLift shares out the change of the score from a black picture instead." if deep else ""
    apart += (
        " The class-score map stops at the last map of places; it adds up to the score less the last layer's bias."
        if places
        else ""
    )
    return Exhibit(
        "relevance-maps",
        "The score, shared out to the pixels",
        Caption(
            see=f"{rows_of(len(chosen))}; a column is one way of sharing out the score of the predicted class. Red pixels got "
            "relevance that speaks for the class, blue ones relevance against it. LRP columns differ only in their rules: which part of a layer's input "
            f"gets the credit for its output.{apart}",
            read=f"{share} What is missing was kept by biases or dropped on the way; the books below say where. Do the columns agree on the object? Where only one "
            "of them is warm, its rules are the likelier reason.",
            cannot="The rules are choices, not facts: the same network, picture and score give these different maps. That relevance adds up proves "
            "nothing about where it lies: a rule that spreads it evenly adds up as well.",
        ),
        alt=f"{counted(len(chosen), 'picture')} with {counted(len(found), 'map')} of relevance for the predicted class. {share}",
        figure=methods_side_by_side(
            rows,
            alone=[titles[name].title for name, maps in found.items() if maps.layer is None],
            title=f"The score of the predicted class, shared out in {counted(len(found), 'way')}",
        ),
        kind="picture",
        numbers={"pictures": [looked.batch.names[i] for i in chosen], "scores": scores, "sums": sums},
    )


def _ledger(subject: Subject, looked: Looked, books: Sequence[Ledger]) -> Exhibit:
    said, score = subject.classes[int(looked.predicted[0])], float(books[0].score[0])
    drawn = [_drawn(book) for book in books]
    reached = {PRESETS[book.preset].title: float(book.reached[0]) for book in books}
    kept = [
        (float(amount), layer, what, PRESETS[book.preset].title)
        for book in books
        for what, column in (("its biases", book.bias[0]), ("its epsilon", book.epsilon[0]))
        for layer, amount in zip(book.layers, column, strict=True)
    ]
    largest = max(kept, key=lambda entry: abs(entry[0]))
    gap = max(float(max(book.gap.abs().max(), book.between.abs().max())) for book in books)
    arrived = ", ".join(f"{percent(share)} ({title})" for title, share in reached.items())
    verb = "kept" if largest[0] >= 0 else "paid out"
    most = (
        f"The largest entry is at {largest[1]} with {largest[3]}: {largest[2]} {verb} {number(abs(largest[0]))} logit."
    )
    return Exhibit(
        "relevance-ledger",
        "The books: who kept what",
        Caption(
            see=f"What happens to the score of {number(score)} logit that the network gave {said} on the picture {looked.batch.names[0]}, "
            "from the last layer (top) down to the first. The black mark is what came to a layer, the blue bar what it passed on, with its number at the end; between them "
            "lies what its biases kept (orange) and what epsilon swallowed (hatched), the small number that keeps divisions from blowing up. At the right: the layer's rule.",
            read=f"Of the score, {arrived} reached the pixels. {most} A bias that speaks for the class keeps the credit for itself; where it speaks against, it "
            f"pays out, and more goes down than came. Every line balances: what came is what was kept and passed on, to within {number(gap, digits=1)} logit.",
            cannot="Balanced books do not make a map right. They only say how much of the score the map is about: with a share far from 100 %, the pixels "
            "tell a small part of the story, or one blown up by biases.",
        ),
        alt=f"Bars of relevance for {counted(len(books[0].layers), 'layer')} and {counted(len(books), 'set')} of rules; {arrived} of the score reached the pixels.",
        figure=relevance_ledger(
            drawn,
            title=f"Where the score of {number(score)} for {said} goes",
            subtitle="one picture; from the last layer down to the first",
        ),
        table=Table(
            (
                Column("rules"),
                Column("layer"),
                Column("rule"),
                Column("came", "logit", True),
                Column("biases kept", "logit", True),
                Column("epsilon swallowed", "logit", True),
                Column("passed on", "logit", True),
            ),
            tuple(
                (
                    PRESETS[book.preset].title,
                    layer,
                    rule,
                    *(
                        round(float(column[0, n]), 4)
                        for column in (book.entering, book.bias, book.epsilon, book.leaving)
                    ),
                )
                for book in books
                for n, (layer, rule) in enumerate(zip(book.layers, book.rules, strict=True))
                if not layer.rstrip("0123456789").endswith(PASSING)
            ),
        ),
        numbers={
            "picture": looked.batch.names[0],
            "class": said,
            "score": score,
            "gap": gap,
            "books": {
                book.preset: {
                    "layers": book.layers,
                    "rules": book.rules,
                    "reached": float(book.reached[0]),
                    **{name: getattr(book, name)[0].tolist() for name in ("entering", "bias", "epsilon", "leaving")},
                }
                for book in books
            },
        },
    )


def _drawn(book: Ledger) -> Books:
    """The lines of the layers with weights."""
    lines = [n for n, layer in enumerate(book.layers) if not layer.rstrip("0123456789").endswith(PASSING)]
    amounts = [column[0, lines].numpy() for column in (book.entering, book.bias, book.epsilon, book.leaving)]
    return Books(PRESETS[book.preset].title, [book.layers[n] for n in lines], [book.rules[n] for n in lines], *amounts)
