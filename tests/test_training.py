"""training/: the same recipe gives the same bits, a run can be cut anywhere, and its curves are judged in words."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import replace

import pytest
import torch
from full_disk import files_up_to
from telling import tells
from torch import nn
from torch.nn import functional

from vgg_viz.data.cache import LabelledPictures, paint_labelled
from vgg_viz.errors import DataRefused, InputRefused, OutputRefused, UnknownName
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load, read_extra
from vgg_viz.models.vgg import describe
from vgg_viz.records import Checkpoint, Epoch
from vgg_viz.training import loop
from vgg_viz.training.diagnosis import diagnose
from vgg_viz.training.kept_epochs import kept_epochs, kept_every
from vgg_viz.training.progress import Display
from vgg_viz.training.recipe import Recipe, optimizer_for, rate_at, require_trainable, usual_recipe
from vgg_viz.training.run_folder import RunFolder

SHORT = Recipe(epochs=3, batch_size=32, augment="paper", seed=5)


def run(out, **options) -> Checkpoint:
    given = {"recipe": SHORT, "train_count": 90, "val_count": 40, "image_side": 32, "quiet": True, **options}
    return loop.train("shapes", out=out, **given)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of an uninterrupted run of three epochs."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    run(out)
    return out


def weights_of(path) -> dict[str, torch.Tensor]:
    return dict(load(path).weights)


def assert_same_bits(first, second) -> None:
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


# ---------------------------------------------------------------- what a run leaves


def test_a_run_leaves_best_last_history_and_the_epochs_of_a_small_network_and_nothing_else(finished):
    assert sorted(path.name for path in finished.iterdir()) == ["best.pt", "epochs", "history.jsonl", "last.pt"]
    assert sorted(path.name for path in (finished / "epochs").iterdir()) == [f"epoch-{n:03d}.pt" for n in range(4)]
    rows = [json.loads(line) for line in (finished / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert (
        tuple(Epoch(**row) for row in rows) == load(finished / "last.pt").history == load(finished / "best.pt").history
    )


def test_the_checkpoint_holds_all_that_a_report_needs(finished):
    torch.load(finished / "best.pt", weights_only=True)
    checkpoint = load(finished / "best.pt")
    assert checkpoint.classes[0] == "arrow"
    assert checkpoint.architecture.image_side == 32
    pictures = paint_labelled(90, seed=5, side=32)
    assert checkpoint.architecture.mean == pytest.approx(
        (pictures.images.double().mean(dim=(0, 2, 3)) / 255).tolist(), abs=6e-5
    )
    assert checkpoint.provenance.data == {"kind": "shapes", "seed": 5, "side": 32, "train": 90, "val": 40}
    assert checkpoint.provenance.training["learning_rate"] == SHORT.learning_rate
    assert checkpoint.provenance.training["torch"] == str(torch.__version__)
    assert len(checkpoint.specimens) == 40
    assert {specimen.name for specimen in checkpoint.specimens} == set(
        paint_labelled(40, seed=5, split="val", side=32).names
    )


def test_the_history_tells_the_truth_about_the_weights(finished):
    """Oracle: loss and accuracy of last.pt, picture by picture."""
    checkpoint = load(finished / "last.pt")
    held_out = paint_labelled(40, seed=5, split="val", side=32)
    with torch.inference_mode():
        logits = build(checkpoint)(held_out.images.float() / 255)
    losses = -logits.log_softmax(1)[torch.arange(40), held_out.labels]
    assert checkpoint.history[-1].val_loss == pytest.approx(float(losses.mean()), rel=1e-5)
    assert checkpoint.history[-1].val_accuracy == int((logits.argmax(1) == held_out.labels).sum()) / 40


def test_best_is_the_epoch_with_the_best_validation_accuracy(finished):
    history = load(finished / "best.pt").history
    held_out = paint_labelled(40, seed=5, split="val", side=32)
    _, accuracy = loop.measure(build(load(finished / "best.pt")), held_out)
    assert accuracy == max(epoch.val_accuracy for epoch in history)


# ---------------------------------------------------------------- the epochs that are kept


def test_each_kept_epoch_is_a_checkpoint_of_that_moment_from_the_untrained_network_to_the_last(finished):
    """Oracle: the losses in the history, measured again from the weights of each epoch."""
    held_out = paint_labelled(40, seed=5, split="val", side=32)
    kept = kept_epochs(finished)
    assert list(kept) == [0, 1, 2, 3]
    for number, file in kept.items():
        torch.load(file, weights_only=True)
        checkpoint = load(file)
        assert len(checkpoint.history) == number
        assert (checkpoint.classes, checkpoint.specimens) == (load(finished / "best.pt").classes, ())
        if number:
            assert loop.measure(build(checkpoint), held_out)[0] == pytest.approx(
                checkpoint.history[-1].val_loss, rel=1e-6
            )
        assert file.stat().st_size < (finished / "best.pt").stat().st_size / 2
    assert_same_bits(kept[3], finished / "last.pt")
    untrained = build(load(finished / "last.pt").architecture, seed=SHORT.seed).state_dict()
    assert all(torch.equal(untrained[key], weight) for key, weight in weights_of(kept[0]).items())


def test_epochs_are_kept_as_asked_and_a_resumed_run_may_begin_to_keep_them(tmp_path):
    short = replace(SHORT, epochs=1)
    run(tmp_path / "none", recipe=short, keep_epochs=0)
    assert not (tmp_path / "none" / "epochs").exists()
    run(tmp_path / "some", recipe=SHORT, keep_epochs=2, train_count=32)
    assert list(kept_epochs(tmp_path / "some")) == [0, 2, 3]  # the start and the end always
    assert kept_epochs(tmp_path) == {}


def test_a_run_that_began_to_keep_late_has_its_start_too(finished, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        _cut(patch, "in the middle of epoch 2")
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "late", keep_epochs=0)
    run(tmp_path / "late", resume=True, keep_epochs=1)
    assert list(kept_epochs(tmp_path / "late")) == [0, 2, 3]
    assert_same_bits(finished / "epochs" / "epoch-000.pt", tmp_path / "late" / "epochs" / "epoch-000.pt")


def test_large_networks_keep_epochs_only_when_asked():
    small, large = [torch.empty(20_000)], [torch.empty(3_000_000, device="meta")]
    assert [kept_every(None, small, 12), kept_every(None, large, 12), kept_every(None, small, 5_000)] == [1, 0, 0]
    assert [kept_every(3, large, 12), kept_every(0, small, 12)] == [3, 0]
    with pytest.raises(InputRefused, match="--keep-epochs -1 came, a whole number from 1 on"):
        kept_every(-1, small, 12)


# ---------------------------------------------------------------- the same bits


def test_the_same_seed_gives_the_same_weights_whatever_chance_did_before(finished, tmp_path):
    torch.manual_seed(99)
    state = torch.get_rng_state()
    run(tmp_path / "again")
    assert torch.equal(torch.get_rng_state(), state)
    assert_same_bits(finished / "last.pt", tmp_path / "again" / "last.pt")
    run(tmp_path / "other", recipe=replace(SHORT, seed=6, epochs=1))
    first = weights_of(finished / "last.pt")["classifier.1.weight"]
    assert not torch.equal(first, weights_of(tmp_path / "other" / "last.pt")["classifier.1.weight"])


@pytest.mark.parametrize("moment", ["in the middle of epoch 2", "while best.pt is written in epoch 2", "after epoch 2"])
def test_a_run_that_was_cut_and_resumed_equals_one_that_was_not(finished, tmp_path, monkeypatch, moment):
    out = tmp_path / "cut"
    with monkeypatch.context() as patch:
        _cut(patch, moment)
        with pytest.raises(KeyboardInterrupt):
            run(out)
    assert not list(out.glob(".*"))  # no temporary file is left
    done = len(load(out / "last.pt").history)
    assert done == (2 if moment == "after epoch 2" else 1)
    torch.load(out / "best.pt", weights_only=True)
    run(out, resume=True)
    for name in ("last.pt", "best.pt", *(f"epochs/epoch-{n:03d}.pt" for n in range(4))):
        assert_same_bits(finished / name, out / name)
    assert len(list((out / "epochs").iterdir())) == 4
    untimed = [replace(epoch, seconds=0.0) for epoch in load(out / "best.pt").history]
    assert untimed == [replace(epoch, seconds=0.0) for epoch in load(finished / "best.pt").history]
    ours, theirs = (
        read_extra(out / "last.pt")["optimizer"]["state"],
        read_extra(finished / "last.pt")["optimizer"]["state"],
    )
    assert all(torch.equal(ours[key]["exp_avg"], theirs[key]["exp_avg"]) for key in theirs)


def _cut(patch: pytest.MonkeyPatch, moment: str) -> None:
    """Press Ctrl-C at a moment of a run."""
    if moment == "while best.pt is written in epoch 2":
        from vgg_viz.models import checkpoint as files

        replaced, calls = files.os.replace, []

        def replace_once_or_twice(source, target):
            calls.append(str(target))
            if sum("best" in call or "last" in call for call in calls) > 2:
                raise KeyboardInterrupt
            return replaced(source, target)

        patch.setattr(files.os, "replace", replace_once_or_twice)
        return
    if moment == "in the middle of epoch 2":

        def interrupting_told(what, done, total):
            if what.startswith("epoch 2 ") and done > total / 2:
                raise KeyboardInterrupt

        patch.setattr(loop, "tell", interrupting_told)
        return
    original, finished = Display.finished, []

    def interrupting(self, *arguments):
        original(self, *arguments)
        finished.append(arguments)
        if len(finished) == 3:
            raise KeyboardInterrupt

    patch.setattr(Display, "finished", interrupting)


def test_dropout_is_resumed_bit_equal_too(tmp_path, monkeypatch):
    options = {
        "arch": "vgg11",
        "width": 0.05,
        "image_side": 32,
        "train_count": 40,
        "val_count": 10,
        "recipe": Recipe(epochs=2, batch_size=16, learning_rate=0.01, optimizer="sgd", augment="flip"),
    }
    run(tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        _cut(patch, "in the middle of epoch 2")
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", **options)
    run(tmp_path / "cut", resume=True, **options)
    assert_same_bits(tmp_path / "whole" / "last.pt", tmp_path / "cut" / "last.pt")
    architecture = load(tmp_path / "cut" / "last.pt").architecture
    about = describe(architecture)
    assert (about.head, about.pooled) == ((26,), 1)


def test_resuming_a_finished_run_changes_nothing(finished):
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.suffix == ".jsonl"}
    weights = {key: value.clone() for key, value in weights_of(finished / "best.pt").items()}
    checkpoint = run(finished, resume=True)
    assert all(torch.equal(checkpoint.weights[key], weights[key]) for key in weights)
    assert before["history.jsonl"] == (finished / "history.jsonl").read_bytes()


# ---------------------------------------------------------------- refusals


def test_a_run_is_not_overwritten_without_being_asked(finished):
    with pytest.raises(
        OutputRefused, match=r"'whole' already holds a run .*add --resume to continue it, or name another --out"
    ):
        run(finished)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"recipe": replace(SHORT, learning_rate=0.1)}, r"another recipe \(learning_rate 0\.003, now 0\.1\)"),
        ({"padding": 1}, r"another architecture \(plan '10p0 10p0 M 10p0 10p0 M \| K', now '10 10 M 10 10 M \| K'\)"),
        ({"val_count": 41}, r"another pictures"),
    ],
)
def test_a_run_is_resumed_only_with_its_own_options(finished, options, sentence):
    with pytest.raises(OutputRefused, match=sentence):
        run(finished, resume=True, **options)


def test_a_run_cannot_live_in_a_file(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(OutputRefused, match="'taken' is a file"):
        run(tmp_path / "taken")


def test_wishes_that_cannot_be_met_are_refused_before_anything_is_painted(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "open_training_data", None)
    with pytest.raises(InputRefused, match="0 epochs were asked for"):
        run(tmp_path / "a", recipe=replace(SHORT, epochs=0))
    with pytest.raises(UnknownName, match="there is no augmentation 'papper'; did you mean 'paper'"):
        run(tmp_path / "b", recipe=replace(SHORT, augment="papper"))
    with pytest.raises(InputRefused, match="an image side of 0 px"):
        run(tmp_path / "c", image_side=0)
    with pytest.raises(InputRefused, match="width -1"):
        run(tmp_path / "d", width=-1.0)
    with pytest.raises(InputRefused, match="a learning rate of -1"):
        require_trainable(replace(SHORT, learning_rate=-1))


def test_no_pictures_is_no_run(tmp_path):
    with pytest.raises(DataRefused, match="0 train pictures were asked for"):
        run(tmp_path / "a", train_count=0)
    with pytest.raises(DataRefused, match="'nowhere' does not exist"):
        loop.train(tmp_path / "nowhere", out=tmp_path / "b", quiet=True)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- averages, divergence, folders


def test_averages_are_weighted_by_pictures_not_by_batches():
    """A last batch of one wrong picture must count for one of 33, not for half."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([2.0, 0.0]))  # always says class 0
    labels = torch.zeros(33, dtype=torch.int64)
    labels[32] = 1
    pictures = LabelledPictures(torch.zeros(33, 3, 2, 2, dtype=torch.uint8), labels, ("x",) * 33)
    loss, accuracy = loop.measure(model, pictures, batch_size=32)
    expected = functional.cross_entropy(torch.tensor([[2.0, 0.0]]).expand(33, 2), labels)
    assert accuracy == pytest.approx(32 / 33)
    assert loss == pytest.approx(float(expected))
    frozen = torch.optim.SGD(model.parameters(), lr=0.0)
    recipe = Recipe(batch_size=32, learning_rate=1e-30, schedule="constant")
    trained_loss, trained_accuracy = loop.one_epoch(model, frozen, pictures, recipe, 1)
    assert trained_accuracy == pytest.approx(32 / 33)
    assert trained_loss == pytest.approx(float(expected))


