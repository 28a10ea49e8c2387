"""Overview: a table of all layers, and where parameters and multiply-adds are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torchinfo import summary

from vgg_viz.figures.layer_bars import parameters_and_macs
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.models.build import assemble
from vgg_viz.models.geometry import LayerGeometry, window_of
from vgg_viz.models.names import layers
from vgg_viz.models.outputs import has_scores
from vgg_viz.models.vgg import describe
from vgg_viz.number_text import counted
from vgg_viz.records import Column, Exhibit, Table
from vgg_viz.studies.subject import Subject

TEXTS = Texts(__name__)
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


@section("overview", study="report", order=10, chapter="network")
def overview(subject: Subject) -> Iterator[Exhibit]:
    """Where parameters and multiply-adds are, and the table of layers, checked against torchinfo."""
    rows = [row for row in subject.geometry if row.kind not in ("normalise", "dropout")]
    about = subject.checkpoint.architecture
    yield _cost(rows, known=bool(describe(about).variant), head=has_scores(about))
    yield _layers(subject, rows)


def _cost(rows: Sequence[LayerGeometry], *, known: bool, head: bool) -> Exhibit:
    costly = [row for row in rows if row.kind in ("conv", "fc")]
    macs = sum(row.macs for row in rows)
    weights = sum(
        row.parameters for row in costly
    )  # batch norm's scales and shifts are in the table, not in this chart
    text = TEXTS.exhibit(
        "cost",
        known=known,
        layers=len(costly),
        weights=weights,
        macs=macs,
        fc_share=sum(row.parameters for row in rows if row.kind == "fc") / weights,
        conv_share=sum(row.macs for row in rows if row.kind == "conv") / macs,
        heaviest=max(costly, key=lambda row: row.parameters),
        busiest=max(costly, key=lambda row: row.macs),
        head=head,
    )
    return Exhibit(
        "overview-cost",
        text.title,
        text.caption,
        text.alt,
        figure=parameters_and_macs(
            [row.name for row in costly],
            [row.parameters for row in costly],
            [row.macs for row in costly],
            title=f"{counted(len(costly), 'layer')} with weights, from the picture {'to the scores' if head else 'on'}",
        ),
        numbers={row.name: {"parameters": row.parameters, "macs": row.macs} for row in costly},
    )


def _layers(subject: Subject, rows: Sequence[LayerGeometry]) -> Exhibit:
    parameters, macs = sum(row.parameters for row in rows), sum(row.macs for row in rows)
    counts = torchinfo_counts(subject)
    agree = all(
        ours.parameters == theirs["parameters"] and list(ours.shape) == theirs["shape"]
        for ours, theirs in zip(subject.geometry, counts, strict=True)
    )
    strides = {layer.kind for layer in layers(subject.model) if _stride(layer.module) > 1}
    text = TEXTS.exhibit(
        "layers", layers=len(rows), parameters=parameters, macs=macs, agree=agree, pools=strides == {"pool"}
    )
    cells = tuple(
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
    )
    return Exhibit(
        "overview-layers",
        text.title,
        text.caption,
        text.alt,
        table=Table(LAYER_COLUMNS, cells),
        numbers={
            "parameters": parameters,
            "macs": macs,
            "torchinfo_agrees": agree,
            "torchinfo_mult_adds": sum(layer["macs"] for layer in counts),
        },
    )


def _stride(module: nn.Module) -> int:
    return window_of(module).stride if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) else 1


def torchinfo_counts(subject: Subject) -> list[dict[str, Any]]:
    """Shape, parameters and multiply-adds of every layer as torchinfo counts them in one forward pass, on a twin that shares the weights.

    A twin, because torchinfo restores only the root's training flag. One real pass: on the meta device, torch first
    imports for a second what the pass of a small network does in a millisecond.
    """
    architecture = subject.checkpoint.architecture
    twin = assemble(architecture, subject.model.state_dict()).to(subject.device)
    side = architecture.image_side
    with torch.no_grad():
        counted_layers = summary(twin, (1, architecture.in_channels, side, side), verbose=0, device=subject.device)
    return [
        {"shape": list(info.output_size[1:]), "parameters": info.num_params, "macs": info.macs}
        for info in counted_layers.summary_list
        if info.is_leaf_layer and info.class_name != "Identity"
    ]
