"""The house itself: rooms import only downward, heavy libraries enter by one door, every module explains itself."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import vgg_viz

HOUSE = Path(vgg_viz.__file__).parent
FLOORS = (
    {
        "errors",
        "arguments",
        "registry",
        "records",
        "atomic",
        "console",
        "left_out",
        "progress",
        "plain_json",
        "number_text",
        "safe_reading",
        "file_kinds",
        "safe_text",
        "versions",
        "_version",
    },
    {"maths"},
    {"models", "data"},
    {"capture", "training", "figures"},
    {"attribution", "gallery"},
    {"faithfulness", "shortcuts", "units"},
    {"studies"},
    {"sections", "atlas", "serve"},
    {"api", "cli", "commands", "doctor", "notebook", "quiet_libraries", "__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
GROUND, TOP = FLOORS[0], FLOORS[-1]  # single modules: on these two floors neighbours may meet
DOORS = {
    "cv2": "maths/images.py",
    "captum": "attribution/",
    "matplotlib": "figures/",
    "mpl_toolkits": "figures/",
    "seaborn": "figures/",
    "starlette": "serve/",
    "uvicorn": "serve/",
}
LONGEST = 410  # lines of at most 120 columns


@dataclass(frozen=True)
class Module:
    """One source file, parsed: its place below the package, and its tree."""

    place: str
    tree: ast.Module
    lines: int

    @property
    def room(self) -> str:
        """The room it stands in; "" for the front door."""
        first = self.place.split("/")[0].removesuffix(".py")
        return "" if first == "__init__" else first


@dataclass(frozen=True)
class Import:
    """One imported module or name, dotted in full, and whether it is only for the type checker."""

    name: str
    for_types: bool


def house() -> Iterator[Module]:
    for file in sorted(HOUSE.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        yield Module(file.relative_to(HOUSE).as_posix(), ast.parse(text), len(text.splitlines()))


@cache
def imports(module: Module) -> list[Import]:
    """All imports of a module, also those inside functions; relative ones written in full."""
    found: list[Import] = []
    package = ["vgg_viz", *module.place.split("/")[:-1]]

    def walk(node: ast.AST, for_types: bool) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.body:
                walk(child, True)
            for child in node.orelse:
                walk(child, for_types)
            return
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from vgg_viz import report` is the function of the front door, not the room behind it.
            parting = ":" if base == "vgg_viz" and node.names[0].name in vgg_viz.__all__ else "."
            found.extend(Import(f"{base}{parting}{alias.name}", for_types) for alias in node.names)
        elif isinstance(node, ast.Call) and (named := _imported_by_call(node)):
            found.append(Import(named, for_types))
        for child in ast.iter_child_nodes(node):
            walk(child, for_types)

    walk(module.tree, False)
    return found


def _last_name(call: ast.Call) -> str:
    """What is called, without where it comes from."""
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


def _imported_by_call(call: ast.Call) -> str:
    """What a dynamic import brings, where its name can be read: it is an import all the same."""
    dynamic = _last_name(call) in ("import_module", "__import__")
    return str(call.args[0].value) if dynamic and call.args and isinstance(call.args[0], ast.Constant) else ""


def room_of(name: str) -> str | None:
    """The room that a dotted name lies in; "" for the front door itself, None for other packages."""
    parts = name.split(".")
    if parts[0].split(":")[0] != "vgg_viz":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR else ""


def broken_floors(module: Module) -> list[str]:
    """A sentence for every import of `module` that does not go down."""
    faults = []
    if module.room == "":
        return []  # the front door opens to every room, and only when it is used
    for found in imports(module):
        other = room_of(found.name)
        if other is None or other == module.room or (module.place == "records.py" and found.for_types):
            continue
        if other == "":
            faults.append(f"{module.place}: {module.room} goes out by the front door for {found.name}")
            continue
        here, there = FLOOR[module.room], FLOOR[other]
        if there > here:
            faults.append(
                f"{module.place}: {module.room} (floor {here}) imports {found.name} from {other} above it (floor {there})"
            )
        elif there == here and module.room not in GROUND | TOP:
            faults.append(f"{module.place}: {module.room} imports {found.name} from {other} on the same floor ({here})")
    return faults


MODULES = list(house())


def planted(place: str, source: str) -> Module:
    return Module(place, ast.parse(source), len(source.splitlines()))


# ---------------------------------------------------------------- floors


def test_every_room_stands_on_a_floor():
    assert {module.room for module in MODULES} - {""} <= set(FLOOR)


def test_every_module_imports_only_from_rooms_below_its_own():
    assert [fault for module in MODULES for fault in broken_floors(module)] == []


@pytest.mark.parametrize(
    ("place", "source", "rooms"),
    [
        ("maths/new.py", "from vgg_viz.models import vgg", ("maths", "models")),
        ("training/new.py", "import vgg_viz.figures.curves", ("training", "figures")),
        ("data/new.py", "def late():\n    from vgg_viz.models.build import build", ("data", "models")),
        ("figures/new.py", "from ..capture import hooks", ("figures", "capture")),
        ("units/new.py", "if TYPE_CHECKING:\n    from vgg_viz.studies import subject", ("units", "studies")),
        ("errors.py", "import importlib\nimportlib.import_module('vgg_viz.maths.images')", ("errors", "maths")),
        ("studies/new.py", "from vgg_viz import report", ("studies", "front door")),
    ],
)
def test_an_import_that_goes_up_or_sideways_is_told_with_its_file_and_both_rooms(place, source, rooms):
    (fault,) = broken_floors(planted(place, source))
    assert fault.startswith(f"{place}: ")
    assert all(room in fault for room in rooms)


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("records.py", "if TYPE_CHECKING:\n    from vgg_viz.figures import write"),
        ("studies/new.py", "from vgg_viz.training.diagnosis import diagnose\nfrom vgg_viz._version import __version__"),
        ("cli.py", "from vgg_viz.doctor import examine"),
    ],
)
def test_an_import_that_goes_down_is_welcome(place, source):
    assert broken_floors(planted(place, source)) == []


def circles(modules: Sequence[Module]) -> list[str]:
    """Modules that cannot be understood without each other, one sentence a circle; the front door, which only names, is none."""
    known = {
        module.place.removesuffix(".py").removesuffix("/__init__").replace("/", "."): module
        for module in modules
        if module.room
    }
    graph = {
        name: {_module(found.name, known) for found in imports(module)} & known.keys() - {name}
        for name, module in known.items()
    }
    # What ends somewhere goes, then what nobody comes back to: the rest runs in circles.
    while leaves := {name for name, below in graph.items() if not below}:
        graph = {name: below - leaves for name, below in graph.items() if name not in leaves}
    while roots := graph.keys() - {part for below in graph.values() for part in below}:
        graph = {name: below for name, below in graph.items() if name not in roots}
    return [f"{name} imports {', '.join(sorted(below))}, which lead back to it" for name, below in graph.items()]


def _module(name: str, known: Container[str]) -> str:
    """The module that a dotted name is, or is a name in."""
    inside = name.removeprefix("vgg_viz.")
    return inside if inside in known else inside.rpartition(".")[0]


def test_no_modules_import_each_other_in_a_circle():
    assert circles(MODULES) == []


def test_a_circle_is_told_by_its_modules():
    two = (
        planted("units/a.py", "from vgg_viz.units.b import x"),
        planted("units/b.py", "def late():\n    from vgg_viz.units import a"),
    )
    assert all("units.a" in line and "units.b" in line for line in circles(two))
    assert len(circles(two)) == 2


# ---------------------------------------------------------------- doors


def strays(modules: Sequence[Module]) -> list[str]:
    """A sentence for every import of a heavy library outside of its door."""
    found = [
        (module.place, one.name, DOORS[one.name.split(".")[0]])
        for module in modules
        for one in imports(module)
        if one.name.split(".")[0] in DOORS and not (module.place == "records.py" and one.for_types)
    ]
    return [f"{place} imports {name}; its door is {door}" for place, name, door in found if not place.startswith(door)]


def test_a_heavy_library_enters_by_its_own_door():
    assert strays(MODULES) == []


def pyplots(modules: Sequence[Module]) -> list[str]:
    """Where figures would be drawn through the state of pyplot."""
    return [
        f"{module.place} imports {found.name}"
        for module in modules
        for found in imports(module)
        if "pyplot" in found.name or found.name.startswith("pylab")
    ]


def test_nobody_draws_through_the_state_of_pyplot():
    assert pyplots(MODULES) == []


def hooked(modules: Sequence[Module]) -> list[str]:
    """Where hooks are put on modules, outside of the one file for it."""
    return [
        f"{module.place} calls {node.attr}"
        for module in modules
        if module.place != "capture/hooks.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("register_") and node.attr.endswith("_hook")
    ]


def test_hooks_are_put_on_modules_in_one_file_only():
    assert hooked(MODULES) == []


def opened(modules: Sequence[Module]) -> list[str]:
    """Where a pickle is opened otherwise than by torch, in its one place, without running it."""
    calls = [
        (module.place, call, ast.unparse(call.func))
        for module in modules
        for call in ast.walk(module.tree)
        if isinstance(call, ast.Call) and _last_name(call).startswith("load")
    ]
    return [
        f"{place} calls {ast.unparse(call)}"
        for place, call, name in calls
        if name in ("torch.load", "pickle.load", "pickle.loads")
        and (
            place != "models/containers/torch_file.py"
            or name != "torch.load"
            or {word.arg: ast.unparse(word.value) for word in call.keywords}.get("weights_only") != "True"
        )
    ]


def test_files_are_opened_by_torch_in_one_place_and_never_run():
    assert opened(MODULES) == []


def asserted(modules: Sequence[Module]) -> list[str]:
    """Where a module asserts: python -O removes that, and an AssertionError is no sentence."""
    return [
        f"{module.place}:{node.lineno}"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Assert)
    ]


def test_user_input_is_never_checked_by_an_assert():
    assert asserted(MODULES) == []


# ---------------------------------------------------------------- words


def unexplained(modules: Sequence[Module]) -> list[str]:
    """Modules, and public functions and classes at the top of one, that have no docstring."""
    public = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    explained = [
        (f"{module.place}: {node.name}", node)
        for module in modules
        for node in module.tree.body
        if isinstance(node, public) and not node.name.startswith("_")
    ]
    return [
        place
        for place, node in [*((module.place, module.tree) for module in modules), *explained]
        if not ast.get_docstring(node)
    ]


def test_every_module_and_everything_public_in_it_explain_themselves():
    assert unexplained(MODULES) == []


def long(modules: Sequence[Module]) -> list[str]:
    """Modules that must be split."""
    return [f"{module.place} has {module.lines} lines; split it" for module in modules if module.lines > LONGEST]


def test_every_module_is_short_enough_to_hold_one_idea():
    assert long(MODULES) == []


def nameless(modules: Sequence[Module]) -> list[str]:
    """Modules whose name, or whose folder's, says nothing."""
    nothing = {"utils", "util", "helpers", "common", "misc", "manager"}
    return [module.place for module in modules if nothing & set(module.place.removesuffix(".py").split("/"))]


