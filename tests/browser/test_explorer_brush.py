"""The brush: the painted picture is what the network answers to, in every number; and there is always a way back."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pages import go
from test_live_explorer import Net, deep_net, number, numbers, ready, sample_net, text
from torch import Tensor
from torch.nn.functional import pad

from vgg_viz.gallery.explorer import Explorer, render_explorer
from vgg_viz.maths.images import encode_png
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.explorer_live import pictures
from vgg_viz.studies.explorer_stored import stored_network

pytestmark = pytest.mark.browser
PIXELS = """() => {
  const map = document.querySelector("[data-part=brush-map]"), small = document.createElement("canvas");
  small.width = small.height = 64;
  const context = small.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(map, 0, 0, 64, 64);
  return [...context.getImageData(0, 0, 64, 64).data];
}"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return sample_net(tmp_path_factory.mktemp("brush"))


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return deep_net(tmp_path_factory.mktemp("brush"))


def two(value: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return digits[value // 36] + digits[value % 36]


def stroke(fill: str, size: int, *points: tuple[int, int]) -> str:
    return fill + two(size) + "".join(two(x) + two(y) for x, y in points)


def disc(x: int, y: int, size: int, side: int = 64) -> Tensor:
    """Pixels whose centre lies within half of `size` of the middle of a square of `size` pixels laid around (x, y)."""
    grid = torch.arange(side, dtype=torch.float64)
    middle = (size - 1) / 2 - size // 2
    return (grid[:, None] - y - middle) ** 2 + (grid[None, :] - x - middle) ** 2 <= (size / 2) ** 2


def painted(image: Tensor, fill: str, mask: Tensor) -> Tensor:
    if fill == "m":
        colour = (image.mean((1, 2)) * 255).round() / 255
    else:
        colour = torch.tensor([int(fill[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return torch.where(mask, colour[:, None, None].expand_as(image), image)


def answers(net: Net, image: Tensor) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        logits = net.model(image[None])[0]
    return logits.numpy(), logits.softmax(0).numpy()


def rows(page: Any) -> dict[str, list[float]]:
    """Class -> before, now [percent], change [points]."""
    found = page.evaluate("""() => [...document.querySelectorAll(".brush-rows .brush-row")].map((row) =>
        [row.querySelector(".share-name").textContent, ...[...row.querySelectorAll(".num")].map((cell) => cell.textContent)])""")
    return {name: [number(value.replace("%", "").replace("+", "")) for value in values] for name, *values in found}


def score_change(page: Any) -> float:
    return number(page.locator("[data-part=brush-score] strong").inner_text().replace("+", ""))


def seen(page: Any) -> np.ndarray:
    return np.array(page.evaluate(PIXELS)).reshape(64, 64, 4)[..., :3]


def strokes(page: Any) -> int:
    """How many the note over the picture tells of; one is told in a word."""
    note = page.locator(".changed-note")
    if not note.is_visible():
        return 0
    found = re.search(r"\d+", note.inner_text())
    return int(found[0]) if found else 1


def drag(page: Any, start: tuple[int, int], end: tuple[int, int]) -> None:
    """From picture pixel to picture pixel, in eight moves."""
    stage = page.locator("[data-part=brush-stage]")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    at = [
        (box["x"] + (x + 0.5) * box["width"] / 64, box["y"] + (y + 0.5) * box["height"] / 64) for x, y in (start, end)
    ]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=8)
    page.mouse.up()


# ---------------------------------------------------------------- the numbers


DABS = [("m", 21, 32, 30), ("c00ff80", 8, 5, 60), ("c808080", 1, 63, 0), ("m", 64, 10, 10)]


@pytest.mark.parametrize(("fill", "size", "x", "y"), DABS)
def test_every_number_of_the_page_is_that_of_the_painted_picture(opened, sample, fill, size, x, y):
    page = ready(opened(sample.file, f"#picture=2&brush={stroke(fill, size, (x, y))}"))
    image = painted(sample.batch.images[1], fill, disc(x, y, size))
    assert not torch.equal(image, sample.batch.images[1])
    truth = Net.truth(_with(sample, image), 0)
    for name, values in numbers(page).items():
        assert np.abs(values - truth[name].ravel()).max() < 1e-4, name
    assert np.array_equal(seen(page), (image * 255).round().byte().permute(1, 2, 0).numpy())


def _with(net: Net, image: Tensor) -> Any:
    other = object.__new__(Net)
    other.model, other.batch = net.model, replace(net.batch, images=image[None], labels=None, names=("one",))
    return other


def test_the_bars_are_the_probabilities_before_and_now(opened, sample):
    page = ready(opened(sample.file, f"#picture=1&brush={stroke('m', 21, (32, 32))}"))
    image = sample.batch.images[0]
    (logits, before), (after, now) = answers(sample, image), answers(sample, painted(image, "m", disc(32, 32, 21)))
    assert np.abs(now - before).max() > 0.05
    found = rows(page)
    assert list(found) == list(sample.classes)
    for i, name in enumerate(sample.classes):
        was, becomes, change = found[name]
        assert was == pytest.approx(100 * before[i], abs=0.51)
        assert becomes == pytest.approx(100 * now[i], abs=0.51)
        assert change == pytest.approx(100 * (now[i] - before[i]), abs=0.06)
    best = int(before.argmax())
    said = text(page, "brush-score")
    assert said.startswith(f"Score of {sample.classes[best]}: ")
    assert score_change(page) == pytest.approx(after[best] - logits[best], abs=2e-4)
    share = float(disc(32, 32, 21).double().mean())
    assert number(re.match(r"[\d.]+", text(page, "brush-said")).group()) == pytest.approx(100 * share, abs=0.51)
    assert sample.classes[int(now.argmax())] in text(page, "brush-said")


def test_the_score_of_the_class_asked_for_above_is_followed(opened, sample):
    page = ready(opened(sample.file, f"#picture=1&class=3&brush={stroke('m', 21, (32, 32))}"))
    image = sample.batch.images[0]
    change = answers(sample, painted(image, "m", disc(32, 32, 21)))[0][2] - answers(sample, image)[0][2]
    assert text(page, "brush-score").startswith(f"Score of {sample.classes[2]}: ")
    assert score_change(page) == pytest.approx(change, abs=2e-4)


def test_a_blurred_stroke_is_the_gaussian_mean_of_the_picture(opened, sample):
    page = ready(opened(sample.file, f"#picture=3&brush={stroke('b', 64, (32, 32))}"))
    image, spread = sample.batch.images[2].double(), 64 / 16
    reach = int(np.ceil(2.5 * spread))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1).double() / spread) ** 2)
    kernel /= kernel.sum()
    edged = pad(image[None], (reach, reach, reach, reach), mode="replicate")[0]
    smooth = torch.nn.functional.conv2d(edged[:, None], (kernel[:, None] * kernel[None, :])[None, None])[:, 0]
    wanted = torch.where(disc(32, 32, 64), smooth, image).permute(1, 2, 0).numpy() * 255
    assert np.abs(seen(page) - wanted).max() <= 0.51
    assert np.abs(seen(page) - image.permute(1, 2, 0).numpy() * 255).max() > 30


def test_a_line_has_no_holes(opened, sample):
    page = ready(opened(sample.file, f"#picture=2&brush={stroke('cff0000', 5, (4, 6), (50, 40))}"))
    red = (seen(page) == (255, 0, 0)).all(-1)
    for t in np.linspace(0, 1, 200):
        assert red[round(6 + 34 * t), round(4 + 46 * t)]
    assert red.sum() < 5 * 60 * 1.5


# ---------------------------------------------------------------- painting


def test_dragging_paints_and_every_view_follows(opened, sample):
    page = ready(opened(sample.file, "#picture=2"))
    before, map_before = numbers(page), page.locator("[data-part=seen]").evaluate("(canvas) => canvas.toDataURL()")
    drag(page, (20, 20), (44, 44))
    page.wait_for_function("() => location.hash.includes('brush=')")
    assert np.abs(numbers(page)["conv1_1"] - before["conv1_1"]).max() > 0.01
    assert page.locator("[data-part=seen]").evaluate("(canvas) => canvas.toDataURL()") != map_before
    said = text(page, "brush-said")
    assert re.search(r"\d %", said)
    page.reload()
    assert text(ready(page), "brush-said") == said
    assert float(page.locator("#ui-explorer").get_attribute("data-milliseconds")) > 0


def test_while_it_is_painted_the_answer_already_follows(opened, sample):
    page = ready(opened(sample.file, "#picture=1&brush-size=20"))
    stage = page.locator("[data-part=brush-stage]")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 30, box["y"] + box["height"] / 2, steps=3)
    page.wait_for_function("() => /\\d %/.test(document.querySelector('[data-part=brush-said]').textContent)")
    assert "brush=" not in page.url
    assert any(change for *_, change in rows(page).values())
    page.mouse.up()
    assert strokes(page) == 1


def test_the_keyboard_paints_takes_back_and_clears(opened, sample):
    page = ready(opened(sample.file, "#picture=2&brush-size=9", anew=True))  # the keyboard's cursor is in no address
    whole = seen(page)
    page.locator("[data-part=brush-stage]").focus()
    for key in ("Shift+ArrowRight", "ArrowUp", "ArrowUp", "Space"):
        page.keyboard.press(key)
    changed = (seen(page) != whole).any(-1)
    assert (changed <= disc(32 + 9, 30, 9).numpy()).all()
    assert changed.sum() > 30
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    assert strokes(page) == 2
    page.keyboard.press("Backspace")
    assert strokes(page) == 1
    assert np.array_equal((seen(page) != whole).any(-1), changed)
    page.get_by_role("button", name="Clear").click()
    assert np.array_equal(seen(page), whole)
    assert not page.locator(".changed-note").is_visible()
    assert page.locator("[data-part=brush-undo]").is_disabled()


def test_a_finger_paints(opened, sample):
    page = ready(opened(sample.file, "#picture=2", has_touch=True, width=320))
    whole, stage = seen(page), page.locator("[data-part=brush-stage]")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
    page.wait_for_function("() => location.hash.includes('brush=')")
    assert (seen(page) != whole).any()
    assert stage.evaluate("(element) => getComputedStyle(element).touchAction") == "none"


def test_one_click_leads_back_to_the_picture_as_it_was(opened, sample):
    page = ready(opened(sample.file, f"#picture=2&brush={stroke('m', 30, (32, 30))}"))
    page.evaluate("scrollTo(0, 0)")
    back = page.get_by_role("button", name="Back to the original")
    box = back.bounding_box()
    assert 0 < box["y"] < 900  # in sight wherever one reads
    back.click()
    for name, values in sample.truth(1).items():
        assert np.abs(numbers(page)[name] - values.ravel()).max() < 1e-4, name
    page.wait_for_function("() => !location.hash.includes('brush=')")
    assert not back.is_visible()


def test_another_picture_begins_without_strokes_unless_the_address_names_both(opened, sample):
    page = ready(opened(sample.file, f"#picture=2&brush={stroke('m', 30, (32, 30))}"))
    page.locator("[data-part=strip] [role=option]").nth(4).click()
    assert np.abs(numbers(page)["fc3"] - sample.truth(4)["fc3"]).max() < 1e-4
    assert not page.locator(".changed-note").is_visible()
    go(page, f"picture=6&brush={stroke('m', 30, (32, 30))}")
    assert page.locator(".changed-note").is_visible()
    image = painted(sample.batch.images[5], "m", disc(32, 30, 30))
    assert np.abs(numbers(page)["fc3"] - answers(sample, image)[0]).max() < 1e-4
    page.locator("[data-part=layer]").select_option(label="pool1")
    assert page.locator(".changed-note").is_visible()


def test_a_picture_of_ones_own_can_be_painted_on(opened, sample):
    page = ready(opened(sample.file, "#brush-size=20", anew=True))
    mine = {"name": "me.png", "mimeType": "image/png", "buffer": encode_png(sample.batch.images[7])}
    page.locator("[data-part=file]").set_input_files(mine)
    page.wait_for_selector("[role=option][aria-label*='Your own'][aria-selected=true]")
    page.locator("[data-part=brush-stage]").focus()
    page.keyboard.press("Space")
    image = painted(sample.batch.images[7], "m", disc(32, 32, 20))
    assert np.abs(numbers(page)["fc3"] - answers(sample, image)[0]).max() < 1e-4


def test_a_grey_network_sees_the_strokes_too(opened, deep):
    page = ready(opened(deep.file, f"#brush={stroke('cffffff', 40, (48, 48))}"))
    image = torch.where(disc(48, 48, 40, 96), torch.ones(1, 96, 96), deep.batch.images[0])
    truth = Net.truth(_with(deep, image), 0)
    assert np.abs(numbers(page)["conv1_1"] - truth["conv1_1"].ravel()).max() < 1e-4
    assert np.abs(numbers(page)["softmax"] - truth["softmax"]).max() < 1e-4


# ---------------------------------------------------------------- the address


def test_the_brush_itself_stands_in_the_address(opened, sample):
    page = ready(opened(sample.file))
    page.get_by_role("radio", name="one colour").check()
    page.locator("[data-part=brush-colour]").fill("#00ff80")
    page.locator("[data-part=brush-size]").fill("5")
    page.wait_for_function(
        "() => location.hash.includes('brush-colour=00ff80') && location.hash.includes('brush-size=5')"
    )
    page.reload()
    assert page.get_by_role("radio", name="one colour").is_checked()
    assert text(ready(page), "brush-size-text") == "5 px"
    page.locator("[data-part=brush-stage]").focus()
    page.keyboard.press("Enter")
    assert (seen(page) == (0, 255, 128)).all(-1).sum() == disc(32, 32, 5).sum()


@pytest.mark.parametrize(
    "word",
    [
        "m0cZZZZ",
        "__proto__",
        "m",
        "cgggggg0c0000",
        "m0c000",
        "m000000",
        "mzzzzzz",
        "....",
        "%00",
        "<script>",
        "m0c" + "0" * 40_000,
        ".".join(["m010000"] * 3000),
        "c00ff000000zzzz.m0c0w0w",
    ],
)
def test_whatever_the_address_holds_becomes_strokes_that_exist(opened, sample, word):
    page = ready(
        opened(sample.file, f"#picture=2&brush={word}&brush-size=-4&brush-fill=constructor&brush-colour=url(x)")
    )
    assert text(page, "brush-size-text") == "1 px"
    page.locator("[data-part=brush-stage]").focus()
    page.keyboard.press("Space")
    page.locator("[data-part=layer]").select_option(label="pool1")
    page.wait_for_function("() => location.hash.includes('layer=pool1')")
    assert len(page.url.partition("#")[2]) < 8000
    assert re.fullmatch(r"(Nothing is painted over yet\.|[\d.]+ % of the picture .+)", text(page, "brush-said"))


def test_a_full_address_is_said_and_undo_makes_room(opened, sample):
    page = ready(
        opened(sample.file, "#picture=2&brush=" + ".".join([stroke("m", 1, (i % 64, i // 64)) for i in range(450)]))
    )
    assert text(page, "brush-full") != ""
    assert strokes(page) == 400
    page.locator("[data-part=brush-stage]").focus()
    page.keyboard.press("Space")
    assert strokes(page) == 400
    page.get_by_role("button", name="Undo").click()
    assert text(page, "brush-full") == ""
    assert strokes(page) == 399


def test_a_page_that_only_carries_numbers_has_no_brush(opened, sample, tmp_path):
    file, few = tmp_path / "stored.html", select_images(sample.batch, [0, 1])
    stored, answers = stored_network(sample.model, few, sample.classes)
    shown = tuple({**picture, **said} for picture, said in zip(pictures(few, exact=False), answers, strict=True))
    file.write_text(
        render_explorer(Explorer("net", "a test", stored, shown, stored="It is too large.")), encoding="utf-8"
    )
    page = ready(opened(file))
    assert page.locator("[data-part=brush-missing]").is_visible()
    assert not page.locator("[data-part=brush]").is_visible()
