"""Mutated checkpoints by the thousand, and what becomes of each; as a script, one child of test_faults.py.

    python tests/faults.py FIRST LAST REPORT      mutants number FIRST to LAST - 1; a line of JSON for each on REPORT

A mutant is made from (number) alone, and the numbers are stratified: kinds, containers and ways come in turn, so that every way of every
kind in every container is among the first 600, and dice say the rest. Its outcome is "loaded" (a right load), "refused" (one sentence of the InputRefused tree), or what
went wrong. A right load of a file with flipped bits: every weight is bit-equal to the sound file's except where a flip landed, and there
it differs in exactly the flipped bits. A right load of a file that was written otherwise: the weights that were written, as float32.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import pickle
import random
import resource
import shutil
import signal
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # as a script, the package is the one beside it

import numpy as np
import torch
from torch import Tensor

from vgg_viz.errors import InputRefused
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.records import Checkpoint, Provenance

SECONDS, HANGS, GIGABYTE = 5.0, 60.0, 2**30  # of the processor; of the clock: a busy machine must not fail a mutant
NETWORK = architecture("tiny_vgg", num_classes=3, width=0.4, image_side=32)
SPREAD = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "subprocess.Popen",
    "socket.connect",
)

Weights = Mapping[str, Tensor]
Files = dict[str, bytes]


@dataclass(frozen=True)
class Sound:
    """A checkpoint as it should be: its files, the one to open, and where in them weights lie (file, first byte, one past the last)."""

    name: str
    files: Files
    main: str
    places: tuple[tuple[str, int, int], ...]
    checked: bool  # whether its structure has a checksum or redundancy, so that no flip there may change what is loaded


@dataclass
class Mutant:
    """Files to write, and what a load must give: `flips` of the sound file, or `wanted`; `never`: a load is wrong whatever it gives."""

    kind: str
    sound: Sound
    files: Files
    flips: tuple[tuple[str, int, int], ...] = ()  # file, byte, mask
    wanted: Weights | None = None
    never: bool = False
    place: Callable[[Path], Path] | None = None  # puts something that is no file; returns what to open
    said: str = ""  # what the evidence must mention


# ---------------------------------------------------------------- sound files


def weights() -> dict[str, Tensor]:
    """The network that all sound files hold; no two tensors are alike, and none is of zeros."""
    dice = torch.Generator().manual_seed(3)
    return {key: torch.randn(value.shape, generator=dice) / 8 for key, value in build(NETWORK).state_dict().items()}


def sound_files(folder: Path) -> dict[str, Sound]:
    """One of each container, written once."""
    from keras_files import tiny_net
    from safetensors.torch import save_file

    from vgg_viz.models.export import export

    checkpoint = Checkpoint(NETWORK, ("a", "b", "c"), weights(), provenance=Provenance("", "", ""))
    save(folder / "own.pt", checkpoint)
    torch.save(weights(), folder / "bare.pt")
    torch.save(weights(), folder / "older.pt", _use_new_zipfile_serialization=False)
    save_file(weights(), folder / "bare.safetensors")
    export(checkpoint, folder / "exported.safetensors")
    tiny_net(side=32, hidden=4, classes=3).tfjs(folder / "tfjs")
    found = {}
    for name in ("own.pt", "bare.pt"):
        found[name] = Sound(name, {name: (folder / name).read_bytes()}, name, tuple(_records(folder / name)), True)
    older = (folder / "older.pt").read_bytes()
    places = [
        (older.index(raw), older.index(raw) + len(raw))
        for raw in (value.numpy().tobytes() for value in weights().values())
    ]
    found["older.pt"] = Sound(
        "older.pt", {"older.pt": older}, "older.pt", tuple(("older.pt", *place) for place in places), False
    )
    for name in ("bare.safetensors", "exported.safetensors"):
        raw = (folder / name).read_bytes()
        found[name] = Sound(name, {name: raw}, name, ((name, 8 + struct.unpack("<Q", raw[:8])[0], len(raw)),), False)
    files = {f"tfjs/{entry.name}": entry.read_bytes() for entry in sorted((folder / "tfjs").iterdir())}
    found["tfjs"] = Sound(
        "tfjs", files, "tfjs", tuple((name, 0, len(raw)) for name, raw in files.items() if name.endswith(".bin")), False
    )
    return found


def _records(path: Path) -> Iterator[tuple[str, int, int]]:
    """Where the storages of a zip that torch wrote lie; those of no weights (specimens, of which there are none) are empty."""
    with zipfile.ZipFile(path) as archive:
        raw = path.read_bytes()
        for info in archive.infolist():
            if "/data/" in info.filename:
                name, extra = struct.unpack("<HH", raw[info.header_offset + 26 : info.header_offset + 30])
                first = info.header_offset + 30 + name + extra
                yield path.name, first, first + info.file_size


# ---------------------------------------------------------------- mutations of bytes


def _flipped(dice: random.Random, sound: Sound, kind: str, spots: list[tuple[str, int]]) -> Mutant:
    files, flips = dict(sound.files), []
    for name, at in dict.fromkeys(spots):
        raw = bytearray(files[name])
        mask = 1 << dice.randrange(8)
        raw[at] ^= mask
        files[name] = bytes(raw)
        flips.append((name, at, mask))
    return Mutant(kind, sound, files, tuple(flips))


def flip_weights(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """One to eight bits of the weights themselves."""
    chosen = dice.choices([place for place in sound.places if place[2] > place[1]], k=dice.randint(1, 8))
    return _flipped(
        dice, sound, "bits of weights", [(name, dice.randrange(first, last)) for name, first, last in chosen]
    )


def flip_anywhere(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """One to eight bits anywhere in the files."""
    names = dice.choices(list(sound.files), k=dice.randint(1, 8))
    return _flipped(dice, sound, "bits anywhere", [(name, dice.randrange(len(sound.files[name]))) for name in names])


def flip_structure(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """One to three bits outside of the weights: pickles, headers, JSON, zip directories."""
    spots: list[tuple[str, int]] = []
    while not spots:
        name = dice.choice(list(sound.files))
        at = dice.randrange(len(sound.files[name]))
        if not any(file == name and first <= at < last for file, first, last in sound.places):
            spots = [(name, at)] + [
                (name, at + n) for n in range(1, dice.randint(1, 3)) if at + n < len(sound.files[name])
            ]
    spots = [s for s in spots if not any(file == s[0] and first <= s[1] < last for file, first, last in sound.places)]
    return _flipped(dice, sound, "bits of structure", spots)


def truncated(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """Cut off anywhere."""
    name = dice.choice(list(sound.files))
    cut = sound.files[name][: dice.randrange(len(sound.files[name]))]
    return Mutant("truncated", sound, {**sound.files, name: cut}, never=True)


def appended(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """Something after the end: a load must give the sound weights."""
    name = dice.choice(list(sound.files))
    more = (b"\0" * 64, b"<html>", dice.randbytes(200), sound.files[name])[way]
    return Mutant("appended", sound, {**sound.files, name: sound.files[name] + more})


def overwritten(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """A block of noise or zeros over the front of a file."""
    name = dice.choice(list(sound.files))
    raw = sound.files[name]
    length = dice.randint(1, 200)
    block = (b"\0" * length, b"\xff" * length, dice.randbytes(length))[way][: len(raw)]
    flips = tuple((name, at, raw[at] ^ block[at]) for at in range(len(block)) if raw[at] != block[at])
    return Mutant("overwritten", sound, {**sound.files, name: block + raw[len(block) :]}, flips)


# ---------------------------------------------------------------- mutations of what is written

WRITERS = ("bare.pt", "older.pt", "bare.safetensors")


def _written(kind: str, sound: Sound, state: Any, **rest: Any) -> Mutant:
    """The objects `state` in the container of `sound`."""
    if sound.name.endswith(".safetensors"):
        from safetensors.torch import save as saved

        raw = saved({key: value.contiguous() for key, value in state.items()})
    else:
        file = io.BytesIO()
        torch.save(state, file, _use_new_zipfile_serialization=sound.name != "older.pt")
        raw = file.getvalue()
    return Mutant(kind, sound, {sound.main: raw}, **rest)


def swapped_shapes(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """A weight of another shape: transposed, flattened, one row more or less, exchanged with another."""
    state = weights()
    key = dice.choice(list(state))
    value = state[key]
    other = dice.choice([name for name in state if state[name].shape != value.shape])
    ways: list[Callable[[], dict[str, Tensor]]] = [
        lambda: {key: value.flatten()[:-1]},
        lambda: {key: value[None]},
        lambda: {key: state[other], other: value},
        lambda: {key: value.new_zeros(0)},
        lambda: {key: value.sum()},
        lambda: {key: torch.cat([value, value])},
    ]
    return _written("swapped shapes", sound, {**state, **ways[way]()}, never=True)


def wrong_dtypes(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """Another number type for one weight or for all: floats load as their float32 values, others are refused."""
    state = weights()
    # From complex64 on, what safetensors cannot hold.
    kinds = (
        torch.float16,
        torch.bfloat16,
        torch.float64,
        torch.int8,
        torch.int64,
        torch.bool,
        torch.uint8,
        torch.complex64,
    )
    if way >= len(kinds):
        key = dice.choice([key for key in state if key.endswith("weight")])
        other = (
            state[key].to_sparse() if way == len(kinds) else torch.quantize_per_tensor(state[key], 0.01, 0, torch.qint8)
        )
        return _written("wrong dtypes", sound, {**state, key: other}, never=True)
    kind = kinds[way]
    chosen = dice.sample(list(state), dice.choice([1, len(state)]))
    state |= {key: state[key].to(kind) for key in chosen}
    return _written(
        "wrong dtypes",
        sound,
        state,
        wanted={k: v.float() for k, v in state.items()} if kind.is_floating_point else None,
        never=not kind.is_floating_point,
    )


def not_finite(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """NaN or infinity somewhere: never loaded."""
    state = {key: value.clone() for key, value in weights().items()}
    value = state[dice.choice(list(state))].view(-1)
    value[dice.randrange(len(value))] = (float("nan"), float("inf"), float("-inf"))[way]
    return _written("NaN and infinity", sound, state, never=True)


def nested(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """Prefixes and wrappers of any depth around the sound weights."""
    state: Any = weights()
    for _ in range(dice.randint(1, 6)):
        word = dice.choice(["module", "_orig_mod", "model", "net", "student.backbone", "x" * 300])
        state = {f"{word}.{key}": value for key, value in state.items()}
    if not sound.name.endswith(".safetensors"):
        for _ in range((0, 1, 3, 40)[way]):
            state = {dice.choice(["state_dict", "model", "net", "weights"]): state, "epoch": 3}
    return _written("nested prefixes", sound, state)


def missing_or_more(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """A weight gone: refused; a stranger beside them: the sound weights."""
    state = weights()
    if way < 2:
        key = dice.choice([key for key in state if key.endswith(("weight", "bias")[way])])
        del state[key]
        if way == 1:  # a layer may do without a bias where that is said
            return _written("missing or more", sound, state, wanted=state, said="no bias in the file")
        return _written("missing or more", sound, state, never=True)
    stranger = ("extra", "conv_block_3.0.weight", "n_averaged", "")[way - 2]
    return _written("missing or more", sound, {**state, stranger: torch.ones(2, 2)})


# ---------------------------------------------------------------- hostile ones


def huge(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """Sizes that no file of this length can hold: shapes, storages, arrays, headers, JSON numbers."""
    many = dice.choice([2**31, 2**33, 2**40, 2**62])
    if sound.name.endswith(".safetensors"):
        raw = sound.files[sound.main]
        length = struct.unpack("<Q", raw[:8])[0]
        header = json.loads(raw[8 : 8 + length])
        if way == 3:
            return Mutant("huge sizes", sound, {sound.main: struct.pack("<Q", many) + raw[8:]}, never=True)
        entry = header[dice.choice([key for key in header if key != "__metadata__"])]
        entry.update(
            ({"shape": [many, *entry["shape"][1:]]}, {"data_offsets": [0, many]}, {"data_offsets": [many, many + 4]})[
                way
            ]
        )
        text = json.dumps(header).encode()
        return Mutant(
            "huge sizes", sound, {sound.main: struct.pack("<Q", len(text)) + text + raw[8 + length :]}, never=True
        )
    if sound.name == "tfjs":
        described = json.loads(sound.files["tfjs/model.json"])
        group = described["weightsManifest"][0]
        entry = dice.choice(group["weights"])
        (
            lambda: entry.update(shape=[many]),
            lambda: entry.update(shape=[many, 0]),
            lambda: group.update(paths=group["paths"] * 1000),
            lambda: entry.update(shape=[-1, many]),
            lambda: entry.update(shape=[1e300]),
        )[way]()
        return Mutant(
            "huge sizes", sound, {**sound.files, "tfjs/model.json": json.dumps(described).encode()}, never=True
        )
    state: Any = weights()
    key = dice.choice(list(state))
    if way == 0:  # one number seen a billion times: four bytes on disk
        state[key] = torch.zeros(1).expand(many % 2**31 + 10**6, *state[key].shape[1:])
    elif way == 1:
        state["junk"] = Called(np._core.multiarray._reconstruct, np.ndarray, (many,), b"b")
    elif way == 2:
        state["junk"] = Called(bytearray, many)
    elif way == 3:
        state["classifier.1.bias"] = torch.zeros(1).expand(10**9)
        state["classifier.1.weight"] = torch.zeros(1, 1).expand(10**9, state["classifier.1.weight"].shape[1])
    elif way == 4:
        state["junk"] = Called(np.ndarray, (many,))
    else:
        state[key] = torch.empty(min(many, 2**40), *state[key].shape[1:], device="meta")
    # A stranger that is too large may be refused or left out; a weight may not be loaded.
    return _written("huge sizes", sound, state, never=way not in (1, 2, 4))


class Called:
    """Pickles as a call: what a hostile file is made of."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def hostile(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """Pickles that would leave a file or a folder called `owned` behind, alone or beside sound weights."""
    bait = (
        Called(os.mkdir, "owned"),
        Called(os.system, "touch owned"),
        Called(eval, "open('owned', 'w')"),
        Called(exec, "import os; os.mkdir('owned')"),
        Called(open, "owned", "w"),
        Called(__import__("subprocess").call, ["touch", "owned"]),
        Called(torch.load, "owned"),
        Called(shutil.copy, "/etc/hostname", "owned"),
        Called(pickle.loads, pickle.dumps(Called(os.mkdir, "owned"))),
    )[way]
    state = {"state_dict": weights(), "bait": bait} if dice.random() < 0.7 else bait
    if dice.random() < 0.3:
        return Mutant("hostile pickles", sound, {sound.main: pickle.dumps(state)}, never=True)
    return _written("hostile pickles", sound, state, never=True)


def bomb(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """Zip archives whose content is far larger than they are, or that were packed again."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(sound.files[sound.main])) as archive,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for info in archive.infolist():
            content = archive.read(info)
            if (way == 0 and info.filename.endswith("data.pkl")) or (way == 1 and info.filename.endswith("/data/0")):
                content = BIG
            packed.writestr(info.filename, content)
    return Mutant("zip bombs", sound, {sound.main: file.getvalue()})


