"""Wrappers, prefixes and averages: taken off to a fixed point, chosen by the user where several remain, hostile files included."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import PlainVGG, settled
from test_formats import evidence, opened, same_logits
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.models.checkpoint import load
from vgg_viz.models.unwrap_state_dict import state_dict_candidates

Weights = dict[str, Tensor]


def network(seed: int = 0, *, batch_norm: bool = True) -> PlainVGG:
    made = PlainVGG("vgg11", batch_norm=batch_norm, classifier=nn.Linear(64, 5))
    settled(made, seed)
    return made


def prefixed(weights: Weights, prefix: str) -> Weights:
    return {f"{prefix}{key}": value for key, value in weights.items()}


def infixed(weights: Weights, stem: str, infix: str) -> Weights:
    return {key.replace(f"{stem}.", f"{stem}.{infix}."): value for key, value in weights.items()}


WRAPPED: dict[str, Callable[[Weights], Any]] = {
    "state_dict": lambda w: {"state_dict": w, "epoch": 3},
    "model_state_dict with its optimizer": lambda w: {
        "model_state_dict": w,
        "optimizer_state_dict": {"state": {0: {"momentum_buffer": torch.ones(8, 3, 3, 3)}}},
    },
    "four deep under keys of nobody": lambda w: {"a": {"b": {"c": {"d": w}}}},
    "in a list": lambda w: [3, {"net": w}],
    "in a tuple": lambda w: (w, {"epoch": 1}),
    "in a bag of attributes": lambda w: {"run": argparse.Namespace(model=w)},
    "DataParallel": lambda w: prefixed(w, "module."),
    "the old ImageNet example": lambda w: {
        "state_dict": infixed(w, "features", "module"),
        "arch": "vgg11",
        "best_acc1": 7.0,
    },
    "compiled": lambda w: prefixed(w, "_orig_mod."),
    "compiled inside DDP inside a compile": lambda w: prefixed(
        infixed(w, "features", "_orig_mod.module"), "_orig_mod.module."
    ),
    "FSDP": lambda w: infixed(prefixed(w, "_fsdp_wrapped_module."), "classifier", "_fsdp_wrapped_module"),
    "Lightning": lambda w: {
        "state_dict": {**prefixed(w, "model."), "criterion.weight": torch.ones(5), "train_acc.total": torch.tensor(3)},
        "pytorch-lightning_version": "2.5.0",
        "hyper_parameters": {"lr": 0.1},
        "epoch": 2,
        "optimizer_states": [{"state": {}}],
        "callbacks": {},
        "loops": {},
    },
    "Lightning around a compiled network": lambda w: {"state_dict": prefixed(w, "net._orig_mod.")},
    "a network inside a network": lambda w: {"model": prefixed(w, "system.backbone.vgg.")},
    "a wrapper and a prefix and a wrapper": lambda w: {"checkpoint": {"model": prefixed(w, "module.encoder.module.")}},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_and_prefixes_come_off_and_the_logits_stay(name: str, tmp_path: Path) -> None:
    made = network()
    back = opened(WRAPPED[name](made.state_dict()), tmp_path)
    assert back.provenance.format == "torchvision"
    assert same_logits(back, made, 32)


def test_what_was_taken_off_and_what_was_left_is_said(tmp_path: Path) -> None:
    back = opened(WRAPPED["Lightning"](network().state_dict()), tmp_path)
    said = evidence(back)
    assert "found under the key 'state_dict'" in said
    assert "The prefix 'model.' was taken off" in said
    assert "Lightning 2.5.0 wrote the file." in said
    assert set(back.provenance.ignored_keys) == {"criterion.weight", "train_acc.total"}
    assert "DataParallel, DDP or AveragedModel writes it" in evidence(
        opened(prefixed(network().state_dict(), "module."), tmp_path)
    )


# ---------------------------------------------------------------- averages


def averaged(of: nn.Module) -> Any:
    """torch's own AveragedModel after two updates, as it is saved."""
    average = AveragedModel(of, multi_avg_fn=None, use_buffers=True)
    for seed in (1, 2):
        average.update_parameters(network(seed))
    return average.eval()


def lightning_average(raw: Weights, ema: Weights) -> Any:
    """As Lightning's WeightAveraging callback leaves a checkpoint: the average where the weights usually are."""
    raw, ema = prefixed(raw, "model."), prefixed(ema, "model.")
    return {"state_dict": ema, "current_model_state": raw, "averaging_state": {"n_averaged": torch.tensor(2)}}


