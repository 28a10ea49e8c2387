"""Files that torch.save wrote: zip archives mapped from disk, older pickles read; the only torch.load of the package.

`weights_only=True` always. There is no switch that runs a pickle: what would run code is refused by name.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vgg_viz.errors import CheckpointRefused
from vgg_viz.file_kinds import is_text, kind_by_name
from vgg_viz.models.containers import Stored, container, shown
from vgg_viz.models.pickle_advice import advice, saving_command
from vgg_viz.models.pickle_outline import outline

IN_A_FOLDER = "pytorch_model.bin"  # what Hugging Face's libraries call it
MOST_PICKLE = 64 * 2**20  # bytes of structure (not of weights) that are looked through for names
MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")  # with which torch.save began its older files
FAULTS = (
    RuntimeError,
    ValueError,
    EOFError,
    OSError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    AssertionError,
    ImportError,
    zipfile.BadZipFile,
    struct.error,
)


@container("torch")
def torch_file(path: Path) -> Stored | None:
    """What torch.save wrote, also in a folder of Hugging Face; raises CheckpointRefused: what it is instead, what it would run."""
    if path.is_dir():
        inside = path / IN_A_FOLDER
        found = torch_file(inside) if inside.is_file() else None
        return None if found is None else replace(found, files=(inside,))
    try:
        zipped = zipfile.is_zipfile(path)  # raises BadZipFile for one that claims to lie on several disks
        if zipped:
            _require_plain(path)
        else:
            _require_torch_pickle(path)
        _require_modest(path)
        mapped = zipped and bool(str(path).encode())
    except UnicodeEncodeError:  # a path of other bytes than the system's, which torch cannot map
        mapped = False
    except FAULTS:
        raise CheckpointRefused(_not_one(path)) from None
    try:
        with torch.serialization.safe_globals(harmless()), open(path, "rb") as file:
            # Only zip files can be mapped; the older format is read.
            return Stored(
                "torch",
                torch.load(path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped or None),
            )
    except pickle.UnpicklingError as error:
        unsafe = unsafe_globals(path) or sorted(set(re.findall(r"GLOBAL ([\w.]+)", str(error))))
        if unsafe:
            raise CheckpointRefused(_would_run(path, unsafe)) from None
        raise CheckpointRefused(_not_one(path)) from None
    except FAULTS:
        raise CheckpointRefused(_not_one(path)) from None


# ---------------------------------------------------------------- what may stand in a file


def harmless() -> list[Any]:
    """Types that usual training scripts leave in their files, and why each may be made from a file.

    Calling one of these makes a value and does nothing else: no file is opened, no code looked up, nothing imported. torch's own list
    (OrderedDict, Counter, set, Size, device, dtype, ...) is open already.
    """
    import argparse
    import collections
    import datetime
    import pathlib
    import types

    import numpy as np
    from numpy._core import multiarray

    found: list[Any] = [
        # Bags of attributes: filled by update of their __dict__. torchvision's and timm's scripts store their arguments so.
        argparse.Namespace,
        types.SimpleNamespace,
        # Containers and plain values.
        collections.OrderedDict,
        dict,
        list,
        tuple,
        int,
        float,
        str,
        bool,
        # A plain dict stands in for a defaultdict: torch fills no other kind, and its factory is then never called.
        (_without_factory, "collections.defaultdict"),
        # Points in time: validated numbers.
        datetime.datetime,
        datetime.date,
        datetime.timedelta,
        # Arrays and scalars: bytes with a type; arrays of objects hold only what this list allows.
        np.dtype,
        *(
            getattr(np.dtypes, name)
            for name in dir(np.dtypes)
            if name.endswith("DType") and name not in ("ObjectDType", "StringDType")
        ),
    ]
    # numpy 1 and numpy 2 write these two under different module names.
    for function, name in ((multiarray.scalar, "scalar"), (_empty_array, "_reconstruct")):
        found += [(function, f"{module}.multiarray.{name}") for module in ("numpy.core", "numpy._core")]
    # Called, ndarray would reserve whatever memory a file names: files get a name for it, and the type itself, which torch wants to
    # see before it fills an array, stands under one that no pickle can spell.
    found += [(_ArrayType, "numpy.ndarray"), (np.ndarray, "numpy.ndarray\n")]
    # Paths become pure ones: text with slashes that cannot touch a disk. A WindowsPath could not even be made on Linux.
    for module in ("pathlib", "pathlib._local"):  # Python 3.13 wrote the second
        for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath):
            found += [(kind, f"{module}.{kind.__name__}"), (kind, f"{module}.{kind.__name__.removeprefix('Pure')}")]
        found.append((pathlib.PurePath, f"{module}.PurePath"))
    # Lightning's hyper-parameters: a dict that also answers to attributes; a plain dict stands in.
    found += [
        (dict, f"{home}.AttributeDict")
        for home in (
            "lightning.fabric.utilities.data",
            "lightning_fabric.utilities.data",
            "pytorch_lightning.utilities.parsing",
            "lightning.pytorch.utilities.parsing",
        )
    ]
    return found


class _ArrayType:
    """Stands for numpy.ndarray in a file; only `_empty_array` knows what to do with it."""

    def __init__(self) -> None:
        raise TypeError("arrays are filled, not called")


def _empty_array(_kind: type[_ArrayType], shape: tuple[int, ...], _dtype: object) -> Any:
    """What numpy writes before an array's content: an empty one. Any other size would be memory that the file does not fill."""
    import numpy as np

    if shape != (0,):
        raise ValueError("an array that begins with a size of its own")
    return np.ndarray((0,), np.uint8)


