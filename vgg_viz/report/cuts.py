"""What a budget cut, in one sentence and as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

NAMES = {
    "pictures": "pictures looked into", "steps": "steps of a path", "samples": "noisy copies", "masks": "random masks",
    "window": "side of the occluding square (share of the picture's)", "stride": "step of the occluding square (share of its side)",
}  # fmt: skip


def gone(left_out: Sequence[str], untried: Sequence[str], rest: Sequence[str], chapters: Sequence[str]) -> list[str]:
    """What was left out, for a sentence.

    left_out  maps and other things, by name; untried: methods that were not put to the test
    rest      titles of chapters that broke off; chapters: titles of those that are missing
    """
    found = list(left_out)
    found += [f"the trials of {', '.join(untried)}"] if untried else []
    found += [f"the rest of {', '.join(rest)}"] if rest else []
    return found + ([f"the {'chapter' if len(chapters) == 1 else 'chapters'} {', '.join(chapters)}"] if chapters else [])


def sentence(seconds: float, reduced: Mapping[str, tuple[float, float]], gone: Sequence[str], *, fits: bool) -> str:
    """What a budget of `seconds` cost: what was reduced from what to what, and what is gone.

    fits  False where even the least takes longer
    """
    cut = [f"{NAMES.get(name, name)} from {_short(before)} to {_short(after)}" for name, (before, after) in reduced.items()]
    parts = ([f"reduced: {', '.join(cut)}"] if cut else []) + ([f"left out: {', '.join(gone)}"] if gone else [])
    if not parts:
        return f"The budget of {seconds:g} s was enough for everything."
    return f"To stay within the budget of {seconds:g} s: {'; '.join(parts)}.{'' if fits else ' Even the least takes longer than that.'}"


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
