"""The README and the map of the house say what is so: commands, links, the example, every module that is named."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import vgg_viz
from vgg_viz.commands.parser import build_parser

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vgg_viz"
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAP = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
PAGES = pytest.mark.parametrize(
    ("text", "folder"), [(README, ROOT), (MAP, ROOT / "docs")], ids=["README", "ARCHITECTURE"]
)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def shell_lines() -> list[str]:
    return [
        line.split(" #")[0].strip() for block in blocks(README, "sh") for line in block.splitlines() if line.strip()
    ]


# ---------------------------------------------------------------- README


def test_the_example_in_the_readme_runs_and_leaves_its_picture(tmp_path, monkeypatch):
    from vgg_viz.maths.images import decode

    monkeypatch.chdir(tmp_path)
    (example,) = blocks(README, "python")
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["wall"] is not names["figure"]
    picture = decode(tmp_path / "where.png")
    assert float(((picture - 1).abs().amax(0) > 0.05).float().mean()) > 0.2


def test_the_example_uses_names_of_the_front_door_only():
    (example,) = blocks(README, "python")
    used = set(re.findall(r"\bvgg_viz\.(\w+)", example + README))
    used -= {"training"}  # a path
    assert used <= set(vgg_viz.__all__)


def test_every_command_line_of_the_readme_is_understood():
    lines = [line for line in shell_lines() if "-m vgg_viz" in line]
    assert len(lines) >= 8
    for line in lines:
        build_parser().parse_args(shlex.split(line.split("-m vgg_viz")[1]))


def test_the_table_of_commands_names_each_command_once_and_no_other():
    rows = re.findall(r"^\| `(\w+)", README, re.MULTILINE)
    (commands,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert set(rows) == set(commands.choices)
    assert rows.count("data") == 2
    assert len(rows) == len(commands.choices) + 1


def test_the_exit_statuses_are_those_of_the_command_line():
    from vgg_viz import cli

    rows = [int(status) for status in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)]
    assert rows == [cli.DONE, cli.PARTS_MISSING, cli.REFUSED, cli.INTERRUPTED]


def test_the_commands_for_people_without_make_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipes = re.findall(r"^\t\$\(RUN\) -m (.+)$", makefile, re.MULTILINE)
    assert len(recipes) >= 6
    for recipe in recipes:
        assert f".venv/bin/python -m {recipe.replace(' --quiet', '')}" in shell_lines(), recipe
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def recipe(target: str) -> str:
    """The commands of a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]


def test_make_report_writes_nothing_that_git_would_call_modified_and_make_sample_does():
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout of git")
    outs = {
        target: build_parser().parse_args(shlex.split(recipe(target).split("-m vgg_viz")[1])).out
        for target in ("report", "sample")
    }
    pages = {target: f"{out}/sample/index.html" for target, out in outs.items()}  # the bundled checkpoint is sample.pt
    ignored = {
        target: not subprocess.run(["git", "check-ignore", "--quiet", page], cwd=ROOT, check=False).returncode
        for target, page in pages.items()
    }
    assert ignored == {"report": True, "sample": False}
    assert pages["report"] in README


def test_a_report_is_installed_without_what_only_tests_need():
    assert "--editable ." in recipe(r"\$\(VENV\)/report-ready").splitlines()[0]
    assert '--editable ".[test]"' in recipe(r"\$\(VENV\)/test-ready").splitlines()[0]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"^(report|test|lint): (.*)$", makefile, re.MULTILINE) == [
        ("report", "$(VENV)/report-ready"),
        ("test", "lint"),
        ("lint", "$(VENV)/test-ready"),
    ]


@PAGES
def test_every_link_leads_to_a_file(text, folder):
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    sample = ROOT / "gallery" / "sample"
    if any("gallery/sample" in link for link in links) and not sample.is_dir():
        pytest.skip("gallery/sample is not there yet; `make report` makes it")
    assert [link for link in links if not (folder / link).exists()] == []


