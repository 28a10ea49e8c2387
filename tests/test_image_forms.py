"""Pictures in whatever form a program holds them: the same picture gives the same numbers, and what is no picture is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import vgg_viz
from vgg_viz.attribution.single_pass import cams_all_layers, gradient_bundle
from vgg_viz.errors import ImageRefused, InputRefused
from vgg_viz.maths.image_forms import as_floats, as_pictures, luma
from vgg_viz.maths.images import decode
from vgg_viz.models.checkpoint import load
from vgg_viz.records import Batch

SIDE = 32


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return vgg_viz.build("vgg11", width=0.05, image_side=SIDE, num_classes=5, seed=3)


@pytest.fixture(scope="module")
def grey_network() -> nn.Module:
    return vgg_viz.build("tiny_vgg", in_channels=1, mean=(0.0,), std=(1.0,), image_side=SIDE, seed=3)


@pytest.fixture(scope="module")
def foreign() -> nn.Module:
    """A network as somebody writes one: a ReLU in place, another as a function, no word about itself."""
    torch.manual_seed(5)

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
            self.relu, self.last = nn.ReLU(inplace=True), nn.Linear(4 * 28 * 28, 5)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.last(torch.relu(self.second(self.relu(self.first(images)))).flatten(1))
            return logits

    return Own().eval()


def bytes_of(count: int = 2, channels: int = 3, seed: int = 0) -> Tensor:
    """(B, C, H, W) uint8."""
    return torch.randint(0, 256, (count, channels, SIDE, SIDE), generator=torch.Generator().manual_seed(seed)).to(
        torch.uint8
    )


def pil(picture: Tensor) -> Image.Image:
    """(C, H, W) uint8 as a PIL image."""
    pixels = picture.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


class Arraylike:
    """What a library of its own gives: no tensor, no array, but knows how to become one."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return self.values if dtype is None else self.values.astype(dtype)


FORMS: dict[str, Callable[[Tensor], object]] = {
    "uint8 tensor": lambda u: u,
    "float": lambda u: u.float() / 255,
    "float64": lambda u: u.double() / 255,
    "channels last": lambda u: u.permute(0, 2, 3, 1),
    "channels last in memory": lambda u: (u.float() / 255).contiguous(memory_format=torch.channels_last),
    "asks for a gradient": lambda u: (u.float() / 255).requires_grad_(),
    "array": lambda u: u.numpy(),
    "array, channels last": lambda u: u.permute(0, 2, 3, 1).numpy(),
    "array turned twice": lambda u: np.ascontiguousarray(u.permute(0, 2, 3, 1).numpy()[..., ::-1])[..., ::-1],
    "array of another byte order": lambda u: (u.numpy() / 255).astype(">f8"),
    "another library's": lambda u: Arraylike(u.numpy()),
    "list of tensors": list,
    "tuple of arrays": lambda u: tuple(u.numpy()),
    "list of several forms": lambda u: [pil(u[0]), *(one.float() / 255 for one in u[1:])],
    "PIL": lambda u: [pil(one) for one in u],
    "batch": lambda u: Batch(u.float() / 255, None, tuple("x" * len(u))),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_pictures_give_the_same_logits_in_every_form(network, form):
    pictures = bytes_of()
    usual = vgg_viz.activations(network, pictures.float() / 255).logits
    assert torch.equal(vgg_viz.activations(network, FORMS[form](pictures)).logits, usual)
    # One alone as well, without the axis of the batch where the form has one.
    alone = FORMS[form](pictures[:1])
    one = alone[0] if isinstance(alone, Tensor | np.ndarray | list | tuple) else alone
    assert torch.allclose(vgg_viz.activations(network, one).logits, usual[:1], atol=1e-6)


def test_half_precision_is_as_near_as_it_can_be(network):
    pictures = bytes_of().float() / 255
    found = vgg_viz.activations(network, pictures.half()).logits
    assert torch.equal(found, vgg_viz.activations(network, pictures.half().float()).logits)


@given(st.data())
def test_any_order_of_axes_that_is_not_ambiguous_is_read_rightly(data):
    height, width = data.draw(st.integers(5, 9)), data.draw(st.integers(5, 9))
    count, channels = data.draw(st.integers(1, 4)), data.draw(st.sampled_from([1, 3]))
    values = torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(count))
    wanted = values.expand(-1, 3, -1, -1)
    assert torch.equal(as_pictures(values), wanted)
    assert torch.equal(as_pictures(values.permute(0, 2, 3, 1)), wanted)
    assert torch.equal(as_pictures(list(values.permute(0, 2, 3, 1))), wanted)
    if channels == 1:
        assert torch.equal(as_pictures(values[0, 0]), wanted[:1])


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_a_pil_image_gives_the_numbers_of_its_file(mode):
    grey = Image.fromarray(bytes_of(1)[0, 0].numpy())
    picture = {
        "RGB": pil(bytes_of(1)[0]),
        "RGBA": Image.fromarray(bytes_of(1, 4)[0].permute(1, 2, 0).numpy(), "RGBA"),
        "LA": Image.merge("LA", (grey, grey.transpose(Image.Transpose.ROTATE_90))),
        "I;16": Image.fromarray(np.asarray(grey).astype(np.uint16) * 257),
    }.get(mode) or (pil(bytes_of(1)[0]) if mode in ("P", "CMYK") else grey).convert(mode)
    held = io.BytesIO()
    picture.save(held, "TIFF" if mode == "CMYK" else "PNG")
    assert torch.equal(as_pictures(picture)[0], decode(held.getvalue()))


