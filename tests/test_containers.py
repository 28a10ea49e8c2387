"""Files that are not torch's: safetensors, TensorFlow.js, Keras. What they compute is what numpy computes in their own convention."""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras_files import VGG11, VGG16, KerasNet, tiny_net, vgg_net
from safetensors.torch import save_file

from vgg_viz.errors import InputRefused
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load, read_checkpoint, sha256
from vgg_viz.models.containers import open_file
from vgg_viz.models.plan import canonical_plan
from vgg_viz.models.vgg import describe

EXPLAINER_TEN = (
    "boat_1",
    "bug_1",
    "bus_1",
    "car_1",
    "espresso_1",
    "koala_1",
    "orange_1",
    "panda_1",
    "pepper_1",
    "pizza_1",
)
SUBJECT = {
    "boat": "lifeboat",
    "bug": "ladybug",
    "bus": "school bus",
    "car": "sport car",
    "espresso": "espresso",
    "koala": "koala",
    "orange": "orange",
    "panda": "red panda",
    "pepper": "bell pepper",
    "pizza": "pizza",
}
CAFFE_BGR = np.array([103.939, 116.779, 123.68])


def ours(path: Path, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return build(load(path))(images).double().numpy()


def agrees(path: Path, net: KerasNet, prepare: Any = lambda rgb: rgb, tolerance: float = 2e-5) -> None:
    """Logits of the opened file on RGB in [0, 1] against numpy's, on what the network was trained on."""
    images = torch.rand(2, 3, net.side, net.side, generator=torch.Generator().manual_seed(5))
    wanted = net.logits(prepare(images.permute(0, 2, 3, 1).double().numpy()))
    found = ours(path, images)
    assert wanted.std() > 0.05  # a constant would agree with anything
    assert np.abs(found - wanted).max() < tolerance * max(1, np.abs(wanted).max())


def caffe(rgb: np.ndarray) -> np.ndarray:
    return rgb[..., ::-1] * 255 - CAFFE_BGR


def refused(path: Path, words: str) -> str:
    with pytest.raises(InputRefused, match=words) as error:
        load(path)
    said = str(error.value)
    assert "\n" not in said
    assert said.endswith((".", "?"))
    return said


# ---------------------------------------------------------------- CNN Explainer's own files


@pytest.fixture(scope="module")
def explainer(shared_data: Path) -> Path:
    folder = shared_data / "cnn-explainer"
    if not folder.is_dir():
        pytest.skip("CNN Explainer's files are not beside this checkout")
    return folder


@pytest.mark.parametrize("given_as", ["", "model.json"])
def test_cnn_explainers_files_get_14_of_its_20_pictures_right(explainer: Path, given_as: str) -> None:
    from vgg_viz.data.folder import read_images

    checkpoint = load(explainer / given_as)
    batch = read_images(explainer / "images", image_side=64)
    with torch.no_grad():
        probabilities = build(checkpoint)(batch.images).softmax(1)
    names = [Path(name).stem for name in batch.names]
    found = {name: checkpoint.classes[int(row.argmax())] for name, row in zip(names, probabilities, strict=True)}
    right = {name for name, said in found.items() if said == SUBJECT[name.split("_")[0]]}
    assert len(found) == 20
    assert len(right) == 14
    assert set(EXPLAINER_TEN) <= right
    assert found["panda_5"] == "espresso"
    assert float(probabilities[names.index("panda_5")].max()) == pytest.approx(0.985, abs=0.005)
    assert checkpoint.architecture.mean == (0, 0, 0)
    assert any("byte for byte" in sentence for sentence in map(str, checkpoint.provenance.evidence))


def test_without_the_permutation_of_the_dense_rows_the_same_files_get_none_right(explainer: Path) -> None:
    # The trap that the importer avoids: the file loads cleanly and knows nothing.
    from dataclasses import replace

    from vgg_viz.data.folder import read_images

    checkpoint = load(explainer)
    batch = read_images(explainer / "images", image_side=64)
    raw = open_file(explainer).value.weights["output"]["kernel"]
    wrong = replace(checkpoint, weights={**checkpoint.weights, "classifier.1.weight": raw.t().contiguous()})
    with torch.no_grad():
        said = build(wrong)(batch.images).argmax(1)
    right = [
        n
        for n, i in zip(batch.names, said, strict=True)
        if checkpoint.classes[i] == SUBJECT[Path(n).stem.split("_")[0]]
    ]
    assert right == []


def test_the_class_names_of_cnn_explainer_are_given_to_its_very_weights_only(explainer: Path, tmp_path: Path) -> None:
    raw = bytearray((explainer / "group1-shard1of1.bin").read_bytes())
    raw[0] ^= 1
    (tmp_path / "group1-shard1of1.bin").write_bytes(raw)
    (tmp_path / "model.json").write_bytes((explainer / "model.json").read_bytes())
    assert load(tmp_path).classes[0] == "class 0"


def test_a_model_of_several_files_has_the_sha256_of_them_all_in_order(tmp_path: Path) -> None:
    import hashlib

    folder = tiny_net(side=32, hidden=2).tfjs(tmp_path / "net", shard=500)
    model = json.loads((folder / "model.json").read_text())
    paths = model["weightsManifest"][0]["paths"]
    assert len(paths) > 2
    everything = b"".join((folder / name).read_bytes() for name in ["model.json", *paths])
    assert sha256(folder) == sha256(folder / "model.json") == hashlib.sha256(everything).hexdigest()
    (folder / "notes.txt").write_text("no part of the model")
    assert sha256(folder) == hashlib.sha256(everything).hexdigest()


def test_the_gallery_of_a_folder_names_its_files_and_their_sha256(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vgg_viz.api import report

    folder = tiny_net(side=32, hidden=2).tfjs(tmp_path / "net", shard=2500)
    monkeypatch.chdir(folder)
    index = report(".", preset="quick", out=tmp_path / "out").index
    assert index.parent.name == "net"
    manifest = json.loads((index.parent / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["checkpoint"]["sha256"] == sha256(folder)
    assert manifest["checkpoint"]["files"] == ["model.json", "group1-shard1.bin", "group1-shard2.bin"]
    page = index.read_text(encoding="utf-8")
    assert sha256(folder) in page
    assert "model.json, then group1-shard1.bin, then group1-shard2.bin" in page


# ---------------------------------------------------------------- TensorFlow.js


@pytest.mark.parametrize("shard", [10**9, 4096, 999])
@pytest.mark.parametrize("groups", [1, 3])
def test_a_tensorflow_js_folder_computes_what_keras_would(tmp_path: Path, shard: int, groups: int) -> None:
    # 999 bytes cut floats in two.
    net = tiny_net(side=40, hidden=6, classes=4, merged=groups == 3)
    agrees(net.tfjs(tmp_path / "net", shard=shard, groups=groups), net)


@pytest.mark.parametrize(("store", "tolerance"), [("float16", 2e-3), ("uint16", 2e-3), ("uint8", 0.2)])
def test_quantised_weights_are_expanded_as_the_manifest_says(tmp_path: Path, store: str, tolerance: float) -> None:
    net = tiny_net(side=40, hidden=6, classes=4)
    folder = net.tfjs(tmp_path / "net", store=store, shard=777)
    agrees(folder, net, tolerance=tolerance)
    checkpoint = load(folder)
    assert any(f"stored as {store}" in sentence for sentence in map(str, checkpoint.provenance.evidence))
    kernel = dict(net.weighted)["conv_1_1"]["kernel"].transpose(3, 2, 0, 1)
    step = {"float16": 1e-3, "uint16": np.ptp(kernel) / 65535, "uint8": np.ptp(kernel) / 255}[store]
    error = np.abs(checkpoint.weights["conv_block_1.0.weight"].numpy() - kernel).max()
    assert 0 < error <= step * 0.51


def test_a_vgg_with_batch_norm_an_average_pool_and_rescaling_computes_what_keras_would(tmp_path: Path) -> None:
    net = vgg_net(VGG11, side=64, width=1 / 16, norm=True, average=True, rescaled=True, applications=False, head=())
    folder = net.tfjs(tmp_path / "net")
    agrees(folder, net, lambda rgb: rgb * 255, tolerance=1e-4)
    checkpoint = load(folder)
    assert checkpoint.architecture.mean == pytest.approx((0.5,) * 3)
    assert checkpoint.architecture.std == pytest.approx((0.5,) * 3)
    about = describe(checkpoint.architecture)
    assert (about.variant, about.batch_norm, about.pooled) == ("vgg11", True, 1)


def edited(folder: Path, change: Any) -> Path:
    model = json.loads((folder / "model.json").read_text())
    change(model)
    (folder / "model.json").write_text(json.dumps(model))
    return folder


def _layers(model: dict[str, Any]) -> list[dict[str, Any]]:
    return model["modelTopology"]["model_config"]["config"]["layers"]


def _set(index: int, **values: Any) -> Any:
    return lambda model: _layers(model)[index]["config"].update(values)


TFJS_FAULTS = {
    "outside": (lambda m: m["weightsManifest"][0].update(paths=["../secret.bin"]), "lies outside its folder"),
    "absolute": (lambda m: m["weightsManifest"][0].update(paths=["/etc/passwd"]), "lies outside its folder"),
    "linked": (lambda m: m["weightsManifest"][0].update(paths=["link.bin"]), "lies outside its folder"),
    "missing": (lambda m: m["weightsManifest"][0].update(paths=["nowhere.bin"]), "'nowhere.bin' is missing"),
    "nameless": (lambda m: m["weightsManifest"][0].update(paths=[7]), "a name was expected"),
    "null byte": (lambda m: m["weightsManifest"][0].update(paths=["a\0b"]), "a name was expected"),
    "long name": (lambda m: m["weightsManifest"][0].update(paths=["x" * 5000]), "is missing"),
    "folder": (lambda m: m["weightsManifest"][0].update(paths=["."]), "is missing"),
    "huge shape": (
        lambda m: m["weightsManifest"][0]["weights"][0].update(shape=[2**40, 2**40]),
        "declares .* bytes of weights",
    ),
    "negative": (
        lambda m: m["weightsManifest"][0]["weights"][0].update(shape=[-3, 3, 3, 6]),
        "whole numbers were expected",
    ),
    "fraction": (
        lambda m: m["weightsManifest"][0]["weights"][0].update(shape=[3.0, 3, 3, 6]),
        "whole numbers were expected",
    ),
    "strings": (lambda m: m["weightsManifest"][0]["weights"][0].update(dtype="string"), "as 'string', one of float32"),
    "dtype list": (lambda m: m["weightsManifest"][0]["weights"][0].update(dtype=["x"]), "no whole description"),
    "twice": (lambda m: m["weightsManifest"][0]["weights"][1].update(name="conv_1_1/kernel"), "twice"),
    "no manifest": (lambda m: m.pop("weightsManifest"), "without a weightsManifest"),
    "manifest of numbers": (lambda m: m.update(weightsManifest=[1, 2]), "no whole description"),
    "graph": (lambda m: m.update(format="graph-model"), "graph model"),
    "no layers": (lambda m: m["modelTopology"]["model_config"].update(config=3), "not whole"),
    "subclassed": (
        lambda m: m["modelTopology"]["model_config"].update(class_name="MyNet"),
        "'MyNet', Sequential or Functional",
    ),
    "lstm": (lambda m: _layers(m)[4].update(class_name="LSTM"), "'max_pool_1' is a LSTM"),
    "script": (lambda m: _layers(m)[4].update(class_name="<script>\n"), "'max_pool_1' is a <script>"),
    "strides": (_set(0, strides=[2, 2]), "leave a 1 × 1 map, and the first dense layer reads 5 × 5"),
    "dilated": (_set(0, dilation_rate=[2, 2]), "leave a 4 × 4 map"),
    "five": (_set(0, kernel_size=[5, 5]), r"convolution of \[5, 5\]"),
    "pool of three": (_set(4, pool_size=[3, 3]), "leave a 4 × 4 map"),
    "unknown activation": (_set(1, activation="softsign"), "Activation with the activation softsign"),
    "clipped": (
        lambda m: _layers(m)[1].update(class_name="ReLU", config={"name": "r", "max_value": 4}),
        "ReLU with a thr",
    ),
    "depthwise": (lambda m: _layers(m)[0].update(class_name="DepthwiseConv2D"), "'conv_1_1' is a DepthwiseConv2D"),
    "channels first": (_set(0, data_format="channels_first"), "channels last was expected"),
    "a pool over padding": (
        lambda m: _layers(m)[4].update(
            class_name="AveragePooling2D",
            config={"name": "max_pool_1", "pool_size": [2, 2], "strides": [1, 1], "padding": "same"},
        ),
        "averages over padding",
    ),
    "oblong": (_set(0, batch_input_shape=[None, 64, 32, 3]), "square pictures"),
    "other side": (_set(0, batch_input_shape=[None, 64, 64, 3]), r"leave a 13 × 13 map"),
    "no weights": (lambda m: _layers(m)[0]["config"].update(name="conv"), "no kernel of the layer 'conv'"),
    "residual": (lambda m: _layers(m).insert(4, {"class_name": "Add", "config": {"name": "add"}}), "'add' is a Add"),
    "seven classes of names": (lambda m: _layers(m)[0].update(class_name=["Conv2D"]), "is a "),
}


@pytest.mark.parametrize("name", TFJS_FAULTS)
def test_a_folder_that_is_no_whole_vgg_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.bin").write_bytes(b"secret")
    folder = tiny_net(side=32, hidden=4).tfjs(tmp_path / "net")
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    load(folder)  # it was whole before
    change, words = TFJS_FAULTS[name]
    refused(edited(folder, change), words)


def test_shards_that_are_cut_off_or_no_files_are_refused(tmp_path: Path) -> None:
    folder = tiny_net(side=32, hidden=4).tfjs(tmp_path / "net")
    shard = folder / "group1-shard1.bin"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    refused(folder, "cut off or belongs to another model")
    shard.write_bytes(whole + b"\0")
    refused(folder, "cut off or belongs to another model")
    shard.unlink()
    os.mkfifo(shard)
    refused(folder, "is missing")
    shard.unlink()
    shard.mkdir()
    refused(folder, "is missing")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "without a weightsManifest"),
        ('{"a": 1}', "without a weightsManifest"),
        ('{"weightsManifest": ' + "9" * 5000 + "}", "no JSON"),
        (" " * (16 * 2**20 + 1), "at most"),
        ("\ufeff{}", "without a weightsManifest"),
    ],
)
def test_a_model_json_that_is_none_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "model.json").write_text(text)
    refused(tmp_path, words)
    refused(tmp_path / "model.json", words)


