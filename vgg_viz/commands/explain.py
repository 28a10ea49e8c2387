"""`explain`: one picture, in seconds."""

from __future__ import annotations

import argparse
import sys

from vgg_viz.commands.checkpoint_options import request_keywords
from vgg_viz.commands.output import DONE, PARTS_MISSING, print_alarms, print_json, print_result
from vgg_viz.commands.parser import CHECKPOINT, Parser, command
from vgg_viz.safe_text import say


def add_arguments(parser: Parser) -> None:
    """The words that `explain` understands."""
    parser.add_argument("checkpoint", help=CHECKPOINT)
    parser.add_argument("image", metavar="IMAGE", help="a picture file")
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="NAME",
        dest="methods",
        help="grad_cam, saliency, ...; several with commas; the first leads (default grad_cam,saliency)",
    )
    parser.add_argument(
        "--target", metavar="CLASS", help="what it should be: a class by name or index; or a unit, as for --unit"
    )
    parser.add_argument(
        "--against", metavar="CLASS", help="whose evidence the difference subtracts (default: target, else runner-up)"
    )
    parser.add_argument(
        "--unit",
        metavar="UNIT",
        help="in place of a class: conv5_3:12 for a channel, conv5_3:12:3,4 for its unit in row 3, column 4; all "
        "counted from 0",
    )
    parser.add_argument("--layer", metavar="LAYER", help="where layered methods look, such as conv5_3")
    parser.add_argument(
        "--out",
        default="gallery",
        metavar="DIR|FILE",
        help="where galleries land (default gallery), or FILE.png, .svg or .pdf: one figure alone",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE where it exists")
    parser.add_argument(
        "--preset",
        default="standard",
        choices=("quick", "standard", "full"),
        help="quick: only maps; standard: also hide parts of the picture; full: in smaller steps",
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser when done")


@command(
    "explain",
    order=15,
    add_arguments=add_arguments,
    checkpoint=True,
    about="explain one picture: answer, maps, layers, and what would change it",
    example='python -m vgg_viz explain best.pt panda.jpeg --target "red panda"',
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from vgg_viz.console import Steps
    from vgg_viz.sections.explain.explain import build_explanation
    from vgg_viz.studies.request import PictureRequest

    with Steps(options.command, quiet=options.quiet) as steps:
        request = PictureRequest(
            source=options.checkpoint,
            image=options.image,
            methods=tuple(options.methods),
            target=options.target,
            against=options.against,
            unit=options.unit,
            layer=options.layer,
            force=options.force,
            **request_keywords(options, steps),
        )
        explained = build_explanation(request)
    if explained.result is not None and not options.json:
        return print_result(options, explained.result)
    print_alarms(options, explained.alarms)
    for warning in explained.warnings:
        say(f"vgg_viz explain: {warning}", file=sys.stderr)
    missing = explained.result.missing if explained.result is not None else ()
    if options.json:
        index = None if explained.result is None else str(explained.result.index)
        print_json(
            {
                **explained.facts,
                "index": index,
                "files": [str(file) for file in explained.files],
                "alarms": explained.alarms,
                "warnings": explained.warnings,
                "missing": [{"section": title, "reason": reason} for title, reason in missing],
            }
        )
    else:
        say(str(explained.files[0]))
    if options.open:
        import webbrowser

        webbrowser.open(
            (explained.result.index if explained.result is not None else explained.files[0]).resolve().as_uri()
        )
    return PARTS_MISSING if missing else DONE
