"""A whole report: the contract of its folder, numbers that are true, and names that try to break out."""

from __future__ import annotations

import base64
import csv
import getpass
import hashlib
import json
import platform
import re
import socket
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from viewer_data import told_to_viewer

import vgg_viz
from vgg_viz.api import report
from vgg_viz.capture.hooks import activations
from vgg_viz.data import shapes
from vgg_viz.errors import OutputRefused, SectionMissing
from vgg_viz.gallery.index import write_index
from vgg_viz.gallery.sections import Section, sections_of
from vgg_viz.gallery.study import GalleryResult
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.records import Caption, Checkpoint, Epoch, Exhibit, Specimen
from vgg_viz.sections.report.report import build_report
from vgg_viz.studies.inputs import labelled_pictures, specimen_batch
from vgg_viz.studies.preset import PRESETS
from vgg_viz.studies.request import ReportRequest

SIDE = 32
RLO = "\u202e"
HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "__proto__",
    f"safe{RLO}gpj.exe",
    "W" * 300,
    "",
    "{{ 7 * 7 }}{% raise %}",
    "../../etc/passwd",
    "$\\frac{",
    '=HYPERLINK("http://x")\ncaf\udce9',
)
CLASSES = tuple(name or "one without" for name in HOSTILE)  # no file is opened with a class that has no name
MARKUP = ("<script>alert", "<img src=x", "onerror=alert(1)>")
EPOCH = "1700000000"


@cache
def trained(
    names: tuple[str, ...] = shapes.CLASSES, *, specimens: int = 16, channels: int = 3, named: bool = False
) -> Checkpoint:
    """A Tiny VGG taught for some steps, so that its answers differ, with painted specimens it never saw."""
    wanted = architecture("tiny_vgg", image_side=SIDE, num_classes=len(names), width=0.6, in_channels=channels)
    model = build(wanted, seed=3).train()
    batch = shapes.paint(96, seed=7, split="train", side=SIDE)
    images = batch.images.mean(1, keepdim=True) if channels == 1 else batch.images
    labels = batch.labels % len(names)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    held_out = shapes.paint(max(specimens, 1), seed=7, split="test", side=SIDE)
    carried = tuple(
        Specimen(
            encode_png(held_out.images[i]),
            int(held_out.labels[i]) % len(names),
            HOSTILE[i % len(HOSTILE)] if named else held_out.names[i],
            encode_png(held_out.masks[i].float()[None]),
        )
        for i in range(specimens)
    )
    history = (Epoch(1, 2.3, 0.12, 2.2, 0.2, 1e-3, 1.0), Epoch(2, 2.0, 0.3, 2.1, 0.25, 1e-4, 1.0))
    return Checkpoint(wanted, names, model.eval().state_dict(), history, carried)


class Made:
    """A finished report and what it was made from."""

    def __init__(self, source: Path, result: GalleryResult, out: Path) -> None:
        self.source, self.result, self.out = source, result, out
        self.folder = result.index.parent
        self.page = result.index.read_text(encoding="utf-8")
        self.manifest = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        self.exhibits = {exhibit["slug"]: exhibit for exhibit in self.manifest["exhibits"]}

    def numbers(self, slug: str) -> dict:
        told = self.exhibits[slug]["numbers"]
        return json.loads((self.folder / told["file"]).read_text(encoding="utf-8")) if set(told) == {"file"} else told

    def payload(self) -> dict:
        """What the viewer in the page gets."""
        return told_to_viewer(self.page)


def made_from(checkpoint: Checkpoint, folder: Path, name: str = "net.pt", **options) -> Made:
    save(folder / name, checkpoint)
    out = folder / "out"
    return Made(
        folder / name, build_report(ReportRequest(source=folder / name, out=out, preset="quick", **options)), out
    )


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Made:
    """One report on hostile names, reproducible, beside a gallery that cannot be read."""
    folder = tmp_path_factory.mktemp("report of größe <b>")
    (folder / "out" / "broken").mkdir(parents=True)
    (folder / "out" / "broken" / "manifest.json").write_text("{")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", EPOCH)
        return made_from(trained(CLASSES, named=True), folder, "net <b>& $x.pt", command="python -m vgg_viz report")