def _without_factory(*_: object) -> dict[Any, Any]:
    return {}


def unsafe_globals(path: Path) -> list[str]:
    """The names of everything in a file that weights_only would refuse, by reading its pickle as a list of words, never running it."""
    with torch.serialization.safe_globals(harmless()):
        try:
            source: Any = path if zipfile.is_zipfile(path) else _as_archive(path)
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(source))
        except (*FAULTS, pickle.UnpicklingError):
            return []


def _as_archive(path: Path) -> io.BytesIO:
    """The last pickle of an older file in a zip archive, where torch's own reader of names finds it."""
    with open(path, "rb") as file:
        start = 0
        for _ in range(3):  # a magic number, a protocol version and the system come first
            for _word in pickletools.genops(file):
                pass
            start = file.tell()
        file.seek(start)
        content = file.read(MOST_PICKLE)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("archive/data.pkl", content)
        writer.writestr("archive/version", "3\n")
    archive.seek(0)
    return archive


# ---------------------------------------------------------------- refusals


def _require_plain(path: Path) -> None:
    """Refuse archives of other makers, and compressed ones: weights are mapped as they lie, and a small file may claim gigabytes."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if len(set(archive.namelist())) != len(records):
            raise zipfile.BadZipFile("two records of one name")
        # Opening compares the directory with what stands before the record itself; torch goes by the directory alone.
        for record in records:
            if record.compress_type == zipfile.ZIP_STORED:
                archive.open(record).close()
        _require_laid_end_to_end(path, records, archive.start_dir)
    names = {record.filename.partition("/")[2] for record in records}
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        command = saving_command(
            path, 'import torch; torch.save(torch.jit.load({file}, map_location="cpu").state_dict(), {beside})'
        )
        raise CheckpointRefused(
            f"{shown(path)} is a TorchScript archive (torch.jit.save), a program with its weights; where you trust it, run {command} "
            "and give that file."
        )
    if "archive_format" in names or any("serialized_exported_program" in record.filename for record in records):
        raise CheckpointRefused(
            f"{shown(path)} is a program written by torch.export, not a checkpoint; save the network's state_dict() with torch.save."
        )
    if "data.pkl" not in names:
        inside = ", ".join(repr(record.filename[:40]) for record in records[:3])
        raise CheckpointRefused(
            f"{shown(path)} is a zip archive ({inside or 'empty'}) that torch.save did not write; give the .pt file inside it."
        )
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise CheckpointRefused(
            f"{shown(path)} was compressed after torch.save wrote it; load and save it again with torch, which stores weights plainly."
        )


def _require_laid_end_to_end(path: Path, records: list[zipfile.ZipInfo], end: int) -> None:
    """Refuse records with gaps of different sizes between them: a flipped bit in a length would map weights from beside their place."""
    order = sorted(records, key=lambda record: record.header_offset)
    gaps = set()
    with open(path, "rb") as file:
        for record, following in zip(order, [*(record.header_offset for record in order[1:]), end], strict=True):
            file.seek(record.header_offset + 26)
            name, extra = struct.unpack("<HH", file.read(4))
            if 0 < record.compress_size < 2**32:  # nothing follows an empty one, and longer numbers a larger one
                gaps.add(following - (record.header_offset + 30 + name + extra + record.compress_size))
    if len(gaps) > 1 or min(gaps, default=0) < 0:
        raise zipfile.BadZipFile("records that do not follow each other")


def _require_modest(path: Path) -> None:
    """Refuse what would reserve memory that the file does not fill, and tensors without values; both are plain words in the pickle."""
    words = _structure(path, MOST_PICKLE)
    if b"_rebuild_meta_tensor_no_storage" in words:
        raise CheckpointRefused(
            f"{shown(path)} holds tensors of the meta device, which have shapes and no values; save the network after its weights were "
            "loaded."
        )
    # torch opens bytearray to every file, and bytearray(n) fills n bytes; of more than a machine word it makes none and allocates
    # nothing, so such numbers (the magic one that older files begin with, a seed) are no sizes.
    if b"bytearray" in words and any(path.stat().st_size < number <= sys.maxsize for number in _numbers(words)):
        raise CheckpointRefused(
            f"{shown(path)} declares a buffer larger than the file itself, so it is damaged or hostile; take another copy."
        )


def _numbers(words: bytes) -> Iterator[int]:
    """Every whole number in the pickles that these bytes begin with: one in a zip archive, five before the weights of an older file."""
    stream = io.BytesIO(words)
    with suppress(*FAULTS):
        for _ in range(5):
            for _, argument, _ in pickletools.genops(stream):
                if isinstance(argument, int):
                    yield argument


def _would_run(path: Path, unsafe: list[str]) -> str:
    return advice(shown(path), path, outline(_structure(path, MOST_PICKLE)), unsafe)


def _require_torch_pickle(path: Path) -> None:
    """Refuse what pickle.dump or joblib wrote: torch would read it as its own, and find nothing."""
    with open(path, "rb") as file:
        words = file.read(2)
        if words[:1] != b"\x80" or words[1] > pickle.HIGHEST_PROTOCOL:
            return
        words += file.read(MOST_PICKLE)
    if MAGIC in words[:64]:
        return
    root = outline(words)
    names = root.names if root is not None else set(map(bytes.decode, re.findall(rb"[a-z_]+(?:\.\w+)+", words[:4096])))
    if names:  # else it is damaged, or holds plain values
        raise CheckpointRefused(advice(shown(path), path, root, names, torch_wrote=False))


def _structure(path: Path, most: int = 2**20) -> bytes:
    """The pickle that holds a file's keys, as bytes; `most` of them. Raises BadZipFile where it is not what was written."""
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            return file.read(most)
    with zipfile.ZipFile(path) as archive:
        pickles = [record for record in archive.infolist() if record.filename.partition("/")[2] == "data.pkl"]
    if len(pickles) != 1:  # two readers could take different ones
        raise zipfile.BadZipFile(f"{len(pickles)} records of the name data.pkl")
    with open(path, "rb") as file:
        file.seek(pickles[0].header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
        file.seek(name + extra, io.SEEK_CUR)
        words = file.read(min(pickles[0].file_size, most))
    # A flipped bit in here can be another stride or another padding, and torch does not look; 0: written without a checksum.
    if pickles[0].CRC and len(words) == pickles[0].file_size and zlib.crc32(words) != pickles[0].CRC:
        raise zipfile.BadZipFile("the pickle does not match its checksum")
    return words


def _not_one(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(64)
    if kind := kind_by_name(path.name):
        return f"{shown(path)} is {kind.what}; {kind.for_network}."
    what = "a text file" if is_text(head) else "damaged"
    return f"{shown(path)} is {what}, not a PyTorch checkpoint; give the .pt or .pth file that torch.save wrote."
