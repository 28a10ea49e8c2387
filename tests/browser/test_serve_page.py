"""The live page in a real browser, on a real server: a picture dropped, its maps, nobody else asked, everybody able to use it."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from fake_page import HOSTILE
from pages import problems
from serving import SIDE, Client, gallery, picture, serving, small
from tabs import Opened, Tabs

from vgg_viz.attribution import attribute
from vgg_viz.data.folder import read_images
from vgg_viz.models.build import build
from vgg_viz.serve.live import Live
from vgg_viz.serve.network import ServedNetwork
from vgg_viz.serve.store import Store

pytestmark = pytest.mark.browser
NAME = "<img src=x onerror=alert(1)>\u202e.png"
CLASSES = (HOSTILE * 10)[:10]
DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)), files = new DataTransfer();
  files.items.add(new File([bytes], name, { type: "image/png" }));
  for (const type of ["dragover", "drop"]) document.querySelector("[data-part=drop]").dispatchEvent(
    new DragEvent(type, { dataTransfer: files, bubbles: true, cancelable: true }));
}"""


class Pages(Opened):
    """Pages of one test on the server."""

    def __init__(self, tabs: Tabs, server: Client) -> None:
        super().__init__(tabs)
        self.server = server
        self.expected: tuple[str, ...] = ()  # of the faults, those that the test provokes

    def __call__(self, address: str = "/live", **options: Any) -> Any:
        tab = self.hold(
            offline=False, **options
        )  # the server is on this machine; others cannot be reached, see conftest.py
        tab.page.set_default_timeout(15_000)
        tab.home = f"http://127.0.0.1:{self.server.port}"
        tab.page.goto(tab.home + address)
        return tab.page

    @property
    def requests(self) -> list[str]:
        return [url for tab in self.held for url in tab.requests]

    @property
    def complaints(self) -> list[str]:
        return [text for tab in self.held for text in tab.complaints]


@pytest.fixture(scope="module")
def network() -> ServedNetwork:
    return ServedNetwork(small(CLASSES, file="</title><b>.pt"))


@pytest.fixture(scope="module")
def live(network) -> Live:
    return Live(network, store=Store(most=4))


@pytest.fixture(scope="module")
def server(live, tmp_path_factory) -> Iterator[Client]:
    galleries = tmp_path_factory.mktemp("galleries")
    gallery(galleries / "one")
    with serving(galleries=galleries, live=live) as found:
        yield found


@pytest.fixture
def pages(tabs, server, live, request) -> Iterator[Pages]:
    """Opens pages; afterwards none may have asked another host or written an error to the console, and nothing runs on."""
    found, failed = Pages(tabs, server), request.session.testsfailed
    yield found
    faults = found.close(failed=request.session.testsfailed > failed)
    assert [fault for fault in faults if not any(word in fault for word in found.expected)] == []
    soon(lambda: live.jobs.lane.inside == 0)


def soon(true: Callable[[], bool]) -> None:
    """Wait until something on the server is so."""
    for _ in range(1000):
        if true():
            return
        time.sleep(0.01)
    assert true()


def drop(page: Any, data: bytes, name: str = NAME) -> None:
    page.evaluate(DROP, [base64.b64encode(data).decode(), name])


def answered(page: Any, data: bytes, name: str = NAME) -> Any:
    drop(page, data, name)
    shown = name.replace("\u202e", "[U+202E]")
    page.wait_for_function("(name) => document.querySelector('[data-part=name]').textContent === name", arg=shown)
    return page


def text(page: Any, part: str) -> str:
    return page.locator(f"#ui-live [data-part={part}]").first.inner_text()


def compute(page: Any, *methods: str, index: int | None = None, layer: str | None = None) -> None:
    for box in page.locator("input[name=ui-method]").all():
        box.set_checked(box.get_attribute("value") in methods)
    if index is not None:
        page.locator("#ui-live [data-part=class]").select_option(str(index))
    if layer is not None:
        page.locator("[data-part=wish] [data-part=layer]").select_option(layer)
    page.locator("[data-part=compute]").click()
    page.wait_for_function("() => /map/.test(document.querySelector('[data-part=state]').textContent)")


