"""From a checkpoint to a gallery: sections are made, painted, written and swapped in whole."""

from __future__ import annotations

import csv
import io
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from vgg_viz import __version__
from vgg_viz.errors import InputRefused, SectionMissing
from vgg_viz.figures.write import adaptive, png, vector
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import BUNDLED, load, sha256
from vgg_viz.models.containers import model_files
from vgg_viz.models.geometry import geometry
from vgg_viz.records import Checkpoint, Exhibit, Finding, Table
from vgg_viz.registry import discover
from vgg_viz.report import page
from vgg_viz.report.explorer import FILE as EXPLORER
from vgg_viz.report.explorer import explore, refusal, render_explorer
from vgg_viz.report.index import require_index_place, write_index
from vgg_viz.report.material import folder_classes, gather
from vgg_viz.report.preset import Preset, preset_for
from vgg_viz.report.section import SECTIONS, SectionMaker, Subject
from vgg_viz.report.verdict import facts, subtitle, verdict
from vgg_viz.report.writing import MANIFEST, SCHEMA, folder_name, replacing, write_json

PAGE_DENSITY, PAGE_QUALITY = 1.25, 60  # of photographs in the page; as WebP

Progress = Callable[[str, int, int], None]  # what is being made, how many are done, of how many


@dataclass(frozen=True, slots=True)
class Result:
    """Where a gallery landed; `missing` names the parts that could not be made, with the reason."""

    index: Path
    missing: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class Made:
    """One section after its turn: what it shows, what it lacks, how long it took [s]."""

    maker: SectionMaker
    exhibits: list[Exhibit] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0


def report(
    source: str | os.PathLike[str] | None = None,
    *,
    images: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] = "gallery",
    preset: str = "standard",
    seed: int = 0,
    device: str | torch.device = "cpu",
    overrides: Mapping[str, Any] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Result:
    """Turn a checkpoint into `<out>/<stem>/index.html` with its figures and numbers.

    source     checkpoint file, a variant's name, or None for the bundled Tiny VGG
    images     a folder of pictures, or one: what the report looks into
    data       an ImageFolder: what the report measures on
    overrides  keywords of `load` (arch, classes, image_size, padding, mean, std, key, weights)
    command    as the reader would type it; shown on the page
    raises     InputRefused and its kin before anything is written; OutputRefused when writing fails: nothing has changed then
    """
    started = time.perf_counter()
    require_index_place(Path(out))
    checkpoint = load(source, seed=seed, **{"folder_classes": folder_classes(data), **(overrides or {})})
    stem = Path(source).stem if source is not None else BUNDLED.stem
    file = BUNDLED if source is None else Path(source)
    # A variant's name is no file, also where a folder is called so.
    fingerprint = sha256(file) if checkpoint.provenance.format != "untrained" else ""
    model = build(checkpoint).to(device)
    gigamacs = sum(row.macs for row in geometry(model)) / 1e9
    chosen = preset_for(preset, gigamacs)
    material = gather(checkpoint, images=images, data=data, preset=chosen, gigamacs=gigamacs, seed=seed)
    with replacing(Path(out) / folder_name(stem)) as folder:
        for name in ("figures", "data"):
            (folder / name).mkdir()
        subject = Subject(checkpoint, model, material, chosen, seed)
        made = _make_all(subject, progress)
        shown = [_write_section(part, folder, chosen) for part in made]
        missing = tuple((part.maker.title, reason) for part in made for reason, _ in part.missing)
        context = {
            "command": command, "preset": chosen.name, "seed": seed, "device": str(device), "dtype": "float32", "sha256": fingerprint,
            "files": [part.name for part in model_files(file)] if fingerprint else [],
            "seconds": time.perf_counter() - started, "no_explorer": _write_explorer(folder, subject),
        }  # fmt: skip
        findings = verdict(subject, [finding for part in made for finding in part.findings])
        _write_page(folder, stem, subject, findings, shown, context)
        write_json(folder / MANIFEST, _manifest(subject, findings, made, context))
    target = Path(out) / folder_name(stem)
    write_index(Path(out))
    return Result(target / "index.html", missing, material.warnings)


# ---------------------------------------------------------------- making


