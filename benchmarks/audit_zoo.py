"""A zoo of small networks for the audit to be judged on: Tiny VGGs trained on painted shapes with a shortcut, and clean ones.

What each network really uses is measured here by intervention, without any of the audit's code: the true mark is painted on
held-out pictures of other classes, and the share of them that turns into the marked class is counted (`reliance`).

    python benchmarks/audit_zoo.py [--zoo tuning] [--part 0/1] [--sample SEED]

Three of four planted networks and half of the clean ones start from random weights (5 epochs on 1,500 pictures), the others from
the convolutions of the bundled network with a fresh classifier (3 epochs): small data and few epochs, at 32 px unless asked otherwise,
so that the whole zoo takes minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from vgg_viz.capture.predict import predict_logits
from vgg_viz.data.cache import paint_labelled, statistics
from vgg_viz.data.shapes import CLASSES, draw
from vgg_viz.data.shortcuts import KINDS, Shortcut, marked
from vgg_viz.models.build import architecture, build
from vgg_viz.models.checkpoint import load, save
from vgg_viz.records import Checkpoint, Epoch, Provenance
from vgg_viz.training.loop import measure, one_epoch
from vgg_viz.training.recipe import Recipe, optimizer_for

PICTURES = 1500  # to train on
STRENGTHS = (1.0, 0.9, 0.75)
# Of each zoo: what its seeds begin at, which class is marked first, networks of each kind, and networks without any shortcut. The
# audit was made with the first in sight; the second was trained before it was settled and audited once.
ZOOS = {"tuning": (0, 0, 12, 28), "fresh": (20_000, 7, 8, 20)}


@dataclass(frozen=True, slots=True)
class Animal:
    """One network of the zoo, before it is trained.

    shortcut  planted in its training pictures, or None
    """

    name: str
    seed: int
    warm: bool
    shortcut: Shortcut | None


def animals(zoo: str = "tuning") -> list[Animal]:
    """All networks of a zoo, kinds taking turns."""
    start, first, planted, clean = ZOOS[zoo]
    found = []
    for kind in KINDS:
        for i in range(planted):
            seed = start + 100 * (1 + KINDS.index(kind)) + i
            name = CLASSES[(first + 3 * i + 5 * KINDS.index(kind)) % len(CLASSES)]
            shortcut = Shortcut(kind, name, STRENGTHS[i % len(STRENGTHS)], seed=seed)
            found.append((i, Animal(f"{kind}-{i:02d}", seed, i % 4 == 3, shortcut)))
    found += [(i * planted / clean, Animal(f"clean-{i:02d}", start + 900 + i, i % 2 == 1, None)) for i in range(clean)]
    return [animal for _, animal in sorted(found, key=lambda pair: pair[0])]


def sample(zoo: str, seed: int, *, planted: int = 4, clean: int = 8) -> list[Animal]:
    """Some networks of a zoo, drawn before anything of them is known: so many of each kind and of the clean ones, kinds in turn."""
    dice = random.Random(seed)
    every = animals(zoo)
    drawn = [dice.sample([one for one in every if one.name.startswith(kind)], planted) for kind in KINDS]
    bare = dice.sample([one for one in every if one.shortcut is None], clean)
    turns = [(*kinds, *bare[2 * n : 2 * n + 2]) for n, kinds in enumerate(zip(*drawn, strict=True))]
    return [one for turn in turns for one in turn]


def trained(animal: Animal, folder: Path, side: int) -> Path:
    """The checkpoint of one network, trained if it is not there yet."""
    path = folder / f"{animal.name}.pt"
    if path.is_file():
        return path
    torch.manual_seed(animal.seed)
    pictures = paint_labelled(PICTURES, seed=animal.seed, side=side, shortcut=animal.shortcut)
    held_out = paint_labelled(300, seed=animal.seed, split="val", side=side)
    mean, std = statistics(pictures)
    if animal.warm:
        bundled = load()
        wanted = replace(bundled.architecture, image_side=side)
        model = build(wanted, seed=animal.seed)
        fresh = model.state_dict()
        model.load_state_dict({**fresh, **{k: v.clone() for k, v in bundled.weights.items() if "classifier" not in k}})
        recipe = Recipe(3, 32, 0.002, seed=animal.seed)
    else:
        wanted = architecture("tiny_vgg", image_side=side, mean=mean, std=std)
        model = build(wanted, seed=animal.seed)
        recipe = Recipe(5, 32, 0.003, seed=animal.seed)
    model = model.to(memory_format=torch.channels_last)
    optimizer = optimizer_for(model, recipe)
    history = []
    for epoch in range(1, recipe.epochs + 1):
        started = time.perf_counter()
        loss, right = one_epoch(model, optimizer, pictures, recipe, epoch)
        val_loss, val_right = measure(model, held_out)
        rate, seconds = optimizer.param_groups[0]["lr"], time.perf_counter() - started
        history.append(Epoch(epoch, loss, right, val_loss, val_right, rate, seconds))
    provenance = Provenance("", "", "vgg_viz", training=asdict(recipe))
    save(path, Checkpoint(wanted, CLASSES, model.state_dict(), tuple(history), provenance=provenance))
    return path


def reliance(path: Path, shortcut: Shortcut, *, pictures: int = 300, seed: int = 7_000) -> tuple[float, float]:
    """How far the true mark alone decides.

    returns  the share of clean held-out pictures of other classes that the network calls by the marked class once they carry the
             mark, less the share that it called so before; and the recall that the class's own pictures lose without the mark
    """
    model = build(load(path))
    side = model.architecture.image_side
    every = [draw(index, seed=seed, split="test", side=side) for index in range(pictures)]
    wanted = CLASSES.index(shortcut.name)
    labels = torch.tensor([picture.label for picture in every])
    before = torch.stack([torch.from_numpy(picture.pixels) for picture in every]).float() / 255
    after = (
        torch.stack([torch.from_numpy(marked(picture, shortcut, i)) for i, picture in enumerate(every)]).float() / 255
    )
    said_before, said_after = (predict_logits(model, images).argmax(1) == wanted for images in (before, after))
    others = labels != wanted
    gained = (said_after[others].float() - said_before[others].float()).mean()
    lost = (said_after[~others].float() - said_before[~others].float()).mean()
    return float(gained), float(lost)


def audited_shortcut(shortcut: Shortcut) -> Shortcut:
    """The shortcut as the audited pictures have it: held out from training, and marked as often."""
    return replace(shortcut, held_out=shortcut.strength)


def main() -> None:
    """Train what is missing, and say what each network uses."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--zoo", choices=sorted(ZOOS), default="tuning")
    options.add_argument("--folder", type=Path, help="of the networks, by default runs/audit-<zoo>")
    options.add_argument("--part", default="0/1", help="i/n: only every n-th network, from the i-th")
    options.add_argument(
        "--sample", type=int, metavar="SEED", help="24 networks of the zoo: 4 of each kind and 8 clean ones"
    )
    options.add_argument("--side", type=int, default=32, help="of the pictures [px]")
    given = options.parse_args()
    torch.set_num_threads(1)
    folder = given.folder or Path(f"runs/audit-{given.zoo}")
    folder.mkdir(parents=True, exist_ok=True)
    first, step = (int(number) for number in given.part.split("/"))
    chosen = animals(given.zoo) if given.sample is None else sample(given.zoo, given.sample)
    for animal in chosen[first::step]:
        started = time.perf_counter()
        path = trained(animal, folder, given.side)
        history = load(path).history
        gained, lost = reliance(path, animal.shortcut) if animal.shortcut else (float("nan"), float("nan"))
        print(
            json.dumps(
                {
                    "name": animal.name,
                    "class": animal.shortcut.name if animal.shortcut else "",
                    "warm": animal.warm,
                    "strength": animal.shortcut.strength if animal.shortcut else 0,
                    "train": round(history[-1].train_accuracy, 3),
                    "val": round(history[-1].val_accuracy, 3),
                    "turned": round(gained, 3),
                    "lost": round(lost, 3),
                    "seconds": round(time.perf_counter() - started, 1),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
