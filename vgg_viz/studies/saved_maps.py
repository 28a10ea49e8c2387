"""Saved maps: each map set raw, signed and float, in one safetensors file with all that it depends on.

A map set is that of one method, layer and target over some pictures. The arrays of `<slug>.safetensors` are its tensors, the text
`vgg_viz_map` of its header says as JSON what they are. It is written and read in three lines:

    here = origin(model, batch.images, batch.names, classes, checkpoint=sha256)    what all maps of one report share
    name = write(folder, attribution, here, target="predicted")                    the file whole, or none
    saved = read(folder / f"{name}.safetensors");  matches(saved, here)            refused when damaged; stale when it does not match

The same map gives the same bytes: no clock in the file, and no seconds where SOURCE_DATE_EPOCH is set.
"""

from __future__ import annotations

import hashlib
import json
import re
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
from vgg_viz.plain_json import json_text, plain
from vgg_viz.records import Attribution
from vgg_viz.safe_reading import MOST_TEXT, parse_json, read_bytes, refused
from vgg_viz.versions import reproducible, versions

SCHEMA = 1
SUFFIX = ".safetensors"
KEY = "vgg_viz_map"  # one text only: safetensors keeps several in no order, and the same map must give the same bytes
SAMPLED = 256  # values of each weight that tell which network was built
DEPENDS_ON = ("vgg_viz", "torch", "captum")  # versions under which a map is another map
MOST_BYTES = 2**28  # of one file: 64 maps of 1024 x 1024 are this many
ARRAYS = {  # type and axes
    "values": (torch.float32, 3),
    "targets": (torch.int64, 1),
    "residual": (torch.float32, 1),
    "against": (torch.int64, 1),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """What all maps of one report share; where any of it differs, a map would be another map.

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
class SavedMap:
    """One map set as it was written; every text in it comes from a file and is hostile until escaped.

    found   values (B, h, w) float32 and all that `attribute` said, on the CPU
    target  the word that was asked: "predicted", "second", the name of a class
    title   of the method; family: gradient, cam, relevance, perturbation
    origin  of the maps, as the file tells it (see `Origin`; of the classes only a SHA-256)
    slug    the stem of its file
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
    model: nn.Module,
    images: Tensor,
    names: Sequence[str],
    classes: Sequence[str],
    *,
    checkpoint: str,
    network: str | None = None,
) -> Origin:
    """What the maps of `model` on `images` (B, C, H, W) in [0, 1] share.

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
    """The stem of a map set's file: `map-grad-cam-relu4-3-second`; other settings of one method need a folder of their own.

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
    """Write a map set into `folder` as `<slug>.safetensors`, whole; returns the slug.

    target  the word that was asked; the classes themselves are in `found.targets`
    raises  OutputRefused when the disk says no
    """
    from safetensors.torch import save

    name = slug(found, target)
    arrays = _arrays(found)
    about = methods().get(found.method)
    facts = {
        "schema": SCHEMA,
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
        "passes": found.passes,
        "seconds": None if reproducible() else round(found.seconds, 4),
        "origin": facts_of(here),
        "sha256": _checksum(arrays),
    }
    content = save(arrays, metadata={KEY: json_text(facts)})
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{name}{SUFFIX}") as temporary:
        temporary.write_bytes(content)
    return name


def _arrays(found: Attribution) -> dict[str, Tensor]:
    given = {"values": found.values, "targets": found.targets, "residual": found.residual, "against": found.against}
    there = {name: value.detach().cpu().to(ARRAYS[name][0]) for name, value in given.items() if value is not None}
    # Copies, for the library refuses two that share memory, such as classes and those against which they are asked.
    return {name: value.clone(memory_format=torch.contiguous_format) for name, value in there.items()}


def _checksum(arrays: Mapping[str, Tensor]) -> str:
    """SHA-256 of all arrays: the format itself would not notice a number that was changed."""
    digest = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode() + value.numpy().tobytes())
    return digest.hexdigest()


def _classes(indices: Tensor, here: Origin) -> dict[str, Any]:
    every = [int(index) for index in indices]
    return {
        "classes": every,
        "names": [here.classes[index] if 0 <= index < len(here.classes) else str(index) for index in every],
    }


