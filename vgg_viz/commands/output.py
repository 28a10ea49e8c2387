"""What a command says when it is done, and the exit statuses."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgg_viz.safe_text import escape_json, say

if TYPE_CHECKING:
    from vgg_viz.gallery.build import GalleryResult

DONE, PARTS_MISSING, REFUSED, INTERRUPTED = 0, 1, 2, 130


def print_result(options: argparse.Namespace, result: GalleryResult, facts: Mapping[str, Any] | None = None) -> int:
    """Say where a gallery landed and what it lacks, with --json also `facts`; the exit status of the command.

    Parts that a budget left out are parts that are missing, too: the status is 1, though one sentence told of all of them.
    """
    page = result.single or result.index
    print_alarms(options, result.alarms)
    for sentence in result.notes:
        say(f"vgg_viz {options.command}: {sentence}", file=sys.stderr)
    for warning in result.warnings:
        say(f"vgg_viz {options.command}: {warning}", file=sys.stderr)
    for title, reason in result.missing:
        if (title, reason) in result.in_warnings:
            continue
        say(f"vgg_viz {options.command}: the part {title!r} is missing: {reason}", file=sys.stderr)
    if options.json:
        print_json(
            {
                "index": str(result.index),
                "missing": [{"section": title, "reason": reason} for title, reason in result.missing],
                "alarms": result.alarms,
                "warnings": result.warnings,
                "standalone": str(result.single) if result.single else None,
                **(facts or {}),
            }
        )
    else:
        say(str(page))
    if options.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return PARTS_MISSING if result.missing else DONE


def print_alarms(options: argparse.Namespace, alarms: Sequence[str], warnings: Sequence[str] = ()) -> None:
    """Say on stderr, before anything else, what may make the output one about another network, then what else comes first."""
    for alarm in alarms:
        say(f"vgg_viz {options.command}: ALARM: {alarm}", file=sys.stderr)
    for warning in warnings:
        say(f"vgg_viz {options.command}: {warning}", file=sys.stderr)


def command_line(options: argparse.Namespace) -> str:
    """The command for the page: as it was typed, but with names instead of paths, which would show whose machine it was."""
    words = [Path(word).name or word if os.sep in word else word for word in options.line]
    return shlex.join(["python", "-m", "vgg_viz", *words])


def print_json(value: Any) -> None:
    """One JSON document on standard output, with nothing in it that JSON does not know."""
    from vgg_viz.plain_json import plain

    print(escape_json(json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False)))
