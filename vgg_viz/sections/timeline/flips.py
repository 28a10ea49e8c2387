"""What was learned and forgotten on the way: epoch by epoch, class by class, and the pictures themselves."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.pictures import CaptionedPicture, picture_rows
from vgg_viz.figures.timeline import learned_and_forgotten
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.records import Column, Exhibit, Finding, Table
from vgg_viz.studies.epochs import EpochSeries

TEXTS = Texts(__name__)
MOST_CLASSES = 20  # in the figure; the table has all
MOST_NAMED = 3  # classes named in a sentence
ROW = 6  # photographs in a row
MARKS = 14  # signs for epochs that fit below a photograph


@section("learning", study="timeline", order=30, when=lambda epoch_series: epoch_series.inputs.labelled is not None)
def flips(epoch_series: EpochSeries) -> Iterator[Exhibit | Finding]:
    """The figure of all pictures, the table of classes, and the pictures that were forgotten most often or never came."""
    labels, times = epoch_series.labels, epoch_series.learned.times_forgotten
    forgotten = int((times > 0).sum())
    if forgotten:
        by_class = _by_class(labels, times, len(epoch_series.classes))
        worst = int(by_class.argmax())
        text = TEXTS.say(
            "findings.forgotten",
            forgotten=forgotten,
            pictures=len(labels),
            worst=epoch_series.classes[worst],
            times=int(by_class[worst]),
        )
    else:
        text = TEXTS.say("findings.none", pictures=len(labels))
    yield Finding("note", text)
    yield _figure(epoch_series)
    if forgotten or bool((epoch_series.learned.final < 0).any()):
        yield _pictures(epoch_series)


def _by_class(labels: Tensor, values: Tensor, classes: int) -> Tensor:
    return torch.zeros(classes, dtype=torch.long).index_add(0, labels, values.long())


def _figure(epoch_series: EpochSeries) -> Exhibit:
    history, labels, right = epoch_series.learned, epoch_series.labels, epoch_series.right
    classes = len(epoch_series.classes)
    counts = torch.bincount(labels, minlength=classes)
    accuracy = torch.stack([_by_class(labels, row, classes) for row in right.int()]).double() / counts
    events = _by_class(labels, history.times_forgotten, classes)
    present = [k for k in events.argsort(descending=True, stable=True).tolist() if counts[k] > 0]
    shown = sorted(present[:MOST_CLASSES])
    learned, forgotten = history.learned.sum(1), history.forgotten.sum(1)
    always, never = int(right.all(0).sum()), int((~right).all(0).sum())
    end = int((history.final >= 0).sum())
    latest = max(_median_final(epoch_series, k) for k in shown)
    slow = [epoch_series.classes[k] for k in shown if _median_final(epoch_series, k) == latest]
    if len(slow) > MOST_NAMED:
        slow[MOST_NAMED:] = [TEXTS.say("phrases.more", classes=len(slow) - MOST_NAMED)]
    text = TEXTS.exhibit(
        "learning",
        pictures=len(labels),
        epochs=len(epoch_series.epochs),
        classes=classes,
        present=len(present),
        shown=len(shown),
        most=MOST_CLASSES,
        end=end,
        always=always,
        never=never,
        slow=slow,
        since=int(latest) if latest <= epoch_series.epochs[-1] else None,
        learned=int(learned.sum()),
        forgotten=int(forgotten.sum()),
    )
    return Exhibit(
        "timeline-learning",
        text.title,
        text.caption,
        text.alt,
        figure=learned_and_forgotten(
            learned.numpy(),
            forgotten.numpy(),
            [epoch_series.classes[k] for k in shown],
            accuracy.T[shown].numpy(),
            epoch_series.epochs,
        ),
        table=_table(epoch_series, counts, events, present),
        numbers={
            "epochs": epoch_series.epochs,
            "pictures": len(labels),
            "learned": learned,
            "forgotten": forgotten,
            "always_right": always,
            "never_right": never,
            "right_at_the_end": end,
            "classes": [
                {
                    "class": epoch_series.classes[k],
                    "pictures": counts[k],
                    "forgotten": events[k],
                    "accuracy": accuracy[:, k],
                }
                for k in present
            ],
        },
    )


def _median_final(epoch_series: EpochSeries, k: int) -> float:
    """Epoch from which on the middle picture of a class stayed right; beyond the last where it never came."""
    final = epoch_series.learned.final[epoch_series.labels == k]
    epochs = torch.tensor([*epoch_series.epochs, epoch_series.epochs[-1] + 1])
    return float(epochs[final].sort().values[(len(final) - 1) // 2])


def _table(epoch_series: EpochSeries, counts: Tensor, events: Tensor, present: list[int]) -> Table:
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
        own = epoch_series.labels == k
        half = _median_final(epoch_series, k)
        never = int((~epoch_series.right[:, own]).all(0).sum())
        share = 100 * float((epoch_series.learned.final[own] >= 0).double().mean())
        rows.append(
            (
                epoch_series.classes[k],
                int(counts[k]),
                round(share, 1),
                int(events[k]),
                int(half) if half <= epoch_series.epochs[-1] else None,
                never,
            )
        )
    return Table(columns, tuple(rows))


def _pictures(epoch_series: EpochSeries) -> Exhibit:
    labels, times = epoch_series.labels, epoch_series.learned.times_forgotten
    often = [i for i in times.argsort(descending=True, stable=True).tolist() if times[i] > 0][:ROW]
    confidence = epoch_series.answers[-1].softmax(1).amax(1)
    lost = (~epoch_series.right[-1]).nonzero()[:, 0]
    wrong = lost[confidence[lost].argsort(descending=True, stable=True)].tolist()[:ROW]
    rows = [
        (TEXTS.say("rows.forgotten", pictures=int((times > 0).sum())), [_photo(epoch_series, i) for i in often]),
        (TEXTS.say("rows.wrong", pictures=len(lost)), [_photo(epoch_series, i) for i in wrong]),
    ]
    text = TEXTS.exhibit(
        "pictures",
        first_epoch=epoch_series.epochs[0],
        last_epoch=epoch_series.epochs[-1],
        epochs=len(epoch_series.epochs),
        forgotten=len(often),
        wrong=len(wrong),
    )
    return Exhibit(
        "timeline-pictures",
        text.title,
        text.caption,
        text.alt,
        figure=picture_rows(rows),
        kind="picture",
        numbers={
            "pictures": [
                {
                    "name": epoch_series.labelled.names[i],
                    "class": epoch_series.classes[int(labels[i])],
                    "right": epoch_series.right[:, i],
                    "times_forgotten": times[i],
                    "first_right": _epoch(epoch_series, epoch_series.learned.first[i]),
                    "right_for_good": _epoch(epoch_series, epoch_series.learned.final[i]),
                    "said_last": epoch_series.classes[int(epoch_series.answers[-1, i].argmax())],
                }
                for i in dict.fromkeys([*often, *wrong])
            ]
        },
    )


def _epoch(epoch_series: EpochSeries, place: Tensor) -> int | None:
    return epoch_series.epochs[int(place)] if int(place) >= 0 else None


def _photo(epoch_series: EpochSeries, i: int) -> CaptionedPicture:
    """A photograph, and under it its class, a mark for each epoch, and when it was first right and right for good."""
    first, final = (
        _epoch(epoch_series, place[i]) for place in (epoch_series.learned.first, epoch_series.learned.final)
    )
    step = -(-len(epoch_series.epochs) // MARKS)
    marks = "".join("●" if bool(right) else "○" for right in epoch_series.right[::step, i])
    lines: list[tuple[str, bool | None]] = [(epoch_series.classes[int(epoch_series.labels[i])], None), (marks, None)]
    if first is not None:
        lines.append((TEXTS.say("rows.first", epoch=first), None))
    if final is not None:
        lines.append((TEXTS.say("rows.for_good", epoch=final), True))
    else:
        lines.append(
            (TEXTS.say("rows.lost", name=epoch_series.classes[int(epoch_series.answers[-1, i].argmax())]), False)
        )
    return pixels(epoch_series.labelled.images[i : i + 1])[0], lines
