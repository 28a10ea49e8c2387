"""Pictures between files and tensors: decode, resize, paint, tile, encode; the only door of cv2.

Inside the house a picture is float32 in [0, 1], channels first, RGB. Files hold anything; `decode` makes them equal.
"""

from __future__ import annotations

import io
import math
import stat
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from vgg_viz.errors import ImageRefused, VggVizError
from vgg_viz.file_kinds import file_kind, kind_by_name

Array = np.ndarray[Any, Any]

LARGEST = 50_000_000  # [px] decoded to float RGB this is 600 MB
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".avif"})

# Named on purpose: Pillow also opens formats that start other programs (EPS) or that any bytes can claim to be (TGA).
_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF")
# What Pillow's decoders were seen to raise on damaged bytes.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
)


def opencv() -> Any:
    """The cv2 module; raises VggVizError with the remedy where the system lacks what its windows need."""
    try:
        return import_module("cv2")
    except ImportError as error:
        raise VggVizError(
            f"OpenCV cannot be imported here ({error}); this package opens no window, so put the build without windows "
            "in its place: pip uninstall -y opencv-python && pip install --force-reinstall opencv-python-headless."
        ) from error


# ---------------------------------------------------------------- files to tensors


def decode(source: bytes | str | Path, *, name: str | None = None) -> Tensor:
    """Any picture file as RGB in [0, 1], upright as a viewer shows it.

    Turned by its EXIF orientation; the first frame of an animation; transparency laid on white; grey repeated three
    times; 16-bit values divided by 65535; palette, CMYK, YCbCr and LAB converted. Colour profiles are not applied.

    Args:
        source: The file's bytes, or its path.
        name: What to call it in an error; default: the file's name.

    Returns:
        (3, H, W).

    Raises:
        ImageRefused: Not a picture, damaged, or more than 50 million pixels (by its header, before decoding).
    """
    name = name or ("these bytes" if isinstance(source, bytes) else Path(source).name)
    data = source if isinstance(source, bytes) else _read(Path(source), name)
    with warnings.catch_warnings():
        # Pillow warns of large pictures and damaged metadata; the first are refused below, the second do no harm.
        warnings.simplefilter("ignore")
        try:
            with _open(data, name) as picture:
                picture.load()
                return torch.from_numpy(_rgb(picture, data, name)).permute(2, 0, 1).contiguous()
        except ImageRefused:
            raise
        except _BROKEN as error:
            raise ImageRefused(
                f"{name} starts like a picture but cannot be decoded ({_brief(error)}); "
                "it is damaged or cut short: open it in a viewer, or take it out of the folder."
            ) from error


def from_pil(picture: Image.Image) -> Tensor:
    """A PIL image as RGB in [0, 1], by the rules of `decode`: (3, H, W).

    Raises:
        ImageRefused: It is damaged, too large, or holds integers or floats of which nobody knows the white.
    """
    name = "the PIL image"
    if picture.width * picture.height > LARGEST:
        raise _too_large(picture, name)
    try:
        return torch.from_numpy(_rgb(picture, b"", name)).permute(2, 0, 1).contiguous()
    except ImageRefused:
        raise
    except _BROKEN as error:
        raise ImageRefused(
            f"{name} cannot be decoded ({_brief(error)}); its file is closed, damaged or cut short: open it again."
        ) from error


def decode_mask(source: bytes | str | Path, *, name: str | None = None) -> Tensor:
    """A mask file as (H, W) bool, True where it is brighter than half."""
    return decode(source, name=name).mean(dim=0) > 0.5


