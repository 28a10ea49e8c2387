"""Published weights by name: torchvision's loader and cache, what it says of them, and a sentence where they cannot be had."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torchvision.models import VGG16_Weights, get_model_weights, list_models
from torchvision.models._api import Weights, WeightsEnum

from vgg_viz.cli import main
from vgg_viz.errors import CheckpointRefused, UnknownName
from vgg_viz.models import published as module
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.published import Published, all_published, fetched, published, with_facts
from vgg_viz.records import Resize
from vgg_viz.studies.inputs import open_checkpoint


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Torchvision's cache in a folder of the test's own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def small(file: Path, name: str = "vgg11", classes: int = 1000) -> dict[str, torch.Tensor]:
    """A network of that plan, a thirty-second as wide, under torchvision's names."""
    weights = build(architecture(name, width=1 / 32, head=(32, 32), num_classes=classes), seed=1).state_dict()
    torch.save(weights, file)
    return weights


def test_every_set_of_weights_of_every_vgg_of_torchvision_has_a_name() -> None:
    wanted = {(name, one) for name in list_models(include="vgg*") for one in get_model_weights(name)}
    assert {(one.network, one.weights) for one in all_published()} == wanted
    for one in all_published():
        assert published(one.name) == one
        assert published(one.name.upper()) == one
        assert published(f"{one.network}:{one.weights}") == one
        assert published(f"{one.network}:imagenet").weights is type(one.weights).DEFAULT
    assert published("vgg16:imagenet1k_features").weights is VGG16_Weights.IMAGENET1K_FEATURES


@pytest.mark.parametrize(
    "source", ["vgg16", "folder/vgg16:imagenet", "net.pth", None, "foo:bar", "C:\\nets\\vgg16.pth", "tiny_vgg"]
)
def test_what_names_no_published_weights_is_a_file_or_a_variant(source: str | None) -> None:
    assert published(source) is None


