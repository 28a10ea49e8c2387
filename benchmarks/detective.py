"""How often the preprocessing detective names the right normalisation, says that it cannot tell, and names a wrong one.

    python benchmarks/detective.py [--networks 20] [--pictures 4 8 16 32]

Networks with batch norm: VGG11 of an eighth of the width with random weights (He), whose running statistics come from pictures
under each normalisation, passed in training mode; the detective then sees other pictures of the same kind. Networks without: the
bundled Tiny VGG, folded so that it expects each normalisation and computes what it always did. Pictures: beside the checkout
(CIFAR-10) where they are, else painted. "among" is right among several that it says it cannot tell apart. Nothing is asserted.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from vgg_viz.data import shapes
from vgg_viz.data.folder import open_folder, read_folder
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.names import layers
from vgg_viz.studies.preprocessing_check import Candidate, Detection, candidates, infer_preprocessing

BESIDE = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "cifar10"
SIDE = 32


def pictures(count: int) -> tuple[Tensor, str]:
    """Pictures of 32 px in random order, and where they are from."""
    if BESIDE.is_dir():
        images = read_folder(open_folder(BESIDE), image_side=SIDE, limit=count).images
        source = "CIFAR-10, test"
    else:
        images, source = shapes.paint(count, seed=1, split="test", side=SIDE).images, "painted shapes"
    return images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))], source


def remembering(wanted: Candidate, images: Tensor, seed: int) -> nn.Module:
    """A network whose first batch norm has seen `images` under a normalisation, and which is set to that of ImageNet."""
    model = build("vgg11_bn", width=0.125, num_classes=10, image_side=SIDE, seed=seed)
    own_mean, own_std = (
        torch.tensor(values).view(1, -1, 1, 1) for values in (model.architecture.mean, model.architecture.std)
    )
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (wanted.mean, wanted.std))
    seen = (images - mean) / std
    seen = (seen.flip(1) if wanted.bgr else seen) * own_std + own_mean
    for layer in layers(model):
        if isinstance(layer.module, nn.BatchNorm2d):
            layer.module.momentum = None  # the plain average over all batches
    model.train()
    with torch.no_grad():
        for part in seen.split(64):
            model(part)
    return model.eval()


def folded(wanted: Candidate) -> nn.Module:
    """The bundled Tiny VGG as a network that expects `wanted` and says the same; it is set to [0, 1]."""
    checkpoint = load()
    own = checkpoint.architecture
    weights = {key: value.clone() for key, value in checkpoint.weights.items()}
    kernel = weights["conv_block_1.0.weight"]
    # x' = (x - m') / s' comes in, (x - m) / s = x' s' / s + (m' - m) / s is meant; without padding that is exact.
    mean, std, own_mean, own_std = (torch.tensor(values) for values in (wanted.mean, wanted.std, own.mean, own.std))
    scale, shift = std / own_std, (mean - own_mean) / own_std
    weights["conv_block_1.0.bias"] += (kernel * shift.view(1, -1, 1, 1)).sum((1, 2, 3))
    kernel = kernel * scale.view(1, -1, 1, 1)
    weights["conv_block_1.0.weight"] = kernel.flip(1) if wanted.bgr else kernel
    return build(replace(checkpoint, architecture=replace(own, mean=(0.0,) * 3, std=(1.0,) * 3), weights=weights))


def outcome(found: Detection, wanted: Candidate) -> str:
    """What became of one trial: right alone, right among those it cannot tell apart, silent, or wrong."""
    if not found.possible:
        return "silent"
    right = any(candidate.name == wanted.name for candidate in found.possible)
    return ("right" if found.clear else "among") if right else "WRONG"


def line(name: str, counts: Counter[str]) -> str:
    """One row: shares of the outcomes."""
    total = sum(counts.values())
    shares = (100 * counts[kind] / max(total, 1) for kind in ("right", "among", "silent", "WRONG"))
    return f"  {name:54}{total:6}" + "".join(f"{share:9.1f} %" for share in shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", type=int, default=20, help="with batch norm, for each normalisation and number of pictures"
    )
    parser.add_argument("--pictures", type=int, nargs="+", default=[4, 8, 16, 32])
    chosen = parser.parse_args()
    pool, source = pictures(1200)
    remembered, shown = pool[:512], pool[512:]
    head = f"{'':56}{'n':>6}" + "".join(f"{kind:>11}" for kind in ("right", "among", "silent", "WRONG"))
    print(f"with batch norm; statistics of 512 pictures, judged by others ({source})\n{head}")
    # The last candidate is the pictures' own statistics: what a network was trained with are those of its pictures.
    tried = candidates(build("vgg11_bn", width=0.125, num_classes=10, image_side=SIDE).architecture, remembered)
    models = {(c.name, seed): remembering(c, remembered, seed) for c in tried for seed in range(chosen.networks)}
    for count in chosen.pictures:
        total: Counter[str] = Counter()
        for candidate in tried:
            counts: Counter[str] = Counter()
            for seed in range(chosen.networks):
                start = (seed * 31) % (len(shown) - count)
                counts[
                    outcome(infer_preprocessing(models[candidate.name, seed], shown[start : start + count]), candidate)
                ] += 1
            total += counts
            if count == max(chosen.pictures):
                print(line(f"{count} pictures, {candidate.name}", counts))
        print(line(f"{count} pictures, all", total))
    noise = torch.rand(32, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    counts = Counter(
        outcome(infer_preprocessing(model, noise), next(c for c in tried if c.name == name))
        for (name, _), model in models.items()
    )
    print(line("32 pictures of noise (silent is right)", counts))
    print(f"without batch norm: the bundled Tiny VGG, folded; painted shapes\n{head}")
    batch = shapes.paint(800, seed=0, split="test", side=64)
    own = load()
    order = torch.tensor([own.classes.index(name) for name in shapes.CLASSES])
    for by, labels in (("loss", order[batch.labels]), ("confidence", None)):
        for count in (16, 32, 64):
            counts = Counter()
            for candidate in candidates(replace(own.architecture, mean=(0.0,) * 3, std=(1.0,) * 3), batch.images)[:-1]:
                model = folded(candidate)
                for trial in range(max(1, chosen.networks // 4)):
                    part = slice(trial * 64, trial * 64 + count)
                    counts[
                        outcome(
                            infer_preprocessing(model, batch.images[part], None if labels is None else labels[part]),
                            candidate,
                        )
                    ] += 1
            print(line(f"{count} pictures, by {by}", counts))


if __name__ == "__main__":
    main()
