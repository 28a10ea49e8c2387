"""vgg_viz: one VGG checkpoint in, one gallery out.

The front door: what a notebook needs, flat. Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vgg_viz._version import __version__

if TYPE_CHECKING:
    from vgg_viz.api import audit, compare, evaluate, explain, predict, report, timeline
    from vgg_viz.attribution import attribute, methods
    from vgg_viz.capture.hooks import activations
    from vgg_viz.data.folder import read_images
    from vgg_viz.models.build import build
    from vgg_viz.models.checkpoint import load, save
    from vgg_viz.models.export import export
    from vgg_viz.models.geometry import geometry
    from vgg_viz.models.live.open_network import open_network as open  # noqa: A004 - vgg_viz.open, as the word is
    from vgg_viz.models.names import layers
    from vgg_viz.notebook import plot_activations, plot_attribution, specimens
    from vgg_viz.training.loop import train

# Name -> where it stands, as "module" where it is called so there, or "module:name". No name is that of a submodule: Python would bind
# the module in its place as soon as that is imported.
_PLACES = {
    "activations": "vgg_viz.capture.hooks",
    "attribute": "vgg_viz.attribution",
    "audit": "vgg_viz.api",
    "build": "vgg_viz.models.build",
    "compare": "vgg_viz.api",
    "evaluate": "vgg_viz.api",
    "explain": "vgg_viz.api",
    "export": "vgg_viz.models.export",
    "geometry": "vgg_viz.models.geometry",
    "layers": "vgg_viz.models.names",
    "load": "vgg_viz.models.checkpoint",
    "methods": "vgg_viz.attribution",
    "open": "vgg_viz.models.live.open_network:open_network",
    "plot_activations": "vgg_viz.notebook",
    "plot_attribution": "vgg_viz.notebook",
    "predict": "vgg_viz.api",
    "read_images": "vgg_viz.data.folder",
    "report": "vgg_viz.api",
    "save": "vgg_viz.models.checkpoint",
    "specimens": "vgg_viz.notebook",
    "timeline": "vgg_viz.api",
    "train": "vgg_viz.training.loop",
}

__all__ = [
    "__version__",
    "activations",
    "attribute",
    "audit",
    "build",
    "compare",
    "evaluate",
    "explain",
    "export",
    "geometry",
    "layers",
    "load",
    "methods",
    "open",
    "plot_activations",
    "plot_attribution",
    "predict",
    "read_images",
    "report",
    "save",
    "specimens",
    "timeline",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        module, _, there = _PLACES[name].partition(":")
        return getattr(import_module(module), there or name)
    raise AttributeError(f"module 'vgg_viz' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