def test_a_run_that_diverges_keeps_the_epoch_before_and_says_so(tmp_path, monkeypatch):
    original = loop.one_epoch

    def exploding(model, optimizer, pictures, recipe, epoch):
        result = original(model, optimizer, pictures, recipe, epoch)
        if epoch == 3:
            with torch.no_grad():
                next(model.parameters()).fill_(math.nan)
            return math.nan, 0.1
        return result

    monkeypatch.setattr(loop, "one_epoch", exploding)
    checkpoint = run(tmp_path / "run", recipe=replace(SHORT, epochs=5))
    assert [epoch.epoch for epoch in checkpoint.history] == [1, 2, 3]
    for name in ("best.pt", "last.pt"):
        assert all(torch.isfinite(weight).all() for weight in weights_of(tmp_path / "run" / name).values())
    rows = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert json.loads(rows[2])["train_loss"] is None
    finding = diagnose(checkpoint.history, 10)[0]
    assert finding.level == "bad"
    assert tells(finding.text, "diverged", "epoch 3")
    assert tells(finding.text, "epoch 2", "kept")


def test_a_run_that_diverges_at_once_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(OutputRefused, match=r"diverged in its first epoch.*lower --lr"):
        run(tmp_path / "run", recipe=Recipe(epochs=2, learning_rate=1e30, optimizer="sgd", schedule="constant"))
    assert not (tmp_path / "run").exists()


