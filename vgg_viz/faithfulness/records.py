"""What the tests of methods are asked, and what came of each: the request and the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from vgg_viz.attribution.options import Options
from vgg_viz.faithfulness.deletion import SHARES, TILES
from vgg_viz.faithfulness.pointing import Pointing
from vgg_viz.faithfulness.verdict import FEWEST, Check, Measure, Verdict
from vgg_viz.records import Attribution

MOST_GRIDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FaithfulnessRequest:
    """Which methods are tested, on what truth, and how much each is asked.

    Attributes:
        methods: Names; None: all.
        options: Of all methods; each gets those that it reads, and none the ReLU of class activation maps. Its seed is that of all
            random numbers.
        labels: (B,) with masks, only pictures that the network gets right are pointed at.
        masks: (B, H, W) bool, True on the object, empty where nobody knows: such a picture is not pointed at; without masks, grids of
            four pictures of these take their place.
        boxed: (B,) bool, True where the mask is that of a box: it holds background too, and the measure's name then says so.
        tolerance: Of the pointing game [px]; None: 15 px of 224, as in the literature, scaled to these pictures.
        compared: How many of the pictures get the maps of the runner-up, of noisy pictures, and of randomised networks.
        levels: Of the cascade at which maps are drawn, at most: 1 for all layers random, 2 for the upper half as well.
        draws: Of small noise.
        tiles: Along one side, in which pictures are taken apart.
        shares: Of the tiles that are gone or back.
        road: Whether ROAD is asked.
        grids: Of four pictures, at most.
        most_passes: Of the network that one method may spend on either kind of question; an expensive method then gets fewer
            pictures; None: no limit.
        least: Pictures of which maps are asked again (other class, noise, random networks) whatever `most_passes` says, or all that
            there are; with 0 a method too expensive for four is not asked again, and is weak at best.
        affords: Asked before methods are tested, those of one pass together, the cheap ones first: False leaves them out.
        made: Gives the maps of the pictures for the predicted classes that exist already, with the same options and in this order, or
            None; a method that has them there spends no passes on them.
    """

    methods: Sequence[str] | None = None
    options: Options = field(default_factory=Options)
    labels: Tensor | None = None
    masks: Tensor | None = None
    boxed: Tensor | None = None
    tolerance: float | None = None
    compared: int = 8
    levels: int = 5
    draws: int = 2
    tiles: int = TILES
    shares: Sequence[float] = SHARES
    road: bool = True
    grids: int = MOST_GRIDS
    most_passes: int | None = None
    least: int = FEWEST
    affords: Callable[[Sequence[str]], bool] | None = None
    made: Callable[[str], Attribution | None] | None = None


@dataclass(frozen=True, slots=True)
class FaithfulnessResult:
    """What speaks for and against one method on this checkpoint and these pictures.

    completeness    median of |residual| / |f(x) - f(baseline)|; 0 is perfect; None when the method promises nothing
    explained       median of the map's sum / f(x): the share of the class's logit that the map accounts for; shown, not judged;
                    None for maps that are no shares of a logit
    discrimination  mean rank correlation of the maps for the predicted class and the runner-up, [-1, 1];
                    near 1: the map does not say which class it is about; None when there is one class only
    randomised_top  mean rank correlation of |map| before and after the last layer's weights were randomised
    randomised_upper  the same for the upper half of the layers
    randomised_all  the same for all layers; near 1: the map shows the picture, not what was learned;
                    all three None when every map is flat, or where that was not asked
    cascade         (layer down to which the network is random, the same), from the top down
    sensitivity     largest change of the map under a little noise, as a share of the map's size, mean over pictures
    measures        scores beside controls: insertion less deletion, ROAD, mass on the object or in its quarter of a grid
    curves          {"deletion", "insertion": {"map" or a control: mean probability at each of `shares`}}
    pointing        against the objects' masks; None without masks
    controls        the same for maps that know nothing of the network: centre, edge, random, blur-matched
    checks          that were judged; `verdict` is that of the worst, `reason` one sentence with its number
    pictures        taken apart and pointed at; `compared` of them got the other checks, 0 where a map is too dear for that
    shares          of the tiles that were gone, or back
    """

    method: str
    completeness: float | None
    explained: float | None
    discrimination: float | None
    randomised_top: float | None
    randomised_upper: float | None
    randomised_all: float | None
    cascade: tuple[tuple[str, float], ...]
    sensitivity: float | None
    measures: tuple[Measure, ...]
    curves: Mapping[str, Mapping[str, tuple[float, ...]]]
    pointing: Pointing | None
    controls: tuple[Pointing, ...]
    checks: tuple[Check, ...]
    verdict: Verdict
    reason: str
    pictures: int
    compared: int
    shares: tuple[float, ...] = SHARES
