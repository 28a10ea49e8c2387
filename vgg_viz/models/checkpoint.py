"""Checkpoints on disk: written atomically, opened without ever running what is inside."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vgg_viz.arguments import require_arguments
from vgg_viz.arguments import shown as shown_value
from vgg_viz.atomic import ADVICE, whole_file
from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.models import class_names, resize_rule
from vgg_viz.models.build import architecture as usual_architecture
from vgg_viz.models.build import build, require_buildable
from vgg_viz.models.check_finite import require_finite
from vgg_viz.models.containers import Stored, model_files, open_file, shown
from vgg_viz.models.formats import FORMATS
from vgg_viz.models.formats.own import pack
from vgg_viz.models.live.by_code import load_by_code
from vgg_viz.models.metadata import Beside
from vgg_viz.models.notes_beside import notes_beside
from vgg_viz.models.other_networks import require_one_vgg
from vgg_viz.models.outputs import class_count, has_scores, names_for, numbered_names, settled_outputs
from vgg_viz.models.overrides import noted, overridden
from vgg_viz.models.published import fetched, published, with_facts
from vgg_viz.models.recognise import recognise
from vgg_viz.models.vgg import canonical
from vgg_viz.models.wishes import Wishes
from vgg_viz.records import Checkpoint, Evidence, Provenance

BUNDLED = Path(__file__).parent.parent / "assets" / "sample.pt"


def save(
    path: str | os.PathLike[str],
    checkpoint: Checkpoint,
    *,
    extra: Mapping[str, Any] | None = None,
    advice: str = ADVICE,
) -> None:
    """Write a checkpoint whole or not at all.

    Args:
        path: Of the file to write.
        checkpoint: What to write.
        extra: Plain containers and tensors stored under "extra" (a training run's state); see `read_extra`.
        advice: The next step, told where the disk says no.

    Raises:
        OutputRefused: Where the disk says no; what stood at `path` then stands there still.
    """
    if not isinstance(checkpoint, Checkpoint):
        raise InputRefused(f"{shown_value(checkpoint)} came, where a checkpoint is expected; load(path) opens one.")
    require_arguments({"path": path})
    # Opened here: torch cannot open a path that is no text.
    with whole_file(Path(path), advice=advice) as temporary, open(temporary, "wb") as file:
        torch.save({**pack(checkpoint), **resize_rule.as_plain(checkpoint), "extra": dict(extra or {})}, file)


def load(  # noqa: PLR0913 - the front door: an option for each thing that a file may leave open
    source: str | os.PathLike[str] | None = None,
    *,
    arch: str | None = None,
    plan: str | None = None,
    classes: Sequence[str] | Mapping[str, str] | None = None,
    image_size: int | None = None,
    padding: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    bgr: bool | None = None,
    key: str | None = None,
    weights: str | None = None,
    head: str | None = None,
    outputs: str | None = None,
    resize: str | int | None = None,
    folder_classes: Sequence[str] = (),
    seed: int = 0,
    model: str | None = None,
) -> Checkpoint:
    """Open a checkpoint; weights stay on disk, memory-mapped, until they are used.

    Args:
        source: A file; a variant's name ("vgg16"): seeded random weights; "vgg16:imagenet": the weights
            that torchvision publishes, see `models.published`; None: the bundled Tiny VGG.
        arch: The variant, in the place of what was inferred, as the next seven.
        plan: The chain of layers, in the words of `models.plan`: "64 64 M 128 128 M | 512 K".
        classes: Names of the classes in the order of the outputs, or a mapping that numbers them; {"21": "fire lily"} also
            says what the file's own names mean.
        image_size: Side of the pictures [px].
        padding: Of the 3x3 convolutions [px].
        mean: Subtracted per channel (red, green, blue), on pictures in [0, 1].
        std: Divided by per channel.
        bgr: Whether the network reads blue first, as Caffe's and OpenCV's do; its first kernels are then turned.
        key: Where in the file the weights lie, of several sets.
        weights: "ema" or "raw", of several sets.
        head: Name of the last layer, where a file has several.
        outputs: What the logits mean: "softmax", "sigmoid" or "scores".
        resize: How pictures are fitted: a length of their shorter side [px], of which the centre is seen, or "squash".
        folder_classes: Names of the folders of labelled pictures, taken where the file carries no names and their
            number fits.
        seed: Of random weights, where `source` is a name.
        model: "FILE.py:NAME", your own code, which is run: a network, its class, or a function that makes it; it takes the weights.

    Returns:
        Checkpoint; `build(checkpoint)` makes it run.

    Raises:
        CheckpointRefused: With one sentence: missing, a folder, empty, no checkpoint, unsafe, not a VGG, not finite.
    """
    given: dict[str, object] = {"path": source, "arch": arch, "classes": classes, "key": key, "weights": weights}
    given |= {"image_size": image_size, "padding": padding, "mean": mean, "std": std, "resize": resize}
    given |= {"plan": plan, "head": head, "outputs": outputs, "model": model}
    require_arguments({**given, "folder_classes": folder_classes, "seed": seed}, optional=tuple(given))
    wishes = Wishes(
        key=key,
        weights=weights,
        head=head,
        arch=arch,
        plan=plan,
        image_side=image_size,
        padding=padding,
        mean=None if mean is None else tuple(map(float, mean)),
        std=None if std is None else tuple(map(float, std)),
        bgr=bgr,
        outputs=outputs,
        resize=resize,
        names=not isinstance(classes, Sequence),
    )
    if model is not None:
        return with_names(load_by_code(source, model, wishes), classes, folder_classes)
    if source is not None and not Path(source).is_file() and (name := _variant(str(source))):
        checkpoint = _untrained(name, seed, wishes, len(classes) if classes else 0)
        checkpoint = resize_rule.with_resize(checkpoint, None, {}, resize)
    else:
        named = published(source)
        path = fetched(named) if named else BUNDLED if source is None else Path(source)
        checkpoint = _read(path, wishes)
        if named:
            says = {
                "--plan": plan or arch,
                "--classes": classes,
                "--mean": mean,
                "--std": std,
                "--image-size": image_size,
                "--resize": resize,
            }
            checkpoint = with_facts(checkpoint, named, [option for option, value in says.items() if value is not None])
        require_finite(checkpoint.weights, path)
    return with_names(checkpoint, classes, folder_classes)


def read_checkpoint(path: Path) -> Checkpoint:
    """What a file holds, translated by the first format that knows it; weights mapped, neither read nor checked yet.

    Raises:
        CheckpointRefused: The file is no checkpoint that can be used.
    """
    return _read(path, Wishes())


def _read(path: Path, wishes: Wishes) -> Checkpoint:
    return read_stored(open_file(path), path, notes_beside(path), wishes)


def read_stored(stored: Stored, path: Path, beside: Beside, wishes: Wishes) -> Checkpoint:
    """What a file or a state dict in memory holds, translated by the first format that knows it; not checked yet.

    Args:
        stored: What it holds.
        path: Of the file; of what is no file, what it is called.
        beside: What lies beside the file, as `notes_beside` gives it.
        wishes: What the user says of it.

    Raises:
        CheckpointRefused: No format knows it.
    """
    require_one_vgg(stored.value, path, wishes.key)
    reading = recognise(stored.value, wishes)
    if reading is None:
        raise CheckpointRefused(
            f"{shown(path)} opened, but holds {_described(stored.value)}, which is no VGG checkpoint; "
            "expected a state dict of a VGG or Tiny VGG, or a file written by `vgg_viz train`."
        )
    if reading.format not in FORMATS:  # formats of whole files know what stands beside their weights
        reading = noted(reading, stored.value, beside, names=wishes.names)
    reading = overridden(reading, wishes)
    reading = settled_outputs(reading, stored.value, beside, wishes.outputs)
    single, converted = _single_precision(reading.weights, path)
    provenance = Provenance(
        Path(os.path.abspath(path)).name,
        "",  # "." is a folder with a name
        reading.format,
        (*map(Evidence, stored.evidence), *reading.evidence, *map(Evidence, converted)),
        reading.alternatives,
        reading.ignored_keys,
        reading.data,
        reading.training,
        reading.accuracy,
    )
    checkpoint = Checkpoint(
        require_buildable(reading.architecture),
        reading.classes,
        single,
        reading.history,
        reading.specimens,
        provenance,
        reading.named,
    )
    return resize_rule.with_resize(checkpoint, stored.value, beside, wishes.resize)


def read_extra(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save` stored under "extra"; empty for files of other makers."""
    value = open_file(Path(path)).value
    return dict(value.get("extra") or {}) if isinstance(value, Mapping) else {}


def sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a checkpoint's bytes: of the file, or of all `model_files` one after another."""
    digest = hashlib.sha256()
    for part in model_files(Path(path)):
        with open(part, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def weights_sha256(checkpoint: Checkpoint) -> str:
    """Hexadecimal SHA-256 of a checkpoint in memory: of its chain, and of its weights in the order of their names."""
    digest = hashlib.sha256(checkpoint.architecture.plan.encode())
    for key in sorted(checkpoint.weights):
        weight = checkpoint.weights[key].detach().cpu().contiguous()
        digest.update(f"{key} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(weight.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _single_precision(weights: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights as float32, with a sentence where they were not: pictures are float32, and layers refuse to mix."""
    for key, weight in weights.items():
        if weight.layout != torch.strided or weight.is_quantized or weight.device.type != "cpu":
            kind = "quantised" if weight.is_quantized else str(weight.layout).removeprefix("torch.")
            raise CheckpointRefused(
                f"{shown(path)} holds {key} as a {kind} tensor, plain dense weights were expected; convert it "
                "(.to_dense(), .dequantize()) and save again."
            )
    counters = [key for key in weights if key.endswith("num_batches_tracked")]
    kinds = {str(weight.dtype).removeprefix("torch.") for key, weight in weights.items() if key not in counters}
    odd = next((key for key, weight in weights.items() if key not in counters and not weight.is_floating_point()), None)
    if odd is not None:
        raise CheckpointRefused(
            f"{shown(path)} holds {odd} as {str(weights[odd].dtype).removeprefix('torch.')}, floating-point weights were expected; "
            "save the network as it was before it was quantised or converted."
        )
    if kinds <= {"float32"}:
        return dict(weights), ()
    single = {key: weight if key in counters else weight.float() for key, weight in weights.items()}
    return single, (f"The weights are stored as {', '.join(sorted(kinds))} and were converted to float32.",)


def _described(stored: object) -> str:
    if isinstance(stored, Mapping):
        keys = ", ".join(repr(str(key))[:40] for key in list(stored)[:4])
        return f"a mapping with {len(stored)} keys ({keys}{', ...' if len(stored) > 4 else ''})"
    return f"an object of type {type(stored).__name__}"


# ---------------------------------------------------------------- without a file, and names


def _variant(name: str) -> str | None:
    try:
        canonical(name)
    except InputRefused:
        return None
    return name


def _untrained(name: str, seed: int, wishes: Wishes, count: int) -> Checkpoint:
    of_a_file = [
        option for option in ("key", "weights", "head", "arch", "plan", "bgr") if getattr(wishes, option) is not None
    ]
    if of_a_file:
        raise InputRefused(
            f"{name!r} is a variant's name, not a file; --{of_a_file[0]} says something of a file: leave it out, or give the file."
        )
    given: dict[str, Any] = dict(wishes.fields)
    given |= {"num_classes": count} if count else {}
    given |= {"outputs": wishes.outputs} if wishes.outputs else {}
    wanted = usual_architecture(name, **given)
    weights = build(wanted, seed=seed).state_dict()
    provenance = Provenance(
        name,
        "",
        "untrained",
        (Evidence(f"{name!r} is a variant's name, not a file: seeded random weights (seed {seed})."),),
        training={"untrained": True, "seed": seed},
    )
    return Checkpoint(wanted, (), weights, provenance=provenance)


def with_names(
    checkpoint: Checkpoint, given: Sequence[str] | Mapping[str, str] | None, folder: Sequence[str]
) -> Checkpoint:
    """The checkpoint with a name for each class: given, from the file, from the folder of pictures, ImageNet's, or numbers.

    Names that are empty or alike are refused where the user gave them; where the file holds them, they are not used, and that is said.
    """
    about = checkpoint.architecture
    count, named, evidence = class_count(about), True, []
    if not has_scores(about):
        if given:
            raise InputRefused(f"{len(given)} class names came for a file that has no classifier; leave --classes out.")
        return replace(checkpoint, classes=())
    own, fault = _distinct(
        class_names.expected(names_for(about, checkpoint.classes), count) if checkpoint.classes else ()
    )
    if fault:
        evidence.append(Evidence(fault))
    if given is not None:
        names = class_names.expected(
            names_for(about, class_names.of_user(given, own if checkpoint.named else ())), count
        )
        evidence.append(Evidence("You gave the class names."))
    elif own:
        names, named = own, checkpoint.named
    elif len(folder) == count:
        names = tuple(folder)
        evidence.append(
            Evidence(
                "The class names are those of --data in alphabetical order, as ImageFolder numbers them.",
                ("--classes",),
            )
        )
    elif count == 1000:
        names = class_names.imagenet()
        evidence.append(
            Evidence(
                "The class names are ImageNet-1k's in torchvision's order, because there are 1,000 classes.",
                ("--classes",),
            )
        )
    else:
        names, named = numbered_names(about), False
        if checkpoint.provenance.format != "untrained":
            why = "because the file's names cannot be used" if fault else "because the file carries no names"
            evidence.append(Evidence(f"The classes are called by their numbers, {why}.", ("--classes",)))
    provenance = replace(checkpoint.provenance, evidence=(*checkpoint.provenance.evidence, *evidence))
    return replace(checkpoint, classes=names, provenance=provenance, named=named)


def _distinct(names: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The names that a file carries; () with the sentence that says why they are not used, where some are empty or alike."""
    try:
        return class_names.require_distinct(names, "the file's list of class names"), ""
    except CheckpointRefused as error:
        return (), f"Class names were not taken from the file: {error}"
