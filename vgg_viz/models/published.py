"""Weights that torchvision publishes, by name (vgg16:imagenet): fetched by its own loader, with all that it says of them."""

from __future__ import annotations

import contextlib
import http.client
import io
import math
import os
import pickle
import re
import socket
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from vgg_viz.errors import CheckpointRefused, InputRefused, UnknownName
from vgg_viz.maths.fitting import fitting_text
from vgg_viz.models.build import architecture
from vgg_viz.models.vgg import canonical
from vgg_viz.records import Checkpoint, Evidence, RecordedAccuracy, Resize

USUAL = "imagenet"  # the weights that torchvision itself would take
PATIENCE = 20.0  # [s] for a network that does not answer
PLAN = "--plan"
SETTLED = ("--classes", "--mean", "--std", "--image-size", "--resize")  # what torchvision says of its weights


@dataclass(frozen=True, slots=True)
class Published:
    """One set of published weights.

    Attributes:
        network: As torchvision calls it, such as "vgg16_bn".
        weights: Its entry in torchvision's list: `url`, `transforms`, `meta`.
    """

    network: str
    weights: Any

    @property
    def name(self) -> str:
        """Such as "vgg16:imagenet1k_v1"."""
        return f"{self.network}:{self.weights.name.lower()}"

    @property
    def file(self) -> Path:
        """Where torchvision's loader keeps it."""
        folder = Path(torch.hub.get_dir())
        return folder / "checkpoints" / os.path.basename(urlparse(str(self.weights.url)).path)


def published(source: object) -> Published | None:
    """The weights that a source such as "vgg16:imagenet" names; None where it names a file, or a variant alone.

    Raises:
        UnknownName: The network is known, and torchvision publishes no such weights for it; with those that it does publish.
    """
    match = re.fullmatch(r"([A-Za-z][\w-]*):([\w.-]*)", str(source))
    if match is None or os.path.exists(str(source)):
        return None
    network, wanted = match[1].lower(), match[2].lower()
    known = all_published()
    if network not in {one.network for one in known}:
        if not network.startswith("vgg") and not _is_variant(network):
            return None
        raise UnknownName("network with published weights", network, dict.fromkeys(one.network for one in known))
    own = [one for one in known if one.network == network]
    if wanted == USUAL:
        default = type(own[0].weights).DEFAULT
        return next(one for one in own if one.weights is default)
    found = next((one for one in own if wanted in (one.weights.name.lower(), str(one.weights).lower())), None)
    if found is None:
        raise UnknownName(
            f"set of published {network} weights", match[2], (USUAL, *(one.weights.name.lower() for one in own))
        )
    return found


def all_published() -> tuple[Published, ...]:
    """Every set of weights that this torchvision publishes for a VGG, in its order."""
    from torchvision.models import get_model_weights, list_models

    return tuple(Published(name, one) for name in list_models(include="vgg*") for one in get_model_weights(name))


def _is_variant(name: str) -> bool:
    try:
        canonical(name)
    except InputRefused:
        return False
    return True


