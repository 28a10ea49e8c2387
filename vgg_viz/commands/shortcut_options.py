"""The options that plant a shortcut in painted pictures, shared by `data shapes` and `train`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vgg_viz.commands.parser import Parser
from vgg_viz.errors import InputRefused

if TYPE_CHECKING:
    from vgg_viz.data.shortcuts import Shortcut


def add_shortcut_arguments(parser: Parser) -> None:
    """The words that plant a shortcut."""
    group = parser.add_argument_group("a shortcut planted in painted pictures (--data shapes)")
    group.add_argument("--shortcut", metavar="KIND", help="corner, border, texture or cast")
    group.add_argument("--class", dest="planted_class", metavar="NAME", help="the class that it gives away")
    group.add_argument(
        "--strength", type=float, metavar="P", help="share of the class's training pictures that carry it (default 1)"
    )
    group.add_argument(
        "--held-out", type=float, metavar="P", help="the same of its val and test pictures (default 0: clean)"
    )


def planted_shortcut(options: argparse.Namespace) -> Shortcut | None:
    """The shortcut that the options ask for, or None; raises InputRefused and its kin where they make none."""
    from vgg_viz.data.shortcuts import Shortcut, require_paintable

    given = (options.planted_class, options.strength, options.held_out)
    if options.shortcut is None:
        if any(value is not None for value in given):
            raise InputRefused(
                "--class, --strength and --held-out say how a shortcut is planted; name its kind with --shortcut."
            )
        return None
    if options.planted_class is None:
        raise InputRefused(f"--shortcut {options.shortcut} needs the class that it gives away; name one with --class.")
    return require_paintable(
        Shortcut(
            options.shortcut,
            options.planted_class,
            1.0 if options.strength is None else options.strength,
            held_out=options.held_out or 0.0,
            seed=options.seed,
        )
    )