BIG = bytes(64 * 2**20)


def no_file(dice: random.Random, sound: Sound, way: int) -> Mutant:
    """Links in a circle, into nowhere, to a folder or a device; folders, pipes, sockets; all under the name of a checkpoint."""
    suffix = dice.choice([".pt", ".safetensors", ".json", ""])

    def place(folder: Path) -> Path:
        path = folder / f"thing{suffix}"
        if way == 0:
            path.symlink_to(path.name)
        elif way == 1:
            path.symlink_to("nowhere")
        elif way == 2:
            (folder / "empty").mkdir()
            path.symlink_to("empty")
        elif way == 3:
            path.symlink_to("/dev/zero")
        elif way == 4:
            os.mkfifo(path)
        elif way == 5:
            path.mkdir()
        elif way == 6:
            path.mkdir()
            os.mkfifo(path / "model.json")
            (path / "model.safetensors").symlink_to("/dev/zero")
        else:
            path.mkdir()
            (path / "model.json").symlink_to("model.json")
        return path

    return Mutant("no files", sound, {}, never=True, place=place)


Maker = Callable[[random.Random, Sound, int], Mutant]


@dataclass(frozen=True)
class Kind:
    """A kind of mutation: how many of every 100 mutants are of it, from which sound files, and how many ways it has in each of them."""

    make: Maker
    share: int
    names: tuple[str, ...]
    ways: tuple[int, ...]