def fetched(one: Published) -> Path:
    """The file in torchvision's cache; torchvision's loader brings it there, and checks its hash on the way.

    Raises:
        CheckpointRefused: It is not there and cannot be fetched: which file to put where.
    """
    file = one.file
    if file.is_file():
        return file
    try:
        with _patient(), contextlib.redirect_stdout(io.StringIO()):  # the loader announces itself where results stand
            one.weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, http.client.HTTPException, pickle.UnpicklingError) as error:
        if not file.is_file():  # a file that came whole and is no checkpoint is refused where it is read
            raise CheckpointRefused(
                f"{one.name} is not in torchvision's cache and cannot be fetched ({_brief(error)}); "
                f"put {file.name} (from {one.weights.url}) into {_short(file.parent)} and try again."
            ) from None
    return file


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """Within it, a network that does not answer is waited for only so long."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _brief(error: BaseException) -> str:
    reason = getattr(error, "reason", error)
    text = str(getattr(reason, "strerror", None) or reason)
    return " ".join(text.split())[:100] or type(error).__name__


def _short(folder: Path) -> str:
    """A folder as one would type it."""
    home = Path.home()
    return f"~/{folder.relative_to(home).as_posix()}" if folder.is_relative_to(home) else str(folder)


def with_facts(checkpoint: Checkpoint, one: Published, given: Collection[str]) -> Checkpoint:
    """The checkpoint with what torchvision says of it: classes, mean and std, side and resize rule, accuracy, where it is from.

    Args:
        checkpoint: As its file was read.
        one: What it is.
        given: Options that the user has set, such as "--mean": these stay.
    """
    said, meta = one.weights.transforms(), dict(one.weights.meta)
    about = checkpoint.architecture
    about = replace(
        about,
        mean=about.mean if "--mean" in given else tuple(map(float, said.mean)),
        std=about.std if "--std" in given else tuple(map(float, said.std)),
        image_side=about.image_side if "--image-size" in given else int(said.crop_size[0]),
    )
    rule = Resize(
        about.image_side,
        int(said.resize_size[0]) if said.resize_size[0] > about.image_side else None,
        interpolation="bicubic" if said.interpolation.value == "bicubic" else "bilinear",
    )
    names = tuple(map(str, meta.get("categories") or ()))
    usable = bool(names) and len(names) == about.num_classes and "--classes" not in given
    top1, top5 = (_measured(meta, key) for key in ("acc@1", "acc@5"))
    alike = _kinds(about.plan) == _kinds(architecture(one.network).plan)
    settled = {option for option in (*SETTLED, *([PLAN] if alike else [])) if option not in given}
    stranger = f"The file {one.file.name} in torchvision's cache does not hold the layers of {one.network}: it is another network."
    file, url = one.file.name, str(one.weights.url)
    provenance = replace(
        checkpoint.provenance,
        evidence=(
            *map(Evidence, (*_sentences(one, usable, rule if "--resize" in settled else None), *_origin(meta))),
            *(() if alike or PLAN in given else (Evidence(stranger, alarm=True),)),
            *(fact for fact in checkpoint.provenance.evidence if fact.open(settled)),
        ),
        alternatives=tuple(fact for fact in checkpoint.provenance.alternatives if fact.open(settled)),
        training={"published": {"weights": repr(one.weights), "file": file, "url": url, "top1": top1, "top5": top5}},
        accuracy=None if top1 is None else RecordedAccuracy(top1 / 100, "torchvision's list of weights"),
    )
    return replace(
        checkpoint,
        architecture=about,
        classes=names if usable else checkpoint.classes,
        named=usable or checkpoint.named,
        resize=rule if "--resize" in settled else checkpoint.resize,
        provenance=provenance,
    )


def _kinds(plan: str) -> str:
    """The layers in front of the classifier, whatever their widths: torchvision's features, with or without its average pool."""
    return re.sub(r"\d+", "n", plan.partition("|")[0]).removesuffix(" ").removesuffix(" Gn")


def _sentences(one: Published, named: bool, rule: Resize | None) -> list[str]:
    """What the network is, and what of it torchvision says."""
    top1, top5 = (_measured(one.weights.meta, key) for key in ("acc@1", "acc@5"))
    sentences = [
        f"{one.name} is torchvision's {one.weights!r}, read from its cache ({one.file.name}).",
        f"{'Mean, std and class names' if named else 'Mean and std'} are those that torchvision publishes with it.",
    ]
    if rule is not None:
        sentences.append(f"The network sees {fitting_text(rule)}, as torchvision publishes.")
    if top1 is not None:
        five = "" if top5 is None else f", {top5:.2f} % among its first five answers"
        sentences.append(f"On the validation pictures of ImageNet-1K torchvision measured {top1:.2f} % right{five}.")
    return sentences


def _origin(meta: Mapping[str, Any]) -> list[str]:
    """How it was trained, and under which licence."""
    recipe, licence = meta.get("recipe"), meta.get("license")
    return [
        *([f"How it was trained: {recipe}"] if isinstance(recipe, str) else []),
        f"Licence: {licence}." if isinstance(licence, str) else LICENCE,
    ]


LICENCE = (
    "Licence: torchvision names none for these weights; its code is under the BSD 3-Clause License, and the terms of the pictures "
    "that they were trained on (ImageNet-1K) may apply."
)


def _measured(meta: Mapping[str, Any], key: str) -> float | None:
    """An accuracy on ImageNet-1K [%]; None where torchvision says none, as for weights without a classifier."""
    value = dict(dict(meta.get("_metrics") or {}).get("ImageNet-1K") or {}).get(key)
    return value if isinstance(value, float) and math.isfinite(value) else None
