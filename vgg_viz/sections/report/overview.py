"""Overview: the network layer by layer, what it sees and what it costs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torchinfo import summary

from vgg_viz.figures.layer_bars import parameters_and_macs
from vgg_viz.gallery.sections import section
from vgg_viz.models.build import assemble
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.studies.subject import Subject

LAYER_COLUMNS = (
    Column("layer"),
    Column("kind"),
    Column("output (C × h × w)"),
    Column("receptive field", "px", True),
    Column("jump", "px", True),
    Column("padding seen", "px", True),
    Column("first centre", "px", True),
    Column("parameters", "", True),
    Column("of all parameters", "%", True),
    Column("multiply-adds", "", True),
    Column("of all multiply-adds", "%", True),
)


@section(
    "overview",
    study="report",
    title="Overview",
    order=10,
    lead="What this network is: every layer from the picture to the class scores, with what one of its units can see and what it costs.",
)
def overview(subject: Subject) -> Iterator[Exhibit]:
    """The layer table, checked against torchinfo, and where parameters and multiply-adds live."""
    rows = [row for row in subject.geometry if row.kind not in ("normalise", "dropout")]
    costly = [row for row in rows if row.kind in ("conv", "fc")]
    parameters, macs = sum(row.parameters for row in rows), sum(row.macs for row in rows)
    weights = sum(
        row.parameters for row in costly
    )  # batch norm's scales and shifts are in the table, not in this chart
    heaviest, busiest = max(costly, key=lambda row: row.parameters), max(costly, key=lambda row: row.macs)
    fc_share = sum(row.parameters for row in rows if row.kind == "fc") / weights
    conv_share = sum(row.macs for row in rows if row.kind == "conv") / macs
    disagree = fc_share > 0.5 and conv_share > 0.5
    contrast = (
        "The two sides disagree, and that is the nature of VGG: a kernel is small but is used at every place of the picture, "
        "a fully connected weight only once."
        if disagree
        else "A weight of a convolution is used at every place of its map, a fully connected one only once: that is why shares of weights "
        "and shares of work differ. Here the classifier is so small that the convolutions lead in both; in the VGG of the paper, "
        "fully connected layers hold about nine tenths of the weights."
        if fc_share < 0.5 < conv_share
        else "A weight of a convolution is used at every place of its map, a fully connected one only once."
    )
    yield Exhibit(
        "overview-cost",
        "Where the weights are, and where the work is",
        Caption(
            see="One row per convolution or fully connected layer. Left: its share of their parameters, weights and biases. Right: its share of "
            "the multiply-adds (MACs), the arithmetic for one picture.",
            read=f"{contrast} The fully connected layers hold {percent(fc_share, decimals=1)} of the parameters and the convolutions do "
            f"{percent(conv_share, decimals=1)} of the multiply-adds. Largest: {heaviest.name} ({heaviest.parameters:,} parameters); "
            f"busiest: {busiest.name} ({busiest.macs / 1e6:,.1f} M multiply-adds).",
            cannot="Multiply-adds are arithmetic, not seconds: early layers move far more memory for the same sums. Nor does a layer with "
            "many weights matter more to the answer.",
        ),
        alt=f"Bar chart of {len(costly)} layers: fully connected layers hold {percent(fc_share, decimals=1)} of {weights:,} parameters, "
        f"convolutions do {percent(conv_share, decimals=1)} of {macs / 1e6:,.1f} million multiply-adds.",
        figure=parameters_and_macs(
            [row.name for row in costly],
            [row.parameters for row in costly],
            [row.macs for row in costly],
            title=f"{counted(len(costly), 'layer')} with weights, from the picture to the scores",
        ),
        numbers={row.name: {"parameters": row.parameters, "macs": row.macs} for row in costly},
    )
    checked = torchinfo_counts(subject)
    agree = all(
        ours.parameters == theirs["parameters"] and list(ours.shape) == theirs["shape"]
        for ours, theirs in zip(subject.geometry, checked, strict=True)
    )
    agreement = "agree on every shape and parameter count" if agree else "DISAGREE: please report this"
    yield Exhibit(
        "overview-layers",
        "Layer by layer",
        Caption(
            see="Each row is a layer; conv3_2 is the second convolution of the third block, and fully connected layers go on counting where the "
            "blocks end, as in the files that the authors of VGG released. The receptive field is the side of the square of input pixels that "
            "one unit can depend on; the jump is how far apart the squares of two neighbouring units lie; padding seen is how far "
            "the first unit's square reaches beyond the picture; the first centre is where in the picture that square has its middle.",
            read="Fields grow slowly by convolutions and double their pace at every pool. Where the field is well beyond the picture, a "
            f"unit may look everywhere in it. Shapes and parameters are computed twice, by this package's arithmetic and by torchinfo: they {agreement}. "
            "torchinfo also counts the additions of biases as multiply-adds; here they are left out.",
            cannot="The field says what a unit could see. What it does use is usually less, and concentrated in the middle: see the receptive-field section.",
        ),
        alt=f"Table of {len(rows)} layers, {parameters:,} parameters, {macs / 1e6:,.1f} million multiply-adds per picture.",
        table=Table(
            LAYER_COLUMNS,
            tuple(
                (
                    row.name,
                    row.kind,
                    " × ".join(map(str, row.shape)),
                    row.field.size if row.field else None,
                    row.field.jump if row.field else None,
                    row.field.padding if row.field else None,
                    row.field.centre if row.field else None,
                    row.parameters,
                    round(100 * row.parameters / parameters, 2),
                    row.macs,
                    round(100 * row.macs / macs, 2),
                )
                for row in rows
            ),
        ),
        numbers={
            "parameters": parameters,
            "macs": macs,
            "torchinfo_agrees": agree,
            "torchinfo_mult_adds": sum(item["macs"] for item in checked),
        },
    )


def torchinfo_counts(subject: Subject) -> list[dict[str, object]]:
    """Every layer as torchinfo counts it in one forward pass, on a twin that shares the weights.

    A twin, because torchinfo restores only the root's training flag. One real pass: on the meta device, torch first
    imports for a second what the pass of a small network does in a millisecond.
    """
    architecture = subject.checkpoint.architecture
    twin = assemble(architecture, subject.model.state_dict()).to(subject.device)
    side = architecture.image_side
    with torch.no_grad():
        found = summary(twin, (1, architecture.in_channels, side, side), verbose=0, device=subject.device)
    return [
        {"shape": list(info.output_size[1:]), "parameters": info.num_params, "macs": info.macs}
        for info in found.summary_list
        if info.is_leaf_layer and info.class_name != "Identity"
    ]
