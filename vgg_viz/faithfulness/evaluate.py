"""Faithfulness tests of methods on the very checkpoint, each with a verdict and its reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypedDict

import torch
from torch import Tensor, nn

from vgg_viz.attribution import methods
from vgg_viz.attribution.layers import default_layer
from vgg_viz.attribution.method import pictures_at_once
from vgg_viz.capture.hooks import eval_mode, on_device_of
from vgg_viz.faithfulness.baseline_maps import blur_matched, control_maps
from vgg_viz.faithfulness.deletion import Removal, removals
from vgg_viz.faithfulness.grid import QUARTERS, Grids, grids_of
from vgg_viz.faithfulness.maps import Asker
from vgg_viz.faithfulness.plan import Plan, half, planned, rounds, stages_of
from vgg_viz.faithfulness.pointing import Pointing, pointing_of
from vgg_viz.faithfulness.randomisation import cascading, levels_of
from vgg_viz.faithfulness.records import FaithfulnessRequest, FaithfulnessResult
from vgg_viz.faithfulness.verdict import (
    FEWEST,
    Criterion,
    Measure,
    checks_of,
    judge,
    mean_of,
    measured,
    size_of_change,
    too_few,
)
from vgg_viz.maths.metrics import mass_inside, rank_correlation
from vgg_viz.models.outputs import class_logits
from vgg_viz.records import Attribution

RADIUS = 0.02  # of the small noise [intensity]: five steps of 255


def evaluate_methods(model: nn.Module, images: Tensor, request: FaithfulnessRequest) -> tuple[FaithfulnessResult, ...]:
    """Faithfulness tests of attribution methods on some pictures, for the predicted class; the model comes back as it was.

    Args:
        model: The network whose maps are tested.
        images: (B, C, H, W) in [0, 1]; 16 are enough for a verdict.
        request: Which methods, on what truth, and how much each is asked.

    Returns:
        One result a method, in the order of the request.

    Raises:
        VggVizError: As `attribute` does.
    """
    chosen = list(methods() if request.methods is None else request.methods)
    options = replace(request.options, relu=False)
    images = on_device_of(model, images)
    layer = default_layer(model, images) if any(methods()[name].layered for name in chosen) else None
    tests = _Tests(model, images, request, Asker(model, layer, options, chosen))
    costs = {name: tests.asker.cost(name, images.shape[-1]) for name in chosen}
    depth = len(levels_of(model))
    results: dict[str, FaithfulnessResult] = {}
    for together in [chosen] if request.affords is None else rounds(costs):
        if request.affords is not None and not request.affords(together):
            continue
        bases = tests.there(together, request.made)
        plans = {
            name: planned(
                request, costs[name], len(images), stages_of(costs[name], depth, request.levels), there=name in bases
            )
            for name in together
        }
        for name, plan in plans.items():
            if name not in bases:
                few = slice(plan.pictures)
                bases[name] = tests.asker.maps(name, images[few], tests.targets[few], f"base {plan.pictures}")
        cascades = tests.cascade({name: (bases[name], plan) for name, plan in plans.items()})
        how = _How(tiles=request.tiles, seed=options.seed, shares=tuple(request.shares), road=request.road)
        removed = tests.removed({name: tests.asker.on_pixels(bases[name], tests.size) for name in together}, how)
        results |= {
            name: tests.result(bases[name], plan, cascades[name], removed[name]) for name, plan in plans.items()
        }
    return tuple(results[name] for name in chosen if name in results)


class _How(TypedDict):
    """How all maps are asked about alike: keywords of `removals`."""

    tiles: int
    seed: int
    shares: Sequence[float]
    road: bool


class _Tests:
    """One checkpoint's pictures, and what all methods are asked about them."""

    def __init__(self, model: nn.Module, images: Tensor, request: FaithfulnessRequest, asker: Asker) -> None:
        self.model, self.images, self.asker = model, images, asker
        self.labels, self.masks, boxed = request.labels, request.masks, request.boxed
        self.boxed = boxed if self.masks is not None and boxed is not None and bool(boxed.any()) else None
        self.seed, self.tolerance, self.draws = request.options.seed, request.tolerance, request.draws
        self.size = (images.shape[-2], images.shape[-1])
        batch = pictures_at_once(model, images)
        with eval_mode(model), torch.no_grad():
            logits = torch.cat([model(images[start : start + batch]) for start in range(0, len(images), batch)])
        self.logits = class_logits(model, logits)
        ranked = self.logits.sort(dim=1, descending=True, stable=True).indices
        self.targets, self.runner_up = ranked[:, 0], ranked[:, 1] if ranked.shape[1] > 1 else None
        self.baselines = control_maps(images, self.seed)
        self.baselines_removed: dict[str, Removal] = {}
        self.grids = None
        if self.masks is None and request.grids:
            self.grids = grids_of(model, images, self.targets, most=request.grids, seed=self.seed)

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
        if not self.baselines_removed:
            self.baselines_removed = removals(self.model, self.images, self.targets, self.baselines, **how)
        shared, found, parted = self.baselines_removed, {}, {}
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

    def result(
        self, base: Attribution, plan: Plan, cascade: list[tuple[int, str, float]], apart: Mapping[str, Removal]
    ) -> FaithfulnessResult:
        """All that can be said about one method."""
        again = plan.again
        images, classes = self.images[:again], self.targets[:again]
        values = base.values[:again]
        alike = None
        if self.runner_up is not None and again:
            other = self.asker.maps(base.method, images, self.runner_up[:again], "runner-up" + str(again)).values
            alike = mean_of(rank_correlation(values, other))
        flat = bool((base.values.flatten(1).amax(1) == base.values.flatten(1).amin(1)).all())
        sensitivity = self._sensitivity(base.method, images, classes, values) if again else None
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
        return FaithfulnessResult(
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

    def _sensitivity(self, method: str, images: Tensor, classes: Tensor, values: Tensor) -> float | None:
        """Max-sensitivity. Source: Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019."""
        changes = []
        for draw in range(self.draws):
            generator = torch.Generator().manual_seed(self.seed + draw)
            noise = RADIUS * (2 * torch.rand(images.shape, generator=generator) - 1)
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
            **{name: m[:count] for name, m in self.baselines.items()},
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
