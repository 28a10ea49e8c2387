"""A network as a chain of steps, and the short language in which a person writes it: "64 64 M 128 128 M | 512 drop K".

    64  64/5  64/3s2p0d1b0   a convolution: channels / kernel (3), stride (1), padding (half the kernel), dilation (1), b0: no bias
    64+bn+relu  +bn+relu     what follows that layer; as a word of its own: what follows each layer from here on (+relu)
    M  M3s2p1c  A2  A2x      max-pool, average pool: kernel (2), stride (the kernel), padding; c: rounds up; x: leaves padding out
    G  G7  GM                average of the whole map; averages that leave 7 x 7; the largest value of the whole map
    bn relu leaky0.1 drop0.5 lrn ...   layers without channels of their own, where they stand alone
    |                        the head begins: a number is a linear layer, 4096/7 a convolution, K one output for each class,
                             which nothing follows

The map is flattened before the first linear layer, and at the end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from vgg_viz.errors import InputRefused
from vgg_viz.maths.receptive_field import Window

# Layers that answer at a place by what stands at that place alone: word -> its usual numbers.
ACTIVATIONS: dict[str, tuple[float, ...]] = {
    "relu": (),
    "leaky": (0.01,),
    "elu": (1.0,),
    "relu6": (),
    "selu": (),
    "gelu": (),
    "silu": (),
    "mish": (),
    "softplus": (),
    "hardswish": (),
    "tanh": (),
    "sigmoid": (),
}
# AlexNet adds alpha = 1e-4 times the *sum* of 5 neighbours; torch divides by their number, hence 5e-4.
PLAIN: dict[str, tuple[float, ...]] = {**ACTIVATIONS, "bn": (), "drop": (0.5,), "lrn": (5, 5e-4, 0.75, 2.0), "flat": ()}
POOLS = {"M": "max_pool", "A": "avg_pool"}
MOST_STEPS = 1_000
LARGEST = 1_000_000  # channels or units
OUTPUTS = "K"

_WORD = re.compile(r"(?P<count>\d+|K)(?:/(?P<kernel>\d+))?(?P<numbers>(?:[spdb]\d+)*)(?P<follow>\+[^ ]*)?", re.ASCII)
_POOL = re.compile(r"(?P<kind>[MA])(?P<kernel>\d*)(?P<numbers>(?:[sp]\d+)*)(?P<marks>[cx]*)", re.ASCII)
_NUMBER = r"\d+(?:\.\d+)?(?:e-?\d+)?"
_PLAIN = re.compile(
    rf"(?P<kind>{'|'.join(sorted(PLAIN, key=len, reverse=True))})(?P<values>{_NUMBER}(?:/{_NUMBER})*)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Step:
    """One layer of a chain.

    Attributes:
        kind: "conv", "fc", "max_pool", "avg_pool", "adaptive_avg", "adaptive_max", or a key of `PLAIN`.
        channels: What a convolution or linear layer puts out; 0: one for each class, and for all other kinds.
        window: Kernel, stride, padding, dilation and rounding of a convolution or pool [px of its own input].
        bias: Whether a convolution or linear layer has one.
        side: Of the map that an adaptive pool makes.
        values: Slope, share of dropout, numbers of the normalisation.
        pads_count: Whether an average pool counts the padding.
        head: Whether it belongs to the classifier.
    """

    kind: str
    channels: int = 0
    window: Window = field(default_factory=Window)
    bias: bool = True
    side: int = 0
    values: tuple[float, ...] = ()
    pads_count: bool = True
    head: bool = False

    @property
    def weighted(self) -> bool:
        """Whether it is a convolution or a linear layer."""
        return self.kind in ("conv", "fc")


@lru_cache(maxsize=256)
def parse_plan(text: str) -> tuple[Step, ...]:
    """The steps that a plan describes, with flattening where it is needed.

    Raises:
        InputRefused: With the word that is none, and what is.
    """
    features, bar, head = text.partition("|")
    if "|" in head:
        raise InputRefused(
            f"the plan {_short(text)} has more than one |; one stands between the features and the head."
        )
    steps = [*_steps(features.split(), head=False), *_steps(head.split(), head=True)]
    if not any(step.kind == "conv" for step in steps):
        raise InputRefused(
            f"the plan {_short(text)} has no convolution; write one such as '64 64 M 128 128 M | 512 K'."
        )
    if len(steps) > MOST_STEPS:
        raise InputRefused(f"the plan has {len(steps):,} steps; at most {MOST_STEPS:,} are possible.")
    if bar and not any(step.weighted for step in steps if step.head):
        raise InputRefused(
            f"the head of the plan {_short(text)} has no layer; end it with K, one output for each class."
        )
    _require_order(steps)
    return tuple(_flattened(steps))


def _require_order(steps: Sequence[Step]) -> None:
    """A convolution or pool reads a map, and after flattening there is none."""
    flat = False
    for step in steps:
        if flat and (step.kind in ("conv", "lrn") or "pool" in step.kind or "adaptive" in step.kind):
            raise InputRefused(
                "in the plan a convolution or pool stands after a linear layer, where there is no map; put it before."
            )
        flat = flat or step.kind in ("fc", "flat")


def _flattened(steps: Sequence[Step]) -> Iterator[Step]:
    flat = any(step.kind == "flat" for step in steps)
    for step in steps:
        if step.kind == "fc" and not flat:
            yield Step("flat", head=True)
            flat = True
        yield step
    if not flat and any(step.head for step in steps):
        yield Step("flat", head=True)


def _steps(words: Sequence[str], *, head: bool) -> Iterator[Step]:
    follow: tuple[Step, ...] = (Step("relu", head=head),)
    for place, word in enumerate(words):
        if word.startswith("+"):
            follow = _follow(word, head)
        elif match := _WORD.fullmatch(word):
            yield (step := _layer(match, word, head))
            own = match["follow"]
            last = head and not any(_WORD.fullmatch(other) for other in words[place + 1 :])
            yield from _follow(own, head) if own is not None else () if last or not step.channels else follow
        else:
            yield _weightless(word, head)


def _follow(word: str, head: bool) -> tuple[Step, ...]:
    return tuple(_weightless(part, head) for part in word.split("+") if part)


def _layer(match: re.Match[str], word: str, head: bool) -> Step:
    numbers = _numbers(match["numbers"])
    channels = 0 if match["count"] == OUTPUTS else int(match["count"][:9])
    if (channels == 0 and match["count"] != OUTPUTS) or channels > LARGEST:
        raise InputRefused(f"{word!r} in the plan has {match['count'][:20]} channels; 1 to {LARGEST:,} are possible.")
    if channels == 0 and not head:
        raise InputRefused("K, one output for each class, stands in the head of a plan: after the |.")
    bias = bool(numbers.get("b", 1))
    if head and match["kernel"] is None:
        if set(numbers) - {"b"}:
            raise InputRefused(
                f"{word!r} in the head of the plan is a linear layer, which has no stride or padding; a convolution has a kernel: "
                f"{match['count']}/1."
            )
        return Step("fc", channels, bias=bias, head=True)
    kernel, dilation = int(match["kernel"] or 3), numbers.get("d", 1)
    usual = 0 if head else dilation * (kernel - 1) // 2
    window = Window(kernel, numbers.get("s", 1), numbers.get("p", usual), dilation)
    return Step("conv", channels, _sound(window, word), bias, head=head)


def _sound(window: Window, word: str) -> Window:
    if not (
        1 <= window.kernel <= 255 and 1 <= window.stride <= 255 and 1 <= window.dilation <= 64 and window.padding <= 255
    ):
        raise InputRefused(
            f"{word!r} in the plan has a kernel, stride or dilation of 0 or one that is too large; 1 to 255 are possible."
        )
    return window


def _numbers(text: str) -> dict[str, int]:
    return {letter: int(number[:9]) for letter, number in re.findall(r"([a-z])(\d+)", text)}


def _weightless(word: str, head: bool) -> Step:
    if match := _POOL.fullmatch(word):
        numbers = _numbers(match["numbers"])
        kernel = int(match["kernel"][:9] or 2)
        window = Window(kernel, numbers.get("s", kernel), numbers.get("p", 0), ceil="c" in match["marks"])
        if window.padding > kernel // 2:
            raise InputRefused(
                f"{word!r} in the plan pads by more than half its kernel; a pool pads by at most {kernel // 2}."
            )
        return Step(POOLS[match["kind"]], window=_sound(window, word), pads_count="x" not in match["marks"], head=head)
    if match := re.fullmatch(r"G(M?)(\d*)", word):
        side = int(match[2][:9] or 1)
        if not 1 <= side <= 4096:
            raise InputRefused(f"{word!r} in the plan makes a map of {match[2][:20]} units; 1 to 4096 are possible.")
        return Step("adaptive_max" if match[1] else "adaptive_avg", side=side, head=head)
    if match := _PLAIN.fullmatch(word if word != "LRN" else "lrn"):
        usual = PLAIN[match["kind"]]
        values = tuple(map(float, match["values"].split("/"))) if match["values"] else usual
        if len(values) == len(usual):
            return Step(match["kind"], values=values, head=head)
    raise InputRefused(
        f"{word[:40]!r} in the plan is no layer; a number is a convolution (64, 64/5s2) or, after the |, a linear layer, M a max-pool, "
        f"A2 an average pool, G the average of the map, K the classes, others are {', '.join(PLAIN)}."
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


# ---------------------------------------------------------------- written


def write_plan(steps: Sequence[Step]) -> str:
    """The plan of a chain: `parse_plan` makes the same steps of it; the shortest words for what most layers have after them."""
    implied = _implied_flat(steps)
    kept = [step for place, step in enumerate(steps) if place != implied]
    features = [step for step in kept if not step.head]
    head = [step for step in kept if step.head]
    return " ".join([*_words(features, head=False), *(["|", *_words(head, head=True)] if head else [])])


def _implied_flat(steps: Sequence[Step]) -> int:
    """Where a flattening stands that `parse_plan` adds by itself; -1: there is none."""
    flats = [place for place, step in enumerate(steps) if step.kind == "flat"]
    if len(flats) != 1 or not steps[flats[0]].head:
        return -1
    first = next((place for place, step in enumerate(steps) if step.kind == "fc"), len(steps))
    return flats[0] if flats[0] == first - 1 else -1


def _words(steps: Sequence[Step], *, head: bool) -> Iterator[str]:
    groups: list[tuple[Step, list[Step]]] = []
    before: list[Step] = []
    for step in steps:
        if step.weighted:
            groups.append((step, []))
        else:
            (groups[-1][1] if groups else before).append(step)
    follows = [tuple(_run(after)) for _, after in groups[: len(groups) - head]]
    usual = (Step("relu", head=head),)
    common = Counter(follows).most_common(1)[0][0] if follows else usual
    yield from map(_plain_word, before)
    if common != usual:
        yield "+" + "+".join(map(_plain_word, common))
    for place, (step, after) in enumerate(groups):
        last = head and place == len(groups) - 1
        run = tuple(_run(after))
        word = _layer_word(step)
        implied = () if last or not step.channels else common
        if run != implied and run[: len(implied)] == implied and implied:
            run = implied  # what stands behind is written out
        elif run != implied:
            word += "+" + "+".join(map(_plain_word, run))
        yield word
        yield from map(_plain_word, after[len(run) :])


def _run(after: Sequence[Step]) -> Iterator[Step]:
    """Batch norm and activation right after a layer."""
    for step in after:
        if step.kind != "bn" and step.kind not in ACTIVATIONS:
            return
        yield step


def _layer_word(step: Step) -> str:
    word = str(step.channels or OUTPUTS)
    window = step.window
    if step.kind == "conv":
        if step.head or window.kernel != 3:
            word += f"/{window.kernel}"
        usual = 0 if step.head else window.dilation * (window.kernel - 1) // 2
        word += f"s{window.stride}" if window.stride != 1 else ""
        word += f"p{window.padding}" if window.padding != usual else ""
        word += f"d{window.dilation}" if window.dilation != 1 else ""
    return word + ("" if step.bias else "b0")


def _plain_word(step: Step) -> str:
    if step.kind in POOLS.values():
        window = step.window
        letter = next(letter for letter, kind in POOLS.items() if kind == step.kind)
        kernel = str(window.kernel) if window.kernel != 2 or step.kind == "avg_pool" else ""
        stride = f"s{window.stride}" if window.stride != window.kernel else ""
        padding = f"p{window.padding}" if window.padding else ""
        return f"{letter}{kernel}{stride}{padding}" + "c" * window.ceil + "x" * (not step.pads_count)
    if step.kind.startswith("adaptive"):
        return ("GM" if step.kind == "adaptive_max" else "G") + (str(step.side) if step.side != 1 else "")
    values = "/".join(f"{value:.9g}" for value in step.values) if step.values != PLAIN[step.kind] else ""
    return step.kind + values


def canonical_plan(text: str) -> str:
    """A plan in the words that `write_plan` chooses; two plans of one network are then the same text."""
    return write_plan(parse_plan(text))


def as_head(step: Step) -> Step:
    """The same step as a part of the classifier."""
    return replace(step, head=True)
