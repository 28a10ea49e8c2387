"""From an address to answers: the socket, uvicorn on it, and the end by Ctrl-C."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from vgg_viz.errors import InputRefused
from vgg_viz.serve.guard import ListenAddress

USUAL_PORT = 8000
MOST_CONNECTIONS = 256
GRACE = 2  # [s] for answers on their way when the server ends


@contextmanager
def listening(host: str, port: int | None = None) -> Iterator[tuple[socket.socket, ListenAddress]]:
    """A socket that listens, and where; closed when the block ends.

    Args:
        host: A name or an address.
        port: 0: any free one; None: 8000 if it is free, else any free one.

    Raises:
        InputRefused: No such host, a port that is taken or not for us.
    """
    if port is None:
        try:
            sock = _bound(host, USUAL_PORT)
        except InputRefused:
            sock = _bound(host, 0)
    else:
        sock = _bound(host, port)
    with sock:
        sock.listen(128)
        yield sock, ListenAddress(host, sock.getsockname()[1])


def server(
    application: ASGIApp, *, ready: Callable[[], None], closing: Callable[[], None] = lambda: None
) -> uvicorn.Server:
    """The server around an application; `run(sockets=[...])` serves until Ctrl-C, which it raises again when all is closed.

    Args:
        application: What answers: an ASGI application.
        ready: Called as soon as answers are given.
        closing: Called before the last answers are waited for: it ends what would take long.
    """
    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        ws="none",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            closing()
            await super().shutdown(sockets)

    return Server(config)


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError):
        raise InputRefused(f"there is no host {host[:60]!r}; leave --host out to serve this machine alone.") from None
    sock = socket.socket(family, kind, protocol)
    try:
        if (
            os.name == "posix"
        ):  # a port that was just given back can be taken again; elsewhere the option means something else
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise InputRefused(
                f"port {port} is taken by another program; leave --port out to get a free one."
            ) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise InputRefused(
                f"{host!r} is no address of this machine; leave --host out to serve this machine alone."
            ) from None
        raise InputRefused(
            f"port {port} cannot be used ({error.strerror}); choose one above 1023 with --port."
        ) from None
    return sock
