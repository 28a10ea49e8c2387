"""A gallery painted again from its receipts: no checkpoint is opened, no network is built."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vgg_viz._version import __version__
from vgg_viz.attribution import methods
from vgg_viz.attribution.method import METHODS
from vgg_viz.errors import ReceiptRefused, SectionMissing
from vgg_viz.models.geometry import LayerGeometry
from vgg_viz.plain_json import write_json
from vgg_viz.records import Activations, Architecture, Attribution, Batch, Checkpoint, Exhibit, Finding
from vgg_viz.registry import discover
from vgg_viz.report import page
from vgg_viz.report.exhibits import Made, Progress, failure, make_all, manifest_entries, write_chapter
from vgg_viz.report.gallery import Result
from vgg_viz.report.index import require_index_place, write_index
from vgg_viz.report.material import Material
from vgg_viz.report.preset import PRESETS, Preset, preset_for
from vgg_viz.report.publishing import publish
from vgg_viz.report.receipts import Receipt, read
from vgg_viz.report.scene import STEM, Scene, read_scene
from vgg_viz.report.section import SECTIONS, Looked, SectionMaker, Subject
from vgg_viz.report.shelf import together
from vgg_viz.report.stored import told_in
from vgg_viz.report.takeover import take_over
from vgg_viz.report.writing import MANIFEST, SCHEMA, folder_name, replacing
from vgg_viz.versions import made_at, versions

AGAIN = "python -m vgg_viz report CHECKPOINT"
CHAPTER = "attention"  # the one that receipts paint
MOST_RECEIPTS = 2000

Receipts = dict[tuple[str, str | None, str], Receipt]  # by method, layer of the map and word for the target


class ReadShelf:
    """The maps that receipts hold, with the verbs of a `Shelf`: nothing can be computed, so what is not there is missing."""

    def __init__(self, receipts: Receipts) -> None:
        self.receipts = receipts

    def offers(self, method: str, target: str) -> bool:
        """Whether there is a map of this method for this target."""
        return any((name, word) == (method, target) for name, _, word in self.receipts)

    def attribute(self, batch: Batch, method: str, classes: Tensor, *, target: str, layer: str | None = None) -> Attribution:
        """The map set of a method, whose classes must be those asked for; SectionMissing where there is none."""
        found = self.receipts.get((method, layer, target)) or self.receipts.get((method, None, target))
        if found is None and not (method in METHODS and METHODS[method].layered):
            # A method that takes no layer may still answer in the geometry of one, as the class-score map does.
            found = next((one for (name, _, word), one in self.receipts.items() if (name, word) == (method, target)), None)
        if found is None or len(found.found.values) != len(batch) or found.found.targets.tolist() != classes.tolist():
            at = f" at {layer}" if layer else ""
            raise SectionMissing(f"No usable receipt of {method}{at} for the {target} class lies in that gallery.", AGAIN)
        return found.found

    def shared(
        self, batch: Batch, classes: Tensor, *, target: str, layers: Sequence[str], also: Sequence[str] = (), layer: str | None = None
    ) -> dict[tuple[str, str | None], Attribution]:
        """As `Shelf.shared`."""
        wanted = together(layers, also, layer)
        return {(name, where): self.attribute(batch, name, classes, target=target, layer=where) for name, where in wanted}


def repaint(
    gallery: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] = "gallery",
    preset: str | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Result:
    """Paint a gallery again into `<out>/<its name>-repainted/`: its maps from receipts, its other chapters from its files.

    gallery  a folder that `report` wrote
    preset   whose scale, palette and number of rows are used; None: that of the gallery
    raises   ReceiptRefused for a folder without what is needed; OutputRefused as `report` does
    """
    source = Path(gallery)
    require_index_place(Path(out))
    _require_report(source)
    told = told_in(source / MANIFEST, {"vgg_viz": (str,), "exhibits": (list,), "preset": (str,), "checkpoint": (dict,), "made": (str,)})
    scene = read_scene(source / "data")
    receipts, left_out = _receipts(source / "data", scene, told["checkpoint"])
    older = told.get("warnings")
    warnings = [*(str(one) for one in (older if isinstance(older, list) else ())), *left_out]
    chosen = _preset(preset or told["preset"], scene.layers, receipts, _shown(source / "data"))
    old_scale = PRESETS[told["preset"]].scale if told["preset"] in PRESETS else 1.0
    discover("vgg_viz.report.sections")
    target = Path(out) / folder_name(f"{source.resolve().name}-repainted")
    with replacing(target) as folder:
        for name in ("figures", "data"):
            (folder / name).mkdir()
        makers = sorted((maker for _, maker in SECTIONS.items()), key=lambda maker: maker.order)
        subject = _subject(scene, receipts, chosen)
        subject.verdicts = _verdicts(source / "data")
        made, shown = [], []
        for maker in makers:
            part, section = _chapter(maker, subject, told, source, folder, chosen, old_scale, progress)
            made.append(part)
            shown.append(section)
        _deliver(source / "data", folder / "data", receipts)
        missing = tuple((part.title, reason) for part in made for reason, _ in part.missing)
        findings = _findings(told)
        built = page.Page(
            title=str(told.get("title", source.name)), subtitle=f"Painted again from receipts of {told['made']}; no network was run.",
            findings=tuple(findings), facts=_texts(told.get("facts")), warnings=tuple(warnings), sections=tuple(shown),
            footer=tuple(_footer(told, command, chosen, source.resolve().name)),
            explorer_note="The network to touch stays in the gallery that this one was painted from.",
        )  # fmt: skip
        warnings += publish(folder, built)
        write_json(folder / MANIFEST, {
            "vgg_viz": __version__, "schema": SCHEMA, "title": built.title, "command": command, "made": made_at(),
            "repainted": {
                "from": source.resolve().name, "made": told["made"], "vgg_viz": told["vgg_viz"], "versions": told.get("versions"),
            },
            "seed": told.get("seed"), "preset": chosen.name, "device": told.get("device"), "versions": versions(),
            "checkpoint": told["checkpoint"], "facts": dict(built.facts),
            "findings": [{"level": finding.level, "text": finding.text} for finding in findings],
            "data": told.get("data"), **({"budget": told["budget"]} if "budget" in told else {}), **manifest_entries(made),
            "warnings": warnings, "receipts": told.get("receipts"),
        })  # fmt: skip
    write_index(Path(out))
    return Result(target / "index.html", missing, tuple(warnings))


# ---------------------------------------------------------------- reading


def _receipts(folder: Path, scene: Scene, checkpoint: Mapping[str, Any]) -> tuple[Receipts, list[str]]:
    """Receipts of that very checkpoint and those very pictures by method, layer and target; a sentence for each other one."""
    found: Receipts = {}
    left_out = []
    for path in sorted(folder.glob("map-*.json"))[:MOST_RECEIPTS]:
        try:
            one = read(path)
        except ReceiptRefused as refused:
            left_out.append(str(refused))
            continue
        if (one.origin.get("checkpoint"), one.origin.get("pixels")) != (checkpoint.get("sha256"), scene.pixels):
            left_out.append(f"{path.name!r} is about another checkpoint or other pictures, so it was left out.")
            continue
        found[one.found.method, one.found.layer, one.target] = one
    if not found:
        why = f": {left_out[0]}" if left_out else "."
        raise ReceiptRefused(f"{folder.parent.name!r} holds no receipts to paint from; report again without --no-receipts{why}")
    return found, left_out


def _require_report(source: Path) -> None:
    """Raise ReceiptRefused for what is no folder, no gallery, or the gallery of another command."""
    name, wanted = source.resolve().name, "--from-receipts takes the folder of a report, such as gallery/sample"
    if not source.is_dir():
        raise ReceiptRefused(f"there is no folder {name!r}; {wanted}.")
    if not (source / MANIFEST).exists():
        raise ReceiptRefused(f"{name!r} is no gallery, it has no {MANIFEST}; {wanted}.")
    if kind := told_in(source / MANIFEST, {}).get("kind"):
        raise ReceiptRefused(f"{name!r} was not made by report (it says {str(kind)[:40]!r}); {wanted}.")


def _shown(folder: Path) -> tuple[str, ...]:
    """The methods that the chapter showed, in its order: other chapters leave receipts too. Nothing where that cannot be read."""
    try:
        passes = told_in(folder / "attention-viewer.json", {"passes": (dict,)})["passes"]
    except ReceiptRefused:
        return ()
    return tuple(name for name in passes if name in methods())


def _preset(name: str, layers: Sequence[LayerGeometry], receipts: Receipts, shown: Sequence[str]) -> Preset:
    known = preset_for(name if name in PRESETS else "standard", sum(row.macs for row in layers) / 1e9)
    there = {method for method, _, target in receipts if target == "predicted"}
    every = shown or methods()
    return replace(known, methods=tuple(method for method in every if method in there), trust=False)


def _subject(scene: Scene, receipts: Receipts, preset: Preset) -> Subject:
    """A subject that knows all that the chapter asks of it, around a network that is not there."""
    _, channels, side, _ = scene.batch.images.shape
    stub = Checkpoint(Architecture("receipts", len(scene.classes), channels, image_side=side), scene.classes, {})
    subject = Subject(stub, nn.Identity(), Material(None, "", None, scene.batch, "", ()), preset, 0, maps=ReadShelf(receipts))
    subject.geometry = scene.layers
    subject.looked = Looked(scene.batch, Activations({}, scene.logits))
    return subject


def _verdicts(folder: Path) -> dict[str, tuple[str, str]]:
    """How the methods fared when they were put to the test, in the order of the old page; nothing where that cannot be read."""
    try:
        told = told_in(folder / "attention-trials.json", {})
    except ReceiptRefused:
        return {}
    known = {name: one for name, one in told.items() if name in methods() and isinstance(one, dict)}
    return {name: (str(one.get("verdict", "")), str(one.get("reason", ""))[:1000]) for name, one in known.items()}


def _findings(told: Mapping[str, Any]) -> list[Finding]:
    given = told.get("findings")
    found = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    levels: dict[Any, Any] = {level: level for level in ("good", "note", "warn", "bad")}
    return [Finding(levels.get(str(one.get("level")), "note"), str(one.get("text", ""))) for one in found]


def _texts(told: Any) -> tuple[tuple[str, str], ...]:
    return tuple((str(key), str(value)) for key, value in told.items()) if isinstance(told, dict) else ()


# ---------------------------------------------------------------- painting


def _chapter(
    maker: SectionMaker, subject: Subject, told: Mapping[str, Any], source: Path, folder: Path, preset: Preset, scale: float,
    progress: Progress | None,
) -> tuple[Made, page.Section]:  # fmt: skip
    """A chapter: painted again where receipts allow it, and the rest of it taken over."""
    make = partial(_exhibits, maker, subject) if maker.slug == CHAPTER else _nothing
    (part,) = make_all([(maker.slug, maker.title, maker.lead, make)], progress)
    section = write_chapter(part, folder, preset)
    there = {exhibit.slug for exhibit in part.exhibits}
    taken = []
    for entry in told["exhibits"]:
        if not isinstance(entry, dict) or entry.get("section") != maker.slug or entry.get("slug") in there:
            continue
        try:
            shown = take_over(entry, source, folder, scale=scale)
        except ReceiptRefused as refused:
            part.missing.append((str(refused), AGAIN))
        except OSError:
            raise
        except Exception as error:
            # As with a chapter that fails: one odd file costs only itself.
            part.missing.append((failure(f"the exhibit {str(entry.get('title'))[:80]!r} could not be taken over", error), AGAIN))
        else:
            taken.append(shown)
            part.exhibits.append(shown.exhibit)
    for one in told["missing"] if isinstance(told.get("missing"), list) else ():
        if isinstance(one, dict) and one.get("section") == maker.slug and maker.slug != CHAPTER:
            part.missing.append((str(one.get("reason", "")), str(one.get("command", ""))))
    return part, replace(section, shown=(*section.shown, *taken), missing=tuple(part.missing))


def _nothing() -> Iterator[Exhibit | Finding]:
    yield from ()


def _exhibits(maker: SectionMaker, subject: Subject) -> Iterator[Exhibit | Finding]:
    for shown in maker.make(subject):
        if isinstance(shown, Exhibit):
            yield shown


def _deliver(source: Path, folder: Path, receipts: Receipts) -> None:
    """The receipts and their scene travel on: what was painted again can be painted again."""
    for stem in (STEM, *(receipt.slug for receipt in receipts.values())):
        for ending in ("json", "npz"):
            (folder / f"{stem}.{ending}").write_bytes((source / f"{stem}.{ending}").read_bytes())


def _footer(told: Mapping[str, Any], command: str, preset: Preset, source: str) -> Iterator[tuple[str, str]]:
    checkpoint = told["checkpoint"]
    yield "Command", command or "vgg_viz.report.repainting.repaint(...)"
    yield "Made", made_at()
    yield "Painted again from", f"the gallery {source}, its receipts of {told['made']} by vgg_viz {told['vgg_viz']}"
    yield "Its command", str(told.get("command", ""))
    yield "Versions of the paint", ", ".join(f"{name} {version}" for name, version in versions().items())
    yield "Versions of the maps", ", ".join(f"{name} {version}" for name, version in _texts(told.get("versions")))
    yield "Preset", preset.name
    yield "Checkpoint", str(checkpoint.get("file", ""))
    yield "Checkpoint SHA-256", str(checkpoint.get("sha256", "")) or "not a file"