def test_a_folder_is_trained_on_and_broken_files_are_named(tmp_path, capsys):
    for label, name in enumerate(("dark", "light")):
        for number in range(12):
            place = tmp_path / "pictures" / name / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(
                encode_png(torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(number)) * 0.3 + 0.6 * label)
            )
    (tmp_path / "pictures" / "dark" / "bad [red].png").write_bytes(b"junk")
    recipe = usual_recipe("tiny_vgg", "folder", epochs=6, batch_size=4)
    checkpoint = loop.train(tmp_path / "pictures", out=tmp_path / "run", recipe=recipe, quiet=True)
    assert checkpoint.classes == ("dark", "light")
    assert checkpoint.architecture.image_side == 40
    assert checkpoint.provenance.data["name"] == "pictures"
    assert max(epoch.val_accuracy for epoch in checkpoint.history) == 1.0
    assert tells(capsys.readouterr().err, "left out", "dark/bad [red].png")
    assert str(tmp_path).encode() not in (tmp_path / "run" / "best.pt").read_bytes()


def test_last_pt_is_written_whole_or_not_at_all(finished, tmp_path, monkeypatch):
    run_folder = RunFolder(finished, resume=True)
    before = (finished / "last.pt").read_bytes()
    checkpoint = load(finished / "last.pt")

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with run_folder, pytest.raises(OutputRefused, match="No space left"):
        run_folder.save(checkpoint, torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0), is_best=False)
    assert (finished / "last.pt").read_bytes() == before


