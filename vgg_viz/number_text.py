"""Numbers as a reader wants them, on pages, in figures and in a terminal: shares, counts with their nouns, lists."""

from __future__ import annotations

from collections.abc import Sequence


def percent(share: float, *, decimals: int | None = None) -> str:
    """A share as per cent; a little is never 0 %, and not quite all is never 100 %.

    Args:
        share: [-1, 1]; a net share may be negative.
        decimals: None: one near the ends, else none; a number: always as many, for shares that stand beside each
            other.

    Returns:
        Such as "<0.1 %", "2.3 %", "50 %", "98.5 %", "<100 %"; "–" for NaN.
    """
    if share != share:
        return "–"
    value = 100 * share
    size = abs(value)
    places = (1 if 0 < size < 10 or 90 < size < 100 else 0) if decimals is None else decimals
    below, above = ("<", "") if value > 0 else (">", "−")
    if 0 < size < 0.5 * 10**-places:
        return f"{below}{above}{10**-places:.{places}f} %"
    if 100 - 0.5 * 10**-places <= size < 100:
        return f"{below}{above}100 %"
    return f"{value:.{places}f} %".replace("-", "−")


def value_text(value: float, outputs: str, *, decimals: int | None = None) -> str:
    """What a network says of one output, as a reader wants it: a probability as per cent, a score as a number.

    Args:
        value: [0, 1], or a score.
        outputs: What it means: "softmax", "sigmoid" or "scores".
        decimals: Of per cent, as in `percent`.
    """
    if outputs == "scores":
        return "–" if value != value else f"{value:.4g}".replace("-", "−")
    return percent(value, decimals=decimals)


def chosen(noun: str) -> str:
    """What stands first among outputs of a kind: "predicted class", "strongest label", "largest score"."""
    return f"{ {'class': 'predicted', 'label': 'strongest', 'score': 'largest'}[noun] } {noun}"


def counted(count: int, noun: str, several: str = "") -> str:
    """A number with its noun: "1 picture", "2,000 pictures", "no pictures"; `several` where an s is not enough."""
    many = several or f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}" if count else f"no {many}"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: "a", "a and b", "a, b and c"."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def rows_of(count: int) -> str:
    """How a figure with a row a picture begins its caption: "2 pictures, one in each row", "1 picture"."""
    return f"{counted(count, 'picture')}{', one in each row' if count > 1 else ''}"
