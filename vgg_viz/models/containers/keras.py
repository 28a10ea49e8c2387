"""Keras files: HDF5 of Keras 1 to 3 (.h5, .weights.h5), and the .keras archive around one; needs the extra `keras`.

Source: keras/src/legacy/saving/legacy_h5_format.py and keras/src/saving/saving_lib.py.
"""

from __future__ import annotations

import json
import mmap
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.containers import LARGEST_JSON, Stored, container, natural, shown
from vgg_viz.models.keras_model import PARTS, KerasModel, layer_and_part

SIGNATURE = b"\x89HDF\r\n\x1a\n"
HEAP = b"GCOL\x01\0\0\0"
SUFFIXES = (".h5", ".hdf5", ".keras")
CONFIG, WEIGHTS = "config.json", "model.weights.h5"  # inside a .keras archive
DEEPEST, MOST = 24, 20_000  # groups in groups, things in all: VGG19 has 5 and 120
EXPANSION = 8  # times the file's own size that its weights may claim; Keras does not compress
LARGEST = 16 * 2**30  # bytes of weights; VGG19 at twice its width has 2.3e9


@container("keras")
def keras(path: Path) -> Stored | None:
    """A Keras model or its weights: topology where the file has it, weights by layer; raises CheckpointRefused, also without h5py."""
    if path.is_dir():
        return None
    with open(path, "rb") as file:
        head = file.read(8)
    if head == SIGNATURE:
        return _opened(path, None)
    if head[:4] == b"PK\x03\x04" and (archive := _archive(path)) is not None:
        with archive:
            return _opened(path, archive)
    if path.suffix.lower() in SUFFIXES:
        raise CheckpointRefused(
            f"{shown(path)} is damaged or no Keras file; give the {path.suffix} file that model.save wrote."
        )
    return None


def _archive(path: Path) -> zipfile.ZipFile | None:
    """The zip, if Keras wrote it; torch writes zips too."""
    try:
        archive = zipfile.ZipFile(path)
        names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    if CONFIG in names and WEIGHTS in names:
        return archive
    archive.close()
    return None


def _opened(path: Path, archive: zipfile.ZipFile | None) -> Stored:
    try:
        import h5py
    except ImportError:
        raise CheckpointRefused(
            f'{shown(path)} is a Keras file, which h5py opens, and that is not installed; run pip install "vgg_viz[keras]".'
        ) from None
    try:
        if archive is None:
            _require_sound_heaps(path)
            with h5py.File(path, "r") as file:
                model = _model(file, _topology(file.attrs.get("model_config")), path.stat().st_size)
        else:
            for name in (CONFIG, WEIGHTS):
                _require_stored(archive.getinfo(name), path)
            config = json.loads(archive.read(CONFIG))
            with archive.open(WEIGHTS) as member, h5py.File(member, "r") as file:
                model = _model(file, config, path.stat().st_size, archived=True)
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        TypeError,
        AttributeError,
        RecursionError,
        NotImplementedError,
        OverflowError,
        zipfile.BadZipFile,
    ) as error:
        raise CheckpointRefused(
            f"{shown(path)} is damaged or no whole Keras file ({type(error).__name__}: {' '.join(str(error).split())[:80]}); "
            "take another copy of the file."
        ) from None
    if not any(model.weights.values()):
        raise _without_layers(path, ())
    what = "a model with its topology" if model.topology is not None else "weights without their topology"
    return Stored("keras", model, (f"The file is Keras {'(.keras archive)' if archive else '(HDF5)'}: {what}.",))


def _without_layers(path: Path, names: Iterable[str]) -> CheckpointRefused:
    """The sentence for files of other makers: data sets, Caffe's weights, arrays of anybody."""
    inside = ", ".join(repr(str(name)[:40]) for name in islice(names, 4))
    return CheckpointRefused(
        f"{shown(path)} is an HDF5 file without Keras layers{f' (it holds {inside})' if inside else ''}; "
        "give the file that model.save or save_weights wrote."
    )


