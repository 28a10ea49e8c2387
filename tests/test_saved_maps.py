"""Saved maps: what was written comes back to the bit, and nothing that a stranger wrote does harm."""

from __future__ import annotations

import json
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from loose_options import attribute
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.torch import save as packed
from test_report import trained

from vgg_viz.cli import main
from vgg_viz.errors import MapRefused, OutputRefused
from vgg_viz.gallery.sections import sections_of
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import save, sha256
from vgg_viz.records import Attribution
from vgg_viz.studies.map_cache import MapCache
from vgg_viz.studies.saved_maps import KEY, SUFFIX, Origin, matches, network_of, origin, pixels_of, read, slug, write

HOSTILE = ("</script><script>alert(1)</script>", "../../etc/passwd", "safe\u202egpj.exe", "caf\udce9")


@pytest.fixture(scope="module")
def model():
    return build("tiny_vgg", seed=1, image_side=32, width=0.4, num_classes=4)


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def here(model, images) -> Origin:
    return origin(model, images, HOSTILE, HOSTILE, checkpoint="ab" * 32)


@pytest.fixture(scope="module")
def found(model, images) -> Attribution:
    return attribute(model, images, method="integrated_gradients", steps=4)


def same(a: Attribution, b: Attribution) -> bool:
    tensors = all(
        (x is None and y is None) or torch.equal(x.cpu(), y.cpu())
        for x, y in ((a.values, b.values), (a.targets, b.targets), (a.residual, b.residual), (a.against, b.against))
    )
    return tensors and all(
        getattr(a, name) == getattr(b, name) for name in ("method", "unit", "signed", "layer", "passes", "unit_of")
    )


def test_what_was_written_comes_back_to_the_bit(found, here, tmp_path):
    kept = read(tmp_path / f"{write(tmp_path, found, here, target='predicted')}{SUFFIX}")
    assert same(kept.found, found)
    assert kept.found.seconds == pytest.approx(found.seconds, abs=1e-4)
    assert kept.found.settings == {"steps": 4, "baseline": None}
    assert (kept.title, kept.family, kept.target) == ("Integrated Gradients", "gradient", "predicted")
    assert kept.pictures[:3] == HOSTILE[:3]
    assert matches(
        kept, here, method="integrated_gradients", targets=found.targets, settings={"steps": 4, "baseline": None}
    )


def test_a_map_of_a_layer_one_class_against_another_and_a_unit_come_back(found, here, tmp_path):
    pairs = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]])  # whose rows share memory
    other = replace(
        found,
        method="grad_cam",
        targets=pairs[0],
        values=-found.values[:, :5, :7],
        layer="relu2_2",
        residual=None,
        settings={"layer": "relu2_2"},
        against=pairs[1],
        unit_of="conv2_1:3:0,1",
    )
    assert same(read(tmp_path / f"{write(tmp_path, other, here, target='second')}{SUFFIX}").found, other)


def facts_in(path: Path) -> dict[str, Any]:
    """The facts as any reader of safetensors finds them."""
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()[KEY])


def test_the_facts_name_everything_that_a_map_depends_on(found, here, tmp_path):
    path = tmp_path / f"{write(tmp_path, found, here, target='predicted')}{SUFFIX}"
    facts = facts_in(path)
    assert facts["targets"] == {
        "classes": found.targets.tolist(),
        "names": [HOSTILE[i].encode("utf-8", "backslashreplace").decode() for i in found.targets.tolist()],
    }
    assert facts["origin"]["checkpoint"] == "ab" * 32
    assert {"torch", "captum", "vgg_viz"} == set(facts["origin"]["versions"])
    assert facts["shape"] == [4, 32, 32]
    assert facts["passes"] == 10 + 1
    assert facts["seconds"] > 0
    arrays = load_file(path)
    assert arrays["values"].dtype == "float32"
    assert (arrays["values"] == found.values.numpy()).all()
    assert arrays["residual"].tolist() == found.residual.tolist()


