# ruff: noqa: E501  (a record a line reads better here than a column of fragments)
"""A gallery page made of invented records: every kind of exhibit, and names that try to break it."""

from __future__ import annotations

import base64
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
from fake_opening import fake_opening
from fake_pictures import data_uri
from PIL import Image, ImageDraw
from viewer_data import told_by_hand

from vgg_viz.gallery.layout import PageExhibit, PageSection
from vgg_viz.gallery.page import IndexRow, Page
from vgg_viz.records import Caption, Column, Exhibit, Finding, Table

SIDE = 64
LAYERS = (  # Tiny VGG without padding: name, map side, size, jump, centre
    ("conv1_1", 62, 3, 1, 1.0), ("conv1_2", 60, 5, 1, 2.0), ("conv2_1", 28, 10, 2, 4.5), ("conv2_2", 26, 14, 2, 6.5),
)  # fmt: skip
CLASSES = ("circle", "square", "triangle", "star", "ring", "cross", "crescent", "heart", "arrow", "hexagon")
HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "\"'><img src=x onerror=document.title='owned'>",
    "__proto__",
    "cat\u202egnp.exe",
    "long" * 75,
    "",
    "{{ 7 * 7 }}{% raw %}",
    "../../etc/passwd",
    "line\u2028break\u0000null",
    "\ud800 lone",
)
HOSTILE_CLASSES = tuple(name or "one without" for name in HOSTILE)  # of a checkpoint: each class has a name


def bytes_of(map_: np.ndarray) -> dict[str, Any]:
    """A raw map as the payload holds it: size, range, base64 of its quantised bytes."""
    low, high = float(map_.min()), float(map_.max())
    scaled = np.zeros_like(map_) if high == low else (map_ - low) / (high - low) * 255
    data = base64.b64encode(np.rint(scaled).astype(np.uint8).tobytes()).decode()
    return {"h": map_.shape[0], "w": map_.shape[1], "low": low, "high": high, "data": data}


def painted(index: int, noise: np.random.Generator) -> tuple[Image.Image, Image.Image, tuple[float, float]]:
    """A textured picture with one shape, its mask, and the shape's centre."""
    scale = 4
    base = noise.integers(70, 180, 3)
    field = noise.normal(0, 1, (SIDE, SIDE, 1)) * 16 + np.linspace(-30, 30, SIDE)[None, :, None] + base
    photo = Image.fromarray(np.clip(field, 0, 255).astype(np.uint8).repeat(scale, 0).repeat(scale, 1))
    mask = Image.new("L", photo.size)
    x, y, r = *noise.uniform(20, 44, 2), noise.uniform(10, 16)
    colour = tuple(int(c) for c in noise.integers(0, 255, 3))
    for target, fill in ((ImageDraw.Draw(photo), colour), (ImageDraw.Draw(mask), 255)):
        box = [(x - r) * scale, (y - r) * scale, (x + r) * scale, (y + r) * scale]
        if index % 3 == 0:
            target.ellipse(box, fill=fill)
        elif index % 3 == 1:
            target.rectangle(box, fill=fill)
        else:
            target.regular_polygon((x * scale, y * scale, r * scale), 3, fill=fill)
    return photo.resize((SIDE, SIDE), Image.Resampling.BOX), mask.resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, y)


def bump(units: int, jump: float, centre: float, at: tuple[float, float], width: float) -> np.ndarray:
    """A smooth hill on a layer's map, its top above the place `at` on the photo."""
    pixels = np.arange(units) * jump + centre
    return np.exp(-((pixels[None] - at[0]) ** 2 + (pixels[:, None] - at[1]) ** 2) / (2 * width**2)).astype(np.float32)


def attention(photos: int = 12, hostile: bool = True) -> dict[str, Any]:
    """What `told_by_hand` makes the payload of an attention viewer from, with the sizes of a Tiny VGG on 64 px; the caller's own."""
    return deepcopy(_attention(photos, hostile))


