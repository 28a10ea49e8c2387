"""`explain`: one picture, in seconds."""

from __future__ import annotations

import argparse
import sys

from vgg_viz.commands.checkpoint_options import overrides
from vgg_viz.commands.output import DONE, PARTS_MISSING, as_typed, landed, print_json
from vgg_viz.commands.parser import CHECKPOINT, Parser, command


def words(parser: Parser) -> None:
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
    parser.add_argument("--target", metavar="CLASS", help="what it should be: a class by name or index")
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
    words=words,
    checkpoint=True,
    about="explain one picture: answer, maps, layers, and what would change it",
    example='python -m vgg_viz explain best.pt panda.jpeg --target "red panda"',
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from vgg_viz.console import Steps
    from vgg_viz.sections.explain.explain import explain
    from vgg_viz.sections.report.report import module_device

    with Steps(quiet=options.quiet) as steps:
        found = explain(
            options.checkpoint,
            options.image,
            methods=options.methods,
            target=options.target,
            against=options.against,
            unit=options.unit,
            layer=options.layer,
            out=options.out,
            force=options.force,
            preset=options.preset,
            seed=options.seed,
            device=module_device(options.device),
            overrides=overrides(options),
            command=as_typed(options),
            progress=steps,
        )
    if found.result is not None and not options.json:
        return landed(options, found.result)
    for warning in found.warnings:
        print(f"vgg_viz explain: {warning}", file=sys.stderr)
    missing = found.result.missing if found.result is not None else ()
    if options.json:
        index = None if found.result is None else str(found.result.index)
        print_json(
            {
                **found.facts,
                "index": index,
                "files": [str(file) for file in found.files],
                "warnings": found.warnings,
                "missing": [{"section": title, "reason": reason} for title, reason in missing],
            }
        )
    else:
        print(found.files[0])
    if options.open:
        import webbrowser

        webbrowser.open((found.result.index if found.result is not None else found.files[0]).resolve().as_uri())
    return PARTS_MISSING if missing else DONE
