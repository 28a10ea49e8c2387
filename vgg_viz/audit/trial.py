"""Is it the region? Donors of a class against donors of all other classes, the same place, the same recipients.

A network that does not look there treats both alike, whoever the donors are: so their labels may be exchanged, and the difference
must stand out among the differences after thousands of exchanges. Nothing is assumed about how scores are distributed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vgg_viz.audit.transplant import Shift


@dataclass(frozen=True, slots=True)
class Verdict:
    """What transplants said about one region and one class.

    turned, control  share of recipients of other classes that turn into the class, net of those that turn away, with the region of
                     the class's pictures, and with the same region of pictures of other classes, [-1, 1]
    effect           turned - control
    interval         95 % of the effect, by bootstrap over donors and recipients
    odds             the same difference in log-odds [logit]
    moved            log-odds that the class's own region moves by itself, compared with nothing [logit]
    p                share of exchanges of the donors' labels that reach that difference, (0, 1]
    donors           how many of the class, and of others
    recipients       how many
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


@dataclass(frozen=True, slots=True)
class Reading:
    """One class's share of a `Shift`, on recipients of other classes.

    own   (D,) bool: donors of the class
    odds  (D, R') change of log-odds [logit]
    turn  (D, R') turns
    """

    own: Tensor
    odds: Tensor
    turn: Tensor


def reading(found: Shift, donor_labels: Tensor, recipient_labels: Tensor, wanted: int) -> Reading:
    """What `found` says about class `wanted`; recipients that show it are left out."""
    others = (recipient_labels != wanted).nonzero()[:, 0]
    return Reading(donor_labels == wanted, found.odds[:, others, wanted], found.turn[:, others, wanted])


def effect_of(read: Reading) -> tuple[float, float]:
    """What donors of the class do beyond all others: share of recipients turned [-1, 1], and log-odds [logit]."""
    turn, odds = read.turn.mean(1), read.odds.mean(1)
    return float(turn[read.own].mean() - turn[~read.own].mean()), float(odds[read.own].mean() - odds[~read.own].mean())


def standing_out(read: Reading) -> float:
    """The difference of mean log-odds in units of its standard error: quick, for choosing what to try [standard errors]."""
    both = read.odds.mean(1)
    own, rest = both[read.own], both[~read.own]
    if len(own) < 2 or len(rest) < 2:
        return 0.0
    error = (own.var() / len(own) + rest.var() / len(rest)).sqrt()
    return float((own.mean() - rest.mean()) / error.clamp(min=1e-9))


def judged(read: Reading, *, rounds: int = 4999, seed: int = 0) -> Verdict:
    """The verdict on one reading; at least one donor of the class, one of others and one recipient."""
    effect, odds = effect_of(read)
    turned, control = float(read.turn[read.own].mean()), float(read.turn[~read.own].mean())
    return Verdict(
        turned, control, effect, _interval(read.turn[read.own], read.turn[~read.own], seed), odds,
        float(read.odds[read.own].mean()), _exchanged(read, rounds, seed),
        (int(read.own.sum()), int((~read.own).sum())), read.turn.shape[1],
    )  # fmt: skip


def _exchanged(read: Reading, rounds: int, seed: int) -> float:
    """One-sided p of the difference of mean log-odds, under exchange of the donors' labels; the true order counts as one of them."""
    values, own = read.odds.double().mean(1), int(read.own.sum())
    dice = torch.Generator().manual_seed(seed)
    chosen = torch.rand(rounds, len(values), generator=dice).argsort(dim=1)[:, :own]
    # The sum of the class's donors orders exchanges as the difference of means does.
    sums = values[chosen].sum(1)
    return float(((sums >= values[read.own].sum() - 1e-9).sum() + 1) / (rounds + 1))


def _interval(first: Tensor, second: Tensor, seed: int, rounds: int = 1000) -> tuple[float, float]:
    dice = torch.Generator().manual_seed(seed)
    columns = torch.randint(first.shape[1], (rounds, first.shape[1]), generator=dice)
    drawn = []
    for turn in (first, second):
        rows = torch.randint(len(turn), (rounds, len(turn)), generator=dice)
        counts = torch.zeros(rounds, len(turn)).scatter_add_(1, rows, torch.ones(rounds, len(turn))) / len(turn)
        drawn.append((counts @ turn).gather(1, columns).mean(1))
    low, high = (drawn[0] - drawn[1]).double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
