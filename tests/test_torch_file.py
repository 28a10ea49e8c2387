"""Files of torch.save: harmless types open, what would run is refused with all its names, other files are called what they are."""

from __future__ import annotations

import argparse
import collections
import datetime
import os
import pathlib
import shlex
import subprocess
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import PlainVGG, settled
from test_formats import same_logits
from torch import nn

from vgg_viz.errors import CheckpointRefused
from vgg_viz.models.checkpoint import load
from vgg_viz.models.containers.torch_file import harmless, unsafe_globals


def network() -> PlainVGG:
    made = PlainVGG("vgg11", classifier=nn.Linear(64, 5))
    settled(made)
    return made


HARMLESS: dict[str, Any] = {
    "arguments": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("runs"), layers=[1, 2]),
    "simple namespace": types.SimpleNamespace(a=1),
    "paths": [pathlib.Path("runs/first"), pathlib.PureWindowsPath("C:/runs")],
    "numpy scalars": [np.float64(0.9), np.float32(1), np.int64(3), np.bool_(True), np.str_("x")],
    "numpy arrays": [np.arange(6).reshape(2, 3), np.ones(2, np.float16), np.array(["a", "bc"])],
    "default dict": collections.defaultdict(list, {"loss": [1.0]}),
    "ordered": collections.OrderedDict(a=1),
    "counter": collections.Counter("aab"),
    "sets and complex": [{1, 2}, 3j, b"bytes", bytearray(b"x")],
    "a buffer beside a seed": [bytearray(b"x"), 2**64 - 1],
    "torch's own values": [torch.Size([1, 2]), torch.device("cpu"), torch.float16, nn.Parameter(torch.ones(2))],
    "points in time": [datetime.datetime(2024, 1, 2, 3, 4), datetime.timedelta(seconds=3), datetime.date(2024, 1, 2)],
}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_things_beside_the_weights_open(name: str, old: bool, tmp_path: Path) -> None:
    made = network()
    stored = {"state_dict": made.state_dict(), "beside": HARMLESS[name]}
    torch.save(stored, tmp_path / "x.pt", _use_new_zipfile_serialization=not old)
    assert same_logits(load(tmp_path / "x.pt"), made, 32)


