"""What a file is that another was expected in the place of: told by its bytes, or else by its name; nothing in it is run."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO

HEAD = 4096  # bytes that are looked at
NO_PICTURE = "pictures are JPEG, PNG, GIF, BMP, TIFF, WebP and PPM"
NO_NETWORK = "give the file with the network's weights, and pictures by --images"
TORCH = "save the network's state_dict() with torch.save"
KERAS = "give the Keras model that it was made from (.keras or .h5), or an ONNX file of it (python -m tf2onnx.convert)"
SOURCE = "give the PyTorch, Keras or ONNX file that it was built from"


@dataclass(frozen=True, slots=True)
class FileKind:
    """One kind of file.

    Attributes:
        what: With its article: "a Caffe network (.caffemodel)".
        for_network: The next step of who gave it as a checkpoint.
        for_picture: The next step of who gave it as a picture.
    """

    what: str
    for_network: str
    for_picture: str = NO_PICTURE


def file_kind(file: BinaryIO) -> FileKind | None:
    """What a file is, by its bytes; None where they are a stranger's, or those of a checkpoint or a picture that is read.

    Args:
        file: Open at its start, and seekable.
    """
    head = file.read(HEAD)
    if head[4:9] == b"\0\0\0\0{":  # the length of a safetensors header may be any of the beginnings below
        return None
    for test, kind in _BY_BYTES:
        if test(head):
            return kind
    if head.startswith(b"PK\x03\x04"):
        return _archived(file)
    return _graph(file, head) or (_text(head) if is_text(head) else None)


def kind_by_name(name: str) -> FileKind | None:
    """What a file's name says that it is, where its bytes say nothing."""
    return next((kind for suffix, kind in _BY_NAME if re.search(suffix, name.lower())), None)


def kind_of_folder(names: Iterable[str]) -> FileKind | None:
    """What a folder is, by the names in it, where a network is a folder."""
    inside = set(names)
    return next((kind for name, kind in _FOLDERS if name in inside), None)


def is_text(head: bytes) -> bool:
    """Whether a file that begins so is a text."""
    return b"\0" not in head and all(byte >= 32 or byte in b"\t\r\n\f" for byte in head[:256])


# ---------------------------------------------------------------- by the first bytes


def _network(name: str, step: str) -> FileKind:
    return FileKind(name, step, f"a network is no picture; {NO_PICTURE}")


def _picture(name: str, step: str) -> FileKind:
    return FileKind(name, NO_NETWORK, step)


def _packed(name: str) -> FileKind:
    return FileKind(f"{name} archive", "unpack it, and give the file inside", "unpack it, and give the pictures inside")


JPEG = "convert it to JPEG or PNG"
DAMAGED = "it is cut short or damaged, take another copy"
CAFFE = _network(
    "a Caffe network (.caffemodel)",
    f"read its weights with OpenCV 4 (cv2.dnn.readNetFromCaffe, getParam), put them into a PyTorch network, and {TORCH}",
)
PROTOTXT = _network(
    "a Caffe network's plan (.prototxt) without weights",
    "the weights lie in a .caffemodel; give a PyTorch or Keras file",
)
SAVED_MODEL = _network("a TensorFlow SavedModel", KERAS)
FROZEN = _network("a frozen TensorFlow graph (.pb)", KERAS)
COREML = _network("a Core ML network", SOURCE)
OPENVINO = _network("an OpenVINO network", SOURCE)
ENGINE = _network("a TensorRT engine, compiled for one GPU", SOURCE)
ONNX = _network("an ONNX network", "give the PyTorch or Keras file that it was exported from")
TFLITE = _network("a TensorFlow Lite network (.tflite)", KERAS)
MATLAB = FileKind(
    "a MATLAB file (.mat)",
    f"read it with scipy.io.loadmat (or h5py from version 7.3 on), put the weights into a PyTorch network, and {TORCH}",
    "save the picture in it as PNG (imwrite)",
)
NUMPY = FileKind(
    "a NumPy array (.npy)",
    f"arrays do not say which layer they belong to; put them into a PyTorch network, and {TORCH}",
    "save it as PNG (PIL.Image.fromarray)",
)
ARRAYS = FileKind("a file of NumPy arrays (.npz)", NUMPY.for_network, NUMPY.for_picture)
HEIC = _picture("an HEIC file (as iPhones write)", f"{JPEG}, for example with heif-convert of libheif")
DICOM = _picture(
    "a DICOM file (medical)",
    "convert it to PNG, for example with pydicom, in the window that the network was trained on",
)
PAGE = FileKind(
    "a web page (HTML), saved in the place of a file",
    "download the file itself, not the page about it",
    "download the picture itself, not the page about it",
)
POINTER = FileKind(
    "a Git LFS pointer, not the file itself", "fetch it with `git lfs pull`", "fetch it with `git lfs pull`"
)
RAW = _picture("a camera's raw file", JPEG)
SVG = _picture("an SVG file", JPEG)
VIDEO = FileKind("a video", NO_NETWORK, "save single frames of it as PNG")
PADDLE = _network("a PaddlePaddle network", f"put its weights into a PyTorch network, and {TORCH}")