def test_every_module_is_named_after_an_idea():
    assert nameless(MODULES) == []


# ---------------------------------------------------------------- the checks themselves


@pytest.mark.parametrize(
    ("check", "place", "source"),
    [
        (strays, "studies/new.py", "def late():\n    import cv2"),
        (strays, "models/new.py", "from captum.attr import IntegratedGradients"),
        (pyplots, "figures/new.py", "import matplotlib.pyplot"),
        (hooked, "attribution/new.py", "m.register_forward_hook(print)"),
        (opened, "data/new.py", "torch.load('x', weights_only=True)"),
        (opened, "models/containers/torch_file.py", "torch.load('x')"),
        (opened, "models/containers/torch_file.py", "pickle.loads(b'')"),
        (asserted, "cli.py", "def f(x):\n    assert x"),
        (unexplained, "maths/new.py", "'New.'\ndef public():\n    pass"),
        (unexplained, "maths/new.py", "x = 1"),
        (long, "maths/new.py", "x = 1\n" * (LONGEST + 1)),
        (nameless, "maths/utils.py", ""),
        (nameless, "misc/new.py", ""),
    ],
)
def test_each_check_of_the_house_tells_a_planted_fault_with_its_file(check, place, source):
    (fault,) = check([planted(place, source)])
    assert fault.startswith(place)


