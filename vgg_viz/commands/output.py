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

from vgg_viz.left_out import count_losses
from vgg_viz.safe_text import escape_json, say

if TYPE_CHECKING:
    from vgg_viz.gallery.opening import Step
    from vgg_viz.gallery.study import GalleryResult
    from vgg_viz.records import Finding

MOST_LINES = 20  # about files that were left out, each on a line
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
    print_verdict(options, result.findings, result.steps)
    if options.json:
        print_json(
            {
                "index": str(result.index),
                **verdict_facts(result.findings, result.steps),
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
    return PARTS_MISSING if result.incomplete else DONE


def print_verdict(options: argparse.Namespace, findings: Sequence[Finding], steps: Sequence[Step] = ()) -> None:
    """Say on stderr what was found first, alarms left aside, and what to do next."""
    from vgg_viz.gallery.page import LEVEL_WORDS

    if options.quiet:
        return
    leading = next((one for one in findings if one.key != "alarm"), None)
    if leading is not None:
        say(f"vgg_viz {options.command}: {LEVEL_WORDS[leading.level]}: {leading.said}", file=sys.stderr)
    for step in steps[:1]:
        say(f"vgg_viz {options.command}: next: {step.command}", file=sys.stderr)


def verdict_facts(findings: Sequence[Finding], steps: Sequence[Step]) -> dict[str, Any]:
    """The same for --json, all of it."""
    return {
        "findings": [{"level": one.level, "key": one.key, "text": one.text, "detail": one.detail} for one in findings],
        "next": [{"title": step.title, "why": step.why, "command": step.command} for step in steps],
    }


def print_alarms(options: argparse.Namespace, alarms: Sequence[str], warnings: Sequence[str] = ()) -> None:
    """Say on stderr, before anything else, what may make the output one about another network, then what else comes first."""
    for alarm in alarms:
        say(f"vgg_viz {options.command}: ALARM: {alarm}", file=sys.stderr)
    for warning in warnings:
        say(f"vgg_viz {options.command}: {warning}", file=sys.stderr)


def print_left_out(options: argparse.Namespace, reasons: Sequence[str]) -> int:
    """Name on stderr the files that were left out, but not thousands; the exit status: that of missing parts where they are a loss."""
    for reason in reasons[:MOST_LINES]:
        say(f"vgg_viz {options.command}: left out: {reason}", file=sys.stderr)
    if len(reasons) > MOST_LINES:
        say(f"vgg_viz {options.command}: left out: {len(reasons) - MOST_LINES:,} more files", file=sys.stderr)
    return PARTS_MISSING if count_losses(reasons) else DONE


def command_line(options: argparse.Namespace) -> str:
    """The command for the page: as it was typed, but with names instead of paths, which would show whose machine it was."""
    words = [Path(word).name or word if os.sep in word else word for word in options.line]
    return shlex.join(["python", "-m", "vgg_viz", *words])


def print_json(value: Any) -> None:
    """One JSON document on standard output, with nothing in it that JSON does not know."""
    from vgg_viz.plain_json import plain

    print(escape_json(json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False)))
