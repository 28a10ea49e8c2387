"""Overview: the network layer by layer, what it sees and what it costs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torchinfo import summary

from vgg_viz.figures.network import parameters_and_macs
from vgg_viz.models.build import assemble
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.report.section import Subject, section

LAYER_COLUMNS = (
    Column("layer"), Column("kind"), Column("output (C × h × w)"), Column("receptive field", "px", True), Column("jump", "px", True),
    Column("padding seen", "px", True), Column("first centre", "px", True), Column("parameters", "", True), Column("multiply-adds", "", True),
    Column("of all", "%", True),
)  # fmt: skip


@section(
    "overview", title="Overview", order=10,
    lead="What this network is: every layer from the picture to the class scores, with what one of its units can see and what it costs.",
)  # fmt: skip
def overview(subject: Subject) -> Iterator[Exhibit]:
    """The layer table, checked against torchinfo, and where parameters and multiply-adds live."""
    rows = [row for row in subject.geometry if row.kind not in ("normalise", "drop")]
    costly = [row for row in rows if row.kind in ("conv", "fc")]
    parameters, macs = sum(row.parameters for row in rows), sum(row.macs for row in rows)
    heaviest, busiest = max(costly, key=lambda row: row.parameters), max(costly, key=lambda row: row.macs)
    fc_share = sum(row.parameters for row in rows if row.kind == "fc") / parameters
    conv_share = sum(row.macs for row in rows if row.kind == "conv") / macs
    yield Exhibit(
        "overview-cost",
        "Where the weights are, and where the work is",
        Caption(
            see="One row a layer with weights. Left: its share of all parameters, which is its share of the file. Right: its share of "
            "all multiply-adds, which is its share of the work for one picture.",
            read=f"The two sides disagree, and that is the nature of VGG: a kernel is small but is used at every place of the picture. "
            f"Here the fully connected layers hold {fc_share * 100:.1f} % of the parameters and the convolutions do "
            f"{conv_share * 100:.1f} % of the work. Largest: {heaviest.name} ({heaviest.parameters:,} parameters); "
            f"busiest: {busiest.name} ({busiest.macs / 1e6:,.1f} M multiply-adds).",
            cannot="Multiply-adds are arithmetic, not seconds: early layers move far more memory for the same sums. Nor does a layer with "
            "many weights matter more to the answer.",
        ),
        alt=f"Bar chart of {len(costly)} layers: fully connected layers hold {fc_share * 100:.1f} % of {parameters:,} parameters, "
        f"convolutions do {conv_share * 100:.1f} % of {macs / 1e6:,.1f} million multiply-adds.",
        figure=parameters_and_macs([row.name for row in costly], [row.parameters for row in costly], [row.macs for row in costly]),
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
            see="Each row is a layer, named as in the VGG paper. The receptive field is the side of the square of input pixels that "
            "one unit can depend on; the jump is how far apart the squares of two neighbouring units lie; padding seen is how far "
            "the first unit's square reaches beyond the picture.",
            read="Fields grow slowly by convolutions and double their pace at every pool. Where the field exceeds the picture, a "
            f"unit may look everywhere. Shapes and parameters are computed twice, by this package's arithmetic and by torchinfo: they {agreement}. "
            "torchinfo also counts the additions of biases as multiply-adds; here they are left out, as in the paper.",
            cannot="The field says what a unit could see. What it does see is less, and concentrated in the middle: see the receptive-field section.",
        ),
        alt=f"Table of {len(rows)} layers, {parameters:,} parameters, {macs / 1e6:,.1f} million multiply-adds a picture.",
        table=Table(
            LAYER_COLUMNS,
            tuple(
                (
                    row.name, row.kind, " × ".join(map(str, row.shape)), row.field.size if row.field else None,
                    row.field.jump if row.field else None, row.field.padding if row.field else None,
                    row.field.centre if row.field else None, row.parameters, row.macs, round(100 * row.parameters / parameters, 2),
                )
                for row in rows
            ),
        ),
        numbers={
            "parameters": parameters, "macs": macs, "torchinfo_agrees": agree,
            "torchinfo_mult_adds": sum(item["macs"] for item in checked),
        },
    )  # fmt: skip


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
