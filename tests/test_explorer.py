"""The explorer's page: what travels inside it, which networks it takes, and how the gallery speaks of it."""

from __future__ import annotations

import base64
import json
import re
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from telling import tells

from vgg_viz.api import report
from vgg_viz.errors import InputRefused
from vgg_viz.gallery.explorer import Explorer, render_explorer
from vgg_viz.models.build import build
from vgg_viz.models.geometry import geometry
from vgg_viz.models.names import layers
from vgg_viz.records import Batch
from vgg_viz.studies.explorer_live import MOST_MACS, network, pictures, refusal

HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "__proto__",
    "a\u202egnp.exe",
    "",
    "{{ 7 * 7 }}",
)


@pytest.fixture(scope="module")
def tiny() -> torch.nn.Module:
    return build("tiny_vgg", seed=1, image_side=32, num_classes=6)


def payload(html: str) -> dict:
    (text,) = re.findall(r'<script type="application/json" data-part="data">(.*?)</script>', html, re.S)
    return json.loads(text)


def test_the_weights_in_the_page_are_the_networks_own(tiny):
    found = network(tiny, "abcdef")
    block = np.frombuffer(base64.b64decode(found["weights"]), "<f4")
    assert sum(step["weight"][1] + step["bias"][1] for step in found["steps"] if "weight" in step) == block.size
    modules = {layer.name: layer.module for layer in layers(tiny)}
    for step in found["steps"]:
        if step["kind"] in ("conv", "fc"):
            for name in ("weight", "bias"):
                first, count = step[name]
                assert np.array_equal(
                    block[first : first + count], getattr(modules[step["name"]], name).detach().numpy().ravel()
                )


def test_the_steps_are_the_layers_without_dropout_with_their_geometry():
    model = build("vgg11_bn", width=0.1, image_side=64, num_classes=3)
    found = network(model, "abc")["steps"]
    rows = [row for row in geometry(model) if row.kind != "drop"]
    assert [(step["name"], step["kind"], tuple(step["shape"])) for step in found] == [
        (row.name, row.kind, row.shape) for row in rows
    ]
    for step, row in zip(found, rows, strict=True):
        if step["field"]:
            assert step["field"] == {"size": row.field.size, "jump": row.field.jump, "centre": row.field.centre}
        assert (step["field"] is None) == (len(row.shape) == 1 or row.field is None)


def test_batch_norm_is_one_factor_and_one_addend_a_channel():
    model = build("vgg11_bn", width=0.1, image_side=64, num_classes=3)
    norm = next(layer.module for layer in layers(model) if layer.kind == "bn")
    with torch.no_grad():
        for values, low in ((norm.weight, -2), (norm.bias, -2), (norm.running_mean, -2), (norm.running_var, 0.1)):
            values.uniform_(low, 2)
    found = network(model, "abc")
    block = torch.from_numpy(np.frombuffer(base64.b64decode(found["weights"]), "<f4").copy())
    step = next(step for step in found["steps"] if step["kind"] == "bn")
    factor, addend = (block[step[name][0] : sum(step[name])].view(1, -1, 1, 1) for name in ("weight", "bias"))
    maps = torch.randn(2, factor.numel(), 4, 4)
    with torch.no_grad():
        assert torch.allclose(maps * factor + addend, norm(maps), atol=1e-5)


def test_pictures_travel_without_loss(tiny):
    images = torch.randint(0, 256, (2, 3, 32, 32)) / 255
    for i, found in enumerate(pictures(Batch(images, torch.tensor([4, 5]), ("a", "b")))):
        shown = np.asarray(Image.open(BytesIO(base64.b64decode(found["src"].partition(",")[2]))))
        assert np.array_equal(shown, (images[i] * 255).round().byte().permute(1, 2, 0).numpy())
        assert found["true"] == 4 + i


def test_a_network_that_is_too_large_for_the_page_is_refused_in_one_sentence():
    with torch.device("meta"):
        model = build("vgg11", num_classes=10, image_side=64)
    assert re.search("611 M", refusal(model))
    assert refusal(model).endswith(".")
    with pytest.raises(InputRefused, match="611 M"):
        network(model, ["x"] * 10)