def test_the_pictures_of_the_readme_are_figures_that_a_report_makes():
    # Also where gallery/sample is not there: the slugs stand in the sections, whole or from their first part on.
    sections = "\n".join(file.read_text(encoding="utf-8") for file in (PACKAGE / "sections" / "report").glob("*.py"))
    slugs = re.findall(r"gallery/sample/figures/([\w-]+)\.png", README)
    assert len(slugs) >= 6
    for slug in slugs:
        assert re.search(rf'"{slug}"|"{slug.split("-")[0]}-\{{', sections), slug


@PAGES
def test_no_page_names_a_place_on_somebodys_machine_or_a_private_address(text, folder):
    assert re.findall(r"(?<![\w.])/(?:home|root|tmp|work|Users)\b|localhost|\d+\.\d+\.\d+\.\d+", text) == []


def test_the_epochs_of_the_bundled_checkpoint_are_those_in_the_readme():
    assert len(vgg_viz.load().history) == int(re.search(r"(\d+) epochs", README)[1])


# ---------------------------------------------------------------- the map of the house


def mapped() -> list[Path]:
    """Every file and folder that the tree of the map names, as a path."""
    (tree,) = [block for block in blocks(MAP, "") if block.startswith("vgg_viz/")]
    found, above = [], {-2: ROOT}
    for line in tree.splitlines():
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        place = above[max(depth for depth in above if depth < indent)] / name
        above = {depth: path for depth, path in above.items() if depth < indent} | {indent: place}
        found.append(place)
    return found


def test_everything_that_the_map_names_stands_there():
    assert [str(place.relative_to(ROOT)) for place in mapped() if not place.exists()] == []
    assert len(mapped()) > 50


def test_every_room_and_every_module_is_on_the_map():
    named = set(mapped())
    modules = {file for file in PACKAGE.rglob("*.py") if file.name != "__init__.py" or file.parent == PACKAGE}
    rooms = {file.parent for file in PACKAGE.rglob("*.py")}
    missing = [str(place.relative_to(ROOT)) for place in sorted((modules | rooms) - named)]
    assert missing == [], "add a line for each to the tree of docs/ARCHITECTURE.md"


def test_the_floors_of_the_map_are_those_that_the_test_of_the_house_reads():
    from test_house import FLOORS

    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", MAP, re.MULTILINE))
    assert {int(number): set(re.findall(r"`(\w+)`", rooms)) for number, rooms in rows.items()} == dict(
        enumerate(FLOORS)
    )


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("vgg_viz.attribution.method", "method"),
        ("vgg_viz.gallery.sections", "section"),
        ("vgg_viz.models.formats", "checkpoint_format"),
    ],
)
def test_the_decorators_of_the_map_take_what_the_map_gives_them(module, name):
    (call,) = re.findall(rf"^@{name}\((.*?)\)\ndef", MAP, re.DOTALL | re.MULTILINE)
    decorator = eval(f"{name}({call})", {name: getattr(importlib.import_module(module), name)})
    assert callable(decorator)  # not applied: nothing is registered


def test_the_variant_of_the_map_would_be_built_and_read_by_its_row(monkeypatch):
    from vgg_viz.models import vgg
    from vgg_viz.models.recognise import recognise

    (row,) = re.findall(r'^("vgg9": Variant\(.*\)),$', MAP, re.MULTILINE)
    added = eval(f"{{{row}}}", {"Variant": vgg.Variant})
    monkeypatch.setitem(vgg.VARIANTS, "vgg9", added["vgg9"])
    model = vgg_viz.build("vgg9", image_side=32, num_classes=3, width=0.1)
    assert [layer.name for layer in vgg_viz.layers(model) if layer.kind == "conv"] == [
        "conv1_1",
        "conv2_1",
        "conv3_1",
        "conv3_2",
        "conv4_1",
        "conv4_2",
    ]
    assert vgg.describe(recognise(dict(model.state_dict())).architecture).variant == "vgg9"