@pytest.mark.parametrize("share", [0.05, 0.7, 0.99])
def test_a_run_that_meets_a_full_disk_ends_in_one_sentence_and_goes_on_where_there_is_space(
    share, finished, tmp_path, monkeypatch
):
    """`share` of last.pt has space: the weights of the epoch, best.pt or last.pt are what does not fit."""
    size = int((finished / "last.pt").stat().st_size * share)
    one_epoch = loop.one_epoch
    with contextlib.ExitStack() as full, monkeypatch.context() as patch:

        def filling(model, optimizer, pictures, recipe, epoch):
            if epoch == 2:
                full.enter_context(files_up_to(size))
            return one_epoch(model, optimizer, pictures, recipe, epoch)

        patch.setattr(loop, "one_epoch", filling)
        with pytest.raises(OutputRefused, match=r"File too large.*--resume"):
            run(tmp_path / "run")
    assert [epoch.epoch for epoch in load(tmp_path / "run" / "last.pt").history] == [1]
    assert not [file for file in (tmp_path / "run").rglob("*") if file.name.startswith(".")]
    run(tmp_path / "run", resume=True)
    for name in ("best.pt", "last.pt"):
        assert_same_bits(tmp_path / "run" / name, finished / name)


def test_a_run_that_has_no_space_from_the_start_leaves_nothing(tmp_path):
    with files_up_to(2000), pytest.raises(OutputRefused, match="File too large"):
        run(tmp_path / "run", recipe=replace(SHORT, epochs=1), train_count=32)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- the recipe


