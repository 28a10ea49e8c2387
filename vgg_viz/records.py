"""What flows through the house: frozen records, with shapes and units.

B batch, C channels, H W image side [px], h w side of a layer's map, K classes.
Tensors are float32 on the model's device unless said. Nothing here computes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor


# ---------------------------------------------------------------- models


@dataclass(frozen=True, slots=True)
class Architecture:
    """All that is needed to build a network, and nothing about its weights.

    Attributes:
        plan: The chain of its layers, in the words of `models.plan` ("64 64 M 128 128 M | 512 K").
        num_classes: How many outputs.
        in_channels: 1 (grey) or 3 (RGB).
        image_side: Of the pictures that it was made for [px].
        mean: What the first layer subtracts per channel, on pictures in [0, 1].
        std: What it then divides by.
        outputs: What the logits mean, of `maths.outputs.OUTPUTS`: "softmax", "sigmoid" or "scores".
    """

    plan: str
    num_classes: int = 1000
    in_channels: int = 3
    image_side: int = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    outputs: str = "softmax"


@dataclass(frozen=True, slots=True)
class Resize:
    """How a picture of any size becomes the square that a network reads; `maths.fitting.fit` does it.

    Attributes:
        side: Of that square [px].
        shorter: What the shorter side is resized to before the centre square is cut out [px], `side` or more; None: `side`.
        squash: Both sides are resized to that length, whatever the picture's shape.
        interpolation: Between pixels; with antialiasing.
    """

    side: int
    shorter: int | None = None
    squash: bool = False
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the training pictures left behind."""

    epoch: int  # from 1
    train_loss: float  # mean cross-entropy over pictures, not over batches [nat]
    train_accuracy: float  # [0, 1]
    val_loss: float  # [nat]
    val_accuracy: float  # [0, 1]
    learning_rate: float  # at the end of the epoch
    seconds: float