@cache
def _attention(photos: int, hostile: bool) -> dict[str, Any]:
    noise = np.random.default_rng(0)
    classes = list(CLASSES)
    if hostile:
        classes[7], classes[8] = HOSTILE[0], "\u202e" + "reversed " + "name" * 70
    payload: dict[str, Any] = {
        "kind": "attention",
        "photos": [],
        "classes": classes,
        "maps": [],
        "layers": [{"name": n, "jump": j, "centre": c, "size": s} for n, _, s, j, c in LAYERS],
        "methods": [
            {
                "id": "saliency",
                "title": "Saliency",
                "signed": False,
                "unit": "logit / intensity",
                "about": "How fast the class score changes when a pixel changes, without its sign.",
                "evidence": "",
            },
            {
                "id": "input_x_gradient",
                "title": "Input × Gradient",
                "signed": True,
                "unit": "logit",
                "about": "Each pixel's first-order share of the score.",
                "evidence": "",
            },
            {
                "id": "grad_cam",
                "title": "Grad-CAM",
                "signed": False,
                "unit": "logit",
                "about": "Channels of one layer, weighted by how much the class score follows them; only what speaks for the class is kept.",
                "evidence": "On planted shapes its peak lies on the object in 87 of 100 pictures; a map from shuffled weights does so in 21.",
            },
        ],
    }
    for index in range(photos):
        photo, mask, at = painted(index, noise)
        true = index % 9 if hostile else index % 7
        guess = true if index % 4 else (true + 3) % 10
        top = [[guess, 0.83 - 0.02 * index], [true if guess != true else (true + 1) % 10, 0.1], [(true + 5) % 10, 0.04]]
        name = HOSTILE[index] if hostile and index < len(HOSTILE) else f"shapes_{index:04d}.png"
        payload["photos"].append(
            {
                "name": name,
                "src": data_uri(photo),
                "width": SIDE,
                "height": SIDE,
                "true": true,
                "top": top,
                "mask": data_uri(mask) if index != 1 else None,
            }
        )
        targets = [("predicted", guess)] + ([("true", true)] if guess != true else []) + [("runner-up", top[1][0])]
        for target, class_index in targets:
            strength = {"predicted": 3.0, "true": 1.6, "runner-up": 1.0}[target]
            for name_, units, size, jump, centre in LAYERS:
                hill = bump(units, jump, centre, at, 5 + size / 2) * strength + noise.normal(0, 0.05, (units, units))
                payload["maps"].append(
                    {
                        "photo": index,
                        "method": "grad_cam",
                        "layer": name_,
                        "target": target,
                        "class": class_index,
                        **bytes_of(np.maximum(hill, 0)),
                    }
                )
            grain = bump(SIDE, 1, 0, at, 9) * noise.gamma(1.2, 0.4, (SIDE, SIDE)) * strength
            if target != "runner-up":  # not every method exists for every target
                payload["maps"].append(
                    {
                        "photo": index,
                        "method": "saliency",
                        "layer": None,
                        "target": target,
                        "class": class_index,
                        **bytes_of(grain),
                    }
                )
            signed = (grain * noise.choice([-0.7, 1], (SIDE, SIDE))).reshape(32, 2, 32, 2).mean((1, 3))
            payload["maps"].append(
                {
                    "photo": index,
                    "method": "input_x_gradient",
                    "layer": None,
                    "target": target,
                    "class": class_index,
                    **bytes_of(signed),
                }
            )
    return payload