def test_a_chain_whose_layers_do_not_fit_each_other_is_refused(tmp_path: Path) -> None:
    net = tiny_net(side=32, hidden=4)
    net.layers = [layer for layer in net.layers if layer[1]["name"] not in ("conv_2_2", "relu_2_2")]
    refused(net.tfjs(tmp_path / "net"), "pictures of 32 px leave a 6 × 6 map, and the first dense layer reads 5 × 5")


# ---------------------------------------------------------------- Keras

h5 = pytest.importorskip("h5py")

LAYOUTS = {
    "full, functional": lambda net, folder: net.h5(folder / "a.h5", topology=net.functional()),
    "full, sequential": lambda net, folder: net.h5(folder / "a.h5", topology=net.sequential()),
    "full, names of Keras 3": lambda net, folder: net.h5(
        folder / "a.h5", topology=net.functional(3), names="{layer}/{part}"
    ),
    "weights, Keras 2": lambda net, folder: net.h5(folder / "a.h5", topology=None),
    "weights, Keras 1": lambda net, folder: net.h5(folder / "a.h5", topology=None, names="{layer}_{short}_1:0"),
    "weights, Keras 3": lambda net, folder: net.native(folder / "a.weights.h5", noted=True),
    "archive": lambda net, folder: net.keras(folder / "a.keras"),
    "archive, packed": lambda net, folder: net.keras(folder / "a.keras", packed=True),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_a_keras_vgg16_computes_what_keras_would(tmp_path: Path, layout: str) -> None:
    side = 224 if layout == "weights, Keras 1" else 96  # the layout of the files that keras.applications fetches
    net = vgg_net(VGG16, side=side, width=1 / 16)
    path = LAYOUTS[layout](net, tmp_path)
    agrees(path, net, caffe, tolerance=1e-4)
    found = load(path).architecture
    about = describe(found)
    pooled = side // 32 if layout.startswith("weights") else None  # a topology says that there is no average
    assert (about.variant, found.image_side, about.pooled, about.padding) == ("vgg16", side, pooled, 1)
    (guess,) = [one for one in load(path).provenance.evidence if "keras.applications" in one.text]
    assert guess.assumed
    settled = load(path, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)).provenance.evidence
    assert guess not in settled
    assert any("turned round" in one.text for one in settled)  # of the weights, and so still true


