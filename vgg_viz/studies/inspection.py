"""What a checkpoint holds, as plain facts and as a text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from vgg_viz.models.geometry import geometry
from vgg_viz.models.outputs import class_count
from vgg_viz.models.vgg import describe, title
from vgg_viz.records import Checkpoint, Provenance
from vgg_viz.safe_text import short_name
from vgg_viz.studies.alarms import file_alarms, texts_of

MOST_KEYS, LONGEST_KEY = 12, 80


def facts(checkpoint: Checkpoint, model: nn.Module) -> dict[str, Any]:
    """Everything `inspect --json` says."""
    architecture, provenance = checkpoint.architecture, checkpoint.provenance
    about, rows = describe(architecture), geometry(model)
    return {
        "variant": about.name,
        "plan": architecture.plan,
        "title": title(architecture),
        "num_classes": class_count(architecture),
        "outputs": architecture.outputs,
        "classes": checkpoint.classes,
        "image_side": architecture.image_side,
        "resize": asdict(checkpoint.fitting),
        "in_channels": architecture.in_channels,
        "padding": about.padding,
        "width": about.width,
        "head": about.head,
        "dense": about.dense,
        "mean": architecture.mean,
        "std": architecture.std,
        "parameters": sum(row.parameters for row in rows),
        "macs": sum(row.macs for row in rows),
        "format": provenance.format,
        "alarms": texts_of(file_alarms(checkpoint))[0],
        "evidence": [str(one) for one in provenance.evidence],
        "alternatives": [str(one) for one in provenance.alternatives],
        "ignored_keys": provenance.ignored_keys,
        "data": provenance.data,
        "training": provenance.training,
        "specimens": len(checkpoint.specimens),
        "history": [asdict(epoch) for epoch in checkpoint.history],
        "layers": [
            {
                "name": row.name,
                "kind": row.kind,
                "shape": row.shape,
                "receptive_field": row.field.size if row.field else None,
                "jump": row.field.jump if row.field else None,
                "padding": row.field.padding if row.field else None,
                "centre": row.field.centre if row.field else None,
                "parameters": row.parameters,
                "macs": row.macs,
            }
            for row in rows
        ],
    }


def ignored(keys: Sequence[str]) -> str:
    """The keys of a file that belong to no layer, as a line: how many, and the first of them."""
    shown = ", ".join(key if len(key) <= LONGEST_KEY else f"{key[: LONGEST_KEY - 3]}..." for key in keys[:MOST_KEYS])
    more = f" and {len(keys) - MOST_KEYS:,} more" if len(keys) > MOST_KEYS else ""
    return f"{len(keys):,} {'key' if len(keys) == 1 else 'keys'}: {shown}{more}"


def text_lines(found: Mapping[str, Any], provenance: Provenance) -> list[str]:
    """The same for a reader at a terminal, line by line: a head, the evidence, a table of layers."""
    names = ", ".join(map(short_name, found["classes"][:12])) + (", ..." if found["num_classes"] > 12 else "")
    classes = f", {found['num_classes']} classes: {names}" if found["num_classes"] else ""
    lines = [
        f"{found['title']}, {found['image_side']} px{classes}",
        f"{found['parameters']:,} parameters, {found['macs'] / 1e6:,.1f} M multiply-adds a picture",
        f"plan:        {found['plan']}",
        *(f"known:       {one}" for one in provenance.evidence if not one.assumed and not one.alarm),
        *(f"assumed:     {one}" for one in provenance.evidence if one.assumed),
        *(f"or else:     {one}" for one in provenance.alternatives),
        *([f"not loaded:  {ignored(found['ignored_keys'])}"] if found["ignored_keys"] else []),
        *([f"pictures:    {found['preprocessing']['sentence']}"] if "preprocessing" in found else []),
        "",
        f"{'layer':<10}{'output':>16}{'field':>8}{'jump':>6}{'parameters':>14}{'multiply-adds':>16}",
    ]
    for row in found["layers"]:
        shape = " × ".join(map(str, row["shape"]))
        field, jump = (row[key] if row[key] is not None else "-" for key in ("receptive_field", "jump"))
        lines.append(f"{row['name']:<10}{shape:>16}{field:>8}{jump:>6}{row['parameters']:>14,}{row['macs']:>16,}")
    return lines
