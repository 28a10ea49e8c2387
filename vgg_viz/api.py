"""The commands as functions, for a notebook or a script: keywords in, a finished gallery or plain numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vgg_viz.arguments import require_arguments
from vgg_viz.records import Checkpoint

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vgg_viz.gallery.study import GalleryResult
    from vgg_viz.maths.image_forms import Images
    from vgg_viz.progress import Progress
    from vgg_viz.sections.audit.audit import Audited
    from vgg_viz.sections.explain.explain import Explained
    from vgg_viz.sections.timeline.timeline import Timeline
    from vgg_viz.studies.evaluation import Evaluation, Predictions
    from vgg_viz.studies.inputs import Given
    from vgg_viz.studies.request import FilePath


def report(  # noqa: PLR0913 - a notebook names what it wants, flat
    source: Given = None,
    *,
    images: FilePath | Images | None = None,
    data: FilePath | None = None,
    out: FilePath = "gallery",
    preset: str = "standard",
    budget: float | None = None,
    one_file: bool = False,
    keep_maps: bool = True,
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> GalleryResult:
    """Turn a checkpoint into `<out>/<stem>/index.html` with its figures and numbers.

    Args:
        source: A checkpoint, a module, a file, a variant's name, or None for the bundled Tiny VGG.
        images: A folder of pictures, or one picture, or pictures in memory: what the report looks into.
        data: An ImageFolder, or "shapes": what the report measures on; None: what the checkpoint carries.
        out: The folder of galleries.
        preset: How much to compute: "quick", "standard" or "full".
        budget: Seconds that it may take: maps and sections that do not fit are left out, and that is said; None: all of it.
        one_file: Write the gallery as one file to mail too, where that is light enough.
        keep_maps: Leave all maps raw beside the page, and finished maps where the report is interrupted.
        seed: Of everything random.
        device: That the network runs on.
        overrides: Keywords of `load` (arch, classes, image_size, padding, mean, std, key, weights, outputs, resize).
        progress: Called with (what is being made, how many parts are done, of how many).

    Raises:
        InputRefused: And its kin, before anything is written.
        OutputRefused: Writing failed; nothing has changed then.
    """
    from vgg_viz.sections.report.report import build_report
    from vgg_viz.studies.request import ReportRequest

    request = ReportRequest(
        source=source,
        images=images,
        data=data,
        out=out,
        preset=preset,
        budget=budget,
        one_file=one_file,
        keep_maps=keep_maps,
        seed=seed,
        device=device,
        overrides={} if overrides is None else overrides,
        progress=progress,
    )
    return build_report(request)


def compare(  # noqa: PLR0913 - a notebook names what it wants, flat
    first: Given,
    second: Given,
    *,
    images: FilePath | Images | None = None,
    data: FilePath | None = None,
    out: FilePath = "gallery",
    preset: str = "standard",
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> GalleryResult:
    """Set two checkpoints before the same pictures: `<out>/<first>-vs-<second>/index.html` with figures and numbers.

    Args:
        first: A on the page: a checkpoint, a module, a file, or a variant's name.
        second: B on the page.
        images: A folder of pictures, or one picture, or pictures in memory: what the maps look into.
        data: An ImageFolder, or "shapes": what both are measured on; None: what the checkpoints carry.
        out: The folder of galleries.
        preset: How much to compute: "quick", "standard" or "full".
        seed: Of everything random.
        device: That the networks run on.
        overrides: Keywords of `load`, for both.
        progress: Called with (what is being made, how many parts are done, of how many).

    Raises:
        InputRefused: And its kin, before anything is written.
        OutputRefused: Writing failed; nothing has changed then.
    """
    from vgg_viz.sections.compare.compare import build_comparison
    from vgg_viz.studies.request import PairRequest

    request = PairRequest(
        first=first,
        second=second,
        images=images,
        data=data,
        out=out,
        preset=preset,
        seed=seed,
        device=device,
        overrides={} if overrides is None else overrides,
        progress=progress,
    )
    return build_comparison(request)


def timeline(  # noqa: PLR0913 - a notebook names what it wants, flat
    run: FilePath,
    *,
    region: str | None = None,
    class_name: str | None = None,
    findings: FilePath | None = None,
    images: FilePath | Images | None = None,
    data: FilePath | None = None,
    out: FilePath = "gallery",
    preset: str = "standard",
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Timeline:
    """Set the network of every kept epoch before the same pictures: `<out>/<run>-timeline/index.html` with figures and numbers.

    Args:
        run: The folder of a run that has kept its epochs.
        region: Of a suspected shortcut: "x0,y0,x1,y1" [px], "border[:WIDTH]", "background" or "colours".
        class_name: The class that it gives away; needed with a region.
        findings: A file of suspects instead: what `audit --json` printed, or the truth of `data shapes --shortcut`.
        images: A folder of pictures, or one picture, or pictures in memory: what the maps look into.
        data: An ImageFolder, or "shapes": what is measured on; None: what the run carries.
        out: The folder of galleries.
        preset: How much to compute: "quick", "standard" or "full".
        seed: Of everything random.
        device: That the networks run on.
        overrides: Keywords of `load`, for every epoch.
        progress: Called with (what is being made, how many parts are done, of how many).

    Raises:
        InputRefused: And its kin, before anything is written.
        OutputRefused: Writing failed; nothing has changed then.
    """
    from vgg_viz.sections.timeline.timeline import build_timeline
    from vgg_viz.studies.request import RunRequest

    request = RunRequest(
        run=run,
        region=region,
        class_name=class_name,
        findings=findings,
        images=images,
        data=data,
        out=out,
        preset=preset,
        seed=seed,
        device=device,
        overrides={} if overrides is None else overrides,
        progress=progress,
    )
    return build_timeline(request)


def explain(  # noqa: PLR0913 - a notebook names what it wants, flat
    source: Given,
    image: FilePath | Images,
    *,
    methods: Sequence[str] = (),
    target: str | int | None = None,
    against: str | int | None = None,
    unit: str | None = None,
    layer: str | None = None,
    out: FilePath = "gallery",
    force: bool = False,
    preset: str = "standard",
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Explained:
    """Explain one picture: `<out>/<checkpoint>-<picture>/index.html`, or one figure where `out` ends in .png, .svg or .pdf.

    Args:
        source: A checkpoint, a module, a file, a variant's name, or None for the bundled Tiny VGG.
        image: A picture file, or one picture in memory, as `predict` takes it.
        methods: Names of `methods()`, the leading one first; (): Grad-CAM and saliency.
        target: The class that it should be, by name or index, or a unit as for `unit`; None: nobody says.
        against: The class whose evidence is subtracted in the difference; None: the target, else the runner-up.
        unit: What the maps are about in place of classes: "conv5_3:12" for a channel, "conv5_3:12:3,4" for one place of it.
        layer: Where layered methods look, such as "conv5_3"; None: chosen by map size and receptive field.
        out: The folder of galleries, or the file of a figure.
        force: Replace that file where it exists.
        preset: "quick" leaves out the runs with parts of the picture hidden, and the channels; "full" hides in smaller steps.
        seed: Of everything random.
        device: That the network runs on.
        overrides: Keywords of `load` (arch, classes, image_size, padding, mean, std, key, weights, outputs, resize).
        progress: Called with (what is being made, how many parts are done, of how many).

    Raises:
        InputRefused: And its kin, before anything is written.
        OutputRefused: Writing failed; nothing has changed then.
    """
    from vgg_viz.sections.explain.explain import build_explanation
    from vgg_viz.studies.request import PictureRequest

    request = PictureRequest(
        source=source,
        image=image,
        methods=_several(methods),
        target=target,
        against=against,
        unit=unit,
        layer=layer,
        out=out,
        force=force,
        preset=preset,
        seed=seed,
        device=device,
        overrides={} if overrides is None else overrides,
        progress=progress,
    )
    return build_explanation(request)


def audit(  # noqa: PLR0913 - a notebook names what it wants, flat
    source: Given = None,
    *,
    data: FilePath | None = None,
    classes: Sequence[str] = (),
    limit: int = 600,
    out: FilePath = "gallery",
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Audited:
    """Find what a checkpoint looks at instead of the object, and test it: `<out>/<stem>-audit/index.html`.

    Args:
        source: A checkpoint, a module, a file, a variant's name, or None for the bundled Tiny VGG.
        data: An ImageFolder, "shapes", or None: what the checkpoint carries.
        classes: Names of those to search; (): all that have enough pictures.
        limit: Pictures at most, evenly over the classes.
        out: The folder of galleries.
        seed: Of everything random.
        device: That the network runs on.
        overrides: Keywords of `load` (arch, classes, image_size, padding, mean, std, key, weights, outputs, resize).
        progress: Called with (what is being made, how many parts are done, of how many).

    Raises:
        InputRefused: And its kin, before anything is written.
        OutputRefused: Writing failed; nothing has changed then.
    """
    from vgg_viz.sections.audit.audit import build_audit
    from vgg_viz.studies.request import AuditRequest

    request = AuditRequest(
        source=source,
        data=data,
        classes=_several(classes),
        limit=limit,
        out=out,
        seed=seed,
        device=device,
        overrides={} if overrides is None else overrides,
        progress=progress,
    )
    return build_audit(request)


def evaluate(  # noqa: PLR0913 - a notebook names what it wants, flat
    source: Given = None,
    data: FilePath | None = None,
    *,
    limit: int = 10_000,
    dense: bool = False,
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Measure a checkpoint on labelled pictures: accuracy, top-5 and calibration.

    Args:
        source: A checkpoint, a module, a file, a variant's name, or None for the bundled Tiny VGG.
        data: An ImageFolder, "shapes", or None: what the checkpoint carries.
        limit: Pictures at most.
        dense: Use the dense form (VGG only).
        seed: Of the choice among more pictures than that, and of the weights of a variant.
        device: That the network runs on.
        overrides: Keywords of `load` (arch, classes, image_size, padding, mean, std, key, weights, outputs, resize).

    Raises:
        InputRefused: And its kin: there are no labelled pictures, or something cannot be read.
    """
    from vgg_viz.studies import evaluation
    from vgg_viz.studies.inputs import folder_classes

    require_arguments({"data": data, "limit": limit, "dense": dense}, optional=("data",))
    names = {"folder_classes": folder_classes(data)}
    checkpoint, model = _built(source, device, overrides, dense=dense, seed=seed, **names)
    return evaluation.evaluate(checkpoint, model, data, limit=limit, seed=seed)


