"""What a text must tell, without the sentence in which it does."""

from __future__ import annotations


def tells(text: str, *facts: str) -> bool:
    """Whether a text holds all of these names, numbers and words, whatever stands between them."""
    return all(fact in text for fact in facts)
