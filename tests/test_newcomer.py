"""A new method in one new file works everywhere at once, whoever looks first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NEWCOMER = """
import torch
from vgg_viz.attribution.cam_reduction import cam
from vgg_viz.attribution.method import Map, method


@method("squared_saliency", title="Squared saliency", family="gradient", signed=False, unit="(logit / intensity)^2", about="Squared.",
        source="A trial, 2026", passes=lambda options, side: 2)
def squared_saliency(model, images, targets, options):
    score = model(images.requires_grad_()).gather(1, targets[:, None]).sum()
    return Map(torch.autograd.grad(score, images)[0].square().sum(1), passes=2)


@cam("twice_cam", title="Twice CAM", weighs=False, about="Twice what HiRes-CAM says.", source="A trial, 2026")
def twice_cam(block):
    return 2 * block.product.sum(2)
"""

# What each room says, in the order in which faults of old would have shown: a registry was as full as the imports before it.
ROOMS = """
import json, sys
import torch
import vgg_viz.attribution
import vgg_viz.attribution.single_pass
sys.modules["vgg_viz.attribution.methods"].__path__.append(sys.argv[1])  # for this process the file lies in the room

from vgg_viz.attribution.cam_reduction import CAMS
said = {"CAMS, at the first look": list(CAMS)}
from vgg_viz.attribution.single_pass import SHARED
said["one pass"] = list(SHARED)
from vgg_viz.attribution import attribute, cams_all_layers, methods
said["methods()"] = list(methods())
from vgg_viz.records import Checkpoint
from vgg_viz.models.build import architecture, build
wanted = architecture("tiny_vgg", image_side=32, num_classes=3, width=0.4)
model, names, images = build(wanted, seed=1).eval(), ("a", "b", "c"), torch.rand(1, 3, 32, 32)
maps = cams_all_layers(model, images, 1)
said["maps of one pass"] = list(maps)
twice = attribute(model, images, method="twice_cam", target=1, layer="relu2_1").values
said["attribute"] = [name for name in ("twice_cam",) if torch.equal(twice, maps[name]["relu2_1"].values)]
said["attribute"] += ["squared_saliency"] * bool(attribute(model, images, method="squared_saliency").values.any())
from vgg_viz.studies.picture_request import understood
said["explain --method"] = list(understood(model, names, by=["squared_saliency,twice_cam"]).methods)
from vgg_viz.studies.preset import preset_for
said["report --preset full"] = list(preset_for("full", 0.1).methods)
said["report --preset quick"] = list(preset_for("quick", 0.1).methods)
from vgg_viz.serve.network import Network
network = Network(Checkpoint(wanted, names, model.state_dict()))
said["serve's list"] = list(network.methods)
said["serve's wish"] = list(network.wish({"methods": ["squared_saliency", "twice_cam"], "classes": [0]}).methods)
print(json.dumps(said))
"""

CAMS_ALONE = {"CAMS, at the first look", "one pass", "maps of one pass"}


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict[str, list[str]]:
    room = tmp_path_factory.mktemp("newcomer")
    (room / "squared.py").write_text(NEWCOMER, encoding="utf-8")
    house = Path(__file__).resolve().parent.parent
    line, around = [sys.executable, "-c", ROOMS, str(room)], os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=house, env=around, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_a_method_and_a_formula_in_one_new_file_are_known_in_every_room(said):
    newcomers = {"squared_saliency", "twice_cam"}
    missing = {
        room: newcomers - set(names) - ({"squared_saliency"} if room in CAMS_ALONE else set())
        for room, names in said.items()
    }
    assert {room: names for room, names in missing.items() if names} == {}


def test_a_newcomer_stands_behind_those_who_lead_its_family(said):
    assert said["CAMS, at the first look"][-1] == "twice_cam"
    names = said["methods()"]
    assert names.index("grad_cam") < names.index("twice_cam") < names.index("occlusion")
