"""Files that torch.save wrote: zip archives mapped from disk, older pickles read; the only torch.load of the package."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.containers import Stored, container, shown


@container("torch")
def torch_file(path: Path) -> Stored | None:
    """What torch.save wrote, with weights_only=True: nothing in the file is executed."""
    if path.is_dir():
        return None
    try:
        mapped = zipfile.is_zipfile(path) and bool(str(path).encode())
    except UnicodeEncodeError:  # a path of other bytes than the system's, which torch cannot map
        mapped = False
    try:
        with torch.serialization.safe_globals(_harmless()), open(path, "rb") as file:
            # Only zip files can be mapped; the older format is read.
            return Stored("torch", torch.load(path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped or None))
    except pickle.UnpicklingError as error:
        unsafe = sorted(set(re.findall(r"GLOBAL ([\w.]+)", str(error))))
        if unsafe:
            raise CheckpointRefused(
                f"{shown(path)} is a pickle that would run code to open ({', '.join(unsafe[:5])}); "
                "where you trust it, load it there and save model.state_dict() instead."
            ) from None
        raise CheckpointRefused(_not_one(path)) from None
    except PermissionError:
        raise CheckpointRefused(f"{shown(path)} may not be read by this user; change its permissions.") from None
    except (RuntimeError, ValueError, EOFError, OSError, KeyError, IndexError, TypeError, AttributeError, zipfile.BadZipFile):
        raise CheckpointRefused(_not_one(path)) from None


def _not_one(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(64)
    text = all(byte >= 32 or byte in b"\t\r\n" for byte in head) and head.isascii()
    kind = "a text file" if text else "damaged"
    return f"{shown(path)} is {kind}, not a PyTorch checkpoint; give the .pt or .pth file that torch.save wrote."


def _harmless() -> list[Any]:
    """Types without behaviour that usual training scripts leave in their files."""
    import argparse
    import collections
    import pathlib

    import numpy as np
    from numpy._core import multiarray

    found: list[Any] = [
        argparse.Namespace, collections.defaultdict, collections.OrderedDict, dict, list, int, float,
        pathlib.PosixPath, pathlib.PurePosixPath, pathlib.WindowsPath, pathlib.PureWindowsPath,
        np.ndarray, np.dtype, np.dtypes.Float32DType, np.dtypes.Float64DType, np.dtypes.Int64DType,
    ]  # fmt: skip
    # numpy 1 and numpy 2 write these two under different module names.
    for function in (multiarray.scalar, multiarray._reconstruct):
        found += [(function, f"{module}.multiarray.{function.__name__}") for module in ("numpy.core", "numpy._core")]
    return found
