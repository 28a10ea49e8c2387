"""The command line: one command understood, run, and its refusals said in one sentence."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from vgg_viz.commands.output import DONE, INTERRUPTED, PARTS_MISSING, REFUSED
from vgg_viz.commands.parser import COMMANDS, parse
from vgg_viz.errors import InputRefused, VggVizError
from vgg_viz.quiet_libraries import quiet_libraries
from vgg_viz.safe_text import say

__all__ = ["DONE", "INTERRUPTED", "PARTS_MISSING", "REFUSED", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 1 done but parts are missing, 2 refused, 130 interrupted."""
    began = time.perf_counter()  # the seconds of a budget run from here: loading counts
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a file's name need be no text, nor the terminal know every letter
    options = parse(given)
    options.line, options.began = given, began
    command = COMMANDS[options.command]
    try:
        with quiet_libraries():
            status = command.run(options)
        print(end="", flush=True)  # now: a full disk below stdout would be found at exit, where nobody can say so
        return status
    except VggVizError as error:
        return _refuse(options.command, error)
    except KeyboardInterrupt as ended:
        notes = "".join(f" {note}" for note in getattr(ended, "__notes__", ()))
        print(file=sys.stderr)
        say(f"vgg_viz: interrupted; nothing half-made was left behind.{notes}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): silence, as other tools do.
        _say_no_more()
        return DONE
    except OSError as error:
        # Whatever the system refuses that no room foresaw: a name too long, a folder without permission, a full disk below stdout.
        _say_no_more()
        named = f" ({Path(os.fsdecode(error.filename)).name[:60]!r})" if isinstance(error.filename, str | bytes) else ""
        return _refuse(
            options.command,
            InputRefused(f"the system says: {error.strerror or error}{named}; mend that and try again."),
        )


def _say_no_more() -> None:
    """Drop what standard output could not take: Python would try it again at exit, and end with a status of its own."""
    try:
        print(end="", flush=True)
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(command: str, error: VggVizError) -> int:
    notes = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
    say(f"vgg_viz {command}: {' '.join(f'{error}{notes}'.split())}", file=sys.stderr)
    return REFUSED