@dataclass(frozen=True, slots=True)
class Specimen:
    """One held-out labelled picture that travels inside a checkpoint, encoded as PNG."""

    png: bytes
    label: int
    name: str
    mask: bytes | None = None  # PNG, one channel, 255 on the object
    boxed: bool = False  # the mask is that of a box around the object, not its outline


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that is known of a checkpoint, or assumed, and from what; or what else would fit.

    Attributes:
        text: A sentence for a reader: no program reads it.
        settled_by: The options that would settle it, such as ("--mean", "--std"); none: it is known, or nothing can
            settle it.
        alarm: What the file says of itself contradicts what is in it: whatever is shown may be of another network, so it
            stands on top of everything. So does what was assumed although other networks are about as likely.
        plans: Other networks that the weights could be, in the words of `models.plan`.
    """

    text: str
    settled_by: tuple[str, ...] = ()
    alarm: bool = False
    plans: tuple[str, ...] = ()

    @property
    def assumed(self) -> bool:
        """Whether it is a guess."""
        return bool(self.settled_by)

    def open(self, settled: Collection[str]) -> bool:
        """Whether it still has something to say where these options are set: a fact has, and a guess until all of its own are."""
        return not self.settled_by or not set(self.settled_by) <= set(settled)

    def __str__(self) -> str:
        """The sentence as a reader meets it, with the options before its full stop."""
        stop = "." if self.text.endswith(".") else ""
        return f"{self.text.removesuffix('.')} ({', '.join(self.settled_by)}){stop}" if self.settled_by else self.text


@dataclass(frozen=True, slots=True)
class RecordedAccuracy:
    """What a training script wrote beside the weights: a witness of whether the network was read rightly.

    Attributes:
        share: [0, 1], top-1.
        place: Where it stands in the file, such as "best_acc" (from outside: hostile until escaped).
    """

    share: float
    place: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a checkpoint came from, and how sure we are of what was inferred."""

    file: str  # name only, never a path
    sha256: str
    format: str  # "vgg_viz", "torchvision", ...
    evidence: tuple[Evidence, ...] = ()  # what was read or inferred, from what
    alternatives: tuple[Evidence, ...] = ()  # what else would fit
    ignored_keys: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(
        default_factory=dict
    )  # {"kind": "shapes", "seed": 0, ...} or {"kind": "folder", "name": ...}
    training: Mapping[str, Any] = field(default_factory=dict)  # the recipe and versions that made the file
    accuracy: RecordedAccuracy | None = None  # that the file says its network had


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained network on disk, opened: what it is, what it weighs, what it remembers.

    Attributes:
        named: Whether somebody named the classes; False: they are called by their numbers, and such names mean
            nothing elsewhere.
        resize: How its pictures are fitted; None: the shorter side to the network's side, then the centre square.
    """

    architecture: Architecture
    classes: tuple[str, ...]
    weights: Mapping[str, Tensor]
    history: tuple[Epoch, ...] = ()
    specimens: tuple[Specimen, ...] = ()
    provenance: Provenance = field(default_factory=lambda: Provenance("", "", ""))
    named: bool = True
    resize: Resize | None = None

    @property
    def fitting(self) -> Resize:
        """How a picture is brought to the side that the network reads."""
        side = self.architecture.image_side
        return Resize(side) if self.resize is None else replace(self.resize, side=side)


# ---------------------------------------------------------------- data


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures ready for the model.

    Attributes:
        images: (B, C, H, W) float32 in [0, 1], not normalised: the model does that.
        labels: (B,) int64, or None when nobody knows.
        names: B names to show (file names; hostile until escaped).
        masks: (B, H, W) bool, True on the object, or None. An empty one says that nobody knows where its object is,
            and the measures of `maths.metrics` are then NaN: where boxes are known, some pictures may have none.
        skipped: Files that were left out: (name, why); whoever shows the batch shows these too.
        boxed: (B,) bool, True where the mask is that of boxes and not an outline; None: all are outlines.
        box_note: Where the boxes among the masks come from and which were taken, as a phrase; "" where all are outlines.
        doubts: Sentences on masks and boxes that are not used or not counted; whoever shows the batch shows these too.
        targets: (B, K) float32 in the place of labels: which of several labels a picture has (1, 0), or the values that
            scores should have; NaN where nobody knows.
    """

    images: Tensor
    labels: Tensor | None
    names: tuple[str, ...]
    masks: Tensor | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    boxed: Tensor | None = None
    box_note: str = ""
    doubts: tuple[str, ...] = ()
    targets: Tensor | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def known(self) -> Tensor:
        """(B,) bool: the pictures of which it is known where the object is."""
        return self.images.new_zeros(len(self)).bool() if self.masks is None else self.masks.flatten(1).any(1)


@dataclass(frozen=True, slots=True)
class PictureOrigin:
    """Where pictures come from; `studies.inputs.phrase` says it.

    Attributes:
        kind: "folder" (--data), "table" (a labels.csv with its pictures), "painted" (the set shapes), "specimens" (they
            travel in a checkpoint), "given" (--images), "by confidence" (mistakes and successes among those with
            labels), "spread" (evenly over those that were measured on), "by change" (of two networks: those whose
            answer changed), "by learning" (of a run: those forgotten on the way, then some that came late).
        count: How many; of those chosen by confidence: at most so many.
        of: Of how many, where not all were taken.
        name: Of the folder.
        split: Its part: "train", "val", "test", or "" where it has no parts.
        seed: With which they were painted.
        inside: {letter: how many} of the specimens, where they come from several checkpoints.
    """

    kind: Literal[
        "folder", "table", "painted", "specimens", "given", "by confidence", "spread", "by change", "by learning"
    ]
    count: int = 0
    of: int | None = None
    name: str = ""
    split: str = ""
    seed: int = 0
    inside: Mapping[str, int] = field(default_factory=dict)

    @property
    def held_out(self) -> bool:
        """Whether they are known not to have been learned from: of a folder without parts only its owner knows."""
        return self.kind in ("painted", "specimens") or (self.kind == "folder" and bool(self.split))


