"""ONNX files: what is read of a graph computes what onnxruntime computes, whoever wrote it; what is no chain is refused by its name."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import settled
from torch import nn

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load, sha256
from vgg_viz.models.export import export
from vgg_viz.models.plan import canonical_plan
from vgg_viz.models.uneven_padding import Sliding, convolved, pooled, same

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT


class Graph:
    """A graph with one path from "x": every `add` reads what the one before gave."""

    def __init__(self, shape: tuple[Any, ...], *, opset: int = 17, seed: int = 0) -> None:
        self.shape, self.opset, self.dice = shape, opset, np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}
        self.last = "x"

    def constant(self, value: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(value)
        return name

    def weight(self, *shape: int) -> str:
        return self.constant(self.dice.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype("f4"))

    def vector(self, *shape: int, low: float = -0.3, high: float = 0.3) -> str:
        return self.constant(self.dice.uniform(low, high, shape).astype("f4"))

    def add(self, kind: str, *more: str, first: str | None = None, **said: Any) -> str:
        out = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [first or self.last, *more], [out], name=f"net/{out}", **said))
        self.last = out
        return out

    def conv(self, inputs: int, outputs: int, kernel: int = 3, *, bias: bool = True, **said: Any) -> None:
        more = [self.weight(outputs, inputs, kernel, kernel), *([self.vector(outputs)] if bias else [])]
        self.add("Conv", *more, **said)

    def dense(self, inputs: int, outputs: int) -> None:
        self.add("MatMul", self.constant(self.dice.normal(0, (2 / inputs) ** 0.5, (inputs, outputs)).astype("f4")))
        self.add("Add", self.vector(outputs))

    def model(self, outputs: tuple[str, ...] = ()) -> Any:
        values = [helper.make_tensor_value_info("x", FLOAT, self.shape)]
        given = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs or (self.last,)]
        kept = [onnx.numpy_helper.from_array(value, name) for name, value in self.weights.items()]
        graph = helper.make_graph(self.nodes, "g", values, given, kept)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9, producer_name="tf2onnx"
        )

    def save(self, path: Path) -> Path:
        onnx.save_model(self.model(), path)
        return path


def theirs(path: Path, images: torch.Tensor) -> torch.Tensor:
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (name,) = (one.name for one in session.get_inputs())
    return torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def agrees(
    path: Path, *, side: int = 32, channels: int = 3, last: bool = False, ending: Any = lambda logits: logits
) -> str:
    """Loads the file, compares logits with onnxruntime's on pictures, and returns the plan."""
    checkpoint = load(path, mean=(0.0,) * channels, std=(1.0,) * channels)
    images = torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(3))
    wanted = theirs(path, images.permute(0, 2, 3, 1).contiguous() if last else images)
    with torch.no_grad():
        found = ending(build(checkpoint)(images))
    assert wanted.std() > 1e-4
    assert float((found - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())
    assert checkpoint.architecture.image_side == side
    return checkpoint.architecture.plan


def refused(path: Path, words: str) -> str:
    with pytest.raises(CheckpointRefused, match=words) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- as torch writes them


class Course(nn.Module):
    """A network as people write it: view, functional calls, batch norm, an average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.Conv2d(6, 8, 5, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.fc1, self.fc2 = nn.Linear(8 * 36, 12), nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.silu(self.norm(self.a(x)))
        x = nn.functional.avg_pool2d(nn.functional.leaky_relu(self.b(x), 0.2), 2, ceil_mode=True)
        return self.fc2(nn.functional.gelu(self.fc1(x.view(x.size(0), -1))))


def written(path: Path, *, dynamo: bool, fixed: bool = False) -> Course:
    torch.manual_seed(0)
    made = Course()
    settled(made)
    names = {"input_names": ["x"], "output_names": ["y"]}
    batch: dict[str, Any] = {} if fixed else {"dynamic_axes": {"x": {0: "batch"}}}
    if dynamo:
        batch = {"dynamic_shapes": ({0: torch.export.Dim("batch", min=1)},), "verbose": False}
    images = torch.rand(1 + dynamo, 3, 28, 28)
    quiet(lambda: torch.onnx.export(made, (images,), path, dynamo=dynamo, **names, **batch))
    return made


def quiet(call: Callable[[], Any]) -> None:
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        call()


@pytest.mark.parametrize("how", ["dynamo", "legacy", "legacy, one picture"])
def test_a_network_that_torch_exported_is_the_network(how: str, tmp_path: Path) -> None:
    made = written(tmp_path / "x.onnx", dynamo=how == "dynamo", fixed="one" in how)
    checkpoint = load(tmp_path / "x.onnx", mean=(0, 0, 0), std=(1, 1, 1))
    images = torch.rand(3, 3, 28, 28, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        wanted, found = made(images), build(checkpoint)(images)
    assert float((found - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())
    plan = canonical_plan("6+silu 8/5s2p0+leaky0.2 A2c | 12+gelu K")  # the exporters fold batch norm into convolutions
    assert checkpoint.architecture.plan == plan
    assert any("read from the graph" in str(one) for one in checkpoint.provenance.evidence)


def test_what_export_writes_is_read_with_its_names_and_normalisation(tmp_path: Path) -> None:
    whole = load(None)
    export(whole, tmp_path / "x.onnx")
    back = load(tmp_path / "x.onnx")
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(build(back)(images), build(whole)(images), atol=1e-5)
    assert back.classes == whole.classes
    assert back.architecture.plan == whole.architecture.plan


def test_weights_beside_the_graph_are_read_and_never_outside_its_folder(tmp_path: Path) -> None:
    graph = Graph(("n", 3, 16, 16))
    graph.conv(3, 5)
    graph.add("Relu")
    graph.add("Flatten")
    graph.dense(5 * 14 * 14, 4)
    proto = graph.model()
    onnx.save_model(proto, tmp_path / "x.onnx", save_as_external_data=True, location="x.data", size_threshold=0)
    assert agrees(tmp_path / "x.onnx", side=16) == "5p0 | K"
    assert sha256(tmp_path / "x.onnx") != sha256(tmp_path / "x.data")
    for place, words in (
        ("../x.data", "outside its folder"),
        ("gone.data", "is missing"),
        ("cut.data", "beyond the end"),
    ):
        (tmp_path / "cut.data").write_bytes((tmp_path / "x.data").read_bytes()[:-8])
        moved = onnx.load_model(tmp_path / "x.onnx", load_external_data=False)
        for one in moved.graph.initializer:
            next(entry for entry in one.external_data if entry.key == "location").value = place
        (tmp_path / "y.onnx").write_bytes(moved.SerializeToString())
        refused(tmp_path / "y.onnx", words)


@st.composite
def plans(draw: Any) -> str:
    """Chains for pictures of 24 px."""
    steps = st.sampled_from(["", "s2", "p0", "d2", "b0"])
    follow = st.sampled_from(["relu", "bn+relu", "leaky0.2", "bn+elu", "tanh", "gelu", "silu", "relu6", "hardswish"])
    blocks = []
    for _ in range(draw(st.integers(1, 3))):
        channels, kernel = draw(st.integers(2, 7)), draw(st.sampled_from([1, 3, 5]))
        blocks.append(f"{channels}/{kernel}{draw(steps)}+{draw(follow)}")
        blocks.append(draw(st.sampled_from(["", "M", "A2", "M3s2p1", "Mc", "A3s1p1x"])))
    head = [draw(st.sampled_from(["", "G", "GM"])), "|"]
    head += [f"{draw(st.integers(2, 9))}+{draw(follow)}" for _ in range(draw(st.integers(0, 2)))]
    return " ".join([*blocks, *head, "K"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(plan=plans(), channels=st.sampled_from([1, 3]))
def test_any_chain_comes_back_from_onnx_as_the_same_numbers(plan: str, channels: int, tmp_path: Path) -> None:
    try:
        model = build(plan, image_side=24, in_channels=channels, num_classes=3, seed=1)
    except InputRefused:  # its maps shrink to nothing
        return
    settled(model)
    images = torch.rand(2, channels, 24, 24, generator=torch.Generator().manual_seed(3))
    quiet(lambda: torch.onnx.export(model, (images,), tmp_path / "x.onnx", dynamo=False))
    back = load(tmp_path / "x.onnx")
    with torch.no_grad():
        wanted, found = model(images), build(back)(images)
    assert float((found - wanted).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max())), (
        plan,
        back.architecture.plan,
    )


# ---------------------------------------------------------------- as tf2onnx writes networks of Keras


def tf2onnx(*, transposed: bool = True, norm: str = "", pool: str = "MaxPool", auto: bool = False) -> Graph:
    """Transposes at both ends, a flatten of rows, columns and channels, MatMul and Add, a softmax."""
    graph = Graph(("n", 32, 32, 3), opset=15)
    graph.add("Transpose", perm=[0, 3, 1, 2])
    channels = 3
    for outputs in (6, 7):
        around = {"auto_pad": "SAME_UPPER"} if auto else {"pads": [1, 1, 1, 1]}
        graph.conv(channels, outputs, bias=not norm, **around)
        if norm == "BatchNormalization":
            numbers = [graph.vector(outputs, low=0.5, high=1.5) for _ in range(4)]
            graph.add(
                "BatchNormalization", numbers[0], graph.vector(outputs), graph.vector(outputs), numbers[3], epsilon=1e-3
            )
        elif norm:
            graph.add("Mul", graph.vector(1, outputs, 1, 1, low=0.5, high=1.5))
            graph.add("Add", graph.vector(1, outputs, 1, 1))
        graph.add("Relu")
        graph.add(pool, kernel_shape=[2, 2], strides=[2, 2], **({"auto_pad": "SAME_UPPER"} if auto else {}))
        channels = outputs
    graph.add("Transpose", perm=[0, 2, 3, 1])
    graph.add("Reshape", graph.constant(np.array([-1, 8 * 8 * 7])))
    graph.dense(8 * 8 * 7, 10)
    graph.add("Relu")
    graph.dense(10, 4)
    graph.add("Softmax", axis=-1)
    return graph


@pytest.mark.parametrize(
    ("options", "plan"),
    [
        ({}, "6 M 7 M | 10 K"),
        ({"auto": True}, "6 M 7 M | 10 K"),
        ({"norm": "BatchNormalization"}, "+bn+relu 6b0 M 7b0 M | 10 K"),
        ({"norm": "Mul and Add"}, "+bn+relu 6b0 M 7b0 M | 10 K"),
        ({"pool": "AveragePool"}, "6 A2x 7 A2x | 10 K"),
    ],
)
def test_a_network_of_keras_through_tf2onnx_is_the_network(options: Any, plan: str, tmp_path: Path) -> None:
    path = tf2onnx(**options).save(tmp_path / "x.onnx")
    assert agrees(path, last=True, ending=lambda logits: logits.softmax(1)) == plan


def test_a_global_average_and_what_stands_before_the_first_layer_are_read(tmp_path: Path) -> None:
    graph = Graph(("n", 32, 32, 3), opset=13)
    graph.add("Mul", graph.constant(np.float32(1 / 127.5)))
    graph.add("Sub", graph.constant(np.float32([0.9, 1.0, 1.1])))
    graph.add("Transpose", perm=[0, 3, 1, 2])
    graph.conv(3, 6, 5, auto_pad="SAME_UPPER", strides=[2, 2])  # pads one side more than the other
    graph.add("LeakyRelu", alpha=0.3)
    graph.conv(6, 5, 1)
    graph.add("Clip", graph.constant(np.float32(0)), graph.constant(np.float32(6)))
    graph.add("ReduceMean", axes=[2, 3], keepdims=0)
    graph.dense(5, 1)
    graph.add("Sigmoid")
    path = graph.save(tmp_path / "x.onnx")
    checkpoint = load(path)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        found = torch.sigmoid(build(checkpoint)(images))
    wanted = theirs(path, 255 * images.permute(0, 2, 3, 1).contiguous())
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert checkpoint.architecture.outputs == "sigmoid"
    assert checkpoint.architecture.std == pytest.approx([0.5] * 3)
    assert checkpoint.architecture.mean == pytest.approx([0.45, 0.5, 0.55])


def test_padding_constants_and_shapes_that_are_operations_of_their_own_belong_to_layers(tmp_path: Path) -> None:
    graph = Graph((1, 3, 32, 32), opset=17)
    graph.add("Pad", graph.constant(np.array([0, 0, 1, 1, 0, 0, 2, 2])))
    graph.conv(3, 6, 4, strides=[2, 2])
    graph.add("Relu")
    graph.nodes.append(
        helper.make_node("Constant", [], ["shape"], value=onnx.numpy_helper.from_array(np.array([1, -1])))
    )
    graph.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
    graph.add("Identity")
    graph.add("Reshape", "shape")  # written for a batch of one
    graph.add("Gemm", graph.weight(4, 6 * 64), graph.vector(4), transB=1)
    assert agrees(graph.save(tmp_path / "x.onnx")) == "6/5s2 M3s2c | K"


ACTIVATIONS: dict[str, Callable[[Graph], Any]] = {
    "silu": lambda graph: graph.add("Mul", graph.add("Sigmoid"), first=graph.nodes[-2].output[0]),
    "mish": lambda graph: (graph.add("Softplus"), graph.add("Mul", graph.add("Tanh"), first=graph.nodes[-3].output[0])),
    "gelu": lambda graph: (
        graph.add("Div", graph.constant(np.float32(2**0.5))),
        graph.add("Erf"),
        graph.add("Add", graph.constant(np.float32(1))),
        graph.add("Mul", graph.nodes[-4].output[0]),
        graph.add("Mul", graph.constant(np.float32(0.5))),
    ),
    "elu": lambda graph: graph.add("Elu"),
    "softplus": lambda graph: graph.add("Softplus"),
    "leaky0.25": lambda graph: graph.add("PRelu", graph.constant(np.full((6, 1, 1), 0.25, "f4"))),
}


@pytest.mark.parametrize("word", ACTIVATIONS)
def test_activations_are_known_also_where_they_are_written_out(word: str, tmp_path: Path) -> None:
    graph = Graph(("n", 3, 32, 32))
    graph.conv(3, 6)
    ACTIVATIONS[word](graph)
    graph.add("GlobalAveragePool")
    graph.add("Flatten")
    graph.add("Gemm", graph.weight(4, 6), graph.vector(4), transB=1)
    assert agrees(graph.save(tmp_path / "x.onnx")) == canonical_plan(f"6p0+{word} G | K")


# ---------------------------------------------------------------- refusals


def small() -> Graph:
    graph = Graph(("n", 3, 16, 16))
    graph.conv(3, 3, pads=[1, 1, 1, 1])
    return graph


def branch(graph: Graph) -> None:
    graph.conv(3, 3, pads=[1, 1, 1, 1])
    graph.add("Add", graph.nodes[0].output[0])


def depthwise(graph: Graph) -> None:
    graph.add("Conv", graph.weight(3, 1, 3, 3), group=3)


def unknown(graph: Graph) -> None:
    graph.add("NonZero")


def quantised(graph: Graph) -> None:
    graph.add("QuantizeLinear", graph.constant(np.float32(0.1)), graph.constant(np.uint8(3)))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (branch, "net/add2 .*joins 2 values"),
        (depthwise, "net/conv1 .*depthwise"),
        (unknown, "computes NonZero .*'net/nonzero1'"),
        (quantised, "is quantised .*'net/quantizelinear1'"),
    ],
)
def test_what_is_no_chain_is_refused_by_the_name_of_its_operation(spoil: Any, words: str, tmp_path: Path) -> None:
    graph = small()
    spoil(graph)
    graph.add("Flatten")
    refused(graph.save(tmp_path / "x.onnx"), words)


def test_files_that_are_damaged_or_read_something_else_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = small()
    graph.add("Flatten")
    whole = graph.save(tmp_path / "x.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.onnx", "is damaged or no whole ONNX file")
    (tmp_path / "empty.onnx").write_bytes(b"\x08\x09")
    refused(tmp_path / "empty.onnx", "0 operations")
    proto = graph.model()
    proto.graph.input.append(helper.make_tensor_value_info("mask", FLOAT, [1]))
    (tmp_path / "two.onnx").write_bytes(proto.SerializeToString())
    refused(tmp_path / "two.onnx", "reads 'x', 'mask'")
    graph.shape = ("n", 3, 16, 24)
    refused(graph.save(tmp_path / "wide.onnx"), "24 × 16 px")
    proto = small().model()
    proto.graph.initializer[0].dims[0] = 2**40
    (tmp_path / "huge.onnx").write_bytes(proto.SerializeToString())
    refused(tmp_path / "huge.onnx", "damaged")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    assert 'pip install "vgg_viz[onnx]"' in refused(tmp_path / "x.onnx", "which the package onnx opens")


# ---------------------------------------------------------------- padding that is uneven


@pytest.mark.parametrize("side", [7, 8, 9, 10])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 2, 1), (4, 1, 1), (2, 1, 1), (5, 3, 1), (3, 1, 2), (2, 2, 2)]
)
@pytest.mark.parametrize("above", [False, True])
def test_uneven_padding_computes_what_padding_the_map_would(
    side: int, kernel: int, stride: int, dilation: int, above: bool
) -> None:
    maps, weight = torch.randn(2, 3, side, side), torch.randn(4, 3, kernel, kernel)
    strides, dilations = (stride, stride), (dilation, dilation)
    pads = same((side, side), (kernel, kernel), strides, dilations, above=above)
    padded = nn.functional.pad(maps, (pads[1], pads[3], pads[0], pads[2]))
    wanted = nn.functional.conv2d(padded, weight, None, stride, 0, dilation)
    assert wanted.shape[2] == -(-side // stride)
    assert torch.allclose(convolved(maps, weight, None, Sliding(strides, pads, dilations)), wanted, atol=1e-5)
    if dilation == 1:
        low = nn.functional.pad(maps, (pads[1], pads[3], pads[0], pads[2]), value=-float("inf"))
        largest = nn.functional.max_pool2d(low, kernel, stride)
        assert torch.equal(pooled(maps, (kernel, kernel), Sliding(strides, pads), average=False), largest)
        ones = nn.functional.pad(torch.ones_like(maps), (pads[1], pads[3], pads[0], pads[2]))
        mean = nn.functional.avg_pool2d(padded, kernel, stride) / nn.functional.avg_pool2d(ones, kernel, stride)
        try:
            found = pooled(maps, (kernel, kernel), Sliding(strides, pads), average=True)
        except ValueError:
            return
        assert torch.allclose(found, mean, atol=1e-5)
