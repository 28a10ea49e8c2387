"""Starts of weights: fresh draws of every kind are recognised, and what was moved is not taken for one."""

from __future__ import annotations

from math import erf, exp, floor, lgamma, log, pi, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vgg_viz.maths.initialisation import (
    MOST_TRACY_WIDOM,
    Start,
    drawn_on_grid,
    fits,
    kolmogorov,
    noise_singular_values,
    spectrum,
    starts,
)

SHAPES = [(10, 3, 3, 3), (10, 10, 3, 3), (64, 3, 3, 3), (32, 32, 3, 3), (10, 490), (128, 256)]


def draw(start: Start, shape: tuple[int, ...], seed: int) -> Tensor:
    """The way torch.nn.init draws it."""
    torch.manual_seed(seed)
    empty = torch.empty(shape)
    return (
        nn.init.normal_(empty, 0, start.spread)
        if start.kind == "normal"
        else nn.init.uniform_(empty, -start.bound, start.bound)
    )


@pytest.mark.parametrize(
    ("start", "made"),
    [
        ("PyTorch default", lambda w: nn.init.kaiming_uniform_(w, a=sqrt(5))),
        ("He normal, fan out", lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu")),
        ("He normal, fan in", lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")),
        ("He uniform, fan in", lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu")),
        ("Xavier uniform", nn.init.xavier_uniform_),
        ("Xavier normal", nn.init.xavier_normal_),
        ("N(0, 0.01)", lambda w: nn.init.normal_(w, 0, 0.01)),
        ("N(0, 0.1)", lambda w: nn.init.normal_(w, 0, 0.1)),
    ],
)
@pytest.mark.parametrize("shape", [(96, 48, 3, 3), (220, 900)])
def test_what_torch_initialises_is_nearest_to_the_start_of_that_name(start, made, shape):
    torch.manual_seed(3)
    weight = made(torch.empty(shape))
    nearest = fits(weight, spectrum(weight))[0]
    assert nearest.start.name == start
    assert nearest.plausible
    assert nearest.moved < 0.02


def test_fresh_layers_pass_for_fresh_but_for_a_few_in_ten_thousand():
    drawn, refused = 0, 0
    for shape in SHAPES:
        for start in starts(shape):
            for seed in range(12):
                weight = draw(start, shape, seed)
                found = spectrum(weight)
                drawn += 1
                refused += not (fits(weight, found)[0].plausible and found.tracy_widom <= MOST_TRACY_WIDOM)
    print(f"{refused} of {drawn} fresh layers were not taken for fresh")
    assert drawn == 576
    assert refused <= 2  # three tests at about 1e-4 each


@pytest.mark.parametrize("way", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(64, 64, 3, 3), (128, 512)])
def test_the_least_movement_never_exceeds_the_true_one(way, shape):
    for start in starts(shape)[:5]:
        weight = draw(start, shape, 0)
        torch.manual_seed(1)
        step = torch.randn(shape)
        low_rank = torch.randn(shape[0], 1) @ torch.randn(1, weight[0].numel())
        for direction in (step, low_rank.view(shape), -weight):
            moved = weight + direction * (way * start.spread / float(direction.square().mean().sqrt()))
            fit = next(fit for fit in fits(moved, spectrum(moved)) if fit.start == start)
            assert fit.moved <= way * 1.02 + 0.005
        # Shrinking every weight is all in the distribution: there the bound is met, not only kept.
        assert fit.moved == pytest.approx(way, rel=0.05)


def test_a_written_direction_stands_out_of_the_spectrum_though_the_values_hardly_change():
    """Noise lifts a written singular value s to sqrt((s² + m)(s² + n)) / s (Benaych-Georges & Nadakuditi 2012; variance 1).

    The largest singular value moves by at most the length of what is added to the noise, so its variance is at most 1 (Poincaré).
    """
    rows, columns, draws, written, off = 64, 576, 25, 24.0, 0.0
    wanted = sqrt((written**2 + rows) * (written**2 + columns)) / written
    spread = sqrt(2 / columns)  # He normal
    for seed in range(draws):
        torch.manual_seed(seed)
        weight = torch.randn(rows, 64, 3, 3) * spread
        left, right = torch.randn(rows), torch.randn(columns)
        direction = torch.outer(left / left.norm(), right / right.norm()).view_as(weight)
        moved = weight + direction * (written * spread)
        before, after = spectrum(weight), spectrum(moved)
        assert before.beyond == 0
        assert after.beyond == 1
        assert fits(moved, after)[0].p > 1e-4  # the values alone would not have told
        off += (after.top * (sqrt(rows) + sqrt(columns)) * after.root / spread - wanted) / draws
    assert abs(off) < 4 / sqrt(draws)


@pytest.mark.parametrize("shape", [(10, 27), (64, 576), (300, 400)])
def test_singular_values_are_those_of_numpy_and_noise_has_those_of_the_law(shape):
    torch.manual_seed(0)
    weight = torch.randn(shape)
    found = spectrum(weight)
    edge = (sqrt(shape[0]) + sqrt(shape[1])) * found.root
    theirs = np.linalg.svd(weight.double().numpy(), compute_uv=False)
    assert found.values.numpy() * edge == pytest.approx(theirs, rel=1e-4)
    law = noise_singular_values(*shape)
    assert float(law.square().mean()) == pytest.approx(shape[1], rel=0.01)  # the mean eigenvalue of noise


@pytest.mark.parametrize("shape", [(10, 27), (64, 576), (120, 160)])
def test_below_each_value_of_the_law_lie_as_many_singular_values_of_noise(shape):
    """Of real noise at most a quarter of a value more or less than the law says, besides the error of the count.

    Source of the quarter: Dumitriu & Edelman, "Global spectrum fluctuations for the beta-Hermite and beta-Laguerre ensembles", 2006.
    """
    law, draws = np.sort(noise_singular_values(*shape).numpy()), 1000
    generator = np.random.default_rng(0)
    noise = (generator.normal(size=shape) for _ in range(draws))
    below = np.array([np.searchsorted(np.linalg.eigvalsh(matrix @ matrix.T), law**2) for matrix in noise])
    error = below.std(0) / sqrt(draws)
    assert error.max() < 0.05
    assert (np.abs(below.mean(0) - np.arange(shape[0]) - 0.5) < 0.25 + 4 * error).all()


def exact_kolmogorov(distance: float, count: int) -> float:
    """The same chance by the exact recursion: Marsaglia, Tsang & Wang, Journal of Statistical Software 8 (18), 2003.

    With h = k - n d for k = floor(n d) + 1: n! / n^n times the middle entry of the n-th power of a matrix of side 2k - 1 with
    1 / (i - j + 1)! on and under its upper side diagonal, whose first column and last row are less by powers of h.
    """
    middle = floor(count * distance) + 1
    rest, side = middle - count * distance, 2 * middle - 1
    powers = rest ** np.arange(1, side + 1)
    matrix = np.tril(np.ones((side, side)), 1)
    matrix[:, 0] -= powers
    matrix[-1] -= powers[::-1]
    matrix[-1, 0] += max(0.0, 2 * rest - 1) ** side
    factorials = [exp(-lgamma(k + 2)) for k in range(side)]
    for i in range(side):
        for j in range(i + 1):
            matrix[i, j] *= factorials[i - j]
    row, logarithm = np.eye(side)[middle - 1], 0.0
    for step in range(1, count + 1):
        row = row @ matrix * (step / count)
        logarithm += log(row.sum())
        row /= row.sum()
    return 1 - float(row[middle - 1]) * exp(logarithm)


def test_the_exact_recursion_gives_the_chances_that_are_printed_for_it():
    assert exact_kolmogorov(0.274, 10) == pytest.approx(1 - 0.6284796154565, abs=1e-12)  # in the paper
    assert exact_kolmogorov(0.75, 1) == pytest.approx(0.5)  # one draw x is max(x, 1 - x) away


@pytest.mark.parametrize("count", [64, 200, 1000])
def test_kolmogorovs_chance_is_the_exact_one_within_four_in_a_hundred(count):
    chances = []
    for scaled in (0.5, 0.8, 1.2, 1.6, 1.9, 2.2, 2.4):
        chances.append(exact_kolmogorov(scaled / sqrt(count), count))
        assert kolmogorov(scaled / sqrt(count), count) == pytest.approx(chances[-1], rel=0.04)
    assert chances[0] > 0.9
    assert chances[-1] < 2e-5


def test_a_starts_functions_are_those_of_its_distribution():
    values = torch.linspace(-0.3, 0.3, 13, dtype=torch.float64)
    for start in starts((16, 8, 3, 3)):
        across = torch.linspace(-1, 1, 400_001, dtype=torch.float64)
        assert float(torch.trapezoid(start.density(across), across)) == pytest.approx(1, abs=1e-4)
        assert float(torch.trapezoid(start.density(across) * across**2, across)) == pytest.approx(
            start.spread**2, rel=1e-3
        )
        shares = start.below(values)
        inside = (shares > 1e-9) & (shares < 1 - 1e-9)
        assert start.quantile(shares[inside]).numpy() == pytest.approx(values[inside].numpy(), abs=1e-6)
        if start.kind == "normal":
            assert shares.numpy() == pytest.approx([(1 + erf(v / start.spread / sqrt(2))) / 2 for v in values.tolist()])
            assert float(start.density(torch.tensor(start.spread))) == pytest.approx(
                exp(-0.5) / (start.spread * sqrt(2 * pi))
            )


@pytest.mark.parametrize("count", [64, 1000, 30_000])
def test_uniform_draws_lie_on_their_grid_until_one_step_is_taken(count):
    for seed in range(40):
        torch.manual_seed(seed)
        values = torch.empty(count).uniform_(-0.07, 0.07)
        assert drawn_on_grid(values, 0.07) is True
        assert drawn_on_grid(values + 1e-6 * torch.randn(count), 0.07) is False
    assert drawn_on_grid(torch.cat([values, torch.tensor([0.071])]), 0.07) is False


def test_too_few_values_say_nothing_about_the_grid():
    assert drawn_on_grid(torch.tensor([0.06, -0.05]), 0.07) is None
