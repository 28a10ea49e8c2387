"""What all tests share: few threads, a seeded tiny network, the optional real data beside the checkout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Two contended OpenMP threads can collapse a tiny net: on two cores one worker may have two, two workers one each.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")

import pytest
import torch
from hypothesis import settings
from torch import nn

from vgg_viz.models.build import build

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
# `make test` looks at few examples, `make test-all` asks for the profile thorough.
settings.register_profile("gate", max_examples=25, deadline=None)
settings.register_profile("thorough", max_examples=150, deadline=None)
settings.load_profile("gate")

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture
def tiny() -> nn.Module:
    """A Tiny VGG with seeded random weights, 64 px, ten classes."""
    return build("tiny_vgg", seed=1)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For modules whose work is so small that it gains nothing from a second thread, and waits for it on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real pictures beside the checkout; the tests that need them skip where they are absent."""
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return SHARED