# ---------------------------------------------------------------- the front door


def test_how_much_of_a_map_a_scale_holds_is_decided_in_one_place():
    """The same two shares stood in six files, and had drifted: 0.98, 0.995 and 1 for the map of a layer."""
    given = [
        f"{module.place}:{node.value.lineno}"
        for module in house()
        if module.place != "maths/heatmaps.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.keyword)
        and node.arg == "quantile"
        and not (isinstance(node.value, ast.Name) and node.value.id.endswith("_INSIDE"))
    ]
    named = [
        f"{module.place}:{node.lineno}"
        for module in house()
        if module.place != "maths/heatmaps.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Assign) and "PEAKS" in ast.unparse(node.targets[0])
    ]
    assert given + named == []


def test_every_name_of_the_front_door_opens():
    for name in vgg_viz.__all__:
        assert getattr(vgg_viz, name) is not None, name
    assert set(vgg_viz._PLACES) | {"__version__"} == set(vgg_viz.__all__)
    assert set(dir(vgg_viz)) == set(vgg_viz.__all__)


def test_no_name_of_the_front_door_is_that_of_a_submodule():
    """Python binds a submodule to its name in the package as soon as it is imported, in the place of the function."""
    inside = {path.stem for path in Path(vgg_viz.__file__).parent.iterdir() if path.suffix in ("", ".py")}
    assert not inside & (set(vgg_viz.__all__) - {"__version__"})