def _make_all(subject: Subject, progress: Progress | None) -> list[Made]:
    discover("vgg_viz.report.sections")
    makers = sorted((maker for _, maker in SECTIONS.items()), key=lambda maker: maker.order)
    done = []
    for number, maker in enumerate(makers):
        if progress:
            progress(maker.title, number, len(makers))
        done.append(_make(maker, subject))
    if progress:
        progress("Writing", len(makers), len(makers))
    return done


def _make(maker: SectionMaker, subject: Subject) -> Made:
    made = Made(maker)
    started = time.perf_counter()
    try:
        for shown in maker.make(subject):
            if isinstance(shown, Finding):
                made.findings.append(shown)
            else:
                made.exhibits.append(shown)
    except SectionMissing as missing:
        made.missing.append((missing.reason, missing.command))
    except Exception as error:
        # One broken section, whatever broke it, must not cost the reader the other eight; the page and status 1 name it.
        made.missing.append((_failure("this part failed", error), ""))
        if os.environ.get("VGG_VIZ_DEBUG"):
            raise
    made.seconds = time.perf_counter() - started
    return made


def _failure(what: str, error: Exception) -> str:
    # The system's own sentence would hold a path.
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{what}: {type(error).__name__}: {why[:200]}"


# ---------------------------------------------------------------- writing


def _write_section(made: Made, folder: Path, preset: Preset) -> page.Section:
    maker = made.maker
    exhibits, shown = list(made.exhibits), []
    made.exhibits.clear()
    for exhibit in exhibits:
        try:
            shown.append(_write(exhibit, folder, preset))
        except OSError:
            raise  # the disk is full, or worse: no other figure would fare better
        except Exception as error:
            made.missing.append((_failure(f"the figure {exhibit.title!r} failed", error), ""))
            for half in folder.glob(f"*/{exhibit.slug}.*"):
                half.unlink()
        else:
            made.exhibits.append(exhibit)
    return page.Section(maker.slug, maker.title, maker.lead, tuple(shown), tuple(made.missing))


def _write(exhibit: Exhibit, folder: Path, preset: Preset) -> page.Shown:
    """An exhibit's files beside the page, and its two themes as data: URIs for the page itself."""
    files: list[tuple[str, str]] = []
    themed = None
    width = height = 0
    if exhibit.figure is not None:
        width, height = (round(size * exhibit.figure.dpi) for size in exhibit.figure.get_size_inches())
        files.append(("PNG", f"figures/{exhibit.slug}.png"))
        (folder / files[-1][1]).write_bytes(png(exhibit.figure, scale=preset.scale, palette=preset.palette))
        drawn = vector(exhibit.figure, density=PAGE_DENSITY)
        if exhibit.kind == "chart":
            files.append(("SVG", f"figures/{exhibit.slug}.svg"))
            (folder / files[-1][1]).write_text(drawn, encoding="utf-8")
        themed = _svg_uri(adaptive(drawn, quality=PAGE_QUALITY))
    if exhibit.numbers:
        files.append(("JSON", f"data/{exhibit.slug}.json"))
        write_json(folder / files[-1][1], exhibit.numbers)
    if exhibit.table is not None:
        files.append(("CSV", f"data/{exhibit.slug}.csv"))
        (folder / files[-1][1]).write_text(_csv(exhibit.table), encoding="utf-8", errors="backslashreplace")
    return page.Shown(exhibit, themed, None, width, height, tuple(files))


def _write_explorer(folder: Path, subject: Subject) -> str:
    """Write the network as a page that runs it; returns why not, where it does not."""
    if reason := refusal(subject.model):
        return reason
    try:
        (folder / EXPLORER).write_text(render_explorer(explore(subject)), encoding="utf-8")
    except OSError:
        raise
    except Exception as error:
        # As with a section: the gallery is worth more than the page that could not be made.
        if os.environ.get("VGG_VIZ_DEBUG"):
            raise
        return _failure("The live explorer failed", error)
    return ""


def _svg_uri(text: str) -> str:
    """An SVG as a data: URI in which only what must be is escaped: smaller than base64 by a fifth."""
    # A browser drops line ends from an address, and would join what they part.
    return "data:image/svg+xml," + quote(text.replace("\n", " "), safe=" !()*,/:;=?@[]{}|+$~^")


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f"{column.name} [{column.unit}]" if column.unit else column.name for column in table.columns])
    for row in table.rows:
        # A cell that starts like a formula would run in a spreadsheet: names come from outside.
        writer.writerow([f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and cell else cell for cell in row])
    return text.getvalue()


