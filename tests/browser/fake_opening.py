# ruff: noqa: E501  (as in fake_page)
"""A first screen made of invented records, with plain names or with names that try to break it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from fake_pictures import data_uri
from PIL import Image

from vgg_viz.gallery.opening import Bar, Bars, Look, Opening, Shot, Step
from vgg_viz.records import Finding


def picture(seed: int) -> str:
    noise = np.random.default_rng(seed).integers(0, 255, (56, 56, 3), dtype=np.uint8)
    return data_uri(Image.fromarray(noise).resize((224, 224)))


def fake_opening(names: Sequence[str]) -> Opening:
    """Five classes of `names`, a mistake and a right answer, three long commands, all that can be said."""
    rows = tuple(
        Bar(
            name,
            level,
            share,
            max(0.0, share - 0.1),
            min(1.0, share + 0.1),
            f"{share:.0%}",
            f"→ 33 {name}, 2 {name}",
            f"{name}: {share:.0%}",
        )  # type: ignore[arg-type]
        for name, share, level in zip(names, (0.0, 0.4, 0.795, 0.9, 1.0), ("bad", "warn", "note", "", ""), strict=False)
    )
    shots = tuple(Shot(picture(n), f"Map for {names[n]}", f"for {names[n]}") for n in range(3))
    mistake = Look(False, f"{names[0]}, predicted as {names[1]} (87.9 %)", shots, "0", "0.014 logit", False, "both maps; 2 % beyond", f"38 % of the map for {names[0]} lies on the object and 36 % of that for {names[1]}; the object covers 14 %.")  # fmt: skip
    right = Look(True, f"{names[2]}, predicted right (99.0 %)", shots[:2], "−0.2 logit", "0.2 logit", True, "this map", "42 % of the map lies on the object, which covers 12 %.")  # fmt: skip
    command = f"python -m vgg_viz evaluate 'runs/{names[0][:40]}/best.pt' --data TRAIN_DIR --image-size 96 --mean 0.48502,0.457957,0.407604 --std 0.00392157,0.00392157,0.00392157"
    steps = tuple(Step(f"Was it learned? {n}", "Measure on the training pictures. Right there: the two sets differ.", command) for n in range(3))  # fmt: skip
    sure = (
        Finding("warn", "Few pictures", "100, 25 or more a class; the accuracy is known to ± 9.2 points."),
        Finding("warn", "10 pictures are exact copies of another.", "90 different pictures remain."),
        Finding("bad", "Far too sure", "it claims 90 % and is right in 65 %; 21 of 35 mistakes above 90 %."),
        Finding("note", "Not known", f"whether it was trained on {names[0]}; whether a shortcut decides."),
    )
    lines = tuple(Finding("warn", f"The layer {name} cannot be told from random weights.", anchor="overview-layers") for name in names[:3])  # fmt: skip
    return Opening(
        Bars("Is it good, and where not?", rows, "5 more: 96 to 100 %.", 0.1, "Share recognised of each class."),
        "Where does it look?",
        "HiRes-CAM at relu2_2, passed every test on this network",
        (mistake, right),
        "What to do next",
        steps,
        "How sure are we?",
        sure,
        lines,
    )