ALL = ("own.pt", "bare.pt", "older.pt", "bare.safetensors", "exported.safetensors", "tfjs")
KINDS = (
    Kind(flip_weights, 14, ALL, (1,) * 6),
    Kind(flip_anywhere, 14, ALL, (1,) * 6),
    Kind(flip_structure, 18, ALL, (1,) * 6),
    Kind(truncated, 10, ALL, (1,) * 6),
    Kind(appended, 4, ALL, (4,) * 6),
    Kind(overwritten, 6, ALL, (3,) * 6),
    Kind(swapped_shapes, 5, WRITERS, (6,) * 3),
    Kind(wrong_dtypes, 5, WRITERS, (10, 10, 7)),
    Kind(not_finite, 4, WRITERS, (3,) * 3),
    Kind(nested, 4, WRITERS, (4, 4, 1)),
    Kind(missing_or_more, 4, WRITERS, (6,) * 3),
    Kind(huge, 5, ("bare.pt", "older.pt", "bare.safetensors", "tfjs"), (6, 6, 4, 5)),
    Kind(hostile, 4, ("bare.pt", "older.pt"), (9, 9)),
    Kind(bomb, 1, ("own.pt", "bare.pt"), (3, 3)),
    Kind(no_file, 2, ("bare.pt",), (8,)),
)