def _require_stored(member: zipfile.ZipInfo, path: Path) -> None:
    """Refuse what would not fit: Keras stores its members as they are, a bomb has packed ones."""
    limit = LARGEST_JSON if member.filename == CONFIG else LARGEST
    if member.file_size > min(limit, EXPANSION * path.stat().st_size):
        raise CheckpointRefused(
            f"{shown(path)} holds {member.filename} of {member.file_size:,} bytes in {path.stat().st_size:,}; that is no file of Keras."
        )


def _require_sound_heaps(path: Path) -> None:
    """Refuse texts that lie in no order: HDF5 2.0.0 runs for ever over a heap whose free space is 0 bytes long.

    A collection is "GCOL", version, its size; then objects: index (2), count (2), 0 (4), size (8), bytes to a multiple of 8. Index 0 is
    free space, and its size holds its own head. Source: HDF5 File Format Specification, III.E.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        widths = (
            raw[9:11] if len(raw) > 14 and raw[8] >= 2 else raw[13:15]
        )  # of addresses and lengths, in the superblock
        if widths != b"\x08\x08":
            raise ValueError("its addresses are not 8 bytes wide")
        at = raw.find(HEAP)
        while at >= 0:
            end = at + int.from_bytes(raw[at + 8 : at + 16], "little")
            place = at + 16
            while place + 16 <= min(end, len(raw)):
                index, size = (
                    int.from_bytes(raw[place : place + 2], "little"),
                    int.from_bytes(raw[place + 8 : place + 16], "little"),
                )
                step = size if index == 0 else 16 + (size + 7) // 8 * 8
                if step < 16 or place + step > end:
                    raise ValueError("a heap of texts is not whole")
                place += step
            at = raw.find(HEAP, at + 8)


def _topology(stored: object) -> Mapping[str, Any] | None:
    if stored is None:
        return None
    text = stored.decode("utf-8") if isinstance(stored, bytes) else str(stored)
    if len(text) > LARGEST_JSON:
        raise ValueError("the topology is too long")
    topology = json.loads(text)
    if not isinstance(topology, dict):
        raise TypeError("the topology is no object")
    return topology


def _model(file: Any, topology: Mapping[str, Any] | None, size: int, *, archived: bool = False) -> KerasModel:
    """The weights by layer: Keras 3 numbers them below `layers/.../vars`, older ones name them."""
    datasets = dict(_datasets(file, size))
    numbered = {place: data for place, data in datasets.items() if re.search(r"(^|/)vars/\d+$", place)}
    model = KerasModel("Keras", topology)
    if numbered:
        names = dict(_places(topology)) if topology is not None else {}
        for place in sorted(numbered, key=natural):
            layer, _, number = place.rpartition("/vars/")
            if "seed_generator" in layer:  # of a dropout
                datasets.pop(place)
            if place not in datasets or not re.match(r"(layers|_layer_checkpoint_dependencies)/", layer):
                continue
            layer = layer.replace("_layer_checkpoint_dependencies", "layers")
            model.weights.setdefault(names.get(layer, layer), {})[number] = _tensor(datasets.pop(place))
        if topology is None:
            _rename(model, file)
    elif archived:  # no attribute of a packed file is read: its heaps are not checked
        raise ValueError("the archive holds no weights of Keras 3")
    else:
        if topology is None and not any(layer_and_part(place)[1] in PARTS for place in datasets):
            raise _without_layers(Path(file.filename), file)
        for place in _in_order(datasets, file):
            layer, part = layer_and_part(place)
            model.weights.setdefault(layer, {})[part] = _tensor(datasets.pop(place))
    others = tuple(sorted({place.split("/")[0] for place in datasets}))
    return KerasModel("Keras", topology, model.weights, tuple(f"{name}/..." for name in others))


def _in_order(places: Iterable[str], file: Any) -> list[str]:
    """The weights of an older file's layers, in the order that it notes; those that it does not note by their names."""
    top = "model_weights" if "model_weights" in file else ""
    group = file[top] if top else file
    noted: dict[str, int] = {}
    for layer in _texts(group.attrs, "layer_names"):
        for weight in _texts(group[layer].attrs, "weight_names") if layer in group else ():
            noted["/".join(filter(None, (top, layer, weight)))] = len(noted)
    own = [
        place
        for place in places
        if place.startswith(f"{top}/" if top else "") and not place.startswith("optimizer_weights/")
    ]
    return sorted(own, key=lambda place: (noted.get(place, len(noted)), natural(place)))


