"""Before or after the ReLU? Grad-CAM of the bundled Tiny VGG against the exact masks of painted shapes.

For every convolution and its ReLU: how often the peak of the map for the true class lies on the object, and which share
of the map's mass does. One run, the same pictures for all.

    python benchmarks/grad_cam_layers.py [--pictures 500]
"""

from __future__ import annotations

import argparse

import torch

from vgg_viz.attribution import after_activation, grad_cam_all_layers, on_pixels
from vgg_viz.data.shapes import paint
from vgg_viz.maths.metrics import mass_inside, pointing_hits
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.geometry import geometry


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--pictures", type=int, default=500)
    count = options.parse_args().pictures
    model = build(load())
    batch = paint(count, split="test")
    rows = geometry(model)
    convolutions = [row.name for row in rows if row.kind == "conv"]
    names = [name for conv in convolutions for name in (conv, after_activation(rows, conv))]
    maps = grad_cam_all_layers(model, batch.images, "true", labels=batch.labels, layers=names)
    print(f"{count} pictures, objects cover {float(batch.masks.float().mean()) * 100:.1f} % of them")
    print(f"{'layer':<10}{'peak on object':>16}{'mass on object':>16}")
    for name in names:
        placed = on_pixels(model, name, maps[name].values, batch.images.shape[-2:])
        hits = float(pointing_hits(placed, batch.masks).mean())
        mass = float(torch.nanmean(mass_inside(placed, batch.masks)))
        print(f"{name:<10}{hits * 100:>14.1f} %{mass * 100:>14.1f} %")


if __name__ == "__main__":
    main()
