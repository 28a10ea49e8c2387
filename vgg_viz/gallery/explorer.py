"""The explorer page: a network to touch, live in the page where it is small enough; or two side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vgg_viz.gallery.page import FRAME_SCRIPTS, document

FILE = "explorer.html"
STYLES = ("page.css", "explorer.css", "explorer-views.css")
# Each has templates/explorer-*.html and static/explorer-*.js; they stand on the page in this order.
VIEWS = ("pictures", "board", "closer", "gradcam", "brush", "beside", "sandbox")
SCRIPTS = (*FRAME_SCRIPTS, "explorer.js")


@dataclass(frozen=True, slots=True)
class Rival:
    """A second network for the same pictures; `network` is plain JSON and holds its own classes."""

    title: str
    subtitle: str
    network: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Explorer:
    """What the page is made of; `network` and `pictures` are plain JSON.

    Attributes:
        title: The heading.
        subtitle: The line under it.
        network: What the scripts need of the network.
        pictures: What it can be shown.
        painted: True when the pictures have nothing to do with the checkpoint: it came without any.
        stored: Why the network does not run in the page, which then holds what it said; "" when it runs.
        gallery_href: Address of the gallery; "" where the page travels alone.
        rival: A second network, to be seen beside the first.
    """

    title: str
    subtitle: str
    network: Mapping[str, Any]
    pictures: tuple[Mapping[str, Any], ...]
    painted: bool = False
    stored: str = ""
    gallery_href: str = "index.html"
    rival: Rival | None = None

    def payload(self) -> dict[str, Any]:
        """What the page's scripts read."""
        payload: dict[str, Any] = {"title": self.title, "network": self.network, "pictures": self.pictures}
        if self.rival is not None:
            payload["rival"] = {"title": self.rival.title, "network": self.rival.network}
        return payload


def render_explorer(explorer: Explorer) -> str:
    """The complete explorer.html; the same records give the same bytes."""
    return document("explorer.html", styles=STYLES, scripts=SCRIPTS, explorer=explorer, views=VIEWS)
