"""A checkpoint for other programs: safetensors with everything in its header, or ONNX with the normalisation in the graph."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vgg_viz.arguments import require_arguments, shown
from vgg_viz.atomic import disk_refused, whole_file
from vgg_viz.errors import InputRefused, OutputRefused
from vgg_viz.models.build import build
from vgg_viz.models.formats.exported import header
from vgg_viz.models.live.open_network import open_network
from vgg_viz.models.network import map_sizes
from vgg_viz.models.outputs import has_scores
from vgg_viz.models.resize_rule import as_plain
from vgg_viz.models.vgg import describe
from vgg_viz.progress import tell
from vgg_viz.records import Checkpoint

SUFFIXES = (".safetensors", ".onnx")
BATCHES = (1, 3)  # with which an ONNX file is tried
TOLERANCE = 1e-4  # of logits, in parts of the largest where that is above 1


def export(checkpoint: Checkpoint | nn.Module, path: str | os.PathLike[str], *, force: bool = False) -> dict[str, Any]:
    """Write `checkpoint` to a .safetensors or .onnx file, whole or not at all.

    Args:
        checkpoint: What to write; a module as `vgg_viz.open` reads it.
        path: Of the file to write; its suffix is the format.
        force: Replace a file that is there.

    Returns:
        Plain facts: file, format, bytes, and what was left out or measured.

    Raises:
        OutputRefused: For another suffix, a missing folder, a file that is there, a failed write.
        InputRefused: Without the packages that ONNX needs, or when the written graph computes something else.
    """
    if isinstance(checkpoint, nn.Module):
        checkpoint = open_network(checkpoint)
    if not isinstance(checkpoint, Checkpoint):
        raise InputRefused(f"{shown(checkpoint)} came, where a checkpoint is expected; vgg_viz.load(path) opens one.")
    require_arguments({"path": path, "force": force})
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise OutputRefused(
            f"{path.name!r} ends in {kind or 'nothing'!r}, {' or '.join(SUFFIXES)} was expected; name the file so."
        )
    if kind == ".onnx":
        _require_onnx()
    with disk_refused(path.name):  # a name too long, say
        _require_free(path, force=force)
    with whole_file(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode & 0o777
        facts = _safetensors(checkpoint, temporary) if kind == ".safetensors" else _onnx(checkpoint, temporary)
        temporary.chmod(mode)  # safetensors makes private files
    architecture = checkpoint.architecture
    return {
        "file": str(path),
        "format": kind.removeprefix("."),
        "bytes": path.stat().st_size,
        "variant": describe(architecture).name,
        "plan": architecture.plan,
        "num_classes": architecture.num_classes,
        "classes": checkpoint.classes,
        "image_side": architecture.image_side,
        "padding": describe(architecture).padding,
        "mean": architecture.mean,
        "std": architecture.std,
        **facts,
    }


def _require_free(path: Path, *, force: bool) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise OutputRefused(
            f"there is no folder {folder.name or str(folder)!r} to write {path.name!r} in; "
            "make it first, or choose another."
        )
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OutputRefused(
            f"{path.name!r} exists and is no regular file, an export was to be written there; choose another name."
        )
    if path.exists() and not force:
        raise OutputRefused(
            f"{path.name!r} exists already and is left alone; choose another name, or replace it with --force."
        )


# ---------------------------------------------------------------- safetensors


def _safetensors(checkpoint: Checkpoint, file: Path) -> dict[str, Any]:
    from safetensors.torch import save_file

    # The library refuses tensors that share their memory, as those of a file that is mapped may.
    weights = {key: value.detach().cpu().contiguous() for key, value in checkpoint.weights.items()}
    places = [(value.data_ptr(), value.numel()) for value in weights.values() if value.numel()]
    if len(set(places)) != len(places):
        weights = {key: value.clone() for key, value in weights.items()}
    save_file(weights, file, metadata=_texts(checkpoint))
    count = len(checkpoint.specimens)
    return {"left_out": [f"{count} specimens: pictures do not travel in safetensors"] if count else []}


# ---------------------------------------------------------------- ONNX


def _require_onnx() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise InputRefused(
            f'writing ONNX needs {", ".join(missing)}, which is not installed; run pip install "vgg_viz[onnx]".'
        )


def _onnx(checkpoint: Checkpoint, file: Path) -> dict[str, Any]:
    architecture = checkpoint.architecture
    model = build(checkpoint)
    shape = (architecture.in_channels, architecture.image_side, architecture.image_side)
    name, size = "logits", str(architecture.num_classes)
    if not has_scores(architecture):
        channels, side = map_sizes(architecture)[-1]
        model, name, size = LastMap(model), "features", f"{channels}, {side}, {side}"
    tell("writing the graph")
    program = _traced(model, torch.zeros(2, *shape), name)
    program.model.metadata_props.update(_properties(checkpoint))
    program.save(file)
    tell("asking the graph what the network says")
    largest = _difference(model, file, shape, name)
    left = (("training history", checkpoint.history), ("specimens", checkpoint.specimens))
    return {
        "left_out": [f"{what}: no place for it in ONNX" for what, there in left if there],
        "input": f"images: float32 (batch, {', '.join(map(str, shape))}) in [0, 1]; the graph normalises",
        "output": f"{name}: float32 (batch, {size})",
        "checked": {"batch_sizes": BATCHES, "largest_difference": largest, "with": "onnxruntime"},
    }


class LastMap(nn.Module):
    """Convolutions without a classifier as other programs use them: (B, C, H, W) in [0, 1] -> what the last layer says (B, C, h, w)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(model.children())

    def forward(self, images: Tensor) -> Tensor:
        """The last map."""
        for part in self.parts:
            images = part(images)
        return images