@pytest.fixture(scope="session")
def model_and_checkpoint(made):
    checkpoint = load(made.source)
    return build(checkpoint), checkpoint


def texts(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.suffix in (".html", ".json", ".svg", ".csv")]


# ---------------------------------------------------------------- the contract of the folder


def test_every_part_of_a_complete_checkpoint_is_made(made):
    assert made.result.missing == ()
    assert made.manifest["missing"] == []
    assert {exhibit["section"] for exhibit in made.manifest["exhibits"]} == {
        section.slug for section in sections_of("report")
    } - {"labels"}  # of a network that gives each picture one class nothing is to be said there


def test_the_manifest_says_what_was_made_from_what_by_what(made):
    manifest = made.manifest
    assert manifest["schema"] == 1
    assert manifest["vgg_viz"] == vgg_viz.__version__
    assert manifest["seed"] == 0
    assert manifest["preset"] == "quick"
    assert manifest["command"] == "python -m vgg_viz report"
    assert manifest["checkpoint"]["sha256"] == hashlib.sha256(made.source.read_bytes()).hexdigest()
    assert manifest["checkpoint"]["file"] == made.source.name
    assert manifest["checkpoint"]["format"] == "vgg_viz"
    assert str(torch.__version__).startswith(manifest["versions"]["torch"])
    assert manifest["versions"]["python"] == platform.python_version()
    assert manifest["made"] == "2023-11-14 22:13 UTC"
    assert manifest["findings"][0]["level"] in ("good", "note", "warn", "bad")


def test_every_exhibit_is_explained_and_has_its_numbers(made):
    for slug, exhibit in made.exhibits.items():
        assert set(exhibit) >= {"slug", "section", "title", "caption", "alt", "file", "numbers"}, slug
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
        assert len(exhibit["alt"]) > 20, slug
        assert exhibit["title"], slug
        assert all(len(exhibit["caption"][part]) > 30 for part in ("see", "read", "cannot")), slug
        if exhibit["file"]:
            assert exhibit["numbers"], f"{slug} is a picture without its numbers"
    assert len(made.exhibits) == len(made.manifest["exhibits"])


def test_every_figure_is_a_png_that_opens_and_is_not_blank(made):
    files = [exhibit["file"] for exhibit in made.exhibits.values() if exhibit["file"]]
    assert len(files) > 15
    for file in files:
        with Image.open(made.folder / file) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 60, file
            assert len(picture.convert("RGB").reduce(4).getcolors(1 << 24)) > 4, file
    assert {f"figures/{entry.name}" for entry in (made.folder / "figures").glob("*.png")} == set(files)


def test_the_numbers_beside_a_figure_are_those_of_the_manifest(made):
    for slug, exhibit in made.exhibits.items():
        if exhibit["numbers"]:
            beside = json.loads((made.folder / "data" / f"{slug}.json").read_text(encoding="utf-8"))
            assert beside == exhibit["numbers"] or exhibit["numbers"] == {"file": f"data/{slug}.json"}, slug


def test_no_json_holds_what_is_no_json(made):
    for file in made.out.rglob("*.json"):
        if file.parent.name != "broken":
            json.loads(
                file.read_text(encoding="utf-8"),
                parse_constant=lambda word, file=file: pytest.fail(f"{word} in {file.name}"),
            )
    made.payload()


def test_the_folder_holds_what_the_contract_names_and_no_litter(made):
    assert sorted(entry.name for entry in made.folder.iterdir()) == [
        "data",
        "explorer.html",
        "figures",
        "index.html",
        "manifest.json",
    ]
    assert sorted(entry.name for entry in made.out.iterdir()) == sorted(["broken", made.folder.name, "index.html"])
    assert re.fullmatch(r"[\w.-]+", made.folder.name, re.ASCII)
    for entry in made.out.rglob("*"):
        assert not entry.is_symlink()
        assert re.fullmatch(r"[\w.-]+", entry.name, re.ASCII), entry.name


