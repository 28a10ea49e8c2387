"""The user's own code, run only because the user typed its name: FILE.py:NAME gives the network, a file gives its weights."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from vgg_viz.errors import CheckpointRefused, InputRefused, UnknownName
from vgg_viz.models.unwrap_state_dict import StateDictCandidate, state_dict_candidates
from vgg_viz.models.wishes import Wishes

EXAMPLE = "--model models.py:Net"


def code_name(code: str) -> str:
    """As a reader is told: the file's name without its folder, and the name in it."""
    file, _, name = code.rpartition(":")
    return f"{Path(file).name}:{name}"


def network_from(code: str) -> nn.Module:
    """The network that NAME of FILE.py is, or makes when it is called without arguments.

    The file runs with its folder on the import path. What it prints goes to stderr, and the random numbers go on as before.

    Raises:
        InputRefused: There is no such file or name, the code fails, or what it gives is no network.
    """
    file, colon, name = code.rpartition(":")
    path = Path(file)
    if not colon or not name.isidentifier() or path.suffix != ".py":
        raise InputRefused(f"--model {code!r} came, where a file and a name in it are expected, such as {EXAMPLE}.")
    if not path.is_file():
        raise InputRefused(f"there is no file {path.name!r}; give your own code as {EXAMPLE}.")
    with _as_its_script(path), torch.random.fork_rng(devices=[]):
        module = _run(path)
        if not hasattr(module, name):
            raise UnknownName(f"name in {path.name}", name, _offered(module))
        made = getattr(module, name)
        if not isinstance(made, nn.Module):
            if not callable(made):
                raise InputRefused(f"{code_name(code)} is no network and nothing that makes one; {_advice(path)}.")
            _require_no_arguments(made, code)
            made = _guarded(made, path, f"{name}()")
    if not isinstance(made, nn.Module):
        raise InputRefused(
            f"{code_name(code)} gave {type(made).__name__}, a torch.nn.Module was expected; {_advice(path)}."
        )
    return made


def take_weights(network: nn.Module, stored: object, wishes: Wishes, code: str, file: str) -> tuple[str, ...]:
    """Load the first set of weights in a file that is this network's, all of it and nothing else; what was taken off, in sentences.

    Raises:
        CheckpointRefused: No set fits; what is missing, left over or of another shape is named.
    """
    candidates = state_dict_candidates(stored)
    if isinstance(stored, Mapping) and stored and all(isinstance(value, Tensor) for value in stored.values()):
        candidates.insert(0, StateDictCandidate("", dict(stored)))
    if wishes.key is not None:
        candidates = [one for one in candidates if one.place == wishes.key or one.place.startswith(f"{wishes.key}.")]
    if wishes.weights is not None:
        candidates = [one for one in candidates if one.averaged == (wishes.weights == "ema")]
    own = network.state_dict()
    faults: list[list[str]] = []
    for candidate in candidates:
        fault = list(_faults(own, candidate.weights))
        if not fault:
            network.load_state_dict(candidate.weights, strict=True)
            return candidate.evidence
        faults.append(fault)
    if not faults:
        raise CheckpointRefused(f"{file} holds no set of weights that could be those of {code}; give a state dict.")
    nearest = min(faults, key=len)
    more = f" and {len(nearest) - 3} more" if len(nearest) > 3 else ""
    raise CheckpointRefused(
        f"{file} does not hold the weights of {code}: {', '.join(nearest[:3])}{more}; build in your code the network that was saved."
    )


def _faults(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterator[str]:
    for key, value in own.items():
        if key not in given:
            yield f"it lacks {_short(key)}"
        elif isinstance(value, Tensor) and value.shape != given[key].shape:
            yield f"its {_short(key)} is {tuple(given[key].shape)} and yours {tuple(value.shape)}"
    for key in given:
        if key not in own:
            yield f"its {_short(key)} has no place"


def _short(key: str) -> str:
    return repr(key if len(key) <= 60 else f"{key[:57]}...")


# ---------------------------------------------------------------- running it


@contextlib.contextmanager
def _as_its_script(path: Path) -> Iterator[None]:
    """As if the file were started by itself: its folder is on the import path. stdout stays this program's own."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _run(path: Path) -> ModuleType:
    name = f"vgg_viz_user_code_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputRefused(f"{path.name} cannot be run; give a Python file, as {EXAMPLE}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    loader = spec.loader
    _guarded(lambda: loader.exec_module(module), path, path.name)
    return module


def _guarded(call: Callable[[], Any], path: Path, what: str) -> Any:
    try:
        return call()
    except (Exception, SystemExit) as error:
        said = (str(error).splitlines() or [""])[0][:200].rstrip(".")
        where = _line_of(error.__traceback__, path)
        raise InputRefused(
            f"{what} fails{where} with {type(error).__name__}{': ' if said else ''}{said}; mend it, or give another name with --model."
        ) from error


def _line_of(traceback: TracebackType | None, path: Path) -> str:
    """The last line of the user's file that was running."""
    line = 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return f" in line {line}" if line else ""


def _require_no_arguments(made: Callable[..., Any], code: str) -> None:
    try:
        parameters = inspect.signature(made).parameters.values()
    except (TypeError, ValueError):
        return
    needed = [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if needed:
        _, _, name = code.rpartition(":")
        raise InputRefused(
            f"{code_name(code)} needs {', '.join(needed[:4])}; add a function without arguments to the file, such as "
            f"'def network(): return {name}(...)', and name that: --model {code.rpartition(':')[0]}:network."
        )


def _offered(module: ModuleType) -> list[str]:
    """Names of the file's own classes of networks, functions and networks."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (isinstance(value, nn.Module) or (callable(value) and getattr(value, "__module__", "") == module.__name__))
    ]


def _advice(path: Path) -> str:
    return f"name a torch.nn.Module, its class, or a function that returns one: --model {path.name}:Net"
