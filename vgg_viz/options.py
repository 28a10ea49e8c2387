"""What the command line understands: commands, options and their words; nothing heavy is imported."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from vgg_viz import __version__


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses in one sentence, with the nearest option or command."""

    def error(self, message: str) -> NoReturn:
        known = {word.lstrip("-"): word for word in _words(self)}  # dashes are alike in all of them
        refused = [word.lstrip("-") for word in _refused(message)]
        near = next((known[m[0]] for word in refused if (m := get_close_matches(word, known, n=1, cutoff=0.6))), None)
        hint = f"did you mean {near}?" if near else f"see {self.prog} --help."
        self.exit(2, f"{self.prog}: {message.rstrip('.')}; {hint}\n")


def _refused(message: str) -> list[str]:
    """The words that argparse did not know, out of its own sentence; nothing where it complains about something else."""
    if choice := re.search(r"invalid choice: '([^']*)'", message):
        return [choice[1]]
    strange = message.partition("unrecognized arguments: ")[2]
    return [word.split("=")[0] for word in strange.split()]


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Every option and command of a parser and of those below it."""
    found: list[str] = []
    for action in parser._actions:
        found += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found += [name, *_words(below)]
        else:
            found += [str(choice) for choice in action.choices or ()]
    return found


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments understood; ends the program with status 2 and one sentence where they are not."""
    reader: argparse.ArgumentParser = parser()
    options, strange = reader.parse_known_args(arguments)
    if strange:
        # The command itself refuses, not the root: an option of another command is no option of this one.
        for chosen in (options.command, getattr(options, "kind", None)):
            below = next((action.choices for action in reader._actions if isinstance(action, argparse._SubParsersAction)), {})
            reader = below.get(str(chosen), reader)
        reader.error(f"unrecognized arguments: {' '.join(strange)}")
    return options


def parser() -> Parser:
    """The whole command line."""
    root = Parser(
        prog="vgg_viz", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="One VGG checkpoint in, one gallery out.",
        epilog="examples:\n  python -m vgg_viz report                      the bundled Tiny VGG\n"
        "  python -m vgg_viz report best.pt --data DIR   your checkpoint, measured on your pictures\n"
        "  python -m vgg_viz train --data DIR --arch vgg11 --out runs/first",
    )  # fmt: skip
    root.add_argument("--version", action="version", version=f"vgg_viz {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    shared, checkpoint = _shared(), _checkpoint()
    _report(commands, [shared, checkpoint])
    _compare(commands, [shared, checkpoint])
    _train(commands, [shared])
    _evaluate(commands, [shared, checkpoint])
    _predict(commands, [shared, checkpoint])
    inspect = _add(commands, "inspect", "say what a checkpoint holds, layer by layer, and how it is known", [shared, checkpoint],
                   "python -m vgg_viz inspect best.pt --images photos/ --json")  # fmt: skip
    inspect.add_argument("checkpoint", nargs="?", help=CHECKPOINT)
    inspect.add_argument("--images", metavar="DIR", help="pictures such as it was trained on: they tell which mean and std it expects")
    _data(commands, [shared])
    _export(commands, [shared, checkpoint])
    _serve(commands, [shared, checkpoint])
    doctor = _add(commands, "doctor", "check this installation and name every fix", [shared], "python -m vgg_viz doctor")
    doctor.add_argument("--fix", action="store_true",
                        help="put opencv-python-headless in place of opencv-python where libGL is missing")  # fmt: skip
    return root


CHECKPOINT = (
    "a checkpoint file or folder (.pt, .safetensors, TensorFlow.js, Keras), or a variant's name (vgg16, a_lrn, tiny_vgg) for random "
    "weights; default: the bundled Tiny VGG"
)

Commands = argparse._SubParsersAction


def _add(commands: Commands[Parser], name: str, about: str, parents: Sequence[Parser], example: str) -> Parser:
    return commands.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}.", parents=list(parents), allow_abbrev=False,
        epilog=f"example:\n  {example}", formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def _shared() -> Parser:
    shared = Parser(add_help=False)
    group = shared.add_argument_group("common")
    group.add_argument("--seed", type=_whole, default=0, help="of all dice (default 0)")
    group.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute")
    group.add_argument("--quiet", action="store_true", help="no progress on stderr")
    group.add_argument("--json", action="store_true", help="one JSON document on stdout, all else on stderr")
    return shared


