"""What maps of all layers cost: one shared pass against a bare one, a loop over Captum, torch-cam and pytorch-grad-cam.

    python benchmarks/cams.py [--quick] [--repeats 3] [--threads 2] [--photos DIR] [--no-loop]

All run in turn in this process, round by round, on the same pictures and weights; what counts are the ratios of the medians. On a
machine that others use too, read the ratios of CPU seconds and pass --threads 1. Nothing is asserted. The two peers (PyPI: torchcam,
grad-cam) take part where they are installed, with their list of layers, on convolutions with ReLUs in place, as every VGG has them;
they normalise each map, so errors are those of maps divided by their maximum, against float64 autograd on ReLUs not in place.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from attribution import bare, loop, network, seconds
from torch import Tensor, nn

from vgg_viz.attribution import attribute, cams_all_layers, grad_cam_all_layers
from vgg_viz.capture.hooks import activations
from vgg_viz.data.folder import read_images
from vgg_viz.models.names import find, layers

Maps = dict[str, Tensor]
PHOTOS = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "photos"


def pictures(folder: Path, count: int, side: int) -> tuple[Tensor, str]:
    """So many photographs of a folder, or noise where there are fewer, and what they are."""
    if folder.is_dir():
        images = read_images(folder, image_side=side).images[:count]
        if len(images) == count:
            return images.contiguous(memory_format=torch.channels_last), "photographs"
    noise = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    return noise.contiguous(memory_format=torch.channels_last), "pictures of noise"


def convolutions(model: nn.Module) -> list[str]:
    """Their names."""
    return [layer.name for layer in layers(model) if layer.kind == "conv"]


def relus(model: nn.Module) -> list[str]:
    """The ReLUs after them."""
    return [name.replace("conv", "relu") for name in convolutions(model)]


def torchcam(model: nn.Module, images: Tensor, targets: Tensor, names: list[str], method: str = "GradCAM") -> Maps:
    """torch-cam with its list of layers."""
    from torchcam import methods

    model.requires_grad_(True)  # it fails on frozen weights
    with getattr(methods, method)(model, [find(model, name).path for name in names]) as extractor:
        found = extractor(targets.tolist(), model(images.clone().requires_grad_()))
    model.zero_grad()
    return dict(zip(names, (one.detach() for one in found), strict=True))


def gradcam(model: nn.Module, images: Tensor, targets: Tensor, names: list[str], method: str = "GradCAM") -> Maps:
    """pytorch-grad-cam, one object that is given the list of layers: it averages them; its maps a layer are taken on the way."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model.requires_grad_(True)
    asked = [ClassifierOutputTarget(int(target)) for target in targets]
    made: list[Tensor] = []
    with getattr(pytorch_grad_cam, method)(model, [find(model, name).module for name in names]) as extractor:
        extractor.aggregate_multi_layers = lambda maps: made.extend(map(torch.as_tensor, maps)) or maps[0]
        extractor(images.clone(), asked)
    model.zero_grad()
    return dict(zip(names, (one[:, 0] for one in made), strict=True))


def truth(model: nn.Module, images: Tensor, targets: Tensor, names: list[str], method: str) -> Maps:
    """Maps of layers by plain autograd in float64, no ReLU in place, a formula a line."""
    model = copy.deepcopy(model).double().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    said: Maps = {}
    for name in names:
        find(model, name).module.register_forward_hook(
            lambda _module, _inputs, output, name=name: said.update({name: output})
        )
    score = model(images.double().requires_grad_()).gather(1, targets[:, None]).sum()
    found = {}
    for (name, a), g in zip(said.items(), torch.autograd.grad(score, list(said.values())), strict=True):
        if method == "grad_cam":
            weights = g.mean((2, 3), keepdim=True)
        else:
            total = a.sum((2, 3), keepdim=True)
            weights = (g.clamp(min=0) / (2 + total * g.clamp(min=0))).sum((2, 3), keepdim=True)
        found[name] = (weights * a).sum(1).relu().detach()
    return found


def error(found: Maps, right: Maps) -> str:
    """The largest error over pictures and layers, each map divided by its maximum; and in the last layer."""
    errors = []
    for name, one in right.items():
        other = found[name].double()
        if other.shape[-2:] != one.shape[-2:]:
            one = nn.functional.interpolate(one[:, None], other.shape[-2:], mode="bilinear")[:, 0]
        scaled = [(maps - maps.amin((1, 2), keepdim=True)) for maps in (other, one)]
        a, b = (maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-30) for maps in scaled)
        errors.append(float((a - b).abs().max()))
    return f"{max(errors):.1e} at worst, {errors[-1]:.1e} in the last"