def dimensions(source: bytes | str | Path, *, name: str | None = None) -> tuple[int, int]:
    """Height and width as stored [px], from the header alone; raises ImageRefused like `decode`."""
    name = name or ("these bytes" if isinstance(source, bytes) else Path(source).name)
    data = source if isinstance(source, bytes) else _read(Path(source), name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _open(data, name) as picture:
            return picture.height, picture.width


def _read(path: Path, name: str) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device would be waited for, or never end
            raise ImageRefused(f"{name} cannot be read (it is no regular file); give the path of a picture.")
        return path.read_bytes()
    except OSError as error:
        raise ImageRefused(f"{name} cannot be read ({error.strerror or error}); give the path of a picture.") from error


def _open(data: bytes, name: str) -> Image.Image:
    """The header, read and judged; the pixels are still packed."""
    if not data:
        raise ImageRefused(f"{name} is empty (0 bytes); a picture was expected: copy or download it again.")
    Image.init()
    try:
        picture = Image.open(io.BytesIO(data), formats=[kind for kind in _FORMATS if kind in Image.OPEN])
    except Image.DecompressionBombError as error:
        raise ImageRefused(
            f"{name} claims more than {LARGEST // 10**6} million pixels; shrink it before use."
        ) from error
    except _BROKEN as error:
        if kind := file_kind(io.BytesIO(data)) or kind_by_name(name):
            raise ImageRefused(f"{name} is {kind.what}; {kind.for_picture}.") from error
        raise ImageRefused(
            f"{name} is not a picture that can be read (its {len(data)} bytes have no known header); "
            "JPEG, PNG, GIF, BMP, TIFF, WebP and PPM are."
        ) from error
    if picture.width * picture.height > LARGEST:
        raise _too_large(picture, name)
    return picture


def _too_large(picture: Image.Image, name: str) -> ImageRefused:
    return ImageRefused(
        f"{name} is {picture.width} × {picture.height} px, more than {LARGEST // 10**6} million pixels; "
        "shrink it before use."
    )


def _rgb(picture: Image.Image, data: bytes, name: str) -> Array:
    """(H, W, 3) float32 in [0, 1] of a loaded picture."""
    # Bit depth in the header: of 16-bit colour, Pillow would keep the high byte only.
    if picture.format == "PNG" and data[24:25] == b"\x10":
        return _turned(_deep_png(data), picture)
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):
        values = np.asarray(upright).astype(np.float32)
        if values.min() < 0 or values.max() > 65535:
            raise ImageRefused(
                f"{name} holds 32-bit integers from {values.min():.0f} to {values.max():.0f}, and nothing says which "
                "value is white; save it with 8 or 16 bits a channel."
            )
        return np.repeat(values[..., None] / np.float32(65535), 3, axis=2)
    if upright.mode == "F":
        values = np.asarray(upright).astype(np.float32)
        if not (values.min() >= 0 and values.max() <= 1):  # also refuses NaN
            raise ImageRefused(
                f"{name} holds floats outside [0, 1], and nothing says which value is white; "
                "scale them to [0, 1], or save it with 8 or 16 bits a channel."
            )
        return np.repeat(values[..., None], 3, axis=2)
    if upright.has_transparency_data:
        return on_white(np.asarray(upright.convert("RGBA")).astype(np.float32) / np.float32(255))
    return np.asarray(upright.convert("RGB")).astype(np.float32) / np.float32(255)


def _deep_png(data: bytes) -> Array:
    cv2 = opencv()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("the 16-bit data cannot be unpacked")
    values = pixels.astype(np.float32) / np.float32(65535)
    if values.ndim == 2:
        return np.repeat(values[..., None], 3, axis=2)
    if values.shape[2] == 4:
        return on_white(values[..., [2, 1, 0, 3]])
    return np.ascontiguousarray(values[..., ::-1])


def _turned(pixels: Array, picture: Image.Image) -> Array:
    """Apply the EXIF orientation of `picture` to its pixels (H, W, 3)."""
    orientation = picture.getexif().get(0x0112, 1)
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def on_white(rgba: Array) -> Array:
    """RGB with transparency (.., 4) in [0, 1], laid on white: (.., 3)."""
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    blended: Array = colour * alpha + (1 - alpha)
    return blended


