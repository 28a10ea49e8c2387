"""Should you believe a method on this very checkpoint? Evidence, and a verdict with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import torch
from torch import Tensor, nn

from vgg_viz.attribution import Options, methods
from vgg_viz.attribution.layers import default_layer
from vgg_viz.attribution.method import pictures_at_once
from vgg_viz.capture.hooks import eval_mode, on_device_of
from vgg_viz.faithfulness.baseline_maps import blur_matched, control_maps
from vgg_viz.faithfulness.deletion import SHARES, TILES, Removal, removals
from vgg_viz.faithfulness.grid import QUARTERS, Grids, grids_of
from vgg_viz.faithfulness.maps import Asker
from vgg_viz.faithfulness.plan import Plan, half, planned, rounds, stages_of
from vgg_viz.faithfulness.pointing import Pointing, pointing_of
from vgg_viz.faithfulness.randomisation import cascading, levels_of
from vgg_viz.faithfulness.verdict import (
    FEWEST,
    Check,
    Criterion,
    Measure,
    Verdict,
    checks_of,
    judge,
    mean_of,
    measured,
    size_of_change,
    too_few,
)
from vgg_viz.maths.metrics import mass_inside, rank_correlation
from vgg_viz.records import Attribution

MOST_GRIDS = 3
RADIUS = 0.02  # of the small noise [intensity]: five steps of 255


@dataclass(frozen=True, slots=True)
class Evidence:
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


def evidence(
    model: nn.Module,
    images: Tensor,
    *,
    names: Sequence[str] | None = None,
    labels: Tensor | None = None,
    masks: Tensor | None = None,
    boxed: Tensor | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    steps: int = 32,
    samples: int = 16,
    random_masks: int = 1000,
    window: int | None = None,
    stride: int | None = None,
    compared: int = 8,
    levels: int = 5,
    draws: int = 2,
    tiles: int = TILES,
    shares: Sequence[float] = SHARES,
    road: bool = True,
    grids: int = MOST_GRIDS,
    most_passes: int | None = None,
    least: int = FEWEST,
    affords: Callable[[Sequence[str]], bool] | None = None,
    made: Callable[[str], Attribution | None] | None = None,
) -> tuple[Evidence, ...]:
    """Put methods to the test on some pictures, for the predicted class.

    images       (B, C, H, W) in [0, 1]; 16 are enough for a verdict
    names        of methods; None: all
    labels       with masks, only pictures that the network gets right are pointed at
    masks        (B, H, W) bool, True on the object, empty where nobody knows: such a picture is not pointed at;
                 without masks, grids of four pictures of these take their place
    boxed        (B,) bool, True where the mask is that of a box: it holds background too, and the measure's name then says so
    tolerance    of the pointing game [px]; None: 15 px of 224, as in the literature, scaled to these pictures
    compared     how many of the pictures get the maps of the runner-up, of noisy pictures, and of randomised networks
    levels       of the cascade at which maps are drawn, at most: 1 for all layers random, 2 for the upper half as well
    draws        of small noise
    tiles        along one side, in which pictures are taken apart; shares: of them that are gone or back; road: whether ROAD is asked
    grids        of four pictures, at most
    most_passes  of the network that one method may spend on either kind of question; a dear method then gets fewer pictures; None:
                 no limit
    least        pictures of which maps are asked again (other class, noise, random networks) whatever `most_passes` says, or all
                 that there are; with 0 a method too dear for four is not asked again, and is weak at best
    affords      asked before methods are put to the test, those of one pass together, the cheap ones first: False leaves them out
    made         gives the maps of `images` for the predicted classes that exist already, with the same options and in this order, or
                 None; a method that has them there spends no passes on them
    random_masks  that RISE puts over each picture: the `masks` of `attribute`
    others       as in `attribute`, and raises as it does

    Returned in the order of `names`; the model comes back as it was.
    """
    chosen = list(methods() if names is None else names)
    options = Options(
        seed=seed, steps=steps, samples=samples, masks=random_masks, window=window, stride=stride, relu=False
    )
    images = on_device_of(model, images)
    layer = default_layer(model, images) if any(methods()[name].layered for name in chosen) else None
    trial = _Trial(model, images, labels, masks, boxed, Asker(model, layer, options, chosen), seed, tolerance, grids)
    costs = {name: trial.asker.cost(name, images.shape[-1]) for name in chosen}
    depth = len(levels_of(model))
    stages = {name: stages_of(cost, depth, levels) for name, cost in costs.items()}
    found: dict[str, Evidence] = {}
    for together in [chosen] if affords is None else rounds(costs):
        if affords is not None and not affords(together):
            continue
        bases = trial.there(together, made)
        asked = {
            name: planned(
                costs[name], len(images), compared, draws, stages[name], grids, most_passes, least, name in bases
            )
            for name in together
        }
        for name, plan in asked.items():
            if name not in bases:
                few = slice(plan.pictures)
                bases[name] = trial.asker.maps(name, images[few], trial.targets[few], f"base {plan.pictures}")
        cascades = trial.cascade({name: (bases[name], plan) for name, plan in asked.items()})
        how = _How(tiles=tiles, seed=seed, shares=tuple(shares), road=road)
        apart = trial.removed({name: trial.asker.on_pixels(bases[name], trial.size) for name in together}, how)
        found |= {
            name: trial.found(bases[name], plan, draws, cascades[name], apart[name]) for name, plan in asked.items()
        }
    return tuple(found[name] for name in chosen if name in found)


class _How(TypedDict):
    """How all maps are asked about alike: keywords of `removals`."""

    tiles: int
    seed: int
    shares: Sequence[float]
    road: bool


class _Trial:
    """One checkpoint's pictures, and what all methods are asked about them."""

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor | None,
        masks: Tensor | None,
        boxed: Tensor | None,
        asker: Asker,
        seed: int,
        tolerance: float | None,
        grids: int,
    ) -> None:
        self.model, self.images, self.labels, self.masks, self.asker = model, images, labels, masks, asker
        self.boxed = boxed if masks is not None and boxed is not None and bool(boxed.any()) else None
        self.seed, self.tolerance, self.size = seed, tolerance, (images.shape[-2], images.shape[-1])
        batch = pictures_at_once(model, images)
        with eval_mode(model), torch.no_grad():
            self.logits = torch.cat([model(images[start : start + batch]) for start in range(0, len(images), batch)])
        ranked = self.logits.sort(dim=1, descending=True, stable=True).indices
        self.targets, self.runner_up = ranked[:, 0], ranked[:, 1] if ranked.shape[1] > 1 else None
        self.knowing_nothing = control_maps(images, seed)
        self.nothing_removed: dict[str, Removal] = {}
        self.grids = grids_of(model, images, self.targets, most=grids, seed=seed) if masks is None and grids else None

    def there(self, names: Sequence[str], made: Callable[[str], Attribution | None] | None) -> dict[str, Attribution]:
        """The maps that exist already, for the same classes."""
        found = {name: one for name in names if made is not None and (one := made(name)) is not None}
        return {name: one for name, one in found.items() if one.targets.tolist() == self.targets.tolist()}

    def cascade(self, asked: Mapping[str, tuple[Attribution, Plan]]) -> dict[str, list[tuple[int, str, float]]]:
        """{method: (layers randomised, name of the lowest, mean rank correlation of |map|)} of one network losing its weights once."""
        found: dict[str, list[tuple[int, str, float]]] = {name: [] for name in asked}
        again = {name: (base, plan) for name, (base, plan) in asked.items() if plan.again}
        stops = {stage for _, plan in again.values() for stage in plan.stages}
        if not stops:
            return found
        with cascading(self.model, self.images[:8], seed=self.seed, stops=stops) as steps:
            for stage, layer in enumerate(steps, start=1):
                for name, (base, plan) in again.items():
                    if stage in plan.stages:
                        few = slice(plan.again)
                        after = self.asker.maps(
                            name, self.images[few], self.targets[few], f"level {stage} {plan.again}"
                        ).values
                        # A map that has become flat has lost all that it said.
                        alike = mean_of(rank_correlation(base.values[few].abs(), after.abs()))
                        found[name].append((stage, layer, 0.0 if alike is None else alike))
        return found

    def removed(self, maps: Mapping[str, Tensor], how: _How) -> dict[str, dict[str, Removal]]:
        """{method: {"map" or a control: Removal}}; controls that all methods share are taken apart once."""
        if not self.nothing_removed:
            self.nothing_removed = removals(self.model, self.images, self.targets, self.knowing_nothing, **how)
        shared, found, parted = self.nothing_removed, {}, {}
        # Methods that are asked about as many pictures go together: the pictures whole, plain and blurred are then asked about once.
        for count in {len(values) for values in maps.values()}:
            alike = {name: values for name, values in maps.items() if len(values) == count}
            both = {("map", name): values for name, values in alike.items()}
            both |= {("blur-matched", name): blur_matched(values, self.seed) for name, values in alike.items()}
            parted.update(removals(self.model, self.images[:count], self.targets[:count], both, **how))
        for name, values in maps.items():
            count = len(values)
            common = {
                control: replace(r, deletion=r.deletion[:count], insertion=r.insertion[:count], road=r.road[:count])
                for control, r in shared.items()
            }
            found[name] = {"map": parted["map", name], **common, "blur-matched": parted["blur-matched", name]}
        return found

    def found(
        self,
        base: Attribution,
        plan: Plan,
        draws: int,
        cascade: list[tuple[int, str, float]],
        apart: Mapping[str, Removal],
    ) -> Evidence:
        """All that can be said about one method."""
        again = plan.again
        images, classes = self.images[:again], self.targets[:again]
        values = base.values[:again]
        alike = None
        if self.runner_up is not None and again:
            other = self.asker.maps(base.method, images, self.runner_up[:again], "runner-up" + str(again)).values
            alike = mean_of(rank_correlation(values, other))
        flat = bool((base.values.flatten(1).amax(1) == base.values.flatten(1).amin(1)).all())
        sensitivity = self._sensitivity(base.method, images, classes, values, draws) if again else None
        pointing, controls, mass = self._pointed(base)
        measures = [
            measured("insertion", "probability", apart["map"].gap, {c: r.gap for c, r in _others(apart)}, self.seed),
            measured(
                "road", "probability", apart["map"].road_gap, {c: r.road_gap for c, r in _others(apart)}, self.seed
            ),
            mass if self.masks is not None else self._in_quarters(base.method, plan.grids),
        ]
        kept = tuple(measure for measure in measures if measure is not None)
        completeness = _completeness(base)
        middle = half(len(levels_of(self.model)))
        upper = None if flat else next((value for stage, _, value in cascade if stage == middle), None)
        checks = checks_of(
            completeness=completeness,
            upper=upper,
            everything=cascade[-1][2] if cascade and not flat else None,
            discrimination=alike,
            sensitivity=sensitivity,
            measures=kept,
        )
        if again < FEWEST:
            # What was never asked is the first doubt; a hint from a few pictures comes after the doubts that have a number.
            checks.insert(len(checks) if again else 0, too_few(again, self.asker.cost(base.method, self.size[-1])))
        verdict, reason = judge(checks, flat=flat)
        curves = {
            "deletion": {who: tuple(removal.deletion.mean(0).tolist()) for who, removal in apart.items()},
            "insertion": {who: tuple(removal.insertion.mean(0).tolist()) for who, removal in apart.items()},
        }
        survived = () if flat else tuple((layer, value) for _, layer, value in cascade)
        return Evidence(
            method=base.method,
            completeness=completeness,
            explained=self._explained(base),
            discrimination=alike,
            randomised_top=None if flat else next((value for stage, _, value in cascade if stage == 1), None),
            randomised_upper=upper,
            randomised_all=survived[-1][1] if survived else None,
            cascade=survived,
            sensitivity=sensitivity,
            measures=kept,
            curves=curves,
            pointing=pointing,
            controls=controls,
            checks=tuple(checks),
            verdict=verdict,
            reason=reason,
            pictures=len(base.values),
            compared=again,
            shares=tuple(apart["map"].shares),
        )

    def _sensitivity(self, method: str, images: Tensor, classes: Tensor, values: Tensor, draws: int) -> float | None:
        """Max-sensitivity. Source: Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019."""
        changes = []
        for draw in range(draws):
            dice = torch.Generator().manual_seed(self.seed + draw)
            noise = RADIUS * (2 * torch.rand(images.shape, generator=dice) - 1)
            noisy = (images + noise.to(images)).clamp(0, 1)
            after = self.asker.maps(method, noisy, classes, f"noise {draw} {len(images)}").values
            changes.append(size_of_change(values, after))
        return mean_of(torch.stack(changes).amax(0)) if changes else None

    def _pointed(self, base: Attribution) -> tuple[Pointing | None, tuple[Pointing, ...], Measure | None]:
        """Against the masks, among pictures that the network names right."""
        if self.masks is None:
            return None, (), None
        count = len(base.values)
        here = torch.ones(count, dtype=torch.bool, device=base.values.device)
        if self.labels is not None:
            here = self.targets[:count] == self.labels[:count].to(here.device)
        maps = self.asker.on_pixels(base, self.size)
        masks = self.masks[:count].to(maps.device)
        here = here & masks.flatten(1).any(1)
        boxed = None if self.boxed is None else self.boxed[:count].to(maps.device)[here]
        blind = {
            **{name: m[:count] for name, m in self.knowing_nothing.items()},
            "blur-matched": blur_matched(maps, self.seed),
        }
        pointing = pointing_of(base.method, maps[here], masks[here], self.tolerance, self.seed, boxed)
        controls = tuple(
            pointing_of(name, m[here], masks[here], self.tolerance, self.seed, boxed) for name, m in blind.items()
        )
        masses = {name: mass_inside(m[here], masks[here]) for name, m in blind.items()}
        return (
            pointing,
            controls,
            measured(self._mass(), "share", mass_inside(maps[here], masks[here]), masses, self.seed),
        )

    def _mass(self) -> Criterion:
        """On what the share of a map is measured."""
        if self.masks is None or self.boxed is None:
            return "object"
        known = self.masks.flatten(1).any(1)
        return "box" if bool(self.boxed.to(known.device)[known].all()) else "both"

    def _in_quarters(self, method: str, count: int) -> Measure | None:
        """Share of the positive mass that lies in the quarter of the class that was asked about; by chance a quarter."""
        if self.grids is None or count == 0:
            return None
        some = slice(QUARTERS * count)
        grids = Grids(self.grids.images[some], self.grids.targets[some], self.grids.masks[some])
        found = self.asker.maps(method, grids.images, grids.targets, f"grid {len(grids.images)}")
        maps = self.asker.on_pixels(found, self.size)
        blind = {**control_maps(grids.images, self.seed), "blur-matched": blur_matched(maps, self.seed)}
        masses = {name: mass_inside(m, grids.masks) for name, m in blind.items()}
        return measured("quarter", "share", mass_inside(maps, grids.masks), masses, self.seed)

    def _explained(self, base: Attribution) -> float | None:
        about = methods()[base.method]
        if about.unit != "logit" or about.family == "perturbation":
            return None
        logit = self.logits[: len(base.values)].gather(1, base.targets[:, None])[:, 0].double()
        share = float((base.values.double().sum((1, 2)) / logit).median())
        return share if math.isfinite(share) else None


def _others(apart: Mapping[str, Removal]) -> list[tuple[str, Removal]]:
    return [(name, removal) for name, removal in apart.items() if name != "map"]


def _completeness(found: Attribution) -> float | None:
    if found.residual is None:
        return None
    change = found.values.sum((1, 2)) - found.residual
    return float((found.residual.abs() / change.abs().clamp(min=1e-12)).median())
