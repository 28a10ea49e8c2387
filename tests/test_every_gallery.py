"""What holds for every kind of gallery: the same source gives the same hash, files, name and keys, whichever command asks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from html import unescape
from pathlib import Path

import pytest
from PIL import Image
from shared_artefacts import shared_gallery

from vgg_viz.cli import main
from vgg_viz.data import shapes
from vgg_viz.gallery.sections import KINDS, SECTIONS, section, sections_of
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import save
from vgg_viz.records import Caption, Checkpoint, Epoch, Exhibit, Specimen

SIDE = 24
HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raise %}",
    "$\\frac{",
)
OWN = {  # keys that one kind has and no other
    "report": {"checkpoint", "maps"},
    "comparison": {"checkpoints"},
    "timeline": {"checkpoint", "epochs"},
    "explanation": {"checkpoint", "explanation", "maps"},
    "audit": {"checkpoint", "audit"},
}
FOLDERS = {
    "report": "run-1-best",
    "comparison": "run-1-best-vs-run-1-last",
    "timeline": "run-1-timeline",
    "explanation": "run-1-best-a-b",
    "audit": "run-1-best-audit",
}


def checkpoint(seed: int = 0) -> Checkpoint:
    """A small network with hostile names, pictures of its own and a history; trained on nothing."""
    wanted = architecture("tiny_vgg", image_side=SIDE, num_classes=len(HOSTILE), width=0.3)
    held = shapes.paint(40, seed=3, split="test", side=SIDE)
    labels = [i % len(HOSTILE) for i in range(40)]
    specimens = tuple(
        Specimen(
            encode_png(held.images[i]), label, f"{HOSTILE[label]} {i}.png", encode_png(held.masks[i].float()[None])
        )
        for i, label in enumerate(labels)
    )
    history = (Epoch(1, 1.4, 0.3, 1.4, 0.2, 1e-3, 1.0), Epoch(2, 1.3, 0.4, 1.3, 0.3, 1e-4, 1.0))
    return Checkpoint(wanted, HOSTILE, build(wanted, seed=seed).state_dict(), history, specimens)


def run_folder(folder: Path, seed: int = 0) -> Path:
    """A run as `train` leaves it: best.pt, last.pt and two epochs."""
    (folder / "epochs").mkdir(parents=True)
    save(folder / "best.pt", checkpoint(seed))
    save(folder / "last.pt", checkpoint(seed + 1))
    for epoch in (0, 1):
        save(folder / "epochs" / f"epoch-{epoch:03}.pt", replace(checkpoint(seed + epoch), specimens=()))
    return folder


def arguments(kind: str, work: Path) -> list[str]:
    """The command of a kind of gallery about the run in `work`."""
    run = work / "run-1"
    return {
        "report": ["report", str(run / "best.pt"), "--preset", "quick"],
        "comparison": ["compare", str(run / "best.pt"), str(run / "last.pt"), "--preset", "quick"],
        "timeline": ["compare", str(run), "--preset", "quick"],
        "explanation": ["explain", str(run / "best.pt"), str(work / "a b.png"), "--preset", "quick"],
        "audit": ["audit", str(run / "best.pt")],
    }[kind]


def prepared(work: Path) -> Path:
    """A run and a picture to ask about."""
    run_folder(work / "run-1")
    (work / "a b.png").write_bytes(encode_png(shapes.paint(1, seed=5, side=SIDE).images[0]))
    return work


def make_all(work: Path) -> None:
    prepared(work)
    for kind in KINDS:
        assert main([*arguments(kind, work), "--out", str(work / "gallery"), "--quiet"]) in (0, 1)


def made_apart(work: Path) -> None:
    """All of them, in a process of their own as a user makes them: within one, a BLAS may add in another order the second time."""
    settings = os.environ | {
        "SOURCE_DATE_EPOCH": "1700000000",
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
    }
    done = subprocess.run(
        [sys.executable, __file__, str(work)], env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="session")
def galleries(tmp_path_factory) -> dict[str, Path]:
    """One gallery of every kind about the same run, by kind; all in one folder, and made once."""
    work = shared_gallery(tmp_path_factory, "every-kind", made_apart)
    return {kind: work / "gallery" / folder for kind, folder in FOLDERS.items()}


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def test_every_kind_is_named_after_its_run_and_stands_in_the_index(galleries):
    for kind, folder in galleries.items():
        assert manifest(folder)["kind"] == kind
    index = (galleries["report"].parent / "index.html").read_text(encoding="utf-8")
    assert all(f'href="./{name}/index.html"' in index for name in FOLDERS.values())


def test_the_same_source_is_told_the_same_by_every_kind(galleries):
    told = {kind: manifest(folder) for kind, folder in galleries.items()}
    one = told["report"]["checkpoint"]
    assert (
        one
        == told["explanation"]["checkpoint"]
        == told["audit"]["checkpoint"]
        == told["comparison"]["checkpoints"]["A"]
    )
    assert one["file"] == "best.pt"
    assert one["files"] == ["best.pt"]
    assert len(one["sha256"]) == 64
    assert told["comparison"]["checkpoints"]["B"].keys() == told["timeline"]["checkpoint"].keys() == one.keys()
    assert told["timeline"]["checkpoint"]["sha256"] == told["timeline"]["epochs"][-1]["sha256"]


def test_every_kind_has_the_same_keys_beyond_the_few_of_its_own(galleries):
    told = {kind: manifest(folder) for kind, folder in galleries.items()}
    common = set(told["report"]) - OWN["report"]
    assert {kind: set(one) - OWN[kind] for kind, one in told.items()} == dict.fromkeys(KINDS, common)
    assert all(OWN[kind] <= set(one) for kind, one in told.items())
    assert len({frozenset(one["data"]) for one in told.values()}) == 1
    assert len({frozenset(one["explorer"]) for one in told.values()}) == 1


def test_every_page_says_which_bytes_it_is_about(galleries):
    for kind, folder in galleries.items():
        told = manifest(folder)
        sources = told["checkpoints"].values() if kind == "comparison" else [told["checkpoint"]]
        page = (folder / "index.html").read_text(encoding="utf-8")
        assert all(source["sha256"] in page for source in sources), kind


def test_hostile_names_stay_text_in_every_kind(galleries):
    for kind, folder in galleries.items():
        for file in folder.glob("*.html"):
            page = file.read_text(encoding="utf-8")
            assert "<script>alert(1)" not in page, kind
            assert "<img src=x" not in page, kind


def test_every_page_works_offline_under_a_policy_that_lets_nothing_in(galleries):
    for kind, folder in galleries.items():
        for file in folder.glob("*.html"):
            page = file.read_text(encoding="utf-8")
            policy = unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
            assert policy.startswith("default-src 'none'"), kind
            assert not re.search(r'(src|href)="(https?:)?//', page), kind


def test_nobodys_folders_are_named_in_any_file(galleries):
    home = str(galleries["report"].parent.parent)
    for folder in galleries.values():
        for file in folder.rglob("*"):
            if file.suffix in (".html", ".json", ".svg", ".csv"):
                assert home not in file.read_text(encoding="utf-8"), file.name


def test_the_same_commands_give_the_same_bytes_for_every_kind_wherever_they_run(galleries, tmp_path):
    made_apart(tmp_path)
    first, second = galleries["report"].parent, tmp_path / "gallery"
    files = sorted(file.relative_to(first) for file in first.rglob("*") if file.is_file())
    assert files == sorted(file.relative_to(second) for file in second.rglob("*") if file.is_file())
    assert {Path(folder, "index.html") for folder in FOLDERS.values()} < set(files)
    assert [str(file) for file in files if (first / file).read_bytes() != (second / file).read_bytes()] == []


def test_nothing_else_stands_beside_the_galleries(galleries):
    assert {entry.name for entry in galleries["report"].parent.iterdir()} == {"index.html", *FOLDERS.values()}


# ---------------------------------------------------------------- another checkpoint of the same name


def nothing(_subject):
    yield Exhibit("nothing", "Nothing", Caption("see", "read", "cannot"), "alternative text", numbers={"n": 1})


@pytest.fixture
def bare(monkeypatch):
    """Galleries of one small section, without the network to touch: their names and what they replace is not about sections."""
    one = {kind: replace(sections_of(kind)[0], slug="nothing", make=nothing, when=lambda _: True) for kind in KINDS}
    monkeypatch.setattr("vgg_viz.gallery.build.sections_of", lambda kind: [one[kind]])
    monkeypatch.setattr("vgg_viz.gallery.build._explorer", lambda *_: (None, "left out"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_gallery_of_another_checkpoint_is_never_replaced_and_that_is_said(kind, bare, tmp_path, capsys):
    make = partial(main, [*arguments(kind, prepared(tmp_path)), "--out", str(tmp_path / "out"), "--quiet"])
    name = FOLDERS[kind]
    assert make() == 0
    assert make() == 0
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {"index.html", name}, (
        "the same again takes its own place"
    )
    first = manifest(tmp_path / "out" / name)
    shutil.rmtree(tmp_path / "run-1")
    run_folder(tmp_path / "run-1", seed=5)
    capsys.readouterr()
    assert make() == 0
    said = capsys.readouterr()
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {"index.html", name, f"{name}-2"}
    assert manifest(tmp_path / "out" / name) == first
    assert f"{name}-2" in said.err
    assert said.out.strip().endswith(f"{name}-2/index.html")
    assert make() == 0
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {"index.html", name, f"{name}-2"}


def test_explanations_of_two_pictures_of_one_name_stay_apart(bare, tmp_path):
    prepared(tmp_path)
    (tmp_path / "other").mkdir()
    Image.new("RGB", (SIDE, SIDE), (200, 30, 30)).save(tmp_path / "other" / "a b.png")
    for picture in (tmp_path / "a b.png", tmp_path / "other" / "a b.png"):
        words = ["explain", str(tmp_path / "run-1" / "best.pt"), str(picture), "--preset", "quick"]
        assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert {"run-1-best-a-b", "run-1-best-a-b-2"} <= {entry.name for entry in (tmp_path / "out").iterdir()}


def test_reports_of_two_runs_stand_beside_each_other(bare, tmp_path):
    for name, seed in (("first", 1), ("second", 2)):
        run_folder(tmp_path / name, seed)
        assert main(["report", str(tmp_path / name / "best.pt"), "--out", str(tmp_path / "out")]) == 0
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {"index.html", "first-best", "second-best"}


@pytest.mark.parametrize("kind", ["report", "comparison", "explanation", "audit"])
def test_a_variants_name_is_no_file_for_any_command_even_where_a_folder_is_called_so(kind, bare, tmp_path, monkeypatch):
    (tmp_path / "tiny_vgg").mkdir()
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64), (200, 30, 30)).save("a.png")
    words = {
        "report": ["report", "tiny_vgg", "--data", "shapes", "--preset", "quick"],
        "comparison": ["compare", "tiny_vgg", "tiny_vgg", "--data", "shapes", "--preset", "quick"],
        "explanation": ["explain", "tiny_vgg", "a.png", "--preset", "quick"],
        "audit": ["audit", "tiny_vgg", "--data", "shapes", "--limit", "20"],
    }[kind]
    assert main([*words, "--out", "out"]) == 0
    (folder,) = (entry for entry in (tmp_path / "out").iterdir() if entry.is_dir())
    told = manifest(folder)
    for source in told.get("checkpoints", {"": told.get("checkpoint")}).values():
        assert (source["sha256"], source["files"], source["format"]) == ("", [], "untrained")


# ---------------------------------------------------------------- a new section touches one file


def test_a_new_section_for_two_kinds_is_one_function_with_one_decorator(tmp_path, monkeypatch):
    with SECTIONS.temporarily():

        @section("trial", study=("report", "audit"), title="A trial", lead="A lead.", order=1)
        def trial(subject):
            yield from nothing(subject)

        monkeypatch.setattr(
            "vgg_viz.gallery.build.sections_of", lambda kind: [one for one in sections_of(kind) if one.slug == "trial"]
        )
        monkeypatch.setattr("vgg_viz.gallery.build._explorer", lambda *_: (None, "left out"))
        prepared(tmp_path)
        for kind in ("report", "audit"):
            assert main([*arguments(kind, tmp_path), "--out", str(tmp_path / "out"), "--quiet"]) == 0
            assert [exhibit["section"] for exhibit in manifest(tmp_path / "out" / FOLDERS[kind])["exhibits"]] == [
                "trial"
            ]


if __name__ == "__main__":
    make_all(Path(sys.argv[1]))
