"""What a file says beside its weights: class names, image side, mean and std, who wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.class_names import KEYS as CLASS_KEYS
from vgg_viz.models.class_names import in_order
from vgg_viz.models.unwrap_state_dict import bags

# The side that a network is evaluated at counts before the one it was trained at.
SIDE_KEYS = (
    "val_crop_size",
    "image_size",
    "img_size",
    "image_side",
    "input_size",
    "im_size",
    "crop_size",
    "resolution",
    "train_crop_size",
)
MEAN_KEYS = ("mean", "image_mean", "img_mean", "pixel_mean", "norm_mean", "normalize_mean", "dataset_mean")
STD_KEYS = ("std", "image_std", "img_std", "pixel_std", "norm_std", "normalize_std", "dataset_std")
DEEPEST = 3
# What a network was trained for says what its outputs mean. Words without signs, in small letters; a loss only by its name.
TASK_KEYS = ("problem_type", "task", "task_type", "task_name", "problem", "mode", "objective", "classification_type")
LOSS_KEYS = ("loss", "criterion", "loss_fn", "loss_func", "loss_function", "loss_name", "loss_type", "criterion_name")
LAST_KEYS = ("output_activation", "final_activation", "last_activation", "activation_out", "head_activation", "outputs")
FLAG_KEYS = ("multilabel", "multi_label", "is_multilabel", "multi_label_classification", "is_multi_label")
TASKS = {
    "multilabel": "sigmoid",
    "multilabelclassification": "sigmoid",
    "binary": "sigmoid",
    "binaryclassification": "sigmoid",
    "regression": "scores",
    "singlelabelclassification": "softmax",
    "multiclass": "softmax",
    "multiclassclassification": "softmax",
}
LOSSES = {
    "bce": "sigmoid",
    "bceloss": "sigmoid",
    "bcelogits": "sigmoid",
    "bcewithlogits": "sigmoid",
    "bcewithlogitsloss": "sigmoid",
    "binarycrossentropy": "sigmoid",
    "binarycrossentropywithlogits": "sigmoid",
    "sigmoidcrossentropy": "sigmoid",
    "multilabelsoftmarginloss": "sigmoid",
    "asymmetricloss": "sigmoid",
    "mse": "scores",
    "mseloss": "scores",
    "meansquarederror": "scores",
    "l1": "scores",
    "l1loss": "scores",
    "mae": "scores",
    "meanabsoluteerror": "scores",
    "huber": "scores",
    "huberloss": "scores",
    "smoothl1": "scores",
    "smoothl1loss": "scores",
    "ce": "softmax",
    "celoss": "softmax",
    "crossentropy": "softmax",
    "crossentropyloss": "softmax",
    "categoricalcrossentropy": "softmax",
    "sparsecategoricalcrossentropy": "softmax",
    "nll": "softmax",
    "nllloss": "softmax",
}
LAST = {"sigmoid": "sigmoid", "softmax": "softmax", "linear": "scores", "scores": "scores", "identity": "scores"}


@dataclass(frozen=True, slots=True)
class Notes:
    """What was found; empty where the file says nothing. `evidence` has a sentence for each thing, and for what could not be used.

    Attributes:
        mean: Subtracted per channel, on pictures in [0, 1].
        std: Divided by per channel.
    """

    classes: tuple[str, ...] = ()
    image_side: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    evidence: tuple[str, ...] = ()


def notes(stored: object, *, num_classes: int, channels: int, names: bool = True) -> Notes:
    """Read what stands beside the weights.

    Args:
        stored: All that the file held.
        num_classes: Of the network; what does not fit is named and not used, here and below.
        channels: Of its pictures.
        names: Whether to look for those of the classes.
    """
    near = [(path, bag) for path, bag in bags(stored) if len(path) <= DEEPEST]
    sentences = [text for text in [_maker(stored)] if text]
    classes, about_classes = _classes(near, num_classes) if names else ((), [])
    side, about_side = _side(near)
    mean, std, about_values = _preprocessing(near, channels)
    return Notes(classes, side, mean, std, (*sentences, *about_classes, *about_side, *about_values))


def noted_outputs(stored: object) -> tuple[str, str] | None:
    """What the file says that its outputs mean, and where: ("sigmoid", "'hyper_parameters.loss' is 'bce'"); None: nothing.

    A flag, a task and a last activation count before a loss: some train classes that exclude each other by binary cross-entropy.
    """
    near = [(path, bag) for path, bag in bags(stored) if len(path) <= DEEPEST]
    for path, bag in near:
        for key in FLAG_KEYS:
            if bag.get(key) is True:
                return "sigmoid", f"{_quoted((*path, key))} is True"
    for keys, known in ((TASK_KEYS, TASKS), (LAST_KEYS, LAST), (LOSS_KEYS, LOSSES)):
        for path, bag in near:
            for key in keys:
                value = bag.get(key)
                if isinstance(value, str) and (meant := known.get(_letters(value))):
                    return meant, f"{_quoted((*path, key))} is {value[:40]!r}"
    return None


def _letters(text: str) -> str:
    """A word as the tables above hold it: "nn.BCEWithLogitsLoss()" is "bcewithlogitsloss"."""
    word = text[:80].rpartition(".")[2].partition("(")[0]
    return "".join(letter for letter in word.lower() if letter.isalnum())


def _maker(stored: object) -> str:
    if isinstance(stored, Mapping) and isinstance(version := stored.get("pytorch-lightning_version"), str):
        return f"Lightning {version[:20]} wrote the file."
    return ""


def _classes(near: list[tuple[tuple[str, ...], Mapping[Any, Any]]], count: int) -> tuple[tuple[str, ...], list[str]]:
    sentences = []
    for path, bag in near:
        for key in CLASS_KEYS:
            value = bag.get(key)
            if not isinstance(value, list | tuple | Mapping) or not value:
                continue
            place = _quoted((*path, key))
            try:
                names = in_order(value, of=f"the file's {place}")
            except CheckpointRefused as error:
                sentences.append(f"Class names were not taken from the file: {error}")
                continue
            if len(names) == count or (len(names), count) == (2, 1):  # one logit decides between two classes
                return names, [f"The class names stand in the file under {place}."]
            sentences.append(f"The file's {place} has {len(names):,} entries for {count:,} classes and was not used.")
    return (), sentences[:3]


def _side(near: list[tuple[tuple[str, ...], Mapping[Any, Any]]]) -> tuple[int | None, list[str]]:
    for key in SIDE_KEYS:
        for path, bag in near:
            side = _square(bag.get(key))
            if side is not None:
                return side, [f"Image side: {side} px stands in the file under {_quoted((*path, key))}."]
    return None, []


def _square(value: object) -> int | None:
    """224, (224, 224), (3, 224, 224) or "224" as one side [px]."""
    if isinstance(value, list | tuple) and 2 <= len(value) <= 3 and value[-1] == value[-2]:
        value = value[-1]
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 5:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 4 <= value <= 4096 else None


def _preprocessing(
    near: list[tuple[tuple[str, ...], Mapping[Any, Any]]], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...], list[str]]:
    """Mean and std from settings, or from buffers of a layer that normalises (`normalize.mean`)."""
    for path, bag in near:
        pairs = [
            (_named(bag, MEAN_KEYS, channels, "settings"), _named(bag, STD_KEYS, channels, "settings")),
            (_named(bag, MEAN_KEYS, channels, "buffers"), _named(bag, STD_KEYS, channels, "buffers")),
        ]
        for one, other in pairs:
            if one is None or other is None or not all(value > 0 for value in other[1]):
                continue
            (mean_key, mean), (std_key, std) = one, other
            pixels = max(std) > 1.5 or max(mean) > 1.5  # given for values from 0 to 255
            if pixels:
                mean, std = tuple(value / 255 for value in mean), tuple(value / 255 for value in std)
            unit = ", divided by 255 for pictures in [0, 1]" if pixels else ""
            where = f"{_quoted((*path, mean_key))} and {_quoted((*path, std_key))}"
            return mean, std, [f"Preprocessing: mean and std stand in the file under {where}{unit}."]
    return (), (), []


def _named(
    bag: Mapping[Any, Any], names: Sequence[str], channels: int, kind: str
) -> tuple[str, tuple[float, ...]] | None:
    """The first entry called so that holds a number for each channel."""
    if kind == "settings":
        tries = [(name, bag.get(name)) for name in names]
    else:
        tries = [
            (key, value)
            for key, value in bag.items()
            if isinstance(value, Tensor) and isinstance(key, str) and key.rpartition(".")[2] in names
        ]
    return next(((key, numbers) for key, value in tries if (numbers := _values(value, channels))), None)


def _values(value: object, channels: int) -> tuple[float, ...]:
    if isinstance(value, Tensor):
        value = value.flatten().tolist() if value.numel() == channels and value.is_floating_point() else None
    elif type(value).__name__ == "ndarray":
        value = value.ravel().tolist() if getattr(value, "size", 0) == channels else None  # type: ignore[attr-defined]
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == channels:
        numbers = tuple(float(number) for number in value if isinstance(number, int | float))
        if len(numbers) == channels and all(map(isfinite, numbers)):
            return numbers
    return ()


def _quoted(path: Sequence[str]) -> str:
    text = ".".join(path)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
