"""What Hugging Face and timm write beside the weights: `config.json` and `preprocessor_config.json`, read whatever they hold."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

LARGEST = 8 * 2**20  # bytes; the names of ImageNet-22k take one
MOST_FILES = 1_000  # of a folder that are looked at for other weights
NAMES = ("config.json", "preprocessor_config.json")
# Weights under these names belong to the files above; others only where no second network lies in the folder.
CONVENTIONAL = re.compile(r"(pytorch_)?model(-[0-9]+-of-[0-9]+)?\.(safetensors|bin)(\.index\.json)?")
WEIGHTS = (".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".tar", ".h5", ".keras", ".onnx")
# A file called config.json may be anybody's: one of these stands in those that describe a classifier.
MARKS = (
    "architecture",
    "architectures",
    "pretrained_cfg",
    "model_type",
    "label_names",
    "id2label",
    "image_mean",
    "image_processor_type",
    "feature_extractor_type",
)


def notes_beside(path: Path) -> dict[str, Mapping[str, Any]]:
    """The descriptions beside a checkpoint by their names; without those that cannot be read or describe something else.

    Args:
        path: Of the weights, or of the folder that they lie in.
    """
    folder = path if path.is_dir() else path.parent
    if not path.is_dir() and not CONVENTIONAL.fullmatch(path.name) and not _alone(folder):
        return {}
    found = {name: _described(folder / name) for name in NAMES}
    return {name: _canonical(value) for name, value in found.items() if value}


def _alone(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MOST_FILES)]
    except OSError:
        return False
    return len(names) < MOST_FILES and sum(name.lower().endswith(WEIGHTS) for name in names) == 1


def _described(file: Path) -> dict[str, Any]:
    """The JSON object in the file, {} for anything else: what stands beside a checkpoint never refuses it."""
    try:
        if not file.is_file() or file.stat().st_size > LARGEST:
            return {}
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) and any(mark in value for mark in MARKS) else {}


def _canonical(described: dict[str, Any]) -> dict[str, Any]:
    """The same, with the side that pictures end up with under the name that other files use."""
    keys = ("crop_size", "size") if described.get("do_center_crop") is not False else ("size",)
    sides = [described.get(key) for key in keys]
    side = next((one for one in map(_side, sides) if one is not None), None)
    return described if side is None else {"image_size": side, **described}


def _side(size: object) -> object:
    """224, {"height": 224, "width": 224} or {"shortest_edge": 224} as one number; None for anything else."""
    if isinstance(size, Mapping):
        height, width = size.get("height"), size.get("width")
        return height if height == width and height is not None else size.get("shortest_edge")
    return size
