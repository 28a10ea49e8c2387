"""The chapters of a report's page, the cards that several of its figures share, and the closed lines "In depth"."""

from __future__ import annotations

from vgg_viz.gallery.layout import DEPTH, Layout
from vgg_viz.gallery.texts import Texts

TEXTS = Texts(__name__)


def layout() -> Layout:
    """Chapters, cards and closed lines in the order of the page, in the language of the moment."""
    return Layout(
        chapters={
            "mistakes": TEXTS.say("chapter.mistakes"),
            "looks": TEXTS.say("chapter.looks"),
            "training": TEXTS.say("chapter.training"),
            "data": TEXTS.say("chapter.data"),
            "network": TEXTS.say("chapter.network"),
            DEPTH: TEXTS.say("chapter.depth"),
            "made": TEXTS.say("chapter.made"),
        },
        cards={
            "confusion": TEXTS.say("card.confusion"),
            "errors": TEXTS.say("card.errors"),
            "epochs": TEXTS.say("card.epochs"),
            "pictures": TEXTS.say("card.pictures"),
            "filters": TEXTS.say("card.filters"),
            "fields": TEXTS.say("card.fields"),
            "activations": TEXTS.say("card.activations"),
        },
        shelves={
            "tests": TEXTS.say("shelf.tests"),
            "depths": TEXTS.say("shelf.depths"),
            "relevance": TEXTS.say("shelf.relevance"),
            "box": TEXTS.say("shelf.box"),
            "weights": TEXTS.say("shelf.weights"),
            "layers": TEXTS.say("shelf.layers"),
            "methods": TEXTS.say("shelf.methods"),
        },
    )