def planned(number: int) -> tuple[Kind, str, int]:
    """The kind, the sound file and the way of the mutant of that number: each in its turn, none left to luck."""
    turn = number * 37 % 100  # a walk through all hundred shares
    for kind in KINDS:
        if turn < kind.share:
            before = (
                number // 100 * kind.share + turn
            )  # so many of this kind came earlier, at most a round out of order
            place = before % len(kind.names)
            return kind, kind.names[place], before // len(kind.names) % kind.ways[place]
        turn -= kind.share
    raise AssertionError("the shares do not add up to 100")


def mutant(number: int, sound: Mapping[str, Sound]) -> Mutant:
    """The mutant of that number: as planned, the rest by dice."""
    kind, name, way = planned(number)
    return kind.make(random.Random(number), sound[name], way)


# ---------------------------------------------------------------- judging


def wrong_with(case: Mutant, found: Checkpoint, sound: Checkpoint) -> str:
    """Why a load is not right; "" when it is."""
    build(found)  # as every command does after loading: names and shapes must fit
    if case.never:
        return "loaded what must be refused"
    if case.said and not any(case.said in str(one) for one in found.provenance.evidence):
        return f"loaded without saying {case.said!r}"
    wanted = case.wanted or sound.weights
    stood_in = not case.wanted and any("no bias in the file" in one.text for one in found.provenance.evidence)
    if stood_in:
        # A flip in a name took a bias away: the layer does without it, and the page says so. All else must be as it was.
        wanted = {key: value for key, value in wanted.items() if key in found.weights or not key.endswith("bias")}
    if set(found.weights) != set(wanted):
        return f"other weights: {sorted(set(found.weights) ^ set(wanted))[:3]}"
    bits, changed = 0, 0
    for key, value in wanted.items():
        if found.weights[key].shape != value.shape or found.weights[key].dtype != torch.float32:
            return f"{key} has another shape or type"
        differs = found.weights[key].contiguous().view(torch.int32) ^ value.contiguous().view(torch.int32)
        changed += int((differs != 0).sum())
        bits += sum(int(n).bit_count() for n in (differs[differs != 0].long() & 0xFFFFFFFF).tolist())
    landed = sum(
        mask.bit_count()
        for name, at, mask in case.flips
        if any(n == name and a <= at < b for n, a, b in case.sound.places)
    )
    if bits != landed and not (stood_in and bits <= landed):
        return f"{bits} bits of {changed} weights differ, {landed} were flipped there"
    if case.sound.checked and found.architecture != sound.architecture:
        return "another architecture"
    return ""


