"""The reader's own picture and the reader's own hands: drop, paste, file, touch, keyboard, and any address."""

from __future__ import annotations

import base64
import io
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_page import HOSTILE, attention
from pages import go
from PIL import Image
from test_explorer_beside import said, wait
from test_live_explorer import Net, number, numbers, ready, text
from test_viewer import show

from vgg_viz.data import shapes
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.records import Batch
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.inputs import specimen_batch

pytestmark = pytest.mark.browser
PHONE = {"width": 390, "height": 844, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
BRING = """async ([way, data, name, type]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const held = new DataTransfer();
  held.items.add(new File([bytes], name, { type }));
  const about = { bubbles: true, cancelable: true };
  const event = way === "drop" ? new DragEvent("drop", { ...about, dataTransfer: held })
    : new ClipboardEvent("paste", { ...about, clipboardData: held });
  document.querySelector("main").dispatchEvent(event);
  return event.defaultPrevented;
}"""
SHOWN = """() => {
  const count = (selector) => document.querySelectorAll(selector).length;
  const said = (selector) => document.querySelector(selector).innerText;
  return [count("[role=option][aria-selected=true]"), count("[data-part=sums] .sum"), said("[data-part=value]"),
    count("[data-part=beside-layers] button"), said("#ui-explorer")];
}"""
NO_PICTURE = "no picture that the browser can read"


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Net:
    checkpoint = load(None)
    batch = select_images(specimen_batch(checkpoint.specimens, checkpoint.architecture.image_side), list(range(4)))
    return Net(
        tmp_path_factory.mktemp("own") / "own.html", build(checkpoint), checkpoint.classes, replace(batch, masks=None)
    )


@pytest.fixture(scope="session")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Net, tuple[str, ...]]:
    """Twenty classes and twenty pictures with names that try to break out."""
    names = (
        *HOSTILE,
        "<svg onload=document.title='owned'>",
        "javascript:document.title='owned'",
        "${document.title='owned'}",
        "constructor",
        "&lt;b&gt;",
        "\u200f\u202bright to left",
        "null",
        "'; DROP TABLE layers; --",
        "<!--",
        "]]></text><script>document.title='owned'</script>",
    )
    model = build("tiny_vgg", image_side=32, num_classes=20, seed=2)
    images = shapes.paint(20, seed=0, split="test", side=32).images
    file = tmp_path_factory.mktemp("twenty") / "twenty.html"
    return Net(file, model, names, Batch(images, torch.arange(20), names)), names


def png(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG", compress_level=1)  # 64 million pixels of two colours
    return held.getvalue()


def bring(page: Any, way: str, data: bytes, name: str = "mine.png", kind: str = "image/png") -> None:
    """Give the page a file as a reader would."""
    if way == "file":
        page.locator("[data-part=file]").set_input_files({"name": name, "mimeType": kind, "buffer": data})
    else:
        prevented = page.evaluate(BRING, [way, base64.b64encode(data).decode(), name, kind])
        assert prevented or way != "drop", "the browser would leave the page for a dropped file"


def taken(page: Any) -> torch.Tensor:
    """The pixels that went through the network: the small picture in the strip shows exactly them."""
    page.wait_for_selector("[role=option][aria-label*='Your own'][aria-selected=true]")
    source = page.locator("[role=option][aria-label*='Your own'] img").get_attribute("src")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def same_numbers(page: Any, net: Net, image: torch.Tensor) -> None:
    truth, found = said(net.model, image), numbers(page)
    assert list(found) == list(truth)
    for name, values in truth.items():
        assert np.abs(found[name] - values.ravel()).max() < 1e-4, name


# ---------------------------------------------------------------- a picture of one's own


@pytest.mark.parametrize("way", ["drop", "paste", "file"])
def test_a_picture_of_the_networks_size_goes_through_as_it_is(opened, net, way):
    page = ready(opened(net.file, anew=True))
    image = net.batch.images[3]
    bring(page, way, encode_png(image))
    assert torch.equal(taken(page), (image * 255).round() / 255)
    same_numbers(page, net, image)
    before = text(page, "value")
    bring(page, way, encode_png(net.batch.images[2]))  # a second one takes its place
    page.wait_for_function("(before) => document.querySelector('[data-part=value]').textContent !== before", arg=before)
    assert page.locator("[role=option][aria-label*='Your own']").count() == 1
    same_numbers(page, net, net.batch.images[2])


@pytest.mark.parametrize(("width", "height"), [(8000, 8000), (300, 90), (70, 400), (1, 1)])
def test_a_picture_of_any_size_is_cut_to_its_middle_and_its_numbers_are_pytorchs(opened, net, width, height):
    page = ready(opened(net.file, anew=True))
    page.set_default_timeout(60000)
    side, whole = min(width, height), Image.new("RGB", (width, height), (255, 0, 0))
    whole.paste((40, 160, 220), ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2))
    bring(page, "file", png(whole))
    image = taken(page)
    middle = image[:, 8:56, 8:56].reshape(3, -1)
    assert torch.equal((middle * 255).round().unique(dim=1).squeeze(1), torch.tensor([40.0, 160.0, 220.0]))
    same_numbers(page, net, image)


