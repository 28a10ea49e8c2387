"""What `explain` costs on VGG16 at 224 px: its parts, and beside them the bare passes of the network.

    python benchmarks/explain.py [--photo FILE] [--preset quick|standard] [--repeats 3] [--threads 2]

Random weights, one photograph (a seeded one is painted where none is given). The parts are imports, loading, reading, network
(Grad-CAM of every layer and saliency, for two classes), removal (parts of the picture hidden; not in quick), painting (figures made,
and encoded as PNG and SVG) and writing (raw maps, page, manifest). Bare is one forward and one backward pass to the pixels with
frozen weights, taken in turn with the runs. Nothing is asserted; medians over the repeats. On a machine that others use too, pass
--threads 1 and read the CPU seconds: wall seconds then measure the neighbours as well.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

CPU = "the same in CPU seconds"
STARTED = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, help="a picture file")
    parser.add_argument("--arch", default="vgg16", help="a variant's name, or a checkpoint (default vgg16)")
    parser.add_argument("--preset", default="quick", choices=("quick", "standard", "full"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    chosen = parser.parse_args()
    os.environ.pop("SOURCE_DATE_EPOCH", None)

    import torch

    from vgg_viz.api import explain
    from vgg_viz.capture.hooks import eval_mode, frozen
    from vgg_viz.models.build import build
    from vgg_viz.models.checkpoint import load
    from vgg_viz.studies.picture import explain_picture
    from vgg_viz.studies.request import PictureRequest

    imports = time.perf_counter() - STARTED
    torch.set_num_threads(chosen.threads)
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        photo = chosen.photo or painted(Path(folder) / "photo.png")
        opened = explain_picture(PictureRequest(source=chosen.arch, image=photo, preset="quick"))
        images = opened.batch.images

        def bare() -> float:
            start = time.perf_counter()
            with eval_mode(opened.model), frozen(opened.model):
                picture = images.clone(memory_format=torch.channels_last).requires_grad_()
                opened.model(picture)[0].max().backward()
            return time.perf_counter() - start

        bare()
        for _ in range(chosen.repeats):
            passes, processor = bare(), time.process_time()
            build(load(chosen.arch))
            opening = time.process_time() - processor
            parts = dict(
                explain(chosen.arch, photo, out=Path(folder) / "gallery", preset=chosen.preset).facts["seconds"]
            )
            rounds.append(
                {"bare forward + backward": passes, **parts, CPU: time.process_time() - processor - 2 * opening}
            )
    medians = {name: statistics.median(part[name] for part in rounds) for name in rounds[0]}
    beyond = sum(medians[name] for name in ("reading", "network", "removal", "painting", "writing"))
    print(
        f"{chosen.arch}, {images.shape[-1]} px, preset {chosen.preset}, {chosen.threads} threads, torch {torch.__version__}, "
        f"medians of {chosen.repeats}"
    )
    print(f"{'imports, once':28}{imports:8.2f} s")
    for name, median in medians.items():
        if name == CPU:
            continue
        print(f"{name:28}{median:8.2f} s{median / medians['bare forward + backward']:9.1f} x bare")
    print(f"{'beyond imports and loading':28}{beyond:8.2f} s{beyond / medians['bare forward + backward']:9.1f} x bare")
    print(f"{CPU:28}{medians[CPU]:8.2f} s")


def painted(file: Path) -> Path:
    """Smooth coloured noise with a bright square: a picture of 320 x 240 px."""
    import torch

    from vgg_viz.maths.images import encode_png

    dice = torch.Generator().manual_seed(0)
    grains = torch.rand(1, 3, 12, 16, generator=dice)
    picture = torch.nn.functional.interpolate(grains, (240, 320), mode="bicubic", align_corners=False)[0].clamp(0, 1)
    picture[:, 80:140, 120:200] = torch.tensor([0.9, 0.8, 0.1])[:, None, None]
    file.write_bytes(encode_png(picture))
    return file


if __name__ == "__main__":
    main()
