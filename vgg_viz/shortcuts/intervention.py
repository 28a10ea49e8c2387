"""The one experiment on a region: every donor's is carried onto every recipient, and donors of a class are held against all others.

The null: a network that does not look there treats both alike, whoever the donors are. So their labels may be exchanged, and the
difference must stand out among the differences after thousands of exchanges. Nothing is assumed about how scores are distributed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vgg_viz.capture.predict import predict_logits
from vgg_viz.shortcuts.region import Region, transplant

AT_ONCE = 128 * 64 * 64  # pixels of pictures that are made and answered together: 128 of 64 px, 10 of 224
ROUNDS = 4999  # exchanges of the donors' labels
CERTAIN = 0.02  # p of a finding, after multiplying by the number of suspects that were tried
LEAST = 0.5  # log-odds that a region must move beyond its control [logit]: a certain trifle is no finding
TURNED = 0.05  # share of pictures that a finding turns beyond its control, or any that is clearly more than none


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures that play one part.

    Attributes:
        images: (N, C, S, S).
        labels: (N,) class each shows.
        masks: (N, S, S) bool, or None.
        places: (N,) where they lie among all audited pictures.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor | None
    places: Tensor

    def part(self, chosen: Tensor) -> Group:
        """Some of them, by index."""
        masks = None if self.masks is None else self.masks[chosen]
        return Group(self.images[chosen], self.labels[chosen], masks, self.places[chosen])

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Shift:
    """What a transplant did, for every donor, recipient and class.

    Attributes:
        odds: (D, R, K) change of the class's log-odds [logit].
        turn: (D, R, K) 1 where the recipient was not called by the class before and is now, -1 for the opposite, else
            0.
    """

    odds: Tensor
    turn: Tensor


@dataclass(frozen=True, slots=True)
class ClassShift:
    """One class's share of a `Shift`, on recipients of other classes.

    Attributes:
        own: (D,) bool: donors of the class.
        odds: (D, R') change of log-odds [logit].
        turn: (D, R') turns.
    """

    own: Tensor
    odds: Tensor
    turn: Tensor


@dataclass(frozen=True, slots=True)
class Verdict:
    """What transplants said about one region and one class.

    Attributes:
        turned: Share of recipients of other classes that turn into the class, net of those that turn away, with the
            region of the class's pictures, [-1, 1].
        control: The same with that region of pictures of other classes, [-1, 1].
        effect: `turned` - `control`.
        interval: 95 % of the effect, by bootstrap over donors and recipients.
        odds: The same difference in log-odds [logit].
        moved: Log-odds that the class's own region moves by itself, compared with nothing [logit].
        p: Share of exchanges of the donors' labels that reach that difference, (0, 1].
        donors: How many of the class, and of others.
        recipients: How many.
    """

    turned: float
    control: float
    effect: float
    interval: tuple[float, float]
    odds: float
    moved: float
    p: float
    donors: tuple[int, int]
    recipients: int

    def grade(self, tried: int) -> Literal["finding", "leaning", "nothing"]:
        """Whether the class is known by the region, leans on it, or neither; `tried` suspects share one chance of error.

        Its own region must move the class: where one class has a mark, the others stand out by not having it. On photographs half
        of the classes lean on their colours, by about a logit; what turns hardly a picture is no shortcut.
        """
        if self.p * tried > CERTAIN or min(self.odds, self.moved) < LEAST:
            return "nothing"
        return "leaning" if self.effect < TURNED and self.interval[0] <= 0 else "finding"


def intervene(  # noqa: PLR0913 - an experiment: a network, a region, who gives, who receives, the class
    model: nn.Module, region: Region, donors: Group, recipients: Group, wanted: int, *, seed: int = 0
) -> tuple[ClassShift, Verdict] | None:
    """Carry a region from all donors to all recipients, and judge what it does for class `wanted`.

    Args:
        model: The network, which is left as it was.
        region: What is carried.
        donors: Of the class and of others; recipients of the class are left out.
        recipients: Pictures that receive it.
        wanted: The class that it is about, by index.
        seed: Of the exchanges and the bootstrap.

    Returns:
        Every donor's effect on every recipient, and the verdict; None where either kind of donors or recipients is
            lacking.
    """
    read = shift_of_class(transplant_shift(model, region, donors, recipients), donors.labels, recipients.labels, wanted)
    if not read.own.any() or read.own.all() or not read.turn.shape[1]:
        return None
    return read, permutation_test(read, seed=seed)


def transplant_shift(model: nn.Module, region: Region, donors: Group, recipients: Group) -> Shift:
    """Transplant `region` from all donors to all recipients, on the model's device, and compare the answers with those before."""
    device = next(model.parameters()).device
    before = predict_logits(model, recipients.images)
    images = recipients.images.to(device)
    kept = None if donors.masks is None or recipients.masks is None else recipients.masks.to(device)
    step = max(1, AT_ONCE // (images.shape[-1] ** 2 * max(1, len(recipients))))
    answers = []
    for start in range(0, len(donors), step):
        part = slice(start, start + step)
        masks = None if kept is None or donors.masks is None else (donors.masks[part].to(device), kept)
        made = transplant(region, donors.images[part].to(device), images, masks)
        answers.append(predict_logits(model, made.flatten(0, 1)).reshape(*made.shape[:2], -1))
    after = torch.cat(answers)
    classes = torch.arange(before.shape[1])
    answered = [(logits.argmax(-1, keepdim=True) == classes).float() for logits in (before, after)]
    return Shift(log_odds(after) - log_odds(before), answered[1] - answered[0])


def log_odds(logits: Tensor) -> Tensor:
    """Each class's score against all others together: log p / (1 - p), (..., K) [logit]."""
    total = logits.double()
    # The others' sum class by class: subtracting from the total would cancel where one class has it all.
    eye = torch.eye(total.shape[-1], dtype=torch.bool)
    others = total[..., None, :].masked_fill(eye, -torch.inf).logsumexp(-1)
    odds: Tensor = (total - others).float()
    return odds


def shift_of_class(shift: Shift, donor_labels: Tensor, recipient_labels: Tensor, wanted: int) -> ClassShift:
    """What `found` says about class `wanted`; recipients that show it are left out."""
    others = (recipient_labels != wanted).nonzero()[:, 0]
    return ClassShift(donor_labels == wanted, shift.odds[:, others, wanted], shift.turn[:, others, wanted])


def effect_of(read: ClassShift) -> tuple[float, float]:
    """What donors of the class do beyond all others: share of recipients turned [-1, 1], and log-odds [logit]."""
    turn, odds = read.turn.mean(1), read.odds.mean(1)
    return float(turn[read.own].mean() - turn[~read.own].mean()), float(odds[read.own].mean() - odds[~read.own].mean())


def standing_out(read: ClassShift) -> float:
    """The difference of mean log-odds in units of its standard error: quick, for choosing what to try [standard errors]."""
    both = read.odds.mean(1)
    own, rest = both[read.own], both[~read.own]
    if len(own) < 2 or len(rest) < 2:
        return 0.0
    error = (own.var() / len(own) + rest.var() / len(rest)).sqrt()
    return float((own.mean() - rest.mean()) / error.clamp(min=1e-9))


def permutation_test(read: ClassShift, *, rounds: int = ROUNDS, seed: int = 0) -> Verdict:
    """The verdict on one reading; at least one donor of the class, one of others and one recipient."""
    effect, odds = effect_of(read)
    turned, control = float(read.turn[read.own].mean()), float(read.turn[~read.own].mean())
    return Verdict(
        turned,
        control,
        effect,
        _interval(read.turn[read.own], read.turn[~read.own], seed),
        odds,
        float(read.odds[read.own].mean()),
        _exchanged(read, rounds, seed),
        (int(read.own.sum()), int((~read.own).sum())),
        read.turn.shape[1],
    )


def _exchanged(read: ClassShift, rounds: int, seed: int) -> float:
    """One-sided p of the difference of mean log-odds, under exchange of the donors' labels; the true order counts as one of them."""
    values, own = read.odds.double().mean(1), int(read.own.sum())
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(rounds, len(values), generator=generator).argsort(dim=1)[:, :own]
    # The sum of the class's donors orders exchanges as the difference of means does.
    sums = values[chosen].sum(1)
    return float(((sums >= values[read.own].sum() - 1e-9).sum() + 1) / (rounds + 1))


def _interval(first: Tensor, second: Tensor, seed: int, rounds: int = 1000) -> tuple[float, float]:
    generator = torch.Generator().manual_seed(seed)
    columns = torch.randint(first.shape[1], (rounds, first.shape[1]), generator=generator)
    drawn = []
    for turn in (first, second):
        rows = torch.randint(len(turn), (rounds, len(turn)), generator=generator)
        counts = torch.zeros(rounds, len(turn)).scatter_add_(1, rows, torch.ones(rounds, len(turn))) / len(turn)
        drawn.append((counts @ turn).gather(1, columns).mean(1))
    low, high = (drawn[0] - drawn[1]).double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
