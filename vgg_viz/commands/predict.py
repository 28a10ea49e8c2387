"""`predict`: what a network sees in pictures."""

from __future__ import annotations

import argparse
import sys

from vgg_viz.commands.checkpoint_options import opened
from vgg_viz.commands.output import DONE, PARTS_MISSING, print_json
from vgg_viz.commands.parser import CHECKPOINT, Parser, command
from vgg_viz.errors import ImageRefused, InputRefused
from vgg_viz.number_text import percent


def words(parser: Parser) -> None:
    """The words that `predict` understands."""
    parser.add_argument("checkpoint", help=CHECKPOINT)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture files or folders")


@command(
    "predict",
    order=50,
    words=words,
    checkpoint=True,
    about="say what a checkpoint sees in pictures",
    example="python -m vgg_viz predict best.pt cat.jpg dog.png",
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    import torch

    from vgg_viz.capture.predict import predict_logits
    from vgg_viz.data.folder import read_images
    from vgg_viz.gallery.html_text import escape_hidden
    from vgg_viz.studies.inputs import in_channels

    checkpoint, model = opened(options)
    batches, skipped = [], []
    for path in options.images:
        try:
            batch = read_images(path, image_side=checkpoint.architecture.image_side)
        except ImageRefused as error:
            if len(options.images) == 1:
                raise
            skipped.append(str(error))
            continue
        batches.append(in_channels(batch, checkpoint))
        skipped += [reason for _, reason in batch.skipped]
    if not batches:
        raise InputRefused(f"none of the {len(options.images)} files can be read as a picture; the first: {skipped[0]}")
    for reason in skipped:
        print(f"vgg_viz predict: left out: {reason}", file=sys.stderr)
    logits = predict_logits(model, torch.cat([batch.images for batch in batches]))
    found = []
    for name, row in zip((name for batch in batches for name in batch.names), logits, strict=True):
        probabilities = row.softmax(0)
        order = probabilities.argsort(descending=True, stable=True)[:5].tolist()
        top = [
            {"class": checkpoint.classes[i], "index": i, "probability": float(probabilities[i]), "logit": float(row[i])}
            for i in order
        ]
        found.append({"file": name, "top": top, "logits": row.tolist()})
        if not options.json:
            print(
                escape_hidden(
                    f"{name}: "
                    + ", ".join(f"{entry['class']} {percent(entry['probability'], decimals=1)}" for entry in top)
                )
            )
    if options.json:
        print_json({"images": found})
    return PARTS_MISSING if skipped else DONE
