"""What was learned and forgotten on the way: epoch by epoch, class by class, and the pictures themselves."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.pictures import Told, picture_rows
from vgg_viz.figures.timeline import learned_and_forgotten
from vgg_viz.gallery.sections import section
from vgg_viz.number_text import counted, listed
from vgg_viz.records import Caption, Column, Exhibit, Finding, Table
from vgg_viz.studies.epochs import Walk

MOST_CLASSES = 20  # in the figure; the table has all
ROW = 6  # photographs in a row


@section(
    "learning",
    study="timeline",
    title="Learned and forgotten",
    order=30,
    when=lambda walk: walk.material.labelled is not None,
    lead="A network does not only learn: which answers came, which went, and which came back?",
)
def flips(walk: Walk) -> Iterator[Exhibit | Finding]:
    """The figure of all pictures, the table of classes, and the pictures that were forgotten most often or never came."""
    labels = walk.labels
    events = walk.learned.times_forgotten
    often = int((events > 0).sum())
    if often:
        counts = _by_class(labels, events, len(walk.classes))
        worst = int(counts.argmax())
        yield Finding(
            "note",
            f"{counted(often, 'picture').capitalize()} of {len(labels):,} {'was' if often == 1 else 'were'} right in some epoch and wrong in a later "
            f"one; most of this happened to {walk.classes[worst]} ({counted(int(counts[worst]), 'time')}).",
        )
    else:
        yield Finding(
            "note", f"None of the {len(labels):,} pictures was ever forgotten: what was right once stayed right."
        )
    yield _figure(walk)
    if often or bool((walk.learned.final < 0).any()):
        yield _pictures(walk)


def _by_class(labels: Tensor, values: Tensor, classes: int) -> Tensor:
    return torch.zeros(classes, dtype=torch.long).index_add(0, labels, values.long())


def _figure(walk: Walk) -> Exhibit:
    found, labels, right = walk.learned, walk.labels, walk.right
    classes = len(walk.classes)
    per = torch.bincount(labels, minlength=classes)
    accuracy = torch.stack([_by_class(labels, row, classes) for row in right.int()]).double() / per
    events = _by_class(labels, found.times_forgotten, classes)
    present = [k for k in events.argsort(descending=True, stable=True).tolist() if per[k] > 0]
    shown = sorted(present[:MOST_CLASSES])
    learned, forgotten = found.learned.sum(1), found.forgotten.sum(1)
    left = (
        ""
        if len(shown) == len(present)
        else f" The {MOST_CLASSES} classes with the most forgetting are shown, the table has all {len(present)}."
    )
    always = int(right.all(0).sum())
    never = int((~right).all(0).sum())
    end = int((found.final >= 0).sum())
    latest = max(_median_final(walk, k) for k in shown)
    slow = [walk.classes[k] for k in shown if _median_final(walk, k) == latest]
    named = listed([*slow[:3], *([f"{len(slow) - 3} more"] if len(slow) > 3 else [])])
    came = (
        f"Half of the pictures of {named} stay right only from epoch {int(latest)} on, later than of any other."
        if latest <= walk.epochs[-1]
        else f"Of {named} fewer than half of the pictures are right in the end and stayed so."
    )
    return Exhibit(
        "timeline-learning",
        "Learned and forgotten",
        Caption(
            see=f"Above, how many of {counted(len(labels), 'picture')} became right or wrong between one kept epoch and the next. Below, the accuracy of every class in every "
            f"epoch, brighter is better.{left}",
            read=f"{counted(end, 'picture').capitalize()} end right; {counted(always, 'picture')} {'was' if always == 1 else 'were'} right in every epoch, from the first on, and "
            f"{counted(never, 'picture')} in none. {came} A class that loses where another wins at the same epoch: the network has moved "
            "the line between the two.",
            cannot=f"Before training an answer is right by luck, about once in {classes}: a picture that was right in epoch 0 and then wrong counts as forgotten all the same. What "
            "happens between two kept epochs is not seen.",
        ),
        alt=f"Bars of pictures learned and forgotten over {counted(len(walk.epochs), 'epoch')}, and the accuracy of {counted(len(shown), 'class', 'classes')} by epoch; "
        f"{int(learned.sum()):,} learnings and {int(forgotten.sum()):,} forgettings in all.",
        figure=learned_and_forgotten(
            learned.numpy(), forgotten.numpy(), [walk.classes[k] for k in shown], accuracy.T[shown].numpy(), walk.epochs
        ),
        table=_table(walk, per, events, present),
        numbers={
            "epochs": walk.epochs,
            "pictures": len(labels),
            "learned": learned,
            "forgotten": forgotten,
            "always_right": always,
            "never_right": never,
            "right_at_the_end": end,
            "classes": [
                {"class": walk.classes[k], "pictures": per[k], "forgotten": events[k], "accuracy": accuracy[:, k]}
                for k in present
            ],
        },
    )


def _median_final(walk: Walk, k: int) -> float:
    """Epoch from which on the middle picture of a class stayed right; beyond the last where it never came."""
    final = walk.learned.final[walk.labels == k]
    epochs = torch.tensor([*walk.epochs, walk.epochs[-1] + 1])
    return float(epochs[final].sort().values[(len(final) - 1) // 2])


def _table(walk: Walk, per: Tensor, events: Tensor, present: list[int]) -> Table:
    columns = (
        Column("class"),
        Column("pictures", "", True),
        Column("right at the end", "%", True),
        Column("times forgotten", "", True),
        Column("half of them right for good from epoch", "", True),
        Column("never right", "", True),
    )
    rows = []
    for k in sorted(present):
        own = walk.labels == k
        half = _median_final(walk, k)
        never = int((~walk.right[:, own]).all(0).sum())
        share = 100 * float((walk.learned.final[own] >= 0).double().mean())
        rows.append(
            (
                walk.classes[k],
                int(per[k]),
                round(share, 1),
                int(events[k]),
                int(half) if half <= walk.epochs[-1] else None,
                never,
            )
        )
    return Table(columns, tuple(rows))


def _pictures(walk: Walk) -> Exhibit:
    found, labels = walk.learned, walk.labels
    events = found.times_forgotten
    often = [i for i in events.argsort(descending=True, stable=True).tolist() if events[i] > 0][:ROW]
    confidence = walk.answers[-1].softmax(1).amax(1)
    lost = (~walk.right[-1]).nonzero()[:, 0]
    wrong = lost[confidence[lost].argsort(descending=True, stable=True)].tolist()[:ROW]
    rows = [
        (f"forgotten most often, of {int((events > 0).sum()):,} that were forgotten", [_told(walk, i) for i in often]),
        (f"wrong at the end and surest of it, of {len(lost):,}", [_told(walk, i) for i in wrong]),
    ]
    chosen = list(dict.fromkeys([*often, *wrong]))
    return Exhibit(
        "timeline-pictures",
        "The pictures that flipped",
        Caption(
            see="Held-out pictures that changed sides most often, and those that the last network is wrong about and surest. Below each: its true class; one mark an epoch "
            f"({walk.epochs[0]} to {walk.epochs[-1]}{', of ' + str(len(walk.epochs)) + ' kept' if len(walk.epochs) > 12 else ''}), ● right and ○ wrong; when it was first right and from when on for good.",
            read="Is it the picture that is hard (small, cut off, in bad light, or with a wrong label), or a class that another one pulls at? Pictures with a wrong label are "
            "often among those that flip.",
            cannot="Forgetting is counted between kept epochs and on pictures that were not trained on: a picture near the line between two classes flips without "
            "anything having been lost.",
        ),
        alt=f"{counted(len(often), 'picture')} that were forgotten most often and {counted(len(wrong), 'picture')} that are wrong at the end.",
        figure=picture_rows(rows),
        kind="picture",
        numbers={
            "pictures": [
                {
                    "name": walk.labelled.names[i],
                    "class": walk.classes[int(labels[i])],
                    "right": walk.right[:, i],
                    "times_forgotten": events[i],
                    "first_right": _epoch(walk, found.first[i]),
                    "right_for_good": _epoch(walk, found.final[i]),
                    "said_last": walk.classes[int(walk.answers[-1, i].argmax())],
                }
                for i in chosen
            ]
        },
    )


def _epoch(walk: Walk, place: Tensor) -> int | None:
    return walk.epochs[int(place)] if int(place) >= 0 else None


def _told(walk: Walk, i: int) -> Told:
    first, final = (_epoch(walk, place[i]) for place in (walk.learned.first, walk.learned.final))
    step = -(-len(walk.epochs) // 14)  # the marks must fit below the photo
    marks = "".join("●" if bool(good) else "○" for good in walk.right[::step, i])
    lines: list[tuple[str, bool | None]] = [(walk.classes[int(walk.labels[i])], None), (marks, None)]
    if first is not None:
        lines.append((f"first right in epoch {first}", None))
    said = walk.classes[int(walk.answers[-1, i].argmax())]
    lines.append((f"for good from {final}", True) if final is not None else (f"at the end: {said}", False))
    return pixels(walk.labelled.images[i : i + 1])[0], lines