def judged(case: Mutant, folder: Path, sound: Checkpoint) -> tuple[str, str]:
    """The outcome of opening a mutant: "loaded", "refused" or "wrong", and the sentence."""
    for name, raw in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    path = case.place(folder) if case.place else folder / case.sound.main
    watched.append(True)
    try:
        found = load(path)
        said = wrong_with(case, found, sound)
        return ("wrong", said) if said else ("loaded", "")
    except InputRefused as error:
        text = str(error)
        # A refusal because memory ran out below our limit would have taken that memory elsewhere.
        below: BaseException | None = error
        while below is not None:
            if isinstance(below, MemoryError) or "can't allocate memory" in str(below):
                return "wrong", f"wanted over 1 GB: {below}"
            below = below.__cause__ or below.__context__
        if "\n" in text or not text.endswith((".", "?")) or len(text) > 1500:
            return "wrong", f"no sentence: {text[:300]!r}"
        return "refused", text
    except Exception as error:
        return "wrong", f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        watched.clear()


watched: list[bool] = []
touched: list[str] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """What code from a file would have to do: noted wherever it happens while a file is opened."""
    if watched and (
        event.startswith(SPREAD)
        or (event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"))
    ):
        touched.append(f"{event} {arguments[:2]}")


def run(first: int, last: int, report: Path, folder: Path) -> None:
    """Open mutants `first` to `last` - 1, each under a watchdog, all within one gigabyte more than now."""
    torch.set_num_threads(1)
    (folder / "sound").mkdir()
    sound = sound_files(folder / "sound")
    opened = {name: load(folder / "sound" / found.main) for name, found in sound.items()}
    opened = {
        name: Checkpoint(c.architecture, c.classes, {k: v.clone() for k, v in c.weights.items()})
        for name, c in opened.items()
    }
    for name in sound:
        assert (
            wrong_with(Mutant("sound", sound[name], {}), load(folder / "sound" / sound[name].main), opened[name]) == ""
        )
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + GIGABYTE, resource.getrlimit(resource.RLIMIT_AS)[1]))
    sys.addaudithook(_watch)
    faulthandler.register(signal.SIGPROF, chain=True)  # a traceback, then the end of the process
    os.chdir(folder)
    with open(report, "a", encoding="utf-8") as lines:
        for number in range(first, last):
            case = mutant(number, sound)
            lines.write(json.dumps({"number": number, "kind": case.kind, "from": case.sound.name}) + "\n")
            lines.flush()
            place = folder / "case"
            place.mkdir()
            faulthandler.dump_traceback_later(HANGS, exit=True)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            outcome, said = judged(case, place, opened[case.sound.name])
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
            if touched or (folder / "owned").exists() or (place / "owned").exists():
                outcome, said = "wrong", f"something ran: {touched[:3]}"
                touched.clear()
                shutil.rmtree(folder / "owned", ignore_errors=True)
            lines.write(json.dumps({"number": number, "outcome": outcome, "said": said}) + "\n")
            lines.flush()
            shutil.rmtree(place)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve(), Path(made))
