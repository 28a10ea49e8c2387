"""What the tests of the server share: a small network, a folder of galleries, and a real server in a thread."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgg_viz.data import shapes
from vgg_viz.gallery.folder import MANIFEST, SCHEMA
from vgg_viz.gallery.page import IndexRow, render_index
from vgg_viz.maths.images import encode_png
from vgg_viz.models.build import architecture, build
from vgg_viz.plain_json import write_json
from vgg_viz.records import Checkpoint, Provenance, Specimen
from vgg_viz.serve.application import application
from vgg_viz.serve.galleries import Galleries
from vgg_viz.serve.listening import listening, server
from vgg_viz.serve.live import Live

SIDE = 32
RAW = {"Content-Type": "application/octet-stream"}


def small(classes: tuple[str, ...] = shapes.CLASSES, *, file: str = "small.pt", specimens: int = 3) -> Checkpoint:
    """An untrained Tiny VGG of 32 px, with painted specimens."""
    batch = shapes.paint(max(1, specimens), seed=5, split="test", side=SIDE)
    carried = tuple(Specimen(encode_png(batch.images[i]), i, batch.names[i]) for i in range(specimens))
    wanted = architecture("tiny_vgg", image_side=SIDE, num_classes=len(classes), width=0.4)
    weights = build(wanted, seed=3).state_dict()
    return Checkpoint(wanted, classes, weights, specimens=carried, provenance=Provenance(file, "", "vgg_viz"))


def picture(index: int = 0, side: int = 48) -> bytes:
    """A painted picture as PNG."""
    return encode_png(shapes.paint(index + 1, seed=9, split="test", side=side).images[index])


def gallery(folder: Path, title: str = "net.pt") -> Path:
    """A folder that counts as a gallery: a page with this package's own policy, a figure, and a manifest."""
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "one.png").write_bytes(picture())
    (folder / "figures" / "one.svg").write_text(
        "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    )
    (folder / "index.html").write_text(render_index([IndexRow("x", title, "", "note")]), encoding="utf-8")
    write_json(folder / MANIFEST, {"vgg_viz": "0", "schema": SCHEMA, "title": title, "findings": [], "facts": {}})
    return folder


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json()["error"])


class Client:
    """Asks a server on this machine, byte by byte as told: no address is tidied up on the way."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, *, chunked: bool = False
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = headers or {}
        connection.putrequest(
            method, path, skip_host=any(name.lower() == "host" for name in given), skip_accept_encoding=True
        )
        for name, value in given.items():
            connection.putheader(name, value)
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif body is not None and "Content-Length" not in given:
            connection.putheader("Content-Length", str(len(body)))
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent; the answer is there
            connection.endheaders(body, encode_chunked=chunked)
        answer = connection.getresponse()
        found = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def send(self, data: bytes) -> Answer:
        return self("POST", "/live/pictures", data, RAW)

    def wish(self, token: str, **wish: Any) -> Answer:
        return self(
            "POST", f"/live/pictures/{token}/maps", json.dumps(wish).encode(), {"Content-Type": "application/json"}
        )


@contextmanager
def serving(*, galleries: Path | None = None, live: Live | None = None) -> Iterator[Client]:
    """A real server on a free port, in a thread of this process."""
    up = threading.Event()
    with listening("127.0.0.1", 0) as (sock, place):
        whole = application(place, galleries=Galleries(galleries) if galleries else None, live=live)
        running = server(whole, ready=up.set, closing=live.close if live else lambda: None)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            if not up.wait(30):
                raise TimeoutError("the server did not come up")
            yield Client(place.port)
        finally:
            running.should_exit = True
            thread.join(30)
            if thread.is_alive():
                raise TimeoutError("the server did not end")


def hears_ctrl_c() -> None:
    """In the child: what a shell started in the background ignores Ctrl-C, and hands that on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