def _write_page(
    folder: Path, stem: str, subject: Subject, findings: Sequence[Finding], shown: Sequence[page.Section], context: Mapping[str, Any]
) -> None:
    built = page.Page(
        title=subject.checkpoint.provenance.file or stem,
        subtitle=subtitle(subject),
        findings=tuple(findings),
        facts=facts(subject),
        warnings=subject.material.warnings,
        sections=tuple(shown),
        footer=tuple(_footer(subject, context)),
        explorer_href="" if context["no_explorer"] else EXPLORER,
        explorer_missing=str(context["no_explorer"]),
    )
    (folder / "index.html").write_text(page.render(built), encoding="utf-8")


def _footer(subject: Subject, context: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "Command", str(context["command"]) or "vgg_viz.report(...)"
    yield "Made", made_at()
    yield "Versions", ", ".join(f"{name} {version}" for name, version in versions().items())
    yield "Device and numbers", f"{context['device']}, {context['dtype']}"
    yield "Seed", str(context["seed"])
    yield "Preset", str(context["preset"])
    yield "Checkpoint", subject.checkpoint.provenance.file
    yield "Checkpoint SHA-256", str(context["sha256"]) or "not a file"
    if len(context["files"]) > 1:
        yield "SHA-256 of", ", then ".join(context["files"])
    yield "Measured on", subject.material.labelled_from or "no labelled pictures"
    yield "Looked into", subject.material.looked_from or "no pictures"
    if not _reproducible():
        yield "Run time", f"{context['seconds']:.1f} s"


def _reproducible() -> bool:
    return bool(os.environ.get("SOURCE_DATE_EPOCH"))


def made_at() -> str:
    """Now, or SOURCE_DATE_EPOCH where it is set: then the same input gives the same bytes, and timings are left out."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    when = datetime.fromtimestamp(int(epoch), UTC) if epoch and epoch.isdigit() else datetime.now(UTC)
    return when.strftime("%Y-%m-%d %H:%M UTC")


def versions() -> dict[str, str]:
    """What made the numbers, for the footer and the manifest."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"vgg_viz": __version__, "python": platform.python_version()}
    for name in ("torch", "torchvision", "captum", "matplotlib", "seaborn", "opencv-python", "opencv-python-headless", "torchinfo"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _manifest(subject: Subject, findings: Sequence[Finding], made: Sequence[Made], context: Mapping[str, Any]) -> dict[str, Any]:
    checkpoint: Checkpoint = subject.checkpoint
    timed = not _reproducible()
    provenance = checkpoint.provenance
    return {
        "vgg_viz": __version__,
        "schema": SCHEMA,
        "title": provenance.file,
        "command": context["command"],
        "made": made_at(),
        "seed": context["seed"],
        "preset": context["preset"],
        "device": context["device"],
        "versions": versions(),
        "checkpoint": {
            "file": provenance.file, "sha256": context["sha256"], "files": context["files"], "format": provenance.format,
            "evidence": provenance.evidence, "alternatives": provenance.alternatives,
            "ignored_keys": provenance.ignored_keys, "data": provenance.data, "training": provenance.training,
        },
        "facts": dict(facts(subject)),
        "explorer": {"file": None if context["no_explorer"] else EXPLORER, "reason": context["no_explorer"]},
        "findings": [{"level": finding.level, "text": finding.text} for finding in findings],
        "warnings": subject.material.warnings,
        "data": {"measured_on": subject.material.labelled_from, "looked_into": subject.material.looked_from},
        "timings": {part.maker.slug: round(part.seconds, 3) for part in made} if timed else {},
        "exhibits": [
            {
                "slug": exhibit.slug, "section": part.maker.slug, "title": exhibit.title,
                "caption": {"see": exhibit.caption.see, "read": exhibit.caption.read, "cannot": exhibit.caption.cannot},
                "alt": exhibit.alt, "file": f"figures/{exhibit.slug}.png" if exhibit.figure is not None else None,
                "numbers": exhibit.numbers,
            }
            for part in made for exhibit in part.exhibits
        ],
        "missing": [
            {"section": part.maker.slug, "reason": reason, "command": command} for part in made for reason, command in part.missing
        ],
    }  # fmt: skip


def module_device(name: str) -> str:
    """"auto" as the best device there is; refuses one that is not."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(name, False):
        raise InputRefused(f"device {name!r} is not available here; use --device cpu or auto.")
    return name