# ---------------------------------------------------------------- looking inside


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """Where a method looks that looks at one layer, and why.

    Attributes:
        name: Of the layer.
        reason: In a phrase without the name and without a full stop.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        """As a sentence."""
        return f"{self.name}: {self.reason}."


@dataclass(frozen=True, slots=True)
class Activations:
    """Copies of what layers said in one forward pass.

    Attributes:
        maps: {layer name: (B, C, h, w) or (B, C)}, detached.
        logits: (B, K).
    """

    maps: Mapping[str, Tensor]
    logits: Tensor


@dataclass(frozen=True, slots=True)
class Neuron:
    """One unit, or a whole channel, in place of a class: what a map can also be about.

    Attributes:
        layer: Name such as "conv5_3", or "fc7".
        channel: From 0.
        row: Of the unit on the layer's map, from 0; None: the mean over the channel's map.
        column: Of the unit, likewise.
    """

    layer: str
    channel: int
    row: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        """As the command line spells it: "conv5_3:12", "conv5_3:12:3,4"."""
        place = "" if self.row is None else f":{self.row},{self.column}"
        return f"{self.layer}:{self.channel}{place}"


@dataclass(frozen=True, slots=True)
class Attribution:
    """What a method says about the pictures of one batch, raw: no clamp, no rescale, no resize.

    Attributes:
        values: (B, h, w); pixel methods have h = H (channels already reduced, `unit` says how), layer methods the
            layer's map.
        unit: What a value is: "logit", "logit / intensity", ...; about a neuron "activation", "activation /
            intensity", ...
        signed: True when values below zero mean evidence against the target.
        layer: Layer name, or None for a map in pixels.
        targets: (B,) class index each map is about; -1 where it is about a neuron, see `unit_of`.
        residual: (B,) completeness error [logit]: sum of the map minus (f(x) - f(baseline)), where the method
            promises completeness.
        passes: Forward + backward passes per picture that it cost.
        seconds: Wall clock of the whole call [s].
        settings: What else the map depends on (seed, steps, baseline, ...), as plain values.
        against: (B,) class index whose score was subtracted, where the map is about one class against another.
        unit_of: The neuron or channel that the map is about, such as "conv5_3:12:3,4", where it is not about a class.
    """

    method: str
    values: Tensor
    unit: str
    signed: bool
    layer: str | None
    targets: Tensor
    residual: Tensor | None = None
    passes: float = 0.0
    seconds: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    against: Tensor | None = None
    unit_of: str | None = None


# ---------------------------------------------------------------- showing


@dataclass(frozen=True, slots=True)
class Caption:
    """What you see, how to read it, what it cannot say; the figure's fact and its place on the page (`gallery.texts`)."""

    see: str
    read: str
    cannot: str
    fact: str = ""
    tab: str = ""
    card: str = ""
    shelf: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; numeric ones are right-aligned and sort as numbers."""

    name: str
    unit: str = ""
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of plain values (str, int, float, None) under named columns."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str | int | float | None, ...], ...]


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One thing to look at, with the numbers that it shows.

    Attributes:
        slug: [a-z0-9-], unique in a gallery: the address of the figure and the stem of its files.
        alt: One or two sentences: what kind of picture, and its main fact with its number.
        figure: A matplotlib Figure (drawn on the light theme), or None for a table or a viewer.
        kind: "chart" (vector: stored as SVG) or "picture" (pixels: stored as WebP), how the page keeps it.
        numbers: Plain JSON values (no NaN): everything that the figure shows.
        table: Shown as an HTML table (below the figure when both are given).
        viewer: Payload of the interactive viewer (see gallery/viewer.py), or None.
    """

    slug: str
    title: str
    caption: Caption
    alt: str
    figure: Figure | None = None
    kind: Literal["chart", "picture"] = "chart"
    numbers: Mapping[str, Any] = field(default_factory=dict)
    table: Table | None = None
    viewer: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the verdict: a sentence with its number, what is behind it, its kind ("" of a section), where it is shown."""

    level: Literal["good", "note", "warn", "bad"]
    text: str
    detail: str = ""
    key: str = ""
    anchor: str = ""

    @property
    def said(self) -> str:
        """All of it."""
        return f"{self.text} {self.detail}" if self.detail else self.text
