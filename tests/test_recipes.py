"""The recipes of docs/ARCHITECTURE.md: each block is a file, and what it adds is known in every room, whoever looks first."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(?:python|toml)\n# (vgg_viz/\S+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
RECIPES = dict(BLOCK.findall((HOUSE / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")))

# Each file lies in its room for this process. Then the rooms are asked in the order in which faults of old would have shown: a registry
# was as full as the imports before it.
ROOMS = """
import contextlib, importlib, io, json, sys
from pathlib import Path
import torch
import vgg_viz.attribution
import vgg_viz.attribution.single_pass
files = json.loads(sys.argv[2])
for file in files:
    importlib.import_module(".".join(Path(file).parts[:-1])).__path__  # the room is there
    sys.modules[".".join(Path(file).parts[:-1])].__path__.append(str(Path(sys.argv[1]) / Path(file).parent))

from vgg_viz.attribution.cam_reduction import CAMS
names = {"CAMS, at the first look": list(CAMS)}
from vgg_viz.attribution.single_pass import SHARED
names["one pass"] = list(SHARED)
from vgg_viz.attribution import attribute, cams_all_layers, methods
names["methods()"] = list(methods())
from vgg_viz.records import Checkpoint
from vgg_viz.models.build import architecture, build
wanted = architecture("tiny_vgg", image_side=32, num_classes=3, width=0.4)
model, classes, images = build(wanted, seed=1).eval(), ("a", "b", "c"), torch.rand(1, 3, 32, 32)
maps = cams_all_layers(model, images, 1)
names["maps of one pass"] = list(maps)
twice = attribute(model, images, method="twice_cam", target=1, layer="relu2_1").values
names["attribute"] = [name for name in ("twice_cam",) if torch.equal(twice, maps[name]["relu2_1"].values)]
names["attribute"] += ["squared_saliency"] * bool(attribute(model, images, method="squared_saliency").values.any())
from vgg_viz.studies.picture_request import parse_question
from vgg_viz.studies.request import PictureRequest
request = PictureRequest(image="picture.png", methods=("squared_saliency,twice_cam",))
names["explain --method"] = list(parse_question(model, classes, request).methods)
from vgg_viz.studies.preset import preset_for
names["report --preset full"] = list(preset_for("full", 0.1).methods)
names["report --preset quick"] = list(preset_for("quick", 0.1).methods)
from vgg_viz.serve.network import ServedNetwork
network = ServedNetwork(Checkpoint(wanted, classes, model.state_dict()))
names["serve's list"] = list(network.methods)
names["serve's wish"] = list(network.wish({"methods": ["squared_saliency", "twice_cam"], "classes": [0]}).methods)

from types import SimpleNamespace
from vgg_viz.errors import SectionMissing
from vgg_viz.gallery.sections import sections_of
(colours,) = (one for one in sections_of("report") if one.slug == "colours")
dark = SimpleNamespace(answers=SimpleNamespace(batch=SimpleNamespace(images=torch.full((2, 3, 4, 4), 0.1))))
exhibit, finding = colours.make(dark)
section = {"title": colours.title, "lead": colours.lead, "see": exhibit.caption.see, "finding": finding.text}
try:
    list(colours.make(SimpleNamespace(answers=None)))
except SectionMissing as missing:
    section["missing"] = missing.reason

from vgg_viz.cli import main
from vgg_viz.models.checkpoint import load
layers = ["first_1", "first_2", "second_1", "second_2", "scores"]
weights = {}
for (key, value), layer in zip(model.state_dict().items(), [name for name in layers for _ in range(2)], strict=True):
    weights[f"{layer}.{key.rpartition('.')[2]}"] = value
file = Path(sys.argv[1]) / "renamed.pt"
torch.save({"my_trainer": 1, "chain": wanted.plan, "network": weights}, file)
terminal = io.StringIO()
with contextlib.redirect_stdout(terminal):
    status = main(["count", str(file)])

from vgg_viz.data.box_files import PictureFolder
from vgg_viz.data.boxes import lookups
pictures = Path(sys.argv[1]) / "pictures"
(pictures / "a").mkdir(parents=True)
(pictures / "corners" / "a").mkdir(parents=True)
(pictures / "a" / "1.png").write_bytes(b"")
(pictures / "corners" / "a" / "1.txt").write_text("a 1 2 30 40")
(lookup,) = lookups(PictureFolder(pictures, (pictures / "a" / "1.png",)))
print(json.dumps({
    "names": names, "section": section, "format": load(file).provenance.format, "count": [status, terminal.getvalue()],
    "weights": sum(value.numel() for value in weights.values()),
    "marks": [repr(mark) for mark in lookup.of(pictures / "a" / "1.png").marks],
}))
"""

CAMS_ALONE = {"CAMS, at the first look", "one pass", "maps of one pass"}


@pytest.fixture(scope="module")
def added(tmp_path_factory) -> dict:
    """What the rooms know once every recipe is written."""
    place = tmp_path_factory.mktemp("newcomer")
    for file, text in RECIPES.items():
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).write_text(text, encoding="utf-8")
    line = [sys.executable, "-c", ROOMS, str(place), json.dumps(sorted(RECIPES))]
    around = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=HOUSE, env=around, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_there_is_a_recipe_for_each_kind():
    rooms = {str(Path(file).parent) for file in RECIPES}
    assert rooms == {
        f"vgg_viz/{room}"
        for room in ("attribution/methods", "sections/report", "models/formats", "data/boxes", "commands")
    }


def test_a_method_and_a_formula_in_one_new_file_are_known_in_every_room(added):
    newcomers = {"squared_saliency", "twice_cam"}
    missing = {
        room: newcomers - set(names) - ({"squared_saliency"} if room in CAMS_ALONE else set())
        for room, names in added["names"].items()
    }
    assert {room: names for room, names in missing.items() if names} == {}


def test_a_newcomer_stands_behind_those_who_lead_its_family(added):
    assert added["names"]["CAMS, at the first look"][-1] == "twice_cam"
    names = added["names"]["methods()"]
    assert names.index("grad_cam") < names.index("twice_cam") < names.index("occlusion")


def test_a_section_speaks_from_the_file_beside_it(added):
    assert added["section"] == {
        "title": "Colours",
        "lead": "Most surprises of a classifier are already in its pictures.",
        "see": "The mean of each channel over 2 pictures: 10 % of full red at first.",
        "finding": "The pictures are dark: the brightest channel has a mean of 10 %.",
        "missing": "There are no labelled pictures.",
    }


def test_a_checkpoint_format_is_read_and_a_command_runs_on_it(added):
    assert added["format"] == "my_trainer"
    assert added["count"] == [0, f"{added['weights']:,} weights\n"]


def test_a_format_of_boxes_is_asked(added):
    assert added["marks"] == ["Mark(label='a', x0=1.0, y0=2.0, x1=30.0, y1=40.0)"]
