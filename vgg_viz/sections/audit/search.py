"""What was searched, and what was not enough for a finding."""

from __future__ import annotations

from collections.abc import Iterator

from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.records import Column, Exhibit, Table
from vgg_viz.shortcuts.intervention import CERTAIN, LEAST, TURNED
from vgg_viz.shortcuts.region_text import place_of
from vgg_viz.shortcuts.search import STANDS_OUT
from vgg_viz.studies.subject import Case

TEXTS = Texts(__name__)


@section("search", study="audit", order=50, when=lambda case: bool(case.seen.suspects))
def search(case: Case) -> Iterator[Exhibit]:
    """All that was searched and tried, with its numbers."""
    audit = case.seen
    verdicts = {(suspect.wanted, suspect.region): verdict for suspect, verdict in audit.tried}
    rows = []
    for suspect in (suspect for of_class in audit.suspects for suspect in of_class):
        verdict = verdicts.get((suspect.wanted, suspect.region))
        rows.append(
            (
                case.classes[suspect.wanted],
                place_of(suspect.region, case.side),
                suspect.stands_out,
                suspect.odds,
                suspect.effect,
                None if verdict is None else verdict.odds,
                None if verdict is None else verdict.effect,
                None if verdict is None else min(1.0, verdict.p * len(audit.tried)),
            )
        )
    rows.sort(key=lambda row: -row[2])
    text = TEXTS.exhibit(
        "search",
        stands_out=STANDS_OUT,
        certain=CERTAIN,
        least=LEAST,
        turned=TURNED,
        suspects=len(rows),
        tried=len(audit.tried),
        findings=len(audit.findings),
    )
    yield Exhibit(
        "search",
        text.title,
        text.caption,
        text.alt,
        numbers={"suspects": len(rows), "tried": len(audit.tried), "findings": len(audit.findings)},
        table=Table(
            (
                Column("class"),
                Column("what"),
                Column("stands out", "standard errors", True),
                Column("search: log-odds", "logit", True),
                Column("search: turned", "[−1, 1]", True),
                Column("trial: log-odds", "logit", True),
                Column("trial: turned", "[−1, 1]", True),
                Column("trial: p", "", True),
            ),
            tuple(rows),
        ),
    )