def test_the_same_map_gives_the_same_bytes(found, here, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for folder, seconds in (("a", 1.0), ("b", 2.0)):
        name = write(tmp_path / folder, replace(found, seconds=seconds), here, target="predicted")
    assert (tmp_path / "a" / f"{name}{SUFFIX}").read_bytes() == (tmp_path / "b" / f"{name}{SUFFIX}").read_bytes()
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == [f"{name}{SUFFIX}"]


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": "cd" * 32},
        {"network": "other"},
        {"pixels": "other"},
        {"pictures": ("a", "b", "c", "d")},
        {"device": "cuda"},
        {"dtype": "bfloat16"},
        {"versions": {"torch": "1.0"}},
        {"classes": ("a", "b", "c", "d")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_map_of_another_origin_does_not_match(change, found, here, tmp_path):
    kept = read(tmp_path / f"{write(tmp_path, found, here, target='predicted')}{SUFFIX}")
    assert matches(kept, here)
    assert not matches(kept, replace(here, **change))


def test_a_map_with_other_settings_or_of_another_class_does_not_match(found, here, tmp_path):
    kept = read(tmp_path / f"{write(tmp_path, found, here, target='predicted')}{SUFFIX}")
    assert not matches(kept, here, settings={"steps": 5, "baseline": None})
    assert not matches(kept, here, method="saliency")
    assert not matches(kept, here, layer="relu1_1")
    assert not matches(kept, here, targets=(found.targets + 1) % 4)


def test_one_weight_or_another_mean_is_another_network(model, images):
    before = network_of(model)
    assert network_of(build("tiny_vgg", seed=1, image_side=32, width=0.4, num_classes=4)) == before
    assert network_of(build("tiny_vgg", seed=2, image_side=32, width=0.4, num_classes=4)) != before
    other = build(
        "tiny_vgg", seed=1, image_side=32, width=0.4, num_classes=4, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0)
    )
    assert network_of(other) != before
    assert pixels_of(images) != pixels_of(images.flip(0))


def test_slugs_are_harmless_and_tell_targets_apart(found):
    assert slug(found, "predicted") == "map-integrated-gradients-predicted"
    assert slug(replace(found, method="grad_cam", layer="relu4_3"), "second") == "map-grad-cam-relu4-3-second"
    assert slug(replace(found, method="class_score_map", layer="pool5"), "predicted") == "map-class-score-map-predicted"
    odd = {slug(found, word) for word in (*HOSTILE, "Größe", "größe", "gr-e", "a b", "a-b")}
    assert len(odd) == len(HOSTILE) + 5
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and len(name) < 110 for name in odd)


# ---------------------------------------------------------------- what a stranger wrote


@pytest.fixture
def path(found, here, tmp_path) -> Path:
    """A sound map set."""
    return tmp_path / f"{write(tmp_path, found, here, target='predicted')}{SUFFIX}"


def refused(path) -> str:
    with pytest.raises(MapRefused) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith("make the report again.")
    assert len(text) < 400
    return text


def with_header(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def entry(shape: str, start: int, end: int, kind: str = "F32") -> bytes:
    return f'{{"dtype":"{kind}","shape":{shape},"data_offsets":[{start},{end}]}}'.encode()


MAPS, CLASSES = torch.zeros(4, 32, 32), torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"no safetensors at all" * 20,
        with_header(b"{}"),
        with_header(b"[]"),
        with_header(b"\xff"),
        with_header(b"[" * 100_000),
        with_header(b'{"values":' + entry("[1,1,1]", 0, 8) + b"}", b"\0" * 8),
        with_header(b'{"values":' + entry("[1,1,2]", 0, 8) + b"}", b"\0" * 4),
        with_header(b'{"values":' + entry("[9223372036854775807,4,2]", 0, 8) + b"}", b"\0" * 8),
        with_header(b'{"values":' + entry("[1,1,-2]", 0, 8) + b"}", b"\0" * 8),
        with_header(b'{"values":' + entry("[1,1,2]", 0, 8, "F7") + b"}", b"\0" * 8),
        with_header(b'{"__metadata__":null}'),
        with_header(b'{"__metadata__":{"vgg_viz_map":5}}'),
        with_header(b'{"__metadata__":{"vgg_viz_map":"\\ud800"}}'),
        with_header(b'{"__metadata__":' + b"[" * 5000 + b"}"),
    ],
)
def test_what_is_no_safetensors_file_is_refused_in_a_sentence(content, path):
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"targets": CLASSES},
        {"values": MAPS},
        {"values": MAPS.double(), "targets": CLASSES},
        {"values": MAPS[:3].clone(), "targets": CLASSES},
        {"values": MAPS[:, 0].clone(), "targets": CLASSES},
        {"values": MAPS, "targets": CLASSES, "more": torch.zeros(1)},
        {"values": MAPS, "targets": CLASSES, "../climbs": torch.zeros(1)},
        {"values": MAPS, "targets": CLASSES.int()},
        {"values": MAPS, "targets": CLASSES},
    ],
    ids=lambda arrays: " ".join(arrays) or "none",
)
def test_arrays_that_are_not_what_the_facts_say_are_refused_in_a_sentence(arrays, path):
    path.write_bytes(packed(arrays, metadata={KEY: json.dumps(facts_in(path))}))
    refused(path)


