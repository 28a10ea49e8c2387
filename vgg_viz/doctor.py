"""Is this installation whole? Every check with what was found and, where something lacks, the fix."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `fix` is the command or step that mends it, empty where nothing is wrong."""

    name: str
    good: bool
    found: str
    fix: str = ""


Runner = Callable[[Sequence[str]], int]


def _run(command: Sequence[str]) -> int:
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def fix_opencv(run: Runner = _run) -> str:
    """Where `import cv2` fails (slim systems lack libGL), put opencv-python-headless in its place; says what it did, or "".

    run  runs a command and returns its exit status
    """
    if run([sys.executable, "-c", "import cv2"]) == 0:
        return ""
    pip = [sys.executable, "-m", "pip"]
    run([*pip, "uninstall", "--yes", "opencv-python"])
    if run([*pip, "install", "--force-reinstall", "--no-deps", "opencv-python-headless"]) or run(
        [sys.executable, "-c", "import cv2"]
    ):
        return "opencv-python cannot be imported here, and opencv-python-headless could not be put in its place; run vgg_viz doctor."
    return "opencv-python cannot be imported here (libGL is missing); opencv-python-headless was put in its place."


PACKAGES = ("torch", "torchvision", "captum", "matplotlib", "seaborn", "torchinfo", "PIL", "jinja2", "rich")


def examine() -> list[Check]:
    """All checks, in the order in which a reader wants them."""
    version = platform.python_version()
    new_enough = tuple(int(part) for part in version.split(".")[:2]) >= (3, 11)
    found = [Check("python", new_enough, version, "" if new_enough else "install Python 3.11 or newer")]
    found += [_package(name) for name in PACKAGES]
    found += [_opencv(), _two_opencvs(), _bundled(), _threads(), _device(), _chromium()]
    return found


def _package(name: str) -> Check:
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:
        return Check(
            name, False, str(error).splitlines()[0][:120], f"pip install {'pillow' if name == 'PIL' else name}"
        )
    return Check(name, True, str(getattr(module, "__version__", "present")))


def _opencv() -> Check:
    from vgg_viz.errors import VggVizError
    from vgg_viz.maths.images import opencv

    try:
        return Check("opencv", True, str(opencv().__version__))
    except VggVizError as error:
        return Check(
            "opencv", False, str(error), "pip uninstall -y opencv-python && pip install opencv-python-headless"
        )


def _two_opencvs() -> Check:
    from importlib.metadata import distributions

    owners = sorted(
        {str(d.metadata["Name"]) for d in distributions() if str(d.metadata["Name"]).lower().startswith("opencv-")}
    )
    several = len(owners) > 1
    fix = f"pip uninstall -y {' '.join(owners)} && pip install opencv-python" if several else ""
    return Check("one owner of cv2/", not several, ", ".join(owners) or "none", fix)


def _bundled() -> Check:
    from vgg_viz.errors import VggVizError
    from vgg_viz.models.checkpoint import load
    from vgg_viz.models.vgg import describe

    try:
        checkpoint = load()
    except VggVizError as error:
        return Check("bundled checkpoint", False, str(error), "install vgg_viz again")
    return Check(
        "bundled checkpoint", True, f"{describe(checkpoint.architecture).name}, {len(checkpoint.specimens)} specimens"
    )


def _threads() -> Check:
    import torch

    return Check("threads", True, f"{torch.get_num_threads()} of {os.cpu_count()} cores")


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("accelerator", True, torch.cuda.get_device_name(0))
    return Check("accelerator", True, "mps" if torch.backends.mps.is_available() else "none, the CPU is used")


def _chromium() -> Check:
    place = next((name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)), None)
    # Only the browser tests need it.
    return Check(
        "browser for the tests",
        True,
        place or "none found; the browser tests will be skipped (apt-get install chromium)",
    )
