"""`evaluate`: accuracy, top-5 and calibration on labelled pictures."""

from __future__ import annotations

import argparse

from vgg_viz.commands.checkpoint_options import open_model
from vgg_viz.commands.output import print_alarms, print_json, print_left_out, print_verdict, verdict_facts
from vgg_viz.commands.parser import CHECKPOINT_OR_BUNDLED, Parser, command, positive
from vgg_viz.safe_text import say


def add_arguments(parser: Parser) -> None:
    """The words that `evaluate` understands."""
    parser.add_argument("checkpoint", nargs="?", help=CHECKPOINT_OR_BUNDLED)
    parser.add_argument("--data", metavar="DIR", help="an ImageFolder, or shapes; default: what the checkpoint carries")
    parser.add_argument("--limit", type=positive, default=10_000, metavar="N", help="pictures at most (default 10000)")
    parser.add_argument(
        "--test-resize", action="store_true", help="also try the usual ways to fit pictures, see --resize"
    )
    parser.add_argument("--dense", action="store_true", help="use the dense form (VGG only)")


@command(
    "evaluate",
    order=40,
    add_arguments=add_arguments,
    checkpoint=True,
    about="measure a checkpoint on labelled pictures",
    example="python -m vgg_viz evaluate best.pt --data pictures/ --json",
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from vgg_viz.console import Steps
    from vgg_viz.studies.evaluation import as_text, evaluate
    from vgg_viz.studies.resize_check import compare_rules, lines

    with Steps(options.command, quiet=options.quiet):
        checkpoint, model = open_model(options, dense=options.dense)
        evaluation = evaluate(checkpoint, model, options.data, limit=options.limit, seed=options.seed)
        fits = compare_rules(checkpoint, model, options.data, seed=options.seed) if options.test_resize else ()
    print_alarms(options, evaluation.alarms, evaluation.warnings)
    status = print_left_out(options, evaluation.skipped)
    facts = evaluation.facts
    if fits:
        facts["resize_rules"] = [fit.plain() for fit in fits]
    print_verdict(options, evaluation.findings)
    if options.json:
        about = verdict_facts(evaluation.findings, ())
        print_json(
            {"alarms": evaluation.alarms, "warnings": evaluation.warnings, "findings": about["findings"], **facts}
        )
    else:
        for line in as_text(facts).split("\n"):
            say(line)
        for line in lines(fits):
            say(line)
    return status