def test_what_the_front_door_opens_to_is_a_function_with_types_and_a_docstring():
    for name in set(vgg_viz.__all__) - {"__version__"}:
        function = getattr(vgg_viz, name)
        assert inspect.isfunction(function), name
        assert function.__doc__, name
        annotated = inspect.signature(function)
        assert annotated.return_annotation is not inspect.Signature.empty, name
        assert all(one.annotation is not inspect.Parameter.empty for one in annotated.parameters.values()), name


USED_TWICE = """
import sys
for before in ("vgg_viz", "vgg_viz.sections.report.report", "vgg_viz.capture"):
    for name in [name for name in sys.modules if name.split(".")[0] == "vgg_viz"]:
        del sys.modules[name]
    __import__(before)
    import vgg_viz
    vgg_viz.report, vgg_viz.train, vgg_viz.activations
    if not (callable(vgg_viz.report) and callable(vgg_viz.train) and callable(vgg_viz.activations)):
        sys.exit(f"after {before} a room stands in the place of its function")
"""


def test_a_name_of_the_front_door_stays_the_function_however_often_it_is_used():
    # A room's module takes the place of a name that is spelt like it, as soon as the room is imported.
    done = subprocess.run([sys.executable, "-c", USED_TWICE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("function", "request_type"),
    [
        ("report", "ReportRequest"),
        ("compare", "PairRequest"),
        ("timeline", "RunRequest"),
        ("explain", "PictureRequest"),
        ("audit", "AuditRequest"),
    ],
)
def test_a_function_of_the_front_door_takes_what_its_request_holds(function, request_type):
    from vgg_viz.studies import request

    fields = {field.name: field for field in dataclasses.fields(getattr(request, request_type))}
    parameters = inspect.signature(getattr(vgg_viz, function)).parameters
    assert set(parameters) == set(fields) - {"command", "began", "words"}, "those are the command line's own"
    for name, parameter in parameters.items():
        if parameter.default is not parameter.empty and name not in ("overrides", "source"):
            assert parameter.default == fields[name].default, name


def test_a_name_that_the_front_door_does_not_know_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'raport'"):
        _ = vgg_viz.raport


@pytest.mark.parametrize(
    "program",
    [
        "import vgg_viz; vgg_viz.__version__; dir(vgg_viz)",
        "import vgg_viz.cli\ntry: vgg_viz.cli.main(['--help'])\nexcept SystemExit: pass",
        "import vgg_viz.cli\ntry: vgg_viz.cli.main(['report', '--help'])\nexcept SystemExit: pass",
        "import vgg_viz.cli\ntry: vgg_viz.cli.main(['reprot'])\nexcept SystemExit: pass",
    ],
)
def test_asking_for_help_costs_no_heavy_import(program):
    heavy = "{'torch', 'torchvision', 'matplotlib', 'seaborn', 'captum', 'cv2', 'numpy', 'PIL', 'rich', 'jinja2'}"
    check = f"{program}\nimport sys\nsys.exit(', '.join(sorted({heavy} & set(sys.modules))) or 0)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_browser_tests_wait_for_functions_not_for_bare_expressions():
    """Under the page's content policy a bare expression is looked at once: what comes true later is an error, now and then."""
    for file in sorted((Path(__file__).parent / "browser").glob("*.py")):
        bare = re.findall(r"""wait_for_function\(f?["'](?!["(]|"\(|async)[^\n]*""", file.read_text(encoding="utf-8"))
        assert not bare, f"{file.name}: {bare[0]}"


# ---------------------------------------------------------------- the machinery of galleries


def test_how_a_gallery_comes_about_knows_no_model_no_method_and_no_kind_of_study():
    below = GROUND | {"maths", "figures", "gallery"}
    reached = [
        f"{module.place} imports {found.name}"
        for module in MODULES
        if module.room == "gallery"
        for found in imports(module)
        if (room := room_of(found.name)) and room not in below
    ]
    assert reached == []
