"""The browser's modules joined into the one inline script of a page.

A page is a single file under a content policy of hashes, so it cannot import. The modules of `static/` keep to the part
of the language that makes joining a matter of order: every import names what it takes, from a file beside it, at the
head of the module; every export is a declaration. No two modules of one script declare the same name, because they
share one function scope. Anything else is refused, by the tests before any user meets it.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent / "static"

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_DECLARATION = re.compile(r"^(export )?(?:(?:async )?function\*? ?|class |const |let |var )([\w$]+)", re.MULTILINE)
_COMMENT = re.compile(r"/\*(?:(?!\*/).)*\*/[ \t]*$|^[ \t]*//[^\n]*$", re.MULTILINE | re.DOTALL)


class BundleError(Exception):
    """A module that cannot be joined with the others, and why."""


@cache
def script(*entries: str) -> str:
    """Join the modules that some pages run, each once and after those that it imports.

    Args:
        entries: Names of modules in `static/`, in the order in which they run.

    Returns:
        One function in strict mode, as `stripped` leaves them.

    Raises:
        BundleError: A module imports what another does not export, two declare one name, imports run in a circle,
            or a form of import or export is used that joining does not cover.
    """
    joined: dict[str, str] = {}
    for entry in entries:
        _add(entry, joined, ())
    owners: dict[str, str] = {}
    for module in joined:
        for _, name in _declarations(module):
            if owners.setdefault(name, module) != module:
                raise BundleError(f"{module} and {owners[name]} both declare {name}")
    return '(() => {\n"use strict";\n' + "\n".join(joined.values()) + "})();\n"


def stripped(text: str) -> str:
    """A style or script without block comments that end a line, lines that are comments, and indentation.

    Every page carries its style and script; a reader finds them commented in the package. No string spans lines there,
    and none ends a line with what looks like a block comment: `deno lint` sees to both.
    """
    lines = (line.strip() for line in _COMMENT.sub("", text).splitlines())
    return "\n".join(line for line in lines if line) + "\n"


def _add(module: str, joined: dict[str, str], path: tuple[str, ...]) -> None:
    """Put a module behind everything that it imports."""
    if module in path:
        raise BundleError(f"imports run in a circle: {' -> '.join((*path, module))}")
    if module in joined:
        return
    text = _read(module)
    for names, other in _IMPORT.findall(text):
        _add(other, joined, (*path, module))
        exported = {name for export, name in _declarations(other) if export}
        if missing := {name.strip() for name in names.split(",")} - exported - {""}:
            raise BundleError(f"{module} imports {', '.join(sorted(missing))}, which {other} does not export")
    body = re.sub(
        r"^export (?=async |function|class |const |let )", "", stripped(_IMPORT.sub("", text)), flags=re.MULTILINE
    )
    if statement := re.search(r"^(import|export)\b.*|\bimport\s*[(.]", body, re.MULTILINE):
        raise BundleError(f"{module} holds {statement[0]!r}, which the bundle does not cover")
    joined[module] = body


@cache
def _read(module: str) -> str:
    return (STATIC / module).read_text(encoding="utf-8")


def _declarations(module: str) -> list[tuple[str, str]]:
    """What a module declares at its top: ("export " or "", name)."""
    return _DECLARATION.findall(_read(module))
