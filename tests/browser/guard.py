"""The guard over requests, apart from the fixtures so that a test can prove it."""

from __future__ import annotations


def leaks(requests: list[str], home: str) -> list[str]:
    """The requests that left `home`: the address of the page's folder, or of its server."""
    return [url for url in requests if not url.startswith((home + "/", "data:", "blob:"))]