def facts_of(here: Origin) -> dict[str, Any]:
    """An origin as a file holds it: a thousand class names once a map would outweigh the map."""
    named = hashlib.sha256(json_text(here.classes).encode()).hexdigest()
    facts: dict[str, Any] = plain(
        {
            "checkpoint": here.checkpoint,
            "network": here.network,
            "pictures": here.pictures,
            "pixels": here.pixels,
            "classes": named,
            "device": here.device,
            "dtype": here.dtype,
            "versions": here.versions,
        }
    )
    return facts


# ---------------------------------------------------------------- reading


def read(path: Path) -> SavedMap:
    """The map set in the safetensors file at `path`.

    raises  MapRefused, in one sentence, for a file that is damaged, too large or no map set; nothing in it is run, and no room is
            made for more than it holds
    """
    facts, tensors = _opened(path)
    if not {"values", "targets"} <= set(tensors):
        raise refused(path, "it holds no maps")
    if facts["sha256"] != _checksum(tensors):
        raise refused(path, "the checksum of its arrays is not the one that it tells")
    count = len(tensors["values"])
    names = facts["origin"].get("pictures")
    agree = all(len(value) == count for value in tensors.values()) and isinstance(names, list) and len(names) == count
    if not (agree and all(isinstance(name, str) for name in names) and list(tensors["values"].shape) == facts["shape"]):
        raise refused(path, "its parts are about different numbers of pictures")
    found = Attribution(
        method=facts["method"],
        values=tensors["values"],
        unit=facts["unit"],
        signed=facts["signed"],
        layer=facts["layer"],
        targets=tensors["targets"],
        residual=tensors.get("residual"),
        passes=facts["passes"],
        seconds=float(facts["seconds"] or 0.0),
        settings=facts["settings"],
        against=tensors.get("against"),
        unit_of=facts["unit_of"],
    )
    return SavedMap(found, facts["target"], facts["title"], facts["family"], facts["origin"], path.stem)


_TEXT, _MAYBE = (str,), (str, type(None))
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "schema": (int,),
    "method": _TEXT,
    "title": _TEXT,
    "family": _TEXT,
    "layer": _MAYBE,
    "target": _TEXT,
    "unit_of": _MAYBE,
    "settings": (dict,),
    "unit": _TEXT,
    "signed": (bool,),
    "shape": (list,),
    "passes": (int, float),
    "seconds": (int, float, type(None)),
    "origin": (dict,),
    "sha256": _TEXT,
}


def _opened(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts and the arrays of a file. The library holds its header against its bytes; here its length, names, types and axes."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = read_bytes(path, MOST_BYTES)
    length = int.from_bytes(content[:8], "little")
    if length > MOST_TEXT:
        raise refused(path, f"its header is larger than {MOST_TEXT >> 20} MB")
    try:
        tensors: dict[str, Tensor] = load(content)
        header = json.loads(content[8 : 8 + length])
    except (SafetensorError, ValueError, RuntimeError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise refused(path, f"it is no safetensors file: {str(error)[:80]}") from None
    facts = parse_json((header.get("__metadata__") or {}).get(KEY, "").encode(), _FIELDS, path)
    for name, value in tensors.items():
        if name not in ARRAYS or (value.dtype, value.ndim) != ARRAYS[name]:
            raise refused(path, f"the array {name[:40]!r} in it is not what was expected")
    return facts, tensors


def matches(
    saved: SavedMap,
    here: Origin,
    *,
    method: str | None = None,
    layer: str | None = None,
    targets: Tensor | None = None,
    settings: Mapping[str, Any] | None = None,
) -> bool:
    """Whether a map set is of this origin, and where they are given of this method, layer, classes (B,) and settings."""
    found = saved.found
    return (
        dict(saved.origin) == facts_of(here)
        and (method is None or found.method == method)
        and (layer is None or found.layer == layer)
        and (targets is None or found.targets.tolist() == targets.tolist())
        and (settings is None or dict(found.settings) == plain(settings))
    )


def manifest_entry(name: str, found: Attribution, target: str) -> dict[str, Any]:
    """What a manifest says of a saved map set, as plain values."""
    return {
        "slug": name,
        "method": found.method,
        "layer": found.layer,
        "target": target,
        "shape": found.values.shape,
        "passes": found.passes,
    }