def only_parameters(ema: Weights) -> Weights:
    return {key: value for key, value in ema.items() if "running" not in key and "num_batches" not in key}


BOTH: dict[str, Callable[[Weights, Weights], Any]] = {
    "timm's script": lambda raw, ema: {"arch": "vgg11", "state_dict": raw, "state_dict_ema": ema},
    "torchvision's script": lambda raw, ema: {
        "model": raw,
        "model_ema": {**prefixed(ema, "module."), "n_averaged": torch.tensor(2)},
    },
    "ema": lambda raw, ema: {"model": raw, "ema": {"shadow": ema, "decay": 0.999}},
    "ema_state_dict": lambda raw, ema: {"ema_state_dict": ema, "state_dict": raw},
    "swa": lambda raw, ema: {"net": raw, "swa_model": prefixed(ema, "module.")},
    "one state dict": lambda raw, ema: {
        "state_dict": {**prefixed(raw, "model."), **prefixed(ema, "model_ema.module.")}
    },
    "Lightning's averaging": lightning_average,
}


@pytest.mark.parametrize("name", BOTH)
def test_averaged_weights_are_preferred_and_both_can_be_chosen(name: str, tmp_path: Path) -> None:
    raw, ema = network(), network(7)
    stored = BOTH[name](raw.state_dict(), ema.state_dict())
    back = opened(stored, tmp_path)
    assert same_logits(back, ema, 32)
    assert "These are averaged weights (EMA or SWA); the raw ones are at" in evidence(back)
    assert any("--weights raw" in text for text in map(str, back.provenance.alternatives))
    assert same_logits(load(tmp_path / "file.pt", weights="ema"), ema, 32)
    other = load(tmp_path / "file.pt", weights="raw")
    assert same_logits(other, raw, 32)
    assert any("--weights ema" in text for text in map(str, other.provenance.alternatives))
    assert "averaged weights" not in evidence(other)


def test_torchs_averaged_model_opens_and_says_how_many_states_it_averages(tmp_path: Path) -> None:
    average = averaged(network())
    back = opened(average.state_dict(), tmp_path)
    assert same_logits(back, average.module, 32)
    assert "the average of 2 states" in evidence(back)
    assert "the file holds no raw ones" in evidence(back)
    with pytest.raises(CheckpointRefused, match="--weights raw came, but the file's only weights are the averaged"):
        load(tmp_path / "file.pt", weights="raw")


def test_an_average_of_parameters_only_borrows_the_statistics_and_says_so(tmp_path: Path) -> None:
    raw, ema = network(), network(7)
    for one, other in zip(raw.buffers(), ema.buffers(), strict=True):
        other.copy_(one)
    back = opened({"model": raw.state_dict(), "ema": only_parameters(ema.state_dict())}, tmp_path)
    assert same_logits(back, ema, 32)
    assert "those of the raw weights stand in" in evidence(back)


def test_a_list_of_shadow_parameters_is_named_after_the_raw_weights(tmp_path: Path) -> None:
    raw, ema = network(), network(7)
    for one, other in zip(raw.buffers(), ema.buffers(), strict=True):
        other.copy_(one)
    shadow = {
        "decay": 0.99,
        "num_updates": 4,
        "shadow_params": [p.detach() for p in ema.parameters()],
        "collected_params": None,
    }
    back = opened({"model": raw.state_dict(), "ema": shadow}, tmp_path)
    assert same_logits(back, ema, 32)
    assert "named in the order of 'model'" in evidence(back)


def test_raw_weights_alone_have_no_average_to_choose(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointRefused, match="--weights ema came, but the file's only weights are the raw ones at 'model'"
    ):
        opened({"model": network().state_dict()}, tmp_path, weights="ema")


# ---------------------------------------------------------------- several networks


def test_two_networks_in_a_file_are_both_named_and_key_chooses(tmp_path: Path) -> None:
    teacher, student = network(1), network(2)
    stored = {
        "state_dict": {**prefixed(teacher.state_dict(), "teacher."), **prefixed(student.state_dict(), "student.")}
    }
    back = opened(stored, tmp_path)
    assert same_logits(back, teacher, 32)
    assert any(
        "'state_dict.student' (--key state_dict.student)" in text for text in map(str, back.provenance.alternatives)
    )
    for key in ("student", "state_dict.student"):
        assert same_logits(load(tmp_path / "file.pt", key=key), student, 32)
    with pytest.raises(
        CheckpointRefused, match=r"no VGG under the key 'pupil'; the file holds tensors at .*'state_dict.teacher'"
    ):
        load(tmp_path / "file.pt", key="pupil")


