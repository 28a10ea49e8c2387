"""The command line: one thin function a command, each importing what it needs when it runs."""

from __future__ import annotations

import argparse
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgg_viz.errors import ImageRefused, InputRefused, VggVizError
from vgg_viz.options import parsed

if TYPE_CHECKING:
    from torch import nn

    from vgg_viz.records import Checkpoint
    from vgg_viz.report.gallery import Result

DONE, PARTS_MISSING, REFUSED, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 1 done but parts are missing, 2 refused, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need be no text, nor the terminal know every letter
    options = parsed(given)
    options.line = given
    command: Callable[[argparse.Namespace], int] = COMMANDS[options.command]
    try:
        return command(options)
    except VggVizError as error:
        return _refuse(options.command, error)
    except KeyboardInterrupt:
        print("\nvgg_viz: interrupted; nothing half-made was left behind.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): silence, as other tools do.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        # Whatever the system refuses that no room foresaw: a name too long, a folder without permission, a full disk below stdout.
        named = f" ({Path(os.fsdecode(error.filename)).name[:60]!r})" if isinstance(error.filename, str | bytes) else ""
        return _refuse(options.command, InputRefused(f"the system says: {error.strerror or error}{named}; mend that and try again."))


def _refuse(command: str, error: VggVizError) -> int:
    print(f"vgg_viz {command}: {' '.join(str(error).split())}", file=sys.stderr)
    return REFUSED


# ---------------------------------------------------------------- commands


def _report(options: argparse.Namespace) -> int:
    from vgg_viz.report.console import Steps
    from vgg_viz.report.gallery import module_device, report

    with Steps(quiet=options.quiet) as steps:
        result = report(
            options.checkpoint, images=options.images, data=options.data, out=options.out, preset=options.preset,
            seed=options.seed, device=module_device(options.device), overrides=_overrides(options),
            one_file=options.standalone, command=_as_typed(options), progress=steps,
        )  # fmt: skip
    return _landed(options, result)


def _compare(options: argparse.Namespace) -> int:
    from vgg_viz.report.comparison.compare import compare
    from vgg_viz.report.console import Steps
    from vgg_viz.report.gallery import module_device

    with Steps(quiet=options.quiet) as steps:
        result = compare(
            options.first, options.second, images=options.images, data=options.data, out=options.out, preset=options.preset,
            seed=options.seed, device=module_device(options.device), overrides=_overrides(options), command=_as_typed(options),
            progress=steps,
        )  # fmt: skip
    return _landed(options, result)


def _train(options: argparse.Namespace) -> int:
    from vgg_viz.report.gallery import module_device
    from vgg_viz.training.loop import train
    from vgg_viz.training.recipe import usual_recipe

    recipe = usual_recipe(
        options.arch, options.data, epochs=options.epochs, batch_size=options.batch_size, learning_rate=options.lr,
        augment=options.augment, seed=options.seed,
    )  # fmt: skip
    checkpoint = train(
        options.data, out=options.out, arch=options.arch, recipe=recipe, image_side=options.image_size, width=options.width,
        padding=options.padding, train_count=options.train_count, val_count=options.val_count, resume=options.resume,
        quiet=options.quiet, device=module_device(options.device),
    )  # fmt: skip
    best = max(checkpoint.history, key=lambda epoch: epoch.val_accuracy)
    if options.json:
        _print_json({"checkpoint": str(Path(options.out) / "best.pt"), "epochs": len(checkpoint.history), "best_epoch": best.epoch,
                     "val_accuracy": best.val_accuracy, "val_loss": best.val_loss})  # fmt: skip
    else:
        print(Path(options.out) / "best.pt")
    return DONE


def _evaluate(options: argparse.Namespace) -> int:
    from vgg_viz.capture.predict import predict_logits
    from vgg_viz.report.evaluation import summary
    from vgg_viz.report.material import labelled_pictures

    checkpoint, model = _opened(options, dense=options.dense)
    batch, origin = labelled_pictures(checkpoint, options.data, limit=options.limit, seed=options.seed)
    if batch is None or batch.labels is None:
        raise InputRefused("the checkpoint carries no labelled pictures to measure on; give some with --data DIR.")
    for _, reason in batch.skipped:
        print(f"vgg_viz evaluate: left out: {reason}", file=sys.stderr)
    found = summary(predict_logits(model, batch.images), batch.labels, checkpoint.classes)
    if options.json:
        _print_json({**found, "measured_on": origin})
    else:
        low, high = found["interval"]
        print(f"{found['top1'] * 100:.2f} % of {found['n']:,} right (95 % interval {low * 100:.1f} to {high * 100:.1f}), "
              f"top-5 {found['top5'] * 100:.2f} %, calibration error {found['ece'] * 100:.1f} points; {origin}")  # fmt: skip
    return DONE


def _predict(options: argparse.Namespace) -> int:
    import torch

    from vgg_viz.capture.predict import predict_logits
    from vgg_viz.data.folder import read_images
    from vgg_viz.report.material import in_channels
    from vgg_viz.report.wording import visible

    checkpoint, model = _opened(options)
    batches, skipped = [], []
    for path in options.images:
        try:
            batch = read_images(path, image_side=checkpoint.architecture.image_side)
        except ImageRefused as error:
            if len(options.images) == 1:
                raise
            skipped.append(str(error))
            continue
        batches.append(in_channels(batch, checkpoint))
        skipped += [reason for _, reason in batch.skipped]
    if not batches:
        raise InputRefused(f"none of the {len(options.images)} files can be read as a picture; the first: {skipped[0]}")
    for reason in skipped:
        print(f"vgg_viz predict: left out: {reason}", file=sys.stderr)
    logits = predict_logits(model, torch.cat([batch.images for batch in batches]))
    found = []
    for name, row in zip((name for batch in batches for name in batch.names), logits, strict=True):
        probabilities = row.softmax(0)
        order = probabilities.argsort(descending=True, stable=True)[:5].tolist()
        top = [
            {"class": checkpoint.classes[i], "index": i, "probability": float(probabilities[i]), "logit": float(row[i])} for i in order
        ]
        found.append({"file": name, "top": top, "logits": row.tolist()})
        if not options.json:
            print(visible(f"{name}: " + ", ".join(f"{entry['class']} {entry['probability'] * 100:.1f} %" for entry in top)))
    if options.json:
        _print_json({"images": found})
    return PARTS_MISSING if skipped else DONE


def _inspect(options: argparse.Namespace) -> int:
    from vgg_viz.report.inspection import as_text, facts

    checkpoint, model = _opened(options)
    found = facts(checkpoint, model)
    if options.images is not None:
        from vgg_viz.data.folder import read_images
        from vgg_viz.report.detective import MOST_PICTURES, detect
        from vgg_viz.report.material import in_channels

        batch = in_channels(read_images(options.images, image_side=checkpoint.architecture.image_side, limit=MOST_PICTURES), checkpoint)
        for _, reason in batch.skipped:
            print(f"vgg_viz inspect: left out: {reason}", file=sys.stderr)
        found["preprocessing"] = detect(model, batch.images, seed=options.seed).plain()
    if options.json:
        _print_json(found)
    else:
        print(as_text(found))
    return DONE


def _data(options: argparse.Namespace) -> int:
    if options.kind == "check":
        from vgg_viz.data.check import check

        found = check(options.folder)
    else:
        from vgg_viz.data.shape_files import write

        counts = {"train": options.train, "val": options.val, "test": options.test}
        place = write(options.out, **counts, seed=options.seed, side=options.side)
        found = {"folder": str(place), "pictures": counts, "seed": options.seed, "side": options.side}
    if options.json:
        _print_json(found)
    elif options.kind == "check":
        for _, reason in found["skipped"]:
            print(f"vgg_viz data: {reason}", file=sys.stderr)
        skipped = len(found["skipped"])
        print(f"{found['readable']:,} pictures of {len(found['classes'])} classes can be read, {skipped:,} files cannot.")
    else:
        print(found["folder"])
    return PARTS_MISSING if found.get("skipped") else DONE


def _export(options: argparse.Namespace) -> int:
    from vgg_viz.models.checkpoint import load
    from vgg_viz.models.export import as_text, export

    checkpoint = load(options.checkpoint, seed=options.seed, **_overrides(options))
    found = export(checkpoint, options.file, force=options.force)
    for left in found["left_out"]:
        print(f"vgg_viz export: left out: {left}", file=sys.stderr)
    if options.json:
        _print_json(found)
    else:
        print(as_text(found))
    return DONE


def _serve(options: argparse.Namespace) -> int:
    from vgg_viz.serve import require_extra

    require_extra()
    from vgg_viz.report.gallery import module_device
    from vgg_viz.serve.application import application
    from vgg_viz.serve.galleries import offer
    from vgg_viz.serve.listening import listening, server

    galleries, source, said = offer(options.folder, options.checkpoint)
    live = None
    if source is not None:
        from vgg_viz.models.checkpoint import load
        from vgg_viz.serve.live import Live
        from vgg_viz.serve.network import Network

        checkpoint = load(source or None, seed=options.seed, **_overrides(options))
        live = Live(Network(checkpoint, device=module_device(options.device), seed=options.seed))
    with listening(options.host, options.port) as (sock, place):
        notes = [] if options.quiet else [f"{said} Ctrl-C ends it."]
        if not place.loopback:
            notes.insert(0, f"warning: {place.host} can be reached from other machines, and nobody is asked for a password; "
                            "leave --host out to serve this machine alone.")  # fmt: skip
        for note in notes:
            print(f"vgg_viz serve: {note}", file=sys.stderr)

        def ready() -> None:
            print(json.dumps({"url": place.url}) if options.json else place.url, flush=True)

        whole = application(place, galleries=galleries, live=live)
        server(whole, ready=ready, closing=live.close if live else lambda: None).run(sockets=[sock])
    return DONE


def _doctor(options: argparse.Namespace) -> int:
    from vgg_viz.doctor import examine, fix_opencv

    if options.fix and (said := fix_opencv()):
        print(f"vgg_viz doctor: {said}", file=sys.stderr)
    checks = examine()
    if options.json:
        _print_json({"checks": [{"name": c.name, "good": c.good, "found": c.found, "fix": c.fix} for c in checks]})
    else:
        for check in checks:
            fix = f"\n     fix: {check.fix}" if check.fix else ""
            print(f"{'ok  ' if check.good else 'FAIL'} {check.name}: {check.found}{fix}")
    return DONE if all(check.good for check in checks) else PARTS_MISSING


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "report": _report, "compare": _compare, "train": _train, "evaluate": _evaluate, "predict": _predict, "inspect": _inspect,
    "data": _data, "export": _export, "serve": _serve, "doctor": _doctor,
}  # fmt: skip


