"""`report`: a checkpoint becomes a gallery."""

from __future__ import annotations

import argparse

from vgg_viz.commands.checkpoint_options import request_keywords
from vgg_viz.commands.output import print_result
from vgg_viz.commands.parser import CHECKPOINT_OR_BUNDLED, Parser, command, seconds


def add_arguments(parser: Parser) -> None:
    """The words that `report` understands."""
    parser.add_argument("checkpoint", nargs="?", help=CHECKPOINT_OR_BUNDLED)
    parser.add_argument("--images", metavar="DIR", help="pictures to look into: a folder, or one picture")
    parser.add_argument("--data", metavar="DIR", help="labelled pictures to measure on: an ImageFolder, or shapes")
    parser.add_argument("--out", default="gallery", metavar="DIR", help="where galleries land (default gallery)")
    parser.add_argument(
        "--preset", default="standard", choices=("quick", "standard", "full"), help="how much to compute"
    )
    parser.add_argument(
        "--budget",
        type=seconds,
        metavar="SECONDS",
        help="be done so long after the start, loading included: what does not fit is left out, and said",
    )
    parser.add_argument("--no-maps", action="store_true", help="leave the raw maps out of the gallery")
    parser.add_argument(
        "--standalone", action="store_true", help="one file to mail as well: the gallery with all that lies beside it"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser when done")


@command(
    "report",
    order=10,
    add_arguments=add_arguments,
    checkpoint=True,
    about="turn a checkpoint into a gallery: one HTML page with its figures and numbers",
    example="python -m vgg_viz report best.pt --data pictures/ --out gallery",
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from vgg_viz.console import Steps
    from vgg_viz.sections.report.report import build_report
    from vgg_viz.studies.request import ReportRequest

    with Steps(options.command, quiet=options.quiet) as steps:
        request = ReportRequest(
            source=options.checkpoint,
            one_file=options.standalone,
            keep_maps=not options.no_maps,
            budget=options.budget,
            began=options.began,
            **request_keywords(options, steps),
        )
        result = build_report(request)
    return print_result(options, result)
