"""Files that are something else than they were given for: called what they are, with the step that helps."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from vgg_viz.data.folder import open_folder, read_images
from vgg_viz.errors import CheckpointRefused, DataRefused, ImageRefused
from vgg_viz.maths.images import decode
from vgg_viz.models.checkpoint import load


def field(number: int, content: bytes | int) -> bytes:
    """One field of a protocol buffer, as https://protobuf.dev/programming-guides/encoding has it."""

    def varint(value: int) -> bytes:
        low, high = value & 127, value >> 7
        return bytes([low | 128]) + varint(high) if high else bytes([low])

    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def saved(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


def onnx_network() -> bytes:
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    return bytes(onnx.helper.make_model(graph).SerializeToString())


LAYER = field(1, b"conv1_1") + field(2, b"Convolution") + field(7, field(5, bytes(4000)))
NODE = field(1, b"conv1/weights") + field(2, b"Const") + field(5, field(1, b"dtype") + field(2, field(6, 1)))
DICOM = bytes(128) + b"DICM\x02\0\0\0UL\x04\0" + bytes(60)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)

# name -> bytes, what it is called, and a word of the step that helps
NETWORKS: dict[str, tuple[bytes, str, str]] = {
    "vgg16.caffemodel": (
        field(1, b"VGG_ILSVRC_16_layers") + 3 * field(100, LAYER),
        "a Caffe network",
        "readNetFromCaffe",
    ),
    "old.caffemodel": (field(1, b"net") + field(2, field(4, b"conv1_1") + field(5, 4)), "a Caffe network", "getParam"),
    "renamed.pth": (field(1, b"VGG") + 3 * field(100, LAYER), "a Caffe network", "state_dict"),
    "deploy.prototxt": (b'name: "VGG"\nlayer {\n  name: "conv1_1"\n}\n', "plan .* without weights", "caffemodel"),
    "model.pb": (5 * field(1, NODE) + field(4, field(1, 27)), "a frozen TensorFlow graph", "Keras"),
    "saved_model.pb": (
        field(1, 1) + field(2, field(1, field(4, b"serve")) + field(2, 9 * field(1, NODE))),
        "SavedModel",
        "h5",
    ),
    "net.mlmodel": (
        field(1, 4) + field(2, field(1, field(1, b"image"))) + field(403, bytes(50)),
        "Core ML",
        "built from",
    ),
    "net.tflite": (b"\x1c\0\0\0TFL3" + bytes(99), "a TensorFlow Lite network", "Keras"),
    "net.engine": (b"ftrt" + bytes(99), "a TensorRT engine", "built from"),
    "raw.engine": (bytes(range(1, 200)), "a TensorRT engine", "built from"),
    "net.xml": (b'<?xml version="1.0"?>\n<net name="vgg" version="11">', "an OpenVINO network", "built from"),
    "net.param": (b"7767517\n33 33\nInput data 0 1 data", "an ncnn network", "built from"),
    "net.params": (b"\x12\x01" + bytes(14) + bytes(range(9)) * 9, "an MXNet network", "state_dict"),
    "yolo.weights": (b"\0\0\0\0\x02\0\0\0\x05\0\0\0" + bytes(range(99)), "a Darknet network", "state_dict"),
    "yolo.cfg": (b"[net]\nbatch=1\n[convolutional]\nfilters=64\n", "a Darknet network's plan", "state_dict"),
    "group1-shard1of2.bin": (np.arange(9, dtype="<f4").tobytes() + b"\xff" * 99, "a shard", "model.json"),
}
DATA: dict[str, tuple[bytes, str, str]] = {
    "old.mat": (saved(lambda file: scipy.io.savemat(file, {"layers": np.ones(3)})), "a MATLAB file", "loadmat"),
    "new.mat": (
        b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(99),
        "a MATLAB",
        "h5py",
    ),
    "one.npy": (saved(lambda file: np.save(file, np.ones((2, 3)))), "a NumPy array", "state_dict"),
    "some.npz": (saved(lambda file: np.savez(file, conv1_1_W=np.ones(3))), r"NumPy arrays \(\.npz\)", "state_dict"),
    "scan.dcm": (DICOM, "a DICOM file", "--images"),
    "IMG_1.HEIC": (HEIC, "an HEIC file", "--images"),
    "page.pth": (b"\n<!DOCTYPE html>\n<html lang='en'>", "a web page", "download the file itself"),
    "error.pth": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML file", "weights"),
    "pointer.pth": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        "a Git LFS pointer",
        "git lfs pull",
    ),
    "a.jpg": (b"\xff\xd8\xff\xe0" + bytes(99), "a JPEG picture", "--images"),
    "a.tar": (saved(lambda file: file.write(bytes(257) + b"ustar" + bytes(250))), "a tar archive", "unpack"),
    "a.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7-Zip archive", "unpack"),
    "a.rar": (b"Rar!\x1a\x07\0" + bytes(99), "a RAR archive", "unpack"),
    "a.mar": (zipped("MAR-INF/MANIFEST.json", "model.pt"), "a TorchServe archive", "unpack"),
    "a.docx": (zipped("[Content_Types].xml", "word/document.xml"), "an Office document", "weights"),
    "a.ipynb": (b'{\n "cells": [\n  {\n   "cell_type": "code"', "a Jupyter notebook", "state_dict"),
    "net.py": (b"import torch\n\nclass Net(torch.nn.Module):\n    pass\n", "a Python program", "weights that it saved"),
}