def test_a_layer_that_the_page_does_not_have_is_refused_by_its_name():
    model = build("4+gelu M | K", num_classes=3, image_side=16)
    assert refusal(model) == ""
    model.features[1].approximate = "tanh"
    assert re.search(r"gelu1_1, GELU,", refusal(model))


@pytest.mark.parametrize(
    ("plan", "classes", "word"), [("4 M 8", 0, "no classifier"), ("4 M | K/1", 3, "a map of answers")]
)
def test_a_network_without_a_single_answer_has_no_explorer(plan, classes, word):
    with pytest.raises(InputRefused, match=word):
        network(build(plan, num_classes=classes, image_side=16), ["x"] * classes)


def test_the_largest_networks_that_run_live_stay_below_the_limit(tiny):
    small = build("vgg11", image_side=64, width=0.25, num_classes=10)
    assert refusal(tiny) == refusal(small) == ""
    assert sum(row.macs for row in geometry(small)) < MOST_MACS


def test_hostile_names_never_become_markup(tiny):
    batch = Batch(torch.rand(6, 3, 32, 32), torch.arange(6), HOSTILE)
    html = render_explorer(Explorer(HOSTILE[0], HOSTILE[1], network(tiny, HOSTILE), pictures(batch)))
    for markup in ("<script>alert", "<img src=x", "onerror=alert(1)>", "\u202e"):
        assert markup not in html
    assert payload(html)["network"]["classes"][0] == HOSTILE[0]
    assert html == render_explorer(Explorer(HOSTILE[0], HOSTILE[1], network(tiny, HOSTILE), pictures(batch)))


def test_the_policy_names_every_script_and_style_by_its_hash(tiny):
    html = render_explorer(Explorer("net", "tiny", network(tiny, "abcdef"), ()))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html).group(1).replace("&#39;", "'")
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 3
    assert not re.search(r"<[^>]+\s(style|on\w+)=", html)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    out = tmp_path_factory.mktemp("gallery")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vgg_viz.gallery.build.sections_of", lambda _kind: [])  # the figures are proved elsewhere
        report(None, out=out, preset="quick")
        report("vgg11", out=out, preset="quick", overrides={"image_size": 64})
    return out


def test_the_gallery_of_a_small_network_leads_to_its_explorer_and_back(gallery):
    folder = gallery / "sample"
    assert 'href="./explorer.html"' in (folder / "index.html").read_text(encoding="utf-8")
    html = (folder / "explorer.html").read_text(encoding="utf-8")
    assert 'href="./index.html"' in html
    assert json.loads((folder / "manifest.json").read_text())["explorer"] == {
        "file": "explorer.html",
        "live": True,
        "reason": "",
    }
    found = payload(html)
    assert len(found["pictures"]) == 12
    assert {picture["true"] for picture in found["pictures"]} == set(range(10))


def test_the_gallery_of_a_large_network_holds_what_it_said_and_says_why(gallery):
    folder = gallery / "vgg11"
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert 'href="./explorer.html"' in page
    assert "Explore the network live" not in page
    html = (folder / "explorer.html").read_text(encoding="utf-8")
    assert tells(html, "60 M and 2.5 M")
    found = payload(html)
    assert found["network"]["live"] is False
    assert all(len(picture["answers"]) == len(found["network"]["steps"]) - 1 for picture in found["pictures"])
    explorer = json.loads((folder / "manifest.json").read_text())["explorer"]
    assert explorer["file"] == "explorer.html"
    assert not explorer["live"]
    assert explorer["reason"] in html


def test_a_network_without_pictures_gets_painted_ones_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("vgg_viz.gallery.build.sections_of", lambda _kind: [])
    result = report("tiny_vgg", out=tmp_path, preset="quick")
    html = (result.index.parent / "explorer.html").read_text(encoding="utf-8")
    assert "without pictures of its own" in html
    assert all(picture["true"] is None for picture in payload(html)["pictures"])
