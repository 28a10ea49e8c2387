"""What the user asks for: one frozen request a kind of study, passed whole from the command line to what computes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from inspect import signature
from typing import Any

import torch

from vgg_viz.arguments import require_arguments, require_keywords, shown
from vgg_viz.errors import InputRefused
from vgg_viz.maths.image_forms import Images
from vgg_viz.models.checkpoint import load
from vgg_viz.progress import Progress
from vgg_viz.studies.inputs import Given
from vgg_viz.studies.next_steps import CommandWords

FilePath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What all studies share.

    Attributes:
        out: The folder of galleries.
        seed: Of everything random.
        device: That the network runs on.
        overrides: Keywords of `load`, which overrule what the file says: arch, classes, image_size, padding, mean, std, key, weights, outputs, resize.
        command: As the reader would type it; shown on the page.
        progress: Called with (what is being made, how many parts are done, of how many).
        words: How a command line named checkpoint, pictures and options; None: as far as the values above have words.
    """

    out: FilePath = "gallery"
    seed: int = 0
    device: str | torch.device = "cpu"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    progress: Progress | None = None
    words: CommandWords | None = None

    def __post_init__(self) -> None:
        """Raise InputRefused for a value that is not of the kind that its name stands for, before anything is opened."""
        optional = [about.name for about in fields(self) if about.default is None]
        require_arguments({about.name: getattr(self, about.name) for about in fields(self)}, optional=optional)
        require_overrides(self.overrides)
        object.__setattr__(self, "device", resolve_device(self.device))


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesRequest(Request):
    """What the studies of many pictures share.

    Attributes:
        images: A folder of pictures, one picture, or pictures in memory: what is looked into; None: chosen among the labelled ones.
        data: An ImageFolder, or "shapes": what is measured on; None: what the checkpoint carries.
        preset: How much to compute: "quick", "standard" or "full".
    """

    images: FilePath | Images | None = None
    data: FilePath | None = None
    preset: str = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest(PicturesRequest):
    """A report on one checkpoint.

    Attributes:
        source: A checkpoint, a module, a file, a variant's name, or None for the bundled Tiny VGG.
        one_file: Write the gallery as one file to mail too, where that is light enough.
        keep_maps: Leave all maps raw beside the page, and finished maps where the report is interrupted.
        budget: Seconds that it may take: maps and sections that do not fit are left out, and that is said; None: all of it.
        began: When the budget began to run (time.perf_counter), for a command that had to load first; None: now.
    """

    source: Given = None
    one_file: bool = False
    keep_maps: bool = True
    budget: float | None = None
    began: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRequest(PicturesRequest):
    """A comparison of two checkpoints on the same pictures.

    Attributes:
        first: A on the page: a checkpoint, a module, a file, or a variant's name.
        second: B on the page.
    """

    first: Given
    second: Given


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest(PicturesRequest):
    """A timeline of one run.

    Attributes:
        run: The folder of a run that has kept its epochs.
        region: Of a suspected shortcut: "x0,y0,x1,y1" [px], "border[:WIDTH]", "background" or "colours".
        class_name: The class that it gives away; needed with a region.
        findings: A file of suspects instead: what `audit --json` printed, or the truth of `data shapes --shortcut`.
    """

    run: FilePath
    region: str | None = None
    class_name: str | None = None
    findings: FilePath | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRequest(Request):
    """An explanation of one picture.

    Attributes:
        source: A checkpoint, a module, a file, a variant's name, or None for the bundled Tiny VGG.
        image: A picture file, or one picture in memory.
        methods: Names of `attribution.methods()`, also several in one word with commas between them; the first leads; (): the usual ones.
        target: The class that it should be, by name or index, "predicted" or "runner-up"; None: nobody says.
        against: The class whose evidence is subtracted in the difference; None: see `picture_request.resolve_classes`.
        unit: What the maps are about in place of classes: conv5_3:12 for a channel, conv5_3:12:3,4 for one place of it.
        layer: Where layered methods look, such as conv5_3; None: chosen by map size and receptive field.
        preset: How much to compute; "quick" leaves out the runs with parts of the picture hidden, and the channels.
        force: Replace the figure `out` where it exists.
    """

    image: FilePath | Images
    source: Given = None
    methods: tuple[str, ...] = ()
    target: str | int | None = None
    against: str | int | None = None
    unit: str | None = None
    layer: str | None = None
    preset: str = "standard"
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRequest(Request):
    """An audit: where does the network look?

    Attributes:
        source: A checkpoint, a module, a file, a variant's name, or None for the bundled Tiny VGG.
        data: An ImageFolder, or "shapes": what is searched; None: what the checkpoint carries.
        classes: Names of those to search; (): all that have enough pictures.
        limit: Pictures at most, evenly over the classes.
    """

    source: Given = None
    data: FilePath | None = None
    classes: tuple[str, ...] = ()
    limit: int = 600


def require_overrides(overrides: Mapping[str, Any]) -> None:
    """Raise UnknownName for a keyword that `load` does not take."""
    require_keywords(overrides, tuple(signature(load).parameters)[1:])


def resolve_device(name: str | torch.device) -> str:
    """The device called `name`, such as "cpu" or "cuda:1"; "auto" is the best there is.

    Raises:
        InputRefused: The device is not available here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    text = str(name) if isinstance(name, str | torch.device) else ""
    kind, _, index = text.partition(":")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(kind, 0)
    if (index or "0") not in map(str, range(count)):
        raise InputRefused(f"device {shown(name)} is not available here; use cpu or auto.")
    return text
