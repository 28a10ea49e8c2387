"""What a network answered to labelled pictures, and which of these pictures are worth a look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from vgg_viz.maths.judgement import Measured, judge
from vgg_viz.maths.metrics import confusion_counts
from vgg_viz.maths.outputs import meaning
from vgg_viz.records import Batch

SUREST = 3  # mistakes of one kind among which the picture with the most contrast is taken


@dataclass(frozen=True)
class Answers:
    """What the network said about labelled pictures, each of one class.

    outputs        what the logits mean: "softmax", or "sigmoid" where one decides between two classes
    logits         (N, K); probabilities (N, K); predicted (N,); confidence (N,) probability of the predicted class
    correct        (N,) bool
    """

    batch: Batch
    labels: Tensor
    logits: Tensor
    outputs: str = "softmax"

    @cached_property
    def probabilities(self) -> Tensor:
        """Of the classes."""
        return meaning(self.logits, self.outputs)

    @cached_property
    def predicted(self) -> Tensor:
        """The likeliest class."""
        return self.logits.argmax(1)

    @cached_property
    def confidence(self) -> Tensor:
        """(N,) probability of the predicted class."""
        return self.probabilities.amax(1)

    @cached_property
    def correct(self) -> Tensor:
        """(N,) bool: whether the predicted class is the true one."""
        return self.predicted == self.labels


def choose_images(answers: Answers, count: int, *, mistakes: int | None = None, first: Sequence[int] = ()) -> list[int]:
    """Which labelled pictures to look into: right ones of each class in turn, then the most confident mistakes.

    mistakes  how many of them are wrong answers; None: half; more where too few are right
    first     places that are taken in any case, the right ones and the mistakes each before all others

    Mistakes teach most, but only beside successes; no picture is chosen for the beauty of its map.
    """
    order = [*first, *(i for i in answers.confidence.argsort(descending=True, stable=True).tolist() if i not in first)]
    most_wrong = max(count // 2 if mistakes is None else mistakes, count - int(answers.correct.sum()))
    wrong = [i for i in order if not answers.correct[i]][:most_wrong]
    # Right ones in the order of the file, each class in turn: "right" must not mean "the easiest".
    turn: Counter[int] = Counter()
    ranked = []
    for i in sorted(range(len(answers.labels)), key=lambda i: (i not in first, i)):
        if answers.correct[i]:
            label = int(answers.labels[i])
            ranked.append((i not in first, turn[label], i))
            turn[label] += 1
    right = [i for *_, i in sorted(ranked)][: count - len(wrong)]
    return sorted(right) + wrong


def select_images(batch: Batch, indices: list[int]) -> Batch:
    """The pictures at `indices`, in that order."""
    return Batch(
        batch.images[indices],
        None if batch.labels is None else batch.labels[indices],
        tuple(batch.names[i] for i in indices),
        None if batch.masks is None else batch.masks[indices],
        boxed=None if batch.boxed is None else batch.boxed[indices],
        box_note=batch.box_note,
        targets=None if batch.targets is None else batch.targets[indices],
    )


def evenly_spaced(count: int, most: int) -> list[int]:
    """Which `most` of `count` pictures, or of other things in an order: the first, the last, and evenly between; each once."""
    return sorted({round(i * (count - 1) / max(1, most - 1)) for i in range(most)})


def telling_mistake(answers: Answers, classes: Sequence[str]) -> int | None:
    """The place of the mistake that says most: of a failing class its most frequent wrong answer, else of the most frequent confusion.

    Among the surest of these the picture with the most contrast, so that one can see it. None where nothing is wrong.
    """
    if bool(answers.correct.all()):
        return None
    counts = confusion_counts(answers.predicted, answers.labels, len(classes))
    wrong = counts.clone().fill_diagonal_(0)
    failing = next((one for one in judge(Measured(counts.tolist(), classes)).findings if one.key == "class"), None)
    if failing is not None:
        name = failing.evidence["rows"][0].name
        true = next(at for at in range(len(classes)) if classes[at] == name and wrong[at].any())
        predicted = int(wrong[true].argmax())
    else:
        true, predicted = divmod(int(wrong.flatten().argmax()), len(classes))
    of_kind = ((answers.labels == true) & (answers.predicted == predicted)).nonzero()[:, 0]
    surest = of_kind[answers.confidence[of_kind].argsort(descending=True, stable=True)[:SUREST]]
    return int(surest[answers.batch.images[surest].flatten(1).std(1).argmax()])


def right_example(answers: Answers, mistake: int | None) -> int | None:
    """The place of a right answer to set beside the mistake: of the class that was predicted there, the middle one by confidence.

    Without such, or without a mistake, the middle one of all right answers; None where nothing is right.
    """
    right = answers.correct
    if mistake is not None and bool((right & (answers.predicted == answers.predicted[mistake])).any()):
        right = right & (answers.predicted == answers.predicted[mistake])
    places = right.nonzero()[:, 0]
    if not len(places):
        return None
    order = answers.confidence[places].argsort(descending=True, stable=True)
    return int(places[order[len(order) // 2]])