def test_the_cosine_rises_for_the_warmup_peaks_at_the_rate_and_ends_at_zero():
    recipe = Recipe(learning_rate=0.2, warmup=0.25)
    assert rate_at(recipe, 0.25) == pytest.approx(0.2)
    assert rate_at(recipe, 0.625) == pytest.approx(0.1)  # half way down
    assert rate_at(recipe, 1) == pytest.approx(0)
    rates = [rate_at(recipe, step / 100) for step in range(101)]
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)


def test_steps_divide_by_ten_twice_and_constant_never():
    steps = Recipe(learning_rate=1.0, schedule="steps")
    assert [round(rate_at(steps, p), 6) for p in (0, 0.49, 0.5, 0.74, 0.75, 1)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
    assert {rate_at(Recipe(learning_rate=1.0, schedule="constant"), p / 10) for p in range(11)} == {1.0}


def test_decay_pulls_on_weights_and_never_on_biases(tiny):
    for name in ("adamw", "sgd"):
        groups = optimizer_for(tiny, Recipe(optimizer=name, weight_decay=0.5)).param_groups
        decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
        assert {decays[id(p)] for p in tiny.parameters() if p.ndim > 1} == {0.5}
        assert {decays[id(p)] for p in tiny.parameters() if p.ndim == 1} == {0.0}
        assert len(decays) == len(list(tiny.parameters()))


# ---------------------------------------------------------------- the verdict


def curve(*rows: tuple[float, float, float, float], rate: float = 0.01) -> list[Epoch]:
    return [Epoch(number, *row, rate, 1.0) for number, row in enumerate(rows, start=1)]


def test_the_published_lab_run_is_called_at_chance():
    """FACTS: test accuracy .198 on 3 classes, loss near ln 3."""
    findings = diagnose(curve(*[(1.10 + 0.01 / n, 0.30, 1.11 - 0.002 * n, 0.198) for n in range(1, 6)]), 3)
    assert [finding.level for finding in findings] == ["bad"]
    for fact in ("At chance", "19.8 %", "33.3 %", "ln 3 = 1.099", "has not learned its training pictures either"):
        assert fact in findings[0].text


def test_learning_by_heart_without_carrying_over_is_chance_too():
    (finding,) = diagnose(curve((0.5, 0.9, 2.4, 0.1), (0.1, 0.99, 3.5, 0.11)), 10)
    assert tells(finding.text, "99.0 %")


def test_overfitting_is_dated_and_measured():
    rows = (
        (1.5, 0.5, 1.4, 0.5),
        (0.9, 0.7, 0.9, 0.7),
        (0.5, 0.85, 0.8, 0.74),
        (0.2, 0.95, 0.95, 0.73),
        (0.05, 0.99, 1.3, 0.72),
    )
    (finding,) = diagnose(curve(*rows), 10)
    assert finding.level == "warn"
    for fact in ("Overfitting since epoch 3", "from 0.800 to 1.300", "27.0 points", "99.0 % against 72.0 %"):
        assert fact in finding.text


def test_a_loss_that_still_falls_at_the_end_is_noted_unless_the_rate_has_run_out():
    rows = [(2.0 - 0.2 * n, 0.1 * n, 2.0 - 0.2 * n, 0.1 * n) for n in range(1, 7)]
    (finding,) = diagnose(curve(*rows), 10)
    assert finding.level == "note"
    assert tells(finding.text, "last 3 epochs", "42.9 %", "0.800")
    annealed = [replace(epoch, learning_rate=0.01 * 0.3**epoch.epoch) for epoch in curve(*rows)]
    assert diagnose(annealed, 10)[0].level == "good"


def test_a_good_run_is_called_good_with_its_numbers():
    rows = (
        (0.5, 0.8, 0.5, 0.8),
        (0.3, 0.9, 0.32, 0.89),
        (0.3, 0.9, 0.32, 0.9),
        (0.3, 0.9, 0.32, 0.9),
        (0.3, 0.9, 0.33, 0.895),
    )
    (finding,) = diagnose(curve(*rows), 10)
    assert finding.level == "good"
    assert tells(finding.text, "90.0 %", "epoch 3 of 5", "0.5 points")


def test_nothing_is_said_without_a_history_and_nan_from_the_start_is_divergence():
    assert diagnose((), 10) == ()
    (finding,) = diagnose(curve((math.nan, 0.1, math.nan, 0.1)), 10)
    assert (finding.level, "nothing was learned before" in finding.text) == ("bad", True)
