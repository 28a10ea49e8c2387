"""The page as text: one file that is whole, safe, the same every time, and says what is missing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgg_viz.gallery.html_text import escape_hidden, format_cell, format_table, keep_units_together
from vgg_viz.gallery.layout import PageExhibit, PageSection
from vgg_viz.gallery.page import IndexRow, Page, render, render_index
from vgg_viz.records import Caption, Column, Exhibit, Finding, Table

RLO = "\u202e"
NASTY = (
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "__proto__",
    f"a{RLO}b",
    "x" * 300,
    "",
    "{{ 7 * 7 }}",
    "../../etc",
    "a\u2028b",
    "\ud800",
    "<!--",
    "&lt;b&gt;",
    "]]>",
)
VOID = {"meta", "img", "input", "br", "link", "hr"}


class Reader(HTMLParser):
    """Elements with their attributes and text, and whether every tag was closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self.faults: list[str] = []
        self.feed(html)
        self.close()
        self.faults += [f"{tag} is never closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in self.inside:
            self.inside[tag].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"stray </{tag}>")

    def handle_data(self, data):
        if self.open and self.open[-1] in self.inside:
            self.inside[self.open[-1]][-1] += data
        else:
            self.text += data


def page(name: str = "tiny", **changes) -> Page:
    table = Table((Column("Layer"), Column("Work", "MMAC", True)), ((name, 0.5), ("b", None), ("c", 12.25)))
    viewer = {
        "kind": "attention",
        "photos": [
            {
                "name": name,
                "src": "data:image/png;base64,AA==",
                "width": 1,
                "height": 1,
                "true": 0,
                "top": [[0, float("nan")]],
                "mask": None,
            }
        ],
        "classes": [name],
        "methods": [],
        "layers": [],
        "maps": [],
        "limits": {name: float("inf")},
    }
    caption = Caption(f"see {name}", f"read {name}", f"cannot {name}")
    shown = (
        PageExhibit(
            Exhibit("table", name, caption, name, table=table, numbers={name: name, "share": 0.25}),
            files=(("CSV", f"data/{name}.csv"),),
        ),
        PageExhibit(Exhibit("viewer", "V", caption, name, viewer=viewer)),
        PageExhibit(
            Exhibit("chart", "C", caption, name),
            "data:image/svg+xml;base64,AA==",
            "data:image/svg+xml;base64,AB==",
            640,
            300,
        ),
    )
    built = Page(
        name,
        f"about {name}",
        (Finding("good", name), Finding("bad", name)),
        ((name, name),),
        (name,),
        (
            PageSection("one", name, f"about {name}", shown),
            PageSection("two", "Two", missing=((name, f"python -m vgg_viz report {name}"),)),
        ),
        ((name, name),),
    )
    return replace(built, **changes)


def rows(name: str) -> list[IndexRow]:
    return [
        IndexRow(name, name, name, "good", ((name, name), ("Accuracy", "93.1 %"))),
        IndexRow(name, name, "", "", error=name),
    ]


@pytest.mark.parametrize("name", NASTY)
def test_names_stay_text_in_page_and_index(name):
    def shape(reader: Reader) -> list[tuple[str, list[str]]]:
        return [(tag, list(attributes)) for tag, attributes in reader.elements]

    quiet = Reader(render(page("quiet"))), Reader(render_index(rows("quiet")))
    for reader, plain in zip((Reader(render(page(name))), Reader(render_index(rows(name)))), quiet, strict=True):
        assert reader.faults == []
        # The same elements with the same attribute names as for a harmless name: nothing was added.
        assert shape(reader) == shape(plain)
        assert (escape_hidden(name) or "(no name)") in reader.text


@given(st.text(st.characters(), max_size=30))
def test_any_text_as_a_name_gives_a_page_of_the_same_shape(name):
    html = render(page(name))
    reader = Reader(html)
    assert reader.faults == []
    assert [tag for tag, _ in reader.elements] == [tag for tag, _ in Reader(render(page("quiet"))).elements]
    html.encode("utf-8")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff\x00]", html)