def installed(name: str) -> bool:
    """Whether a peer can be imported."""
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def naive(model: nn.Module, images: Tensor, targets: Tensor, layer: str, channels: int) -> tuple[float, int]:
    """Seconds of Ablation-CAM by whole passes for the first channels of one picture, scaled to all of them."""
    module = find(model, layer).module
    width = int(module.out_channels)
    for number in range(channels):
        if number == 1:
            started = time.perf_counter()  # the first pass is not counted

        def switched_off(_module: nn.Module, _inputs: object, output: Tensor, number: int = number) -> Tensor:
            output = output.clone()
            output[:, number] = 0
            return output

        hook = module.register_forward_hook(switched_off)
        with torch.no_grad():
            model(images[:1])
        hook.remove()
    return (time.perf_counter() - started) / (channels - 1) * width, width


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="quarter width, 112 px, 4 pictures")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; medians are printed")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--photos", type=Path, default=PHOTOS, help="folder of pictures; noise where it is absent")
    parser.add_argument("--no-loop", action="store_true", help="leave out the loop over Captum, the slowest")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    side, width, count = (112, 0.25, 4) if chosen.quick else (224, 1.0, 8)
    model = network(side, width)
    images, kind = pictures(chosen.photos, count, side)
    targets = activations(model, images).logits.argmax(1)
    print(
        f"VGG16, random weights, width {width:g}, {side} px, {count} {kind}, {chosen.threads} threads, torch {torch.__version__}\n"
    )

    ways: dict[str, Callable[[], object]] = {
        "bare forward + backward to the pixels": lambda: bare(model, images, targets),
        "13 ReLUs x 6 CAMs": lambda: cams_all_layers(model, images, targets),
        "13 convolutions x 6 CAMs": lambda: cams_all_layers(model, images, targets, layers=convolutions(model)),
        "13 convolutions x Grad-CAM": lambda: grad_cam_all_layers(model, images, targets),
    }
    peers = {"torchcam": ("torch-cam", torchcam), "pytorch_grad_cam": ("pytorch-grad-cam", gradcam)}
    for module, (title, act) in peers.items():
        if installed(module):
            ways[f"{title}: 13 convolutions x Grad-CAM"] = lambda act=act: act(
                model, images, targets, convolutions(model)
            )  # type: ignore[misc]
        else:
            print(f"{title}: not installed")
    if not chosen.no_loop:
        ways["Captum, a call a layer: Grad-CAM"] = lambda: loop(model, images, targets)
    bare(model, images, targets)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(chosen.repeats):
        for name, act in ways.items():
            times[name].append(seconds(act))
    for number, clock in enumerate(("wall", "CPU")):
        medians = {name: statistics.median(pair[number] for pair in found) for name, found in times.items()}
        first, *_ = medians.values()
        print(f"{clock + ' seconds':46}{'median':>9}{'min':>8}{'max':>8}{'x bare':>8}{'x 6 CAMs':>10}")
        for name, median in medians.items():
            low, high = (pick(pair[number] for pair in times[name]) for pick in (min, max))
            print(
                f"{name:46}{median:9.2f}{low:8.2f}{high:8.2f}{median / first:8.2f}{median / medians['13 ReLUs x 6 CAMs']:10.2f}"
            )
        print()

    few, about = images[:2], targets[:2]
    plain = {"torchcam": "GradCAM", "pytorch_grad_cam": "GradCAM"}
    refined = {"torchcam": "GradCAMpp", "pytorch_grad_cam": "GradCAMPlusPlus"}
    cases = [
        ("Grad-CAM at 13 convolutions", "grad_cam", plain, convolutions(model)),
        ("Grad-CAM at 13 ReLUs", "grad_cam", plain, relus(model)),
        ("Grad-CAM++ at 13 ReLUs", "grad_cam_plus_plus", refined, relus(model)),
    ]
    for title, ours, spelt, names in cases:
        right = truth(model, few, about, names, ours)
        mine = cams_all_layers(model, few, about, names=[ours], layers=names)[ours]
        print(f"{title}: error of a map divided by its maximum, 2 pictures")
        print(f"  {'vgg_viz':18}{error({name: one.values for name, one in mine.items()}, right)}")
        for module, (peer, act) in peers.items():
            if installed(module):
                print(f"  {peer:18}{error(act(model, few, about, names, spelt[module]), right)}")
    print()

    started = time.perf_counter()
    attribute(model, images[:1], method="ablation_cam", layer="conv5_3", target=targets[:1])
    ours_took = time.perf_counter() - started
    asked = 9
    whole, channels = naive(model, images, targets, "conv5_3", asked)
    print(
        f"Ablation-CAM at conv5_3, one picture, {channels} channels: {ours_took:.2f} s; by whole passes {whole:.1f} s "
        f"(scaled from {asked - 1} channels): {whole / ours_took:.0f}x"
    )


if __name__ == "__main__":
    main()
