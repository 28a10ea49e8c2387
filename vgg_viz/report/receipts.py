"""Receipts: each map raw, signed and float, with all that it depends on, as a pair of files.

A receipt is one map set of one method, layer and target over some pictures: `<slug>.npz` holds the arrays, `<slug>.json`
says what they are. It is written and read in three lines:

    here = origin(model, batch.images, batch.names, classes, checkpoint=sha256)    what all receipts of one report share
    name = write(folder, attribution, here, target="predicted")                    both files whole, or none
    kept = read(folder / f"{name}.json");  matches(kept, here)                     refused when damaged; stale when it does not match

The same map gives the same bytes: no clock in the archive, and no seconds where SOURCE_DATE_EPOCH is set.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from vgg_viz.atomic import whole_file
from vgg_viz.attribution import methods
from vgg_viz.errors import ReceiptRefused
from vgg_viz.plain_json import json_text, plain
from vgg_viz.records import Attribution
from vgg_viz.report.stored import arrays_of, told_in
from vgg_viz.versions import reproducible, versions

SCHEMA = 1
SAMPLED = 256  # values of each weight that tell which network was built
DEPENDS_ON = ("vgg_viz", "torch", "captum")  # versions under which a map is another map
ARRAYS = {"values": ("<f4", 3), "targets": ("<i8", 1), "residual": ("<f4", 1), "against": ("<i8", 1)}  # type and axes


@dataclass(frozen=True, slots=True)
class Origin:
    """What all receipts of one report share; where any of it differs, a map would be another map.

    checkpoint  SHA-256 of the file; "" for random weights
    network     SHA-256 of what was built from it: architecture (mean and std included) and values sampled from every weight
    pictures    their names, hostile until escaped; pixels: SHA-256 of their values
    classes     all names, in the order of the outputs
    device      "cpu", "cuda", ...; dtype of the weights; versions of what computes
    """

    checkpoint: str
    network: str
    pictures: tuple[str, ...]
    pixels: str
    classes: tuple[str, ...]
    device: str
    dtype: str
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Receipt:
    """One map set as it was written; every text in it comes from a file and is hostile until escaped.

    found   values (B, h, w) float32 and all that `attribute` said, on the CPU
    target  the word that was asked: "predicted", "second", the name of a class
    title   of the method; family: gradient, cam, relevance, perturbation
    origin  of the maps, as the file tells it (see `Origin`; of the classes only a SHA-256)
    slug    the stem of its files
    """

    found: Attribution
    target: str
    title: str
    family: str
    origin: Mapping[str, Any]
    slug: str = ""

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names of the pictures, one a map."""
        return tuple(self.origin["pictures"])


def origin(
    model: nn.Module, images: Tensor, names: Sequence[str], classes: Sequence[str], *, checkpoint: str, network: str | None = None
) -> Origin:
    """What the receipts of maps of `model` on `images` (B, C, H, W) in [0, 1] share.

    names       of the pictures; classes: names in the order of the outputs
    checkpoint  SHA-256 of the file, or "" for random weights
    network     from `network_of`, where it is known already
    """
    weight = next(model.parameters())
    dtype = str(weight.dtype).removeprefix("torch.")
    used = {name: version for name, version in versions().items() if name in DEPENDS_ON}
    network = network_of(model) if network is None else network
    return Origin(checkpoint, network, tuple(names), pixels_of(images), tuple(classes), weight.device.type, dtype, used)


