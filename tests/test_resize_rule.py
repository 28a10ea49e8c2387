"""How pictures are fitted to what a network reads: one rule for pictures, folders, masks, boxes, the live page, and files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

import vgg_viz
from vgg_viz.cli import main
from vgg_viz.data.folder import open_folder, read_folder, read_images
from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.maths.fitting import fit, fitting_text
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.models.export import export
from vgg_viz.records import Checkpoint, Resize
from vgg_viz.serve.network import ServedNetwork
from vgg_viz.studies.picture import prepared

SIDE = 24
RULES = [
    Resize(SIDE),
    Resize(SIDE, 30),
    Resize(SIDE, squash=True),
    Resize(SIDE, 30, True),
    Resize(SIDE, 27, interpolation="bicubic"),
]


def torchvisions(rule: Resize) -> v2.Compose:
    """The same by torchvision: the oracle."""
    length = rule.shorter or rule.side
    size = [length, length] if rule.squash else [length]
    return v2.Compose(
        [v2.Resize(size, v2.InterpolationMode(rule.interpolation), antialias=True), v2.CenterCrop(rule.side)]
    )


@given(st.integers(8, 90), st.integers(8, 90), st.sampled_from(RULES))
def test_a_picture_is_fitted_as_torchvision_does_it(height: int, width: int, rule: Resize) -> None:
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(height * 100 + width))
    seen = fit(image, rule)
    assert seen.shape == (3, SIDE, SIDE)
    if max(height, width) <= 4 * min(
        height, width
    ):  # of a longer strip the ends go first: other weights at the far ends alone
        assert torch.allclose(seen, torchvisions(rule)(image).clamp(0, 1), atol=1e-6)


def test_a_number_is_the_usual_rule() -> None:
    image = torch.rand(2, 3, 40, 60)
    assert torch.equal(fit(image, SIDE), fit(image, Resize(SIDE)))
    assert fitting_text(Resize(224, 256)) == "the centre 224 px of a picture whose shorter side has 256 px"


def dotted(height: int = 60, width: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """A bright rectangle, and where it is; left of the middle, so that each rule moves it elsewhere."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[16:44, 20:60] = True
    return torch.where(mask, 1.0, 0.0).expand(3, -1, -1).clone(), mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes: pictures of one with a mask, those of the other with a box around the same rectangle."""
    image, mask = dotted()
    for name in ("masked", "boxed"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "one.png").write_bytes(encode_png(image))
    (tmp_path / "data" / "masks" / "masked").mkdir(parents=True)
    (tmp_path / "data" / "masks" / "masked" / "one.png").write_bytes(encode_png(mask.float()[None]))
    (tmp_path / "data" / "boxes.csv").write_text("file,x1,y1,x2,y2,label\nboxed/one.png,20,16,60,44,boxed\n")
    return tmp_path / "data"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.shorter} {rule.squash} {rule.interpolation}")
def test_masks_and_boxes_follow_their_pictures(rule: Resize, folder: Path) -> None:
    batch = read_folder(open_folder(folder), image_side=rule)
    assert torch.equal(batch.images[0], fit(dotted()[0], rule))
    assert torch.equal(batch.masks, batch.images[:, 0] >= 0.5)  # the rectangle is where it is bright
    assert sorted(batch.boxed.tolist()) == [False, True]
    alone = read_images(folder / "masked" / "one.png", image_side=rule)
    assert torch.equal(alone.images[0], batch.images[0])
    assert torch.equal(read_images(dotted()[0], image_side=rule).images[0], fit(dotted()[0], rule))


def network(folder: Path, **beside: Any) -> Path:
    """A course's Tiny VGG of two classes as a foreign state dict."""
    weights = build("tiny_vgg", image_side=SIDE, num_classes=2, width=0.4, seed=3).state_dict()
    torch.save({"state_dict": weights, **beside}, folder / "net.pt")
    return folder / "net.pt"