def chart(dark: bool) -> str:
    """A small vector chart with style attributes, as matplotlib writes them."""
    ink, ground = ("#ebe8e1", "#14171b") if dark else ("#1c1c1a", "#ffffff")
    lines = "".join(
        f'<polyline points="{" ".join(f"{70 + 60 * i},{320 - 240 * (1 - 0.75 ** (i + k))}" for i in range(12))}" '
        f'style="fill: none; stroke: {colour}; stroke-width: 2.5"/>'
        for k, colour in ((0, "#3b7ddd"), (2, "#e0803a"))
    )
    ticks = "".join(
        f'<text x="{70 + 60 * i}" y="350" style="font: 13px sans-serif; fill: {ink}">{i + 1}</text>' for i in range(12)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 380" width="820" height="380">'
        f'<rect width="820" height="380" style="fill: {ground}"/>{lines}{ticks}'
        f'<text x="330" y="374" style="font: 14px sans-serif; fill: {ink}">epoch</text></svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def wall(dark: bool) -> str:
    """A wall of small maps, as a picture."""
    noise = np.random.default_rng(1)
    tiles = noise.random((5, 8, 9, 9)).repeat(8, 2).repeat(8, 3)
    ground = 26 if dark else 255
    padded = np.pad(tiles * 255, ((0, 0), (0, 0), (4, 4), (4, 4)), constant_values=ground)
    return data_uri(Image.fromarray(padded.transpose(0, 2, 1, 3).reshape(5 * 80, 8 * 80).astype(np.uint8)))


def caption(see: str) -> Caption:
    """Three paragraphs, the last two always the same."""
    return Caption(
        see=see,
        read="Follow one colour from left to right. Where the two lines part, the network learns its pictures by heart.",
        cannot="It cannot say why the lines part, nor what would happen on pictures from another source.",
    )


def files(slug: str, *extra: str) -> tuple[tuple[str, str], ...]:
    """Downloads of one figure."""
    return (*((kind, f"figures/{slug}.{kind.lower()}") for kind in ("PNG", *extra)), ("JSON", f"data/{slug}.json"))


@cache
def exhibits(hostile: bool) -> dict[str, PageExhibit]:
    """One exhibit of each kind."""
    names = HOSTILE if hostile else CLASSES
    layers = Table(
        (
            Column("Layer"),
            Column("Kind"),
            Column("Shape"),
            Column("Receptive field", "px", True),
            Column("Jump", "px", True),
            Column("Parameters", "", True),
            Column("Work", "MMAC", True),
            Column("Active share", "", True),
        ),
        tuple(
            (n, "conv", f"10 × {u} × {u}", s, j, 280 * s, None if i == 2 else 0.03 * s, 0.41 - 0.06 * i)
            for i, (n, u, s, j, _) in enumerate(LAYERS * 5)
        ),
    )
    errors = Table(
        (Column("Photo"), Column("Predicted"), Column("True class"), Column("Confidence", "%", True)),
        tuple((name, names[(i + 1) % len(names)], name, 99.1 - 3.7 * i) for i, name in enumerate(names)),
    )
    title = HOSTILE[0] if hostile else "Most confident mistakes"
    return {
        "curves": PageExhibit(
            Exhibit(
                "training-curves",
                "Loss and accuracy, epoch by epoch",
                caption(
                    "Cross-entropy of the training pictures (blue) and of 2,000 held-out ones (orange) after each of 12 epochs."
                ),
                "Line chart: both losses fall; the held-out one stops falling after epoch 9 at 0.31 nat.",
                numbers={
                    "best_epoch": 9,
                    "val_loss": 0.3134,
                    "val_accuracy": 0.9315,
                    "learning_rate": {"first": 0.01, "last": 1e-5},
                    "train_loss": [2.3 * 0.75**i for i in range(12)],
                    "note": names[3],
                    "seconds": float("nan"),
                },
            ),
            chart(False),
            chart(True),
            820,
            380,
            (*files("training-curves", "SVG"), ("CSV", "data/training-curves.csv")),
        ),
        "wall": PageExhibit(
            Exhibit(
                "feature-maps",
                "What the first ten channels answer",
                caption("Ten maps of conv1_1 for one photo, on one shared scale."),
                "Wall of 40 maps; the brightest answers 2.1.",
                kind="picture",
                numbers={f"channel_{i}": {"mean": 0.1 * i, "dead": i == 3} for i in range(40)},
            ),
            wall(False),
            wall(True),
            640,
            400,
            files("feature-maps"),
        ),
        "one-theme": PageExhibit(
            Exhibit(
                "kernels",
                "First-layer kernels",
                caption("Ten 3 × 3 kernels in colour."),
                "Ten small colour patches.",
                kind="picture",
            ),
            wall(False),
            None,
            400,
            250,
            files("kernels"),
        ),
        "layers": PageExhibit(
            Exhibit(
                "layer-table",
                "Every layer, with what it sees and what it costs",
                caption("One row a layer, from the photo upwards."),
                "Table of 20 layers.",
                table=layers,
            ),
            files=(("CSV", "data/layer-table.csv"), ("JSON", "data/layer-table.json")),
        ),
        "errors": PageExhibit(
            Exhibit(
                "confident-errors",
                title,
                caption("The mistakes the network was surest of."),
                "Table of mistakes.",
                table=errors,
            ),
            files=(("JSON", "data/confident-errors.json"),),
        ),
        "viewer": PageExhibit(
            Exhibit(
                "attention-viewer",
                "Where does it look?",
                Caption(
                    "A photo, and on it the map of one method.",
                    "Bright means: this place speaks for the class. Compare layers: deeper units see more of the photo at once.",
                    "A map says where evidence was found, never whether the reason is a good one.",
                ),
                "Interactive viewer of attribution maps; the figures below show the same maps.",
                viewer=told_by_hand(attention(12, hostile)),
            ),
            files=(("JSON", "data/attention-viewer.json"),),
        ),
    }


def fake_page(hostile: bool = True) -> Page:
    """A whole gallery page."""
    shown = exhibits(hostile)
    return Page(
        title=HOSTILE[1] if hostile else "tiny_vgg on shapes",
        subtitle="Tiny VGG, ten classes, 64 px: trained on painted shapes, looked at from the inside.",
        findings=(
            Finding(
                "good", "It names 93.2 % of 2,000 held-out pictures rightly, and looks at the object when it does."
            ),
            Finding("warn", "Ring and circle are taken for each other in 31 of 46 mistakes."),
            Finding(
                "note", "Grad-CAM is read at conv2_2: the deepest map of at least 7 × 7 whose field fits the photo."
            ),
            Finding(
                "bad",
                f"3 of 10 channels of conv1_2 never answer: {HOSTILE[3]}"
                if hostile
                else "3 of 10 channels of conv1_2 never answer.",
            ),
        ),
        facts=(
            ("Variant", "tiny_vgg"),
            ("Parameters", "19,920"),
            ("Classes", "10"),
            ("Input", "64 × 64 px"),
            ("Accuracy", "93.2 %"),
            ("Calibration error", "0.021"),
        ),
        opening=fake_opening(HOSTILE_CLASSES if hostile else CLASSES),
        warnings=(
            "The checkpoint names no licence for its pictures.",
            f"2 files could not be read: {HOSTILE[7]}, {HOSTILE[0]}"
            if hostile
            else "2 files could not be read: a.png, b.png",
        ),
        sections=(
            PageSection(
                "overview",
                "Overview",
                "What this network is made of, and what that costs. Read the table from the photo upwards.",
                (shown["layers"],),
            ),
            PageSection("training", "Training", "How it came to be what it is.", (shown["curves"],)),
            PageSection("mistakes", "Mistakes", "Where it goes wrong, and how sure it was.", (shown["errors"],)),
            PageSection("activations", "Activations", "What the channels answer.", (shown["wall"], shown["one-theme"])),
            PageSection(
                "attention",
                "Attention",
                "Which places on the photo spoke for the answer. Choose a photo; the map is coloured as you choose.",
                (shown["viewer"],),
            ),
            PageSection(
                "compare",
                "Data",
                "",
                (),
                (("The checkpoint holds no pictures to look at.", "python -m vgg_viz report model.pt --images DIR"),),
            ),
        ),
        footer=(
            ("Command", "python -m vgg_viz report model.pt"),
            ("Seed", "0"),
            ("torch", "2.14.1"),
            ("Device", "cpu"),
            ("Checkpoint sha256", "9f2c" * 16),
            ("Run time", "14.2 s"),
        ),
    )


def fake_rows(hostile: bool = True) -> tuple[IndexRow, ...]:
    """An index of three galleries, one of them broken."""
    noise = np.random.default_rng(3)
    facts = (("Variant", "tiny_vgg"), ("Parameters", "19,920"), ("Accuracy", "93.2 %"))
    return (
        IndexRow(
            "tiny_vgg",
            "tiny_vgg on shapes",
            "It names 93.2 % of 2,000 held-out pictures rightly.",
            "good",
            facts,
            thumbnail=data_uri(painted(0, noise)[0]),
        ),
        IndexRow(
            HOSTILE[0] if hostile else "vgg11",
            HOSTILE[0] if hostile else "vgg11 on CIFAR-10",
            "Held-out loss rises from epoch 4 on.",
            "warn",
            (("Variant", "vgg11"), ("Parameters", "9,231,114"), ("Accuracy", "81.0 %"), ("Epochs", "20")),
            thumbnail=data_uri(painted(1, noise)[0]),
        ),
        IndexRow(
            "javascript:alert(1)",
            "half-written",
            "",
            "",
            error="Its manifest.json is not JSON; make the gallery again.",
        ),
    )
