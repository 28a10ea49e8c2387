"""A run of training opened, and the same pictures before the network of each epoch that it has kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vgg_viz.attribution.layers import after_activation, choose_layer
from vgg_viz.attribution.single_pass import gradient_bundle
from vgg_viz.capture.hooks import centre_logits
from vgg_viz.capture.predict import predict_logits
from vgg_viz.errors import CheckpointRefused, InputRefused, SectionMissing
from vgg_viz.figures.fonts import readable_names
from vgg_viz.maths.change import Learning, learning
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.models.geometry import LayerGeometry, geometry
from vgg_viz.records import Batch, Checkpoint, Epoch, PictureOrigin
from vgg_viz.studies.answers import evenly_spaced, select_images
from vgg_viz.studies.candidate_regions import Suspect
from vgg_viz.studies.inputs import Inputs
from vgg_viz.studies.preset import LARGE_GIGAMACS, Preset
from vgg_viz.studies.without_scores import require_scores
from vgg_viz.training.kept_epochs import FOLDER, kept_epochs

MOST_EPOCHS = 60  # looked at; of a longer run, as many evenly over it


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run whose epochs were kept.

    name        of its folder
    files       {epoch: its checkpoint's file}, two or more, in their order
    kept        {epoch: its checkpoint}, weights mapped
    left_out    epochs that are on disk and not looked at, where there are very many
    checkpoint  the last kept epoch, with the specimens and the whole history of the run
    """

    name: str
    files: Mapping[int, Path]
    kept: Mapping[int, Checkpoint]
    left_out: int
    checkpoint: Checkpoint

    @property
    def epochs(self) -> tuple[int, ...]:
        """The kept epochs, in their order."""
        return tuple(self.files)

    @property
    def history(self) -> tuple[Epoch, ...]:
        """What every epoch of the run left behind."""
        return self.checkpoint.history


