"""Does a layer's weight still look as it was drawn at random: candidate starts, and how far a tensor is from each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Literal

import torch
from torch import Tensor

SAMPLE = 100_000  # weights sorted, at most: a Kolmogorov distance of .007 is then certain
MOST_ROWS, MOST_COLUMNS = (
    512,
    8192,
)  # of the matrix whose singular values are computed: part of a random matrix is random too
# Null limits, each passed by all but about one fresh layer of ten thousand (tests/test_initialisation.py counts).
LEAST_P, MOST_Z, MOST_TRACY_WIDOM = 1e-4, 4.0, 5.0


@dataclass(frozen=True, slots=True)
class Start:
    """A way to draw a layer's weights, as training scripts do.

    Attributes:
        kind: "normal" or "uniform", both around 0.
        spread: Standard deviation of a weight.
        bias: Biases are drawn uniformly from ± this; 0: they start at exactly 0.
    """

    name: str
    kind: Literal["normal", "uniform"]
    spread: float
    bias: float

    @property
    def bound(self) -> float:
        """Largest absolute weight that a uniform start can draw; infinite for a normal one."""
        return sqrt(3) * self.spread if self.kind == "uniform" else float("inf")

    def below(self, values: Tensor) -> Tensor:
        """Share of draws below each value (its distribution function), [0, 1]."""
        if self.kind == "normal":
            normal: Tensor = torch.special.ndtr(values / self.spread)
            return normal
        return ((values / self.bound + 1) / 2).clamp(0, 1)

    def quantile(self, shares: Tensor) -> Tensor:
        """The value below which each share of the draws lies."""
        return torch.special.ndtri(shares) * self.spread if self.kind == "normal" else (2 * shares - 1) * self.bound

    def density(self, values: Tensor) -> Tensor:
        """Its probability density at each value."""
        if self.kind == "normal":
            return torch.exp(-0.5 * (values / self.spread) ** 2) / (self.spread * sqrt(2 * torch.pi))
        return (values.abs() <= self.bound) / (2 * self.bound)


@dataclass(frozen=True, slots=True)
class Fit:
    """How a tensor compares with one start.

    Attributes:
        distance: Kolmogorov-Smirnov: largest difference of the two distribution functions, [0, 1].
        p: Chance that fresh weights are as far off as that.
        variance_ratio: Variance over the start's.
        variance_z: Its distance from 1 in standard errors.
        moved: Least root-mean-square way that the weights must have gone from any draw of this start, in units of its
            spread: the larger of what their sorted values and their singular values ask for, less what chance alone
            gives.
        within: No weight lies beyond what the start can draw.
    """

    start: Start
    distance: float
    p: float
    variance_ratio: float
    variance_z: float
    moved: float
    within: bool

    @property
    def plausible(self) -> bool:
        """Values that this start gives; says nothing on how they are arranged."""
        return self.within and self.p >= LEAST_P and abs(self.variance_z) <= MOST_Z


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Singular values of a layer seen as a matrix (filters x what each reads), beside those of noise of its size and variance.

    Source: Marchenko & Pastur 1967; Johnstone, "On the distribution of the largest eigenvalue", Annals of Statistics 2001.

    Attributes:
        values: Descending, in units of the upper edge; lower: the other edge, in the same units.
        tracy_widom: How far the largest lies beyond the edge, in the unit in which the largest of random matrices
            scatters.
        beyond: How many lie clearly outside the edge (by more than MOST_TRACY_WIDOM of that unit).
        shape: Rows and columns of the matrix that was decomposed.
        root: Root-mean-square of its entries: what noise of its variance is drawn with.
    """

    values: Tensor
    lower: float
    tracy_widom: float
    beyond: int
    shape: tuple[int, int]
    root: float

    @property
    def top(self) -> float:
        """The largest singular value, in units of the edge."""
        return float(self.values[0])