def test_a_windows_path_opens_everywhere(tmp_path: Path) -> None:
    torch.save({"model": network().state_dict(), "out": pathlib.PurePosixPath("x")}, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as old, zipfile.ZipFile(tmp_path / "y.pt", "w") as new:
        for record in old.infolist():
            content = old.read(record)
            if record.filename.endswith("data.pkl"):
                assert b"PurePosixPath" in content
                content = content.replace(b"PurePosixPath", b"WindowsPath")
            new.writestr(record.filename, content)
    assert load(tmp_path / "y.pt").architecture.num_classes == 5


def test_lightnings_attribute_dict_is_read_as_a_dict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = types.ModuleType("pytorch_lightning.utilities.parsing")
    kind = type("AttributeDict", (dict,), {"__module__": home.__name__})
    home.AttributeDict = kind  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        for name in ("pytorch_lightning", "pytorch_lightning.utilities"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        patch.setitem(sys.modules, home.__name__, home)
        torch.save(
            {"state_dict": network().state_dict(), "hyper_parameters": kind(classes=list("abcde"))}, tmp_path / "x.pt"
        )
    assert load(tmp_path / "x.pt").classes == tuple("abcde")


def test_nothing_on_the_list_looks_up_code_or_touches_a_disk() -> None:
    allowed = [entry[0] if isinstance(entry, tuple) else entry for entry in harmless()]
    forbidden = (
        getattr,
        eval,
        exec,
        open,
        __import__,
        map,
        type,
        pathlib.Path,
        pathlib.PosixPath,
        os.system,
        np.load,
        np.fromfile,
    )
    assert not [one for one in allowed if any(one is other for other in forbidden)]


class Runs:
    """Unpickling this makes a folder."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


def planted() -> dict[str, Any]:
    return {
        "state_dict": network().state_dict(),
        "a": Runs(os.mkdir, "owned"),
        "b": Runs(eval, "__import__('os').mkdir('owned')"),
        "c": Runs(subprocess.Popen, ["mkdir", "owned"]),
    }


@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_that_would_run_is_refused_with_every_name_in_it(
    old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(planted(), tmp_path / "x.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(CheckpointRefused, match="would run code to open") as refused:
        load(tmp_path / "x.pt")
    said = str(refused.value)
    assert all(name in said for name in ("mkdir", "eval", "Popen"))
    assert 'weights_only=False)["state_dict"]' in said
    assert "\n" not in said
    assert not (tmp_path / "owned").exists()


class Own(nn.Sequential):
    """A class that only its own script has."""


@pytest.mark.parametrize("old", [False, True])
def test_a_whole_network_is_called_so_and_the_command_that_is_named_converts_it(old: bool, tmp_path: Path) -> None:
    made = settled(
        nn.Sequential(PlainVGG("vgg11", classifier=nn.Linear(64, 5)).features, nn.Flatten(), nn.Linear(64, 5))
    )
    torch.save(made, tmp_path / "it's a net.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(CheckpointRefused, match=r"a whole network pickled by torch\.save\(model\)") as refused:
        load(tmp_path / "it's a net.pt")
    said = str(refused.value)
    assert all(name in said for name in unsafe_globals(tmp_path / "it's a net.pt"))
    assert "torch.nn.modules.conv.Conv2d" in said
    command = shlex.split(said.partition("run python ")[2].rpartition(" and give that file")[0])
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, capture_output=True)
    back = load(tmp_path / "it's a net-weights.pt")
    assert same_logits(back, made, 32)


def test_the_command_named_for_a_dict_keeps_the_weights_alone(tmp_path: Path) -> None:
    made = network()
    torch.save(
        {"model_state_dict": made.state_dict(), "when": Runs(complex, 1, 2), "who": Runs(os.getcwd)}, tmp_path / "x.pt"
    )
    with pytest.raises(CheckpointRefused, match="getcwd") as refused:
        load(tmp_path / "x.pt")
    command = shlex.split(str(refused.value).partition("run python ")[2].rpartition(", which keeps")[0])
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, capture_output=True)
    assert same_logits(load(tmp_path / "x-weights.pt"), made, 32)


def test_there_is_no_switch_that_runs_a_pickle() -> None:
    source = Path(load.__code__.co_filename).parent
    for file in source.rglob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if "weights_only" in line and "=False" in line.replace(" ", ""):
                assert "_command(" in line, f"{file.name}: {line}"  # a sentence for the user, not a call


# ---------------------------------------------------------------- other files


def test_torchscript_is_called_so(tmp_path: Path) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network(), torch.rand(1, 3, 32, 32)).save(str(tmp_path / "x.pt"))
    with pytest.raises(CheckpointRefused, match=r"is a TorchScript archive .*torch\.jit\.load\(.x\.pt."):
        load(tmp_path / "x.pt")


def test_an_exported_program_is_called_so(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(network(), (torch.rand(1, 3, 32, 32),)), tmp_path / "x.pt2")
    with pytest.raises(CheckpointRefused, match=r"a program written by torch\.export"):
        load(tmp_path / "x.pt2")


def test_a_checkpoint_that_was_compressed_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save({"model": network().state_dict()}, tmp_path / "x.pt")
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as old,
        zipfile.ZipFile(tmp_path / "y.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for record in old.infolist():
            new.writestr(record.filename, old.read(record))
    with pytest.raises(CheckpointRefused, match="was compressed after"):
        load(tmp_path / "y.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x1f\x8b\x08" + bytes(60), "a gzip archive"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "PNG"),
        (b"hello", "a text file"),
        (bytes(range(200)), "damaged"),
    ],
)
def test_another_kind_of_file_is_called_what_it_is(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointRefused, match=words):
        load(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors", "x.h5", "x.keras"])
def test_a_git_lfs_pointer_is_told_apart_from_the_file_it_stands_for(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(
        CheckpointRefused, match="is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"
    ):
        load(tmp_path / name)


def test_what_was_imported_first_does_not_decide_what_a_file_is(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(network().state_dict(), tmp_path / "x.safetensors")
    program = (
        "import sys, pathlib, vgg_viz.models.containers.torch_file\n"
        "print(vgg_viz.models.containers.open_file(pathlib.Path(sys.argv[1])).container)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "x.safetensors")]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "safetensors\n"), done.stderr


def test_an_archive_that_claims_to_lie_on_several_disks_is_refused_in_a_sentence(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "net.pt")
    raw = bytearray((tmp_path / "net.pt").read_bytes())
    locator = raw.rindex(b"PK\x06\x07")  # of the zip64 directory: signature, disk, place (8 bytes), number of disks
    raw[locator + 16] = 5
    (tmp_path / "net.pt").write_bytes(raw)
    with pytest.raises(CheckpointRefused, match=r"'net\.pt'"):
        load(tmp_path / "net.pt")


def test_an_archive_of_something_else_is_called_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("best.pt", "inside")
    with pytest.raises(
        CheckpointRefused, match=r"a zip archive \('best.pt'\) that torch.save did not write; give the .pt file inside"
    ):
        load(tmp_path / "x.pt")


# ---------------------------------------------------------------- finite, without making the file resident


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("old", [False, True])
def test_one_number_that_is_none_is_found_wherever_it_lies(bad: float, old: bool, tmp_path: Path) -> None:
    weights = network().state_dict()
    weights["features.18.weight"][-1, -1, -1, -1] = bad
    torch.save(weights, tmp_path / "x.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(CheckpointRefused, match=r"features\.18\.weight \(1 of 36864\)"):
        load(tmp_path / "x.pt")


def test_a_sum_that_overflows_is_no_infinity(tmp_path: Path) -> None:
    weights = network().state_dict()
    weights["classifier.weight"].fill_(3e38)
    torch.save(weights, tmp_path / "x.pt")
    assert load(tmp_path / "x.pt").weights["classifier.0.weight"].max() > 2e38


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell what is mapped")
def test_looking_at_every_weight_does_not_make_the_file_resident(tmp_path: Path) -> None:
    weights = settled(PlainVGG("vgg11", width=1, classifier=nn.Linear(512, 60_000))).state_dict()
    torch.save(weights, tmp_path / "big.pt")
    program = (
        "import sys, vgg_viz.models.checkpoint as c\n"
        "from pathlib import Path\n"
        "kept = lambda: sum(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith(('RssFile', 'RssAnon')))\n"
        "before = kept(); one = c.read_checkpoint(Path(sys.argv[1]))\n"
        "c.require_finite(one.weights, Path(sys.argv[1])); print(kept() - before)"
    )
    size = (tmp_path / "big.pt").stat().st_size / 1024
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "big.pt")], capture_output=True, text=True, check=True
    )
    assert size > 150_000
    assert int(done.stdout) < 0.4 * size  # KiB; summing the map would have kept all of it
