"""The guard over requests, apart from the fixtures so that a test can prove it."""

from __future__ import annotations

from pathlib import Path


def leaks(requests: list[str], folder: Path) -> list[str]:
    """The requests that left the folder of the page."""
    return [url for url in requests if not url.startswith((folder.as_uri() + "/", "data:", "blob:"))]
