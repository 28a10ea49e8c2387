"""`compare`: two checkpoints before the same pictures."""

from __future__ import annotations

import argparse

from vgg_viz.commands.command import command
from vgg_viz.commands.opening import overrides
from vgg_viz.commands.saying import as_typed, landed
from vgg_viz.options import Parser


def words(parser: Parser) -> None:
    """The words that `compare` understands."""
    parser.add_argument("first", metavar="A", help="a .pt file, or a variant's name (vgg16, a_lrn, tiny_vgg) for random weights")
    parser.add_argument("second", metavar="B", help="the other one; options about checkpoints count for both")
    parser.add_argument("--images", metavar="DIR", help="pictures to look into: a folder, or one picture")
    parser.add_argument("--data", metavar="DIR",
                         help="labelled pictures to measure on: an ImageFolder, or shapes; default: what they carry")  # fmt: skip
    parser.add_argument("--out", default="gallery", metavar="DIR", help="where galleries land (default gallery)")
    parser.add_argument("--preset", default="standard", choices=("quick", "standard", "full"), help="how much to compute")
    parser.add_argument("--open", action="store_true", help="open the page in a browser when done")


@command("compare", order=20, words=words, checkpoint=True, about="set two checkpoints before the same pictures, on one page",
         example="python -m vgg_viz compare before.pt after.pt --data pictures/")  # fmt: skip
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from vgg_viz.report.comparison.compare import compare
    from vgg_viz.report.console import Steps
    from vgg_viz.report.gallery import module_device

    with Steps(quiet=options.quiet) as steps:
        result = compare(
            options.first, options.second, images=options.images, data=options.data, out=options.out, preset=options.preset,
            seed=options.seed, device=module_device(options.device), overrides=overrides(options), command=as_typed(options),
            progress=steps,
        )  # fmt: skip
    return landed(options, result)
