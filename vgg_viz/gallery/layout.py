"""Where a page keeps what its sections made: chapters of cards, cards that several figures share, and what is closed.

A section says which chapter it belongs to, a figure's words which card or which closed line (`Caption.card`, `.shelf`).
A kind of gallery that names no chapters has one for each section.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vgg_viz.records import Exhibit

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
DEPTH = "depth"  # the chapter of what is closed


@dataclass(frozen=True, slots=True)
class PageExhibit:
    """An exhibit as the page shows it.

    Attributes:
        exhibit: Its words and numbers.
        light: data: URI (or relative address) of the figure in the light theme, or in both; None when there is no figure.
        dark: The same in the dark theme; None where `light` follows the reader's theme by itself.
        width: Of the figure [CSS px].
        height: Of the figure [CSS px].
        files: (label, relative address) of the downloads: ("PNG", "figures/x.png").
        id: Its address on the page, given by `arrange`.
        anchor: The id of its section, where that is to lead here; "".
    """

    exhibit: Exhibit
    light: str | None = None
    dark: str | None = None
    width: int = 0
    height: int = 0
    files: tuple[tuple[str, str], ...] = ()
    id: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class PageSection:
    """What one section gives to the page; `missing` holds (reason, command that fills it), `absent` why there can be none."""

    slug: str
    title: str
    lead: str = ""
    exhibits: tuple[PageExhibit, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    absent: str = ""
    chapter: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """Figures that stand in one frame, one of them shown at a time where there are several."""

    title: str
    parts: tuple[PageExhibit, ...]


@dataclass(frozen=True, slots=True)
class Shelf:
    """A closed line: its key, its title, what came out in a sentence, and the cards that opening it shows."""

    key: str
    title: str
    result: str
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """What a section lacks, as (reason, command that fills it), or why there can be none of it.

    `id` and `title` are "" where a figure or the heading of the chapter bears them.
    """

    id: str
    title: str
    absent: str
    missing: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of the page under one heading."""

    id: str
    title: str
    lead: str = ""
    cards: tuple[Card, ...] = ()
    shelves: tuple[Shelf, ...] = ()
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """The chapters of one kind of gallery in the order of the page, and the titles of shared cards and of closed lines.

    Attributes:
        chapters: Titles by key.
        cards: Titles of the cards that several figures share.
        shelves: Titles of the closed lines of the chapter "depth", in its order.
    """

    chapters: Mapping[str, str] = field(default_factory=dict)
    cards: Mapping[str, str] = field(default_factory=dict)
    shelves: Mapping[str, str] = field(default_factory=dict)


def arrange(sections: Sequence[PageSection], layout: Layout) -> tuple[Chapter, ...]:
    """Sections as chapters: those of the layout in its order, and before them every section that names none.

    The anchor of a section stands where its first figure stands, so that old addresses lead there.
    """
    sections = _addressed(sections)
    alone = [_alone(section, layout) for section in sections if section.chapter not in layout.chapters]
    figures = _anchored(sections, layout)
    named = []
    for key, title in layout.chapters.items():
        own = [section for section in sections if section.chapter == key]
        named.append(_chapter(key, title, own, figures, layout))
    return (*alone, *(chapter for chapter in named if chapter.cards or chapter.shelves or chapter.notices))


def _addressed(sections: Sequence[PageSection]) -> list[PageSection]:
    """Sections and figures with ids: the slug where it is one and is free, else their number on the page. Never a name from outside."""
    used = {"main", "top", "made"}

    def claim(wanted: str, otherwise: str) -> str:
        free = _SLUG.fullmatch(wanted) and wanted not in used and not wanted.startswith(("ui-", "chapter-", "shelf-"))
        used.add(wanted if free else otherwise)
        return wanted if free else otherwise

    figures = [
        tuple(replace(one, id=claim(one.exhibit.slug, f"ui-{i}-{j}")) for j, one in enumerate(section.exhibits, 1))
        for i, section in enumerate(sections, 1)
    ]
    return [
        replace(section, exhibits=figures[i - 1], id=claim(f"section-{section.slug}", f"ui-{i}-0"))
        for i, section in enumerate(sections, 1)
    ]


def _alone(section: PageSection, layout: Layout) -> Chapter:
    cards = _cards(section.exhibits, layout)
    return Chapter(section.id, section.title, section.lead, cards, notices=_notices([section], titled=False))


def _chapter(
    key: str, title: str, own: Sequence[PageSection], figures: Sequence[tuple[PageSection, PageExhibit]], layout: Layout
) -> Chapter:
    shown = [one for part, one in figures if part.chapter == key and one.exhibit.caption.shelf not in layout.shelves]
    return Chapter(
        f"chapter-{key}",
        title,
        cards=_cards(shown, layout),
        shelves=_shelves([one for _, one in figures], layout) if key == DEPTH else (),
        notices=_notices(own, titled=True),
    )


def _anchored(sections: Sequence[PageSection], layout: Layout) -> list[tuple[PageSection, PageExhibit]]:
    """Every figure of the chapters with its section; the first of each section, preferably an open one, bears its anchor."""
    found: list[tuple[PageSection, PageExhibit]] = []
    for section in (one for one in sections if one.chapter in layout.chapters):
        first = next(
            (one for one in section.exhibits if one.exhibit.caption.shelf not in layout.shelves), None
        ) or next(iter(section.exhibits), None)
        found += [(section, replace(one, anchor=section.id) if one is first else one) for one in section.exhibits]
    return found


def _cards(exhibits: Iterable[PageExhibit], layout: Layout) -> tuple[Card, ...]:
    """A card for each figure, or for those that name the same, where the first of them stands."""
    groups: dict[str, list[PageExhibit]] = {}
    for one in exhibits:
        card = one.exhibit.caption.card
        groups.setdefault(f"card {card}" if card in layout.cards else one.id, []).append(one)
    return tuple(
        Card(layout.cards[name.removeprefix("card ")] if len(parts) > 1 else parts[0].exhibit.title, tuple(parts))
        for name, parts in groups.items()
    )


def _shelves(exhibits: Sequence[PageExhibit], layout: Layout) -> tuple[Shelf, ...]:
    """Closed lines, each with the fact of the first of its figures that has one."""
    shelves = []
    for key, title in layout.shelves.items():
        if lying := [one for one in exhibits if one.exhibit.caption.shelf == key]:
            result = next((one.exhibit.caption.fact for one in lying if one.exhibit.caption.fact), "")
            shelves.append(Shelf(key, title, result, _cards(lying, layout)))
    return tuple(shelves)


def _notices(sections: Iterable[PageSection], *, titled: bool) -> tuple[Notice, ...]:
    """What sections lack, or cannot have; with the section's name where its chapter has another."""
    return tuple(
        Notice(
            "" if section.exhibits or not titled else section.id,
            section.title if titled else "",
            section.absent,
            section.missing,
        )
        for section in sections
        if section.absent or section.missing
    )