# ---------------------------------------------------------------- shared


def _landed(options: argparse.Namespace, result: Result) -> int:
    """Say where a gallery landed and what it lacks; the exit status of the command."""
    page = result.single or result.index
    for warning in result.warnings:
        print(f"vgg_viz {options.command}: {warning}", file=sys.stderr)
    for title, reason in result.missing:
        print(f"vgg_viz {options.command}: the part {title!r} is missing: {reason}", file=sys.stderr)
    if options.json:
        _print_json({
            "index": str(result.index), "missing": [{"section": title, "reason": reason} for title, reason in result.missing],
            "warnings": result.warnings, "standalone": str(result.single) if result.single else None,
        })  # fmt: skip
    else:
        print(page)
    if options.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return PARTS_MISSING if result.missing else DONE


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "arch": options.arch, "classes": _class_names(options.classes), "image_size": options.image_size, "padding": options.padding,
        "mean": options.mean, "std": options.std, "key": options.key, "weights": options.weights,
    }  # fmt: skip


def _class_names(file: str | None) -> tuple[str, ...] | None:
    if file is None:
        return None
    if Path(file).is_dir():
        from vgg_viz.report.material import folder_classes

        return folder_classes(file)
    from vgg_viz.models.class_names import from_file

    return from_file(Path(file))


def _opened(options: argparse.Namespace, *, dense: bool = False) -> tuple[Checkpoint, nn.Module]:
    from vgg_viz.models.build import build
    from vgg_viz.models.checkpoint import load
    from vgg_viz.report.gallery import module_device
    from vgg_viz.report.material import folder_classes

    folder = folder_classes(getattr(options, "data", None))
    checkpoint = load(options.checkpoint, seed=options.seed, folder_classes=folder, **_overrides(options))
    return checkpoint, build(checkpoint, dense=dense).to(module_device(options.device))


def _as_typed(options: argparse.Namespace) -> str:
    """The command for the page: as it was typed, but with names instead of paths, which would show whose machine it was."""
    words = [Path(word).name or word if os.sep in word else word for word in options.line]
    return shlex.join(["python", "-m", "vgg_viz", *words])


def _print_json(value: Any) -> None:
    from vgg_viz.report.writing import plain

    print(json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False))
