"""The page over all galleries of a folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from vgg_viz.report.page import IndexRow, render_index
from vgg_viz.report.writing import MANIFEST, SCHEMA, read_manifest


def write_index(out: Path) -> Path:
    """Write `<out>/index.html` over every gallery below `out`; one that cannot be read is a row with its reason."""
    rows = [_row(folder) for folder in sorted(out.iterdir()) if folder.is_dir() and (folder / MANIFEST).exists()]
    handle, temporary = tempfile.mkstemp(prefix=".index.", suffix=".tmp", dir=out)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(render_index(rows))
    os.chmod(temporary, 0o644)
    os.replace(temporary, out / "index.html")
    return out / "index.html"


def _row(folder: Path) -> IndexRow:
    manifest = read_manifest(folder)
    if manifest is None or manifest.get("schema") != SCHEMA or not (folder / "index.html").is_file():
        reason = "its manifest cannot be read" if manifest is None else "it was made by another version, or its page is gone"
        return IndexRow(folder.name, folder.name, "", "warn", error=f"{reason}; make the report again.")
    findings = manifest.get("findings")
    first: dict[str, Any] = findings[0] if isinstance(findings, list) and findings and isinstance(findings[0], dict) else {}
    facts = manifest.get("facts")
    return IndexRow(
        folder.name,
        str(manifest.get("title") or folder.name),
        str(first.get("text", "")),
        str(first.get("level", "note")) if first.get("level") in ("good", "note", "warn", "bad") else "note",
        tuple((str(key), str(value)) for key, value in facts.items()) if isinstance(facts, dict) else (),
    )