def test_numbered_weights_without_any_name_open_too_and_say_what_they_assume(tmp_path: Path) -> None:
    net = vgg_net(VGG11, side=64, width=1 / 16, norm=True, head=(9,), classes=3, applications=False)
    path = net.native(tmp_path / "a.weights.h5")
    agrees(path, net, tolerance=1e-4)
    checkpoint = load(path)
    assert checkpoint.architecture.image_side == 64
    guesses = [str(one) for one in checkpoint.provenance.evidence if one.assumed]
    assert any("Weights alone say no image side" in sentence for sentence in guesses)
    assert any("Preprocessing" in sentence for sentence in guesses)
    assert checkpoint.provenance.ignored_keys == ("optimizer/...",)


@pytest.mark.parametrize("layout", ["full, sequential", "weights, Keras 2", "archive"])
def test_a_keras_tiny_vgg_opens(tmp_path: Path, layout: str) -> None:
    net = tiny_net(side=64, hidden=5, classes=3)
    agrees(LAYOUTS[layout](net, tmp_path), net)


def test_a_vgg_inside_a_sequential_model_opens(tmp_path: Path) -> None:
    # Transfer learning as the Keras guides show it: a nested model, then a head.
    net = vgg_net(VGG11, side=64, width=1 / 16, head=(), classes=3)
    flatten = next(i for i, (kind, _, _) in enumerate(net.layers) if kind == "Flatten")
    inner = KerasNet(64, 3, net.layers[:flatten]).functional()
    outer = KerasNet(64, 3, net.layers[flatten:]).sequential()["config"]["layers"]
    topology = {
        "class_name": "Sequential",
        "config": {
            "name": "both",
            "layers": [{"class_name": "Functional", "name": "vgg11", "config": inner["config"]}, *outer],
        },
    }
    agrees(net.h5(tmp_path / "a.h5", topology=topology), net, caffe, tolerance=1e-4)


