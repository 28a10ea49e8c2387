"""The live page and what it asks: a picture goes in, what the network says comes out, and maps as they are wished for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from vgg_viz.errors import InputRefused
from vgg_viz.gallery.page import VIEWER_SCRIPTS, document
from vgg_viz.maths.fitting import fitting_text
from vgg_viz.maths.images import dimensions
from vgg_viz.models.outputs import noun_of
from vgg_viz.models.vgg import title
from vgg_viz.plain_json import plain
from vgg_viz.serve.galleries import page_policy
from vgg_viz.serve.intake import MOST_BYTES, Intake, busy
from vgg_viz.serve.jobs import Job, Jobs
from vgg_viz.serve.lanes import Full, Lane
from vgg_viz.serve.network import ServedNetwork
from vgg_viz.serve.store import Store
from vgg_viz.studies.answers import select_images
from vgg_viz.studies.explorer_live import pictures
from vgg_viz.studies.inputs import specimen_batch

STYLES = ("page.css", "serve.css")
SCRIPTS = (*VIEWER_SCRIPTS, "serve.js")
MOST_WAITING = 64  # small pictures, and pictures that are unpacked and wait for the network
MOST_LARGE = 4  # large pictures that wait or are unpacked
MOST_WISH = 10_000  # [bytes]
LARGE = 4_000_000  # [px]; unpacking such a picture takes long, and ten times its pixels in memory
MOST_SPECIMENS = 8
FIRST_METHODS = ("grad_cam", "saliency", "input_x_gradient")  # chosen when the page opens: one pass
SWEEP = 60.0  # [s]


class Live:
    """Everything behind /live: the network, its lanes, and the pictures that readers have sent."""

    def __init__(  # noqa: PLR0913 - every part has a usual one, which tests replace
        self,
        network: ServedNetwork,
        *,
        store: Store | None = None,
        intake: Intake | None = None,
        jobs: Jobs | None = None,
        waiting: int = MOST_WAITING,
        large: int = MOST_LARGE,
    ) -> None:
        self.network = network
        self.store = Store() if store is None else store  # an empty store is falsy
        self.intake, self.jobs = intake or Intake(), jobs or Jobs()
        # Small pictures never wait for large ones, and large ones are unpacked one at a time: 50 million pixels took
        # 1.4 GB while they were (2.1 GB with transparency).
        self.small, self.large, self.saying = Lane("small", waiting), Lane("large", large), Lane("says", waiting)

    def routes(self) -> list[Route]:
        """The addresses of the live page."""
        return [
            Route("/live", self.page, methods=["GET"]),
            Route("/live/pictures", self.picture, methods=["POST"]),
            Route("/live/pictures/{token}/maps", self.maps, methods=["POST"]),
        ]

    async def sweep(self) -> None:
        """Drop pictures whose time is over, for as long as the server runs."""
        while True:
            await asyncio.sleep(SWEEP)
            self.store.sweep()

    def close(self) -> None:
        """End what is running, send away what waits."""
        self.jobs.close()
        for lane in (self.small, self.large, self.saying):
            lane.close()

    # ---- answers

    async def page(self, request: Request) -> Response:
        """The page itself, the same for every reader."""
        html = await asyncio.to_thread(live_page, self.network, bool(request.app.state.galleries))
        return HTMLResponse(html, headers={"Content-Security-Policy": page_policy(html, asks=True)})

    async def picture(self, request: Request) -> Response:
        """A picture's bytes come, what the network says goes: {"id", "top": [[class, probability], ...], "seconds"}."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/octet-stream":
            raise HTTPException(415, "Send the bytes of one picture, as application/octet-stream.")
        loop = asyncio.get_running_loop()
        with self.intake.holding() as held:
            data = await self.intake.read(request, held)
            began = loop.time()
            try:
                height, width = dimensions(data, name="the picture")
                lane = self.large if height * width > LARGE else self.small
                image = await lane.run(lambda: self.network.prepared(data))
                seen = await self.saying.run(lambda: self.network.seen(image))
            except Full:
                raise busy("Too many pictures are waiting; try again in a moment.") from None
            except MemoryError:
                raise HTTPException(
                    413, "There is not enough memory to unpack this picture; make it smaller."
                ) from None
        order = seen.probabilities.argsort(descending=True, stable=True)[:5].tolist()
        return JSONResponse(
            {
                "id": self.store.put(seen),
                "top": [[index, float(seen.probabilities[index])] for index in order],
                "seconds": round(loop.time() - began, 3),
            }
        )

    async def maps(self, request: Request) -> Response:
        """A wish comes as JSON; lines of JSON go, one whenever there is something to say, the last with the maps."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(415, "Send the wish as application/json.")
        with self.intake.holding() as held:
            body = await self.intake.read(request, held, MOST_WISH)
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            raise InputRefused("the wish is no JSON.") from None
        wish = self.network.wish(asked)
        picture = self.store.get(request.path_params["token"])
        if picture is None:
            raise HTTPException(404, "This picture is no longer here; send it again.")
        try:
            job, future = self.jobs.start(self.network, picture, wish)
        except Full:
            raise busy("Others are waiting for their maps already; try again in a few seconds.", 5) from None
        return StreamingResponse(self._lines(request, job, future), media_type="application/x-ndjson")

    async def _lines(self, request: Request, job: Job, future: Future[dict[str, Any]]) -> AsyncIterator[bytes]:
        events = self.jobs.follow(job, future)
        try:
            async for state in events:
                line = await asyncio.to_thread(_line, state) if state["state"] == "done" else _line(state)
                yield line
                if await request.is_disconnected():
                    return
        finally:
            await events.aclose()


def _line(state: dict[str, Any]) -> bytes:
    return json.dumps(plain(state), allow_nan=False, separators=(",", ":")).encode() + b"\n"


def live_page(network: ServedNetwork, galleries: bool) -> str:
    """The complete live page of a network; the same network gives the same bytes."""
    checkpoint = network.checkpoint
    specimens = checkpoint.specimens
    batch = specimen_batch(specimens, network.side) if specimens else None
    few = pictures(select_images(batch, list(range(min(len(batch), MOST_SPECIMENS))))) if batch is not None else ()
    about = {
        "classes": checkpoint.classes,
        "most": MOST_BYTES,
        "specimens": few,
        "sees": fitting_text(checkpoint.fitting),
    }
    about |= {"outputs": network.outputs, "noun": noun_of(checkpoint.architecture)}
    return document(
        "serve.html",
        styles=STYLES,
        scripts=SCRIPTS,
        may_fetch=True,
        about=about,
        network=network,
        galleries=galleries,
        name=checkpoint.provenance.file or "network",
        architecture=title(checkpoint.architecture),
        first=FIRST_METHODS,
    )
