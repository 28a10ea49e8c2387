"""Receipts: what was written comes back to the bit, and nothing that a stranger wrote does harm."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from vgg_viz.attribution import attribute
from vgg_viz.errors import OutputRefused, ReceiptRefused
from vgg_viz.models.build import build
from vgg_viz.records import Attribution
from vgg_viz.report.receipts import Origin, matches, network_of, origin, pixels_of, read, slug, write

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
    return tensors and all(getattr(a, name) == getattr(b, name) for name in ("method", "unit", "signed", "layer", "passes", "unit_of"))


def test_what_was_written_comes_back_to_the_bit(found, here, tmp_path):
    kept = read(tmp_path / f"{write(tmp_path, found, here, target='predicted')}.json")
    assert same(kept.found, found)
    assert kept.found.seconds == pytest.approx(found.seconds, abs=1e-4)
    assert kept.found.settings == {"steps": 4, "baseline": None}
    assert (kept.title, kept.family, kept.target) == ("Integrated Gradients", "gradient", "predicted")
    assert kept.pictures[:3] == HOSTILE[:3]
    assert matches(kept, here, method="integrated_gradients", targets=found.targets, settings={"steps": 4, "baseline": None})


def test_a_map_of_a_layer_one_class_against_another_and_a_unit_come_back(found, here, tmp_path):
    other = replace(found, method="grad_cam", values=-found.values[:, :5, :7], layer="relu2_2", residual=None,
                    settings={"layer": "relu2_2"}, against=torch.tensor([3, 2, 1, 0]), unit_of="conv2_1:3:0,1")  # fmt: skip
    assert same(read(tmp_path / f"{write(tmp_path, other, here, target='second')}.json").found, other)


def test_the_facts_name_everything_that_a_map_depends_on(found, here, tmp_path):
    name = write(tmp_path, found, here, target="predicted")
    told = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert told["targets"] == {"classes": found.targets.tolist(), "names": [HOSTILE[i].encode("utf-8", "backslashreplace").decode()
                                                                            for i in found.targets.tolist()]}  # fmt: skip
    assert told["residual"] == pytest.approx(found.residual.tolist())
    assert told["origin"]["checkpoint"] == "ab" * 32
    assert {"torch", "captum", "vgg_viz"} == set(told["origin"]["versions"])
    assert told["shape"] == [4, 32, 32]
    assert told["passes"] == 10 + 1
    assert told["seconds"] > 0
    with np.load(tmp_path / f"{name}.npz", allow_pickle=False) as arrays:
        assert arrays["values"].dtype == np.float32
        assert np.array_equal(arrays["values"], found.values.numpy())


def test_the_same_map_gives_the_same_bytes(found, here, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for folder, seconds in (("a", 1.0), ("b", 2.0)):
        name = write(tmp_path / folder, replace(found, seconds=seconds), here, target="predicted")
    for ending in ("npz", "json"):
        assert (tmp_path / "a" / f"{name}.{ending}").read_bytes() == (tmp_path / "b" / f"{name}.{ending}").read_bytes()
    assert sorted(entry.name for entry in (tmp_path / "a").iterdir()) == [f"{name}.json", f"{name}.npz"]


@pytest.mark.parametrize("change", [
    {"checkpoint": "cd" * 32}, {"network": "other"}, {"pixels": "other"}, {"pictures": ("a", "b", "c", "d")}, {"device": "cuda"},
    {"dtype": "bfloat16"}, {"versions": {"torch": "1.0"}}, {"classes": ("a", "b", "c", "d")},
], ids=lambda change: next(iter(change)))  # fmt: skip
def test_a_map_of_another_origin_does_not_match(change, found, here, tmp_path):
    kept = read(tmp_path / f"{write(tmp_path, found, here, target='predicted')}.json")
    assert matches(kept, here)
    assert not matches(kept, replace(here, **change))


def test_a_map_with_other_settings_or_of_another_class_does_not_match(found, here, tmp_path):
    kept = read(tmp_path / f"{write(tmp_path, found, here, target='predicted')}.json")
    assert not matches(kept, here, settings={"steps": 5, "baseline": None})
    assert not matches(kept, here, method="saliency")
    assert not matches(kept, here, layer="relu1_1")
    assert not matches(kept, here, targets=(found.targets + 1) % 4)


def test_one_weight_or_another_mean_is_another_network(model, images):
    before = network_of(model)
    assert network_of(build("tiny_vgg", seed=1, image_side=32, width=0.4, num_classes=4)) == before
    assert network_of(build("tiny_vgg", seed=2, image_side=32, width=0.4, num_classes=4)) != before
    other = build("tiny_vgg", seed=1, image_side=32, width=0.4, num_classes=4, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
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
def pair(found, here, tmp_path):
    """A sound receipt: (path of its JSON, path of its arrays)."""
    name = write(tmp_path, found, here, target="predicted")
    return tmp_path / f"{name}.json", tmp_path / f"{name}.npz"


def refused(path) -> str:
    with pytest.raises(ReceiptRefused) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith("make the report again.")
    assert len(text) < 400
    return text


def with_arrays(pair, content: bytes) -> None:
    """Put other arrays beside the facts, with a checksum that agrees: the attacker knows how."""
    import hashlib

    told = json.loads(pair[0].read_text(encoding="utf-8"))
    told["arrays"]["sha256"] = hashlib.sha256(content).hexdigest()
    pair[0].write_text(json.dumps(told), encoding="utf-8")
    pair[1].write_bytes(content)


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return whole.getvalue()


def npy(array, *, header: bytes | None = None, pickled: bool = False) -> bytes:
    one = io.BytesIO()
    np.lib.format.write_array(one, array, allow_pickle=pickled)
    return one.getvalue() if header is None else header + one.getvalue()


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/vgg_viz_receipt_owned",)


GOOD = {"targets.npy": npy(np.zeros(4, "<i8"))}


@pytest.mark.parametrize("content", [
    b"", b"PK\x03\x04", b"no archive at all" * 20,
    zipped({}), zipped(GOOD),
    zipped({**GOOD, "values.npy": npy(np.zeros((4, 32, 32), "<f8"))}),
    zipped({**GOOD, "values.npy": npy(np.zeros((3, 32, 32), "<f4"))}),
    zipped({**GOOD, "values.npy": npy(np.zeros((4, 32), "<f4"))}),
    zipped({**GOOD, "values.npy": npy(np.zeros((4, 32, 32), "<f4"))[:-8]}),
    zipped({**GOOD, "values.npy": npy(np.zeros((4, 32, 32), "<f4")), "more.npy": npy(np.zeros(1))}),
    zipped({**GOOD, "values.npy": npy(np.zeros((4, 32, 32), "<f4")), "../climbs.npy": npy(np.zeros(1))}),
    zipped({**GOOD, "values.npy": npy(np.asfortranarray(np.ones((4, 32, 32), "<f4")))}),
    zipped({**GOOD, "values.npy": npy(np.array([[[Bomb()]]] * 4, dtype=object), pickled=True)}),
    zipped({**GOOD, "values.npy": b"\x93NUMPY\x01\x00\xff\xff{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 50_000}),
    zipped({**GOOD, "values.npy": npy(np.zeros((4, 32, 32), "<f4"))}, zipfile.ZIP_LZMA),
])  # fmt: skip
def test_arrays_that_are_not_what_the_facts_say_are_refused_in_a_sentence(content, pair):
    with_arrays(pair, content)
    refused(pair[0])
    assert not os.path.exists("/tmp/vgg_viz_receipt_owned")


def test_no_room_is_made_for_what_a_file_only_claims(pair):
    bomb = zipped({**GOOD, "values.npy": npy(np.zeros((4, 4096, 4096), "<f4"))})  # 260 kB unfold to 268 MB
    lie = bytearray(zipped({**GOOD, "values.npy": npy(np.zeros((4, 32, 32), "<f4"))}))
    at = lie.rindex(b"values.npy") - 46 + 24  # the directory's word on the size
    lie[at : at + 4] = (2**31).to_bytes(4, "little")
    for content in (bomb, bytes(lie)):
        with_arrays(pair, content)
        tracemalloc.start()
        refused(pair[0])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20e6


@pytest.mark.parametrize("change", [
    {"shape": [5, 32, 32]}, {"shape": "all"}, {"method": 3}, {"signed": 1}, {"passes": True}, {"passes": 10**400}, {"passes": None},
    {"origin": []}, {"origin": {"pictures": ["a"]}}, {"origin": {"pictures": [1, 2, 3, 4]}}, {"arrays": {}}, {"arrays": {"sha256": 5}},
    {"settings": None}, {"layer": 4}, {"unit_of": []}, {"seconds": "long"},
], ids=str)  # fmt: skip
def test_facts_of_another_kind_are_refused_in_a_sentence(change, pair):
    told = json.loads(pair[0].read_text(encoding="utf-8"))
    pair[0].write_text(json.dumps({**told, **change}), encoding="utf-8")
    refused(pair[0])


@pytest.mark.parametrize("content", [
    b"", b"[]", b"\xff", b"[" * 100_000, b'{"passes": NaN}', b'{"receipt": ' + b"1" * 5000 + b"}",
    b" " * (2**22 + 1),
])  # fmt: skip
def test_what_is_no_json_is_refused_in_a_sentence(content, pair):
    pair[0].write_bytes(content)
    refused(pair[0])


def test_every_cut_and_a_flip_of_any_byte_is_found(pair):
    for path in pair:
        sound = path.read_bytes()
        for at in range(0, len(sound), max(1, len(sound) // 60)):
            path.write_bytes(sound[:at])
            refused(pair[0])
        path.write_bytes(sound)
    sound = pair[1].read_bytes()
    for at in range(0, len(sound), max(1, len(sound) // 200)):
        pair[1].write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        assert "checksum" in refused(pair[0])


def test_a_receipt_that_is_not_there_or_a_pipe_is_refused_at_once(pair, tmp_path):
    pair[1].unlink()
    assert "not there" in refused(pair[0])
    os.mkfifo(pair[1])
    assert "no regular file" in refused(pair[0])
    assert "not there" in refused(tmp_path / "caf\udce9.json")


def test_a_full_disk_leaves_no_half_receipt(found, here, tmp_path, monkeypatch):
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputRefused, match="No space"):
        write(tmp_path, found, here, target="predicted")
    assert list(tmp_path.iterdir()) == []
