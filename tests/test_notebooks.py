"""The notebooks run from top to bottom, through the front door only, and leave figures behind."""

from __future__ import annotations

import ast
import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch

import vgg_viz
from vgg_viz.errors import InputRefused
from vgg_viz.maths.images import decode

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


# In a process of its own: its event loop and sockets are none of pytest's business. The kernel is this very interpreter,
# whatever kernels the machine has under the name python3.
EXECUTE = """
import sys
import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

class ThisPython(AsyncKernelManager):
    kernel_spec = KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], language="python")

given, done = sys.argv[1:]
notebook = nbformat.read(given, as_version=4)
NotebookClient(notebook, km=ThisPython(), timeout=120).execute()
nbformat.write(notebook, done)
"""


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code(notebook: Any) -> str:
    """All code cells as one Python text; lines for IPython alone left out."""
    sources = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return "\n".join(line for line in sources.splitlines() if not line.startswith("%"))


def foreign_imports(text: str) -> list[str]:
    """Imports and attributes that go past the front door: another package, an inner room, a name that is not in __all__."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name != "vgg_viz"]
        elif isinstance(node, ast.ImportFrom):
            inner = node.module != "vgg_viz"
            found += [
                f"{node.module}.{alias.name}" for alias in node.names if inner or alias.name not in vgg_viz.__all__
            ]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "vgg_viz":
            found += [f"vgg_viz.{node.attr}"] if node.attr not in vgg_viz.__all__ else []
    return found


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def executed(request, tmp_path_factory):
    """A notebook with the outputs of all its cells, run once in an empty folder."""
    folder = tmp_path_factory.mktemp("notebook")
    environment = {
        **os.environ,
        "PYTHONPATH": str(FOLDER.parent),
        "OMP_NUM_THREADS": "1",
        "IPYTHONDIR": str(folder / "ipython"),
    }
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(request.param), "done.ipynb"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return read(folder / "done.ipynb")


def pictures(notebook: Any) -> list[bytes]:
    """The PNG files that the cells put out."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [base64.b64decode(output.data["image/png"]) for output in outputs if "image/png" in output.get("data", {})]


def test_there_is_a_notebook_to_start_with():
    assert FOLDER / "01_first_look.ipynb" in NOTEBOOKS


@each
def test_a_notebook_uses_the_front_door_only(path):
    assert foreign_imports(code(read(path))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import torch",
        "from vgg_viz.models.build import build",
        "from vgg_viz import maths",
        "import vgg_viz.sections.report.report",
        "import vgg_viz\nvgg_viz.figures.walls.feature_wall",
    ],
)
def test_a_way_past_the_front_door_is_found(text):
    assert foreign_imports(text)


@each
def test_a_committed_notebook_carries_no_outputs(path):
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_every_figure_that_a_notebook_calls_for_appears_as_a_picture_with_something_on_it(executed):
    called = code(executed).count("vgg_viz.plot_")
    found = pictures(executed)
    assert len(found) == called > 0
    assert len(set(found)) == len(found)
    for number, content in enumerate(found):
        image = decode(content, name=f"figure {number}")
        # Paper is white; a figure whose maps had failed to be drawn would be paper and words.
        assert min(image.shape[1:]) > 100
        assert float(((image - 1).abs().amax(0) > 0.05).float().mean()) > 0.2


def test_a_notebook_runs_without_a_warning(executed):
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


def test_what_the_first_look_says_in_words_is_so():
    # A star taken for a cross, a square at place 2; grey makes the star clearer, its background's colour makes it vanish.
    checkpoint = vgg_viz.load()
    model, specimens = vgg_viz.build(checkpoint), vgg_viz.specimens(checkpoint)
    star, cross, square = (checkpoint.classes.index(name) for name in ("star", "cross", "square"))
    before = vgg_viz.activations(model, specimens.images, layers=[]).logits
    says = before.argmax(1)
    assert int(says[2]) == int(specimens.labels[2]) == square
    chosen = int(((specimens.labels == star) & (says == cross)).nonzero()[0])
    picture, mask = specimens.images[chosen : chosen + 1], specimens.masks[chosen]
    grey, gone = picture.clone(), picture.clone()
    grey[:, :, mask] = 0.5
    gone[:, :, mask] = picture[:, :, ~mask].mean(2, keepdim=True)
    clearer, vanished = (
        vgg_viz.activations(model, grey, layers=[]).logits[0],
        vgg_viz.activations(model, gone, layers=[]).logits[0],
    )
    assert int(clearer.argmax()) == star
    assert clearer[star] > before[chosen, star]
    assert vanished[star] < before[chosen, star]
    assert vanished[cross] < before[chosen, cross]


# ---------------------------------------------------------------- the figures that notebooks call for


@pytest.fixture(scope="module")
def seen():
    checkpoint = vgg_viz.load()
    model = vgg_viz.build(checkpoint)
    images = vgg_viz.specimens(checkpoint).images[:3]
    return checkpoint, model, images, vgg_viz.activations(model, images)


def words(figure: Any) -> str:
    return " ".join(text.get_text() for text in [*figure.texts, *(text for axes in figure.axes for text in axes.texts)])


def test_the_front_door_still_captures_after_the_room_of_that_name_was_imported(seen):
    import vgg_viz.capture.hooks

    _, model, images, activations = seen
    assert torch.equal(vgg_viz.activations(model, images).logits, activations.logits)


def test_a_wall_shows_the_picture_that_was_asked_for(seen):
    activations = seen[3]
    (sheet, *_), (other, *_) = (
        vgg_viz.plot_activations(activations, "relu2_2", picture=place).axes[0].get_images() for place in (0, 1)
    )
    maps = activations.maps["relu2_2"]
    for image, place in ((sheet, 0), (other, 1)):
        assert float(np.nanmax(image.get_array())) == pytest.approx(float(maps[place].max()), rel=1e-5)


def test_maps_of_one_method_for_two_classes_share_their_scale_and_name_their_classes(seen):
    checkpoint, model, images, _ = seen
    maps = [vgg_viz.attribute(model, images, method="occlusion", target=target) for target in (0, 3)]
    both = words(vgg_viz.plot_attribution(model, images, maps, classes=checkpoint.classes))
    highest = max(float(one.values[0].abs().max()) for one in maps)
    assert "maps of one method" in both
    assert checkpoint.classes[0] in both
    assert checkpoint.classes[3] in both
    # Both bars end at the same number, within what the shared quantile cuts off.
    ends = [number for number in re.findall(r"(?<![\d−.])\d+\.\d+(?= |$)", both) if float(number) <= highest * 1.01]
    assert len(ends) - len(set(ends)) >= 1


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda model, images, acts: vgg_viz.plot_activations(acts, "relu9_9"), "no captured layer 'relu9_9'"),
        (lambda model, images, acts: vgg_viz.plot_activations(acts, "fc3"), "a wall needs maps"),
        (lambda model, images, acts: vgg_viz.plot_activations(acts, "relu1_1", picture=3), "pictures 0 to 2"),
        (lambda model, images, acts: vgg_viz.plot_attribution(model, images, []), "no attribution came"),
        (lambda model, images, acts: vgg_viz.specimens(vgg_viz.load("tiny_vgg")), "carries no specimens"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_sentence(seen, ask, sentence):
    with pytest.raises(InputRefused, match=re.escape(sentence)):
        ask(*seen[1:])
