"""What stands on the pages of a PDF that Chromium wrote: enough of the format for a test, not a reader of PDFs."""

from __future__ import annotations

import re
import unicodedata
import zlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page: its size [pt], its text in the order it was painted and without spaces, how many pictures are on it."""

    width: float
    height: float
    text: str
    pictures: int


def sheets(pdf: bytes) -> list[Sheet]:
    """The pages of a PDF, first to last."""
    objects = {int(found[1]): found[2] for found in re.finditer(rb"(?:^|\n)(\d+) 0 obj\s(.*?)\nendobj", pdf, re.DOTALL)}
    return [_sheet(one, objects) for one in objects.values() if re.search(rb"/Type\s*/Page\b(?!s)", one)]


def _sheet(page: bytes, objects: dict[int, bytes]) -> Sheet:
    box = re.search(rb"/MediaBox \[([^\]]*)\]", page)
    content = re.search(rb"/Contents (\d+) 0 R", page)
    assert box
    assert content
    _, _, width, height = (float(number) for number in box[1].split())
    text, pictures = _painted(_stream(objects[int(content[1])]), page, objects)
    return Sheet(width, height, re.sub(r"\s+", "", unicodedata.normalize("NFKC", text)), pictures)


def _painted(content: bytes, owner: bytes, objects: dict[int, bytes]) -> tuple[str, int]:
    """The text and the number of pictures that a content stream paints, forms inside it included."""
    head = owner.split(b"stream\n", 1)[0]
    fonts = {name: _letters(objects[int(at)], objects) for name, at in re.findall(rb"/(F\d+) (\d+) 0 R", head)}
    inner = {name: objects[int(at)] for name, at in re.findall(rb"/(X\d+) (\d+) 0 R", head)}
    said, pictures, letters = [], 0, {}
    for font, do, shown in re.findall(
        rb"/(F\d+) [\d.]+ Tf|/(X\d+) Do|((?:<[0-9A-Fa-f]*>|\[[^\]]*\])\s*T[jJ])", content
    ):
        if font:
            letters = fonts.get(font, {})
        elif do and b"/Subtype /Form" in inner[do]:
            text, count = _painted(_stream(inner[do]), inner[do], objects)
            said.append(text)
            pictures += count
        elif do:
            pictures += 1
        else:
            codes = "".join(run.decode() for run in re.findall(rb"<([0-9A-Fa-f]*)>", shown))
            said.append("".join(letters.get(int(codes[i : i + 4], 16), "?") for i in range(0, len(codes), 4)))
    return " ".join(said), pictures


def _stream(one: bytes) -> bytes:
    head, _, rest = one.partition(b"stream\n")
    body = rest.rsplit(b"\nendstream", 1)[0]
    return zlib.decompress(body) if b"/FlateDecode" in head else body


def _letters(font: bytes, objects: dict[int, bytes]) -> dict[int, str]:
    """Which letter each glyph of a font stands for."""
    at = re.search(rb"/ToUnicode (\d+) 0 R", font)
    if not at:
        return {}
    table, found = _stream(objects[int(at[1])]).decode("latin-1"), {}
    for block in re.findall(r"beginbfchar\n(.*?)endbfchar", table, re.DOTALL):
        for code, text in re.findall(r"<(\w+)> <(\w+)>", block):
            found[int(code, 16)] = bytes.fromhex(text).decode("utf-16-be")
    for block in re.findall(r"beginbfrange\n(.*?)endbfrange", table, re.DOTALL):
        for first, last, text in re.findall(r"<(\w+)> <(\w+)> <(\w+)>", block):
            for step in range(int(last, 16) - int(first, 16) + 1):
                found[int(first, 16) + step] = chr(int(text, 16) + step)
    return found