def test_a_graph_that_is_no_chain_is_refused(tmp_path: Path) -> None:
    net = vgg_net(VGG11, side=64, width=1 / 16)
    topology = net.functional()
    topology["config"]["layers"][5]["inbound_nodes"] = [[["block1_conv1", 0, 0, {}]]]
    refused(net.h5(tmp_path / "a.h5", topology=topology), "reads 'block1_conv1', the one before it was expected")
    topology["config"]["layers"][5]["inbound_nodes"] = [[["block2_conv1", 0, 0, {}], ["block1_pool", 0, 0, {}]]]
    refused(net.h5(tmp_path / "b.h5", topology=topology), "only networks that are one chain")


def test_a_model_without_its_top_has_no_classes_and_is_refused_where_nothing_shows_its_pools(tmp_path: Path) -> None:
    net = vgg_net(VGG11, side=64, width=1 / 16)
    net.layers = [layer for layer in net.layers if layer[0] in ("Conv2D", "MaxPooling2D")]
    found = load(net.h5(tmp_path / "a.h5", topology=net.functional())).architecture
    assert (found.num_classes, found.plan) == (0, "4 M 8 M 16 16 M 32 32 M 32 32 M")
    assert "include_top=True" in refused(net.native(tmp_path / "a.weights.h5"), "without a classifier")
    net.add("Flatten", "flatten")
    assert load(net.h5(tmp_path / "b.h5", topology=net.functional())).architecture == found


