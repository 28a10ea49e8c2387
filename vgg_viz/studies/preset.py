"""How much a report looks at: three presets, and what a large network makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from vgg_viz.errors import UnknownName

# One method of each idea, and the one whose failing is in every textbook: a page of twenty methods teaches none of them. Two
# coarse maps, of channels and of places; one joined with fine lines; the first map of gradients, and the one known to draw edges;
# two that add up to the score, by a path and by a rule; and the one that only asks, and needs no gradient.
STANDARD = (
    "grad_cam",
    "hires_cam",
    "guided_grad_cam",
    "saliency",
    "guided_backprop",
    "integrated_gradients",
    "lrp_epsilon_gamma_box",
    "occlusion",
)
CHEAP = 4  # passes a picture that a method of "quick" may cost: a forward and a backward, twice

# Above this cost of one forward pass a network counts as large: on two cores it takes some hundredths of a second.
LARGE_GIGAMACS = 2.0


@dataclass(frozen=True, slots=True)
class Preset:
    """What a report spends.

    pictures    that are looked into (activations, attention)
    evaluated   labelled pictures at most
    gigamacs    that the evaluation may cost at most; fewer pictures are drawn for a larger network
    methods     of attribution, by name; in PRESETS empty, `preset_for` fills it: "quick" with all that cost a pass or two, but no
                LRP, which stands in a section of its own and whose passes are dear; "standard" with STANDARD; "full" with every
                method that is registered
    viewer      how many of them, the most credible first, the viewer holds: its maps are most of a page's bytes
    steps       of integrated gradients; samples: of SmoothGrad; masks: of RISE
    window      of occlusion, as a share of the image side; stride in windows
    trust       whether the maps are put to the test (several more passes)
    rows        photographs in a figure of maps, half as many where a figure is about the method; grid: in a figure of photographs
    examples    labelled pictures in the grid to search and filter
    scale       pixels of a PNG to a figure pixel; palette: photographs in 256 colours, a third of the bytes
    """

    name: str
    pictures: int
    evaluated: int
    gigamacs: float
    methods: tuple[str, ...] = ()
    viewer: int = 4
    steps: int = 32
    samples: int = 16
    masks: int = 500
    window: float = 1 / 8
    stride: float = 0.5
    trust: bool = True
    rows: int = 2
    grid: int = 10
    examples: int = 60
    scale: float = 1.0
    palette: bool = True


PRESETS = {
    "quick": Preset("quick", 6, 500, 600, trust=False, examples=60),
    "standard": Preset("standard", 5, 2000, 3000),
    "full": Preset(
        "full",
        24,
        10_000,
        30_000,
        viewer=99,
        steps=64,
        samples=32,
        masks=1000,
        rows=4,
        grid=24,
        examples=1000,
        scale=2.0,
        palette=False,
    ),
}


def preset_for(name: str, gigamacs: float) -> Preset:
    """The preset called `name` for a network that costs `gigamacs` a picture.

    A large network gets fewer pictures, steps, masks and occluded places from "standard"; "full" is never cut.
    raises  UnknownName
    """
    if name not in PRESETS:
        raise UnknownName("preset", name, PRESETS)
    preset = replace(PRESETS[name], methods=_methods(name))
    if gigamacs < LARGE_GIGAMACS or name == "full":
        return preset
    return replace(
        preset,
        pictures=min(preset.pictures, 6 if name == "quick" else 4),
        steps=16,
        samples=8,
        masks=200,
        window=1 / 7,
        stride=1.0,
    )


def fit_preset(preset: Preset, model: nn.Module) -> Preset:
    """The preset without the class-score map where that has one place, or none: one number is the score, not a map of it."""
    from vgg_viz.attribution.methods.class_score import places

    if "class_score_map" not in preset.methods or places(model) > 1:
        return preset
    return replace(preset, methods=tuple(name for name in preset.methods if name != "class_score_map"))


def _methods(name: str) -> tuple[str, ...]:
    """What a preset shows, among the methods that there are."""
    from vgg_viz.attribution import methods
    from vgg_viz.attribution.options import MethodOptions

    known = methods()
    if name == "standard":
        return tuple(method for method in STANDARD if method in known)
    usual = MethodOptions()
    if name == "full":
        return tuple(known)
    cheap = [method for method, about in known.items() if about.passes is not None and about.passes(usual, 64) <= CHEAP]
    return tuple(method for method in cheap if not method.startswith("lrp_"))