def network_of(model: nn.Module) -> str:
    """SHA-256 of the architecture and of up to 256 values of every weight: the same file may be built in several ways.

    Overridden mean and std, averaged or raw weights, merged batch norms: each gives other maps from the same bytes on disk.
    """
    digest = hashlib.sha256(repr(getattr(model, "architecture", None)).encode())
    for name, value in model.state_dict().items():
        flat = value.detach().reshape(-1)
        some = flat[:: max(1, -(-flat.numel() // SAMPLED))].cpu().double()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode() + some.numpy().tobytes())
    return digest.hexdigest()


def pixels_of(images: Tensor) -> str:
    """SHA-256 of pictures: their shape and their values as float32."""
    values = np.ascontiguousarray(images.detach().cpu().float().numpy(), dtype="<f4")
    return hashlib.sha256(str(values.shape).encode() + values.tobytes()).hexdigest()


# ---------------------------------------------------------------- writing


def slug(found: Attribution, target: str) -> str:
    """The stem of a receipt's files: `map-grad-cam-relu4-3-second`; other settings of one method need a folder of their own.

    A target that is no plain word, such as the name of a class, is told apart by its checksum.
    """
    about = methods().get(found.method)
    # The layer that was asked for, which is known before the map is: some methods take none and still answer in one's geometry.
    layer = "" if about and not about.layered else found.layer or str(found.settings.get("layer") or "")
    parts = [found.method, layer, target, found.unit_of or ""]
    stem = re.sub(r"[^a-z0-9]+", "-", "-".join(part for part in parts if part).lower()).strip("-")[:80]
    odd = not all(re.fullmatch(r"[a-z0-9_:,-]{0,40}", part) for part in parts)
    return f"map-{stem}-{crc32(chr(0).join(parts).encode('utf-8', 'backslashreplace')):08x}" if odd else f"map-{stem}"


def write(folder: Path, found: Attribution, here: Origin, *, target: str) -> str:
    """Write the receipt of a map set into `folder`: `<slug>.npz`, then `<slug>.json`, each whole; returns the slug.

    target  the word that was asked; the classes themselves are in `found.targets`
    raises  OSError when the disk says no
    """
    name = slug(found, target)
    arrays = _arrays(found)
    content = packed(arrays)
    about = methods().get(found.method)
    told = {
        "receipt": SCHEMA,
        "method": found.method,
        "title": about.title if about else found.method,
        "family": about.family if about else "",
        "layer": found.layer,
        "target": target,
        "targets": _classes(found.targets, here),
        "against": None if found.against is None else _classes(found.against, here),
        "unit_of": found.unit_of,
        "settings": found.settings,
        "unit": found.unit,
        "signed": found.signed,
        "shape": found.values.shape,
        "residual": found.residual,
        "passes": found.passes,
        "seconds": None if reproducible() else round(found.seconds, 4),
        "origin": told_of(here),
        "arrays": {"file": f"{name}.npz", "sha256": hashlib.sha256(content).hexdigest()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{name}.npz") as temporary:
        temporary.write_bytes(content)
    with whole_file(folder / f"{name}.json") as temporary:
        temporary.write_text(json_text(told), encoding="utf-8")
    return name


def _arrays(found: Attribution) -> dict[str, np.ndarray[Any, Any]]:
    given = {"values": found.values, "targets": found.targets, "residual": found.residual, "against": found.against}
    plainly = {name: value.detach().cpu().numpy() for name, value in given.items() if value is not None}
    return {name: np.ascontiguousarray(value, dtype=ARRAYS[name][0]) for name, value in plainly.items()}


def packed(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Arrays by name as what numpy calls npz: the same arrays give the same bytes, for no clock is asked."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, value in arrays.items():
            one = io.BytesIO()
            np.lib.format.write_array(one, value, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            archive.writestr(entry, one.getvalue())
    return whole.getvalue()


def _classes(indices: Tensor, here: Origin) -> dict[str, Any]:
    every = [int(index) for index in indices]
    return {"classes": every, "names": [here.classes[index] if 0 <= index < len(here.classes) else str(index) for index in every]}


def told_of(here: Origin) -> dict[str, Any]:
    """An origin as a receipt holds it: a thousand class names once a map would outweigh the map."""
    named = hashlib.sha256(json_text(here.classes).encode()).hexdigest()
    told: dict[str, Any] = plain({
        "checkpoint": here.checkpoint, "network": here.network, "pictures": here.pictures, "pixels": here.pixels, "classes": named,
        "device": here.device, "dtype": here.dtype, "versions": here.versions,
    })  # fmt: skip
    return told


# ---------------------------------------------------------------- reading


def read(path: Path) -> Receipt:
    """The receipt whose JSON lies at `path`, its arrays beside it.

    raises  ReceiptRefused, in one sentence, for a file that is damaged, too large or no receipt; nothing in it is run, and no
            room is made for more than it may hold
    """
    told = told_in(path, _FIELDS)
    arrays = arrays_of(path.with_suffix(".npz"), ARRAYS, sha256=str(told["arrays"].get("sha256")))
    if not {"values", "targets"} <= set(arrays):
        raise ReceiptRefused(f"the receipt {path.stem!r} holds no maps; make the report again.")
    count = len(arrays["values"])
    names = told["origin"].get("pictures")
    agree = all(len(value) == count for value in arrays.values()) and isinstance(names, list) and len(names) == count
    if not (agree and all(isinstance(name, str) for name in names) and list(arrays["values"].shape) == told["shape"]):
        raise ReceiptRefused(f"the receipt {path.stem!r} contradicts itself: its parts are about different numbers of pictures; "
                             "make the report again.")  # fmt: skip
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    found = Attribution(
        method=told["method"], values=tensors["values"], unit=told["unit"], signed=told["signed"], layer=told["layer"],
        targets=tensors["targets"], residual=tensors.get("residual"), passes=told["passes"],
        seconds=float(told["seconds"] or 0.0), settings=told["settings"], against=tensors.get("against"), unit_of=told["unit_of"],
    )  # fmt: skip
    return Receipt(found, told["target"], told["title"], told["family"], told["origin"], path.stem)


_TEXT, _MAYBE = (str,), (str, type(None))
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "receipt": (int,), "method": _TEXT, "title": _TEXT, "family": _TEXT, "layer": _MAYBE, "target": _TEXT, "unit_of": _MAYBE,
    "settings": (dict,), "unit": _TEXT, "signed": (bool,), "shape": (list,), "passes": (int, float),
    "seconds": (int, float, type(None)), "origin": (dict,), "arrays": (dict,),
}  # fmt: skip


def matches(
    kept: Receipt, here: Origin, *, method: str | None = None, layer: str | None = None, targets: Tensor | None = None,
    settings: Mapping[str, Any] | None = None,
) -> bool:  # fmt: skip
    """Whether a receipt is of this origin, and where they are given of this method, layer, classes (B,) and settings."""
    found = kept.found
    return (
        dict(kept.origin) == told_of(here)
        and (method is None or found.method == method)
        and (layer is None or found.layer == layer)
        and (targets is None or found.targets.tolist() == targets.tolist())
        and (settings is None or dict(found.settings) == plain(settings))
    )