def test_no_room_is_made_for_what_a_file_only_claims(path):
    lie = with_header(b'{"values":' + entry("[4,16384,16384]", 0, 2**32) + b"}", b"\0" * 64)
    header = (2**40).to_bytes(8, "little") + b"{}" + b" " * 1000
    with path.open("wb") as hole:
        hole.truncate(2**28 + 1)
    for content in (None, lie, header):
        if content is not None:
            path.write_bytes(content)
        tracemalloc.start()
        refused(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20e6


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [5, 32, 32]},
        {"shape": "all"},
        {"method": 3},
        {"signed": 1},
        {"passes": True},
        {"passes": 10**400},
        {"passes": None},
        {"origin": []},
        {"origin": {"pictures": ["a"]}},
        {"origin": {"pictures": [1, 2, 3, 4]}},
        {"sha256": 5},
        {"sha256": "0" * 64},
        {"settings": None},
        {"layer": 4},
        {"unit_of": []},
        {"seconds": "long"},
    ],
    ids=str,
)
def test_facts_of_another_kind_are_refused_in_a_sentence(change, path, found):
    arrays = {"values": found.values, "targets": found.targets.contiguous(), "residual": found.residual}
    path.write_bytes(packed(arrays, metadata={KEY: json.dumps(facts_in(path))}))
    read(path)
    path.write_bytes(packed(arrays, metadata={KEY: json.dumps({**facts_in(path), **change})}))
    refused(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100_000, '{"passes": NaN}', '{"schema": ' + "1" * 5000 + "}", " " * 2**22, None]
)
def test_facts_that_are_no_json_are_refused_in_a_sentence(text, path, found):
    metadata = None if text is None else {KEY: text}
    path.write_bytes(packed({"values": found.values, "targets": found.targets.contiguous()}, metadata=metadata))
    refused(path)


def test_every_cut_and_a_flip_of_any_number_is_found(path):
    sound = path.read_bytes()
    for at in range(0, len(sound), max(1, len(sound) // 120)):
        path.write_bytes(sound[:at])
        refused(path)
    numbers = 8 + int.from_bytes(sound[:8], "little")
    for at in range(numbers, len(sound), (len(sound) - numbers) // 200):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        assert "checksum" in refused(path)


def test_a_file_that_is_not_there_or_a_pipe_is_refused_at_once(path, tmp_path):
    path.unlink()
    assert "not there" in refused(path)
    os.mkfifo(path)
    assert "no regular file" in refused(path)
    assert "not there" in refused(tmp_path / "caf\udce9.safetensors")


def test_a_full_disk_leaves_no_half_file(found, here, tmp_path, monkeypatch):
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputRefused, match="No space"):
        write(tmp_path, found, here, target="predicted")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- a finished gallery


def test_every_map_of_a_finished_gallery_is_read_back_as_it_was_computed_without_a_warning(
    tmp_path, monkeypatch, capsys
):
    """Also those of other pictures than most: `report --from-receipts` once called five such sets strangers, in false warnings."""
    with_maps = [one for one in sections_of("report") if one.slug in ("attention", "relevance")]
    monkeypatch.setattr("vgg_viz.gallery.build.sections_of", lambda kind: with_maps)
    monkeypatch.setattr("vgg_viz.gallery.build._explorer", lambda *_: (None, "left out"))
    computed: dict[str, Attribution] = {}
    put = MapCache._put

    def kept(self, batch, found, target):
        found = put(self, batch, found, target)
        computed[slug(found, target)] = found
        return found

    monkeypatch.setattr(MapCache, "_put", kept)
    save(tmp_path / "tiny.pt", trained(specimens=6))
    assert main(["report", str(tmp_path / "tiny.pt"), "--out", str(tmp_path), "--preset", "quick", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    saved = {path.stem: read(path) for path in (tmp_path / "tiny" / "data").glob(f"map-*{SUFFIX}")}
    assert saved.keys() == computed.keys()
    for name, one in saved.items():
        assert same(one.found, computed[name])
        assert one.found.settings == computed[name].settings
        assert one.origin["checkpoint"] == sha256(tmp_path / "tiny.pt")
        assert len(one.pictures) == len(one.found.values)
    assert len({tuple(one.pictures) for one in saved.values()}) == 2, (
        "relevance is asked about some of the pictures only"
    )
    manifest = json.loads((tmp_path / "tiny" / "manifest.json").read_text(encoding="utf-8"))
    assert {one["slug"] for one in manifest["maps"]} == saved.keys()
    assert manifest["warnings"] == []
