"""Whatever comes under a keyword of the front door is of its kind, or refused in one sentence before anything is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vgg_viz
from vgg_viz.attribution import Against
from vgg_viz.errors import InputRefused
from vgg_viz.records import Neuron

ANYTHING = {
    "none": None,
    "number": 7.5,
    "negative": -1,
    "nan": float("nan"),
    "truth": True,
    "text": "no such thing",
    "bytes": b"x",
    "list": ["a", None],
    "mapping": {"a": 1},
    "tensor": torch.rand(3),
    "object": object(),
}
PICTURE = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
NOWHERE = Path("no such folder") / "x" / "y"

Door = Callable[[nn.Module, Any], object]
# Each keyword, and which of the things above it may take: none of these calls comes further than the door.
DOORS: dict[str, tuple[Door, set[str]]] = {
    "attribute method": (lambda m, v: vgg_viz.attribute(m, PICTURE, v), set()),
    "attribute target": (lambda m, v: vgg_viz.attribute(m, PICTURE, target=v), set()),
    "attribute against": (lambda m, v: vgg_viz.attribute(m, PICTURE, target=Against(0, v)), set()),
    "attribute neuron": (lambda m, v: vgg_viz.attribute(m, PICTURE, target=Neuron(v, 0)), set()),
    "attribute channel": (lambda m, v: vgg_viz.attribute(m, PICTURE, target=Neuron("conv1_1", v)), set()),
    "attribute row": (lambda m, v: vgg_viz.attribute(m, PICTURE, target=Neuron("conv1_1", 0, v, 0)), set()),
    "attribute labels": (lambda m, v: vgg_viz.attribute(m, PICTURE, target="true", labels=v), set()),
    "attribute layer": (lambda m, v: vgg_viz.attribute(m, PICTURE, layer=v), {"none"}),
    "attribute options": (lambda m, v: vgg_viz.attribute(m, PICTURE, options=v), set()),
    "activations layers": (lambda m, v: vgg_viz.activations(m, PICTURE, v), {"none"}),
    "load source": (lambda _m, v: vgg_viz.load(v), {"none"}),
    "load arch": (lambda _m, v: vgg_viz.load(arch=v), {"none"}),
    "load classes": (lambda _m, v: vgg_viz.load(classes=v), {"none"}),
    "load image_size": (lambda _m, v: vgg_viz.load(image_size=v), {"none"}),
    "load padding": (lambda _m, v: vgg_viz.load(padding=v), {"none"}),
    "load mean": (lambda _m, v: vgg_viz.load(mean=v), {"none", "tensor"}),
    "load std": (lambda _m, v: vgg_viz.load(std=v), {"none", "tensor"}),
    "load key": (lambda _m, v: vgg_viz.load(key=v), {"none"}),
    "load seed": (lambda _m, v: vgg_viz.load("tiny_vgg", seed=v), set()),
    "predict images": (lambda _m, v: vgg_viz.predict(None, v), set()),
    "predict source": (lambda _m, v: vgg_viz.predict(v, PICTURE), {"none"}),
    "predict seed": (lambda _m, v: vgg_viz.predict(None, PICTURE, seed=v), set()),
    "predict device": (lambda _m, v: vgg_viz.predict(None, PICTURE, device=v), set()),
    "predict overrides": (lambda _m, v: vgg_viz.predict(None, PICTURE, overrides=v), {"none"}),
    "evaluate data": (lambda _m, v: vgg_viz.evaluate(None, v, limit=4), {"none"}),
    "evaluate limit": (lambda _m, v: vgg_viz.evaluate(None, limit=v), set()),
    "evaluate dense": (lambda _m, v: vgg_viz.evaluate(None, dense=v, limit=4), {"truth"}),
    "explain image": (lambda _m, v: vgg_viz.explain(None, v, out=NOWHERE), set()),
    "explain methods": (lambda _m, v: vgg_viz.explain(None, PICTURE, methods=v, out=NOWHERE), set()),
    "explain target": (lambda _m, v: vgg_viz.explain(None, PICTURE, target=v, out=NOWHERE), {"none"}),
    "explain unit": (lambda _m, v: vgg_viz.explain(None, PICTURE, unit=v, out=NOWHERE), {"none"}),
    "explain preset": (lambda _m, v: vgg_viz.explain(None, PICTURE, preset=v, out=NOWHERE), set()),
    "explain force": (lambda _m, v: vgg_viz.explain(None, PICTURE, force=v, out=NOWHERE), {"truth"}),
    "report budget": (lambda _m, v: vgg_viz.report(None, budget=v, out="x" * 300), {"none", "number"}),
    "report device": (lambda _m, v: vgg_viz.report(None, device=v, out="x" * 300), set()),
    "report out": (lambda _m, v: vgg_viz.report(None, out=v, preset="no such"), set()),
    "report progress": (lambda _m, v: vgg_viz.report(None, progress=v, preset="no such"), set()),
    "audit classes": (lambda _m, v: vgg_viz.audit(None, classes=v), set()),
    "compare first": (lambda _m, v: vgg_viz.compare(v, "no such file", out=NOWHERE), set()),
    "timeline run": (lambda _m, v: vgg_viz.timeline(v, out=NOWHERE), set()),
    "read_images path": (lambda _m, v: vgg_viz.read_images(v), set()),
    "read_images side": (lambda _m, v: vgg_viz.read_images(PICTURE, image_side=v), set()),
    "read_images limit": (lambda _m, v: vgg_viz.read_images(PICTURE, limit=v), {"none"}),
    "specimens": (lambda _m, v: vgg_viz.specimens(v), set()),
    "plot_activations": (lambda _m, v: vgg_viz.plot_activations(v, "conv1_1"), set()),
    "export": (lambda _m, v: vgg_viz.export(v, "x.onnx"), set()),
    "export path": (lambda _m, v: vgg_viz.export(vgg_viz.load(), v), set()),
    "save path": (lambda _m, v: vgg_viz.save(v, vgg_viz.load()), {"text"}),
    "save": (lambda _m, v: vgg_viz.save("x.pt", v), set()),
}


@pytest.mark.parametrize("door", DOORS)
def test_anything_at_all_under_a_keyword_is_of_its_kind_or_refused_in_one_sentence(tiny, door, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, fitting = DOORS[door]
    for name in ANYTHING.keys() - fitting:
        with pytest.raises(InputRefused) as refusal:
            call(tiny, ANYTHING[name])
        assert "\n" not in str(refusal.value), name
    assert not list(tmp_path.iterdir())


def test_a_keyword_of_load_that_does_not_exist_is_named_with_its_neighbour():
    with pytest.raises(InputRefused, match="did you mean 'image_size'"):
        vgg_viz.predict(None, PICTURE, overrides={"image_sise": 64})
    with pytest.raises(InputRefused, match="did you mean 'mean'"):
        vgg_viz.report(None, overrides={"meen": (0, 0, 0)})


def test_one_name_stands_for_a_list_of_one(tmp_path):
    vgg_viz.explain(None, PICTURE, methods="saliency", out=tmp_path / "one.png", preset="quick")
    vgg_viz.explain(None, PICTURE, methods=["saliency"], out=tmp_path / "list.png", preset="quick")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "list.png").read_bytes()
    assert set(vgg_viz.activations(vgg_viz.build("tiny_vgg"), PICTURE, "conv1_1").maps) == {"conv1_1"}


def test_numbers_of_numpy_and_torch_are_numbers():
    import numpy as np

    checkpoint = vgg_viz.load(mean=np.full(3, 0.5), std=torch.full((3,), 0.25), image_size=np.int64(64))
    assert checkpoint.architecture.mean == (0.5, 0.5, 0.5)
    assert checkpoint.architecture.std == (0.25, 0.25, 0.25)
