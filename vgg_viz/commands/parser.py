"""The command line: its parser, the options that commands share, and how a command registers itself.

    @command("predict", order=50, add_arguments=add_arguments, about="say what a checkpoint sees in pictures", example="...")
    def run(options): ...
        return DONE

A command is a decorated function in a file of this folder. Neither it nor this file imports anything heavy at its top: asking for
help must not cost an import of torch.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NoReturn

from vgg_viz._version import __version__
from vgg_viz.registry import Registry
from vgg_viz.safe_text import one_line


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses in one sentence, with the nearest option or command."""

    def error(self, message: str) -> NoReturn:
        """Refuse in one sentence, with the nearest option or command."""
        known = {word.lstrip("-"): word for word in _words(self)}  # dashes are alike in all of them
        refused = [word.lstrip("-") for word in _refused(message)]
        near = next((known[m[0]] for word in refused if (m := get_close_matches(word, known, n=1, cutoff=0.65))), None)
        hint = f"did you mean {near}?" if near else f"see {self.prog} --help."
        self.exit(2, one_line(f"{self.prog}: {message.rstrip('.')}; {hint}") + "\n")


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


Run = Callable[[argparse.Namespace], int]


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the command line.

    order       where it stands in the help
    about       one line, without a capital and a full stop
    example     one line that works
    add_arguments  declares its arguments
    run         does it, and returns the exit status
    checkpoint  takes the options that overrule what a checkpoint says
    shared      takes the options of every command; False where its kinds take them
    """

    name: str
    order: int
    about: str
    example: str
    add_arguments: Callable[[Parser], None]
    run: Run
    checkpoint: bool
    shared: bool


COMMANDS: Registry[Command] = Registry("command", fill="vgg_viz.commands")


def command(
    name: str,
    *,
    order: int,
    about: str,
    example: str,
    add_arguments: Callable[[Parser], None],
    checkpoint: bool = True,
    shared: bool = True,
) -> Callable[[Run], Run]:
    """Register the decorated function as a command; raises VggVizError when the name is taken."""

    def register(run: Run) -> Run:
        COMMANDS.add(
            name, Command(name, order, about, example, add_arguments, run, checkpoint, shared), by=run.__module__
        )
        return run

    return register


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments understood; ends the program with status 2 and one sentence where they are not."""
    reader: argparse.ArgumentParser = build_parser()
    options, strange = reader.parse_known_args(arguments)
    if strange:
        # The command itself refuses, not the root: an option of another command is no option of this one.
        for chosen in (options.command, getattr(options, "kind", None)):
            below = next(
                (action.choices for action in reader._actions if isinstance(action, argparse._SubParsersAction)), {}
            )
            reader = below.get(str(chosen), reader)
        reader.error(f"unrecognized arguments: {' '.join(strange)}")
    return options


def build_parser() -> Parser:
    """The whole command line."""
    root = Parser(
        prog="vgg_viz",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="One VGG checkpoint in, one gallery out.",
        epilog="examples:\n  python -m vgg_viz report                      the bundled Tiny VGG\n"
        "  python -m vgg_viz report best.pt --data DIR   your checkpoint, measured on your pictures\n"
        "  python -m vgg_viz train --data DIR --arch vgg11 --out runs/first",
    )
    root.add_argument("--version", action="version", version=f"vgg_viz {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    shared, checkpoint = shared_options(), _checkpoint()
    for _, one in sorted(COMMANDS.items(), key=lambda item: item[1].order):
        parents = [shared] * one.shared + [checkpoint] * one.checkpoint
        one.add_arguments(add_command(commands, one.name, one.about, parents, one.example))
    return root


CHECKPOINT = (
    "a checkpoint file or folder (.pt, .safetensors, ONNX, Keras, TensorFlow.js), a variant's name (vgg16, a_lrn, tiny_vgg) for random "
    "weights, or vgg16:imagenet for weights that torchvision publishes"
)
CHECKPOINT_OR_BUNDLED = f"{CHECKPOINT}; default: the bundled Tiny VGG"

Commands = argparse._SubParsersAction


def add_command(commands: Commands[Parser], name: str, about: str, parents: Sequence[Parser], example: str) -> Parser:
    """A command, or a kind of one, with its line in the help and its example."""
    return commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        parents=list(parents),
        allow_abbrev=False,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def shared_options() -> Parser:
    """The options that every command takes."""
    shared = Parser(add_help=False)
    group = shared.add_argument_group("common")
    group.add_argument("--seed", type=whole, default=0, help="of all dice (default 0)")
    group.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute")
    group.add_argument("--quiet", action="store_true", help="no progress and no verdict on stderr")
    group.add_argument("--json", action="store_true", help="one JSON document on stdout, all else on stderr")
    return shared


def _checkpoint() -> Parser:
    options = Parser(add_help=False)
    group = options.add_argument_group("what the checkpoint does not say, or says wrongly")
    group.add_argument("--arch", metavar="VARIANT", help="vgg16, vgg11_bn, tiny_vgg, ...")
    group.add_argument(
        "--classes", metavar="FILE", help="class names: one a line, JSON, or a folder with a folder for each class"
    )
    group.add_argument("--image-size", type=int, metavar="PX", help="side of the pictures")
    group.add_argument(
        "--plan", metavar="PLAN", help="its layers: '64 64 M 128 128 M | 512 K' (inspect prints that of every network)"
    )
    group.add_argument(
        "--resize",
        metavar="RULE",
        help="how pictures are fitted: 256 for a shorter side of 256 px, then the centre; or squash (default: the shorter side to "
        "--image-size)",
    )
    group.add_argument(
        "--model",
        metavar="FILE.py:NAME",
        help="your own code, which is run: a network, its class, or a function that makes it",
    )
    group.add_argument("--padding", type=int, choices=(0, 1), help="of the 3 × 3 convolutions")
    group.add_argument("--mean", type=numbers, metavar="R,G,B", help="that the first layer subtracts, in [0, 1]")
    group.add_argument("--std", type=numbers, metavar="R,G,B", help="that the first layer divides by")
    group.add_argument(
        "--bgr",
        action=argparse.BooleanOptionalAction,
        help="it reads blue first, as Caffe's and OpenCV's do; --mean and --std stay red, green, blue",
    )
    group.add_argument("--head", metavar="NAME", help="the last layer, where a file has several")
    group.add_argument("--key", metavar="KEY", help="where in the file the weights lie, such as state_dict or student")
    group.add_argument(
        "--weights", choices=("ema", "raw"), help="which, where a file holds averaged and raw ones (default ema)"
    )
    group.add_argument(
        "--outputs",
        choices=("softmax", "sigmoid", "scores"),
        help="what they mean: one class of several, a yes or no each, or scores (default softmax; of one output sigmoid)",
    )
    return options


def whole(text: str) -> int:
    """A whole number from 0 on."""
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def port(text: str) -> int:
    """A port of this machine."""
    if whole(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; 0 to 65535 are")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if whole(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} leaves nothing; at least 1 is needed")
    return int(text)


def seconds(text: str) -> float:
    """A time that something may take."""
    try:
        found = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, such as 30") from None
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} leaves no time; give the seconds that it may take, such as 30")
    return found


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between them."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 0.485,0.456,0.406") from None
