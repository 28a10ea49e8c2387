"""What all tests share: one thread, a seeded tiny network, the optional real data beside the checkout."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Two workers with two OpenMP threads each spin for cores that the other holds: singular values of 300 x 300 take 20 times as long.
# Set, not left as it is: workers inherit what the process that starts them has read here before.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from hypothesis import settings
from torch import nn

from vgg_viz.gallery.sections import sections_of
from vgg_viz.models.build import build

torch.set_num_threads(1)
# `make test` looks at few examples, `make test-all` asks for the profile thorough.
settings.register_profile("gate", max_examples=25, deadline=None)
settings.register_profile("thorough", max_examples=150, deadline=None)
settings.load_profile("gate")

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture
def tiny() -> nn.Module:
    """A Tiny VGG with seeded random weights, 64 px, ten classes."""
    return build("tiny_vgg", seed=1)


@pytest.fixture
def few_sections(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Galleries of the named sections alone, for tests that are about something else than a whole page."""

    def these(*slugs: str) -> None:
        monkeypatch.setattr(
            "vgg_viz.gallery.build.sections_of", lambda kind: [one for one in sections_of(kind) if one.slug in slugs]
        )

    return these


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real pictures beside the checkout; the tests that need them skip where they are absent."""
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return SHARED
