"""`inspect`: what a checkpoint holds, and how that is known."""

from __future__ import annotations

import argparse

from vgg_viz.commands.checkpoint_options import open_model
from vgg_viz.commands.output import print_alarms, print_json, print_left_out
from vgg_viz.commands.parser import CHECKPOINT_OR_BUNDLED, Parser, command
from vgg_viz.safe_text import say


def add_arguments(parser: Parser) -> None:
    """The words that `inspect` understands."""
    parser.add_argument("checkpoint", nargs="?", help=CHECKPOINT_OR_BUNDLED)
    parser.add_argument(
        "--images", metavar="DIR", help="pictures such as it was trained on: they tell which mean and std it expects"
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="labelled pictures, an ImageFolder: they tell which of the usual --resize rules it expects",
    )


@command(
    "inspect",
    order=60,
    add_arguments=add_arguments,
    checkpoint=True,
    about="say what a checkpoint holds, layer by layer, and how it is known",
    example="python -m vgg_viz inspect best.pt --images photos/ --json",
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from vgg_viz.console import Steps
    from vgg_viz.studies.inspection import facts, text_lines
    from vgg_viz.studies.resize_check import compare_rules, lines

    skipped: tuple[tuple[str, str], ...] = ()
    with Steps(options.command, quiet=options.quiet):
        checkpoint, model = open_model(options)
        found = facts(checkpoint, model)
        if options.images is not None:
            from vgg_viz.data.folder import read_images
            from vgg_viz.studies.inputs import match_channels
            from vgg_viz.studies.preprocessing_check import MOST_PICTURES, infer_preprocessing
            from vgg_viz.studies.witnesses import is_open

            batch = match_channels(
                read_images(options.images, image_side=checkpoint.fitting, limit=MOST_PICTURES), checkpoint
            )
            skipped = batch.skipped
            detection = infer_preprocessing(model, batch.images, seed=options.seed)
            advice = detection.advice(recorded=not is_open(checkpoint))
            found["preprocessing"] = {**detection.plain(), "sentence": advice}
        fits = () if options.data is None else compare_rules(checkpoint, model, options.data, seed=options.seed)
    if fits:
        found["resize_rules"] = [fit.plain() for fit in fits]
    print_alarms(options, found["alarms"])
    status = print_left_out(options, [reason for _, reason in skipped])
    if options.json:
        print_json(found)
    else:
        for line in text_lines(found, checkpoint.provenance):
            say(line)
        for line in lines(fits):
            say(line)
    return status