def test_transparency_of_an_array_is_laid_on_white_as_that_of_a_file():
    held = io.BytesIO()
    clear = bytes_of(1, 4)[0].permute(1, 2, 0).numpy()
    Image.fromarray(clear, "RGBA").save(held, "PNG")
    assert torch.equal(as_pictures(clear)[0], decode(held.getvalue()))


def test_a_picture_is_turned_upright_as_its_file_is():
    lying = pil(bytes_of(1)[0, :, :20])
    exif = Image.Exif()
    exif[0x0112] = 6
    held = io.BytesIO()
    lying.save(held, "PNG", exif=exif)
    assert torch.equal(as_pictures(Image.open(io.BytesIO(held.getvalue())))[0], decode(held.getvalue()))


def test_grey_and_colour_meet_as_in_files(network, grey_network):
    grey, colour = bytes_of(channels=1), bytes_of()
    assert torch.equal(as_pictures(grey), as_pictures([pil(one) for one in grey]))
    assert torch.equal(as_pictures(colour, channels=1), luma(colour.float() / 255))
    assert vgg_viz.activations(network, grey).logits.shape == (2, 5)
    assert vgg_viz.activations(grey_network, colour).logits.shape == (2, 10)


def a_mess(picture: Tensor, value: float) -> Tensor:
    spoilt = picture.clone()
    spoilt[-1, 0, 3, 4] = value
    return spoilt


