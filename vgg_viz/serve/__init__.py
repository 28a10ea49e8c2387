"""A server for one's own machine: galleries to browse, and a live page that asks a network about a picture.

starlette and uvicorn enter here only, and come with an extra: pip install "vgg_viz[serve]".
"""

from __future__ import annotations

from importlib.util import find_spec

from vgg_viz.errors import InputRefused


def require_extra() -> None:
    """Raises InputRefused with the remedy where the libraries of the server are not installed."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise InputRefused(
            f'serving needs {" and ".join(missing)}, which come with an extra: pip install "vgg_viz[serve]".'
        )
