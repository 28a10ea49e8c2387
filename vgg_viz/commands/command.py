"""What a command is, and how one registers itself: a decorated function in a file of this folder.

    @command("predict", order=50, words=words, about="say what a checkpoint sees in pictures", example="...")
    def run(options): ...
        return DONE

The file imports nothing heavy at its top: asking for help must not cost an import of torch.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from vgg_viz.options import Parser
from vgg_viz.registry import Registry

Run = Callable[[argparse.Namespace], int]


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the command line.

    order       where it stands in the help
    about       one line, without a capital and a full stop
    example     one line that works
    words       declares its arguments
    run         does it, and returns the exit status
    checkpoint  takes the options that overrule what a checkpoint says
    shared      takes the options of every command; False where its kinds take them
    """

    name: str
    order: int
    about: str
    example: str
    words: Callable[[Parser], None]
    run: Run
    checkpoint: bool
    shared: bool


COMMANDS: Registry[Command] = Registry("command")


def command(
    name: str, *, order: int, about: str, example: str, words: Callable[[Parser], None], checkpoint: bool = True, shared: bool = True
) -> Callable[[Run], Run]:
    """Register the decorated function as a command; raises VggVizError when the name is taken."""

    def register(run: Run) -> Run:
        COMMANDS.add(name, Command(name, order, about, example, words, run, checkpoint, shared))
        return run

    return register
