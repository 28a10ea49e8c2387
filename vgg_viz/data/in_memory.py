"""Pictures that no file holds, fitted to a network as those of files are."""

from __future__ import annotations

import torch

from vgg_viz.maths.fitting import fit
from vgg_viz.maths.image_forms import Images, as_pictures
from vgg_viz.records import Batch, Resize


def fitted_pictures(pictures: Images, *, image_side: int | Resize, limit: int | None = None) -> Batch:
    """Pictures in any form, fitted to the square that a network reads.

    Args:
        pictures: As `as_pictures` takes them; those of a list may be of several sizes.
        image_side: As in `data.folder.read_folder`.
        limit: At most so many.

    Returns:
        Batch without labels; the names are those of a `Batch`, else the places: "picture 1", ...

    Raises:
        InputRefused: For what is no picture.
    """
    names = pictures.names if isinstance(pictures, Batch) else ()
    parts = pictures if isinstance(pictures, list | tuple) and pictures else [pictures]
    images = torch.cat([fit(as_pictures(part), image_side) for part in parts])[:limit]
    return Batch(images, None, tuple(names)[:limit] or tuple(f"picture {n}" for n in range(1, len(images) + 1)))
