"""What the sections of an audit look at."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from vgg_viz.shortcuts.findings import Audit


@dataclass(frozen=True, slots=True)
class Case:
    """An audit that was made, with the network that it is about."""

    model: nn.Module
    seen: Audit
    classes: tuple[str, ...]
    seed: int

    @property
    def side(self) -> int:
        return int(self.seen.batch.images.shape[-1])
