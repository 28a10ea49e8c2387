"""Pictures as addresses."""

from __future__ import annotations

import base64
import io

from PIL import Image


def data_uri(image: Image.Image, kind: str = "png") -> str:
    """A Pillow image as a data: URI."""
    held = io.BytesIO()
    image.save(held, kind.upper())
    return f"data:image/{kind};base64," + base64.b64encode(held.getvalue()).decode()