def test_every_command_reads_pictures_by_the_rule(folder: Path, tmp_path: Path, capsys) -> None:
    file, picture = network(tmp_path), folder / "masked" / "one.png"
    told = {}
    for rule, word in ((RULES[0], None), (RULES[1], "30"), (RULES[2], "squash")):
        checkpoint = load(file, resize=word)
        assert checkpoint.fitting == rule
        seen = fit(torch.from_numpy(np.array(Image.open(picture))).permute(2, 0, 1) / 255, rule)[None]
        with torch.no_grad():
            logits = build(checkpoint)(seen)[0].tolist()
        option = ["--resize", word] if word else []
        assert main(["predict", str(file), str(picture), "--json", *option]) == 0
        assert json.loads(capsys.readouterr().out)["images"][0]["logits"] == pytest.approx(logits, abs=1e-5)
        batch, _, said = prepared(picture, checkpoint)
        assert torch.allclose(batch.images, seen, atol=1e-6)
        assert fitting_text(rule) in said[0] or "its centre square" in said[0]
        assert torch.allclose(ServedNetwork(checkpoint).prepared(picture.read_bytes()), seen, atol=1e-6)
        assert main(["evaluate", str(file), "--data", str(folder), "--json", *option]) == 0
        assert json.loads(capsys.readouterr().out)["n"] == 2
        told[word] = logits
    assert len({round(logits[0], 4) for logits in told.values()}) == 3  # the rules differ where it matters
    overridden = vgg_viz.predict(file, picture, overrides={"resize": "30"}).images[0]["logits"]
    assert overridden == pytest.approx(told["30"], abs=1e-5)


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("20", "came for a network that reads 24 px"),
        ("big", "'big' is no rule"),
        ("-3", "no rule"),
        ("99999", "give 24 to 8192"),
    ],
)
def test_what_is_no_rule_is_refused_in_a_sentence(word: str, words: str, tmp_path: Path, capsys) -> None:
    assert main(["inspect", str(network(tmp_path)), f"--resize={word}"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


NOTED: dict[str, tuple[dict[str, Any], Resize | None]] = {
    "timm's share": ({"crop_pct": 0.8}, Resize(SIDE, 30)),
    "timm's squash": ({"crop_pct": 0.8, "crop_mode": "squash", "interpolation": "bicubic"}, Resize(SIDE, 30, True, "bicubic")),
    "timm's border, which is not done": ({"crop_pct": 0.8, "crop_mode": "border"}, None),
    "torchvision's training": ({"args": argparse.Namespace(val_resize_size=30, val_crop_size=SIDE)}, Resize(SIDE, 30)),
    "a length below the side": ({"args": argparse.Namespace(val_resize_size=20)}, None),
    "Hugging Face's edge": ({"config": {"size": {"shortest_edge": 30}, "resample": 3}}, Resize(SIDE, 30, False, "bicubic")),
    "Hugging Face's square": ({"config": {"size": {"height": SIDE, "width": SIDE}}}, Resize(SIDE, squash=True)),
    "nonsense": ({"crop_pct": "0.8", "size": [30], "resize_size": True}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTED)
def test_what_a_file_says_of_its_pictures_is_used_and_said(name: str, tmp_path: Path) -> None:
    beside, rule = NOTED[name]
    checkpoint = load(network(tmp_path, image_size=SIDE, **beside))
    assert checkpoint.resize == rule
    said = " ".join(map(str, checkpoint.provenance.evidence))
    assert (f"The network sees {fitting_text(rule)}, since " in said) if rule else ("The network sees" not in said)
    assert ("fitted by 'border', which is not done here" in said) is ("border" in name)
    assert (
        load(network(tmp_path, image_size=SIDE, **beside), resize=SIDE).resize is None
    )  # the user's word counts before


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("rule", [*RULES[1:], None], ids=str)
def test_the_rule_travels_in_this_packages_own_files(rule: Resize | None, suffix: str, tmp_path: Path) -> None:
    about = architecture("tiny_vgg", image_side=SIDE, num_classes=2, width=0.3)
    one = Checkpoint(about, ("a", "b"), build(about, seed=1).state_dict(), resize=rule)
    file = tmp_path / f"own{suffix}"
    if suffix == ".pt":
        save(file, one)
    else:
        export(one, file)
    assert load(file).resize == rule


@pytest.mark.parametrize(
    "value", [{"shorter": 5}, {"shorter": "30", "squash": False}, "30", {"shorter": None, "squash": 1}, []]
)
def test_a_rule_in_an_own_file_that_is_none_is_refused(value: Any, tmp_path: Path) -> None:
    about = architecture("tiny_vgg", image_side=SIDE, num_classes=2, width=0.3)
    save(tmp_path / "own.pt", Checkpoint(about, ("a", "b"), build(about, seed=1).state_dict()))
    whole = torch.load(tmp_path / "own.pt", weights_only=True)
    torch.save({**whole, "resize": value}, tmp_path / "own.pt")
    with pytest.raises(CheckpointRefused, match="no rule for pictures"):
        load(tmp_path / "own.pt")


def test_torchvisions_imagenet_networks_see_the_centre_of_256_px_and_others_do_not(tmp_path: Path) -> None:
    for classes, rule in ((1000, Resize(224, 256)), (10, None)):
        about = architecture("vgg11", width=1 / 32, head=(8, 8), num_classes=classes)
        torch.save(build(about, seed=1).state_dict(), tmp_path / "tv.pt")
        found = load(tmp_path / "tv.pt")
        assert found.provenance.format == "torchvision"
        assert found.resize == rule
        assumed = [one for one in found.provenance.evidence if "--resize" in one.settled_by]
        assert len(assumed) == bool(rule)
    with pytest.raises(InputRefused, match="reads 64 px"):
        load("tiny_vgg", resize=32)
    assert load("tiny_vgg", resize=72).fitting == Resize(64, 72)


def test_two_networks_with_two_rules_see_the_same_pictures_each_in_its_own(folder: Path, tmp_path: Path) -> None:
    from vgg_viz.studies.pair_inputs import _both

    one, other = load(network(tmp_path)), load(network(tmp_path), resize="squash")
    seen = _both(one, other, lambda rule: read_images(folder / "masked", image_side=rule))
    assert torch.equal(seen[0].images[0], fit(dotted()[0], RULES[0]))
    assert torch.equal(seen[1].images[0], fit(dotted()[0], RULES[2]))


# ---------------------------------------------------------------- which rule a file wants


@pytest.fixture
def wants_squash(tmp_path: Path) -> tuple[Path, Path]:
    """A network, and wide pictures whose classes are what it answers where they are squashed: it was trained so, as it were."""
    weights = build("tiny_vgg", image_side=SIDE, num_classes=2, width=0.4, seed=3).state_dict()
    weights = {
        key: value * (6 if key.endswith("classifier.1.weight") else 1) for key, value in weights.items()
    }  # sure of itself
    torch.save({"state_dict": weights, "classes": ["a", "b"]}, tmp_path / "net.pt")
    model, dice = build(load(tmp_path / "net.pt")), torch.Generator().manual_seed(5)
    small = torch.rand(60, 3, 3, 9, generator=dice)
    images = torch.nn.functional.interpolate(small, size=(30, 90), mode="bilinear").mul(255).round().div(255)
    with torch.no_grad():
        answers = model(fit(images, Resize(SIDE, squash=True)))
    margins = answers[:, 0] - answers[:, 1]
    middle = margins.sort().values[29:31].mean()
    for n, (image, first) in enumerate(zip(images, (margins > middle).tolist(), strict=True)):
        place = tmp_path / "wide" / ("a" if first else "b")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{n}.png").write_bytes(encode_png(image))
    bias = middle.item() / 2
    weights["classifier.1.bias"] = weights["classifier.1.bias"] + torch.tensor([-bias, bias])
    torch.save({"state_dict": weights, "classes": ["a", "b"]}, tmp_path / "net.pt")
    return tmp_path / "net.pt", tmp_path / "wide"


def test_labelled_pictures_tell_which_rule_fits_and_nothing_is_changed(wants_squash, capsys) -> None:
    net, data = wants_squash
    assert main(["inspect", str(net), "--data", str(data), "--json"]) == 0
    rules = json.loads(capsys.readouterr().out)["resize_rules"]
    assert [rule["option"] for rule in rules] == ["--resize 24", "--resize 27", "--resize squash"]
    assert [rule["in_use"] for rule in rules] == [True, False, False]
    assert [rule["better"] for rule in rules] == [False, False, True]
    assert rules[2]["top1"] == 1
    assert main(["evaluate", str(net), "--data", str(data), "--test-resize"]) == 0
    said = capsys.readouterr().out
    assert "add --resize squash if that is how it was trained" in said
    assert main(["evaluate", str(net), "--data", str(data), "--test-resize", "--resize", "squash", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["top1"] == 1
    assert not any(rule["better"] for rule in found["resize_rules"])


def test_square_pictures_are_not_tried_twice_and_too_few_are_refused(wants_squash, folder, tmp_path, capsys) -> None:
    net, data = wants_squash
    for file in data.rglob("*.png"):
        Image.open(file).crop((0, 0, 30, 30)).save(file)
    assert main(["inspect", str(net), "--data", str(data), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["resize_rules"]) == 2
    assert main(["inspect", str(network(tmp_path, classes=["boxed", "masked"])), "--data", str(folder)]) == 2
    assert "2 labelled pictures came, at least 16 are needed" in capsys.readouterr().err
    assert main(["evaluate", "--test-resize"]) == 2
    assert "give labelled ones with --data DIR" in capsys.readouterr().err