def _checkpoint() -> Parser:
    options = Parser(add_help=False)
    group = options.add_argument_group("what the checkpoint does not say, or says wrongly")
    group.add_argument("--arch", metavar="VARIANT", help="vgg16, vgg11_bn, tiny_vgg, ...")
    group.add_argument("--classes", metavar="FILE", help="class names: one a line, JSON, or a folder with a folder for each class")
    group.add_argument("--image-size", type=int, metavar="PX", help="side of the pictures")
    group.add_argument("--padding", type=int, choices=(0, 1), help="of the 3x3 convolutions")
    group.add_argument("--mean", type=_numbers, metavar="R,G,B", help="that the first layer subtracts, in [0, 1]")
    group.add_argument("--std", type=_numbers, metavar="R,G,B", help="that the first layer divides by")
    group.add_argument("--key", metavar="KEY", help="where in the file the weights lie, such as state_dict or student")
    group.add_argument("--weights", choices=("ema", "raw"), help="which, where a file holds averaged and raw ones (default ema)")
    return options


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _port(text: str) -> int:
    if _whole(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; 0 to 65535 are")
    return int(text)


def _positive(text: str) -> int:
    if _whole(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} leaves nothing; at least 1 is needed")
    return int(text)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 0.485,0.456,0.406") from None


def _report(commands: Commands[Parser], parents: Sequence[Parser]) -> None:
    report = _add(commands, "report", "turn a checkpoint into a gallery: one HTML page with its figures and numbers", parents,
                  "python -m vgg_viz report best.pt --data pictures/ --out gallery")  # fmt: skip
    report.add_argument("checkpoint", nargs="?", help=CHECKPOINT)
    report.add_argument("--images", metavar="DIR", help="pictures to look into: a folder, or one picture")
    report.add_argument("--data", metavar="DIR", help="labelled pictures to measure on: an ImageFolder, or shapes")
    report.add_argument("--out", default="gallery", metavar="DIR", help="where galleries land (default gallery)")
    report.add_argument("--preset", default="standard", choices=("quick", "standard", "full"), help="how much to compute")
    report.add_argument("--standalone", action="store_true", help="one file to mail as well: the gallery with all that lies beside it")
    report.add_argument("--open", action="store_true", help="open the page in a browser when done")


def _compare(commands: Commands[Parser], parents: Sequence[Parser]) -> None:
    compare = _add(commands, "compare", "set two checkpoints before the same pictures, on one page", parents,
                   "python -m vgg_viz compare before.pt after.pt --data pictures/")  # fmt: skip
    compare.add_argument("first", metavar="A", help="a .pt file, or a variant's name (vgg16, a_lrn, tiny_vgg) for random weights")
    compare.add_argument("second", metavar="B", help="the other one; options about checkpoints count for both")
    compare.add_argument("--images", metavar="DIR", help="pictures to look into: a folder, or one picture")
    compare.add_argument("--data", metavar="DIR",
                         help="labelled pictures to measure on: an ImageFolder, or shapes; default: what they carry")  # fmt: skip
    compare.add_argument("--out", default="gallery", metavar="DIR", help="where galleries land (default gallery)")
    compare.add_argument("--preset", default="standard", choices=("quick", "standard", "full"), help="how much to compute")
    compare.add_argument("--open", action="store_true", help="open the page in a browser when done")


def _train(commands: Commands[Parser], parents: Sequence[Parser]) -> None:
    train = _add(commands, "train", "train a VGG and leave best.pt, last.pt and history.jsonl", parents,
                 "python -m vgg_viz train --data shapes --arch tiny_vgg --out runs/shapes")  # fmt: skip
    train.add_argument("--data", required=True, metavar="DIR", help="shapes, or an ImageFolder with train/ and val/ or test/")
    train.add_argument("--arch", default="tiny_vgg", help="tiny_vgg, vgg11, vgg16_bn, ... (default tiny_vgg)")
    train.add_argument("--out", required=True, metavar="RUN_DIR", help="where the run is kept")
    train.add_argument("--epochs", type=int)
    train.add_argument("--batch-size", type=int)
    train.add_argument("--lr", type=float, help="highest learning rate")
    train.add_argument("--image-size", type=int, metavar="PX")
    train.add_argument("--width", type=float, help="multiplies the channels of every layer")
    train.add_argument("--padding", type=int, choices=(0, 1))
    train.add_argument("--augment", help="none, flip, light, paper, strong, ...")
    train.add_argument("--train-count", type=int, metavar="N", help="pictures to train on")
    train.add_argument("--val-count", type=int, metavar="N", help="pictures to validate on")
    train.add_argument("--resume", action="store_true", help="go on with the run in RUN_DIR")


def _evaluate(commands: Commands[Parser], parents: Sequence[Parser]) -> None:
    evaluate = _add(commands, "evaluate", "measure a checkpoint on labelled pictures", parents,
                    "python -m vgg_viz evaluate best.pt --data pictures/ --json")  # fmt: skip
    evaluate.add_argument("checkpoint", nargs="?", help=CHECKPOINT)
    evaluate.add_argument("--data", metavar="DIR", help="an ImageFolder, or shapes; default: what the checkpoint carries")
    evaluate.add_argument("--limit", type=_positive, default=10_000, metavar="N", help="pictures at most (default 10000)")
    evaluate.add_argument("--dense", action="store_true", help="use the dense form (VGG only)")


def _predict(commands: Commands[Parser], parents: Sequence[Parser]) -> None:
    predict = _add(commands, "predict", "say what a checkpoint sees in pictures", parents,
                   "python -m vgg_viz predict best.pt cat.jpg dog.png")  # fmt: skip
    predict.add_argument("checkpoint", help=CHECKPOINT.partition("; default")[0])
    predict.add_argument("images", nargs="+", metavar="IMAGE", help="picture files or folders")


def _export(commands: Commands[Parser], parents: Sequence[Parser]) -> None:
    export = _add(commands, "export", "write a checkpoint for other programs: safetensors or ONNX", parents,
                  "python -m vgg_viz export best.pt best.safetensors")  # fmt: skip
    export.add_argument("checkpoint", help=CHECKPOINT.partition("; default")[0])
    export.add_argument("file", metavar="FILE", help="where to: a name that ends in .safetensors or .onnx")
    export.add_argument("--force", action="store_true", help="replace FILE where it exists")


def _data(commands: Commands[Parser], parents: Sequence[Parser]) -> None:
    data = _add(commands, "data", "paint the dataset shapes, or check a folder of pictures", [],
                "python -m vgg_viz data shapes --out pictures")  # fmt: skip
    kinds = data.add_subparsers(dest="kind", metavar="KIND", required=True, parser_class=Parser)
    shapes = _add(kinds, "shapes", "paint ten shape classes with exact object masks, as an ImageFolder", parents,
                  "python -m vgg_viz data shapes --out pictures --train 1000")  # fmt: skip
    shapes.add_argument("--out", required=True, metavar="DIR")
    shapes.add_argument("--train", type=int, default=2000, metavar="N", help="training pictures (default 2000)")
    shapes.add_argument("--val", type=int, default=500, metavar="N", help="validation pictures (default 500)")
    shapes.add_argument("--test", type=int, default=500, metavar="N", help="test pictures (default 500)")
    shapes.add_argument("--side", type=int, default=64, metavar="PX", help="of a picture (default 64)")
    check = _add(kinds, "check", "read every picture of a folder and name those that cannot be used", parents,
                 "python -m vgg_viz data check pictures/")  # fmt: skip
    check.add_argument("folder", metavar="DIR")


def _serve(commands: Commands[Parser], parents: Sequence[Parser]) -> None:
    serve = _add(commands, "serve", "browse galleries, and ask a network about a picture, in a browser on this machine", parents,
                 "python -m vgg_viz serve gallery --checkpoint vgg16.pth")  # fmt: skip
    serve.add_argument("folder", nargs="?", metavar="GALLERY_DIR", help="galleries to browse (default gallery)")
    serve.add_argument("--checkpoint", nargs="?", const="", metavar="CKPT",
                       help="the network of the live page: a .pt file or a variant's name; alone: the bundled Tiny VGG")  # fmt: skip
    serve.add_argument("--host", default="127.0.0.1", help="where to listen (default 127.0.0.1: this machine alone)")
    serve.add_argument("--port", type=_port, metavar="N", help="0 for any free one (default 8000 if it is free, else any)")
