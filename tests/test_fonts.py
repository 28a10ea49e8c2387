"""Class names of any script in figures: drawn where a font has them, called by number and announced where none has."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager

from vgg_viz.cli import main
from vgg_viz.data import shapes
from vgg_viz.figures import fonts
from vgg_viz.figures.fonts import can_draw, families, names_warning, readable_names
from vgg_viz.figures.layout import text_width
from vgg_viz.figures.style import label
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import save
from vgg_viz.records import Checkpoint

NAMES = ("猫", "狗", "قطة", "🐸 frog")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """Called with the families and files that this machine shall have beside matplotlib's own."""
    caches = (families, can_draw, fonts._letters_of, fonts._unlisted, readable_names, text_width)

    def only(*files: str) -> None:
        own = [entry for entry in fontManager.ttflist if entry.name.startswith("DejaVu")]
        monkeypatch.setattr(fontManager, "ttflist", own)
        monkeypatch.setattr(fonts, "findSystemFonts", lambda: list(files))
        for cache in caches:
            cache.cache_clear()

    yield only
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


def font_file(folder: Path, family: str, letters: str) -> str:
    """A font of squares, one for each letter."""
    pen = TTGlyphPen(None)
    for x, y in ((0, 0), (0, 800), (800, 800), (800, 0)):
        (pen.lineTo if (x, y) != (0, 0) else pen.moveTo)((x, y))
    pen.closePath()
    square, names = pen.glyph(), [".notdef", *(f"u{ord(letter):04X}" for letter in letters)]
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder(names)
    made.setupCharacterMap({ord(letter): f"u{ord(letter):04X}" for letter in letters})
    made.setupGlyf(dict.fromkeys(names, square))
    made.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    made.setupHorizontalHeader(ascent=900, descent=-100)
    made.setupNameTable({"familyName": family, "styleName": "Regular"})
    made.setupOS2(sTypoAscender=900, sTypoDescender=-100)
    made.setupPost()
    made.save(folder / "font.ttf")
    return str(folder / "font.ttf")


def test_without_a_font_a_class_goes_by_its_number_and_the_sentence_says_which(installed) -> None:
    installed()
    assert readable_names(NAMES) == ("class 0", "class 1", "قطة", "🐸 frog")
    said = names_warning(NAMES)
    assert "No font on this machine has the letters of 2 class names" in said
    assert "class 0 is '猫', class 1 is '狗'." in said
    assert label("猫") == "□"
    assert names_warning(("cat", "")) == ""


def test_a_font_that_was_installed_since_matplotlib_made_its_list_is_found(installed, tmp_path) -> None:
    # Of squares: "猫鳥车" is the probe for logograms, and "狗" is a letter that this font lacks.
    installed(font_file(tmp_path, "Test Sans CJK SC", "猫鳥车"))
    assert families() == ("DejaVu Sans", "Test Sans CJK SC")
    assert readable_names(NAMES) == ("猫", "class 1", "قطة", "🐸 frog")
    assert text_width("猫猫", 12) == pytest.approx(2 * text_width("猫", 12), abs=1)
    assert text_width("猫", 12) > text_width("i", 12)


def test_bold_letters_of_a_font_without_any_are_drawn_plain_and_nothing_is_said(installed, tmp_path, caplog) -> None:
    installed(font_file(tmp_path, "Test Sans CJK SC", "猫鳥车"))
    with caplog.at_level(logging.WARNING):
        text_width("猫 cat", 12, bold=True)
    assert caplog.text == ""


def test_letters_that_join_from_the_right_are_drawn_only_where_matplotlib_can_set_them(installed, monkeypatch) -> None:
    if fonts._SHAPES:
        installed()
        apart = sum(text_width(letter, 24) for letter in "قطة")
        assert text_width("قطة", 24) < 0.95 * apart  # joined: isolated letters are wider
    monkeypatch.setattr(fonts, "_SHAPES", False)
    installed()
    assert readable_names(NAMES)[2] == "class 2"
    assert "cannot set the letters of one class name" in names_warning(("cat", "قطة"))
    assert "matplotlib 3.11" in names_warning(("cat", "قطة"))


def test_names_that_an_ellipsis_makes_alike_are_told_apart_and_short_ones_stay() -> None:
    shown = readable_names(("x" * 300 + "a", "x" * 300 + "b", "red panda", ""))
    assert [name[-5:] for name in shown[:2]] == ["… (0)", "… (1)"]
    assert all(len(name) <= 60 for name in shown)
    assert shown[2:] == ("red panda", "")
    assert readable_names(("crane", "crane")) == ("crane", "crane")  # one name for two classes is the user's own


def test_a_sign_without_a_font_is_left_out_beside_letters(installed) -> None:
    installed()
    assert label("\U0001f438 frog") == "frog"
    assert label("\U0001f438") == "□"
    assert readable_names(("\U0001f438",)) == ("class 0",)


def test_what_goes_by_number_is_announced_on_the_page_and_on_stderr(installed, tmp_path, capsys, few_sections) -> None:
    installed()
    few_sections("explain")
    wanted = architecture("tiny_vgg", image_side=24, num_classes=4, width=0.3)
    save(tmp_path / "net.pt", Checkpoint(wanted, NAMES, build(wanted, seed=1).state_dict()))
    (tmp_path / "a.png").write_bytes(encode_png(shapes.paint(1, seed=5, side=24).images[0]))
    line = ["explain", str(tmp_path / "net.pt"), str(tmp_path / "a.png"), "--preset", "quick", "--target", "狗"]
    assert main([*line, "--out", str(tmp_path / "out")]) == 0
    assert "class 1 is '狗'" in capsys.readouterr().err
    page = (tmp_path / "out" / "net-a" / "index.html").read_text(encoding="utf-8")
    assert "class 1 is &#39;狗&#39;" in page
    assert main([*line, "--out", str(tmp_path / "one.png"), "--json"]) == 0
    said = capsys.readouterr()
    assert "class 1 is '狗'" in said.err
    assert '"狗"' in said.out  # a script gets the name itself


def test_no_name_is_lost_where_its_letters_can_be_drawn() -> None:
    names = ("Kühe", "кошка", "γάτα", "חתול")
    assert readable_names(names) == names or not fonts._SHAPES
