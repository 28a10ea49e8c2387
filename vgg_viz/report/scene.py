"""What maps lie on: the pictures looked into, what the network said of them, and its layers, so that maps can be painted without it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vgg_viz.errors import ReceiptRefused
from vgg_viz.maths.receptive_field import Field
from vgg_viz.models.geometry import LayerGeometry
from vgg_viz.plain_json import write_json
from vgg_viz.records import Batch
from vgg_viz.report.receipts import packed, pixels_of
from vgg_viz.report.stored import arrays_of, told_in

STEM = "looked-into"
ARRAYS = {"images": ("|u1", 4), "masks": ("|u1", 3), "boxed": ("|u1", 1), "labels": ("<i8", 1), "logits": ("<f4", 2)}
FIELDS: Mapping[str, tuple[type, ...]] = {
    "scene": (int,), "checkpoint": (str,), "pixels": (str,), "pictures": (list,), "classes": (list,), "layers": (list,),
    "arrays": (dict,),
}  # fmt: skip
MOST_SIDE, MOST_UNITS = 4096, 10**7


@dataclass(frozen=True, slots=True)
class Scene:
    """The pictures of a report, and what is known of them; names are hostile until escaped.

    batch       images to a 255th, which is what a painted figure shows of them
    logits      (B, K)
    classes     K names; layers: the network's table
    checkpoint  SHA-256 of its file, or ""; pixels: SHA-256 of the pictures as the network saw them
    """

    batch: Batch
    logits: Tensor
    classes: tuple[str, ...]
    layers: tuple[LayerGeometry, ...]
    checkpoint: str
    pixels: str


def write_scene(folder: Path, batch: Batch, logits: Tensor, classes: tuple[str, ...], layers: tuple[LayerGeometry, ...], *,
                checkpoint: str) -> None:  # fmt: skip
    """Write `looked-into.npz` and `looked-into.json` into `folder`; raises OSError when the disk says no."""
    images = (batch.images.clamp(0, 1) * 255).round().byte()
    arrays = {"images": images, "logits": logits.float(), "labels": batch.labels, "masks": batch.masks, "boxed": batch.boxed}
    content = packed({
        name: np.ascontiguousarray(value.cpu().numpy(), dtype=ARRAYS[name][0]) for name, value in arrays.items() if value is not None
    })  # fmt: skip
    (folder / f"{STEM}.npz").write_bytes(content)
    rows = [
        {"name": row.name, "kind": row.kind, "path": row.path, "shape": row.shape, "parameters": row.parameters, "macs": row.macs,
         "field": None if row.field is None else [row.field.size, row.field.jump, row.field.padding]}
        for row in layers
    ]  # fmt: skip
    write_json(folder / f"{STEM}.json", {
        "scene": 1, "checkpoint": checkpoint, "pixels": pixels_of(batch.images), "pictures": batch.names, "classes": classes,
        "layers": rows,
        "arrays": {"file": f"{STEM}.npz", "sha256": hashlib.sha256(content).hexdigest()},
    })  # fmt: skip


def read_scene(folder: Path) -> Scene:
    """The scene that lies in `folder`; raises ReceiptRefused, in one sentence, for one that is damaged or contradicts itself."""
    told = told_in(folder / f"{STEM}.json", FIELDS)
    arrays = arrays_of(folder / f"{STEM}.npz", ARRAYS, sha256=str(told["arrays"].get("sha256")))
    names, classes = told["pictures"], told["classes"]
    if not {"images", "logits"} <= set(arrays):
        raise _contradiction("it holds no pictures or no answers")
    images, logits, labels = arrays["images"], arrays["logits"], arrays.get("labels")
    count, channels, *sides = images.shape
    if not (0 < count == len(names) and channels in (1, 3) and all(0 < side <= MOST_SIDE for side in sides)):
        raise _contradiction("its pictures are not as many, or not of the kind, that it tells")
    if logits.shape != (count, len(classes)) or any(len(value) != count for value in arrays.values()):
        raise _contradiction("its answers are not for these pictures and classes")
    if labels is not None and not ((labels >= 0) & (labels < len(classes))).all():
        raise _contradiction("its labels name classes that are not there")
    if "masks" in arrays and list(arrays["masks"].shape[1:]) != sides:
        raise _contradiction("its masks are of another size")
    if not all(isinstance(name, str) for name in (*names, *classes)):
        raise _contradiction("a name in it is no text")
    masks, boxed = (torch.from_numpy(arrays[name]).bool() if name in arrays else None for name in ("masks", "boxed"))
    truth = None if labels is None else torch.from_numpy(labels)
    batch = Batch(torch.from_numpy(images).float() / 255, truth, tuple(names), masks, boxed=boxed)
    layers = tuple(_layer(row) for row in told["layers"])
    return Scene(batch, torch.from_numpy(logits), tuple(classes), layers, told["checkpoint"], told["pixels"])


def _layer(row: Any) -> LayerGeometry:
    try:
        shape, field = tuple(row["shape"]), row["field"]
        numbers = (*shape, row["parameters"], row["macs"], *(field or ()))
        texts = (row["name"], row["kind"], row["path"])
        sound = all(type(number) is int and number >= 0 for number in numbers) and all(type(text) is str for text in texts)
        sound = sound and len(shape) in (1, 3) and all(0 < number <= MOST_UNITS for number in shape)
        sound = sound and (field is None or (len(field) == 3 and max(field) <= MOST_UNITS and field[1] > 0))
    except (TypeError, KeyError):
        sound = False
    if not sound:
        raise _contradiction("a layer in it is no layer")
    return LayerGeometry(*texts, shape, None if field is None else Field(*field), row["parameters"], row["macs"])


def _contradiction(why: str) -> ReceiptRefused:
    return ReceiptRefused(f"'{STEM}.json' cannot be used ({why}); make the report again.")
