"""maths/images.py: every kind of file becomes the same picture, and nothing wraps, stretches or slips through."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as reference

from vgg_viz.errors import ImageRefused, VggVizError
from vgg_viz.maths import images
from vgg_viz.maths.images import (
    centre_crop,
    cover,
    decode,
    decode_mask,
    dimensions,
    encode_jpeg,
    encode_png,
    mosaic,
    resize,
    to_uint8,
)


def stored(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def corners() -> np.ndarray:
    """6 x 4 px: red top left, green top right, blue bottom left, white bottom right."""
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:2, :3], pixels[:2, 3:], pixels[2:, :3], pixels[2:, 3:] = (
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 255),
    )
    return pixels


def as_array(image: torch.Tensor) -> np.ndarray:
    return to_uint8(image).permute(1, 2, 0).numpy()


# ---------------------------------------------------------------- decode


def test_a_plain_png_comes_back_exactly_channels_first(corners):
    image = decode(stored(Image.fromarray(corners)))
    assert image.shape == (3, 4, 6)
    assert image.dtype == torch.float32
    assert image[:, 0, 0].tolist() == [1, 0, 0]
    assert image[:, 0, 5].tolist() == [0, 1, 0]
    assert np.array_equal(as_array(image), corners)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "PNG16"])
def test_exif_orientation_stands_the_picture_upright(corners, orientation, kind):
    # What a camera stores for each orientation, so that the viewer's inverse shows `corners`.
    sensor = {
        1: corners,
        2: corners[:, ::-1],
        3: corners[::-1, ::-1],
        4: corners[::-1],
        5: corners.transpose(1, 0, 2),
        6: np.rot90(corners, 1),
        7: np.rot90(corners, 2).transpose(1, 0, 2),
        8: np.rot90(corners, -1),
    }[orientation]
    sensor = np.kron(np.ascontiguousarray(sensor), np.ones((16, 16, 1), np.uint8))  # JPEG blocks stay of one colour
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {}
    data = stored(Image.fromarray(sensor), "JPEG" if kind == "JPEG" else "PNG", exif=exif, **options)
    if kind == "PNG16":
        data = with_exif_of(data, deep_png(sensor.astype(np.uint16) * 257))
    upright = decode(data)[:, 8::16, 8::16]
    assert upright.shape == (3, 4, 6)
    assert torch.allclose(upright, torch.from_numpy(corners).permute(2, 0, 1) / 255, atol=0.06)


def deep_png(pixels: np.ndarray) -> bytes:
    """A 16-bit PNG of (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA values, written by OpenCV."""
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes()


def with_exif_of(source: bytes, target: bytes) -> bytes:
    at = source.index(b"eXIf") - 4
    length = int.from_bytes(source[at : at + 4], "big") + 12
    return target[:33] + source[at : at + length] + target[33:]  # behind IHDR


def test_sixteen_bits_are_divided_by_65535_and_keep_their_low_byte():
    grey = np.array([[0, 1, 256, 32768, 65534, 65535]], np.uint16)
    expected = torch.tensor(grey.astype(np.float64) / 65535).float()
    assert torch.equal(decode(deep_png(grey)), expected.expand(3, 1, 6))
    colour = np.stack([grey, grey[:, ::-1], grey // 2], axis=2)
    assert torch.allclose(decode(deep_png(colour)), torch.tensor(colour / 65535.0).permute(2, 0, 1).float(), atol=1e-7)
    assert torch.allclose(decode(stored(Image.fromarray(grey), "TIFF")), expected, atol=1e-7)


def test_sixteen_bit_transparency_is_laid_on_white_too():
    half = np.array([[[65535, 0, 0, 32768]]], np.uint16)
    red, green, blue = decode(deep_png(half)).flatten().tolist()
    assert red == pytest.approx(1)
    assert (green, blue) == (pytest.approx(1 - 32768 / 65535, abs=1e-6),) * 2


def test_grey_palette_one_bit_and_cmyk_files_show_the_same_square():
    grey = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8))
    expected = decode(stored(grey))
    assert expected.shape == (3, 2, 2)
    assert expected[:, 0, 0].tolist() == [0, 0, 0]
    assert expected[:, 0, 1].tolist() == [1, 1, 1]
    for other in (
        grey.convert("P"),
        grey.convert("1"),
        grey.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE),
    ):
        assert torch.equal(decode(stored(other)), expected)
    assert torch.equal(decode(stored(grey.convert("RGB").convert("CMYK"), "TIFF")), expected)
    cmyk = decode(stored(grey.resize((32, 32), 0).convert("RGB").convert("CMYK"), "JPEG", quality=95))
    assert torch.allclose(cmyk[:, 8::16, 8::16], expected, atol=0.05)


def test_transparent_pixels_become_white_and_half_transparent_ones_lighter():
    rgba = np.array([[[200, 0, 0, 0], [200, 0, 0, 255], [0, 0, 0, 51]]], np.uint8)
    image = decode(stored(Image.fromarray(rgba, "RGBA")))
    assert image[:, 0, 0].tolist() == [1, 1, 1]
    assert image[:, 0, 1].tolist() == pytest.approx([200 / 255, 0, 0])
    assert image[:, 0, 2].tolist() == pytest.approx([0.8] * 3)
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    seen = decode(stored(palette, transparency=0))
    assert seen[:, 0, 0].tolist() == [1, 1, 1]
    assert seen[:, 0, 1].tolist() == pytest.approx([200 / 255, 100 / 255, 50 / 255])


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_shows_its_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    options = {"lossless": True} if kind == "WEBP" else {}
    image = decode(stored(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert torch.equal(image, torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 8, 8))


def test_float_pictures_are_taken_when_they_lie_in_0_1_and_refused_otherwise():
    values = np.array([[0.0, 0.25, 1.0]], np.float32)
    assert torch.equal(decode(stored(Image.fromarray(values), "TIFF"))[0], torch.from_numpy(values))
    for wrong in (values * 300, values * np.nan):
        with pytest.raises(ImageRefused, match=r"depth\.tif holds floats outside \[0, 1\].*scale them"):
            decode(stored(Image.fromarray(wrong), "TIFF"), name="depth.tif")


def test_a_bomb_is_refused_from_its_header_before_it_is_unpacked(tmp_path):
    header = stored(Image.new("1", (20_000, 20_000)))  # 400 million pixels in 50 kB
    path = tmp_path / "bomb.png"
    path.write_bytes(header)
    with pytest.raises(ImageRefused, match=r"bomb\.png claims more than 50 million pixels"):
        decode(path)
    with pytest.raises(ImageRefused, match=r"wide\.png is 10000 × 6000 px, more than 50 million pixels"):
        decode(stored(Image.new("1", (10_000, 6_000))), name="wide.png")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"cat\.jpg is empty \(0 bytes\)"),
        (b"hello, this is text", r"cat\.jpg is not a picture that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", r"cat\.jpg is not a picture"),
    ],
)
def test_files_that_are_no_pictures_are_refused_by_name(tmp_path, content, sentence):
    (tmp_path / "cat.jpg").write_bytes(content)
    with pytest.raises(ImageRefused, match=sentence):
        decode(tmp_path / "cat.jpg")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "gone.png", tmp_path):
        with pytest.raises(ImageRefused, match=f"{path.name} cannot be read"):
            decode(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated_and_damaged_files_are_refused_or_decoded_but_never_crash(kind):
    generator = np.random.default_rng(0)
    whole = stored(Image.fromarray(generator.integers(0, 255, (24, 24, 3), np.uint8)), kind)
    refused = 0
    for length in range(1, len(whole), max(1, len(whole) // 60)):
        try:
            assert decode(whole[:length]).shape == (3, 24, 24)
        except ImageRefused:
            refused += 1
    assert refused > 30  # half a file is no picture
    for _ in range(150):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 4):
            damaged[place] = generator.integers(256)
        try:
            image = decode(bytes(damaged))
        except ImageRefused:
            continue
        assert 0 <= float(image.min()) <= float(image.max()) <= 1


def test_a_truncated_file_says_what_to_do():
    whole = stored(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)), "JPEG")
    with pytest.raises(
        ImageRefused, match=r"half\.jpg starts like a picture but cannot be decoded .*truncated.*take it out"
    ):
        decode(whole[: len(whole) // 2], name="half.jpg")


def test_dimensions_come_from_the_header_alone():
    whole = stored(Image.new("RGB", (30, 20)))
    assert dimensions(whole[:60]) == (20, 30)


def test_a_mask_survives_being_written_and_read():
    mask = torch.rand(9, 13) > 0.5
    assert torch.equal(decode_mask(encode_png(mask)), mask)


def test_without_libgl_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)  # what a failing import leaves behind
    with pytest.raises(VggVizError, match=r"OpenCV cannot be imported here .*opencv-python-headless"):
        encode_png(torch.zeros(3, 4, 4))


# ---------------------------------------------------------------- size


@pytest.mark.parametrize("shape", [(3, 50, 80), (3, 81, 37), (3, 20, 20), (2, 3, 10, 33)])
@pytest.mark.parametrize("side", [7, 32, 40])
def test_resize_equals_torchvision(shape, side):
    image = torch.rand(shape)
    shorter = reference.resize(image, [side], antialias=True)
    assert torch.allclose(resize(image, side), shorter, atol=1e-6)
    assert torch.allclose(resize(image, side, "cover"), reference.center_crop(shorter, [side, side]), atol=1e-6)
    assert torch.allclose(
        resize(image, side, "stretch"), reference.resize(image, [side, side], antialias=True), atol=1e-6
    )


@pytest.mark.parametrize("shape", [(3, 9, 9), (3, 5, 14), (3, 8, 8)])
def test_centre_crop_equals_torchvision_also_when_it_must_pad(shape):
    image = torch.rand(shape)
    assert torch.equal(centre_crop(image, 8), reference.center_crop(image, [8, 8]))


def test_shrinking_a_fine_checkerboard_gives_grey_not_moire():
    board = (torch.arange(64)[:, None] + torch.arange(64)).remainder(2).float().expand(3, 64, 64)
    small = resize(board, 13)
    assert float((small - 0.5).abs().max()) < 0.1


# ---------------------------------------------------------------- writing


def test_to_uint8_rounds_to_nearest_and_never_wraps():
    values = torch.tensor([-1.0, 0.0, 0.4999 / 255, 0.5001 / 255, 254.6 / 255, 1.0, 1.5, 300.0])
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 255, 255, 255, 255]
    every = torch.arange(256) / 255
    assert to_uint8(every).tolist() == list(range(256))


def test_png_is_lossless_for_every_kind_of_input(corners):
    image = torch.from_numpy(corners).permute(2, 0, 1) / 255
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(image)))), corners)
    assert encode_png(corners) == encode_png(image) == encode_png(torch.from_numpy(corners).permute(2, 0, 1))
    grey = Image.open(io.BytesIO(encode_png(torch.tensor([[0.0, 1.0]]))))
    assert grey.mode == "L"
    assert np.asarray(grey).tolist() == [[0, 255]]


def test_jpeg_keeps_red_red(corners):
    block = np.kron(corners, np.ones((16, 16, 1), np.uint8))
    assert torch.allclose(decode(encode_jpeg(block))[:, 8::16, 8::16], decode(encode_png(corners)), atol=0.06)


def test_an_array_of_floats_is_refused_instead_of_cast():
    with pytest.raises(ValueError, match=r"shape \(4, 4, 3\) and type float64 cannot be encoded"):
        encode_png(np.zeros((4, 4, 3)))


# ---------------------------------------------------------------- tiling and painting


@pytest.mark.parametrize("colour", [(), (3,)])
def test_every_picture_lies_in_the_mosaic_where_the_docstring_says(colour):
    tiles = np.random.default_rng(0).integers(1, 255, (11, 5, 7, *colour), np.uint8)
    canvas = mosaic(tiles, columns=4, gap=2, background=0)
    assert canvas.shape == (2 + 3 * 7, 2 + 4 * 9, *colour)
    rest = canvas.copy()
    for index, tile in enumerate(tiles):
        top, left = 2 + (index // 4) * 7, 2 + (index % 4) * 9
        assert np.array_equal(canvas[top : top + 5, left : left + 7], tile)
        rest[top : top + 5, left : left + 7] = 0
    assert not rest.any()  # gaps and the unused place are background


def test_a_wall_of_512_maps_is_nearly_square_and_keeps_floats():
    canvas = mosaic(torch.rand(512, 14, 14), background=float("nan"))
    assert 0.8 < canvas.shape[0] / canvas.shape[1] < 1.25
    assert canvas.dtype == np.float32
    assert int((~np.isnan(canvas)).sum()) == 512 * 14 * 14


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("length", [3000, 2999])
def test_a_strip_keeps_its_middle_and_is_never_blown_up_whole(length, turned, monkeypatch):
    """3000 x 1 px for a square of 64: 147 MB if all of it were resized, before one column in three thousand is kept."""
    sizes = []
    whole = images.functional.interpolate
    monkeypatch.setattr(
        images.functional, "interpolate", lambda batch, size, **kw: sizes.append(size) or whole(batch, size=size, **kw)
    )
    ramp = torch.linspace(0, 1, length).expand(3, 1, length)
    square = resize(ramp.transpose(1, 2) if turned else ramp, 64, "cover")
    assert square.shape == (3, 64, 64)
    assert abs(float(square.mean()) - 0.5) < 1 / length, "the middle of a ramp is a half"
    assert max(max(size) for size in sizes) <= 64 * 5


def test_coverage_of_a_half_pixel_square_is_its_area():
    square = np.array([[2.5, 3.0], [7.0, 3.0], [7.0, 6.25], [2.5, 6.25]])
    coverage = cover((10, 12), [square])
    assert coverage.shape == (10, 12)
    assert coverage[4, 4] == 1
    assert coverage[0].max() == coverage[:, 9].max() == 0
    perimeter = 2 * (4.5 + 3.25)  # samples that the edge touches count as inside: an eighth of a pixel all around
    assert 4.5 * 3.25 <= coverage.sum() <= 4.5 * 3.25 + 0.15 * perimeter
    assert set(np.unique(coverage * 16)) <= set(range(17))


def test_an_outline_inside_another_is_a_hole():
    outer, inner = np.array([[1, 1], [9, 1], [9, 9], [1, 9]]), np.array([[4, 4], [6, 4], [6, 6], [4, 6]])
    coverage = cover((10, 10), [outer.astype(float), inner.astype(float)])
    assert coverage[2, 2] == 1
    assert coverage[5, 5] < 0.6
    assert coverage[0, 0] == 0


def test_the_suffixes_are_those_of_readable_formats():
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif"} <= images.SUFFIXES
    assert not {".txt", ".svg", ".eps", ".pt"} & images.SUFFIXES


def test_the_shared_photographs_all_decode(shared_data: Path):
    for path in sorted((shared_data / "photos").iterdir()):
        image = decode(path)
        assert tuple(image.shape[1:]) == dimensions(path)
        assert float(image.std()) > 0.05


def test_a_webp_is_written_as_another_library_reads_it():
    smooth = torch.linspace(0, 1, 48)[None, :, None].expand(3, 48, 32) * torch.tensor([1.0, 0.5, 0.2])[:, None, None]
    for picture in (smooth, smooth[:1], to_uint8(smooth).movedim(0, -1).numpy()):
        with Image.open(io.BytesIO(images.encode_webp(picture, quality=90))) as read:
            assert read.format == "WEBP"
            found = np.asarray(read.convert("RGB"), np.float32) / 255
        wanted = smooth[:1].expand(3, -1, -1) if isinstance(picture, torch.Tensor) and len(picture) == 1 else smooth
        np.testing.assert_allclose(found, wanted.movedim(0, -1).numpy(), atol=0.06)
    sizes = [len(images.encode_webp(torch.rand(3, 64, 64), quality=quality)) for quality in (10, 50, 90)]
    assert sizes == sorted(sizes)