def test_transparent_parts_are_white(opened, net):
    page = ready(opened(net.file, anew=True))
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, 32:] = (0, 0, 0, 255)
    bring(page, "drop", png(Image.fromarray(pixels)))
    image = taken(page)
    assert image[:, :, :32].min() == 1
    assert image[:, :, 32:].max() == 0


@pytest.mark.parametrize("way", ["drop", "paste", "file"])
@pytest.mark.parametrize(
    ("data", "kind"), [(b"just words", "text/plain"), (b"\x89PNG\r\n\x1a\n cut short", "image/png"), (b"", "image/png")]
)
def test_what_is_no_picture_is_said_to_be_none_and_changes_nothing(opened, net, way, data, kind):
    page = ready(opened(net.file, "#picture=3"))
    go(page, "picture=2")  # another picture's answer takes the place of what was said of the last file
    before = text(page, "value")
    assert NO_PICTURE not in text(page, "verdict")
    bring(page, way, data, "notes.txt", kind)
    wait(page, "verdict", NO_PICTURE)
    wait(page, "live", NO_PICTURE)
    assert text(page, "value") == before
    assert page.locator("[role=option][aria-label*='Your own']").count() == 0


def test_an_svg_is_refused_without_asking_anyone_outside(opened, net):
    page = ready(opened(net.file, anew=True))
    outside = (
        b'<image href="https://example.invalid/x.png" width="9" height="9"/><script>document.title="owned"</script>'
    )
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64">' + outside + b"</svg>"
    bring(page, "drop", drawing, "a.svg", "image/svg+xml")
    wait(page, "verdict", NO_PICTURE)
    painted(page)
    assert page.title() != "owned"  # and `opened` sees to the requests


def test_text_that_is_pasted_is_left_alone(opened, net):
    page = ready(opened(net.file))
    before = text(page, "verdict")
    prevented = page.evaluate("""() => {
        const clipboardData = new DataTransfer();
        clipboardData.setData("text/plain", "12");
        const event = new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData });
        document.querySelector("[data-part=unit]").dispatchEvent(event);
        return event.defaultPrevented;
    }""")
    assert not prevented
    painted(page)
    assert text(page, "verdict") == before


# ---------------------------------------------------------------- keyboard


@pytest.mark.parametrize("width", [1280, 390])
def test_the_focus_follows_the_page_reaches_everything_and_is_nowhere_trapped(opened, net, width):
    page = ready(opened(net.file, "#layer=conv1_2", width=width, anew=True))
    stops = page.evaluate("""() => {
        const can = "a[href], button, select, input, [tabindex='0']";
        const all = [...document.querySelectorAll(can)].filter((one) => one.tabIndex >= 0 && !one.disabled && one.checkVisibility());
        const radios = (one) => one.type !== "radio" || one.checked; // a group is one stop
        window.stops = all.filter(radios);
        return window.stops.length;
    }""")
    assert stops > 30
    page.evaluate("""() => {
        document.activeElement.blur();
        getSelection().removeAllRanges();
        window.order = [];
        addEventListener("focusin", (event) => window.order.push(window.stops.indexOf(event.target)));
    }""")
    for _ in range(stops):
        page.keyboard.press("Tab")
    assert page.evaluate("window.order") == list(range(stops))
    page.keyboard.press("Tab")
    assert page.evaluate("window.stops.indexOf(document.activeElement)") in (
        -1,
        0,
    )  # out of the page, or round to its start
    page.evaluate("() => { window.stops.at(-1).focus(); window.order = []; }")
    for _ in range(6):
        page.keyboard.press("Shift+Tab")
    assert page.evaluate("window.order") == list(range(stops - 2, stops - 8, -1))


# ---------------------------------------------------------------- touch


def fingers(page: Any) -> Any:
    """Touches as the browser itself gets them from a screen."""
    return page.context.new_cdp_session(page)