def test_a_dropped_picture_is_answered_and_its_map_is_the_map(pages, network, tmp_path):
    page = answered(pages(), picture(2))
    (tmp_path / "x.png").write_bytes(picture(2))
    images = read_images(tmp_path / "x.png", image_side=SIDE).images
    model = build(small(CLASSES))
    order = model(images)[0].softmax(0).argsort(descending=True).tolist()
    assert page.locator("[data-part=top] li").count() == 5
    assert text(page, "name") == "<img src=x onerror=alert(1)>[U+202E].png"
    compute(page, "grad_cam", "saliency", index=order[2])
    assert text(page, "state").startswith(f"{len(network.layers) + 1} maps in ")
    last = network.layers[-1]
    truth = attribute(model, images, method="grad_cam", target=order[2], layer=last).values[0]
    viewer = page.locator(".viewer")
    assert viewer.locator("[data-part=layer]").input_value() == last
    assert "3rd-ranked" in viewer.locator("[data-part=target]").inner_text()
    row, column = divmod(int(truth.argmax()), truth.shape[1])
    said = viewer.locator("[data-part=sentence]").inner_text()
    found = re.search(r"Strongest in row (\d+), column (\d+): (\S+) logit\.", said)
    assert (int(found[1]), int(found[2])) == (row, column)
    assert float(found[3].replace("−", "-")) == pytest.approx(
        float(truth.max()), rel=0.02
    )  # two digits are printed of small numbers
    assert "[U+202E].png" in said
    painted = page.evaluate("""() => {
        const canvas = document.querySelector(".viewer [data-part=picture]");
        return new Set(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data).size;
    }""")
    assert painted > 30


def test_methods_layers_classes_and_pictures_gather_in_one_viewer(pages, network):
    page = answered(pages(), picture(1), "first.png")
    compute(page, "grad_cam", index=0)
    compute(page, "saliency", "occlusion", index=1, layer=network.layers[0])
    viewer = page.locator(".viewer")
    assert viewer.count() == 1
    assert set(viewer.locator("[data-part=method] option").all_inner_texts()) == {"Grad-CAM", "Saliency", "Occlusion"}
    viewer.locator("[data-part=opacity]").fill("35")
    page.wait_for_function("() => location.hash.includes('opacity=35')")
    answered(page, picture(3), "second.png")
    assert page.locator("[data-part=shown]").is_hidden()
    compute(page, "saliency", index=0)
    assert viewer.locator("[data-part=strip] [role=option]").count() == 2
    assert viewer.locator("[data-part=photo]").input_value() == "1"
    assert viewer.locator("[data-part=opacity-value]").inner_text() == "35 %"
    viewer.locator("[data-scale=all]").check()
    viewer.locator("[data-part=photo]").select_option("0")
    assert "first.png" in viewer.locator("[data-part=sentence]").inner_text()
    answered(page, picture(1), "first.png")  # once more: no third picture
    compute(page, "saliency", index=0)
    assert viewer.locator("[data-part=strip] [role=option]").count() == 2


def test_the_pictures_that_came_with_the_network_can_be_asked_about(pages):
    page = pages()
    page.locator("[data-part=specimens] button").nth(1).click()
    page.wait_for_selector("[data-part=answer]:not([hidden])")
    assert page.locator("[data-part=specimens] button").nth(1).get_attribute("aria-pressed") == "true"


def test_a_picture_can_be_pasted_and_chosen(pages, tmp_path):
    (tmp_path / "chosen.png").write_bytes(picture())
    page = pages()
    page.set_input_files("[data-part=file]", tmp_path / "chosen.png")
    page.wait_for_selector("[data-part=answer]:not([hidden])")
    assert text(page, "name") == "chosen.png"
    page.evaluate(
        """(data) => {
        const files = new DataTransfer();
        files.items.add(new File([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))], "pasted.png"));
        window.dispatchEvent(new ClipboardEvent("paste", { clipboardData: files }));
    }""",
        base64.b64encode(picture(1)).decode(),
    )
    page.wait_for_function("() => document.querySelector('[data-part=name]').textContent === 'pasted.png'")


