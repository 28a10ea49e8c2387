"""The galleries of a folder, read and never written: which there are, and which file an address means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from vgg_viz.errors import DataRefused
from vgg_viz.gallery.folder import read_manifest
from vgg_viz.serve.guard import NOTHING

# What a gallery is made of. Not the system's table of types: it differs from machine to machine.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
}
USUAL = "gallery"
HEAD = 4096  # bytes of a page in which its policy must stand

# What the system raises for paths that lead nowhere: a name too long, a loop of links, a lone surrogate.
_LOST = (OSError, RuntimeError, ValueError)
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"<>]*)">')
_HASH = r"'sha256-[A-Za-z0-9+/]{43}='"
# The words that a policy of ours is made of; one with others is not taken over.
_DIRECTIVES = re.compile(
    r"default-src 'none'|img-src(?: (?:data:|blob:|'self'))+|font-src(?: (?:data:|'self'))+|"
    rf"style-src(?: {_HASH})+|script-src(?: {_HASH})+|base-uri 'none'|form-action 'none'"
)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a gallery that may be shown, with its headers."""

    path: Path
    media_type: str
    policy: str


@dataclass(frozen=True, slots=True)
class Galleries:
    """A folder of galleries, or one gallery."""

    root: Path

    def folders(self) -> Mapping[str, Path]:
        """Every gallery that is there now, by name: visible folders with a manifest of ours, inside the root."""
        root = self.root.resolve()
        if read_manifest(root) is not None:
            return {root.name: root}
        try:
            inside = sorted(root.iterdir())
        except OSError:
            return {}
        return {
            folder.name: folder for folder in inside if not folder.name.startswith(".") and _is_gallery(folder, root)
        }

    def find(self, address: str) -> File | None:
        """The file that "<gallery>/<path>" means, or None: no such file, or none that may be shown.

        Refused are parts that climb or hide, other alphabets of paths (backslash, drive, NUL), links that lead out of the
        gallery, whatever is no regular file, and types that no gallery holds.

        Args:
            address: Decoded, with "/" between its parts; "" as the last part means index.html.
        """
        gallery, _, rest = address.partition("/")
        parts = [gallery, *(rest or "index.html").split("/")]
        if any(not part or part.startswith(".") or re.search(r"[\x00-\x1f\x7f\\:]", part) for part in parts):
            return None
        folder = self.folders().get(gallery)
        if folder is None:
            return None
        try:
            home = folder.resolve(strict=True)
            path = home.joinpath(*parts[1:]).resolve(strict=True)
            if not path.is_relative_to(home) or not path.is_file():
                return None
            hidden = any(part.startswith(".") for part in path.relative_to(home).parts)
            media_type = TYPES.get(path.suffix.lower())
            if hidden or media_type is None:
                return None
            return File(path, media_type, page_policy(_head(path)) if path.suffix.lower() == ".html" else NOTHING)
        except _LOST:
            return None


def page_policy(page: str, *, asks: bool = False) -> str:
    """The content policy of a page as a header: the page's own, and that nobody may frame it.

    A page without one, or with a policy that this package would not write, gets one under which nothing runs.

    Args:
        page: Its HTML.
        asks: Whether the page may ask this server, as the live page does and a gallery has no reason to.
    """
    match = _POLICY.search(page[:HEAD])
    directives = [part.strip() for part in unescape(match[1]).split(";")] if match else []
    known = [_DIRECTIVES.fullmatch(part) or (asks and part == "connect-src 'self'") for part in directives]
    if "default-src 'none'" not in directives or not all(known):
        return NOTHING
    return "; ".join([*directives, "frame-ancestors 'none'"])


def _is_gallery(folder: Path, root: Path) -> bool:
    try:
        return folder.resolve(strict=True).is_relative_to(root) and read_manifest(folder) is not None
    except _LOST:
        return False


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(HEAD).decode("utf-8", "replace")


def offer(folder: str | None, checkpoint: str | None) -> tuple[Galleries | None, str | None, str]:
    """What to serve: (galleries, checkpoint of the live page or None, one sentence about it).

    Args:
        folder: As the user gave it; None: the usual one, which need not be there.
        checkpoint: As the user gave it; "" means the bundled Tiny VGG.

    Raises:
        DataRefused: A folder was named and there is no gallery in it, and no network either.
    """
    root = Path(USUAL if folder is None else folder)
    galleries = Galleries(root) if root.is_dir() else None
    count = len(galleries.folders()) if galleries else 0
    quoted = repr(root.name or str(root))
    if count == 0 and folder is not None and checkpoint is None:
        what = "holds no gallery" if galleries else "is a file" if root.exists() else "does not exist"
        raise DataRefused(
            f"{quoted} {what}; make one with `python -m vgg_viz report`, or name a network with --checkpoint."
        )
    if count == 0 and checkpoint is None:
        return None, "", "there are no galleries here, so the live page of the bundled Tiny VGG is served."
    counted = f"{count} galler{'y' if count == 1 else 'ies'} of {quoted}"
    if checkpoint is None:
        return galleries, None, f"{counted}, to browse only; with --checkpoint there is a live page, too."
    if count == 0:
        return None, checkpoint, f"the live page only: there is no gallery in {quoted}."
    return galleries, checkpoint, f"{counted}, and the live page."