def test_nothing_tells_whose_machine_it_was(made):
    home = str(Path.home())
    # Short names of machines and users ("vm", "root") are also parts of words.
    own = {name for name in (socket.gethostname(), getpass.getuser(), home) if len(name) > 5}
    secrets = {str(made.source.parent), made.source.parent.name, "/site-packages", *own}
    for file in texts(made.out):
        text = file.read_text(encoding="utf-8", errors="replace")
        for secret in secrets:
            assert secret not in text, f"{secret!r} in {file.name}"
        assert not re.search(r"(?<![\w.:/])/(?:home|root|tmp|Users|work|var)/\w", text), file.name


def test_every_file_that_the_page_names_is_there(made):
    markup = re.sub(
        r"<script.*?</script>", "", made.page, flags=re.DOTALL
    )  # code that writes an SVG has addresses of its own
    targets = [target for target in re.findall(r'(?:href|src)="([^"#:]+)"', markup) if not target.startswith("data:")]
    assert len(targets) > 15
    for target in targets:
        assert (made.folder / target).is_file(), target


# ---------------------------------------------------------------- hostile names


class Tags(HTMLParser):
    """Every element with its attributes; text inside scripts and styles left out."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_hostile_names_never_become_markup_on_any_page(made):
    for page in (made.folder / "index.html", made.out / "index.html"):
        text = page.read_text(encoding="utf-8")
        for markup in MARKUP:
            assert markup not in text, page
        for tag, attributes in Tags(text).found:
            assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
            assert tag != "img" or attributes.get("src") != "x"
        assert RLO not in text
        assert "49{%" not in text


def test_hostile_names_never_become_markup_in_an_svg(made):
    drawings = list(made.folder.rglob("*.svg"))
    assert drawings
    for drawing in drawings:
        text = drawing.read_text(encoding="utf-8")
        assert "<script" not in text
        assert not re.search(r"<[^>]+\son\w+=", text)


def test_no_cell_of_a_csv_starts_like_a_formula(made):
    files = list((made.folder / "data").glob("*.csv"))
    assert files
    for file in files:
        for row in csv.reader(file.read_text(encoding="utf-8").splitlines()):
            for cell in row:
                assert not cell.startswith(("=", "@", "+")), (file.name, cell)


def test_hostile_names_are_kept_as_they_are_where_a_script_reads_them(made):
    written = [name.encode("utf-8", "backslashreplace").decode() for name in CLASSES]
    assert made.numbers("mistakes-confusion")["classes"] == written


# ---------------------------------------------------------------- true numbers


def test_the_confusion_counts_are_those_of_an_independent_pass(made, model_and_checkpoint):
    model, checkpoint = model_and_checkpoint
    counts = torch.zeros(10, 10, dtype=torch.int64)
    for specimen in checkpoint.specimens:  # one by one, decoded by another library
        image = np.asarray(Image.open(BytesIO(specimen.png)).convert("RGB"), dtype=np.float32) / 255
        with torch.inference_mode():
            counts[specimen.label, model(torch.from_numpy(image).permute(2, 0, 1)[None])[0].argmax()] += 1
    found = made.numbers("mistakes-confusion")
    assert found["counts"] == counts.tolist()
    assert found["n"] == 16 == sum(map(sum, found["counts"]))
    assert found["accuracy"] == float(counts.diagonal().sum()) / 16
    assert made.manifest["facts"]["Accuracy"] == f"{found['accuracy'] * 100:.1f} %"
    leading = next(one for one in made.manifest["findings"] if one["key"] == "few")
    assert made.manifest["findings"][0]["level"] != "good", "16 pictures are too few for that"
    assert f"{counts.diagonal().sum()} of 16" in leading["text"]
    low, high = found["interval"]
    assert 0 <= low < found["accuracy"] < high <= 1
    assert 0 < found["accuracy"] < 1, "the oracle needs right and wrong answers"


def test_the_confident_errors_are_errors_the_surest_first(made, model_and_checkpoint):
    model, checkpoint = model_and_checkpoint
    batch = specimen_batch(checkpoint.specimens, SIDE)
    with torch.inference_mode():
        probabilities = model(batch.images).softmax(1)
    wrong = probabilities.argmax(1) != batch.labels
    expected = sorted(probabilities.amax(1)[wrong].tolist(), reverse=True)
    found = made.numbers("mistakes-confident")
    assert found["errors"] == len(expected)
    assert [item["probability"] for item in found["shown"]] == pytest.approx(
        expected[: PRESETS["quick"].grid], abs=1e-5
    )
    assert all(item["true"] != item["predicted"] for item in found["shown"])


def test_the_calibration_error_follows_from_its_bins(made):
    found = made.numbers("mistakes-calibration")
    bins = [one for one in found["bins"] if one["count"]]
    assert sum(one["count"] for one in bins) == 16
    error = sum(one["count"] * abs(one["accuracy"] - one["confidence"]) for one in bins) / 16
    assert found["ece"] == pytest.approx(error, abs=1e-6)


def test_sparsity_is_the_share_of_zeros(made, model_and_checkpoint):
    model, checkpoint = model_and_checkpoint
    every = specimen_batch(checkpoint.specimens, SIDE)
    names = [photo["src"] for photo in made.payload()["photos"]]
    shown = [decoded(src) for src in names]
    inspected = torch.stack(
        [min(every.images, key=lambda image, shown=one: float((image - shown).abs().sum())) for one in shown]
    )
    maps = activations(model, inspected).maps
    for layer, found in made.numbers("activations-silence").items():
        zeros = sum(int((maps[layer][i] == 0).sum()) for i in range(len(inspected)))
        assert found["sparsity"] == pytest.approx(zeros / maps[layer].numel(), abs=1e-4), layer
        assert found["dead"] == [c for c in range(maps[layer].shape[1]) if float(maps[layer][:, c].max()) == 0]
        assert found["channels"] == maps[layer].shape[1]


def decoded(src: str) -> torch.Tensor:
    """A picture of the payload, (3, H, W) in [0, 1]."""
    content = base64.b64decode(src.partition(",")[2])
    return (
        torch.from_numpy(np.asarray(Image.open(BytesIO(content)).convert("RGB")).copy()).permute(2, 0, 1).float() / 255
    )


def test_the_fields_in_the_figure_are_those_of_inspect(made, model_and_checkpoint):
    from vgg_viz.studies.inspection import facts

    model, checkpoint = model_and_checkpoint
    rows = {row["name"]: row for row in facts(checkpoint, model)["layers"]}
    for name, found in made.numbers("fields-growth").items():
        assert found["size"] == rows[name]["receptive_field"]
        assert found["jump"] == rows[name]["jump"]
        assert found["effective"] is None or 1 <= found["effective"] <= found["size"] + 1e-6, name


def test_the_viewers_ranges_hold_every_one_of_its_maps(made):
    payload = made.payload()
    assert payload["maps"]
    assert len(payload["photos"]) == 6
    layers = {layer["name"] for layer in payload["layers"]}
    signed = {method["id"]: method["signed"] for method in payload["methods"]}
    for stored in payload["maps"]:
        limit = payload["limits"][f"{stored['method']}|{stored['layer'] or ''}|{stored['target']}"]
        assert stored["low"] <= stored["high"]
        assert 0 <= stored["limit"] <= limit
        # Not beyond the farthest value of a photo's maps, and the same for all its classes.
        group = [one for one in payload["maps"] if all(one[key] == stored[key] for key in ("photo", "method", "layer"))]
        farthest = max(max(-one["low"] if signed[one["method"]] else 0, one["high"]) for one in group)
        assert stored["limit"] <= max(farthest, 0) * (1 + 1e-5) + 1e-12 or stored["layer"] is None
        assert {one["limit"] for one in group} == {stored["limit"]}
        assert len(base64.b64decode(stored["data"])) == stored["h"] * stored["w"]
        assert stored["layer"] is None or stored["layer"] in layers
        assert 0 <= stored["class"] < 10
    for target in ("predicted", "true", "runner-up"):
        assert any(stored["target"] == target for stored in payload["maps"]), target


def test_the_viewers_grad_cam_is_the_gradient_weighted_map_computed_by_hand(made, model_and_checkpoint):
    model, _ = model_and_checkpoint
    payload = made.payload()
    layer = made.numbers("attention-viewer")["chosen_layer"]
    stored = next(
        m for m in payload["maps"] if m["method"] == "grad_cam" and m["layer"] == layer and m["target"] == "predicted"
    )
    image = decoded(payload["photos"][stored["photo"]]["src"])[None]
    # Forward to the layer, then on, written out: no hook, no library.
    from vgg_viz.models.names import layers

    order = layers(model)
    place = next(i for i, one in enumerate(order) if one.name == layer)
    value = image
    for one in order[: place + 1]:
        value = one.module(value)
    # A copy for what follows: the ReLU behind a convolution works in place.
    value = value.detach().requires_grad_(True)
    onward = value.clone()
    for one in order[place + 1 :]:
        onward = one.module(onward)
    onward[0, stored["class"]].backward()
    expected = (value.grad.mean((2, 3), keepdim=True) * value).sum(1).relu()[0].detach()
    shown = (
        torch.frombuffer(bytearray(base64.b64decode(stored["data"])), dtype=torch.uint8)
        .float()
        .view(stored["h"], stored["w"])
    )
    found = stored["low"] + shown / 255 * (stored["high"] - stored["low"])
    step = (stored["high"] - stored["low"]) / 255
    assert expected.shape == found.shape
    torch.testing.assert_close(found, expected, atol=step * 0.51 + 1e-6, rtol=1e-4)


# ---------------------------------------------------------------- again, and when something fails


@pytest.fixture
def only(monkeypatch):
    """Reports made of the given sections alone: quick."""

    def these(*sections: Section) -> None:
        monkeypatch.setattr("vgg_viz.gallery.build.sections_of", lambda kind: list(sections))

    return these


def plain_exhibit(subject):
    caption = Caption("what is seen", "how it is read", "what it cannot say")
    yield Exhibit("plain", "Plain", caption, "An alternative text.", numbers={"n": 1})


PLAIN = Section("report", "plain", "Plain", "A lead.", 1, plain_exhibit)


def failing(error: BaseException, *, after: int = 1) -> Section:
    def make(subject):
        for number in range(after):
            yield Exhibit(
                f"before-{number}", "Before", Caption("see", "read", "cannot"), "alternative text", numbers={"n": 1}
            )
        raise error

    return Section("report", "failing", "The failing one", "A lead.", 2, make)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("no <b>luck"), AttributeError("y"), AssertionError("z"), MemoryError("w")],
    ids=lambda error: type(error).__name__,
)
def test_a_section_that_fails_costs_only_itself_and_is_named_everywhere(error, only, tmp_path, capsys):
    from vgg_viz.cli import main

    only(PLAIN, failing(error), replace(PLAIN, slug="later", title="Later", order=3, make=lambda subject: iter(())))
    save(tmp_path / "net.pt", trained(specimens=2))
    assert main(["report", str(tmp_path / "net.pt"), "--preset", "quick", "--out", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert "'The failing one' is missing" in captured.err
    assert type(error).__name__ in captured.err
    folder = tmp_path / "out" / "net"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (missing,) = manifest["missing"]
    assert missing["section"] == "failing"
    assert type(error).__name__ in missing["reason"]
    assert [exhibit["slug"] for exhibit in manifest["exhibits"]] == ["plain", "before-0"]
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert type(error).__name__ in page
    assert "no <b>luck" not in page


def test_a_section_that_cannot_be_made_says_why_and_what_to_run(only, tmp_path):
    only(PLAIN, failing(SectionMissing("There is no history.", "python -m vgg_viz train"), after=0))
    made = made_from(trained(specimens=1), tmp_path)
    assert made.result.missing == (("The failing one", "There is no history."),)
    assert made.manifest["missing"] == [
        {"section": "failing", "reason": "There is no history.", "command": "python -m vgg_viz train"}
    ]
    assert "There is no history." in made.page
    assert "python -m vgg_viz train" in made.page


def test_a_figure_that_cannot_be_painted_costs_only_itself(only, tmp_path):
    class Unpaintable:
        dpi = 100

        def get_size_inches(self):
            raise ValueError("ParseException: $\\frac{")

    def make(subject):
        yield from plain_exhibit(subject)
        yield replace(next(plain_exhibit(subject)), slug="bad", title="The bad one", figure=Unpaintable())

    only(replace(PLAIN, make=make))
    made = made_from(trained(specimens=1), tmp_path)
    ((title, reason),) = made.result.missing
    assert title == "Plain"
    assert "'The bad one' failed: ValueError" in reason
    assert list(made.exhibits) == ["plain"]
    assert "The bad one" in made.page
    assert not list(made.folder.rglob("bad.*"))


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full disk", "Ctrl-C"]
)
def test_a_failure_while_writing_leaves_the_old_gallery_as_it_was(error, only, tmp_path, monkeypatch):
    only(PLAIN)
    before = made_from(trained(specimens=1), tmp_path)

    def broken(*arguments, **options):
        raise error

    monkeypatch.setattr("vgg_viz.gallery.build.publish", broken)
    with pytest.raises((type(error), OutputRefused)):
        report(before.source, out=before.out, preset="quick", seed=5)
    assert before.result.index.read_text(encoding="utf-8") == before.page
    assert sorted(entry.name for entry in before.out.iterdir()) == ["index.html", "net"]


def test_a_full_disk_is_refused_in_a_sentence_not_a_traceback(only, tmp_path, monkeypatch, capsys):
    from vgg_viz.cli import main

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    only(PLAIN)
    monkeypatch.setattr("vgg_viz.gallery.build.publish", full)
    save(tmp_path / "net.pt", trained(specimens=1))
    assert main(["report", str(tmp_path / "net.pt"), "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No space left on device" in captured.err
    assert len(captured.err.splitlines()) == 1


def test_a_new_report_replaces_the_old_one_of_the_same_checkpoint(only, tmp_path):
    only(PLAIN)
    made_from(trained(specimens=1), tmp_path)
    second = made_from(trained(specimens=1), tmp_path, seed=4)
    assert second.manifest["seed"] == 4
    assert sorted(entry.name for entry in second.out.iterdir()) == ["index.html", "net"]


# ---------------------------------------------------------------- the index


def test_the_index_lists_every_gallery_and_says_what_is_wrong_with_a_broken_one(made):
    text = (made.out / "index.html").read_text(encoding="utf-8")
    assert f'href="./{made.folder.name}/index.html"' in text
    assert "its manifest cannot be read" in text
    assert made.manifest["facts"]["Accuracy"] in text
    assert "net &lt;b&gt;&amp; $x.pt" in text


def test_the_index_survives_manifests_of_any_shape(tmp_path):
    shapes_of_trouble = {
        "list": "[]",
        "no-facts": '{"vgg_viz": "1", "schema": 1}',
        "odd-facts": '{"vgg_viz": "1", "schema": 1, "facts": 3, "findings": 7}',
        "odd-finding": '{"vgg_viz": "1", "schema": 1, "findings": [3], "title": ["x"]}',
        "old": '{"vgg_viz": "1", "schema": 0}',
        "findings-as-object": '{"vgg_viz": "1", "schema": 1, "findings": {"a": 1}}',
        "level": '{"vgg_viz": "1", "schema": 1, "findings": [{"level": "<b>", "text": "<script>alert(1)"}]}',
        "bytes": "\xff\xfe",
    }
    for name, text in shapes_of_trouble.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_bytes(text.encode("latin-1"))
        (tmp_path / name / "index.html").write_text("page")
    page = write_index(tmp_path).read_text(encoding="utf-8")
    for name in shapes_of_trouble:
        assert name in page
    assert "<script>alert" not in page


# ---------------------------------------------------------------- other networks


def test_a_bare_state_dict_without_pictures_gets_what_needs_none_and_is_told_the_rest(tmp_path):
    wanted = architecture("vgg11", num_classes=7, width=1 / 16)
    torch.save(build(wanted, seed=2).state_dict(), tmp_path / "net.pth")
    made = Made(
        tmp_path / "net.pth", report(tmp_path / "net.pth", out=tmp_path / "out", preset="quick"), tmp_path / "out"
    )
    missing = {entry["section"]: entry for entry in made.manifest["missing"]}
    assert set(missing) == {
        "data",
        "mistakes",
        "examples",
        "activations",
        "attention",
        "relevance",
        "localisation",
    }  # and no training: for the history of somebody's file nobody can ask
    for entry in missing.values():
        assert entry["reason"].endswith(".")
        assert entry["command"].startswith("python -m vgg_viz ")
        assert entry["command"] in made.page or entry["command"].replace(" ", "&nbsp;") in made.page
    shown = {exhibit["section"] for exhibit in made.exhibits.values()}
    assert shown == {"overview", "filters", "receptive-fields", "forensics", "evidence"}
    assert made.manifest["checkpoint"]["format"] == "torchvision"
    assert made.manifest["checkpoint"]["evidence"]
    assert "Accuracy" not in made.manifest["facts"]


def test_a_variants_name_is_enough_and_the_page_says_that_nothing_was_learned(tmp_path):
    result = report("tiny_vgg", out=tmp_path, preset="quick", overrides={"image_size": SIDE})
    manifest = json.loads((result.index.parent / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["checkpoint"]["sha256"] == ""
    assert "Random weights" in manifest["findings"][0]["text"]


def values(tree):
    """Everything in nested lists and mappings that is neither."""
    if isinstance(tree, dict | list):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from values(part)
    else:
        yield tree


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (
            {"channels": 1, "names": ("cat", "dog"), "specimens": 12},
            {"data", "mistakes", "activations", "attention", "filters"},
        ),
        ({"specimens": 1}, {"data", "mistakes", "activations", "attention"}),
    ],
    ids=["grey, two classes", "one specimen"],
)
def test_small_and_unusual_networks_get_every_part(options, parts, tmp_path):
    made = made_from(trained(**options), tmp_path)
    assert made.result.missing == ()
    assert parts <= {exhibit["section"] for exhibit in made.exhibits.values()}
    text = (made.folder / "manifest.json").read_text(encoding="utf-8")
    # Numbers written into sentences are what Python prints, in small letters; "NaN" may be a word of the lesson.
    json.loads(text, parse_constant=lambda word: pytest.fail(word))
    assert not re.search(r"\b(nan|inf|infinity)\b", text)
    assert not {str(value).strip(" -+").lower() for value in values(made.manifest)} & {"nan", "inf", "infinity"}
    assert sum(map(sum, made.numbers("mistakes-confusion")["counts"])) == options["specimens"]


def test_pictures_given_with_images_are_looked_into_and_broken_ones_named(tmp_path, only):
    only(PLAIN)
    (tmp_path / "photos").mkdir()
    for number in range(3):
        image = shapes.paint(1, seed=number, split="test", side=48).images[0]
        (tmp_path / "photos" / f"{number}.png").write_bytes(encode_png(image))
    (tmp_path / "photos" / "broken <i>.png").write_bytes(b"\x89PNG")
    made = made_from(trained(specimens=2), tmp_path, images=tmp_path / "photos")
    assert made.manifest["data"]["looked_into"] == "3 of 3 pictures given with --images"
    (warning,) = made.manifest["warnings"]
    assert "broken <i>.png" in warning
    assert "broken <i>.png" not in made.page
    assert "broken &lt;i&gt;.png" in made.page


def test_the_measured_pictures_of_a_checkpoint_trained_on_shapes_are_painted_again():
    bundled = load()
    batch, origin = labelled_pictures(bundled, None, limit=20)
    assert origin.kind == "painted"
    expected = shapes.paint(
        20, seed=int(dict(bundled.provenance.data)["seed"]), split="test", side=bundled.architecture.image_side
    )
    assert torch.equal(batch.images, expected.images)
    assert [bundled.classes[i] for i in batch.labels.tolist()] == [shapes.CLASSES[i] for i in expected.labels.tolist()]