USUAL = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
WRONG: dict[str, tuple[object, str]] = {
    "normalised": ((USUAL - 0.45) / 0.22, "normalised already"),
    "0 to 255 as floats": (bytes_of().float(), "divide them by 255"),
    "beyond 1 by resizing": (USUAL + 0.1, "clamp"),
    "NaN": (a_mess(USUAL, float("nan")), "picture 1 are not finite"),
    "infinite": (a_mess(USUAL, float("inf")), "picture 1 are not finite"),
    "NaN as an array": (a_mess(USUAL, float("nan")).double().numpy(), "not finite"),
    "whole numbers of 64 bits": (bytes_of().long(), "which value is white"),
    "whole numbers of 16 bits": (bytes_of().numpy().astype(np.uint16), "which value is white"),
    "complex": (USUAL.to(torch.complex64), "plain tensor"),
    "sparse": (USUAL.to_sparse(), "plain tensor"),
    "without values": (USUAL.to("meta"), "plain tensor"),
    "texts": (np.array(["a", "b"]), "uint8, or floats"),
    "objects": (np.array([None, {}]), "uint8, or floats"),
    "five channels": (torch.rand(1, 5, SIDE, SIDE), "no axis holds"),
    "two channels": (torch.rand(SIDE, SIDE, 2), "no axis holds"),
    "either way": (torch.rand(3, SIDE, 3), "could both be channels"),
    "one number": (torch.tensor(0.5), "is expected"),
    "one row": (torch.rand(SIDE), "is expected"),
    "five axes": (USUAL[None], "is expected"),
    "no picture": (USUAL[:0], "holds no picture"),
    "no pixel": (USUAL[..., :0], "holds no picture"),
    "an empty list": ([], "at least one picture"),
    "an empty list inside": ([[]], "where pictures are expected"),
    "numbers": ([[0.5, 0.1], [0.2, 0.3]], "where pictures are expected"),
    "several sizes": ([USUAL[0], USUAL[0, :, :9]], "several sizes"),
    "pictures and labels": ([USUAL, torch.tensor([0, 1])], "is expected"),
    "a path": ("cat.png", "read_images"),
    "a Path": (Path("cat.png"), "read_images"),
    "nothing": (None, "where pictures are expected"),
    "a mapping": ({"images": USUAL}, "where pictures are expected"),
    "a number": (7, "where pictures are expected"),
    "bytes": (b"\x89PNG", "where pictures are expected"),
    "a closed file": (Image.new("RGB", (8, 8)), "closed, damaged"),
    "a narrow one": (torch.rand(1, 3, 5, 5), "cannot read that size"),
}
WRONG["a closed file"][0].close()  # type: ignore[attr-defined]
DOORS: dict[str, Callable[[nn.Module, Any], object]] = {
    "activations": vgg_viz.activations,
    "attribute": vgg_viz.attribute,
    "gradient_bundle": gradient_bundle,
    "cams_all_layers": cams_all_layers,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_picture_is_refused_in_one_sentence_at_every_door(network, door, wrong):
    value, says = WRONG[wrong]
    if wrong == "a narrow one":
        value = torch.rand(1, 3, 5, 5)
    with pytest.raises(InputRefused, match=says) as refusal:
        DOORS[door](network if wrong != "a narrow one" else vgg_viz.build("tiny_vgg"), value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("wrong", ["a checkpoint", "a path", "nothing", "a class"])
def test_what_is_no_network_is_refused_in_one_sentence_at_every_door(door, wrong):
    value: Any = {"a checkpoint": load(), "a path": "best.pt", "nothing": None, "a class": nn.Sequential}[wrong]
    with pytest.raises(InputRefused, match="network"):
        DOORS[door](value, USUAL)


def test_three_grey_pictures_and_one_in_colour_are_not_guessed_apart(grey_network):
    with pytest.raises(InputRefused, match="images\\[None\\]"):
        vgg_viz.activations(grey_network, torch.rand(3, SIDE, SIDE))
    assert vgg_viz.activations(grey_network, torch.rand(3, SIDE, SIDE)[:, None]).logits.shape == (3, 10)


def test_a_network_in_another_precision_is_given_its_own(network):
    usual = vgg_viz.activations(network, bytes_of()).logits
    double = vgg_viz.build("vgg11", width=0.05, image_side=SIDE, num_classes=5, seed=3).double()
    found = vgg_viz.activations(double, bytes_of()).logits
    assert found.dtype == torch.float64
    assert torch.allclose(found.float(), usual, atol=1e-5)
    assert vgg_viz.attribute(double, bytes_of()).values.shape[0] == 2


# ---------------------------------------------------------------- networks that vgg_viz did not build


@pytest.mark.parametrize("door", DOORS)
def test_another_network_is_given_its_floats_as_they_are(foreign, door):
    seen: list[Tensor] = []
    hook = foreign.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach().clone()))
    normalised = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    try:
        DOORS[door](foreign, normalised.double().numpy())
    finally:
        hook.remove()
    assert any(torch.equal(one, normalised) for one in seen)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (bytes_of(), "none that vgg_viz built"),
        ([pil(bytes_of()[0])], "none that vgg_viz built"),
        (a_mess(USUAL, float("nan")), "not finite"),
        (torch.rand(2, 1, SIDE, SIDE), "forward pass says no"),
        (torch.rand(2, 3, SIDE, SIDE + 1), "forward pass says no"),
        (torch.rand(2, 3, 2, 2), "forward pass says no"),
        (torch.rand(SIDE, SIDE), "is expected"),
    ],
)
def test_what_another_network_does_not_take_is_refused_in_one_sentence(foreign, door, wrong, says):
    with pytest.raises(InputRefused, match=says) as refusal:
        DOORS[door](foreign, wrong)
    assert "\n" not in str(refusal.value)
    assert not foreign._forward_hooks
    assert not foreign._forward_pre_hooks