def test_a_picture_that_the_server_has_forgotten_is_sent_again(pages, live):
    pages.expected = ("404",)  # Chromium reports the refused request by itself
    page = answered(pages(), picture(1), "first.png")
    for i in range(5):
        assert pages.server.send(picture(i)).status == 200
    compute(page, "saliency")
    assert page.locator(".viewer").count() == 1


@pytest.mark.parametrize("data", [b"no picture", picture()[:300]], ids=["no picture", "cut short"])
def test_a_bad_file_is_refused_on_the_page(pages, data):
    pages.expected = ("400",)
    page = pages()
    drop(page, data)
    page.wait_for_selector("[data-part=problem]:not([hidden])")
    assert text(page, "problem") != ""
    assert page.locator("[data-part=answer]").is_hidden()
    answered(page, picture())
    assert page.locator("[data-part=problem]").is_hidden()


def test_too_large_a_file_is_not_even_sent(pages):
    page = pages()
    page.evaluate("""() => {
        const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(20000001)], "large.png"));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
    }""")
    assert re.findall(r"[\d.]*\d", text(page, "problem")) == ["20.0", "20"]
    assert not any("pictures" in url for url in pages.requests)


def test_stop_ends_the_job_on_the_server(pages, live, monkeypatch):
    def endless(self: ServedNetwork, picture: Any, wish: Any, tell: Any, passed: Any) -> None:
        tell("Endless", 1, 4)
        while True:
            torch.zeros(1)
            passed(1)

    monkeypatch.setattr(ServedNetwork, "maps", endless)
    page = answered(pages(), picture())
    page.locator("[data-part=compute]").click()
    page.wait_for_function(
        "() => document.querySelector('[data-part=state]').textContent.startsWith('Endless (2 of 4')"
    )
    assert page.locator("[data-part=progress]").get_attribute("value") == "0.25"
    assert live.jobs.lane.inside == 1
    assert problems(page) == []  # also while it runs
    page.locator("[data-part=stop]").click()
    page.wait_for_function("() => document.querySelector('[data-part=state]').textContent === 'Stopped.'")
    soon(lambda: live.jobs.lane.inside == 0)
    page.locator("[data-part=compute]").click()
    page.wait_for_function("() => document.querySelector('[data-part=state]').textContent.startsWith('Endless')")
    page.close()  # the reader goes away
    soon(lambda: live.jobs.lane.inside == 0)


def test_from_the_galleries_to_the_live_page_and_back(pages):
    page = pages("/")
    page.get_by_role("link", name="Ask the network live").click()
    page.wait_for_url("**/live")
    page.get_by_role("link", name="All galleries").click()
    page.wait_for_url("**/galleries/")
    page.get_by_role("link", name="net.pt").click()
    page.wait_for_url("**/galleries/one/index.html")


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(pages, theme, width):
    page = pages(color_scheme=theme, width=width)
    assert problems(page) == []
    answered(page, picture())
    compute(page, "grad_cam", "saliency")
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    targets = "a, button, select, summary, input, [role=option]"
    small_ones = page.evaluate(
        """(targets) => [...document.querySelectorAll(targets)].map((element) => {
        const box = (element.matches('input') && element.closest('label') || element).getBoundingClientRect();
        return [element.outerHTML.slice(0, 120), box.width, box.height];
    }).filter(([html, width, height]) => width > 0 && !html.includes('skip') && Math.min(width, height) < 24)""",
        targets,
    )
    assert small_ones == []


def test_axe_sees_a_planted_fault_and_the_guard_a_request(pages):
    page = pages()
    page.evaluate(
        "document.querySelector('[data-part=class]').closest('label').replaceWith(document.querySelector('[data-part=class]'))"
    )
    page.evaluate("document.querySelector('[data-part=wish]').hidden = false")
    assert any("select-name" in line for line in problems(page))
    pages.expected = ("Content Security Policy", "203.0.113.7")
    page.evaluate("fetch('http://203.0.113.7/').catch(() => null)")
    assert any("Content Security Policy" in text for text in pages.complaints)
