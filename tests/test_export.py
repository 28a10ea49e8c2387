"""Export: what is written opens again bit for bit, runs elsewhere with the same logits, and never takes a stranger's place."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import vgg_viz.models.export as module
from vgg_viz.cli import main
from vgg_viz.errors import InputRefused, OutputRefused
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.models.export import export
from vgg_viz.models.formats.exported import header
from vgg_viz.models.network import dense_weights
from vgg_viz.models.vgg import describe
from vgg_viz.records import Checkpoint, Epoch, Evidence, Provenance, Specimen

HOSTILE = (
    "<script>document.title='owned'</script>",
    "</script>",
    "\u202egnp",
    "a\nb",
    "\x00",
    "{{ 7*7 }}",
    "",
    "\ud800",
)


def checkpoint(name: str = "tiny_vgg", **wanted: Any) -> Checkpoint:
    classes = wanted.pop("classes", None)
    built = architecture(name, **{"num_classes": len(classes) if classes else 5, **wanted})
    model = build(built, seed=3)
    with torch.no_grad():  # other than at the start, where many are alike
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_((torch.rand(value.shape, generator=torch.Generator().manual_seed(1)) - 0.5) * 0.04)
    data, training = {"kind": "folder", "name": "birds"}, {"epochs": 3}
    known = (Evidence("A fact."), Evidence("Preprocessing: assumed.", ("--mean", "--std")))
    provenance = Provenance(
        "net.pth", "", "torchvision", known, (Evidence("padding 1", ("--padding",)),), (), data, training
    )
    return Checkpoint(
        built,
        tuple(classes or map(str, range(5))),
        model.state_dict(),
        (Epoch(1, 2.0, 0.3, 2.1, 0.25, 0.01, 3.5),),
        (),
        provenance,
    )


NETWORKS = {
    "tiny": {"name": "tiny_vgg"},
    "padded tiny": {"name": "tiny_vgg", "padding": 1, "image_side": 28, "width": 0.4, "in_channels": 1},
    "batch norm": {"name": "vgg11_bn", "width": 1 / 16, "image_side": 64, "pooled": 2, "head": (48,)},
    "lrn": {"name": "a_lrn", "width": 1 / 16, "image_side": 32, "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)},
    "kernels of 1": {"name": "c", "width": 1 / 16, "image_side": 64, "pooled": None, "head": ()},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_safetensors_come_back_bit_for_bit_with_all_that_was_known(tmp_path: Path, name: str) -> None:
    one = checkpoint(**NETWORKS[name])
    facts = export(one, tmp_path / "a.safetensors")
    back = load(tmp_path / "a.safetensors")
    assert back.architecture == one.architecture
    assert (back.classes, back.history) == (one.classes, one.history)
    assert back.weights.keys() == one.weights.keys()
    assert all(
        torch.equal(back.weights[key], value) and back.weights[key].dtype == value.dtype
        for key, value in one.weights.items()
    )
    images = torch.rand(2, one.architecture.in_channels, one.architecture.image_side, one.architecture.image_side)
    assert torch.equal(build(back)(images), build(one)(images))
    assert facts["bytes"] == (tmp_path / "a.safetensors").stat().st_size
    assert (dict(back.provenance.data), dict(back.provenance.training)) == (
        {"kind": "folder", "name": "birds"},
        {"epochs": 3},
    )


def test_what_was_assumed_stays_an_assumption(tmp_path: Path) -> None:
    export(checkpoint(), tmp_path / "a.safetensors")
    back = load(tmp_path / "a.safetensors").provenance
    assert back.evidence[-2:] == (
        Evidence("Known at the export: A fact."),
        Evidence("Known at the export: Preprocessing: assumed.", ("--mean", "--std")),
    )
    assert back.alternatives == (Evidence("padding 1", ("--padding",)),)
    told = load(tmp_path / "a.safetensors", mean=(0.0,) * 3, std=(1.0,) * 3, padding=0).provenance
    assert [one.assumed for one in told.evidence].count(True) == 0
    assert told.alternatives == ()


def test_files_of_before_the_options_were_data_open_with_the_same_guesses(tmp_path: Path) -> None:
    """Schema 1 held evidence as sentences alone, and those that were guesses ended with their options."""
    one = checkpoint()
    older = {key: value for key, value in header(one).items() if key not in ("settled_by", "named")}
    assert json.loads(older["evidence"]) == ["A fact.", "Preprocessing: assumed (--mean, --std)."]
    save_file(dict(one.weights), tmp_path / "old.safetensors", metadata=older)
    export(one, tmp_path / "new.safetensors")
    old, new = (load(tmp_path / f"{name}.safetensors") for name in ("old", "new"))
    assert (old.provenance.evidence, old.provenance.alternatives) == (
        new.provenance.evidence,
        new.provenance.alternatives,
    )
    assert (old.named, new.named) == (True, True)


@pytest.mark.parametrize("named", [True, False])
def test_whether_somebody_named_the_classes_travels_and_older_files_are_told_by_the_names(
    named: bool, tmp_path: Path
) -> None:
    one = replace(checkpoint(classes=tuple(f"class {i}" for i in range(5))), named=named)
    save(tmp_path / "a.pt", one)
    export(one, tmp_path / "a.safetensors")
    assert [load(tmp_path / name).named for name in ("a.pt", "a.safetensors")] == [named, named]
    older = torch.load(tmp_path / "a.pt", weights_only=True)
    del older["named"]
    torch.save(older, tmp_path / "older.pt")
    texts = {key: value for key, value in header(one).items() if key not in ("settled_by", "named")}
    save_file(dict(one.weights), tmp_path / "older.safetensors", metadata=texts)
    assert [load(tmp_path / f"older.{ending}").named for ending in ("pt", "safetensors")] == [False, False]


def test_the_dense_form_and_a_second_export_come_back_too(tmp_path: Path) -> None:
    plain = checkpoint("vgg11", width=1 / 16, image_side=64, pooled=2, head=(16,))
    wanted, weights = dense_weights(plain.architecture, dict(plain.weights))
    export(replace(plain, architecture=wanted, weights=weights), tmp_path / "a.safetensors")
    export(load(tmp_path / "a.safetensors"), tmp_path / "b.safetensors")  # from one mapped file into another
    back = load(tmp_path / "b.safetensors")
    assert describe(back.architecture).dense
    assert all(torch.equal(back.weights[key], value) for key, value in weights.items())


def test_the_header_says_in_plain_text_what_other_programs_need(tmp_path: Path) -> None:
    one = checkpoint(classes=("a", "ü", "<b>"))
    export(one, tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        said = file.metadata()
    assert (said["format"], said["variant"], json.loads(said["classes"])) == ("pt", "tiny_vgg", ["a", "ü", "<b>"])
    assert [json.loads(said[key]) for key in ("image_side", "mean", "std")] == [64, [0, 0, 0], [1, 1, 1]]
    assert json.loads(said["plan"]) == "10p0 10p0 M 10p0 10p0 M | K"


OLD = {
    "variant": "tiny_vgg",
    "batch_norm": False,
    "width": 0.4,
    "head": [],
    "pooled": None,
    "dense": False,
    "padding": 1,
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"width": "wide"}, "width is 'wide'"),
        ({"width": 1e300}, "not above 16"),
        ({"head": [100000000]}, "are possible"),
        ({"head": 4096}, "head is"),
        ({"pooled": 2000000}, "are possible"),
        ({"padding": 3}, "padding 3"),
        ({"variant": "resnet50"}, "no variant 'resnet50'"),
    ],
)
def test_files_from_before_plans_name_a_variant_and_its_options(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    one = checkpoint(classes=("a", "b"), image_side=32, width=0.4, padding=1)
    save(tmp_path / "a.pt", one)
    whole = torch.load(tmp_path / "a.pt", weights_only=True)
    whole["schema"] = 1
    del whole["architecture"]["plan"]
    whole["architecture"] |= OLD | {"conv_bias": True} | changes
    torch.save(whole, tmp_path / "a.pt")
    if words:
        with pytest.raises(InputRefused, match=words):
            load(tmp_path / "a.pt")
    else:
        assert load(tmp_path / "a.pt").architecture == one.architecture


# ---------------------------------------------------------------- hostile headers


def with_header(path: Path, **changes: str | None) -> Path:
    one = checkpoint(classes=HOSTILE[:5], image_side=32, width=0.2)
    texts = {key: value for key, value in {**header(one), **changes}.items() if value is not None}
    save_file(dict(one.weights), path, metadata=texts)
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": "[1, 2, 3, 4, 5]"}, "a list of texts"),
        ({"classes": '"abcde"'}, "a list of texts"),
        ({"classes": None}, "not whole"),
        ({"classes": "["}, "not whole"),
        ({"classes": '["a"]'}, "1 class names came"),
        ({"plan": '"64 wide | K"'}, "'wide' in the plan is no layer"),
        ({"plan": "NaN"}, "plan is"),
        ({"plan": '"99999999 | K"'}, "are possible"),
        ({"image_side": "64.5"}, "image_side is"),
        ({"image_side": "99999999999"}, "image_side is"),
        ({"image_side": "true"}, "image_side is"),
        ({"num_classes": "2000000000"}, "are possible"),
        ({"plan": '"10 10 M | 100000000 K"'}, "are possible"),
        ({"plan": '"10 10 M | 5"'}, "do not fit"),
        ({"plan": '"10 10 M"'}, "without a classifier"),
        ({"mean": '["a", "b", "c"]'}, "mean is"),
        ({"mean": "[0, 0]"}, "2 means"),
        ({"std": "[0, 0, 0]"}, "not above 0"),
        ({"std": "[Infinity, 1, 1]"}, "no finite number"),
        ({"plan": None, "variant": "resnet50"}, "no variant 'resnet50'"),
        ({"plan": None, "variant": None}, "not whole"),
        ({"plan": '"10 M M M M M M M | K"'}, "too small"),
        ({"vgg_viz": "99"}, "schema '99'"),
        ({"history": '[{"epoch": "x"}]'}, "epoch is 'x'"),
        ({"history": "5"}, "not whole"),
        ({"data": "[]"}, "must be objects"),
        ({"evidence": "{}"}, "a list of texts"),
        ({"classes": "[" * 50_000}, "not whole"),
        ({"in_channels": "2", "mean": "[0,0]", "std": "[1,1]"}, "2 input channels"),
    ],
)
def test_a_header_of_other_types_is_refused_in_one_sentence(
    tmp_path: Path, changes: dict[str, str | None], words: str
) -> None:
    with pytest.raises(InputRefused, match=words) as error:
        build(load(with_header(tmp_path / "a.safetensors", **changes)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "words"), [("plan", 5, "plan is '5'"), ("plan", "64 wide | K", "'wide' in the plan is no layer")]
)
def test_the_same_types_are_refused_in_our_own_torch_files(tmp_path: Path, key: str, value: str, words: str) -> None:
    save(tmp_path / "a.pt", checkpoint())
    whole = torch.load(tmp_path / "a.pt", weights_only=True)
    whole["architecture"][key] = value
    torch.save(whole, tmp_path / "a.pt")
    with pytest.raises(InputRefused, match=words):
        load(tmp_path / "a.pt")


def test_hostile_class_names_and_a_header_of_a_megabyte_are_shown_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [*HOSTILE[:4], HOSTILE[-1]]
    file = with_header(tmp_path / "a.safetensors", classes=json.dumps(names), note=json.dumps("x" * 2**20))
    assert main(["inspect", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == [*names[:4], "\\ud800"]
    assert main(["report", str(file), "--preset", "quick", "--out", str(tmp_path / "out"), "--quiet"]) in (0, 1)
    pages = [page.read_text(encoding="utf-8") for page in (tmp_path / "out").rglob("*.html")]
    assert len(pages) == 3
    assert all("<script>document.title" not in page for page in pages)
    assert any("document.title=" in page for page in pages)  # it is there, as text


# ---------------------------------------------------------------- ONNX

missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if not module.find_spec(name)]
needs_onnx = pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


@needs_onnx
@pytest.mark.parametrize("name", ["tiny", "batch norm"])
def test_onnx_gives_the_same_logits_for_any_batch_with_the_normalisation_inside(tmp_path: Path, name: str) -> None:
    import onnx
    import onnxruntime

    one = checkpoint(**{**NETWORKS[name], "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)})
    facts = export(one, tmp_path / "a.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "a.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    side = one.architecture.image_side
    assert (given.name, given.shape[1:], answer.name, answer.shape[1:]) == ("images", [3, side, side], "logits", [5])
    assert isinstance(given.shape[0], str)  # a name, not a number
    for count in (1, 2, 5):
        images = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            wanted = build(one)(images)
        assert wanted.std() > 1e-3
        found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        assert (found - wanted).abs().max() < 1e-4
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["vgg_viz.classes"]) == list(one.classes)
    assert json.loads(said["vgg_viz.mean"]) == [0.4, 0.5, 0.6]
    assert facts["checked"]["largest_difference"] < 1e-4
    assert os.listdir(tmp_path) == ["a.onnx"]  # the weights inside, nothing beside


@needs_onnx
def test_a_graph_that_computes_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = checkpoint()
    other = build(replace(one, weights={key: value * 1.01 for key, value in one.weights.items()}))
    monkeypatch.setattr(module, "build", lambda _: other)
    traced = module._traced
    monkeypatch.setattr(module, "_traced", lambda _, example, name: traced(build(one), example, name))
    with pytest.raises(InputRefused, match="the ONNX graph differs"):
        export(one, tmp_path / "a.onnx")
    assert os.listdir(tmp_path) == []


def test_without_the_packages_of_onnx_one_sentence_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(InputRefused, match=r'onnxruntime.*pip install "vgg_viz\[onnx\]"'):
        export(checkpoint(), tmp_path / "a.onnx")


# ---------------------------------------------------------------- where nothing may be written


def test_what_stands_in_the_way_is_left_alone(tmp_path: Path) -> None:
    one = checkpoint()
    (tmp_path / "mine.safetensors").write_bytes(b"mine")
    with pytest.raises(OutputRefused, match=r"exists already.*--force"):
        export(one, tmp_path / "mine.safetensors")
    assert (tmp_path / "mine.safetensors").read_bytes() == b"mine"
    export(one, tmp_path / "mine.safetensors", force=True)
    assert load(tmp_path / "mine.safetensors").classes == one.classes
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "mine.safetensors")
    os.mkfifo(tmp_path / "pipe.safetensors")
    for name in ("link.safetensors", "pipe.safetensors"):
        with pytest.raises(OutputRefused, match="no regular file"):
            export(one, tmp_path / name, force=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.pt", "'.pt', .safetensors or .onnx was expected"),
        ("a", "'nothing'"),
        ("no/a.safetensors", "no folder 'no'"),
        ("x" * 300 + ".safetensors", "could not be written"),
    ],
)
def test_a_place_that_cannot_be_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(OutputRefused, match=words):
        export(checkpoint(), tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("wrong", ["safetensors", "onnx"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / f"a.{wrong}"
    file.write_bytes(b"old")
    monkeypatch.setattr(module, "_safetensors" if wrong == "safetensors" else "_onnx", full)
    monkeypatch.setattr(module, "_require_onnx", lambda: None)
    with pytest.raises(OutputRefused, match="No space left on device"):
        export(checkpoint(), file, force=True)
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [file.name]


def test_the_library_that_fails_to_write_is_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch
    from safetensors import SafetensorError

    def fails(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", fails)
    with pytest.raises(OutputRefused, match="could not be written"):
        export(checkpoint(), tmp_path / "a.safetensors")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no such modes there")
def test_an_exported_file_may_be_read_by_those_who_read_other_new_files(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    export(checkpoint(), tmp_path / "a.safetensors")
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "usual").stat().st_mode
    )


# ---------------------------------------------------------------- the command


def test_the_command_says_what_it_wrote_and_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "a.pt", replace(checkpoint(), specimens=(Specimen(b"\x89PNG", 1, "a.png"),)))
    assert main(["export", str(tmp_path / "a.pt"), str(tmp_path / "b.safetensors"), "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["format"], found["variant"], found["num_classes"], found["image_side"]) == (
        "safetensors",
        "tiny_vgg",
        5,
        64,
    )
    assert err == "vgg_viz export: left out: 1 specimens: pictures do not travel in safetensors\n"
    assert main(["export", str(tmp_path / "a.pt"), str(tmp_path / "b.safetensors")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vgg_viz export: 'b.safetensors' exists already")
    assert main(["export", "vgg11", str(tmp_path / "missing" / "b.onnx")]) == 2
    assert (
        main(["export", str(tmp_path / "a.pt"), str(tmp_path / "b.safetensors"), "--force", "--mean", "0.5,0.5,0.5"])
        == 0
    )
    assert load(tmp_path / "b.safetensors").architecture.mean == (0.5, 0.5, 0.5)