def open_run(folder: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> KeptRun:
    """List what a run has kept; raises InputRefused for what is no run, or a run without epochs, with the command that makes them."""
    root = Path(folder)
    name = Path(os.path.abspath(root)).name
    if not root.is_dir():
        what = f"{name!r} is a file" if root.exists() else f"there is no {name!r}"
        raise InputRefused(
            f"{what}; compare takes two checkpoints, or the folder of one run that has kept its epochs "
            "(train --out RUN_DIR --keep-epochs all)."
        )
    files = kept_epochs(root)
    if len(files) < 2:
        held = f"holds {'only one epoch' if files else 'no epochs'} ({FOLDER}/epoch-000.pt, ...)"
        raise InputRefused(
            f"the folder {name!r} {held}, and a timeline needs two or more; keep them while training: "
            "python -m vgg_viz train --data DIR --out RUN_DIR --keep-epochs all."
        )
    chosen = _evenly(list(files), MOST_EPOCHS)
    kept = {epoch: load(files[epoch], **(overrides or {})) for epoch in chosen}
    last = kept[chosen[-1]]
    require_scores(last.architecture, "follow through the epochs")
    for epoch, one in kept.items():
        _require_alike(one, last, files[epoch])
    whole = next((load(root / file) for file in ("best.pt", "last.pt") if (root / file).is_file()), last)
    history = max((whole.history, last.history), key=len)
    complete = replace(last, history=history, specimens=whole.specimens if whole.classes == last.classes else ())
    return KeptRun(name, {epoch: files[epoch] for epoch in chosen}, kept, len(files) - len(chosen), complete)


def _evenly(numbers: list[int], most: int) -> list[int]:
    """At most `most` of the numbers, evenly over them, with the first and the last."""
    if len(numbers) <= most:
        return numbers
    return [numbers[round(i * (len(numbers) - 1) / (most - 1))] for i in range(most)]


def _require_alike(one: Checkpoint, last: Checkpoint, file: Path) -> None:
    """Refuse an epoch of another network before anything is computed or written."""
    theirs, ours = one.weights, last.weights
    shapes = theirs.keys() == ours.keys() and all(theirs[key].shape == ours[key].shape for key in ours)
    if one.classes != last.classes or not shapes:
        raise CheckpointRefused(
            f"{file.name} is an epoch of another network than the last one of this folder (its layers or classes differ); "
            "move the epochs of different runs to folders of their own."
        )


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Give a built network the weights of an epoch."""
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            tensor.copy_(checkpoint.weights[key])


SAMPLED = 64  # pictures over which maps are measured; of a large network as many as are looked into
Tell = Callable[[int, int], None]  # epochs done, of how many


@dataclass(frozen=True, slots=True)
class EpochMaps:
    """What one epoch says about some pictures; maps are Grad-CAM without its last ReLU: evidence against the class stays [logit].

    logits  (B, K), each less the mean of its row: softmax and answer are those of the network
    maps    {layer: (B, h, w)}, every layer asked for, from one forward and one backward pass
    """

    logits: Tensor
    maps: Mapping[str, Tensor]


class EpochSeries:
    """One run before its pictures: built once, then each epoch's weights put in."""

    def __init__(
        self,
        run: KeptRun,
        inputs: Inputs,
        preset: Preset,
        seed: int,
        *,
        device: str | torch.device = "cpu",
        suspects: tuple[Suspect, ...] = (),
        data: str | os.PathLike[str] | None = None,
    ) -> None:
        """suspects  what may give a class away; data: the labelled pictures as the user named them, None for those of the run."""
        self.run, self.inputs, self.preset, self.seed, self.suspects, self.data = (
            run,
            inputs,
            preset,
            seed,
            suspects,
            data,
        )
        self.model: nn.Module = build(run.checkpoint.architecture).to(
            device
        )  # not around the last epoch's weights: they lie in a file

    # ------------------------------------------------------------ what is looked at

    @property
    def epochs(self) -> tuple[int, ...]:
        """The kept epochs, in their order."""
        return self.run.epochs

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes as pages and figures show them, in the order of the outputs."""
        return readable_names(self.run.checkpoint.classes)

    @property
    def side(self) -> int:
        """Side of the pictures [px]."""
        return self.run.checkpoint.architecture.image_side

    @cached_property
    def rows(self) -> tuple[LayerGeometry, ...]:
        """The geometry, layer by layer."""
        return geometry(self.model)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Every convolution after its ReLU, from the picture on."""
        return tuple(after_activation(self.rows, row.name) for row in self.rows if row.kind == "conv")

    @cached_property
    def deep(self) -> str:
        """The layer of the run's own reports, at which maps are shown."""
        return after_activation(self.rows, choose_layer(self.rows, self.side).name)

    @cached_property
    def early(self) -> str:
        """The one beside it: the last layer of the first block, or the first of all where that is the deep one."""
        names = [row.name for row in self.rows]
        pool = next((n for n, row in enumerate(self.rows) if row.kind == "pool"), len(names))
        block = [name for name in self.layers if names.index(name) < pool]
        return block[-1] if block and block[-1] != self.deep else self.layers[0]

    @property
    def labelled(self) -> Batch:
        """The pictures with known classes; raises SectionMissing where there are none."""
        if self.inputs.labelled is None or self.inputs.labelled.labels is None:
            raise SectionMissing(
                "There are no labelled pictures, so nobody can say what was learned.",
                "python -m vgg_viz compare RUN_DIR --data DIR",
            )
        return self.inputs.labelled

    @property
    def labels(self) -> Tensor:
        """(N,) the labels of the labelled pictures."""
        found = self.labelled.labels
        if found is None:
            raise TypeError("labelled pictures were expected")
        return found

    @cached_property
    def sample(self) -> Batch:
        """The pictures over which maps are measured: spread evenly over the labelled ones, none chosen for what it shows."""
        whole = self.inputs.labelled
        if whole is None:
            return self.inspected
        large = sum(row.macs for row in self.rows) > 1e9 * LARGE_GIGAMACS / 2
        count = min(len(whole), self.preset.pictures if large else SAMPLED)
        return select_images(whole, evenly_spaced(len(whole), count))

    @cached_property
    def inspected(self) -> Batch:
        """The few pictures whose maps are shown: those of --images, else some that were forgotten on the way and some that were not."""
        if self.inputs.inspected is not None:
            return self.inputs.inspected
        return select_images(self.labelled, self._telling())

    @property
    def inspected_origin(self) -> PictureOrigin | None:
        """Where the pictures come from whose maps are shown."""
        return self.inputs.inspected_origin if self.inputs.inspected is not None else PictureOrigin("by learning")

    def _telling(self) -> list[int]:
        found, labels = self.learned, self.labels
        count = min(self.preset.pictures, len(labels))
        often = found.times_forgotten
        forgotten = [i for i in often.argsort(descending=True, stable=True).tolist() if often[i] > 0][: count // 2]
        # The others a class each, those that came late and stayed before those that were right from the start.
        late = [
            i
            for i in found.final.argsort(descending=True, stable=True).tolist()
            if found.final[i] > 0 and i not in forgotten
        ]
        chosen, seen = list(forgotten), {int(labels[i]) for i in forgotten}
        for i in late:
            if len(chosen) < count and int(labels[i]) not in seen:
                chosen.append(i)
                seen.add(int(labels[i]))
        rest = [*late, *range(len(labels))]
        return [*chosen, *[i for i in dict.fromkeys(rest) if i not in chosen]][:count]

    # ------------------------------------------------------------ the walk

    def each(self) -> Iterable[int]:
        """Epoch by epoch, with its weights in the network while the loop's body runs."""
        for epoch, checkpoint in self.run.kept.items():
            load_weights(self.model, checkpoint)
            yield epoch

    @cached_property
    def answers(self) -> Tensor:
        """(E, N, K) logits of every epoch on the labelled pictures."""
        images = self.labelled.images
        return torch.stack([predict_logits(self.model, images) for _ in self.each()])

    @cached_property
    def right(self) -> Tensor:
        """(E, N) bool."""
        return self.answers.argmax(2) == self.labels

    @cached_property
    def learned(self) -> Learning:
        """What was learned and forgotten, picture by picture."""
        return learning(self.right)

    @cached_property
    def sample_maps(self) -> dict[int, EpochMaps]:
        """Maps of every layer for the sampled pictures."""
        targets = self.targets(self.sample)
        return {epoch: self.maps_of(self.sample, targets, self.layers) for epoch in self.each()}

    @cached_property
    def shown_maps(self) -> dict[int, dict[str, EpochMaps]]:
        """Maps of the deep and the early layer of the shown pictures: for the class that is asked about, and for what the epoch says."""
        asked = self.targets(self.inspected)
        layers = tuple(dict.fromkeys((self.early, self.deep)))
        return {
            epoch: {
                "asked": self.maps_of(self.inspected, asked, layers),
                "said": self.maps_of(self.inspected, "predicted", layers),
            }
            for epoch in self.each()
        }

    def targets(self, batch: Batch) -> Tensor:
        """The class that maps are about, the same at every epoch: the true one, or what the last epoch says where nobody knows it."""
        if batch.labels is not None:
            return batch.labels
        load_weights(self.model, self.run.checkpoint)
        return predict_logits(self.model, batch.images).argmax(1)

    def maps_of(self, batch: Batch, targets: Tensor | str, layers: Sequence[str]) -> EpochMaps:
        """What the network with the weights that it wears now says: one forward and one backward pass for all layers."""
        device = next(self.model.parameters()).device
        asked = targets if isinstance(targets, str) else targets.to(device)
        with centre_logits(self.model):
            found = gradient_bundle(self.model, batch.images.to(device), asked, layers=layers, relu=False)
        maps = {name: part.values.detach().float().cpu() for name, part in found.grad_cam.items()}
        return EpochMaps(found.activations.logits.float().cpu(), maps)
