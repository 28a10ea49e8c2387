"""vgg_viz: one VGG checkpoint in, one gallery out.

The front door. Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vgg_viz._version import __version__

if TYPE_CHECKING:
    from vgg_viz.attribution import attribute, methods
    from vgg_viz.capture.hooks import capture, capturing
    from vgg_viz.data.folder import read_images
    from vgg_viz.models.build import build
    from vgg_viz.models.checkpoint import load, save
    from vgg_viz.models.geometry import geometry
    from vgg_viz.models.names import layers
    from vgg_viz.notebook import show_activations, show_attribution, specimens
    from vgg_viz.sections.report.report import report
    from vgg_viz.training.loop import train

_ROOMS = {
    "attribute": "vgg_viz.attribution",
    "build": "vgg_viz.models.build",
    "capture": "vgg_viz.capture.hooks",
    "capturing": "vgg_viz.capture.hooks",
    "geometry": "vgg_viz.models.geometry",
    "layers": "vgg_viz.models.names",
    "load": "vgg_viz.models.checkpoint",
    "methods": "vgg_viz.attribution",
    "read_images": "vgg_viz.data.folder",
    "report": "vgg_viz.sections.report.report",
    "save": "vgg_viz.models.checkpoint",
    "show_activations": "vgg_viz.notebook",
    "show_attribution": "vgg_viz.notebook",
    "specimens": "vgg_viz.notebook",
    "train": "vgg_viz.training.loop",
}

__all__ = [
    "__version__",
    "attribute",
    "build",
    "capture",
    "capturing",
    "geometry",
    "layers",
    "load",
    "methods",
    "read_images",
    "report",
    "save",
    "show_activations",
    "show_attribution",
    "specimens",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'vgg_viz' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