Test = Callable[[bytes], bool]


def _starts(*beginnings: bytes) -> Test:
    return lambda head: head.startswith(beginnings)


def _at(place: int, *words: bytes) -> Test:
    return lambda head: head[place:].startswith(words)


_BY_BYTES: tuple[tuple[Test, FileKind], ...] = (
    (_starts(b"version https://git-lfs"), POINTER),
    (_starts(b"\x93NUMPY"), NUMPY),
    (_starts(b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"), MATLAB),
    (_at(4, b"TFL3"), TFLITE),
    (_starts(b"ftrt", b"ptrt"), ENGINE),
    (_starts(b"RKNN"), _network("an RKNN network, compiled for Rockchip processors", SOURCE)),
    (_starts(b"GGUF", b"ggml"), _network("a GGUF file (llama.cpp), which holds a language model", SOURCE)),
    (
        _starts(b"\x12\x01" + bytes(14)),
        _network("an MXNet network (.params)", f"put its weights into a PyTorch network, and {TORCH}"),
    ),
    (_starts(b"7767517\n"), _network("an ncnn network's plan (.param)", SOURCE)),
    (_at(128, b"DICM"), DICOM),
    (_at(4, b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypheim", b"ftypheis", b"ftypmif1", b"ftypmsf1"), HEIC),
    (_at(4, b"ftypcrx "), RAW),
    (_at(4, b"ftypavif", b"ftypavis"), _picture("an AVIF file", JPEG)),
    (_at(4, b"ftyp"), VIDEO),
    (_starts(b"\x1aE\xdf\xa3", b"FLV\x01"), VIDEO),
    (lambda head: head.startswith(b"RIFF") and head[8:12] == b"AVI ", VIDEO),
    (_starts(b"8BPS"), _picture("a Photoshop file (.psd)", JPEG)),
    (_starts(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), _picture("a JPEG 2000 file", JPEG)),
    (_starts(b"\0\0\0\x0cJXL ", b"\xff\x0a"), _picture("a JPEG XL file", JPEG)),
    (_starts(b"\x76\x2f\x31\x01"), _picture("an OpenEXR file", JPEG)),
    (_starts(b"#?RADIANCE", b"#?RGBE"), _picture("a Radiance HDR file", JPEG)),
    (_starts(b"SIMPLE  ="), _picture("a FITS file", JPEG)),
    (_at(344, b"n+1\0", b"ni1\0"), _picture("a NIfTI file (medical)", "save single slices of it as PNG")),
    (_starts(b"\x89PNG"), FileKind("a PNG picture", NO_NETWORK, DAMAGED)),
    (_starts(b"\xff\xd8\xff"), FileKind("a JPEG picture", NO_NETWORK, DAMAGED)),
    (_starts(b"GIF8"), FileKind("a GIF picture", NO_NETWORK, DAMAGED)),
    (_starts(b"II*\0", b"MM\0*"), FileKind("a TIFF picture", NO_NETWORK, DAMAGED)),
    (lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP", FileKind("a WebP picture", NO_NETWORK, DAMAGED)),
    (_starts(b"%PDF"), FileKind("a PDF document", NO_NETWORK, "save its pictures as PNG")),
    (_starts(b"\x1f\x8b"), _packed("a gzip")),
    (_starts(b"BZh"), _packed("a bzip2")),
    (_starts(b"\xfd7zXZ"), _packed("an xz")),
    (_starts(b"\x28\xb5\x2f\xfd"), _packed("a Zstandard")),
    (_starts(b"7z\xbc\xaf\x27\x1c"), _packed("a 7-Zip")),
    (_starts(b"Rar!"), _packed("a RAR")),
    (_at(257, b"ustar"), _packed("a tar")),
    (_starts(b"\x7fELF", b"MZ\x90"), FileKind("a program", NO_NETWORK)),
    (_starts(b"PAR1"), FileKind("a Parquet table", NO_NETWORK, "save its pictures as PNG")),
    (_starts(b"SQLite format 3\0"), FileKind("an SQLite database", NO_NETWORK)),
)
# Where bytes say nothing, a name may: these begin with the weights themselves, or as some other file does.
_BY_NAME: tuple[tuple[str, FileKind], ...] = (
    (r"\.caffemodel$", CAFFE),
    (r"\.prototxt$", PROTOTXT),
    (
        r"\.binaryproto$",
        _network("a Caffe mean picture (.binaryproto)", "give the mean by --mean, and the network's file"),
    ),
    (r"\.mat$", MATLAB),
    (r"\.npy$", NUMPY),
    (r"\.npz$", ARRAYS),
    (r"\.(engine|trt|plan)$", ENGINE),
    (r"\.mlmodel$", COREML),
    (r"\.tflite$", TFLITE),
    (r"\.onnx$", ONNX),
    (r"\.pb$", FROZEN),
    (r"\.weights$", _network("a Darknet network (.weights)", f"load it with the program that trained it, and {TORCH}")),
    (r"\.(heic|heif)$", HEIC),
    (r"\.(dcm|dicom)$", DICOM),
    (r"\.(nef|cr2|cr3|arw|dng|raf|orf|rw2)$", RAW),
    (r"\.svg$", SVG),
    (r"\.msgpack$", _network("a Flax network (.msgpack)", f"put its weights into a PyTorch network, and {TORCH}")),
    (r"\.pd(params|model|iparams)$", PADDLE),
    (r"\.ckpt(-\d+)?\.(index|meta|data-\d+-of-\d+)$", _network("a part of a TensorFlow checkpoint", KERAS)),
    (r"shard\d+of\d+(\.bin)?$", _network("a shard of a TensorFlow.js model", "give the model.json beside it")),
)
_FOLDERS = (
    ("saved_model.pb", SAVED_MODEL),
    ("Manifest.json", COREML),
    ("coremldata.bin", COREML),
    ("checkpoint", _network("a folder of TensorFlow checkpoints", KERAS)),
)


def _archived(file: BinaryIO) -> FileKind | None:
    """What a zip archive holds, where neither PyTorch nor Keras wrote it."""
    try:
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return ARRAYS
    if "[Content_Types].xml" in names:
        return FileKind("an Office document", NO_NETWORK, "save its pictures as PNG")
    if "MAR-INF/MANIFEST.json" in names:
        return FileKind("a TorchServe archive (.mar)", "unpack it as a zip, and give the .pt file inside")
    if any(name.endswith(".mlmodel") and "com.apple.CoreML" in name for name in names):
        return COREML
    if any(PurePath(name).name == "saved_model.pb" for name in names):
        return SAVED_MODEL
    return None


# ---------------------------------------------------------------- texts


def _text(head: bytes) -> FileKind | None:
    words = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    lower = words[:1024].lower()
    if lower.startswith(("<!doctype html", "<html", "<head", "<!doctype>")) or "<html" in lower[:512]:
        return PAGE
    if re.match(r"(<\?xml[^>]*>\s*)?<net\s", lower):
        return OPENVINO
    if "<svg" in lower:
        return SVG
    if lower.startswith("<?xml") or re.match(r"<\w+[ >]", lower):
        return FileKind("an XML file", NO_NETWORK)
    if re.search(r"^\s*layers?\s*\{", words, re.MULTILINE) or re.match(r"(name|net|train_net)\s*:\s*\"", words):
        return PROTOTXT
    if re.search(r"^\[(net|convolutional)\]", words, re.MULTILINE):
        return _network("a Darknet network's plan (.cfg) without weights", TORCH)
    if words.startswith("model_checkpoint_path:"):
        return _network("the list of a TensorFlow checkpoint", KERAS)
    if words.startswith("{") and re.match(r'\{\s*"(cells|metadata|nbformat)"', words) and '"cell' in words:
        return FileKind("a Jupyter notebook", f"run it, and {TORCH}")
    if re.search(r"^(import|from) [\w.]+", words, re.MULTILINE) and re.search(r"^(class|def) \w+", words, re.MULTILINE):
        return FileKind("a Python program", "give the weights that it saved")
    return None


# ---------------------------------------------------------------- protocol buffers, which have no beginning of their own


def _graph(file: BinaryIO, head: bytes) -> FileKind | None:
    """Caffe's, TensorFlow's, ONNX's and Core ML's networks, by the numbers of their outermost fields."""
    if not head or head[0] not in (0x08, 0x0A, 0x12, 0x3A):
        return None
    fields = _fields(file)
    if fields is None:
        return None
    kinds = {number: kind for number, kind, _ in fields}
    inside = {number: begin for number, _, begin in reversed(fields)}
    names = set(kinds)
    if kinds.get(7) == 2 and kinds.get(1) == 0 and names <= {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}:
        return ONNX
    if kinds == {1: 0, 2: 2} and inside[2][:1] == b"\x0a" and kinds.get(1) == 0:
        return SAVED_MODEL
    if kinds.get(1) == 0 and kinds.get(2) == 2 and any(200 <= number <= 3000 for number in names):
        return COREML
    if (100 in names or 2 in names) and kinds.get(1, 2) == 2 and names <= {1, 2, 3, 4, 5, 6, 7, 8, 100}:
        layer = inside.get(100, inside.get(2, b""))
        return CAFFE if layer[:1] in (b"\x0a", b"\x12", b"\x22") and kinds.get(4, 0) in (0, 2) else None
    if (
        1 in names
        and names <= {1, 2, 3, 4}
        and kinds[1] == 2
        and re.match(rb"\x0a.[\w./-]+\x12.\w+", inside[1], re.DOTALL)
    ):
        return FROZEN
    return None


def _fields(file: BinaryIO, most: int = 4096) -> list[tuple[int, int, bytes]] | None:
    """(number, wire type, first 64 bytes) of each outermost field; None where the bytes are no protocol buffer.

    Source: https://protobuf.dev/programming-guides/encoding
    """
    file.seek(0, 2)
    end = file.tell()
    file.seek(0)
    found: list[tuple[int, int, bytes]] = []
    while file.tell() < end and len(found) < most:
        tag = _varint(file)
        if tag is None or not 0 < tag >> 3 < 2**20:
            return None
        number, kind = tag >> 3, tag & 7
        size = {1: 8, 5: 4}.get(kind, 0)
        if kind == 0:
            if _varint(file) is None:
                return None
        elif kind == 2:
            length = _varint(file)
            if length is None:
                return None
            size = length
        elif kind not in (1, 5):
            return None
        here = file.tell()
        if here + size > end:
            return None
        found.append((number, kind, file.read(min(size, 64))))
        file.seek(here + size)
    return found


def _varint(file: BinaryIO) -> int | None:
    value = 0
    for place in range(10):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << (7 * place)
        if byte[0] < 128:
            return value
    return None