def starts(shape: Sequence[int], slope: float = 0.0) -> tuple[Start, ...]:
    """How scripts draw a weight of shape (out, in) or (out, in, k, k).

    Args:
        shape: Of the weight.
        slope: Below zero, of the leaky ReLU that follows: He's gain is then sqrt(2 / (1 + slope^2)); 0: there is none.

    Source: torch.nn (default), torchvision's VGG (He fan out; linear N(0, 0.01)), Keras (Xavier uniform), He et al. 2015,
    Glorot & Bengio 2010, and the VGG paper, which prints a variance of 0.01.
    """
    window = 1
    for side in shape[2:]:
        window *= side
    fan_in, fan_out = shape[1] * window, shape[0] * window
    default, gain = 1 / sqrt(fan_in), sqrt(2 / (1 + slope**2))
    leaky = (
        Start(f"He normal for slope {slope:g}, fan out", "normal", gain / sqrt(fan_out), 0.0),
        Start(f"He normal for slope {slope:g}, fan in", "normal", gain / sqrt(fan_in), 0.0),
        Start(f"He uniform for slope {slope:g}, fan in", "uniform", gain / sqrt(fan_in), 0.0),
    )
    return (
        Start("PyTorch default", "uniform", default / sqrt(3), default),
        Start("He normal, fan out", "normal", sqrt(2 / fan_out), 0.0),
        Start("He normal, fan in", "normal", sqrt(2 / fan_in), 0.0),
        Start("He uniform, fan in", "uniform", sqrt(2 / fan_in), 0.0),
        Start("Xavier uniform", "uniform", sqrt(2 / (fan_in + fan_out)), 0.0),
        Start("Xavier normal", "normal", sqrt(2 / (fan_in + fan_out)), 0.0),
        Start("N(0, 0.01)", "normal", 0.01, 0.0),
        Start("N(0, 0.1)", "normal", 0.1, 0.0),
        *(leaky if slope else ()),
    )


