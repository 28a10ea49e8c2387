"""What to do next, from what was found: commands that name this run's checkpoint, pictures and options again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgg_viz.gallery.opening import Step
from vgg_viz.gallery.texts import Texts
from vgg_viz.models.outputs import has_scores
from vgg_viz.models.published import all_published
from vgg_viz.models.vgg import describe
from vgg_viz.records import Checkpoint, Finding
from vgg_viz.studies.alarms import ALARM
from vgg_viz.studies.without_scores import unit_example
from vgg_viz.training.diagnosis import still_improving

TEXTS = Texts(__name__)
MOST = 3
TRAIN_DIR, DIR, NEW = "TRAIN_DIR", "DIR", "NEW.pt"  # what only the reader has


@dataclass(frozen=True, slots=True)
class CommandWords:
    """How a run named its checkpoint, its labelled pictures and its options.

    Attributes:
        source: A file or a variant's name; "" for the bundled network, or what came in memory and has no name.
        data: As --data; "" without.
        options: What was said of the checkpoint, such as ("--mean", "0.5").
    """

    source: str = ""
    data: str = ""
    options: tuple[str, ...] = ()

    def line(self, verb: str, *words: str, data: str | None = None) -> str:
        """A command about the same checkpoint, as a shell reads it; `data` in the place of the run's own, "" for none."""
        pictures = self.data if data is None else data
        given = (*([self.source] if self.source else []), *words, *(["--data", pictures] if pictures else []))
        return shlex.join(("python", "-m", "vgg_viz", verb, *given, *self.options))


def command_words(source: object, data: object, overrides: Mapping[str, Any]) -> CommandWords:
    """The words of a request; what has no words on a command line (a network in memory, names in a list) is left out.

    Args:
        source: As the request names the checkpoint.
        data: As it names its labelled pictures.
        overrides: Keywords of `load`, with None where nothing was said.
    """
    options: list[str] = []
    for name, value in overrides.items():
        word = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            options.append(word if value else word.replace("--", "--no-", 1))
        elif isinstance(value, int | float | str | os.PathLike):
            options += [word, _shown(value)]
        elif isinstance(value, Sequence) and all(isinstance(one, int | float) for one in value):
            options += [word, ",".join(f"{one:g}" for one in value)]
    named, pictures = (_shown(one) if isinstance(one, str | os.PathLike) else "" for one in (source, data))
    return CommandWords(named, pictures, tuple(options))


def _shown(word: object) -> str:
    """A path as seen from here, else its name alone: where a folder lies says whose machine this is."""
    text = os.fspath(word) if isinstance(word, os.PathLike) else str(word)
    if not os.path.isabs(text):
        return text
    from_here = os.path.relpath(text)
    return Path(text).name if from_here.startswith(os.pardir) else from_here


@dataclass(frozen=True, slots=True)
class Situation:
    """What next steps are chosen from.

    Attributes:
        words: Of this run.
        checkpoint: As it was opened.
        findings: The leading one first.
        labelled: Whether there were labelled pictures.
        mistake: (file as --data names it, true class, predicted class) of the most telling mistake; "" for a file that is none.
    """

    words: CommandWords
    checkpoint: Checkpoint
    findings: Sequence[Finding]
    labelled: bool
    mistake: tuple[str, str, str] | None = None


def next_steps(about: Situation) -> tuple[Step, ...]:
    """Three steps at most, those of the leading finding first; no command twice."""
    steps: dict[str, Step] = {}
    for step in _candidates(about):
        if step.command and len(steps) < MOST:
            steps.setdefault(step.command, step)
    return tuple(steps.values())


def picture_file(data: object, name: str) -> str:
    """Where a picture of a folder lies that is called `name` there, in the words of --data; "" where there is no such file."""
    if not isinstance(data, str | os.PathLike) or str(data) == "shapes":
        return ""
    root = Path(data)
    parts = [root, *(sorted(part for part in root.iterdir() if part.is_dir()) if root.is_dir() else [])]
    return next((_shown(part / name) for part in parts if (part / name).is_file()), "")


