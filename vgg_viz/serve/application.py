"""The addresses of the server, put together: galleries to browse, the live page, and a guard around both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from vgg_viz.errors import InputRefused
from vgg_viz.gallery.index import index_row
from vgg_viz.gallery.page import render_index
from vgg_viz.serve.galleries import Galleries, page_policy
from vgg_viz.serve.guard import Guard, ListenAddress
from vgg_viz.serve.live import Live


def application(place: ListenAddress, *, galleries: Galleries | None = None, live: Live | None = None) -> Guard:
    """The whole server as an ASGI application; what is None has no address."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(live.sweep()) if live else None
        try:
            yield
        finally:
            if live and sweeping:
                sweeping.cancel()
                live.close()

    routes = [
        Route("/", _to("/galleries/" if galleries else "/live"), methods=["GET"]),
        Route("/favicon.ico", _nothing, methods=["GET"]),
        *(live.routes() if live else []),
        *(_gallery_routes(galleries, bool(live)) if galleries else []),
    ]
    starlette = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: _refused, InputRefused: _input_refused, ClientDisconnect: _gone},
    )
    starlette.router.redirect_slashes = False
    starlette.state.galleries = galleries
    return Guard(starlette, place)


def _gallery_routes(galleries: Galleries, live: bool) -> list[Route]:
    def written() -> str:
        return render_index(
            [index_row(folder) for folder in galleries.folders().values()], live_href="../live" if live else ""
        )

    async def index(_: Request) -> Response:
        html = await asyncio.to_thread(written)
        return HTMLResponse(html, headers={"Content-Security-Policy": page_policy(html)})

    async def file(request: Request) -> Response:
        address = request.path_params["path"]
        if "/" not in address:  # a gallery's links are relative to its folder
            known = await asyncio.to_thread(galleries.folders)
            if address in known:
                return RedirectResponse(f"/galleries/{quote(address, safe='')}/")
        path = await asyncio.to_thread(galleries.find, address)
        if path is None:
            raise HTTPException(404, "There is no such page in these galleries.")
        headers = {"Content-Security-Policy": path.policy, "Cache-Control": "no-cache"}
        return FileResponse(path.path, media_type=path.media_type, headers=headers)

    return [
        Route("/galleries", _to("/galleries/"), methods=["GET"]),
        Route("/galleries/", index, methods=["GET"]),
        Route("/galleries/index.html", index, methods=["GET"]),
        Route("/galleries/{path:path}", file, methods=["GET"]),
    ]


def _to(address: str) -> Callable[[Request], Awaitable[Response]]:
    async def redirect(_: Request) -> Response:
        return RedirectResponse(address)

    return redirect


async def _nothing(_: Request) -> Response:
    return Response(status_code=204)


def _said(request: Request, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """A refusal: as JSON for the script of the live page, as text for people."""
    if request.url.path.startswith("/live/"):
        return JSONResponse({"error": sentence}, status, headers)
    return PlainTextResponse(f"{sentence}\n", status, headers)


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _said(request, error.status_code, error.detail, dict(error.headers or {}))


async def _input_refused(request: Request, error: Exception) -> Response:
    text = " ".join(str(error).split())
    return _said(request, 400, text[:1].upper() + text[1:])


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it: the reader went away while sending
