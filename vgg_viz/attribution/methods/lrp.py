"""Layer-wise relevance propagation with four presets of rules that were proposed for VGG."""

from __future__ import annotations

from torch import Tensor, nn

from vgg_viz.attribution.lrp.propagation import Preset, propagate
from vgg_viz.attribution.lrp.rules import AlphaBeta, Box, Epsilon, Flat, Gamma
from vgg_viz.attribution.method import Compute, Map, Passes, method
from vgg_viz.attribution.options import MethodOptions

KOHLBRENNER = "Kohlbrenner et al., Towards Best Practice in Explaining Neural Network Decisions with LRP, IJCNN 2020"
MONTAVON = "Montavon et al., Layer-Wise Relevance Propagation: An Overview, in Explainable AI, Springer 2019"

PRESETS: dict[str, Preset] = {
    "epsilon_gamma_box": Preset(
        "LRP ε-γ-box",
        "The score shared out layer by layer, with what speaks for a unit counted a quarter more; pixels count by their distance from "
        "black or white.",
        MONTAVON,
        first=Box,
        lower=lambda: Gamma(0.25),
        upper=lambda: Gamma(0.25),
        dense=lambda: Epsilon(1e-6),
    ),
    "epsilon_plus_flat": Preset(
        "LRP ε-plus-flat",
        "The score shared out layer by layer among what speaks for each unit only; in the first layer every pixel of a field gets "
        "the same.",
        KOHLBRENNER,
        first=lambda darkest, brightest: Flat(),
        lower=AlphaBeta,
        upper=AlphaBeta,
        dense=lambda: Epsilon(1e-6),
    ),
    # The paper's composite (LRP-CMP) with alpha 2, beta 1 and a flat first layer; with alpha 1, beta 0 it is the preset above.
    "kohlbrenner": Preset(
        "LRP Kohlbrenner",
        "As ε-plus-flat, but what speaks for a unit is paid double and what speaks against it is charged, so that the map shows both.",
        KOHLBRENNER,
        first=lambda darkest, brightest: Flat(),
        lower=lambda: AlphaBeta(2, 1),
        upper=lambda: AlphaBeta(2, 1),
        dense=lambda: Epsilon(1e-6),
        passes=5.0,
    ),
    # VGG16: gamma up to pool3, a quarter of the spread as epsilon from there to pool5, LRP-0 in the classifier, pools as averages.
    "montavon": Preset(
        "LRP Montavon",
        "Other rules at other depths: the plain one at the top, one that drops weak contributions in the middle, and one that favours "
        "what speaks for a unit near the picture.",
        MONTAVON,
        first=Box,
        lower=lambda: Gamma(0.25),
        upper=lambda: Epsilon(relative=0.25),
        dense=Epsilon,
        average=True,
    ),
}


def _computing(preset: Preset) -> Compute:
    def compute(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
        """Relevance of each pixel, summed over channels: what the preset's rules leave of the score, see `ledger`."""
        return Map(propagate(model, images, targets, preset).pixels.sum(1), passes=preset.passes)

    return compute


def _costing(preset: Preset) -> Passes:
    return lambda options, side: preset.passes


for _name, _preset in PRESETS.items():
    method(
        f"lrp_{_name}",
        title=_preset.title,
        family="relevance",
        signed=True,
        unit="logit",
        about=_preset.about,
        source=_preset.source,
        passes=_costing(_preset),
    )(_computing(_preset))