def test_whatever_chain_keras_can_say_computes_what_keras_would(tmp_path: Path) -> None:
    dice = np.random.default_rng(1)

    def kernel(*shape: int) -> np.ndarray:
        return dice.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape)

    net = KerasNet(32, 3)
    net.add("Rescaling", "scale", {"scale": 1 / 255, "offset": 0.0})
    strided = {"kernel_size": [5, 5], "strides": [2, 2], "padding": "same", "activation": "linear"}
    net.add(
        "Conv2D", "a.1", strided, kernel=kernel(5, 5, 3, 6), bias=dice.normal(0, 0.2, 6)
    )  # pads 1 before and 2 behind
    net.add("LeakyReLU", "leaky", {"negative_slope": 0.3})
    net.add("AveragePooling2D", "pool", {"pool_size": [3, 3], "strides": [2, 2], "padding": "same"})
    net.add("ZeroPadding2D", "zeros", {"padding": [[1, 1], [1, 1]]})
    plain = {"kernel_size": [3, 3], "padding": "valid", "activation": "swish", "use_bias": False}
    net.add("Conv2D", "b", plain, kernel=kernel(3, 3, 6, 8))
    net.add("MaxPooling2D", "pool2", {"pool_size": [3, 3], "strides": [2, 2], "padding": "same"})
    net.add("ZeroPadding2D", "uneven", {"padding": [[0, 1], [0, 1]]})
    net.add("Conv2D", "c", {**plain, "strides": [2, 2], "activation": "relu"}, kernel=kernel(3, 3, 8, 8))
    net.add("Flatten", "flatten")
    net.add("Dense", "fc1", {"activation": "tanh", "use_bias": False}, kernel=kernel(2 * 2 * 8, 12))
    numbers = {part: dice.uniform(0.5, 1.5, 12) for part in ("gamma", "beta", "moving_mean", "moving_variance")}
    net.add("BatchNormalization", "bn", {"axis": [1], "epsilon": 1e-3}, **numbers)
    net.add("Dense", "fc2", {"activation": "elu"}, kernel=kernel(12, 5), bias=dice.normal(0, 0.2, 5))
    net.add("Dense", "out", {"activation": "sigmoid"}, kernel=30 * kernel(5, 1), bias=dice.normal(0, 0.2, 1))
    for path in (
        net.h5(tmp_path / "a.h5", topology=net.functional(3)),
        net.tfjs(tmp_path / "net"),
        net.keras(tmp_path / "a.keras"),
    ):
        agrees(path, net, lambda rgb: rgb * 255)
        found = load(path).architecture
        plan = canonical_plan("6/6s2p2+leaky0.3 A3s2cx 8b0+silu M3s2c 8/4s2p1b0 | 12b0+tanh bn 5+elu K")
        assert (found.plan, found.outputs) == (plan, "sigmoid")
        assert found.mean == pytest.approx([0] * 3)
        assert found.std == pytest.approx([1] * 3)


