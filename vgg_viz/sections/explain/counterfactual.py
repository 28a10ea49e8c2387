"""What had to go until the answer changed, shown."""

from __future__ import annotations

from collections.abc import Iterator

from vgg_viz.attribution.method import METHODS
from vgg_viz.errors import NotForThisNetwork
from vgg_viz.figures.explanation import HiddenRegion, RemovalPath, removal_curves
from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.style import number
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.records import Column, Exhibit, Table
from vgg_viz.sections.explain.summary import by_chance, method_at_layer, name_of, removed
from vgg_viz.studies.perturbation_path import Path as Measured
from vgg_viz.studies.perturbation_path import Removal
from vgg_viz.studies.picture import Explanation

TEXTS = Texts(__name__)


@section(
    "removal",
    study="explanation",
    order=30,
    when=lambda explanation: explanation.removal is not None or left_out(explanation),
)
def counterfactual(explanation: Explanation) -> Iterator[Exhibit]:
    """The path from the answer to another one; raises NotForThisNetwork where the network gives a picture no one answer."""
    if left_out(explanation):
        raise NotForThisNetwork(TEXTS.say("missing.no_choice", noun=explanation.noun))
    shown, removal = hidden(explanation), explanation.removal
    if shown is None or removal is None:
        return
    names = [name_of(explanation, index) for index in (removal.answer, removal.expected)]
    text = TEXTS.exhibit(
        "removal",
        names=names,
        orders=len(removal.by_chance),
        removed=removed(explanation),
        others=[(METHODS[name].title, other.share) for name, other in explanation.others.items()],
        cover=removal.cover,
        blur=number(removal.blur),
        grain=removal.grain,
    )
    yield Exhibit(
        "explain-removal",
        text.title,
        text.caption,
        text.alt,
        figure=removal_curves(
            shown,
            title=TEXTS.say("removal.figure"),
            subtitle=TEXTS.say("removal.figure_order", method=method_at_layer(explanation, explanation.leading)),
        ),
        table=Table(
            (
                Column("order"),
                Column("hidden", "%", True),
                Column(names[0], "%", True),
                Column(names[1], "%", True),
                Column("the network says"),
            ),
            tuple(_row(explanation, removal, place) for place in range(len(removal.by_map.shares))),
        ),
        numbers={
            "share": removal.share,
            "becomes": removal.becomes,
            "chance_shares": removal.chance_shares,
            "by_chance": by_chance(removal),
            "cover": removal.cover,
            "blur_px": removal.blur,
            "passes": removal.passes,
            "shares_by_method": {
                explanation.leading: removal.share,
                **{name: other.share for name, other in explanation.others.items()},
            },
            "shares": removal.by_map.shares,
            "predicted": removal.by_map.probabilities[:, removal.answer],
            "expected": removal.by_map.probabilities[:, removal.expected],
            "answers": removal.by_map.answers,
        },
    )


def left_out(explanation: Explanation) -> bool:
    """Whether the path would have been asked for, but there is no one answer that could change."""
    return explanation.noun != "class" and explanation.preset != "quick" and explanation.question.unit is None


def hidden(explanation: Explanation) -> HiddenRegion | None:
    """The measured path as the figures show it, or None where nobody asked."""
    removal = explanation.removal
    if removal is None:
        return None
    share = 1.0 if removal.share is None else removal.share
    place = -1 if removal.share is None else removal.by_map.changed(removal.answer) or 0
    index = int(removal.by_map.answers[place])
    return HiddenRegion(
        region=(removal.rank < share).numpy(),
        picture=pixels(removal.hidden[None].cpu())[0],
        share=removal.share,
        cover=removal.cover,
        answer=(explanation.classes[index], float(removal.by_map.probabilities[place, index])),
        names=(explanation.classes[removal.answer], explanation.classes[removal.expected]),
        by_map=_path(removal, removal.by_map),
        by_chance=[_path(removal, path) for path in removal.by_chance],
    )


def _path(removal: Removal, path: Measured) -> RemovalPath:
    answer, expected = (path.probabilities[:, index].numpy() for index in (removal.answer, removal.expected))
    return RemovalPath(path.shares.numpy(), answer, expected)


def _row(explanation: Explanation, removal: Removal, place: int) -> tuple[str | float, ...]:
    """One step of the map's order."""
    path = removal.by_map
    chances = [100 * float(path.probabilities[place, index]) for index in (removal.answer, removal.expected)]
    return ("the map's", 100 * float(path.shares[place]), *chances, explanation.classes[int(path.answers[place])])
