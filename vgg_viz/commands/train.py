"""`train`: a run of training."""

from __future__ import annotations

import argparse
from pathlib import Path

from vgg_viz.commands.output import DONE, PARTS_MISSING, print_json
from vgg_viz.commands.parser import Parser, command
from vgg_viz.commands.shortcut_options import add_shortcut_arguments, planted_shortcut
from vgg_viz.safe_text import say


def add_arguments(parser: Parser) -> None:
    """The words that `train` understands."""
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="shapes, or an ImageFolder with train/ and val/ or test/"
    )
    parser.add_argument("--arch", default="tiny_vgg", help="tiny_vgg, vgg11, vgg16_bn, ... (default tiny_vgg)")
    parser.add_argument("--out", required=True, metavar="RUN_DIR", help="where the run is kept")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--lr", type=float, help="highest learning rate")
    parser.add_argument("--image-size", type=int, metavar="PX")
    parser.add_argument("--width", type=float, help="multiplies the channels of every layer")
    parser.add_argument("--padding", type=int, choices=(0, 1))
    parser.add_argument("--augment", help="none, flip, light, paper, strong, ...")
    parser.add_argument("--train-count", type=int, metavar="N", help="pictures to train on")
    parser.add_argument("--val-count", type=int, metavar="N", help="pictures to validate on")
    parser.add_argument(
        "--keep-epochs",
        type=keeping,
        metavar="all|none|N",
        help="weights of which epochs stay for `compare RUN_DIR` (default: all where they are small)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in RUN_DIR")
    add_shortcut_arguments(parser)


def keeping(text: str) -> int:
    """Every how many epochs: "all" is 1, "none" is 0."""
    if not (text in ("all", "none") or (text.isascii() and text.isdigit() and 0 < int(text) < 10**6)):
        raise argparse.ArgumentTypeError(
            f"{text!r} came; all, none, or a whole number N for every N-th epoch was expected"
        )
    return {"all": 1, "none": 0}[text] if text in ("all", "none") else int(text)


@command(
    "train",
    order=30,
    add_arguments=add_arguments,
    checkpoint=False,
    about="train a VGG and leave best.pt, last.pt and history.jsonl",
    example="python -m vgg_viz train --data shapes --arch tiny_vgg --out runs/shapes",
)
def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from vgg_viz.studies.request import resolve_device
    from vgg_viz.training.loop import train
    from vgg_viz.training.recipe import usual_recipe

    recipe = usual_recipe(
        options.arch,
        options.data,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.lr,
        augment=options.augment,
        seed=options.seed,
    )
    checkpoint = train(
        options.data,
        out=options.out,
        arch=options.arch,
        recipe=recipe,
        image_side=options.image_size,
        width=options.width,
        padding=options.padding,
        train_count=options.train_count,
        val_count=options.val_count,
        keep_epochs=options.keep_epochs,
        resume=options.resume,
        shortcut=planted_shortcut(options),
        quiet=options.quiet,
        device=resolve_device(options.device),
    )
    best = max(checkpoint.history, key=lambda epoch: epoch.val_accuracy)
    if options.json:
        print_json(
            {
                "checkpoint": str(Path(options.out) / "best.pt"),
                "epochs": len(checkpoint.history),
                "best_epoch": best.epoch,
                "val_accuracy": best.val_accuracy,
                "val_loss": best.val_loss,
            }
        )
    else:
        say(str(Path(options.out) / "best.pt"))
    return PARTS_MISSING if checkpoint.provenance.data.get("left_out") else DONE