def test_without_h5py_one_sentence_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = tiny_net(side=32, hidden=2)
    files = [net.h5(tmp_path / "a.h5", topology=net.sequential()), net.keras(tmp_path / "a.keras")]
    monkeypatch.setitem(sys.modules, "h5py", None)
    for path in files:
        assert 'pip install "vgg_viz[keras]"' in refused(path, "h5py")


def test_hdf5_that_reaches_out_of_its_file_or_claims_too_much_is_refused(tmp_path: Path) -> None:
    net = tiny_net(side=32, hidden=2)
    (tmp_path / "other.h5").write_bytes(net.h5(tmp_path / "o.h5", topology=None).read_bytes())

    def spoiled(name: str, change: Any) -> Path:
        path = net.h5(tmp_path / f"{name}.h5", topology=net.sequential())
        with h5.File(path, "r+") as file:
            change(file["model_weights"])
        return path

    def external(group: Any) -> None:
        group["conv_1_1/x"] = h5.ExternalLink("other.h5", "/conv_1_1")

    def soft(group: Any) -> None:
        group["conv_1_1/x"] = h5.SoftLink("/model_weights")

    def cycle(group: Any) -> None:
        group["conv_1_1/x"] = group

    def huge(group: Any) -> None:
        group.create_dataset("conv_1_1/x", shape=(10**6, 10**6), dtype="f4", chunks=True)

    def raw(group: Any) -> None:
        group.create_dataset("conv_1_1/x", shape=(10,), dtype="u1", external=[(str(tmp_path / "other.h5"), 0, 10)])

    def texts(group: Any) -> None:
        del group["conv_1_1/conv_1_1/kernel:0"]
        group["conv_1_1/conv_1_1/kernel:0"] = "a text"

    def whole_numbers(group: Any) -> None:
        shape = group["conv_1_1/conv_1_1/kernel:0"].shape
        del group["conv_1_1/conv_1_1/kernel:0"]
        group["conv_1_1/conv_1_1/kernel:0"] = np.ones(shape, "i4")

    for name, change, words in (
        ("external", external, "is a link"),
        ("soft", soft, "is a link"),
        ("cycle", cycle, "more groups"),
        ("huge", huge, "declares more"),
        ("raw", raw, "in another file"),
        ("texts", texts, "numbers were expected"),
        ("whole", whole_numbers, "floating-point weights"),
    ):
        refused(spoiled(name, change), words)


