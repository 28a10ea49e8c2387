"""A gallery painted again from its receipts: the same pictures without any network, and no harm from what a stranger changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from test_report import EPOCH, HOSTILE, MARKUP, trained
from torch import nn

from vgg_viz.cli import main
from vgg_viz.errors import ReceiptRefused
from vgg_viz.models import build as building
from vgg_viz.models import checkpoint as checkpoints
from vgg_viz.models.checkpoint import save
from vgg_viz.registry import discover
from vgg_viz.report import gallery
from vgg_viz.report.gallery import report
from vgg_viz.report.repainting import repaint
from vgg_viz.report.scene import read_scene
from vgg_viz.report.section import SECTIONS
from vgg_viz.report.takeover import take_over

NAMES = tuple(name.replace("\udce9", "e") for name in HOSTILE)  # JSON holds no half letters, so those come back as backslashes
CHAPTERS = ("overview", "training", "attention", "evidence")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A gallery of four chapters on hostile names."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("original")
    save(folder / "net.pt", trained(NAMES, named=True))
    with pytest.MonkeyPatch.context() as patch:
        discover("vgg_viz.report.sections")
        patch.setattr(SECTIONS, "_items", {name: SECTIONS[name] for name in CHAPTERS})
        patch.setattr(gallery, "discover", lambda package: None)
        patch.setattr(gallery, "write_explorer", lambda folder, made: (None, "left out"))
        patch.setenv("SOURCE_DATE_EPOCH", EPOCH)
        yield report(folder / "net.pt", out=folder / "out", preset="quick", command="python -m vgg_viz report").index.parent
    torch.set_num_threads(before)


@pytest.fixture
def no_network(monkeypatch):
    """Whoever opens a checkpoint, builds a network or runs a layer fails."""

    def forbidden(*arguments, **options):
        raise AssertionError("no network was to be touched")

    for module, name in ((building, "build"), (checkpoints, "load"), (gallery, "build"), (gallery, "load")):
        monkeypatch.setattr(module, name, forbidden)
    monkeypatch.setattr(nn.Module, "__call__", forbidden)
    monkeypatch.setattr(nn.Conv2d, "__init__", forbidden)


def files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_every_figure_and_number_is_painted_again_to_the_byte_without_a_network(source, tmp_path, no_network):
    result = repaint(source, out=tmp_path)
    assert result.missing == ()
    before, after = files(source), files(result.index.parent)
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == ["index.html", "manifest.json"]
    assert any(name.startswith("figures/attention-") for name in after)


def test_the_page_and_the_manifest_are_honest_about_what_was_done(source, tmp_path, no_network, capsys):
    assert main(["report", "--from-receipts", str(source), "--out", str(tmp_path)]) == 0
    folder = tmp_path / f"{source.name}-repainted"
    assert capsys.readouterr().out.strip() == str(folder / "index.html")
    old, new = (json.loads((place / "manifest.json").read_text(encoding="utf-8")) for place in (source, folder))
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert f"Painted again from receipts of {old['made']}; no network was run." in page
    assert old["checkpoint"]["sha256"] in page
    assert new["repainted"]["made"] == old["made"]
    assert new["checkpoint"] == old["checkpoint"]
    assert [one["slug"] for one in new["exhibits"]] == [one["slug"] for one in old["exhibits"]]
    assert new["findings"] == old["findings"]
    for markup in MARKUP:
        assert markup not in page


def test_another_preset_paints_at_its_own_scale(source, tmp_path, no_network):
    once = repaint(source, out=tmp_path).index.parent
    result = repaint(once, out=tmp_path, preset="full")  # what was painted again can be painted again
    name = "figures/attention-methods.png"
    assert (result.index.parent / name).stat().st_size > 1.5 * (source / name).stat().st_size
    assert json.loads((result.index.parent / "manifest.json").read_text(encoding="utf-8"))["preset"] == "full"


@pytest.fixture
def copy(source, tmp_path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "copy"))


def test_a_receipt_that_is_gone_or_foreign_costs_its_chapter_only_and_is_named(copy, tmp_path, capsys):
    path = copy / "data" / "map-guided-backprop-predicted.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    told["origin"]["pixels"] = "0" * 64
    path.write_text(json.dumps(told), encoding="utf-8")
    (copy / "data" / "map-grad-cam-relu1-1-predicted.npz").unlink()
    assert main(["report", "--from-receipts", str(copy), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "is about another checkpoint or other pictures" in said
    assert "No usable receipt of grad_cam at relu1_1 for the predicted class" in said
    assert (tmp_path / "out" / "copy-repainted" / "index.html").is_file()
    assert (tmp_path / "out" / "copy-repainted" / "figures" / "attention-methods.png").is_file()  # taken over from the old gallery


def test_a_gallery_without_receipts_is_refused_in_a_sentence(copy, tmp_path, capsys):
    for path in (copy / "data").glob("map-*"):
        path.unlink()
    assert main(["report", "--from-receipts", str(copy), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "holds no receipts to paint from" in said
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("where", ["", "manifest.json", "data/looked-into.json", "data/looked-into.npz"])
def test_what_is_no_gallery_is_refused_in_a_sentence(where, copy, tmp_path, capsys):
    if where:
        (copy / where).write_bytes(b"{]")
    gallery_named = copy if where else copy / "none"
    assert main(["report", "--from-receipts", str(gallery_named), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("option", "value"), [("--images", "x"), ("--data", "x"), ("--standalone", None), ("net.pt", None)])
def test_what_only_a_network_could_answer_is_refused(option, value, capsys):
    line = [word for word in ("report", "--from-receipts", "gallery/x", option, value) if word]
    assert main(line) == 2
    assert "runs no network" in capsys.readouterr().err


@pytest.mark.parametrize("change", [
    {"pictures": ["a"]}, {"classes": ["a"]}, {"layers": [{"name": "x"}]}, {"pictures": [1] * 6}, {"layers": "none"}, {"arrays": {}},
    {"layers": [{"name": "x", "kind": "conv", "path": "p", "shape": [3, 10**9, 4], "field": None, "parameters": 1, "macs": 1}]},
    {"layers": [{"name": "x", "kind": "conv", "path": "p", "shape": [3, 4, 4], "field": [3, 0, 1], "parameters": 1, "macs": 1}]},
], ids=str)  # fmt: skip
def test_a_scene_that_contradicts_itself_is_refused(change, copy):
    path = copy / "data" / "looked-into.json"
    assert len(read_scene(copy / "data").batch) > 1
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(ReceiptRefused, match="looked-into"):
        read_scene(copy / "data")


def entry_of(source: Path, slug: str) -> dict:
    told = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
    return next(one for one in told["exhibits"] if one["slug"] == slug)


@pytest.mark.parametrize("entry", [
    {"slug": "../../etc"}, {"slug": 5}, {"slug": "a" * 90}, {"caption": "text"}, {"title": None}, {"alt": []}, "text", None,
    {"slug": "attention-viewer-other"},
], ids=str)  # fmt: skip
def test_an_entry_of_a_manifest_that_climbs_or_lies_is_refused(entry, source, tmp_path):
    told = entry_of(source, "overview-cost")
    for name in ("figures", "data"):
        (tmp_path / name).mkdir()
    assert [label for label, _ in take_over(told, source, tmp_path, scale=1.0).files][:2] == ["PNG", "SVG"]
    with pytest.raises(ReceiptRefused):
        take_over({**told, **entry} if isinstance(entry, dict) else entry, source, tmp_path, scale=1.0)


def test_a_table_comes_back_with_its_units_and_its_numbers_as_numbers(source, tmp_path):
    told = entry_of(source, "overview-layers")
    (tmp_path / "data").mkdir()
    table = take_over(told, source, tmp_path, scale=1.0).exhibit.table
    assert any(column.numeric for column in table.columns)
    assert any(column.unit == "px" for column in table.columns)
    assert table.rows[0][0] == "conv1_1"
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_an_odd_file_of_the_old_gallery_costs_only_itself_and_is_named(copy, tmp_path):
    (copy / "figures" / "overview-cost.png").write_bytes(b"no picture")
    result = repaint(copy, out=tmp_path / "out")
    assert [title for title, _ in result.missing] == ["Overview"]
    assert "'overview-cost' of that gallery is no PNG" in result.missing[0][1]


def test_what_is_no_report_is_told_by_what_it_is(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text('{"kind": "explanation"}', encoding="utf-8")
    words = {"nowhere": "there is no folder 'nowhere'", "empty": "'empty' is no gallery", "other": "says 'explanation'"}
    for name, said in words.items():
        assert main(["report", "--from-receipts", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert len(told.splitlines()) == 1
    assert not (tmp_path / "out").exists()