def test_the_policy_names_exactly_what_is_inside():
    for html in (render(page()), render_index(rows("a"))):
        reader = Reader(html)
        policy = next(
            a["content"]
            for tag, a in reader.elements
            if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
        )
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert "unsafe" not in policy

        def stamp(text: str) -> str:
            return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

        kinds = [a.get("type") for tag, a in reader.elements if tag == "script"]
        code = [text for text, kind in zip(reader.inside["script"], kinds, strict=True) if kind is None]
        assert rules["script-src"].split() == [stamp(text) for text in code]
        assert rules["style-src"].split() == [stamp(text) for text in reader.inside["style"]]


def test_no_element_carries_style_or_handlers_and_nothing_is_fetched():
    for html in (render(page(NASTY[1])), render_index(rows(NASTY[1]))):
        for tag, attributes in Reader(html).elements:
            assert not any(name == "style" or name.startswith("on") for name in attributes), tag
            for name in ("src", "href"):
                value = attributes.get(name)
                assert value is None or value.startswith(("data:image/", "./", "#")), (tag, value)
        assert "http:" not in html.replace("http://www.w3.org", "")
        assert "https:" not in html


def test_the_scripts_write_text_only():
    code = "".join(Reader(render(page())).inside["script"])
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "fetch(",
        "XMLHttpRequest",
        "import(",
    ):
        assert word not in code
    assert 15_000 < len(code) < 60_000


def test_the_payload_is_json_without_nan_that_cannot_end_its_script():
    for name in NASTY:
        html = render(page(name))
        raw = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.S).group(1)
        assert not re.search("[<>&\u2028\u2029]", raw)
        data = json.loads(raw, parse_constant=lambda word: pytest.fail(word))
        assert data["photos"][0]["name"] == data["classes"][0] == escape_hidden(name)
        assert data["photos"][0]["top"] == [[0, None]]
        assert list(data["limits"].values()) == [None]


def test_the_same_page_gives_the_same_bytes():
    assert render(page("a")) == render(page("a"))
    assert render_index(rows("a")) == render_index(rows("a"))


def test_ids_are_slugs_unique_and_never_names():
    shown = PageExhibit(Exhibit("same", "t", Caption("a", "b", "c"), "alt"))
    odd = replace(shown, exhibit=replace(shown.exhibit, slug='"><b>'))
    sections = (PageSection("same", "A", exhibits=(shown, shown, odd)), PageSection("same", "B", exhibits=(shown,)))
    elements = Reader(render(page("x", sections=sections))).elements
    ids = [a["id"] for _, a in elements if a.get("id")]
    assert len(ids) == len(set(ids))
    assert "same" in ids
    assert all(re.fullmatch(r"[a-z0-9-]+", one) for one in ids)
    inner = [a["href"][1:] for tag, a in elements if tag == "a" and a["href"].startswith("#")]
    assert set(inner) <= set(ids)


def test_a_missing_section_gives_its_reason_and_its_command():
    text = Reader(
        render(
            page(sections=(PageSection("data", "Data", missing=(("No pictures.", "vgg_viz report --images DIR"),)),))
        )
    ).text
    assert "Missing here. No pictures." in " ".join(text.split())
    assert "vgg_viz report --images DIR" in text


def test_a_section_that_cannot_be_says_why_and_is_not_called_missing():
    sections = (PageSection("data", "Data", "What it is about.", absent="There is <no> classifier."),)
    text = " ".join(Reader(render(page(sections=sections))).text.split())
    assert "Not here. There is <no> classifier." in text
    assert "issing here" not in text
    assert "What it is about." not in text
    assert "not here" in text


def test_the_verdict_is_the_first_finding_with_its_level_in_words():
    text = " ".join(
        Reader(render(page(findings=(Finding("warn", "It guesses."), Finding("bad", "It is blind."))))).text.split()
    )
    assert text.index("Worth a look") < text.index("It guesses.") < text.index("Problem") < text.index("It is blind.")


