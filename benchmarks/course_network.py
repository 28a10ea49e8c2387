"""A course's VGG on CIFAR-10, trained here: what the product says of its bare file, with and without its plan.

The network has VGG11's widths and pools elsewhere: after the 2nd, 4th, 6th and 8th convolution, then the mean over
places. Its keys, `backbone.conv0`, ..., say nothing of that, so its file fits several networks.

    python benchmarks/course_network.py DATA [--epochs 6] [--width 0.125] [--keep FILE]

DATA is an ImageFolder with train/ and test/ of 32 x 32 pictures. Prints the accuracy that the course's own module has, and what
`evaluate` says of the file: without a word, with the plan, with a wrong one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import datasets, transforms

WIDTHS = (64, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
RIGHT = "+bn+relu {0}b0 {1}b0 M {2}b0 {2}b0 M {3}b0 {3}b0 M {3}b0 {3}b0 M G | K"
WRONG = "+bn+relu {0}b0 M {1}b0 M {2}b0 {2}b0 M {3}b0 {3}b0 M {3}b0 {3}b0 M G | K"


class CourseVGG(nn.Module):
    """As such courses write it: one Sequential with names, and the mean over places in forward."""

    def __init__(self, width: float, classes: int) -> None:
        super().__init__()
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        channels = 3
        for word in WIDTHS:
            number = sum(name.startswith("pool" if word == "M" else "conv") for name in parts)
            if word == "M":
                parts[f"pool{number}"] = nn.MaxPool2d(2)
                continue
            wide = int(word * width)
            parts[f"conv{number}"] = nn.Conv2d(channels, wide, 3, padding=1, bias=False)
            parts[f"bn{number}"] = nn.BatchNorm2d(wide)
            parts[f"relu{number}"] = nn.ReLU(inplace=True)
            channels = wide
        self.backbone = nn.Sequential(parts)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) in [0, 1] -> (B, K)."""
        return self.classifier(self.backbone(images).mean([2, 3]))


def pictures(folder: Path) -> tuple[Tensor, Tensor, int]:
    """All pictures of an ImageFolder as (N, 3, 32, 32) in [0, 1], their labels, how many classes."""
    found = datasets.ImageFolder(str(folder), transforms.ToTensor())
    images, labels = zip(*found, strict=True)
    return torch.stack(images), torch.tensor(labels), len(found.classes)


def trained(data: Path, epochs: int, width: float) -> tuple[CourseVGG, float]:
    """The course's network after so many epochs, and its accuracy on the test pictures."""
    torch.manual_seed(0)
    images, labels, classes = pictures(data / "train")
    model = CourseVGG(width, classes)
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    batches = len(images) // 128
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=epochs * batches)
    for epoch in range(epochs):
        start, order = time.perf_counter(), torch.randperm(len(images))
        for part in order[: batches * 128].split(128):
            flipped = torch.where(torch.rand(len(part), 1, 1, 1) < 0.5, images[part].flip(3), images[part])
            loss = nn.functional.cross_entropy(model(flipped), labels[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, {time.perf_counter() - start:.0f} s", file=sys.stderr)
    test, truth, _ = pictures(data / "test")
    with torch.no_grad():
        right = model.eval()(test).argmax(1) == truth
    return model, float(right.float().mean())


def evaluated(file: Path, data: Path, *options: str) -> str:
    """What the command says: its accuracy and its alarms, or its refusal."""
    command = [
        sys.executable,
        "-m",
        "vgg_viz",
        "evaluate",
        str(file),
        "--data",
        str(data),
        "--json",
        "--quiet",
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        return f"status {done.returncode}: {done.stderr.strip()}"
    facts = json.loads(done.stdout)
    alarms = "".join(f"\n    ALARM: {alarm}" for alarm in facts["alarms"])
    return f"{facts['top1']:.1%} of {facts['n']}{alarms}"


def main() -> None:
    """Train, save the bare state dict, ask the product."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--keep", type=Path, help="where to leave the trained file, and find it the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = options.keep or Path(folder) / "vgg.cifar.pretrained.pth"
        if not file.exists():
            model, accuracy = trained(options.data, options.epochs, options.width)
            torch.save({"state_dict": model.state_dict(), "accuracy": accuracy}, file)
        accuracy = torch.load(file, weights_only=True)["accuracy"]
        print(f"the course's own module:  {accuracy:.1%}")
        widths = [int(width * options.width) for width in (64, 128, 256, 512)]
        plain = ("--mean", "0,0,0", "--std", "1,1,1")
        print(f"evaluate, bare file:      {evaluated(file, options.data)}")
        print(f"evaluate, [0, 1]:         {evaluated(file, options.data, *plain)}")
        print(f"evaluate, its plan:       {evaluated(file, options.data, *plain, '--plan', RIGHT.format(*widths))}")
        print(f"evaluate, VGG11's places: {evaluated(file, options.data, *plain, '--plan', WRONG.format(*widths))}")


if __name__ == "__main__":
    main()
