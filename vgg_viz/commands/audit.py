"""`audit`: where does this model look?"""

from __future__ import annotations

import argparse

from vgg_viz.commands.checkpoint_options import request_keywords
from vgg_viz.commands.output import print_result
from vgg_viz.commands.parser import CHECKPOINT_OR_BUNDLED, Parser, command, positive


def add_arguments(parser: Parser) -> None:
    """The words that `audit` understands."""
    parser.add_argument("checkpoint", nargs="?", help=CHECKPOINT_OR_BUNDLED)
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="an ImageFolder (with masks/ or boxes beside it, if there are), or shapes; "
        "default: what the checkpoint carries",
    )
    parser.add_argument(
        "--class",
        dest="audited",
        metavar="NAME",
        action="append",
        default=[],
        help="search this class only; may be given several times",
    )
    parser.add_argument("--limit", type=positive, default=600, metavar="N", help="pictures at most (default 600)")
    parser.add_argument("--out", default="gallery", metavar="DIR", help="where galleries land (default gallery)")
    parser.add_argument("--open", action="store_true", help="open the page in a browser when done")


@command(
    "audit",
    order=25,
    add_arguments=add_arguments,
    checkpoint=True,
    about="find what a checkpoint looks at instead of the object, and test it",
    example="python -m vgg_viz audit best.pt --data pictures/ --json",
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status, which says nothing of what is found."""
    from vgg_viz.console import Steps
    from vgg_viz.sections.audit.audit import build_audit
    from vgg_viz.studies.request import AuditRequest

    with Steps(options.command, quiet=options.quiet) as steps:
        request = AuditRequest(
            source=options.checkpoint,
            classes=tuple(options.audited),
            limit=options.limit,
            **request_keywords(options, steps),
        )
        audited = build_audit(request)
    return print_result(options, audited.result, audited.facts)
