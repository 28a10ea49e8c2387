"""Whether weights are numbers: every one is looked at, through a small window where they are mapped from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vgg_viz.errors import CheckpointRefused

WINDOW = 16 * 2**20  # bytes
LINEAR = 2  # axes of its weights


def require_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse NaN and infinity, naming every tensor that holds them.

    A sum is a third of the time of isfinite; a sum that overflows is looked at again. Weights that are mapped from `path` are
    read through a window of 16 MiB: summing the map itself would make the whole file resident.
    """
    bad: dict[str, int] = {}
    with _Window(path) as window:
        for key, weight in weights.items():
            if weight.is_floating_point() and not window.sums_to_a_number(weight):
                bad[key] = int((~torch.isfinite(weight)).sum())
    bad = {key: count for key, count in bad.items() if count}
    if bad:
        listed = ", ".join(f"{key} ({count} of {weights[key].numel()})" for key, count in bad.items())
        # What diverges takes every layer with it; linear layers without one number behind sound convolutions were never filled.
        axes = {weights[key].ndim for key in bad}
        empty = LINEAR in axes <= {LINEAR, 1} and all(count == weights[key].numel() for key, count in bad.items())
        why = (
            "the convolutions were published without these linear layers, so take a file with the whole classifier"
            if empty
            else "its training diverged, so take an earlier checkpoint"
        )
        raise CheckpointRefused(f"{path.name or 'the checkpoint'} holds NaN or infinite weights in {listed}; {why}.")


class _Window:
    """A file read piece by piece, where the system tells which addresses are its map (Linux); elsewhere the map is summed."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, -1
        self.pieces: list[tuple[int, int, int]] = []  # (first address, one past the last, offset in the file)

    def __enter__(self) -> _Window:
        try:
            self.pieces = _maps(self.path)
            self.file = os.open(self.path, os.O_RDONLY) if self.pieces else -1
        except OSError:
            self.pieces = []
        self.buffer = bytearray(WINDOW) if self.pieces else bytearray()
        return self

    def __exit__(self, *_: object) -> None:
        if self.file >= 0:
            os.close(self.file)

    def sums_to_a_number(self, weight: Tensor) -> bool:
        size = weight.numel() * weight.element_size()
        first = weight.data_ptr()
        inside = next((piece for piece in self.pieces if piece[0] <= first and first + size <= piece[1]), None)
        if inside is None or not weight.is_contiguous() or WINDOW % weight.element_size():
            return bool(torch.isfinite(weight.sum()))
        offset = inside[2] + first - inside[0]
        for start in range(0, size, WINDOW):
            wanted = min(WINDOW, size - start)
            got = os.preadv(self.file, [memoryview(self.buffer)[:wanted]], offset + start)
            if got < wanted:  # cut while we read: let the map itself be looked at
                return False
            part = torch.frombuffer(self.buffer, dtype=weight.dtype, count=wanted // weight.element_size())
            if not bool(torch.isfinite(part.sum())):
                return False
        return True


def _maps(path: Path) -> list[tuple[int, int, int]]:
    """Where this process has mapped a file: addresses and offsets, from the system's own list."""
    status = path.stat()
    maps = []
    for line in Path("/proc/self/maps").read_bytes().splitlines():
        addresses, _, offset, device, inode, *_name = line.split(maxsplit=5)
        major, minor = (int(part, 16) for part in device.split(b":"))
        if int(inode) == status.st_ino and os.makedev(major, minor) == status.st_dev:
            first, last = (int(part, 16) for part in addresses.split(b"-"))
            maps.append((first, last, int(offset, 16)))
    return maps
