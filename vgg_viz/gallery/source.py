"""Where a checkpoint came from, as galleries tell it: what it is called, which bytes it is and in which files they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vgg_viz.records import Checkpoint


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint and where it came from.

    Attributes:
        checkpoint: As it was read.
        stem: What its galleries are called: of the file, behind the name of its run where the file's own says nothing
            (`run1-best`).
        title: The same for a reader: the file's name, such as `vgg16.pth`, or `run1/best.pt`.
        sha256: Of all its bytes; "" for a variant's name, which is no file.
        files: Names of all files that it lies in, in the order of the checksum.
    """

    checkpoint: Checkpoint
    stem: str
    title: str
    sha256: str
    files: tuple[str, ...]

    @property
    def identity(self) -> str:
        """What tells this checkpoint from another: its checksum, or the name of its variant."""
        return self.sha256 or f"untrained {self.checkpoint.provenance.file}"

    def facts(self) -> dict[str, Any]:
        """For a manifest, as plain values."""
        about = self.checkpoint.provenance
        return {
            "file": about.file,
            "sha256": self.sha256,
            "files": self.files,
            "format": about.format,
            "evidence": about.evidence,
            "alternatives": about.alternatives,
            "ignored_keys": about.ignored_keys,
            "data": about.data,
            "training": about.training,
        }
