"""What a section of a gallery is, and @section, for every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from vgg_viz.errors import UnknownName
from vgg_viz.gallery.texts import Texts
from vgg_viz.records import Exhibit, Finding
from vgg_viz.registry import Registry

KINDS = (
    "report",
    "comparison",
    "timeline",
    "explanation",
    "audit",
)  # of galleries; what a section of each looks at stands below
ROOMS = tuple(f"vgg_viz.sections.{room}" for room in ("report", "compare", "timeline", "explain", "audit"))


@dataclass(frozen=True, slots=True)
class Section:
    """One section of one kind of gallery: where it stands, what it is called, what it says first, and what makes its exhibits.

    Attributes:
        kind: Of `KINDS`.
        slug: Its part of an address.
        title: The heading; "": from the texts beside the module.
        lead: The sentence under it.
        order: Where it stands among the sections of its kind.
        make: (subject) -> exhibits, and findings for the verdict at the top.
        when: Whether there is anything to show; a section without is left out and not missed.
        optional: That it cannot be made is an answer: the page says so, and nothing is missing.
        chapter: The chapter of the page that it belongs to, of those that its study names; "": it is one by itself.
        needs: What it is about ("scores"); where `Study.lacks` names that, the page says why and nothing is missing.
    """

    kind: str
    slug: str
    title: str
    lead: str
    order: int
    make: Callable[[Any], Iterable[Exhibit | Finding]]
    when: Callable[[Any], bool] = lambda _subject: True
    optional: bool = False
    needs: str = ""
    chapter: str = ""


SECTIONS: Registry[Section] = Registry("section", fill=ROOMS)
Make = TypeVar("Make", bound=Callable[[Any], Iterable[Exhibit | Finding]])


def section(  # noqa: PLR0913 - the fields of a Section, by keyword
    slug: str,
    *,
    study: str | Sequence[str],
    order: int,
    title: str = "",
    lead: str = "",
    when: Callable[[Any], bool] = lambda _subject: True,
    optional: bool = False,
    needs: str = "",
    chapter: str = "",
) -> Callable[[Make], Make]:
    """Register a generator of exhibits, and of findings for the verdict, as a section of one kind of gallery or of several.

    A section that cannot be made raises SectionMissing with the reason and the command that fills it.

    Args:
        slug: Its part of an address; with the kind it is one of its own.
        study: Of KINDS; the function is given what a study of that kind is about: a `Subject` for a report, a `Pair`
            for a comparison, a `Walk` for a timeline, an `Explanation`, a `Case` for an audit.
        order: Sections stand in this order.
        title: The heading; "": that of `[section.SLUG]` in the texts beside the module.
        lead: The sentence under it; "": likewise.
        when: As in `Section`.
        optional: As in `Section`.
        needs: As in `Section`.
        chapter: As in `Section`.
    """
    kinds = (study,) if isinstance(study, str) else tuple(study)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise UnknownName("kind of gallery", unknown[0], KINDS)

    def register(make: Make) -> Make:
        for kind in kinds:
            made = Section(kind, slug, title, lead, order, make, when, optional, needs, chapter)
            SECTIONS.add(f"{kind}/{slug}", made, by=make.__module__)
        return make

    return register


def sections_of(kind: str) -> list[Section]:
    """All sections of a kind of gallery, in the order of the page."""
    return sorted((_worded(one) for _, one in SECTIONS.items() if one.kind == kind), key=lambda one: one.order)


def _worded(one: Section) -> Section:
    """A section with its title and lead in the language of the moment."""
    if one.title:
        return one
    texts = Texts(one.make.__module__)
    return replace(one, title=texts.say(f"section.{one.slug}.title"), lead=texts.say(f"section.{one.slug}.lead"))