def test_a_page_without_findings_facts_warnings_or_sections_is_still_a_page():
    reader = Reader(render(Page("t", "", (), (), (), (), ())))
    assert reader.faults == []
    assert "Warning" not in reader.text
    assert [tag for tag, _ in reader.elements].count("h1") == 1


def test_numbers_of_a_column_align_and_sort_by_their_value():
    html = render(page())
    assert re.findall(r'data-value="([^"]*)">([^<]*)<', html) == [("0.5", "0.50"), ("", "–"), ("12.25", "12.25")]


@pytest.mark.parametrize(("values", "shown"), [
    ((1690, -3), ("1,690", "−3")), ((0.12345, 2.0), ("0.1235", "2.0000")), ((1e-7, 0.5), ("1e−07", "0.5")),
    ((float("nan"), None), ("–", "–")), ((123456.7, 1.0), ("123,457", "1")),
])  # fmt: skip
def test_cells_read_like_numbers(values, shown):
    table = Table((Column("n", "", True),), tuple((value,) for value in values))
    sections = (
        PageSection("s", "S", exhibits=(PageExhibit(Exhibit("t", "T", Caption("a", "b", "c"), "alt", table=table)),)),
    )
    assert tuple(re.findall(r'<td class="num"[^>]*>([^<]*)<', render(page(sections=sections)))) == shown


def test_long_lists_of_numbers_become_their_length_and_range():
    numbers = {
        "loss": [0.5 + i for i in range(20)],
        "top": [1, 2],
        "map": [[0.0, 1.0], [2.0, 3.0]],
        "best": {"epoch": 3},
    }
    sections = (
        PageSection(
            "s", "S", exhibits=(PageExhibit(Exhibit("t", "T", Caption("a", "b", "c"), "alt", numbers=numbers)),)
        ),
    )
    rows_shown = re.findall(r"<dt><bdi>([^<]*)</bdi></dt><dd><bdi>([^<]*)</bdi>", render(page(sections=sections)))
    assert rows_shown[:4] == [
        ("loss", "20 values, 0.5 to 19.5"),
        ("top", "1, 2"),
        ("map", "4 values, 0 to 3"),
        ("best › epoch", "3"),
    ]


def test_the_index_has_a_row_a_gallery_and_a_broken_one_says_why():
    html = render_index(
        [
            IndexRow("a b", "A", "Fine.", "good", (("Accuracy", "93.1 %"), ("Variant", "vgg11"))),
            IndexRow("bad", "bad", "", "", error="Its manifest cannot be read."),
        ]
    )
    reader = Reader(html)
    assert [a["href"] for tag, a in reader.elements if tag == "a"] == ["#main", "./a%20b/index.html"]
    assert "Its manifest cannot be read." in reader.text
    assert 'data-value="93.1">93.1 %' in html
    assert 'data-value="">–' in html


@pytest.mark.parametrize("folder", ["//evil.invalid", "javascript:alert(1)", "https://evil.invalid", "a\\b", "\ud800"])
def test_a_folder_name_is_never_an_address_elsewhere(folder):
    links = [a["href"] for tag, a in Reader(render_index([IndexRow(folder, "t", "v", "good")])).elements if tag == "a"]
    assert re.fullmatch(r"\./[^:\\]*/index\.html", links[1])
    assert not links[1].startswith(".//")


def test_an_empty_index_says_how_to_fill_it():
    assert "python -m vgg_viz report" in Reader(render_index([])).text


def test_what_rounds_to_nothing_has_no_sign():
    table = Table((Column("a", "", True),), ((-0.0,), (0.1234,), (-0.25,)))
    assert format_table(table) == [["0.0000"], ["0.1234"], ["−0.2500"]]
    assert format_cell(-0.0) == "0"


def test_a_number_stays_on_a_line_with_its_unit():
    assert keep_units_together("85 % of 64 px, 3 pxs, 5 pictures") == "85\u00a0% of 64\u00a0px, 3 pxs, 5 pictures"
    assert (
        keep_units_together("a 26 × 26 map, 3 × 64 × 64, 2 × mean")
        == "a 26\u00a0×\u00a026 map, 3\u00a0×\u00a064\u00a0×\u00a064, 2 × mean"
    )
