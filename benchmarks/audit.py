"""Does the audit find what networks really look at, and nothing else? Measured over the zoo of `audit_zoo.py`.

A network counts as a user of its shortcut when the true mark, painted on held-out pictures of other classes, turns at least one in
ten of them into the marked class (`reliance`, no code of the audit in it). The audit sees 600 pictures that share nothing with
training and carry the mark as often. It is right when a finding names the marked class, the kind, and of a corner tag the place
(intersection over union of 0.25 or more, or four fifths of the named patch inside the true one). A clean network with any finding
is a false alarm. The audit was made with the tuning zoo in sight; the fresh one, with other seeds, measures it.

    python benchmarks/audit.py --zoo fresh [--part 0/1] [--sample SEED] [--masks with|without|boxes] [--table]

What was audited is kept beside the checkpoints and not audited again; --table prints without auditing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from audit_zoo import ZOOS, Animal, animals, audited_shortcut, reliance, sample, trained

from vgg_viz.data.cache import paint_labelled
from vgg_viz.data.shapes import CLASSES
from vgg_viz.data.shortcuts import KINDS, region
from vgg_viz.maths.metrics import wilson_interval
from vgg_viz.maths.segmentation import box_of
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.records import Batch
from vgg_viz.shortcuts.findings import audit
from vgg_viz.shortcuts.region import patch_overlap
from vgg_viz.shortcuts.region_text import PLANTED

USES = 0.10  # share of other classes' pictures that the true mark turns, from which a network is a user
PICTURES = 600
SUFFIXES = {"with": ".masks.json", "without": ".json", "boxes": ".boxes.json"}


def boxed(batch: Batch) -> Batch:
    """The same pictures with the box around each object in place of its outline."""
    boxes = torch.zeros_like(batch.masks)
    for filled, mask in zip(boxes, batch.masks, strict=True):
        box = box_of(mask.numpy())
        if box is not None:
            filled[box.y0 : box.y1, box.x0 : box.x1] = True
    return replace(batch, masks=boxes, boxed=torch.ones(len(batch), dtype=torch.bool))


def audited(animal: Animal, path: Path, objects: str) -> dict[str, Any]:
    """What the audit says about one network, and what is true, as plain values."""
    kept = path.with_suffix(SUFFIXES[objects])
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    model = build(load(path))
    side = model.architecture.image_side
    shortcut = audited_shortcut(animal.shortcut) if animal.shortcut else None
    batch = paint_labelled(PICTURES, seed=animal.seed, split="test", side=side, shortcut=shortcut).as_batch()
    started = time.process_time()
    seen = audit(model, {"with": batch, "boxes": boxed(batch)}.get(objects, replace(batch, masks=None)))
    spent = time.process_time() - started
    found = [
        {
            "class": CLASSES[one.wanted],
            "kind": one.region.kind,
            "box": one.region.box,
            "effect": one.verdict.effect,
            "odds": one.verdict.odds,
            "moved": one.verdict.moved,
            "p": one.adjusted,
        }
        for one in seen.findings
    ]
    told = {
        "name": animal.name,
        "side": side,
        "right": float(seen.right.float().mean()),
        "cpu": spent,
        "found": found,
        "tried": len(seen.tried),
    }
    if animal.shortcut:
        told["turned"], told["lost"] = reliance(path, animal.shortcut)
        told |= {"kind": animal.shortcut.kind, "class": animal.shortcut.name, "box": region(animal.shortcut, side)}
    kept.write_text(json.dumps(told))
    return told


def named(told: dict[str, Any]) -> bool:
    """Whether a finding names class, kind and place."""
    same = [one for one in told["found"] if one["class"] == told["class"] and one["kind"] == PLANTED[told["kind"]]]
    return any(placed(one["box"], told) for one in same)


def placed(box: Sequence[int] | None, told: dict[str, Any]) -> bool:
    """Whether a box is the true place, where there is one."""
    if told["kind"] != "corner":
        return True
    true = told["box"]
    shared = max(0, min(box[2], true[2]) - max(box[0], true[0])) * max(0, min(box[3], true[3]) - max(box[1], true[1]))
    return patch_overlap(tuple(box), tuple(true)) >= 0.25 or shared >= 0.8 * (box[2] - box[0]) * (box[3] - box[1])


def table(results: Sequence[dict[str, Any]]) -> None:
    """Users of each kind and how many were named, weak users, clean networks and false alarms."""
    print(
        f"{'kind':<10}{'networks':>9}{'users':>7}{'named':>7}{'class':>7}{'non-users':>11}{'named':>7}{'other findings':>16}"
    )
    total = [0] * 7
    for kind in KINDS:
        own = [told for told in results if told.get("kind") == kind]
        users, others = ([t for t in own if (t["turned"] >= USES) == wanted] for wanted in (True, False))
        classes = sum(any(one["class"] == t["class"] for one in t["found"]) for t in users)
        stray = sum(one["class"] != t["class"] for t in own for one in t["found"])
        row = [len(own), len(users), sum(map(named, users)), classes, len(others), sum(map(named, others)), stray]
        total = [a + b for a, b in zip(total, row, strict=True)]
        print(f"{kind:<10}{row[0]:>9}{row[1]:>7}{row[2]:>7}{row[3]:>7}{row[4]:>11}{row[5]:>7}{row[6]:>16}")
    clean = [told for told in results if "kind" not in told]
    alarms = sum(bool(told["found"]) for told in clean)
    print(f"{'all':<10}{total[0]:>9}{total[1]:>7}{total[2]:>7}{total[3]:>7}{total[4]:>11}{total[5]:>7}{total[6]:>16}")
    for what, hits, of in (
        ("users named rightly", total[2], total[1]),
        ("clean networks with a finding", alarms, len(clean)),
    ):
        low, high = wilson_interval(hits, max(1, of))
        print(
            f"{what}: {hits} of {of}, {100 * hits / max(1, of):.0f} % (95 % interval {100 * low:.0f} to {100 * high:.0f})"
        )
    cpu = sorted(told["cpu"] for told in results)
    print(f"one audit: {cpu[len(cpu) // 2]:.1f} s of one core (median), {PICTURES} pictures")


def main() -> None:
    """Audit what was not audited yet, and print the tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--zoo", choices=sorted(ZOOS), default="fresh")
    options.add_argument("--folder", type=Path, help="of the networks, by default runs/audit-<zoo>")
    options.add_argument("--only", nargs="*", help="names of networks")
    options.add_argument(
        "--masks", choices=("with", "without", "both", "boxes"), default="both", help="of the objects, or their boxes"
    )
    options.add_argument("--part", default="0/1", help="i/n: only every n-th network, from the i-th")
    options.add_argument(
        "--sample", type=int, metavar="SEED", help="24 networks of the zoo: 4 of each kind and 8 clean ones"
    )
    options.add_argument("--side", type=int, default=32, help="of the pictures [px]")
    options.add_argument("--table", action="store_true", help="print what is there")
    given = options.parse_args()
    torch.set_num_threads(1)
    folder = given.folder or Path(f"runs/audit-{given.zoo}")
    folder.mkdir(parents=True, exist_ok=True)
    first, step = (int(number) for number in given.part.split("/"))
    every = animals(given.zoo) if given.sample is None else sample(given.zoo, given.sample)
    chosen = [animal for animal in every[first::step] if not given.only or animal.name in given.only]
    for objects in ("with", "without") if given.masks == "both" else (given.masks,):
        results = []
        for animal in chosen:
            path = folder / f"{animal.name}.pt"
            if not given.table:
                trained(animal, folder, given.side)
            if not given.table or path.with_suffix(SUFFIXES[objects]).is_file():
                results.append(audited(animal, path, objects))
        if results:
            print(
                f"\n{given.zoo} zoo: {len(results)} networks, {'boxes' if objects == 'boxes' else f'{objects} masks'} of the objects"
            )
            table(results)


if __name__ == "__main__":
    main()