@pytest.mark.parametrize("name", [*NETWORKS, *DATA])
def test_a_file_of_another_kind_given_as_a_checkpoint_is_called_what_it_is(name: str, tmp_path: Path) -> None:
    content, what, step = (NETWORKS | DATA)[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointRefused, match=what) as refused:
        load(tmp_path / name)
    said = str(refused.value)
    assert said.startswith(f"'{name}' is ")
    assert step in said
    assert "damaged" not in said


@pytest.mark.parametrize("suffix", [".h5", ".safetensors", ".keras", ".json", ".pt"])
def test_a_page_saved_in_the_place_of_any_checkpoint_is_called_a_page(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"x{suffix}").write_bytes(b"<!doctype html><html><head><title>GitHub</title>")
    with pytest.raises(CheckpointRefused, match="is a web page"):
        load(tmp_path / f"x{suffix}")


def test_an_onnx_network_is_never_called_damaged(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    (tmp_path / "x.bin").write_bytes(onnx_network())
    with pytest.raises(CheckpointRefused, match="ONNX"):
        load(tmp_path / "x.bin")


def test_a_folder_that_is_a_network_of_tensorflow_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    (tmp_path / "variables").mkdir()
    with pytest.raises(CheckpointRefused, match=r"is a TensorFlow SavedModel; give the Keras model"):
        load(tmp_path)


@pytest.mark.parametrize("name", [*NETWORKS, *DATA])
def test_a_file_of_another_kind_given_as_a_picture_is_called_what_it_is(name: str) -> None:
    content, what, _ = (NETWORKS | DATA)[name]
    with pytest.raises(ImageRefused, match=what):
        decode(content, name=name)


@pytest.mark.parametrize(
    ("name", "step"),
    [("scan.dcm", "PNG, for example with"), ("IMG_1.HEIC", "JPEG or PNG"), ("one.npy", "Image.fromarray")],
)
def test_pictures_of_other_kinds_are_told_with_what_converts_them(name: str, step: str, tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / name).write_bytes(DATA[name][0])
    with pytest.raises(ImageRefused, match=step):
        read_images(tmp_path / "cat" / name)
    for read in (read_images, open_folder):
        with pytest.raises(DataRefused, match=step):
            read(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "cat" / "a.png")
    ((_, why),) = open_folder(tmp_path).skipped
    assert step in why


def test_a_file_cut_short_is_still_damaged(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04" + bytes(range(200)))
    with pytest.raises(CheckpointRefused, match="damaged"):
        load(tmp_path / "x.pt")