def _candidates(about: Situation) -> Iterator[Step]:
    keys = [finding.key for finding in about.findings if finding.level in ("bad", "warn")]
    if ALARM in keys:
        yield _read(about)
    for key in keys:
        yield from _after(key, about)
    if about.checkpoint.provenance.format == "untrained":
        yield _train(about)
        if about.words.source in {one.network for one in all_published()}:
            trained = shlex.join(("python", "-m", "vgg_viz", "report", f"{about.words.source}:imagenet"))
            yield Step(TEXTS.say("published.title"), TEXTS.say("published.why"), trained)
        yield _read(about)
    if not has_scores(about.checkpoint.architecture):
        yield _read(about)
        unit = unit_example(about.checkpoint.architecture)
        yield Step(TEXTS.say("unit.title"), TEXTS.say("unit.why"), _explain(about, "IMAGE", "--unit", unit))
        return
    if not about.labelled:
        yield Step(TEXTS.say("labels.title"), TEXTS.say("labels.why"), about.words.line("report", data=DIR))
        yield _read(about)
        yield Step(TEXTS.say("picture.title"), TEXTS.say("picture.why"), _explain(about, "IMAGE"))
        return
    if still_improving(about.checkpoint.history):
        yield _longer(about)
    yield Step(TEXTS.say("audit.title"), TEXTS.say("audit.why"), about.words.line("audit"))
    yield from _explain_mistake(about)
    yield _compare(about)
    yield Step(TEXTS.say("check.title"), TEXTS.say("check.why"), _check(about))
    yield Step(TEXTS.say("serve.title"), TEXTS.say("serve.why"), about.words.line("serve", data=""))
    yield Step(TEXTS.say("again.title"), TEXTS.say("again.why"), _training(about, "--out", "runs/mine"))


def _after(key: str, about: Situation) -> Iterator[Step]:
    """What follows from one finding."""
    line = about.words.line
    if key in ("class", "chance"):
        yield Step(TEXTS.say("learned.title"), TEXTS.say("learned.why"), line("evaluate", data=TRAIN_DIR))
    if key == "class":
        yield from _explain_mistake(about)
        yield _compare(about)
    if key == "chance":
        yield _read(about)
    if key == "few":
        yield Step(TEXTS.say("more.title"), TEXTS.say("more.why"), line("report", data=DIR))
    if key in ("labels", "copies"):
        yield Step(TEXTS.say("check.title"), TEXTS.say("check.why"), _check(about))
    if key == "overfit":
        yield _augment(about)
    if key == "shortcut":
        yield Step(TEXTS.say("audit.title"), TEXTS.say("audit.why"), line("audit"))


def _read(about: Situation) -> Step:
    return Step(TEXTS.say("read.title"), TEXTS.say("read.why"), about.words.line("inspect"))


def _compare(about: Situation) -> Step:
    words = about.words
    command = words.line("compare", NEW) if words.source else ""
    return Step(TEXTS.say("compare.title"), TEXTS.say("compare.why"), command)


def _explain(about: Situation, image: str, *more: str) -> str:
    return about.words.line("explain", image, *more, data="") if about.words.source else ""


def _explain_mistake(about: Situation) -> Iterator[Step]:
    if about.mistake is not None and about.mistake[0]:
        file, true, predicted = about.mistake
        why = TEXTS.say("mistake.why", label=true, predicted=predicted)
        yield Step(TEXTS.say("mistake.title"), why, _explain(about, file, "--target", true))


def _check(about: Situation) -> str:
    """`data check` on the folder that was measured on; of painted pictures, and those inside a checkpoint, there is none."""
    data = about.words.data
    return shlex.join(("python", "-m", "vgg_viz", "data", "check", data)) if data not in ("", "shapes") else ""


def _training(about: Situation, *words: str) -> str:
    """A run like the one that made the checkpoint, with other settings."""
    trained_on = about.checkpoint.provenance.data
    data = "shapes" if trained_on.get("kind") == "shapes" else TRAIN_DIR
    known = describe(about.checkpoint.architecture)
    arch = known.name if known.variant else about.checkpoint.architecture.plan
    return shlex.join(("python", "-m", "vgg_viz", "train", "--data", data, "--arch", arch, *words))


def _train(about: Situation) -> Step:
    return Step(TEXTS.say("train.title"), TEXTS.say("train.why"), _training(about, "--out", "runs/first"))


def _longer(about: Situation) -> Step:
    epochs = 2 * len(about.checkpoint.history)
    command = _training(about, "--epochs", str(epochs), "--out", "runs/longer")
    return Step(TEXTS.say("longer.title"), TEXTS.say("longer.why", epochs=len(about.checkpoint.history)), command)


def _augment(about: Situation) -> Step:
    command = _training(about, "--augment", "light", "--out", "runs/augmented")
    return Step(TEXTS.say("augment.title"), TEXTS.say("augment.why"), command)
