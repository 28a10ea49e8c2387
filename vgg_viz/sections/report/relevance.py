"""Relevance: layer-wise relevance propagation down to the pixels, and the ledger of what each layer kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vgg_viz.attribution import methods
from vgg_viz.attribution.lrp.conservation import Ledger, ledger
from vgg_viz.attribution.methods.lrp import PRESETS
from vgg_viz.errors import InputRefused, SectionMissing
from vgg_viz.figures.attention import Row, methods_side_by_side
from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.ledger import LedgerPanel, relevance_ledger
from vgg_viz.figures.style import number
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.heatmaps import attribution_scale, painted
from vgg_viz.models.geometry import fields_of
from vgg_viz.number_text import counted
from vgg_viz.records import Attribution, Column, Exhibit, Table
from vgg_viz.sections.report.activations import answer_line, require_inspected
from vgg_viz.studies.answers import evenly_spaced, select_images
from vgg_viz.studies.preset import LARGE_GIGAMACS
from vgg_viz.studies.subject import Inspected, Subject

TEXTS = Texts(__name__)
EVERY = (*(f"lrp_{name}" for name in PRESETS), "deep_lift", "class_score_map")
FEW = ("lrp_epsilon_gamma_box", "lrp_epsilon_plus_flat")  # of a large network, unless everything was asked for
PASSING = (
    "normalise",
    "pool",
    "avgpool",
    "lrn",
)  # layers that hand all of it on, or nearly: in the numbers, not in the figure


@section("relevance", study="report", order=85, chapter="depth", needs="scores")
def relevance(subject: Subject) -> Iterator[Exhibit]:
    """Maps of relevance side by side, and the ledger of one picture."""
    inspected = require_inspected(subject)
    large = sum(row.macs for row in subject.geometry) > LARGE_GIGAMACS * 1e9 and subject.preset.name != "full"
    names = FEW if large else EVERY
    try:
        shown = evenly_spaced(len(inspected.batch), max(1, subject.preset.rows // 2))
        maps = {name: _maps_of(subject, inspected, name, shown) for name in names}
        # A VGG at its own size has one place, and its map of class scores is one number.
        maps = {name: attribution for name, attribution in maps.items() if attribution.values[0].numel() > 1}
        image, predicted = inspected.batch.images[:1].to(subject.device), inspected.predicted[:1].to(subject.device)
        ledgers = [
            ledger(subject.model, image, predicted, preset=name.removeprefix("lrp_"))
            for name in names
            if name.startswith("lrp_")
        ]
    except InputRefused as refused:
        raise SectionMissing(TEXTS.say("missing.refused", reason=refused)) from refused
    yield _maps(subject, inspected, maps, shown)
    yield _ledger(subject, inspected, ledgers)


def _maps_of(subject: Subject, inspected: Inspected, name: str, shown: list[int]) -> Attribution:
    """The maps of the pictures that are shown, from those of all pictures where the attention section has them already."""
    if name not in subject.preset.methods:
        return subject.maps.attribute(
            select_images(inspected.batch, shown), name, inspected.predicted[shown], target="predicted"
        )
    of_all = subject.maps.attribute(inspected.batch, name, inspected.predicted, target="predicted")
    return replace(of_all, values=of_all.values[shown], targets=of_all.targets[shown])


def _maps(subject: Subject, inspected: Inspected, maps: dict[str, Attribution], chosen: list[int]) -> Exhibit:
    photos, titles = pixels(inspected.batch.images), methods()
    rows = []
    for row, i in enumerate(chosen):
        panels = []
        for name, attribution in maps.items():
            values = painted(
                attribution.values[row : row + 1].float().cpu(),
                attribution.layer,
                fields_of(subject.geometry),
                photos[i].shape[:2],
            )
            panels.append(
                (titles[name].title, values[0].numpy(), attribution_scale(values, attribution, over="this map"))
            )
        mask = None if inspected.batch.masks is None else inspected.batch.masks[i].numpy()
        rows.append(Row(photos[i], panels, answer_line(subject.classes, inspected, i), mask))
    sums = {name: [float(values.double().sum()) for values in attribution.values] for name, attribution in maps.items()}
    scores = [float(inspected.logits[i].max()) for i in chosen]
    least, most = (
        end((sums[name][0] / scores[0], titles[name].title) for name in sums if name.startswith("lrp_"))
        for end in (min, max)
    )
    text = TEXTS.exhibit(
        "maps",
        pictures=len(chosen),
        maps=len(maps),
        deep_lift="deep_lift" in maps,
        class_score_map="class_score_map" in maps,
        sums=TEXTS.say("phrases.sums", pictures=len(chosen), least=least, most=most),
    )
    return Exhibit(
        "relevance-maps",
        text.title,
        text.caption,
        text.alt,
        figure=methods_side_by_side(
            rows,
            alone=[titles[name].title for name, attribution in maps.items() if attribution.layer is None],
            title=f"The score of the predicted class, shared out in {counted(len(maps), 'way')}",
        ),
        kind="picture",
        numbers={"pictures": [inspected.batch.names[i] for i in chosen], "scores": scores, "sums": sums},
    )


def _ledger(subject: Subject, inspected: Inspected, ledgers: Sequence[Ledger]) -> Exhibit:
    predicted, score = subject.classes[int(inspected.predicted[0])], float(ledgers[0].score[0])
    drawn = [_drawn(book) for book in ledgers]
    reached = {PRESETS[book.preset].title: float(book.reached[0]) for book in ledgers}
    kept = [
        (float(amount), layer, by_biases, PRESETS[book.preset].title)
        for book in ledgers
        for by_biases, column in ((True, book.bias[0]), (False, book.epsilon[0]))
        for layer, amount in zip(book.layers, column, strict=True)
    ]
    amount, layer, by_biases, rules = max(kept, key=lambda entry: abs(entry[0]))
    gap = max(float(max(book.gap.abs().max(), book.between.abs().max())) for book in ledgers)
    text = TEXTS.exhibit(
        "ledger",
        score=number(score),
        predicted=predicted,
        picture=inspected.batch.names[0],
        arrived=TEXTS.say("phrases.arrived", reached=reached),
        largest=TEXTS.say(
            "phrases.largest",
            layer=layer,
            rules=rules,
            by_biases=by_biases,
            kept=amount >= 0,
            amount=number(abs(amount)),
        ),
        gap=number(gap, digits=1),
        layers=len(ledgers[0].layers),
        rule_sets=len(ledgers),
    )
    return Exhibit(
        "relevance-ledger",
        text.title,
        text.caption,
        text.alt,
        figure=relevance_ledger(
            drawn,
            title=f"Where the score of {number(score)} for {predicted} goes",
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
                for book in ledgers
                for n, (layer, rule) in enumerate(zip(book.layers, book.rules, strict=True))
                if not layer.rstrip("0123456789").endswith(PASSING)
            ),
        ),
        numbers={
            "picture": inspected.batch.names[0],
            "class": predicted,
            "score": score,
            "gap": gap,
            "books": {
                book.preset: {
                    "layers": book.layers,
                    "rules": book.rules,
                    "reached": float(book.reached[0]),
                    **{name: getattr(book, name)[0].tolist() for name in ("entering", "bias", "epsilon", "leaving")},
                }
                for book in ledgers
            },
        },
    )


def _drawn(book: Ledger) -> LedgerPanel:
    """The lines of the layers with weights."""
    lines = [n for n, layer in enumerate(book.layers) if not layer.rstrip("0123456789").endswith(PASSING)]
    amounts = [column[0, lines].numpy() for column in (book.entering, book.bias, book.epsilon, book.leaving)]
    return LedgerPanel(
        PRESETS[book.preset].title, [book.layers[n] for n in lines], [book.rules[n] for n in lines], *amounts
    )
