"""The maps of a report: made once, written down at once, and read back where an interrupted report left them."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vgg_viz.attribution import attribute, methods
from vgg_viz.attribution.cam_reduction import CAMS
from vgg_viz.attribution.options import MethodOptions
from vgg_viz.attribution.single_pass import SHARED, gradient_bundle
from vgg_viz.errors import MapRefused, OutputRefused
from vgg_viz.plain_json import plain
from vgg_viz.records import Attribution, Batch
from vgg_viz.studies.deadline import Deadline
from vgg_viz.studies.preset import Preset
from vgg_viz.studies.saved_maps import (
    SUFFIX,
    Origin,
    facts_of,
    manifest_entry,
    matches,
    network_of,
    origin,
    read,
    slug,
    write,
)


@dataclass(frozen=True, slots=True)
class Kept:
    """One map set, the word for its target, and what it was made from."""

    found: Attribution
    target: str
    here: Origin


class MapCache:
    """All maps of one report.

    folder     where maps are saved as soon as they exist, and looked for before they are computed; None: nowhere
    deadline   asked before each map; None: there is time for everything
    read_back  how many map sets were found there
    """

    def __init__(
        self,
        model: nn.Module,
        classes: Sequence[str],
        preset: Preset,
        seed: int,
        *,
        checkpoint: str = "",
        folder: Path | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self.model, self.classes, self.preset, self.seed = model, tuple(classes), preset, seed
        self.checkpoint, self.folder, self.deadline = checkpoint, folder, deadline
        self.kept: dict[str, Kept] = {}
        self.read_back = 0

    def offers(self, batch: Batch, method: str, target: str) -> bool:
        """Whether there is time for this map set; what the shared pass gives is made in any case."""
        if self.deadline is None or method in SHARED:
            return True
        what = methods()[method].title + ("" if target == "predicted" else f" for the {target} class")
        return self.deadline.allows_map(what, self.passes(method, batch.images.shape[-1]) * len(batch))

    def passes(self, method: str, side: int) -> float:
        """Passes that one map of a picture of `side` [px] costs, before it is made."""
        cost = methods()[method].cost(self.model, options_of(self.preset, self.seed, side, None), side)
        return 2.0 if cost is None else cost

    def attribute(
        self, batch: Batch, method: str, classes: Tensor, *, target: str, layer: str | None = None
    ) -> Attribution:
        """The map set of a method for `classes` (B,), which the report calls `target`; layer for layered methods only."""
        options = options_of(
            self.preset, self.seed, batch.images.shape[-1], layer if methods()[method].layered else None
        )
        if (known := self._known(batch, method, options, classes, target)) is not None:
            return known
        found = attribute(
            self.model,
            batch.images.to(self._device),
            method=method,
            target=classes.to(self._device),
            layer=options.layer,
            options=methods()[method].relevant(options),
        )
        return self._put(batch, replace(found, settings=_settings(method, options)), target)

    def shared(
        self,
        batch: Batch,
        classes: Tensor,
        *,
        target: str,
        layers: Sequence[str],
        also: Sequence[str] = (),
        layer: str | None = None,
    ) -> dict[tuple[str, str | None], Attribution]:
        """Grad-CAM of `layers`, and other maps, from one forward and one backward pass.

        also     names of `attribution.shared.SHARED`; those of layers are kept at `layer` alone
        returns  {(method, layer or None): map set}
        """
        wanted = together(layers, also, layer)
        options = {layer: options_of(self.preset, self.seed, batch.images.shape[-1], layer) for _, layer in wanted}
        known = {(name, layer): self._known(batch, name, options[layer], classes, target) for name, layer in wanted}
        if any(found is None for found in known.values()):
            started = time.perf_counter()
            images = batch.images.to(self._device)
            cams = [name for name in also if name in CAMS and name != "grad_cam"]
            bundle = gradient_bundle(self.model, images, classes.to(self._device), layers=list(layers), cams=cams)
            seconds = time.perf_counter() - started
            made: dict[tuple[str, str | None], Attribution] = {
                ("grad_cam", name): bundle.grad_cam[name] for name in layers
            }
            made |= {("saliency", None): bundle.saliency, ("input_x_gradient", None): bundle.input_x_gradient}
            made |= {(name, layer): found[layer] for name, found in bundle.cams.items() if layer is not None}
            for key, found in known.items():
                if found is None:
                    settings = _settings(key[0], options[key[1]])
                    known[key] = self._put(batch, replace(made[key], seconds=seconds, settings=settings), target)
        return {key: found for key, found in known.items() if found is not None}

    def deliver(self, folder: Path) -> list[dict[str, Any]]:
        """Save every map set into `folder`; returns what the manifest says of them.

        raises  OutputRefused when the disk says no
        """
        for kept in self.kept.values():
            write(folder, kept.found, kept.here, target=kept.target)
        return [manifest_entry(name, kept.found, kept.target) for name, kept in self.kept.items()]

    def notes(self) -> tuple[str, ...]:
        """What the user should know: that maps were not computed, but read from where an interrupted report had left them."""
        if not self.read_back:
            return ()
        return (
            f"{self.read_back} of {len(self.kept)} sets of maps were read from what an interrupted report had left.",
        )

    def facts(self, batch: Batch) -> dict[str, Any]:
        """What everything computed here on `batch` depends on besides its own settings, as plain values."""
        return facts_of(self._origin(batch))

    # ------------------------------------------------------------ inside

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    @cached_property
    def _network(self) -> str:
        return network_of(self.model)

    def _origin(self, batch: Batch) -> Origin:
        return origin(
            self.model, batch.images, batch.names, self.classes, checkpoint=self.checkpoint, network=self._network
        )

    def _known(
        self, batch: Batch, method: str, options: MethodOptions, classes: Tensor, target: str
    ) -> Attribution | None:
        """The map set as it was made or read before, or as a file of the same origin and settings in the folder holds it."""
        here, settings = self._origin(batch), _settings(method, options)
        name = slug(_stub(method, options, classes), target)
        kept = self.kept.get(name)
        if kept is not None and kept.here == here and _same(kept.found, classes, settings):
            return kept.found
        if self.folder is None or not (file := self.folder / f"{name}{SUFFIX}").exists():
            return None
        try:
            saved = read(file)
        except MapRefused:
            return None  # half of another report's, or damaged: computed again and written over
        if not matches(saved, here, method=method, targets=classes, settings=settings) or saved.target != target:
            return None
        about, found = (
            methods()[method],
            saved.found,
        )  # what a map is follows from its method: no file may say otherwise
        if (found.unit, found.signed, found.unit_of) != (about.unit, about.signed, None) or found.passes < 0:
            return None
        if about.layered and found.layer not in (
            options.layer,
            None,
        ):  # guided Grad-CAM takes a layer and answers in pixels
            return None
        self.read_back += 1
        self.kept[name] = Kept(saved.found, target, here)
        return saved.found

    def _put(self, batch: Batch, found: Attribution, target: str) -> Attribution:
        found = replace(
            found,
            values=found.values.cpu(),
            targets=found.targets.cpu(),
            residual=None if found.residual is None else found.residual.cpu(),
        )
        here = self._origin(batch)
        if self.folder is not None:
            try:
                write(self.folder, found, here, target=target)
            except (
                OutputRefused
            ):  # another report of the same checkpoint may have ended, and removed the folder under our hands
                try:
                    write(self.folder, found, here, target=target)
                except (
                    OutputRefused
                ):  # no place to keep finished maps: should the disk be full, the gallery itself will say so
                    self.folder = None
        self.kept[slug(found, target)] = Kept(found, target, here)
        return found


def together(layers: Sequence[str], also: Sequence[str], layer: str | None) -> list[tuple[str, str | None]]:
    """What `shared` gives, as (method, layer or None): first the other methods, then Grad-CAM of every layer."""
    first = [(name, layer if methods()[name].layered else None) for name in also if name != "grad_cam"]
    return [*first, *(("grad_cam", name) for name in layers)]


def options_of(preset: Preset, seed: int, side: int, layer: str | None) -> MethodOptions:
    """What a preset gives a method to work with, for pictures of `side` [px]."""
    window = max(2, round(side * preset.window))
    return MethodOptions(
        layer=layer,
        seed=seed,
        steps=preset.steps,
        samples=preset.samples,
        masks=preset.masks,
        window=window,
        stride=max(1, round(window * preset.stride)),
    )


def _settings(method: str, options: MethodOptions) -> dict[str, Any]:
    settings: dict[str, Any] = plain({name: getattr(options, name) for name in methods()[method].reads})
    return settings


def _same(found: Attribution, classes: Tensor, settings: Mapping[str, Any]) -> bool:
    return found.targets.tolist() == classes.tolist() and plain(found.settings) == settings


def _stub(method: str, options: MethodOptions, classes: Tensor) -> Attribution:
    """As much of a map set as its slug needs."""
    return Attribution(method, torch.empty(0), "", False, options.layer, classes, settings=_settings(method, options))


TESTS_FILE = "trials.json"  # what came of testing the methods, beside the maps
STALE = 24 * 3600.0  # after which other reports' leftovers are removed too [s]


@contextmanager
def resumable(target: Path, *, settings: object) -> Iterator[Path]:
    """A hidden folder beside `target` for finished maps: `.<name>.maps/<digest of the settings>`.

    settings  what tells this report from another one of the same checkpoint; the maps in the folder are matched by
              their own facts besides, so that a wrong one would never be used
    The folder goes when the block ends well. When it does not, finished maps stay (each a whole file), and Ctrl-C says so.
    Two reports at once have a folder each, or the same one with the same maps in it.
    """
    beside = target.parent / f".{target.name}.maps"
    mine = beside / hashlib.sha256(repr(settings).encode()).hexdigest()[:16]
    try:
        yield mine
    except BaseException as ended:
        count = len(list(mine.glob(f"map-*{SUFFIX}"))) if mine.is_dir() else 0
        tried = mine.is_dir() and any(mine.glob(TESTS_FILE))
        if count or tried:
            maps = [f"{count} finished {'set' if count == 1 else 'sets'} of maps"] if count else []
            kept = " and ".join([*maps, *(["the trials"] if tried else [])])
            ended.add_note(
                f"{kept} {'is' if count == 1 and not tried else 'are'} kept: the same command goes on from there."
            )
        else:
            _remove(mine, beside)
        raise
    _remove(mine, beside)


def _remove(mine: Path, beside: Path) -> None:
    shutil.rmtree(mine, ignore_errors=True)
    with suppress(OSError):  # gone already, or another report is at it
        for other in beside.iterdir():
            if time.time() - other.stat().st_mtime > STALE:
                shutil.rmtree(other, ignore_errors=True)
        beside.rmdir()
