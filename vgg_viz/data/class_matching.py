"""When two names mean the same class: but for case, for "_", "-" and spaces, for a WordNet id, and among synonyms."""

from __future__ import annotations

import re


def keys(name: str) -> set[str]:
    """What a class name can be recognised by; two names mean the same class where these meet."""
    plain = re.sub(r"[\s_\-]+", " ", name).strip().casefold()
    bare = re.sub(r"^n\d{8} ", "", plain)
    return {plain, bare, *(part.strip() for part in bare.split(","))} - {""}