def predict(
    source: Given,
    images: FilePath | Images | Sequence[FilePath],
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
) -> Predictions:
    """What a checkpoint predicts for pictures: the five likeliest classes of each.

    Args:
        source: A checkpoint, a module, a file, a variant's name, or None for the bundled Tiny VGG.
        images: A picture file, a folder of pictures, pictures in memory (uint8, or floats in [0, 1]; tensors, arrays, PIL
            images), or a list of these; resized as files are.
        seed: Of the weights of a variant.
        device: That the network runs on.
        overrides: Keywords of `load` (arch, classes, image_size, padding, mean, std, key, weights, outputs, resize).

    Raises:
        InputRefused: And its kin: none of the pictures, or not the checkpoint, can be read.
    """
    from vgg_viz.studies import evaluation

    checkpoint, model = _built(source, device, overrides, seed=seed)
    return evaluation.predict(checkpoint, model, list(images) if isinstance(images, list | tuple) else [images])


def _built(
    source: Given,
    device: str | torch.device,
    overrides: Mapping[str, Any] | None,
    *,
    dense: bool = False,
    **options: Any,
) -> tuple[Checkpoint, nn.Module]:
    from vgg_viz.models.build import build
    from vgg_viz.studies.inputs import checkpoint_from
    from vgg_viz.studies.request import require_overrides, resolve_device

    device = resolve_device(device)
    require_arguments({"overrides": overrides}, optional=("overrides",))
    require_overrides(overrides or {})
    require_arguments({"source": source, **options}, optional=("source",))
    checkpoint = checkpoint_from(source, {**options, **(overrides or {})})
    return checkpoint, build(checkpoint, dense=dense).to(device)


def _several(given: Sequence[str]) -> tuple[str, ...]:
    """Names as a tuple, a single one as well; what is neither stays what it is, and the request refuses it."""
    if isinstance(given, str):
        return (given,)
    return tuple(given) if isinstance(given, list | tuple) else given  # type: ignore[return-value]
