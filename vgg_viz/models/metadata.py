"""What a file says beside its weights: class names, image side, mean and std, who wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.class_names import KEYS as CLASS_KEYS
from vgg_viz.models.class_names import SIDES, in_order, last_layer_kept
from vgg_viz.models.notes_beside import NAMES
from vgg_viz.models.recorded_accuracy import recorded_accuracy
from vgg_viz.models.unwrap_state_dict import bags
from vgg_viz.records import Evidence, RecordedAccuracy

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
COUNT_KEYS = ("num_classes", "n_classes", "nb_classes", "num_labels", "n_labels")
# Of the keys of class names, those that hold nothing else: "labels" may be those of all training pictures.
SURE_CLASS_KEYS = {*CLASS_KEYS} - {"labels", "names", "categories"}
DEEPEST = 3
LONGEST_CHAIN, MOST_CHAINS = 200, 20
LONGEST_TEXT = 4 * 2**20  # letters of a text in a safetensors header that are read as values
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
        accuracy: That the network had, by the file.
    """

    classes: tuple[str, ...] = ()
    image_side: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    accuracy: RecordedAccuracy | None = None


Bags = list[tuple[tuple[str, ...], Mapping[Any, Any]]]
Beside = Mapping[str, Mapping[str, Any]]


def notes(stored: object, beside: Beside, *, num_classes: int, channels: int, names: bool = True) -> Notes:
    """Read what stands beside the weights.

    Args:
        stored: All that the file held.
        beside: What lies beside the file, as `notes_beside` gives it; the file's own word counts before.
        num_classes: Of the network; what does not fit is named and not used, here and below.
        channels: Of its pictures.
        names: Whether to look for those of the classes.
    """
    near = bags_near(stored, beside)
    sentences = [text for text in [_maker(stored)] if text]
    classes, about_classes = _classes(near, num_classes) if names else ((), [])
    side, about_side = _side(near)
    mean, std, about_values = _preprocessing(near, channels)
    accuracy = recorded_accuracy(near)
    about_accuracy = (
        [f"The file says that the network had an accuracy of {100 * accuracy.share:.4g} % ({accuracy.place!r})."]
        if accuracy
        else []
    )
    plain = map(Evidence, (*sentences, *about_side, *about_values, *about_accuracy))
    alarms = [] if any(one.alarm for one in about_classes) or not names else _count(near, num_classes)
    return Notes(classes, side, mean, std, (*about_classes, *alarms, *plain), accuracy)


def bags_near(stored: object, beside: Beside) -> Bags:
    """Mappings in the file, its header and those of the files beside it, with the keys that lead to them."""
    near = [(path, bag) for path, bag in bags(stored) if len(path) <= DEEPEST]
    near += [(("header",), header) for header in [_header(stored)] if header]
    for name, described in beside.items():
        near += [((name, *path), bag) for path, bag in bags(described) if len(path) <= DEEPEST]
    return near


def _header(stored: object) -> dict[str, Any]:
    """The texts in the header of a safetensors file as values: "[0.5, 0.5, 0.5]" and "0.5,0.5,0.5" are three numbers."""
    texts = getattr(stored, "metadata", None)
    if not isinstance(texts, Mapping):
        return {}
    return {str(key): _as_value(text) for key, text in texts.items() if isinstance(text, str)}


def _as_value(text: str) -> Any:
    if len(text) > LONGEST_TEXT:
        return None
    for spelling in (text, f"[{text.strip('()[] ')}]"):
        try:
            return json.loads(spelling)
        except (ValueError, RecursionError):
            continue
    return text


def noted_chains(stored: object) -> list[list[object]]:
    """Lists of channels and pools in what a file held ([64, "M", 128, "A", ...]), the nearest first."""
    near = [value for path, bag in bags(stored) if len(path) <= DEEPEST for value in bag.values()]
    lists = [list(value) for value in near if isinstance(value, list | tuple) and 2 < len(value) <= LONGEST_CHAIN]
    return [value for value in lists if any(isinstance(word, str) and word in "MA" for word in value)][:MOST_CHAINS]


def noted_outputs(stored: object, beside: Beside) -> tuple[str, str] | None:
    """What the file says that its outputs mean, and where: ("sigmoid", "'hyper_parameters.loss' is 'bce'"); None: nothing.

    A flag, a task and a last activation count before a loss: some train classes that exclude each other by binary cross-entropy.
    """
    near = bags_near(stored, beside)
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


def _classes(near: Bags, count: int) -> tuple[tuple[str, ...], list[Evidence]]:
    sentences: list[Evidence] = []
    for path, bag in near:
        for key in CLASS_KEYS:
            value = bag.get(key)
            if not isinstance(value, list | tuple | Mapping) or not value:
                continue
            place = _quoted((*path, key))
            try:
                names = in_order(value, of=f"the file's {place}", numbers=SIDES.get(key))
            except CheckpointRefused as error:
                sentences.append(Evidence(f"Class names were not taken from the file: {error}"))
                continue
            if len(names) == count or (len(names), count) == (2, 1):  # one logit decides between two classes
                return names, [Evidence(f"The class names stand {_where(path, key)}.")]
            unlike = f"The file's {place} has {len(names):,} entries for {count:,} classes and was not used"
            alarm = key in SURE_CLASS_KEYS
            sentences.append(Evidence(f"{unlike}{last_layer_kept(len(names), count)}.", alarm=alarm))
    return (), sentences[:3]


def _count(near: Bags, count: int) -> list[Evidence]:
    """An alarm where settings speak of fewer classes than the network has outputs; of more, scripts often name a default."""
    for path, bag in near:
        for key in COUNT_KEYS:
            said = bag.get(key)
            if isinstance(said, int) and not isinstance(said, bool) and 1 < said < count:
                text = f"The file says {said:,} classes ({_quoted((*path, key))}) and its network has {count:,} outputs"
                return [Evidence(f"{text}{last_layer_kept(said, count)}.", alarm=True)]
    return []


def _side(near: Bags) -> tuple[int | None, list[str]]:
    for key in SIDE_KEYS:
        for path, bag in near:
            side = _square(bag.get(key))
            if side is not None:
                return side, [f"Image side: {side} px stands {_where(path, key)}."]
    return None, []


def _square(value: object) -> int | None:
    """224, (224, 224), (3, 224, 224) or "224" as one side [px]."""
    if isinstance(value, list | tuple) and 2 <= len(value) <= 3 and value[-1] == value[-2]:
        value = value[-1]
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 5:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 4 <= value <= 4096 else None


def _preprocessing(near: Bags, channels: int) -> tuple[tuple[float, ...], tuple[float, ...], list[str]]:
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
            where = f"{_where(path, mean_key, std_key)}"
            return mean, std, [f"Preprocessing: mean and std stand {where}{unit}."]
        if bag.get("do_normalize") is False and path and path[0] in NAMES:
            zeros, ones = (0.0,) * channels, (1.0,) * channels
            return zeros, ones, [f"Preprocessing: none, by {_quoted((*path, 'do_normalize'))} beside the file."]
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


def _where(path: Sequence[str], *keys: str) -> str:
    """Where entries stand: "in the file under 'args.mean' and 'args.std'"."""
    beside = bool(path) and path[0] in NAMES
    places = " and ".join(_quoted((*path[beside:], key)) for key in keys)
    return f"beside the file in {path[0]} under {places}" if beside else f"in the file under {places}"


def _quoted(path: Sequence[str]) -> str:
    text = ".".join(path)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