def test_a_key_for_a_file_of_one_network_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused, match="holds one set of weights"):
        load(key="state_dict")
    with pytest.raises(InputRefused, match="is a variant's name, not a file"):
        load("vgg11", key="state_dict")


# ---------------------------------------------------------------- hostile containers


def cyclic() -> Any:
    ring: dict[str, Any] = {"features.0.weight": torch.ones(8, 3, 3, 3)}
    ring["again"] = ring
    ring["list"] = [ring, [ring]]
    return ring


def deep(levels: int) -> Any:
    value: Any = {"x": torch.ones(2, 2, 3, 3)}
    for _ in range(levels):
        value = {"model": value}
    return value


HOSTILE: dict[str, Callable[[], Any]] = {
    "thousands of keys": lambda: {f"layer{i}.weight": torch.ones(1) for i in range(6_000)},
    "thousands of convolutions": lambda: {f"a.b.c.d{i}.weight": torch.ones(1, 1, 1, 1) for i in range(5_000)},
    "keys of a megabyte": lambda: {f"{'a.' * 500_000}{i}": torch.ones(2, 2, 3, 3) for i in range(3)},
    "a cycle": cyclic,
    "a tower of wrappers": lambda: deep(300),
    "a list of thousands of dicts": lambda: [{"w": torch.ones(1)} for _ in range(6_000)],
    "keys that are no text": lambda: {
        0: torch.ones(2, 2, 3, 3),
        (1, 2): torch.ones(3),
        None: 1,
        2.5: {},
        b"x": torch.ones(1),
    },
    "empty names": lambda: {"": torch.ones(2, 2, 3, 3), ".": torch.ones(2, 2, 3, 3), "..weight": torch.ones(2, 2)},
    "tensors without elements": lambda: {
        "features.0.weight": torch.ones(0, 3, 3, 3),
        "classifier.0.weight": torch.ones(0, 0),
    },
    "a classifier of nothing": lambda: {
        "features.0.weight": torch.ones(8, 3, 3, 3),
        "classifier.0.weight": torch.ones(3, 0),
    },
    "pieces that do not fit": lambda: {
        "features.0.weight_g": torch.ones(4),
        "features.0.weight_v": torch.ones(8, 3, 3, 3),
    },
    "a piece alone": lambda: {"features.0.weight_orig": torch.ones(8, 3, 3, 3)},
    "numbers beyond reason": lambda: {
        f"features.{'9' * 5000}.weight": torch.ones(8, 3, 3, 3),
        "classifier.weight": torch.ones(2, 8),
    },
    "digits of another script": lambda: {
        "features.²٣.weight": torch.ones(8, 3, 3, 3),
        "classifier.٣.weight": torch.ones(2, 8),
    },
    "a Tiny VGG of scalars": lambda: {
        key: torch.tensor(1.0)
        for key in (
            "conv_block_1.0.weight",
            "conv_block_1.2.weight",
            "conv_block_2.0.weight",
            "conv_block_2.2.weight",
            "classifier.1.weight",
        )
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_containers_end_in_one_short_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused) as refused:
        opened(HOSTILE[name](), tmp_path)
    said = str(refused.value)
    assert "\n" not in said
    assert len(said) < 700
    assert said.endswith((".", "..."))


def test_a_network_among_thousands_of_other_tensors_is_found(tmp_path: Path) -> None:
    made = network()
    others = {f"criterion.slot{i}": torch.ones(1) for i in range(5_000)}
    back = opened({"log": [{"loss": 1.0}] * 500, "state_dict": OrderedDict({**others, **made.state_dict()})}, tmp_path)
    assert same_logits(back, made, 32)
    assert len(back.provenance.ignored_keys) == 5_000


def test_a_tensor_that_is_no_losses_counts_as_a_part_of_the_network_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused, match=r"'bank\.slot0' inside the network"):
        opened({"bank.slot0": torch.ones(1), **network().state_dict()}, tmp_path)


def test_the_number_of_candidates_is_bounded() -> None:
    stored = {
        f"set{i}": {f"p{j}.q.w{k}": torch.ones(1, 1, 1, 1) for j in range(9) for k in range(2)} for i in range(40)
    }
    assert len(state_dict_candidates(stored)) <= 32
