"""`export`: a checkpoint for other programs."""

from __future__ import annotations

import argparse
import sys

from vgg_viz.commands.checkpoint_options import overrides
from vgg_viz.commands.output import DONE, print_json
from vgg_viz.commands.parser import CHECKPOINT, Parser, command
from vgg_viz.safe_text import say


def add_arguments(parser: Parser) -> None:
    """The words that `export` understands."""
    parser.add_argument("checkpoint", help=CHECKPOINT)
    parser.add_argument("file", metavar="FILE", help="where to: a name that ends in .safetensors or .onnx")
    parser.add_argument("--force", action="store_true", help="replace FILE where it exists")


@command(
    "export",
    order=80,
    add_arguments=add_arguments,
    checkpoint=True,
    about="write a checkpoint for other programs: safetensors or ONNX",
    example="python -m vgg_viz export best.pt best.safetensors",
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from vgg_viz.console import Steps
    from vgg_viz.models.checkpoint import load
    from vgg_viz.models.export import export, summary_line

    with Steps(options.command, quiet=options.quiet):
        checkpoint = load(options.checkpoint, seed=options.seed, **overrides(options))
        found = export(checkpoint, options.file, force=options.force)
    for left in found["left_out"]:
        say(f"vgg_viz export: left out: {left}", file=sys.stderr)
    if options.json:
        print_json(found)
    else:
        say(summary_line(found))
    return DONE