def fits(weight: Tensor, spectrum: Spectrum, slope: float = 0.0) -> tuple[Fit, ...]:
    """The weight beside every start, the nearest first.

    Args:
        weight: (out, in) or (out, in, k, k), finite.
        spectrum: Its singular values, from `spectrum`.
        slope: Of the leaky ReLU that follows, see `starts`.
    """
    flat = weight.detach().flatten()
    sample = flat[:: max(1, -(-flat.numel() // SAMPLE))].double().sort().values
    # In pieces, so that float32 sums stay exact enough without a copy of the layer in double precision.
    squares = torch.stack([part.norm() for part in torch.split(flat, 2**20)]).double().square().sum()
    low, high = flat.aminmax()
    variance, largest = float(squares) / flat.numel(), max(float(high), -float(low))
    noise = noise_singular_values(*spectrum.shape)
    facts = _Facts(sample, variance, largest, flat.numel(), noise)
    compared = [_fit(start, facts, spectrum) for start in starts(weight.shape, slope)]
    return tuple(sorted(compared, key=lambda fit: (not fit.plausible, fit.moved, fit.distance)))


@dataclass(frozen=True, slots=True)
class _Facts:
    """Of one weight: some of its values in order, the variance and largest magnitude of all, and what noise of its form would have."""

    sample: Tensor
    variance: float
    largest: float
    count: int
    noise: Tensor


def _fit(start: Start, facts: _Facts, spectrum: Spectrum) -> Fit:
    sample = facts.sample
    number = len(sample)
    ranks = torch.arange(number, dtype=torch.float64)
    below = start.below(sample)
    distance = float(torch.maximum((below - ranks / number).max(), ((ranks + 1) / number - below).max()))
    # Sorted values beside the start's quantiles: the cheapest way to carry one into the other (Wasserstein).
    values = float((sample - start.quantile((ranks + 0.5) / number)).square().mean()) / start.spread**2
    rows, columns = spectrum.shape
    edge = (sqrt(rows) + sqrt(columns)) * spectrum.root
    # No movement is shorter than that of its singular values (Mirsky).
    singular = float((spectrum.values.double() * edge / start.spread - facts.noise).square().sum()) / (rows * columns)
    # Chance alone: 2 / n for sorted uniform values, a little more for normal ones; the spectrum of noise scatters less.
    moved = sqrt(max(0.0, values - 4 / number, singular - 4 / (rows * columns)))
    spread = sqrt(
        (2.0 if start.kind == "normal" else 0.8) / facts.count
    )  # of the variance ratio: kurtosis 3 or 1.8, less 1
    ratio = facts.variance / start.spread**2
    # A bound written as float32 may be half a unit above the exact one.
    return Fit(
        start,
        distance,
        kolmogorov(distance, number),
        ratio,
        (ratio - 1) / spread,
        moved,
        facts.largest <= start.bound * (1 + 1e-6),
    )


def kolmogorov(distance: float, count: int) -> float:
    """Chance that `count` draws are at least this far from their own distribution.

    Within 4 % of the exact chance from 64 draws on, down to 1e-5; of fewer it says too much there (10 % at 1e-4 for 27 draws).
    Source: Kolmogorov's series with Stephens' correction for small samples, JRSS B 1970.
    """
    scaled = (sqrt(count) + 0.12 + 0.11 / sqrt(count)) * distance
    if scaled < 0.3:
        return 1.0  # the series converges too slowly there, and its value is above .9999
    series = sum((1 if k % 2 else -1) * exp(-2 * (k * scaled) ** 2) for k in range(1, 30))
    return min(1.0, max(0.0, 2 * series))


def spectrum(weight: Tensor) -> Spectrum:
    """Singular values of a layer beside the edge of a random matrix; of a large layer, evenly chosen rows and columns.

    Args:
        weight: (out, in) or (out, in, k, k), finite.
    """
    matrix = weight.detach().flatten(1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    matrix = matrix[:: -(-matrix.shape[0] // MOST_ROWS), :: -(-matrix.shape[1] // MOST_COLUMNS)].double()
    rows, columns = matrix.shape
    root = float(matrix.square().mean().sqrt())
    if root == 0:
        return Spectrum(torch.zeros(rows), 0.0, 0.0, 0, (rows, columns), 0.0)
    squares = torch.linalg.eigvalsh(matrix @ matrix.T / root**2).flip(0).clamp(min=0)
    # Johnstone's centre and scale for the largest eigenvalue; columns - 1 as for a sample without a known mean.
    left, right = sqrt(max(columns - 1, 1)), sqrt(rows)
    centre, scale = (left + right) ** 2, (left + right) * (1 / left + 1 / right) ** (1 / 3)
    edge = sqrt(rows) + sqrt(columns)
    return Spectrum(
        (squares.sqrt() / edge).float(),
        (sqrt(columns) - sqrt(rows)) / edge,
        (float(squares[0]) - centre) / scale,
        int((squares > centre + MOST_TRACY_WIDOM * scale).sum()),
        (rows, columns),
        root,
    )


def noise_singular_values(rows: int, columns: int) -> Tensor:
    """What a (rows, columns) matrix of unit noise has as singular values, descending: quantiles of the Marchenko-Pastur law.

    rows must not be more than columns.
    """
    ratio = rows / columns
    low, high = (1 - sqrt(ratio)) ** 2, (1 + sqrt(ratio)) ** 2
    # In the angle between the two edges the density has no poles, so a plain sum over it is exact enough.
    angle = (torch.arange(4096, dtype=torch.float64) + 0.5) * torch.pi / 4096
    eigen = (low + high) / 2 - (high - low) / 2 * angle.cos()
    mass = (angle.sin() ** 2 / eigen).cumsum(0)
    places = torch.searchsorted(mass / mass[-1], (torch.arange(rows, dtype=torch.float64) + 0.5) / rows).clamp(max=4095)
    return (eigen[places] * columns).sqrt().flip(0)


def drawn_on_grid(values: Tensor, bound: float) -> bool | None:
    """Whether values still lie on the grid on which a uniform start draws: a proof that nothing moved them since.

    torch draws 24 random bits and spreads them over ±bound, so only 2^24 values exist, while float32 near zero is far finer:
    any later step leaves the grid. CUDA draws on one of half that spacing, and a processor without fused multiply-add rounds once more.

    Args:
        values: (N,) float32.
        bound: Of the uniform draw.

    Returns:
        True: on the grid; False: moved, be it by one step; None: too few values to tell.
    """
    exact = float(torch.tensor(bound, dtype=torch.float32))
    kept = values.detach().flatten()[:SAMPLE].double()
    if bool((kept.abs() > exact * (1 + 1e-6)).any()):
        return False
    steps = (kept + exact) / (2 * exact) * 2**24
    room = kept.abs() / (2 * exact) + 0.01  # half a unit in the last place of the value, in steps
    coarse = 2.0 ** (torch.tensor(exact).log2().floor().item() - 24)
    own = 2.0 ** (kept.abs().clamp(min=1e-30).log2().floor() - 23)  # the values' own last place
    grids = ((steps, room, 2 * room), (2 * steps, 2 * room, 4 * room), (kept / coarse, torch.zeros(()), own / coarse))
    for places, slack, accident in grids:
        # `accident` is the chance of any float32 of that size to lie on the grid: near the bound it says nothing.
        if _certain(accident) and bool(((places - places.round()).abs() <= slack).all()):
            return True
    return False if _certain(2 * room) else None


def _certain(accidents: Tensor) -> bool:
    return float(accidents.clamp(max=1).log().sum()) < log(1e-4)