def test_a_fault_outside_a_network_s_own_pass_is_not_called_the_pictures_fault(foreign):
    hook = foreign.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("a fault of the caller's")))
    try:
        with pytest.raises(RuntimeError, match="of the caller's"):
            vgg_viz.activations(foreign, USUAL)
    finally:
        hook.remove()


def test_floats_of_another_network_keep_their_precision():
    assert as_floats(USUAL.half()).dtype == torch.float16
    assert as_floats(USUAL[0]).shape == (1, 3, SIDE, SIDE)


# ---------------------------------------------------------------- in the place of files


def test_pictures_in_memory_are_predicted_as_their_files_are(tmp_path):
    checkpoint = load()
    large = torch.randint(0, 256, (3, 90, 120), generator=torch.Generator().manual_seed(4)).to(torch.uint8)
    pil(large).save(tmp_path / "large.png")
    of_file = vgg_viz.predict(checkpoint, tmp_path / "large.png").images[0]["logits"]
    for form in (large, large.numpy(), pil(large), [pil(large)], large.float() / 255):
        assert vgg_viz.predict(checkpoint, form).images[0]["logits"] == of_file
    several = vgg_viz.predict(checkpoint, [pil(large), tmp_path / "large.png", bytes_of()])
    assert [one["file"] for one in several.images] == ["picture 1", "large.png", "picture 3", "picture 4"]
    assert vgg_viz.predict(checkpoint, vgg_viz.specimens(checkpoint)).images[0]["file"] == checkpoint.specimens[0].name


def test_a_picture_in_memory_is_explained_as_its_file_is(tmp_path):
    large = torch.randint(0, 256, (3, 90, 120), generator=torch.Generator().manual_seed(4)).to(torch.uint8)
    pil(large).save(tmp_path / "large.png")
    found = [
        vgg_viz.explain(None, picture, out=tmp_path / f"{n}.png", preset="quick").facts
        for n, picture in enumerate((tmp_path / "large.png", pil(large)))
    ]
    assert found[0]["top"] == found[1]["top"]
    assert [one["image"] for one in found] == ["large.png", "picture"]
    with pytest.raises(InputRefused, match="one is explained"):
        vgg_viz.explain(None, bytes_of(), out=tmp_path / "x.png")


def test_pictures_in_memory_are_looked_into_by_a_report(tmp_path, few_sections):
    few_sections("activations")
    made = vgg_viz.report(None, images=bytes_of(), out=tmp_path, preset="quick")
    assert "picture 1" in made.index.read_text(encoding="utf-8")


def test_a_damaged_picture_in_memory_is_refused():
    with pytest.raises(ImageRefused, match="which value is white"):
        as_pictures(Image.new("F", (8, 8), 7.0))


def test_a_notebook_plots_pictures_in_any_form(network, foreign):
    pictures = bytes_of()
    found = vgg_viz.attribute(network, pictures, "saliency")
    assert vgg_viz.plot_attribution(network, pictures, found).axes
    normalised = torch.randn(2, 3, SIDE, SIDE)
    assert vgg_viz.plot_attribution(foreign, normalised, vgg_viz.attribute(foreign, normalised, "saliency")).axes
    for wrong, says in (
        ({"classes": ("a",)}, "class names came"),
        ({"mask": torch.ones(3, 3)}, "mask of shape"),
        ({"picture": 5}, "picture 5"),
        ({"picture": "0"}, "picture 0"),
    ):
        with pytest.raises(InputRefused, match=says):
            vgg_viz.plot_attribution(network, pictures, vgg_viz.attribute(network, pictures, target=4), **wrong)
    with pytest.raises(InputRefused, match="attribute"):
        vgg_viz.plot_attribution(network, pictures, [found.values])  # type: ignore[list-item]
