"""What to type so that a pickle of objects becomes a file of weights, with the names that stand in it; nothing of it is run here."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from vgg_viz.models.class_names import KEYS as CLASS_KEYS
from vgg_viz.models.pickle_outline import Outline
from vgg_viz.models.unwrap_state_dict import NO_WEIGHTS

MOST_NAMES = 40  # in a sentence; a network pickled whole has a dozen
DEEPEST = 4
KNOWN = frozenset({*sys.stdlib_module_names, "__builtin__", "torch", "torchvision", "numpy"}) - {"__main__"}
TENSORS = ("torch._utils.", "torch.storage.", "collections.")  # what pickle.dump makes of a state dict
# What another maker's pickle is: the package whose classes it names.
MAKERS = {
    "sklearn": "a scikit-learn model",
    "joblib": "a joblib file, as scikit-learn's models are kept",
    "xgboost": "an XGBoost model",
    "lightgbm": "a LightGBM model",
    "pandas": "a pandas table",
    "numpy": "a pickle of NumPy arrays",
    "keras": "a pickled Keras model",
    "tensorflow": "a pickled TensorFlow model",
    "paddle": "a PaddlePaddle network",
    "jax": "a pickle of JAX arrays",
    "flax": "a pickle of JAX arrays",
    "PIL": "a pickled picture",
}


def advice(where: str, path: Path, root: Outline | None, unsafe: Iterable[str], *, torch_wrote: bool = True) -> str:
    """The refusal of a pickle that would run code to open, with the command that makes a file of weights of it.

    Args:
        where: The file as a sentence names it.
        path: The file.
        root: What it would make; None where that cannot be told.
        unsafe: Everything in it that is not known to be harmless, or else everything.
        torch_wrote: False where pickle.dump wrote it.
    """
    # Names of the user's own first: they say where the file comes from.
    unsafe = sorted(unsafe, key=lambda name: (name.startswith("torch."), name))
    more = [f"{len(unsafe) - MOST_NAMES} more"] if len(unsafe) > MOST_NAMES else []
    shown = [name[:80] if name.isprintable() else repr(name[:80]) for name in unsafe[:MOST_NAMES]]
    names = ", ".join([*shown, *more])
    if other := _of_another_maker(unsafe, root):
        return f"{where} is {other}, not a network of PyTorch; give the .pt or .pth file that torch.save wrote."
    bad = {name for name in unsafe if torch_wrote or not name.startswith(TENSORS)}
    if root is None or root.is_network or _network_inside(root):
        kept, what = (
            _of_a_network(root),
            f"a whole network pickled by {'torch.save(model)' if torch_wrote else 'pickle.dump'}: it",
        )
    else:
        kept = _of_a_dict(root, bad)
        beside = next((key for key, value in root.entries().items() if value.is_network), None)
        other = "a pickle that" if torch_wrote else "a file of pickle.dump, not of torch.save: it"
        what = f"a network pickled whole under {beside[:40]!r}: it" if beside else other
    own = _own(unsafe)
    if torch_wrote:
        command = _command(path, 'torch.load({file}, map_location="cpu", weights_only=False)', kept, own)
    else:
        command = _command(path, 'pickle.load(open({file}, "rb"))', kept, own)
    place = "run" if path.parent == Path() else "go to its folder and run"
    purpose = ", which keeps the weights and what is plain beside them," if root is not None and root.items else ""
    return f"{where} is {what} would run code to open ({names}); where you trust it, {place} {command}{purpose} and give that file."


def _of_another_maker(names: Iterable[str], root: Outline | None) -> str:
    """What a pickle is that holds neither tensors of torch nor a network, with a class that says so; "" where it does."""
    if root is not None and (root.axes or any(one.is_network for one in root.everything())):
        return ""
    for package, what in MAKERS.items():
        if own := [name for name in names if name.startswith(f"{package}.")]:
            return f"{what} ({own[0][:80]})"
    return ""


def saving_command(path: Path, expression: str) -> str:
    """The line for a terminal that saves what `expression` gives beside the file; "{file}" and "{beside}" in it are replaced.

    File names stand without their folders.
    """
    names = (path.name, f"{path.stem}-weights.pt")
    file, beside = ('"' + name.encode("unicode_escape").decode().replace('"', '\\"') + '"' for name in names)
    return f"python -c {shlex.quote(expression.replace('{file}', file).replace('{beside}', beside))}"


def _command(path: Path, opening: str, kept: str, own: list[tuple[str, str]]) -> str:
    """Open, keep, save. Classes that are no library's get empty ones in their place: only their weights are wanted."""
    libraries = "import pickle, torch" if opening.startswith("pickle") else "import torch"
    stand_ins = ""
    if own:
        homes = [module.split(".") for module, _ in own]
        above = dict.fromkeys(".".join(parts[:end]) for parts in homes for end in range(1, len(parts) + 1))
        pairs = ", ".join(f'("{module}", "{name}")' for module, name in own)
        stand_ins = (
            f", sys, types; [sys.modules.setdefault(m, types.ModuleType(m)) for m in {_listed(list(above))}]; "
            f'[setattr(sys.modules[m], c, type(c, (torch.nn.Module,), {{"__module__": m}})) for m, c in [{pairs}]]'
        )
    if re.fullmatch(r'f(\["[^"]*"\]|\.\w+)*(\.state_dict\(\))?', kept):
        return saving_command(path, f"{libraries}{stand_ins}; torch.save({opening}{kept[1:]}, {{beside}})")
    return saving_command(path, f"{libraries}{stand_ins}; f = {opening}; torch.save({kept}, {{beside}})")