def test_damaged_keras_files_and_bombs_are_refused(tmp_path: Path) -> None:
    net = tiny_net(side=32, hidden=2)
    whole = net.h5(tmp_path / "a.h5", topology=net.sequential()).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.h5", "damaged or no whole Keras file")
    (tmp_path / "text.h5").write_text("hello")
    refused(tmp_path / "text.h5", "damaged or no Keras file")
    with h5.File(tmp_path / "empty.h5", "w"):
        pass
    refused(tmp_path / "empty.h5", "without Keras layers")
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(30 * 2**20))
    refused(tmp_path / "bomb.keras", "no file of Keras")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("a", "b")
    refused(tmp_path / "other.keras", "damaged or no Keras file")


@pytest.mark.parametrize("names", [("images", "labels"), ("data/conv1_1/0", "data/conv1_1/1"), ("features.0.weight",)])
def test_hdf5_of_other_makers_is_told_by_what_it_holds(tmp_path: Path, names: tuple[str, ...]) -> None:
    with h5.File(tmp_path / "a.h5", "w") as file:
        for name in names:
            file[name] = np.ones((4, 3, 3, 3), "f4")
    first = names[0].split("/")[0]
    assert f"(it holds {first!r}" in refused(tmp_path / "a.h5", "is an HDF5 file without Keras layers")
    with h5.File(tmp_path / "b.h5", "w") as file:
        file["names"] = np.array([b"a", b"b"])
    refused(tmp_path / "b.h5", "is an HDF5 file without Keras layers")


def test_a_heap_of_texts_on_which_hdf5_would_run_for_ever_is_refused(tmp_path: Path) -> None:
    # Found by mutation: the library walks over free space of 0 bytes without end, where no signal reaches it.
    net = tiny_net(side=32, hidden=2)
    raw = bytearray(net.h5(tmp_path / "a.h5", topology=net.sequential()).read_bytes())
    load(tmp_path / "a.h5")
    at = raw.index(b"GCOL") + 16
    raw[at : at + 2] = bytes(2)  # the first object becomes free space
    raw[at + 8 : at + 16] = bytes(8)
    (tmp_path / "a.h5").write_bytes(raw)
    refused(tmp_path / "a.h5", "a heap of texts is not whole")


# ---------------------------------------------------------------- safetensors


def test_torchvisions_keys_in_safetensors_open_as_those_in_a_torch_file(tmp_path: Path) -> None:
    model = build("vgg11_bn", width=1 / 16, num_classes=4, image_side=64, seed=2)
    save_file(model.state_dict(), tmp_path / "a.safetensors", metadata={"format": "pt"})
    torch.save(model.state_dict(), tmp_path / "a.pt")
    back, other = load(tmp_path / "a.safetensors"), load(tmp_path / "a.pt")
    assert back.architecture == other.architecture
    assert back.provenance.format == "torchvision"
    assert any("format: pt" in sentence for sentence in map(str, back.provenance.evidence))
    assert all(torch.equal(back.weights[key], value) for key, value in model.state_dict().items())


def test_safetensors_stay_mapped_on_disk(tmp_path: Path) -> None:
    model = build("vgg11", width=1 / 2, num_classes=4, image_side=64)
    path = tmp_path / "mapped-on-disk.safetensors"
    save_file(model.state_dict(), path)
    checkpoint = read_checkpoint(path)
    with open("/proc/self/maps") as maps:
        assert path.name in maps.read()
    assert checkpoint.weights["features.0.weight"].shape == (32, 3, 3, 3)


def test_a_file_without_the_suffix_and_a_folder_open_too(tmp_path: Path) -> None:
    model = build("tiny_vgg", seed=4)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "blob").write_bytes((tmp_path / "model.safetensors").read_bytes())
    for path in (tmp_path, tmp_path / "blob"):
        assert torch.equal(load(path).weights["classifier.1.bias"], model.state_dict()["classifier.1.bias"])
    assert sha256(tmp_path) == sha256(tmp_path / "blob")


