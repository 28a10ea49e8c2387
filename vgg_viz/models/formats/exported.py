"""What `export` writes: a safetensors file whose header says the architecture, the classes and what had been assumed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.class_names import numbered
from vgg_viz.models.containers.safetensors_file import LabelledTensors
from vgg_viz.models.formats import ReadCheckpoint, checkpoint_format
from vgg_viz.models.formats.own import record, stored_architecture
from vgg_viz.models.vgg import describe
from vgg_viz.records import Checkpoint, Epoch, Evidence

SCHEMA = "1"
MARK = "vgg_viz"  # the key that holds the schema
SETTLED = "settled_by"  # the key that holds what would settle each guess; the sentences beside it are for readers


@checkpoint_format("vgg_viz_safetensors")
def exported(stored: object) -> ReadCheckpoint | None:
    """Read what `header` wrote; raises CheckpointRefused when it claims to be ours and is not whole."""
    if not isinstance(stored, LabelledTensors) or MARK not in stored.metadata:
        return None
    if stored.metadata[MARK] != SCHEMA:
        raise CheckpointRefused(
            f"this safetensors file has schema {stored.metadata[MARK][:40]!r} of vgg_viz, this version reads schema {SCHEMA}; "
            "update vgg_viz or export again."
        )
    try:
        said = {
            key: json.loads(value) for key, value in stored.metadata.items() if key not in (MARK, "format", "variant")
        }
        architecture = stored_architecture({**said, "variant": stored.metadata["variant"]})
        classes = _texts(said["classes"])
        history = tuple(record(Epoch, epoch) for epoch in said.get("history", []))
        before, alternatives = _evidence(said, "evidence"), _evidence(said, "alternatives")
        named = said.get("named", classes != numbered(len(classes)))
        data, training = said.get("data", {}), said.get("training", {})
        if not isinstance(data, Mapping) or not isinstance(training, Mapping):
            raise TypeError("data and training must be objects")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointRefused(
            f"the header of this safetensors file is not whole ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:120]}); export again."
        ) from None
    return ReadCheckpoint(
        "vgg_viz_safetensors",
        architecture,
        dict(stored),
        classes,
        history,
        evidence=(
            Evidence("vgg_viz exported this file: architecture, classes and preprocessing stand in its header."),
            *(replace(fact, text=f"Known at the export: {fact.text}") for fact in before),
        ),
        alternatives=alternatives,
        data=data,
        training=training,
        named=bool(named),
    )


def header(checkpoint: Checkpoint) -> dict[str, str]:
    """A checkpoint without weights and specimens as the texts of a safetensors header: one key a fact, JSON but for the variant.

    What had been inferred stays marked so: evidence and alternatives travel with the facts, as sentences and as data.
    """
    provenance = checkpoint.provenance
    facts: dict[str, Any] = asdict(checkpoint.architecture)
    known = {"evidence": provenance.evidence, "alternatives": provenance.alternatives}
    facts |= {"classes": checkpoint.classes, "named": checkpoint.named}
    facts |= {key: [str(fact) for fact in several] for key, several in known.items()}
    facts |= {SETTLED: {key: [(fact.text, fact.settled_by) for fact in several] for key, several in known.items()}}
    facts |= {"history": [asdict(epoch) for epoch in checkpoint.history]} if checkpoint.history else {}
    facts |= {
        key: dict(value) for key, value in (("data", provenance.data), ("training", provenance.training)) if value
    }
    texts = {"format": "pt", MARK: SCHEMA, "variant": describe(checkpoint.architecture).name}
    return texts | {key: json.dumps(value) for key, value in facts.items()}


def _evidence(said: Mapping[str, Any], key: str) -> tuple[Evidence, ...]:
    """Evidence or alternatives as data; of files from before they were written so, out of the sentences that this package wrote."""
    sentences = _texts(said.get(key, []))
    if SETTLED not in said:
        return tuple(_of_old(text) for text in sentences)
    if not isinstance(said[SETTLED], Mapping) or not isinstance(said[SETTLED].get(key), list):
        raise TypeError(f"{SETTLED} must hold lists")
    return tuple(Evidence(_texts([text])[0], _texts(options)) for text, options in said[SETTLED][key])


def _of_old(sentence: str) -> Evidence:
    """A sentence of schema 1 before `SETTLED`: a guess ended with its options, "... (--mean, --std)."."""
    match = re.fullmatch(r"(.*) \((--[a-z-]+(?:, --[a-z-]+)*)\)(\.?)", sentence, re.DOTALL)
    return Evidence(match[1] + match[3], tuple(match[2].split(", "))) if match else Evidence(sentence)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError("a list of texts was expected")
    return tuple(value)