def _own(unsafe: Iterable[str]) -> list[tuple[str, str]]:
    """(module, class) of what comes from no library: the classes of a script, which a terminal does not have."""
    parted = [name.rpartition(".") for name in unsafe]
    return [
        (module, name) for module, _, name in parted if module.partition(".")[0] not in KNOWN and _plain(module + name)
    ]


def _plain(name: str) -> bool:
    return name.replace(".", "").replace("_", "").isalnum() and name.isascii()


# ---------------------------------------------------------------- what is kept, as an expression of the opened file f


def _of_a_network(root: Outline | None) -> str:
    """The state dict of the file's object, or of the network in its attributes; with class names that it carries."""
    inside = _network_inside(root) if root is not None else None
    network = f"f.{inside}" if inside else "f"
    attributes = root.entries() if root is not None else {}
    names = [key for key in CLASS_KEYS if key in attributes and not attributes[key].names]
    if names:
        return f'{{"state_dict": {network}.state_dict(), "{names[0]}": f.{names[0]}}}'
    return f"{network}.state_dict()"


def _network_inside(root: Outline) -> str | None:
    """The attribute of an object (a learner, a trainer) that is the network."""
    if not root.name or root.is_network or root.items:
        return None
    return next((key for key, value in root.entries().items() if value.is_network and key.isidentifier()), None)


def _of_a_dict(root: Outline, bad: set[str], depth: int = 0) -> str:
    """The keys whose values are plain; a network among them by its state dict, where no weights lie beside it."""
    entries = {key.value: value for key, value in root.items if isinstance(key.value, str) and _quotable(key.value)}
    plain = [key for key, value in entries.items() if not value.names & bad]
    spoiled = [key for key in entries if key not in plain]
    weighty = [key for key in plain if 4 in entries[key].axes and not NO_WEIGHTS.search(key.lower())]
    networks = [key for key in spoiled if entries[key].is_network]
    strange = len(entries) < len(root.items)
    if weighty and plain == weighty[:1]:
        return f'f["{weighty[0]}"]'
    if weighty or networks:
        value = "v" if weighty else f"v.state_dict() if k in {_listed(networks)} else v"
        wanted, unwanted = (
            (plain, spoiled) if weighty else ([*networks, *plain], [k for k in spoiled if k not in networks])
        )
        listed = f"in {_listed(wanted)}" if strange or len(wanted) <= len(unwanted) else f"not in {_listed(unwanted)}"
        return f"{{k: {value} for k, v in f.items()" + (f" if k {listed}}}" if strange or unwanted else "}")
    deeper = next((key for key in spoiled if 4 in entries[key].axes and entries[key].items), None)
    if deeper is None or depth == DEEPEST:
        return "f"
    inside = _of_a_dict(entries[deeper], bad, depth + 1)
    return f'f["{deeper}"]{inside[1:]}' if inside.startswith("f") else f'(lambda f: {inside})(f["{deeper}"])'


def _listed(keys: list[str]) -> str:
    return "[" + ", ".join(f'"{key}"' for key in keys) + "]"


def _quotable(key: str) -> bool:
    return key.isprintable() and not set('"\\') & set(key)
