"""What was searched, and what was not enough for a finding."""

from __future__ import annotations

from collections.abc import Iterator

from vgg_viz.gallery.sections import section
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Exhibit, Table
from vgg_viz.shortcuts.intervention import CERTAIN, LEAST, TURNED
from vgg_viz.shortcuts.region_text import place_of
from vgg_viz.shortcuts.search import STANDS_OUT
from vgg_viz.studies.audit_case import Case


@section(
    "search",
    study="audit",
    title="Search",
    order=50,
    when=lambda case: bool(case.seen.suspects),
    lead="All suspects with their numbers, also those that came to nothing.",
)
def search(case: Case) -> Iterator[Exhibit]:
    """All that was searched and tried, with its numbers."""
    verdicts = {(suspect.wanted, suspect.region): verdict for suspect, verdict in case.seen.tried}
    rows = []
    for tried in case.seen.suspects:
        for suspect in tried:
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
                    None if verdict is None else min(1.0, verdict.p * len(case.seen.tried)),
                )
            )
    rows.sort(key=lambda row: -row[2])
    yield Exhibit(
        "search",
        "What was searched, and what was tried",
        Caption(
            see="Every class with the places and properties that it might be known by. The first numbers come from one half of the "
            "pictures, in which the search was made, those of the trial from the other half.",
            read=f"What stands out by {STANDS_OUT:g} standard errors or more is a suspect; for each class one is tried: a "
            "narrow one if a wide one does little without it, else the wide one. It becomes a finding when p, "
            f"corrected for all that were tried, is at most {CERTAIN:g} and the log-odds move by at least {LEAST:g} logits more than "
            f"with the same region of other classes. What then turns less than {percent(TURNED, decimals=0)} of the pictures, and not clearly more than none, "
            "is called a leaning.",
            cannot="What was not among the suspects was not tested: without masks patches where objects lie or whose pixels vary, marks that "
            "move from picture to picture, and combinations.",
        ),
        alt=f"{counted(len(rows), 'suspect')} in a table, {len(case.seen.tried)} of them tried, {len(case.seen.findings)} of those "
        "findings.",
        numbers={"suspects": len(rows), "tried": len(case.seen.tried), "findings": len(case.seen.findings)},
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
