"""`data`: the painted dataset, and a check of folders."""

from __future__ import annotations

import argparse

from vgg_viz.commands.output import DONE, PARTS_MISSING, print_json, print_left_out
from vgg_viz.commands.parser import Parser, add_command, command, shared_options
from vgg_viz.commands.shortcut_options import add_shortcut_arguments, planted_shortcut
from vgg_viz.left_out import count_losses
from vgg_viz.number_text import counted
from vgg_viz.safe_text import say


def add_arguments(parser: Parser) -> None:
    """The words that `data` understands."""
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True, parser_class=Parser)
    shapes = add_command(
        kinds,
        "shapes",
        "paint ten shape classes with exact object masks, as an ImageFolder",
        [shared_options()],
        "python -m vgg_viz data shapes --out pictures --train 1000",
    )
    shapes.add_argument("--out", required=True, metavar="DIR")
    shapes.add_argument("--train", type=int, default=2000, metavar="N", help="training pictures (default 2000)")
    shapes.add_argument("--val", type=int, default=500, metavar="N", help="validation pictures (default 500)")
    shapes.add_argument("--test", type=int, default=500, metavar="N", help="test pictures (default 500)")
    shapes.add_argument("--side", type=int, default=64, metavar="PX", help="of a picture (default 64)")
    add_shortcut_arguments(shapes)
    check = add_command(
        kinds,
        "check",
        "read every picture of a folder and name those that cannot be used",
        [shared_options()],
        "python -m vgg_viz data check pictures/",
    )
    check.add_argument("folder", metavar="DIR")


@command(
    "data",
    order=70,
    add_arguments=add_arguments,
    checkpoint=False,
    shared=False,
    about="paint the dataset shapes, or check a folder of pictures",
    example="python -m vgg_viz data shapes --out pictures",
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from vgg_viz.console import Steps

    if options.kind == "check":
        from vgg_viz.data.check import check

        with Steps(options.command, quiet=options.quiet):
            found = check(options.folder)
    else:
        from vgg_viz.data.shape_files import write_shapes
        from vgg_viz.data.shortcuts import truth

        counts = {"train": options.train, "val": options.val, "test": options.test}
        shortcut = planted_shortcut(options)
        with Steps(options.command, quiet=options.quiet):
            place = write_shapes(options.out, **counts, seed=options.seed, side=options.side, shortcut=shortcut)
        found = {"folder": str(place), "pictures": counts, "seed": options.seed, "side": options.side}
        if shortcut:
            found["shortcut"] = truth(shortcut, options.side)
    reasons = [reason for _, reason in found.get("skipped", ())]
    if options.json:
        print_json(found)
    elif options.kind == "check":
        print_left_out(options, reasons)
        readable, classes = counted(found["readable"], "picture"), counted(len(found["classes"]), "class", "classes")
        say(f"{readable} of {classes} can be read, {counted(len(reasons), 'file')} cannot.")
        outline, box, unknown = (found["objects"][kind] for kind in ("outline", "box", "unknown"))
        if outline or box:
            say(f"Where the object is: {outline:,} by a mask, {box:,} by boxes, {unknown:,} unknown.")
    else:
        say(found["folder"])
    return PARTS_MISSING if count_losses(reasons) else DONE
