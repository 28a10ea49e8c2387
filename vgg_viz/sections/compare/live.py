"""Both networks in one page that runs them: the same picture through either, side by side on one scale."""

from __future__ import annotations

from dataclasses import replace

from vgg_viz.errors import SectionMissing
from vgg_viz.gallery.explorer import Explorer
from vgg_viz.records import Batch
from vgg_viz.studies.explorer_live import explore_pair
from vgg_viz.studies.inputs import Material
from vgg_viz.studies.pair import Network, Pair
from vgg_viz.studies.subject import Subject


def live(pair: Pair) -> Explorer:
    """The pair on the pictures that the comparison looks into; raises InputRefused where either does not run in a page."""
    return explore_pair(_subject(pair, pair.a, _looked(pair)), _subject(pair, pair.b, None))


def _subject(pair: Pair, network: Network, given: Batch | None) -> Subject:
    named = replace(network.checkpoint, provenance=replace(network.checkpoint.provenance, file=network.name))
    return Subject(named, network.model, Material(None, None, given, None, None, ()), pair.preset, pair.seed)


def _looked(pair: Pair) -> Batch | None:
    """Those pictures in A's view, with A's own numbers for the classes."""
    try:
        batch = pair.looked.a
    except SectionMissing:
        return None
    return batch if batch.labels is None else replace(batch, labels=pair.a.columns[batch.labels])