def painted(page: Any) -> None:
    """Wait until what was sent has been handled and painted: the second frame from now begins after the first is done."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")


def drag(page: Any, start: tuple[float, float], by: tuple[float, float], steps: int = 8) -> list[str]:
    """One finger drawn over the screen; what the read-out said on the way."""
    session, heard = fingers(page), []
    for i in range(steps + 1):
        point = {"x": start[0] + by[0] * i / steps, "y": start[1] + by[1] * i / steps}
        session.send("Input.dispatchTouchEvent", {"type": "touchMove" if i else "touchStart", "touchPoints": [point]})
        painted(page)
        heard.append(text(page, "value"))
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    painted(page)
    return heard


def apart(page: Any, x: float, y: float) -> None:
    """Two fingers that start together and end apart."""
    session = fingers(page)
    for i in range(13):
        points = [{"x": x + side * (20 + 8 * i), "y": y + side * (10 + 5 * i), "id": max(0, side)} for side in (-1, 1)]
        session.send("Input.dispatchTouchEvent", {"type": "touchMove" if i else "touchStart", "touchPoints": points})
        painted(page)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def middle(page: Any, selector: str) -> tuple[float, float, float]:
    element = page.locator(selector).first
    element.evaluate("(one) => one.scrollIntoView({ block: 'center', behavior: 'instant' })")
    painted(page)
    box = element.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["width"]


def scrolled(page: Any) -> list[float]:
    return page.evaluate("[scrollX, scrollY, document.querySelector('[data-part=board-scroll]')?.scrollLeft ?? 0]")


def test_a_tap_on_the_board_chooses_a_unit(opened, net):
    page = ready(opened(net.file, "#layer=conv1_1&unit=1", **PHONE))
    canvas = page.locator(".layer.conv canvas").first
    canvas.evaluate("(one) => one.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' })")
    box = canvas.bounding_box()
    page.touchscreen.tap(box["x"] + 22, box["y"] + 48 * 3 + 22)
    page.wait_for_function(
        "() => document.querySelector('[data-part=value]').textContent.startsWith('conv1_1, unit 4, ')"
    )
    page.wait_for_function("() => location.hash.includes('unit=4')")


@pytest.mark.parametrize("part", ["stage", "beside-maps"])
def test_a_finger_on_a_map_reads_values_without_moving_the_page_and_a_tap_keeps(opened, net, part):
    page = ready(opened(net.file, "#layer=conv1_1&unit=2&cell=9,9", **PHONE))
    x, y, width = middle(page, f"[data-part={part}] canvas")
    before = scrolled(page)
    heard = drag(page, (x - 0.3 * width, y), (0.6 * width, 0))
    assert scrolled(page) == before
    assert len(set(heard)) >= 5, "the read-out follows the finger"
    maps = net.truth(0)["conv1_1"][1]
    for words in set(heard[2:-1]):
        row, column = (int(words.split(f"{axis} ")[1].split(",")[0].split(":")[0]) - 1 for axis in ("row", "column"))
        assert number(words.rsplit(": ", 1)[1]) == pytest.approx(maps[row, column], rel=6e-3, abs=1e-4)
    assert "row 9, column 9" in text(page, "value")  # lifted: what was chosen is shown again
    page.touchscreen.tap(x, y)
    page.wait_for_function(
        "() => /row 3\\d, column 3\\d/.test(document.querySelector('[data-part=value]').textContent)"
    )


def test_a_finger_drawn_upwards_over_a_map_scrolls_the_page(opened, net):
    page = ready(opened(net.file, "#layer=conv1_1", **PHONE))
    x, y, _ = middle(page, "[data-part=stage] canvas")
    before = scrolled(page)
    drag(page, (x, y), (0, -200))
    assert scrolled(page)[1] > before[1] + 100


@pytest.mark.parametrize("count", [1, 2])
def test_the_board_scrolls_under_one_finger_and_under_two_and_the_page_does_not(opened, net, count):
    page = ready(opened(net.file, "#layer=input", anew=True, **PHONE))
    x, y, _ = middle(page, "[data-part=board-scroll]")
    page.evaluate("document.querySelector('[data-part=board-scroll]').scrollLeft = 0")
    before, session = scrolled(page), fingers(page)
    for i in range(11):
        points = [{"x": x + 120 - 20 * i, "y": y + 60 * finger, "id": finger} for finger in range(count)]
        session.send("Input.dispatchTouchEvent", {"type": "touchMove" if i else "touchStart", "touchPoints": points})
        painted(page)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function(
        "(least) => document.querySelector('[data-part=board-scroll]').scrollLeft > least", arg=before[2] + 100
    )
    assert scrolled(page)[0] == before[0]
    assert page.evaluate("visualViewport.scale") == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("part", ["stage", "board-scroll", "beside-maps"])
def test_two_fingers_apart_enlarge_the_page_everywhere(opened, net, part):
    page = ready(opened(net.file, "#layer=conv1_1", anew=True, **PHONE))
    x, y, _ = middle(page, f"[data-part={part}]")
    apart(page, x, y)
    assert page.evaluate("visualViewport.scale") > 1.5


def test_the_gallerys_viewer_is_read_with_a_finger_and_can_be_enlarged(opened, folder):
    page = show(opened, folder, attention(1, hostile=False), anew=True, **PHONE)
    x, y, width = middle(page, "[data-part=stage]")
    before = page.evaluate("[scrollX, scrollY]")
    heard = drag(page, (x - 0.3 * width, y), (0.6 * width, 0))
    assert page.evaluate("[scrollX, scrollY]") == before
    assert len({words for words in heard if words.startswith("Row ")}) >= 4
    page.wait_for_timeout(400)  # a busy browser takes a tap that follows at once for the end of the drag
    page.touchscreen.tap(x, y)
    page.wait_for_function("() => location.hash.includes('cell=')", timeout=20_000)
    apart(page, x, y)
    assert page.evaluate("visualViewport.scale") > 1.5


def test_nothing_is_wider_than_a_phone(opened, net):
    page = ready(opened(net.file, "#layer=conv2_2", **PHONE))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


# ---------------------------------------------------------------- any address, any name


def test_sixty_bad_addresses_never_break_or_empty_the_explorer(opened, net):
    page, chance = ready(opened(net.file)), random.Random(5)
    words = (
        "picture",
        "layer",
        "unit",
        "cell",
        "range",
        "input",
        "second",
        "against",
        "view",
        "x" * 300,
        "__proto__",
        "",
    )
    values = (
        "0",
        "-1",
        "1e99",
        "NaN",
        "Infinity",
        "conv2_1",
        "softmax",
        "flatten",
        "normalise",
        "own",
        "same",
        "second",
        "%00",
        "%E0%A4%A",
        "<svg>",
        "__proto__",
        "constructor",
        "9,9",
        "9",
        ",",
        "-3,1e9",
        "unit",
        "network",
        "",
        " ",
        "1.5",
        "0x10",
        "'\"",
        "\U0001f600",
        "1" * 400,
    )
    for _ in range(60):
        pairs = [f"{chance.choice(words)}={chance.choice(values)}" for _ in range(chance.randint(0, 7))]
        address = chance.choice(("&", "&", ";", "&&", "#")).join(pairs) or chance.choice(("#", "?", "%", "&=&"))
        go(page, f"{address}&n={chance.random()}")
        chosen, sums, value, layers, said_ = page.evaluate(SHOWN)
        assert chosen == 1, address
        assert sums > 0, address
        assert value.rsplit(": ", 1)[1] != "–", address
        assert layers > 10, address
        assert "NaN" not in said_, address
        assert "undefined" not in said_, address


def test_twenty_hostile_names_are_text_in_every_view(opened, twenty):
    net, names = twenty
    assert len(names) == 20
    page = ready(opened(net.file, "#layer=softmax&second=2"))
    page.evaluate(
        "() => { for (const one of document.querySelectorAll('[data-part=strip] [role=option]')) one.click(); }"
    )
    assert page.title() != "owned"
    tags = page.evaluate("[...new Set([...document.querySelectorAll('#ui-explorer *')].map((one) => one.localName))]")
    assert not {"svg", "b", "text", "iframe", "object"} & set(tags) - {"b"}
    assert page.locator("#ui-explorer script:not([type='application/json'])").count() == 0
    assert page.locator("#ui-explorer :is([onerror], [onload], [src^=javascript], [href])").count() == 0
    spoken = page.locator("[data-part=strip] [role=option]").evaluate_all(
        "(all) => all.map((one) => one.getAttribute('aria-label'))"
    )
    for i, name in enumerate(names):
        start = name[:20] if name.isprintable() and name.strip() else None
        assert spoken[i].startswith(f"Picture {i + 1}, ")
        if start:
            assert start in spoken[i], name
        elif not name.strip():
            assert "(no name)" in spoken[i]
    shown = page.evaluate("document.querySelector('#ui-explorer').textContent")
    assert not any(sign in shown for sign in "\u202e\u202b\u2028\u0000")
    assert page.evaluate("Object.keys(Object.prototype).length") == 0


def test_the_page_is_the_same_file_for_the_same_names(twenty):
    net, names = twenty
    again = Net(Path(net.file).with_name("twenty-again.html"), net.model, names, net.batch)
    assert again.file.read_text().replace("twenty-again", "twenty") == net.file.read_text()
