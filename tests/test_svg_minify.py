"""SVG text with what no reader sees left out: the same elements, places and colours in fewer bytes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from matplotlib.figure import Figure

from vgg_viz.figures.svg_minify import minify, strip_invisible
from vgg_viz.figures.write import light_svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn() -> str:
    """What the writer is given: a chart of two lines with a grid, its words as text."""
    figure = Figure(figsize=(4, 3), dpi=100)
    axes = figure.subplots()
    axes.plot([0, 1, 2], [1, -2.5, 3], color="#c1352b")
    axes.plot([0, 1, 2], [2, 0.123456, 1], color="#0b62a8")
    axes.grid(True)
    axes.set_title("a < b & c")
    return light_svg(figure)


def styles(text: str) -> list[tuple[str, dict[str, str]]]:
    """Every painted element with the style that it ends up with, from its attribute or its class."""
    root = ET.fromstring(text)
    sheet = {
        name: rule
        for element in root.iter(f"{SVG}style")
        for name, rule in re.findall(r"\.(\w+)\{([^}]*)\}", element.text or "")
    }
    found = []
    for element in root.iter():
        if element.tag.removeprefix(SVG) in ("path", "use", "text"):
            style = sheet[element.attrib["class"]] if "class" in element.attrib else element.attrib.get("style", "")
            found.append((element.tag, dict(part.split(":") for part in re.sub(r"\s", "", style).split(";") if part)))
    return found


def numbers(text: str) -> list[float]:
    """All numbers of all paths, in order."""
    return [float(n) for d in re.findall(r' d="([^"]*)"', text) for n in re.findall(r"-?\d+(?:\.\d+)?", d)]


PLAIN = """<svg xmlns="http://www.w3.org/2000/svg"><defs><style type="text/css">*{stroke-linecap: butt}</style></defs>
<g>
<g id="here">
<g/>
<path d="M 0 1.5
L -3 -4
z
" style="fill: none; stroke: #123456; stroke-width: 0.8"/>
</g>
<path d="M 2 2" style="fill: none; stroke: #123456; stroke-width: 0.8"/>
<path d="M 2 3" style="fill: none; stroke: #123456; stroke-width: 0.8"/>
<path d="M 2 4" style="fill: #ff0000"/>
</g>
</svg>"""


def test_the_same_elements_keep_their_styles_and_their_places():
    lean = minify(PLAIN)
    assert styles(lean) == styles(PLAIN)
    assert numbers(lean) == numbers(PLAIN)
    assert len(lean) < len(PLAIN)


def test_a_group_with_a_name_stays_and_bare_ones_go():
    lean = minify(PLAIN)
    assert re.findall("<g[^>]*>", lean) == ['<g id="here">']
    assert lean.count("</g>") == 1
    root = ET.fromstring(lean)
    assert len(root.findall(f"{SVG}g/{SVG}path")) == 1
    assert len(root.findall(f"{SVG}path")) == 3


def test_a_path_keeps_its_letters_and_signs():
    assert ' d="M0 1.5L-3-4z"' in minify(PLAIN)


def test_a_style_of_one_element_stays_with_it():
    assert ' style="fill:#ff0000"' in minify(PLAIN)


def test_words_and_their_marks_survive():
    text = drawn()
    assert "a &lt; b &amp; c" in text
    assert ET.fromstring(text) is not None


def test_packing_again_changes_nothing_that_is_seen():
    text = drawn()
    assert styles(minify(text)) == styles(text)
    assert numbers(minify(text)) == numbers(text)


@pytest.mark.parametrize("text", ["<!-- a comment --><svg>\n  \n</svg>", "<!DOCTYPE svg PUBLIC 'x'><svg>\n</svg>"])
def test_comments_and_addresses_go(text):
    assert strip_invisible(text) == "<svg>\n</svg>"
