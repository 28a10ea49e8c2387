"""`serve`: galleries and a live page on this machine."""

from __future__ import annotations

import argparse
import json
import sys

from vgg_viz.commands.checkpoint_options import overrides
from vgg_viz.commands.output import DONE
from vgg_viz.commands.parser import Parser, command, port
from vgg_viz.safe_text import say


def add_arguments(parser: Parser) -> None:
    """The words that `serve` understands."""
    parser.add_argument("folder", nargs="?", metavar="GALLERY_DIR", help="galleries to browse (default gallery)")
    parser.add_argument(
        "--checkpoint",
        nargs="?",
        const="",
        metavar="CKPT",
        help="the network of the live page: a .pt file or a variant's name; alone: the bundled Tiny VGG",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default 127.0.0.1: this machine alone)")
    parser.add_argument(
        "--port", type=port, metavar="N", help="0 for any free one (default 8000 if it is free, else any)"
    )


@command(
    "serve",
    order=90,
    add_arguments=add_arguments,
    checkpoint=True,
    about="browse galleries, and ask a network about a picture, in a browser on this machine",
    example="python -m vgg_viz serve gallery --checkpoint vgg16.pth",
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from vgg_viz.serve import require_extra

    require_extra()
    from vgg_viz.serve.application import application
    from vgg_viz.serve.galleries import offer
    from vgg_viz.serve.listening import listening, server
    from vgg_viz.studies.request import resolve_device

    galleries, source, said = offer(options.folder, options.checkpoint)
    live = None
    if source is not None:
        from vgg_viz.models.checkpoint import load
        from vgg_viz.serve.live import Live
        from vgg_viz.serve.network import ServedNetwork

        checkpoint = load(source or None, seed=options.seed, **overrides(options))
        live = Live(ServedNetwork(checkpoint, device=resolve_device(options.device), seed=options.seed))
    with listening(options.host, options.port) as (sock, place):
        notes = [] if options.quiet else [f"{said} Ctrl-C ends it."]
        if not place.loopback:
            notes.insert(
                0,
                f"warning: {place.host} can be reached from other machines, and nobody is asked for a password; "
                "leave --host out to serve this machine alone.",
            )
        for note in notes:
            say(f"vgg_viz serve: {note}", file=sys.stderr)

        def ready() -> None:
            say(json.dumps({"url": place.url}) if options.json else place.url, flush=True)

        whole = application(place, galleries=galleries, live=live)
        server(whole, ready=ready, closing=live.close if live else lambda: None).run(sockets=[sock])
    return DONE
