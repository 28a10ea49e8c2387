"""How far what a layer says lies from what the batch norm behind it remembers of training."""

from __future__ import annotations

import torch
from torch import Tensor


def misfit(mean: Tensor, variance: Tensor, running_mean: Tensor, running_var: Tensor) -> Tensor:
    """The mean over channels of log(1 + divergence): 0 is a perfect fit, the wrong pool 0.1 and more.

    The symmetric Kullback-Leibler divergence of two normal distributions for each channel; channels that never varied are left out.

    Args:
        mean: (..., C) of what the layer says.
        variance: (..., C) of it.
        running_mean: (C,) that batch norm remembers.
        running_var: (C,) likewise.

    Returns:
        (...)
    """
    kept = running_var > 1e-6 * running_var.median()
    centre, spread = running_mean[kept].double(), running_var[kept].double()
    mean, variance = mean[..., kept].double(), variance[..., kept].double().clamp(min=1e-12)
    divergence = 0.25 * (variance / spread + spread / variance - 2) + 0.25 * (mean - centre) ** 2 * (
        1 / spread + 1 / variance
    )
    return torch.log1p(divergence).mean(-1)
