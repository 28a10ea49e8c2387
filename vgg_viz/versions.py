"""What everything made here says of its making: when, by which versions, and whether that may vary."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from functools import cache

from vgg_viz._version import __version__


def reproducible() -> bool:
    """Whether SOURCE_DATE_EPOCH asks for the same bytes from the same input: nothing that varies may be written then."""
    return bool(os.environ.get("SOURCE_DATE_EPOCH"))


def made_at() -> str:
    """Now, or SOURCE_DATE_EPOCH where it is set: then the same input gives the same bytes, and timings are left out."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    when = datetime.fromtimestamp(int(epoch), UTC) if epoch and epoch.isdigit() else datetime.now(UTC)
    return when.strftime("%Y-%m-%d %H:%M UTC")


def versions() -> dict[str, str]:
    """What made the numbers, for the footer, the manifest and the saved maps."""
    return dict(_versions())


@cache  # every saved map asks, and each answer is read from nine files
def _versions() -> tuple[tuple[str, str], ...]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {"vgg_viz": __version__, "python": platform.python_version()}
    for name in (
        "torch",
        "torchvision",
        "captum",
        "matplotlib",
        "seaborn",
        "opencv-python",
        "opencv-python-headless",
        "torchinfo",
    ):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return tuple(versions.items())
