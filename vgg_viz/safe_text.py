"""Text from outside on its way to a reader: what hides or reorders is written out, lines stay lines, long names are cut."""

from __future__ import annotations

import json
import re
import sys
from typing import TextIO

LONGEST_NAME = 60  # letters of a name that a reader meets

# Controls, bidirectional overrides and marks, invisible spaces, tags and lone surrogates: characters that reorder, hide
# or break the text around them, or that a terminal obeys. The two joiners (200C, 200D) stay: Persian and emoji need them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def escape_hidden(text: str) -> str:
    """`text` with every character that hides or reorders others written out, as in [U+202E]; tabs and line feeds stay."""
    return _UNSEEN.sub(lambda match: f"[U+{ord(match.group()):04X}]", text)


def one_line(text: str) -> str:
    """`text` on one line that a terminal shows and never obeys."""
    return escape_hidden(re.sub(r"[\t\n\r]+", " ", text))


def escape_json(text: str) -> str:
    """JSON text that says the same without a character that hides: each stands in a string, which can spell it out."""
    return _UNSEEN.sub(lambda match: json.dumps(match.group())[1:-1], text)


def short_name(name: str, longest: int = LONGEST_NAME) -> str:
    """A name on one line, with an ellipsis where it is longer than `longest` letters."""
    return shorten(
        one_line(name[: 8 * longest]) + name[8 * longest :], longest
    )  # of a million letters few cost anything


def shorten(text: str, longest: int = LONGEST_NAME) -> str:
    """`text`, with an ellipsis where it is longer than `longest` letters."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def visible(name: str) -> str:
    """What of a name a reader can see: nothing of what hides, and one space for several.

    Lone surrogates stay: so Python reads bytes of a file's name that are no text, and they are written out.
    """
    return " ".join(re.sub(f"{_UNSEEN.pattern}|[\u200c\u200d]", lambda hidden: _byte(hidden.group()), name).split())


def _byte(hidden: str) -> str:
    return hidden if "\ud800" <= hidden <= "\udfff" else ""


def say(line: str, *, file: TextIO | None = None, flush: bool = False) -> None:
    """Print one line for a reader: on `file`, such as `sys.stderr`; default: standard output."""
    print(one_line(line), file=file or sys.stdout, flush=flush)
