"""The page over all galleries of a folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from vgg_viz.atomic import whole_file
from vgg_viz.errors import OutputRefused
from vgg_viz.gallery.folder import MANIFEST, SCHEMA, read_manifest
from vgg_viz.gallery.page import IndexRow, render_index

BRAND = b'<span class="brand">vgg_viz</span>'  # stands in every index that this module wrote


def require_index_place(out: Path) -> None:
    """Refuse a folder whose index.html would be lost: another's page, or the page of a gallery."""
    inside = next((place for place in (out, *out.absolute().parents) if read_manifest(place) is not None), None)
    if inside is not None:
        raise OutputRefused(
            f"{out.name!r} lies in the gallery {inside.name!r}, whose files would be lost; choose a folder outside it with --out."
        )
    page = out / "index.html"
    if page.is_file() and BRAND not in page.read_bytes():
        raise OutputRefused(
            f"the folder {out.name!r} has an index.html that vgg_viz did not write; choose another --out."
        )


def write_index(out: Path) -> Path:
    """Write `<out>/index.html` over every gallery below `out`; one that cannot be read is a row with its reason.

    Raises:
        OutputRefused: When the disk says no; the galleries are whole then.
    """
    file = out / "index.html"
    while True:
        before = _standing(out)
        with whole_file(file, advice="the gallery itself is whole: free some space and report again") as temporary:
            temporary.write_text(render_index([index_row(out / name) for name in before]), encoding="utf-8")
        if _standing(out) == before:  # else another command has put a gallery there meanwhile
            return file


def _standing(out: Path) -> dict[str, int]:
    """Every gallery of a folder by name, with the time of its manifest; a hidden one is still being written."""
    written = {}
    for folder in sorted(out.iterdir()):
        with suppress(FileNotFoundError, NotADirectoryError):  # a file, no gallery, or one that is just being replaced
            if not folder.name.startswith("."):
                written[folder.name] = (folder / MANIFEST).stat().st_mtime_ns
    return written


def index_row(folder: Path) -> IndexRow:
    """What the index says of one gallery, from its manifest; of one that cannot be read, the reason."""
    manifest = read_manifest(folder)
    if manifest is None or manifest.get("schema") != SCHEMA or not (folder / "index.html").is_file():
        reason = (
            "its manifest cannot be read" if manifest is None else "it was made by another version, or its page is gone"
        )
        return IndexRow(folder.name, folder.name, "", "warn", error=f"{reason}; make the report again.")
    findings = manifest.get("findings")
    first: dict[str, Any] = (
        findings[0] if isinstance(findings, list) and findings and isinstance(findings[0], dict) else {}
    )
    facts = manifest.get("facts")
    return IndexRow(
        folder.name,
        str(manifest.get("title") or folder.name),
        str(first.get("text", "")),
        str(first.get("level", "note")) if first.get("level") in ("good", "note", "warn", "bad") else "note",
        tuple((str(key), str(value)) for key, value in facts.items()) if isinstance(facts, dict) else (),
    )
