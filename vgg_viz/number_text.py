"""Shares as a reader wants them: one way to write a per cent, on pages, in figures and in a terminal."""

from __future__ import annotations


def percent(share: float, *, decimals: int | None = None) -> str:
    """A share as per cent; a little is never 0 %, and not quite all is never 100 %.

    share     [-1, 1]; a net share may be negative
    decimals  None: one near the ends, else none; a number: always as many, for shares that stand beside each other
    returns   such as "<0.1 %", "2.3 %", "50 %", "98.5 %", "<100 %"; "–" for NaN
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
