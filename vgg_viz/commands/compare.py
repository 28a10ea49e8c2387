"""`compare`: two checkpoints before the same pictures, or all kept epochs of one run."""

from __future__ import annotations

import argparse

from vgg_viz.commands.checkpoint_options import request_keywords
from vgg_viz.commands.output import print_result
from vgg_viz.commands.parser import Parser, command


def add_arguments(parser: Parser) -> None:
    """The words that `compare` understands."""
    parser.add_argument(
        "first",
        metavar="A",
        help="a .pt file, or a variant's name (vgg16, ...) for random weights; alone: "
        "the folder of a run that kept its epochs, for a timeline",
    )
    parser.add_argument(
        "second", metavar="B", nargs="?", help="the other one; options about checkpoints count for both"
    )
    parser.add_argument("--images", metavar="DIR", help="pictures to look into: a folder, or one picture")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="labelled pictures to measure on: an ImageFolder, or shapes; default: what they carry",
    )
    parser.add_argument("--out", default="gallery", metavar="DIR", help="where galleries land (default gallery)")
    parser.add_argument(
        "--preset", default="standard", choices=("quick", "standard", "full"), help="how much to compute"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser when done")
    group = parser.add_argument_group("of a run: from which epoch on is a shortcut used?")
    group.add_argument(
        "--region", metavar="BOX", help="what may give it away: x0,y0,x1,y1 [px], border[:WIDTH], background or colours"
    )
    group.add_argument("--class", dest="class_name", metavar="NAME", help="which class")
    group.add_argument(
        "--findings", metavar="FILE", help="instead: what `audit --json` printed, or the truth of planted shapes"
    )


@command(
    "compare",
    order=20,
    add_arguments=add_arguments,
    checkpoint=True,
    about="set two checkpoints, or the epochs of a run, before the same pictures, on one page",
    example="python -m vgg_viz compare before.pt after.pt --data pictures/\n"
    "  python -m vgg_viz compare runs/shapes --region 0,0,12,12 --class star",
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from vgg_viz.console import Steps
    from vgg_viz.sections.compare.compare import build_comparison
    from vgg_viz.studies.request import PairRequest

    if options.second is None:
        return _timeline(options)
    _require_no_run_options(options)
    with Steps(options.command, quiet=options.quiet) as steps:
        request = PairRequest(first=options.first, second=options.second, **request_keywords(options, steps))
        result = build_comparison(request)
    return print_result(options, result)


def _timeline(options: argparse.Namespace) -> int:
    from vgg_viz.console import Steps
    from vgg_viz.sections.timeline.timeline import build_timeline
    from vgg_viz.studies.request import RunRequest

    with Steps(options.command, quiet=options.quiet) as steps:
        request = RunRequest(
            run=options.first,
            region=options.region,
            class_name=options.class_name,
            findings=options.findings,
            **request_keywords(options, steps),
        )
        timeline = build_timeline(request)
    facts = {
        "epochs": timeline.epochs,
        "findings": [{"level": finding.level, "text": finding.text} for finding in timeline.findings],
        "series": timeline.series,
    }
    return print_result(options, timeline.result, facts)


def _require_no_run_options(options: argparse.Namespace) -> None:
    from vgg_viz.errors import InputRefused

    about = {"--region": options.region, "--class": options.class_name, "--findings": options.findings}
    given = [name for name, value in about.items() if value is not None]
    if given:
        raise InputRefused(
            f"{given[0]} is about the epochs of one run, and two checkpoints came; give the run's folder alone."
        )
