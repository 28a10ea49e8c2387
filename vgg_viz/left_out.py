"""Files that were left out: which of them are a loss, and the sentences that say so."""

from __future__ import annotations

from collections.abc import Sequence

from vgg_viz.number_text import counted

MOST_NAMED = 5  # files in a sentence about several


class NoPicture(str):
    """Why a file was left out that nobody took for a picture, such as notes.txt in a folder: said, and no loss."""

    __slots__ = ()


class Loss(str):
    """A warning that something is missing that was asked for: a command that says it ends with the status of missing parts."""

    __slots__ = ()


def count_losses(reasons: Sequence[str]) -> int:
    """How many of the files left out for these reasons are pictures that should have been read."""
    return sum(not isinstance(reason, NoPicture) for reason in reasons)


def left_out_warning(reasons: Sequence[str]) -> str:
    """One sentence about all files left out, a `Loss` where pictures are among them."""
    shown = "; ".join(reason.rstrip(".") for reason in reasons[:MOST_NAMED])
    more = f"; and {len(reasons) - MOST_NAMED:,} more" if len(reasons) > MOST_NAMED else ""
    were = "was" if len(reasons) == 1 else "were"
    sentence = f"{counted(len(reasons), 'file')} {were} left out: {shown}{more}."
    return Loss(sentence) if count_losses(reasons) else sentence
