"""What kinds of layers are called in sentences, and what may be said of their values."""

from __future__ import annotations

from collections.abc import Iterable

TITLES = {
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
    "elu": "ELU",
    "relu6": "ReLU6",
    "selu": "SELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "softplus": "softplus",
    "hardswish": "hard swish",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}
STOPPING = ("relu", "relu6")  # what lies below zero becomes exactly zero
ONE_SIDED = (
    *STOPPING,
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "hardswish",
)  # below zero: little or nothing
NEVER_NEGATIVE = (*STOPPING, "softplus", "sigmoid")


def activation_word(kinds: Iterable[str]) -> str:
    """What the activations among layers of these kinds are called: "ReLU"; "activation" where they differ, "" where there is none."""
    found = {TITLES[kind] for kind in kinds if kind in TITLES}
    return found.pop() if len(found) == 1 else "activation" if found else ""


def read_where(kinds: Iterable[str]) -> str:
    """Where maps of convolutions are read, by the kinds of the layers that are: "after the ReLU of", "at"."""
    kinds = tuple(kinds)
    word = activation_word(kinds)
    if not word:
        return "at"
    return (
        f"after the {word} of" if all(kind in TITLES for kind in kinds) else f"after the {word}, where there is one, of"
    )