def test_a_file_of_that_name_is_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small(Path("vgg11:imagenet"))
    assert published("vgg11:imagenet") is None
    assert load("vgg11:imagenet").provenance.format == "torchvision"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("vgg16:cifar", "known are: imagenet, imagenet1k_v1, imagenet1k_features"),
        ("vgg11:imagenet1k_features", "known are: imagenet, imagenet1k_v1."),
        ("vgg16:", "known are: imagenet, "),
        ("vgg17:imagenet", "known are: vgg11, vgg11_bn, vgg13"),
        ("tiny_vgg:imagenet", "known are: vgg11, vgg11_bn, vgg13"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(source: str, words: str, capsys) -> None:
    with pytest.raises(UnknownName):
        published(source)
    assert main(["inspect", source]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_file_in_the_cache_comes_with_all_that_torchvision_says(cache: Path, capsys) -> None:
    weights = small(cache / "vgg11-8a719046.pth")
    found = load("vgg11:imagenet")
    assert all(torch.equal(found.weights[key], value) for key, value in weights.items() if key in found.weights)
    assert found.classes[:2] == ("tench", "goldfish")
    assert found.named
    assert found.resize == Resize(224, 256)
    assert found.provenance.accuracy.share == pytest.approx(0.6902)
    said = " ".join(map(str, found.provenance.evidence))
    for words in (
        "VGG11_Weights.IMAGENET1K_V1",
        "vgg11-8a719046.pth",
        "69.02 % right, 88.63 %",
        "Licence: ",
        "How it was trained: ",
    ):
        assert words in said
    assert not any(
        {"--classes", "--mean", "--std", "--resize"} & set(one.settled_by) for one in found.provenance.evidence
    )
    source = open_checkpoint("vgg11:imagenet", seed=0)
    assert (source.stem, source.title) == ("vgg11-imagenet1k_v1", "vgg11:imagenet1k_v1")
    assert source.sha256 == hashlib.sha256((cache / "vgg11-8a719046.pth").read_bytes()).hexdigest()
    assert main(["inspect", "vgg11:imagenet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["published"]["top1"] == 69.02


def test_the_layers_are_known_and_not_assumed_where_they_are_those_of_the_network(cache: Path) -> None:
    small(cache / "vgg11-8a719046.pth")
    found = load("vgg11:imagenet").provenance
    assert not any("--plan" in one.settled_by or one.alarm for one in (*found.evidence, *found.alternatives))
    small(cache / "vgg11-8a719046.pth", "vgg13")
    other = load("vgg11:imagenet").provenance.evidence
    assert any(one.alarm and "does not hold the layers of vgg11" in one.text for one in other)
    assert any("--plan" in one.settled_by for one in other)


def test_weights_of_features_alone_come_without_class_names(cache: Path) -> None:
    weights = small(cache / "vgg16_features-amdegroot-88682ab5.pth", "vgg16")
    empty = {key: value if key.startswith("features") else value * torch.nan for key, value in weights.items()}
    torch.save(empty, cache / "vgg16_features-amdegroot-88682ab5.pth")
    found = load("vgg16:imagenet1k_features")
    said = " ".join(map(str, found.provenance.evidence))
    assert "Mean, std are those" not in said
    assert "Mean and std are those that torchvision publishes with it." in said
    assert not any(one.alarm for one in found.provenance.evidence)


def test_what_the_user_says_stays(cache: Path) -> None:
    small(cache / "vgg11-8a719046.pth")
    names = [f"thing {i}" for i in range(1000)]
    found = load("vgg11:imagenet", mean=(0, 0, 0), std=(1, 1, 1), resize="squash", classes=names)
    assert (found.architecture.mean, found.resize, found.classes) == ((0, 0, 0), Resize(224, squash=True), tuple(names))
    assert load("vgg11:imagenet", resize=224).resize is None


def test_weights_with_values_of_their_own_bring_these(cache: Path) -> None:
    """Those for features alone: other mean and std, no classes, no accuracy."""
    weights = VGG16_Weights.IMAGENET1K_FEATURES
    small(cache / "x.pth", "vgg16", 10)
    found = with_facts(load(cache / "x.pth"), Published("vgg16", weights), ())
    assert found.architecture.std == pytest.approx((1 / 255,) * 3)
    assert found.architecture.mean == pytest.approx((0.48235, 0.45882, 0.40784))
    assert not found.named
    assert found.provenance.accuracy is None


def fake(url: str) -> Published:
    """Weights as torchvision lists them, at an address of ours."""
    listed = WeightsEnum("Fake_Weights", {"IMAGENET1K_V1": Weights(url, VGG16_Weights.DEFAULT.transforms, {})})
    return Published("vgg11", listed.IMAGENET1K_V1)


def test_torchvisions_loader_fetches_a_file_checks_its_hash_and_says_nothing_on_stdout(cache, tmp_path, capsys) -> None:
    small(tmp_path / "net.pth")
    begins = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()[:8]
    right, wrong = tmp_path / f"net-{begins}.pth", tmp_path / "net-00000000.pth"
    for file in (right, wrong):
        file.write_bytes((tmp_path / "net.pth").read_bytes())
    assert fetched(fake(right.as_uri())) == cache / right.name
    assert (cache / right.name).read_bytes() == right.read_bytes()
    right.unlink()
    assert fetched(fake(right.as_uri())) == cache / right.name  # from the cache now
    with pytest.raises(CheckpointRefused, match="invalid hash value"):
        fetched(fake(wrong.as_uri()))
    assert [file.name for file in cache.iterdir()] == [right.name]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/models/vgg11-8a719046.pth", "file:///nowhere/vgg11-8a719046.pth"])
def test_without_a_network_a_sentence_says_which_file_belongs_where(url: str, cache: Path) -> None:
    with pytest.raises(CheckpointRefused) as refused:
        fetched(fake(url))
    said = str(refused.value)
    assert "put vgg11-8a719046.pth (from " in said
    assert f"into {cache} and try again" in said
    assert "\n" not in said


def test_a_file_in_the_cache_that_is_no_checkpoint_is_refused_where_it_is_read(cache: Path, capsys) -> None:
    (cache / "vgg11-8a719046.pth").write_bytes(b"<html>not found</html>")
    assert main(["inspect", "vgg11:imagenet"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_licence_that_an_entry_names_is_told() -> None:
    assert module._origin({"license": "CC-BY-4.0"}) == ["Licence: CC-BY-4.0."]
    assert module._short(Path.home() / ".cache" / "torch") == "~/.cache/torch"
    assert module._brief(SimpleNamespace(reason=OSError(113, "No route to host"))) == "No route to host"
