"""`doctor`: is this installation whole?"""

from __future__ import annotations

import argparse
import sys

from vgg_viz.commands.output import DONE, PARTS_MISSING, print_json
from vgg_viz.commands.parser import Parser, command
from vgg_viz.safe_text import say


def add_arguments(parser: Parser) -> None:
    """The words that `doctor` understands."""
    parser.add_argument(
        "--fix", action="store_true", help="put opencv-python-headless in place of opencv-python where libGL is missing"
    )


@command(
    "doctor",
    order=100,
    add_arguments=add_arguments,
    checkpoint=False,
    about="check this installation and name every fix",
    example="python -m vgg_viz doctor",
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from vgg_viz.doctor import examine, fix_opencv

    if options.fix and (said := fix_opencv()):
        say(f"vgg_viz doctor: {said}", file=sys.stderr)
    checks = examine()
    if options.json:
        print_json({"checks": [{"name": c.name, "good": c.good, "found": c.found, "fix": c.fix} for c in checks]})
    else:
        for check in checks:
            say(f"{'ok  ' if check.good else 'FAIL'} {check.name}: {check.found}")
            if check.fix:
                say(f"     fix: {check.fix}")
    return DONE if all(check.good for check in checks) else PARTS_MISSING
