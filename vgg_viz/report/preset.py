"""How much a report looks at: three presets, and what a large network makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vgg_viz.errors import UnknownName

ONE_PASS = ("grad_cam", "saliency", "input_x_gradient", "guided_backprop", "guided_grad_cam")
ALL = (*ONE_PASS, "integrated_gradients", "smoothgrad", "occlusion")

# Above this cost of one forward pass a network counts as large: on two cores it takes some hundredths of a second.
LARGE_GIGAMACS = 2.0


@dataclass(frozen=True, slots=True)
class Preset:
    """What a report spends.

    pictures    that are looked into (activations, attention)
    evaluated   labelled pictures at most
    gigamacs    that the evaluation may cost at most; fewer pictures are drawn for a larger network
    methods     of attribution, by name
    steps       of integrated gradients; samples: of SmoothGrad
    window      of occlusion, as a share of the image side; stride in windows
    trust       whether the maps are put to the test (several more passes)
    rows        photographs in a figure of maps; grid: in a figure of photographs
    examples    labelled pictures in the grid to search and filter
    scale       pixels of a PNG to a figure pixel; palette: photographs in 256 colours, a third of the bytes
    """

    name: str
    pictures: int
    evaluated: int
    gigamacs: float
    methods: tuple[str, ...]
    steps: int = 32
    samples: int = 16
    window: float = 1 / 8
    stride: float = 0.5
    trust: bool = True
    rows: int = 2
    grid: int = 10
    examples: int = 120
    scale: float = 1.0
    palette: bool = True


PRESETS = {
    "quick": Preset("quick", 6, 500, 600, ONE_PASS, trust=False, examples=60),
    "standard": Preset("standard", 5, 2000, 3000, ALL),
    "full": Preset("full", 24, 10_000, 30_000, ALL, steps=64, samples=32, rows=4, grid=24, examples=1000, scale=2.0, palette=False),
}


def preset_for(name: str, gigamacs: float) -> Preset:
    """The preset called `name` for a network that costs `gigamacs` a picture.

    A large network gets fewer pictures, steps and occluded places from "standard"; "full" is never cut.
    raises  UnknownName
    """
    if name not in PRESETS:
        raise UnknownName("preset", name, PRESETS)
    preset = PRESETS[name]
    if gigamacs < LARGE_GIGAMACS or name == "full":
        return preset
    return replace(preset, pictures=min(preset.pictures, 6 if name == "quick" else 4), steps=16, samples=8, window=1 / 7, stride=1.0,
                   trust=False)  # fmt: skip