def _texts(attributes: Any, name: str) -> list[str]:
    """A list of names among the attributes, which Keras cuts into name0, name1, ... where it is long."""
    keys = (
        [name]
        if name in attributes
        else sorted((key for key in attributes if re.fullmatch(rf"{name}\d+", key)), key=natural)
    )
    return [text.decode("utf-8") if isinstance(text, bytes) else str(text) for key in keys for text in attributes[key]]


def _datasets(file: Any, size: int) -> Iterator[tuple[str, Any]]:
    """All datasets with their places; refuses links, other files' data, and more bytes than the file can hold."""
    import h5py

    waiting: list[tuple[str, Any, int]] = [("", file, 0)]
    seen, total = 0, 0
    while waiting:
        place, group, depth = waiting.pop()
        for name in group:
            seen += 1
            inner = f"{place}/{name}" if place else str(name)
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{inner[:60]!r} is a link to another place")
            item = group[name]
            if seen > MOST or depth > DEEPEST:
                raise ValueError("it has more groups than any network")
            if isinstance(item, h5py.Group):
                waiting.append((inner, item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                if item.is_virtual or item.external:
                    raise ValueError(f"{inner[:60]!r} lies in another file")
                total += item.size * item.dtype.itemsize if item.shape is not None else 0
                if total > min(LARGEST, EXPANSION * size):
                    raise ValueError(f"it declares more than {total:,} bytes of weights and has {size:,}")
                yield inner, item


def _tensor(data: Any) -> Tensor:
    """A dataset as a tensor of its own kind; numbers that no weights are made of stay numbers, and are refused later."""
    if data.dtype.kind not in "fiu" or data.shape is None:
        raise TypeError(f"{data.name[-60:]!r} holds {data.dtype}, numbers were expected")
    if data.dtype.kind in "u":
        return torch.from_numpy(np.asarray(data[()]).astype(np.int64))
    return torch.from_numpy(np.asarray(data[()], dtype=data.dtype.newbyteorder("=")))


# ---------------------------------------------------------------- names in files of Keras 3


def _places(node: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Where Keras 3 keeps each layer of a topology: classes in snake case, counted: layers/conv2d_1 -> "block1_conv2"."""
    config = node["config"]
    used: dict[str, int] = {}
    for layer in config["layers"] if isinstance(config, Mapping) else config:
        kind = re.sub(r"\W+", "", str(layer["class_name"]))
        kind = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)
        kind = re.sub("([a-z])([A-Z])", r"\1_\2", kind).lower()
        used[kind] = used.get(kind, -1) + 1
        place = f"{above}layers/{kind}" + (f"_{used[kind]}" if used[kind] else "")
        yield place, str(layer.get("name") or layer["config"]["name"])
        if isinstance(layer.get("config"), Mapping) and "layers" in layer["config"]:
            yield from _places(layer, f"{place}/")


def _rename(model: KerasModel, file: Any) -> None:
    """Layers by the names that newer versions note beside their numbers; the order, that of the numbers, stays."""
    for place in list(model.weights):
        name = place.removeprefix("layers/")
        for group in (file.get(place), file.get(f"{place}/vars")):
            if group is not None and "name" in group.attrs:
                name = str(group.attrs["name"])
        parts = model.weights.pop(place)
        model.weights[name if name not in model.weights else place] = parts
