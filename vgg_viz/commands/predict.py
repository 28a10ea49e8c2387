"""`predict`: what a network sees in pictures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from vgg_viz.commands.checkpoint_options import open_model
from vgg_viz.commands.output import print_alarms, print_json, print_left_out
from vgg_viz.commands.parser import CHECKPOINT, Parser, command
from vgg_viz.number_text import percent
from vgg_viz.safe_text import say, short_name


def add_arguments(parser: Parser) -> None:
    """The words that `predict` understands."""
    parser.add_argument("checkpoint", help=CHECKPOINT)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture files or folders")


@command(
    "predict",
    order=50,
    add_arguments=add_arguments,
    checkpoint=True,
    about="say what a checkpoint sees in pictures",
    example="python -m vgg_viz predict best.pt cat.jpg dog.png",
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from vgg_viz.console import Steps
    from vgg_viz.studies.evaluation import predict

    with Steps(options.command, quiet=options.quiet):
        checkpoint, model = open_model(options)
        predictions = predict(checkpoint, model, options.images)
    print_alarms(options, predictions.alarms, predictions.warnings)
    status = print_left_out(options, predictions.skipped)
    if options.json:
        first = {"alarms": predictions.alarms, "warnings": predictions.warnings}
        print_json({**first, "images": predictions.images})
    else:
        for image in predictions.images:
            say(f"{short_name(image['file'], 200)}: {', '.join(map(_shown, image['top']))}")
    return status


def _shown(entry: Mapping[str, Any]) -> str:
    """A class with its probability, or a score with its value."""
    if entry["probability"] is None:
        return f"{short_name(entry['class'])} {entry['logit']:.4g}"
    return f"{short_name(entry['class'])} {percent(entry['probability'], decimals=1)}"