def _brief(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text[:120]


# ---------------------------------------------------------------- size


def resize(
    image: Tensor,
    side: int,
    mode: Literal["shorter", "stretch", "cover"] = "shorter",
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
) -> Tensor:
    """Resize with antialiasing; equals torchvision's Resize on tensors.

    A strip is cut to its middle before "cover" resizes it: else a picture of 3000 x 1 px, kept to a square of 64, would be a
    quarter of a gigabyte on the way there.

    Args:
        image: (C, H, W) or (B, C, H, W) float.
        side: [px].
        mode: "shorter": the shorter side becomes `side`, the aspect stays; "stretch": both become `side`; "cover":
            "shorter", then the centre square: (.., side, side).
        interpolation: Between pixels.
    """
    if mode == "cover":
        image = middle(image)
    height, width = image.shape[-2:]
    if mode == "stretch":
        target = (side, side)
    elif height <= width:
        target = (side, int(side * width / height))
    else:
        target = (int(side * height / width), side)
    if target != (height, width):
        batch = image if image.ndim == 4 else image[None]
        batch = functional.interpolate(batch, size=target, mode=interpolation, antialias=True, align_corners=False)
        batch = batch.clamp(0, 1) if interpolation == "bicubic" else batch  # only this one swings beyond what it finds
        image = batch if image.ndim == 4 else batch[0]
    return centre_crop(image, side) if mode == "cover" else image


def middle(image: Tensor) -> Tensor:
    """(.., H, W) with its longer side cut to four or five shorter ones around its centre, far beyond any centre square; no copy."""
    height, width = image.shape[-2:]
    top, left = max(0, height - 4 * width) // 2, max(0, width - 4 * height) // 2
    return image[..., top : height - top, left : width - left]


def centre_crop(image: Tensor, side: int) -> Tensor:
    """The centre square of (.., H, W); a picture smaller than `side` is padded with zeros, as in torchvision."""
    height, width = image.shape[-2:]
    if height < side or width < side:
        rows, columns = max(side - height, 0), max(side - width, 0)
        image = functional.pad(image, (columns // 2, (columns + 1) // 2, rows // 2, (rows + 1) // 2))
        height, width = image.shape[-2:]
    top, left = round((height - side) / 2), round((width - side) / 2)
    return image[..., top : top + side, left : left + side]


# ---------------------------------------------------------------- painting


def cover(shape: tuple[int, int], outlines: Sequence[Array], *, finer: int = 4) -> Array:
    """How much of each pixel lies inside the outlines, antialiased.

    Args:
        shape: (H, W) [px].
        outlines: Polygons (n, 2) of x, y [px], pixel (0, 0) spanning [0, 1) x [0, 1); an outline inside another is a
            hole.
        finer: Samples a pixel along each axis.

    Returns:
        (H, W) float32 in [0, 1], in steps of 1 / finer²; samples that an edge touches count as inside.
    """
    cv2 = opencv()
    height, width = shape
    canvas = np.zeros((height * finer, width * finer), np.uint8)
    # fillPoly puts sample centres on integers (hence - 0.5) and takes fixed-point numbers with 8 binary places.
    points = [np.rint(outline * (256 * finer) - 128).astype(np.int32) for outline in outlines]
    cv2.fillPoly(canvas, points, 255, lineType=cv2.LINE_8, shift=8)
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    coverage: Array = np.rint(small * np.float32(finer**2 / 255)) * np.float32(1 / finer**2)
    return coverage


def enlarge(grid: Array, side: int) -> Array:
    """A small grid (h, w) or (h, w, C) float32 as a smooth (side, side[, C]) one, by cubic interpolation."""
    cv2 = opencv()
    smooth: Array = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    return smooth


def mosaic(images: Tensor | Array, *, columns: int | None = None, gap: int = 1, background: float = 0) -> Array:
    """Many small pictures as one canvas, row by row: one picture to paint instead of hundreds of axes.

    Args:
        images: (N, h, w) or (N, h, w, 3), any dtype.
        columns: Default: the number that makes the canvas nearest to square.
        gap: Between neighbours and around [px].
        background: Value of the gaps and of unused places.

    Returns:
        (H, W) or (H, W, 3), same dtype; picture i starts at row gap + (i // columns) (h + gap), column gap + (i %
            columns) (w + gap).
    """
    tiles = images.detach().cpu().numpy() if isinstance(images, Tensor) else images
    count, height, width = tiles.shape[:3]
    if count == 0:
        raise ValueError("mosaic was given no pictures; give it at least one.")
    columns = min(count, columns or max(1, round(math.sqrt(count * (height + gap) / (width + gap)))))
    rows = -(-count // columns)
    grid = np.full((rows, columns, height + gap, width + gap, *tiles.shape[3:]), background, tiles.dtype)
    grid.reshape(rows * columns, *grid.shape[2:])[:count, gap:, gap:] = tiles
    body = grid.swapaxes(1, 2).reshape(rows * (height + gap), columns * (width + gap), *tiles.shape[3:])
    edges = [(0, gap), (0, gap)] + [(0, 0)] * (tiles.ndim - 3)
    canvas: Array = np.pad(body, edges, constant_values=background)
    return canvas


# ---------------------------------------------------------------- tensors to files


def to_uint8(image: Tensor) -> Tensor:
    """[0, 1] to 0..255, rounded to nearest; values outside are clamped first, so that nothing wraps around."""
    return (image.detach().clamp(0, 1) * 255).round().to(torch.uint8)


def encode_png(image: Tensor | Array) -> bytes:
    """A picture as PNG: a (C, H, W) or (H, W) float or bool tensor in [0, 1], or a uint8 (H, W[, 3]) RGB array."""
    return _encode(image, ".png", [])


def encode_jpeg(image: Tensor | Array, *, quality: int = 90) -> bytes:
    """A picture as JPEG, of the same kinds as `encode_png`; quality 1 to 100."""
    return _encode(image, ".jpg", [opencv().IMWRITE_JPEG_QUALITY, quality])


def encode_webp(image: Tensor | Array, *, quality: int | None = 75) -> bytes:
    """A picture as WebP, of the same kinds as `encode_png`; at most 16,383 px a side.

    Args:
        image: (C, H, W) or (H, W, C), uint8 or float in [0, 1].
        quality: 1 to 100, with loss; None: without, on small pictures of `shapes` a third smaller than PNG.
    """
    held = io.BytesIO()
    # With loss Pillow's slowest method: a tenth smaller than its default for a tenth of a second a megapixel. Without loss that would
    # take half a second for a picture of 64 px, and this takes 9 ms for a twentieth more bytes.
    how: dict[str, Any] = (
        {"lossless": True, "quality": 75, "method": 3} if quality is None else {"quality": quality, "method": 6}
    )
    Image.fromarray(_bytes_of(image)).save(held, "WEBP", **how)
    return held.getvalue()


def _bytes_of(image: Tensor | Array) -> Array:
    """(H, W) or (H, W, 3) uint8."""
    if isinstance(image, Tensor):
        if image.dtype != torch.uint8:
            image = to_uint8(image.float())
        pixels = image.cpu().numpy()
        pixels = pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels
    else:
        pixels = image
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3)):
        raise ValueError(
            f"a picture of shape {pixels.shape} and type {pixels.dtype} cannot be encoded; expected a float tensor in "
            "[0, 1] (3, H, W), (1, H, W) or (H, W), or a uint8 array (H, W) or (H, W, 3)."
        )
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def _encode(image: Tensor | Array, suffix: str, options: list[int]) -> bytes:
    cv2 = opencv()
    pixels = _bytes_of(image)
    if pixels.ndim == 3:
        pixels = pixels[..., ::-1]  # cv2 writes BGR
    written, data = cv2.imencode(suffix, np.ascontiguousarray(pixels), options)
    if not written:
        raise VggVizError(f"OpenCV could not encode a picture of shape {pixels.shape} as {suffix}.")
    return bytes(data)