def test_a_model_in_several_safetensors_files_opens_by_its_index(tmp_path: Path) -> None:
    weights = build("tiny_vgg", seed=4).state_dict()
    names = sorted(weights)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, keys in parts.items():
        save_file({key: weights[key] for key in keys}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    places = {key: file for file, keys in parts.items() for key in keys}
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    for path in (index, tmp_path):
        assert all(torch.equal(load(path).weights[key], value) for key, value in weights.items())
    for changed, words in (
        ({**places, "more": "a.safetensors"}, "'more', which none"),
        ({"x": "../c.safetensors"}, "outside its folder"),
        ({"x": "c.safetensors"}, "is missing"),
        ({}, "no weight_map"),
        ([1], "no weight_map"),
    ):
        index.write_text(json.dumps({"weight_map": changed}))
        refused(index, words)
    save_file(weights, tmp_path / "b.safetensors")
    index.write_text(json.dumps({"weight_map": places}))
    refused(index, "two of the files")


def written(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)
    return path


def entry(kind: str = "F32", shape: Any = (2,), place: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": kind, "shape": list(shape), "data_offsets": list(place)}


@pytest.mark.parametrize(
    ("header", "data", "length", "words"),
    [
        ({"a": entry()}, bytes(8), 2**40, "declares a header of"),
        ({"a": entry()}, bytes(8), 2**63, "declares a header of"),
        ({"a": entry()}, bytes(4), None, "incomplete metadata"),
        ({"a": entry()}, bytes(12), None, "incomplete metadata"),
        ({"a": entry(), "b": entry()}, bytes(8), None, "invalid offset"),
        ({"a": entry(place=(8, 0))}, bytes(8), None, "invalid offset"),
        ({"a": entry(), "b": entry(place=(4, 12))}, bytes(12), None, "invalid offset"),
        ({"a": entry(shape=(2**40, 2**40))}, bytes(8), None, "overflow"),
        ({"a": entry(shape=(2**34,))}, bytes(8), None, "damaged"),
        ({"a": entry("F33")}, bytes(8), None, "unknown variant"),
        ({"a": entry("BOOL", (8,))}, bytes(8), None, "no VGG checkpoint"),
        ({"a": entry(shape=(0, 2**62), place=(0, 0))}, b"", None, "no VGG checkpoint"),
        ({"a": 7}, b"", None, "damaged"),
        ({"__metadata__": {"a": 1}, "b": entry()}, bytes(8), None, "damaged"),
        ([], b"", None, "cannot be read"),
        ({"__metadata__": [1]}, b"", None, "cannot be read"),
        (b"\xff{" * 9, b"", None, "cannot be read"),
        (b'{"a":' * 9000, b"", None, "cannot be read"),
        (b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2), bytes(8), None, "'a' stands in it twice"),
        (b" " * (17 * 2**20), b"", None, "at most"),
        ({}, b"", None, "no VGG checkpoint"),
    ],
)
def test_a_header_that_lies_is_refused_in_one_sentence_and_without_room_for_what_it_claims(
    tmp_path: Path, header: Any, data: bytes, length: int | None, words: str
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(written(tmp_path / "a.safetensors", header, data, length), words)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB


def test_a_pointer_of_git_lfs_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "vgg.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 553433881\n"
    )
    refused(tmp_path / "vgg.safetensors", "git lfs pull")


# ---------------------------------------------------------------- faults by the hundred


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("seeds")
    net = tiny_net(side=32, hidden=2, classes=3)
    save_file(build("tiny_vgg", image_side=32, width=0.2, num_classes=3).state_dict(), folder / "a.safetensors")
    net.tfjs(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_file_loads_rightly_or_is_refused_in_a_sentence(
    tmp_path: Path, seeds: dict[str, bytes], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(seeds)))
    raw = bytearray(seeds[name])
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "digits"]))
    # The first kilobytes hold all that is not weights.
    at = data.draw(st.integers(0, min(len(raw), 4000) - 1))
    if kind == "flip":
        raw[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del raw[at:]
    elif kind == "insert":
        raw[at:at] = data.draw(st.binary(min_size=1, max_size=8))
    else:
        raw[at : at + 1] = b"99999999999"
    for other, content in seeds.items():
        (tmp_path / other).write_bytes(raw if other == name else content)
    path = tmp_path / "a.safetensors" if name == "a.safetensors" else tmp_path / "model.json"
    try:
        model = build(load(path))
    except InputRefused as error:
        said = str(error)
    else:
        with torch.no_grad():
            said = f"{model(torch.zeros(1, 3, 32, 32)).shape[0]} picture."
    assert "\n" not in said
    assert said.endswith((".", "?"))