def _traced(model: nn.Module, example: Tensor, output_name: str) -> Any:
    """The exporter's program; what it prints and warns on its way concerns its makers."""
    output = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                input_names=["images"],
                output_names=[output_name],
                verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            )
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        raise InputRefused(
            f"this network cannot be written as ONNX ({' '.join(str(error).split())[:120]}); write it as .safetensors."
        ) from None


def _properties(checkpoint: Checkpoint) -> dict[str, str]:
    return {f"vgg_viz.{key}": value for key, value in _texts(checkpoint).items() if key not in ("format", "history")}


def _texts(checkpoint: Checkpoint) -> dict[str, str]:
    """The header of a file, with the rule by which pictures are fitted."""
    return header(checkpoint) | {key: json.dumps(value) for key, value in as_plain(checkpoint).items()}


def _difference(model: nn.Module, file: Path, shape: tuple[int, ...], output_name: str) -> float:
    """The largest difference of what comes out between the network and the written graph, on noise in [0, 1].

    Raises:
        InputRefused: The graph is another.
    """
    # Its import would make a number for this machine in the user's folder, and tell its makers of it.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for count in BATCHES:
        images = torch.rand(count, *shape, generator=generator)
        with torch.no_grad():
            wanted = model(images)
        logits = torch.from_numpy(session.run([output_name], {"images": images.numpy()})[0])
        difference, scale = float((logits - wanted).abs().max()), max(1.0, float(wanted.abs().max()))
        if not difference <= TOLERANCE * scale:
            raise InputRefused(
                f"the ONNX graph differs from the network by {difference:.2g} in {output_name} of up to {scale:.2g}, so it was not "
                "kept; write the checkpoint as .safetensors."
            )
        largest = max(largest, difference)
    return largest


def summary_line(facts: dict[str, Any]) -> str:
    """What was written, for a terminal."""
    measured = facts.get("checked")
    checked = (
        f"; {facts['output'].partition(':')[0]} within {measured['largest_difference']:.1g} of the network's by onnxruntime"
        if measured
        else ""
    )
    return f"{facts['file']}: {facts['bytes']:,} bytes{checked}"
